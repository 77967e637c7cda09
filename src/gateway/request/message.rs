//! Messages of a chat and what they are made of, so that nothing of any dialect is lost.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Family;

/// One message of a chat.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub role: Role,
    /// In the order in which they were written. Calls and thoughts are the assistant's alone.
    pub parts: Vec<Part>,
    pub name: Option<String>,
    /// The call that a message of [`Role::Tool`] answers.
    pub call_id: Option<String>,
    /// Whether the call failed that a message of [`Role::Tool`] answers.
    pub is_error: bool,
}

/// Who speaks. The OpenAI role `developer` is [`Role::System`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Text(String),
    /// What the assistant thought.
    Thought(Thought),
    /// What the assistant called; at most [`super::MAX_CALLS`].
    Call(ToolCall),
    Media(Box<Media>),
    /// The assistant declined in these words.
    Refusal(String),
    /// Where the text before it is from.
    Citation(Box<Citation>),
    /// A provider is to keep the prompt up to here, for the next request that begins alike; as
    /// Anthropic writes it (`{"type": "ephemeral", …}`).
    Cache(Value),
    Foreign(Box<Foreign>),
}

/// One call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// JSON, as text.
    pub arguments: String,
}

/// What was thought before something was said or called. Without text it is a seal alone, of what
/// comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thought {
    pub text: String,
    pub seal: Option<Seal>,
}

/// What the maker of a thought wants to see again beside it; nobody else can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    pub family: Family,
    pub value: String,
    /// Whether it is the thought itself, hidden.
    pub is_thought: bool,
}

/// A picture, a sound, a film or a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    pub kind: MediaKind,
    pub source: MediaSource,
    /// The name of the file or the title of the document.
    pub name: Option<String>,
    /// What only its own dialect knows of it, such as `detail`.
    pub extras: Option<(Family, Map<String, Value>)>,
}

/// What a [`Media`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    Image,
    Audio,
    Video,
    File,
}

/// Where a [`Media`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaSource {
    /// `base64`: checked to be that.
    Bytes { mime: String, base64: String },
    /// With `http` or `https`.
    Url(String),
    /// Kept by a provider under this name; others do not have it.
    Id(Family, String),
}

/// Where a text is from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Citation {
    pub url: Option<String>,
    pub title: Option<String>,
    /// The words that are cited.
    pub text: Option<String>,
    /// First and last character, exclusive, of the answer's text that it stands behind.
    pub span: Option<(u32, u32)>,
    /// All of it, as its own dialect has it.
    pub raw: Option<(Family, Value)>,
}

/// A piece that only its own dialect knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    pub family: Family,
    pub value: Value,
    /// What others may read in its place.
    pub text: Option<String>,
}

impl Message {
    /// A message of one text.
    pub fn text(role: Role, text: impl Into<String>) -> Message {
        Message::of(role, vec![Part::Text(text.into())])
    }

    /// A message of these parts.
    pub fn of(role: Role, parts: Vec<Part>) -> Message {
        Message { role, parts, name: None, call_id: None, is_error: false }
    }

    /// All that can be read as text. Pieces of a system message or of a tool's result are lines of
    /// their own; a result of a call that failed says so.
    pub fn joined_text(&self) -> String {
        let separator = match self.role {
            Role::System | Role::Tool => "\n",
            Role::User | Role::Assistant => "",
        };
        let joined = self.texts().collect::<Vec<_>>().join(separator);
        if self.is_error { format!("Error: {joined}") } else { joined }
    }

    /// All that can be read as text, piece by piece.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) | Part::Refusal(text) => Some(text.as_str()),
            Part::Foreign(foreign) => foreign.text.as_deref(),
            _ => None,
        })
    }

    /// What the assistant called, in order.
    pub fn calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.parts.iter().filter_map(|part| match part {
            Part::Call(call) => Some(call),
            _ => None,
        })
    }

    /// What the assistant thought, joined; `None` if there is nothing to read.
    pub fn reasoning(&self) -> Option<String> {
        let thoughts = self.parts.iter().filter_map(|part| match part {
            Part::Thought(thought) => Some(thought.text.as_str()),
            _ => None,
        });
        let joined: String = thoughts.collect();
        (!joined.is_empty()).then_some(joined)
    }

    /// Pictures, sounds and files.
    pub fn media(&self) -> impl Iterator<Item = &Media> {
        self.parts.iter().filter_map(|part| match part {
            Part::Media(media) => Some(&**media),
            _ => None,
        })
    }
}

impl Thought {
    /// A thought that nobody has sealed.
    pub fn plain(text: impl Into<String>) -> Thought {
        Thought { text: text.into(), seal: None }
    }
}

/// What stands where a dialect wants a seal and there is none.
pub const NO_SEAL: &str = "hearth";

/// How a seal begins that is carried by a dialect of another family.
const FOREIGN_SEAL: &str = "hearth.";

impl Seal {
    /// The seal as one text that a client of `family` carries without looking at it.
    pub fn carried_by(&self, family: Family) -> String {
        if self.family == family {
            return self.value.clone();
        }
        let kind = if self.is_thought { "thought" } else { "sign" };
        format!("{FOREIGN_SEAL}{}.{kind}.{}", self.family.name(), self.value)
    }

    /// The seal that a client of `family` has carried; `None` if it is nobody's.
    pub fn of_carried(family: Family, text: &str, is_thought: bool) -> Option<Seal> {
        let Some(rest) = text.strip_prefix(FOREIGN_SEAL) else {
            let value = text.to_owned();
            let is_seal = !text.is_empty() && text != NO_SEAL;
            return is_seal.then_some(Seal { family, value, is_thought });
        };
        let (name, rest) = rest.split_once('.')?;
        let (kind, value) = rest.split_once('.')?;
        let family = Family::of(name)?;
        Some(Seal { family, value: value.to_owned(), is_thought: kind == "thought" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_comes_back_from_a_client_of_any_family() {
        for is_thought in [true, false] {
            let seal = Seal { family: Family::Gemini, value: "a.b+/=".into(), is_thought };
            for carrier in [Family::Gemini, Family::Anthropic] {
                let carried = seal.carried_by(carrier);
                let back = Seal::of_carried(carrier, &carried, is_thought);
                assert_eq!(back.as_ref(), Some(&seal), "{carried}");
            }
        }
        assert_eq!(Seal::of_carried(Family::Anthropic, "", false), None);
        assert_eq!(Seal::of_carried(Family::Anthropic, "hearth.nobody.sign.x", false), None);
        assert_eq!(Seal::of_carried(Family::Anthropic, NO_SEAL, false), None);
    }
}
