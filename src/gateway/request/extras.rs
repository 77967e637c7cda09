//! What of a request only the dialect knows in which it was written.

use serde_json::{Map, Value};

/// Dialects that share their fields and blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Chat completions and completions.
    OpenAi,
    Responses,
    Anthropic,
    Gemini,
    Ollama,
    Cohere,
}

impl Family {
    /// A word for it, in seals and tests.
    pub fn name(self) -> &'static str {
        match self {
            Family::OpenAi => "openai",
            Family::Responses => "responses",
            Family::Anthropic => "anthropic",
            Family::Gemini => "gemini",
            Family::Ollama => "ollama",
            Family::Cohere => "cohere",
        }
    }

    /// The family of this name.
    pub fn of(name: &str) -> Option<Family> {
        use Family::{Anthropic, Cohere, Gemini, Ollama, OpenAi, Responses};
        let all = [OpenAi, Responses, Anthropic, Gemini, Ollama, Cohere];
        all.into_iter().find(|family| family.name() == name)
    }
}

/// Fields of a body that have no neutral meaning. A provider of the same family gets them as they
/// are; for any other they are named in [`crate::wire::Call::warnings`].
#[derive(Clone, Debug, PartialEq)]
pub struct Extras {
    pub family: Family,
    pub fields: Map<String, Value>,
    /// Known fields as they were written, where their neutral form says less. Nobody is told of
    /// them; to the same family they go instead of what the neutral form comes to.
    pub raw: Map<String, Value>,
    /// Names of members inside of those that have no neutral meaning; told as fields are.
    pub inner: Vec<String>,
    /// Headers that switch features of the dialect on, such as `anthropic-beta`.
    pub headers: Vec<(&'static str, String)>,
}

impl Extras {
    /// `None` if there is nothing.
    pub fn of(
        family: Family,
        fields: Map<String, Value>,
        raw: Map<String, Value>,
    ) -> Option<Box<Extras>> {
        let is_nothing = fields.is_empty() && raw.is_empty();
        (!is_nothing).then(|| Box::new(Extras { fields, raw, ..Extras::empty(family) }))
    }

    /// Of a body that says nothing else.
    pub fn empty(family: Family) -> Extras {
        let (fields, raw) = (Map::new(), Map::new());
        Extras { family, fields, raw, inner: Vec::new(), headers: Vec::new() }
    }
}
