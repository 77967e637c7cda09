//! The one neutral request. Every dialect parses into it, every backend consumes it.
//!
//! Parse, don't check: the constructors of the dialects have bounded every number before a
//! [`GenerateRequest`] exists, so a backend need not look again.

mod extras;
mod message;

pub use extras::{Extras, Family};
pub use message::{
    Citation, Foreign, Media, MediaKind, MediaSource, Message, NO_SEAL, Part, Role, Seal, Thought,
    ToolCall,
};

use serde_json::{Map, Value};

/// Names one request from its first byte to its ledger row; also the `x-request-id` header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub String);

/// A request to continue a chat or a text.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    pub id: RequestId,
    /// The model's public name, as the caller wrote it.
    pub model: String,
    pub input: Input,
    pub priority: Priority,
    pub sampling: Sampling,
    /// Most tokens to generate per choice; `None` runs to the end of the context, 0 computes the
    /// prompt alone.
    pub max_tokens: Option<u32>,
    /// Texts that end a choice; they are not part of the answer. At most [`MAX_STOPS`].
    pub stop: Vec<String>,
    /// Independent answers to the same prompt, 1..=[`MAX_CHOICES`].
    pub choices: u16,
    /// `Some(k)`: report the chosen token's log probability and the `k` likeliest, k ≤ 20.
    pub logprobs: Option<u8>,
    /// Whether the answer starts with the prompt itself (`/v1/completions` only).
    pub echo: bool,
    pub rules: AnswerRules,
    pub window: Window,
    /// How tokens are drawn where neither `sampling` nor the model says: dialects differ in it.
    pub fallback: Sampling,
    /// What else the body said, for a provider that speaks the same dialect.
    pub extras: Option<Box<Extras>>,
}

/// How prompt and answer share the model's context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Most tokens of prompt and answer together; `None` is all that the model has.
    pub limit_tokens: Option<u32>,
    pub overflow: Overflow,
    /// An earlier conversation that the prompt goes on with, as [`crate::event::Event::Context`]
    /// told it.
    pub before: Vec<u32>,
    /// Whether the answer ends with [`crate::event::Event::Context`].
    pub tells_context: bool,
}

/// What happens to a prompt that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    #[default]
    Refuse,
    /// Its oldest part is left out, and the usage says how much: of a chat whole messages, but not
    /// system messages; of a text tokens. A last message that alone is too long keeps its end.
    DropOldest,
}

/// Whether an answer comes at once or in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    Whole,
    #[default]
    Stream,
}

/// How an answer gets to whoever asked; nothing of what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    pub shape: Shape,
    /// The Hearths that the request has come through, this one included.
    pub path: Vec<String>,
}

/// What the answer is made of, beyond plain text. The default is plain text in pieces.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerRules {
    pub delivery: Delivery,
    /// Chats only.
    pub tools: Option<Tools>,
    /// At most [`MAX_TOOLS`].
    pub foreign_tools: Vec<ForeignTool>,
    pub format: Option<AnswerFormat>,
    /// Whoever cannot hold an answer to a format beside tools that may be called leaves the format
    /// out; otherwise it is an error.
    pub yields_format: bool,
    /// What else the model's chat template may look at, such as `enable_thinking`: true, false or
    /// numbers. At most [`MAX_TEMPLATE_OPTIONS`].
    pub template_options: Map<String, Value>,
    pub thinking: Thinking,
    /// A chat template in Go's notation, instead of the model's.
    pub template: Option<String>,
}

/// Whether the model is to think before it speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Thinking {
    /// As it does by itself.
    #[default]
    AsModel,
    Off,
    /// A model that cannot answers all the same.
    IfAble(Option<Effort>),
    /// A model that cannot is an error.
    On(Option<Effort>),
}

/// How much a model that can choose is to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    Low,
    Medium,
    High,
    Max,
}

impl Effort {
    /// The word that chat templates know.
    pub fn name(self) -> &'static str {
        match self {
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::Max => "max",
        }
    }
}

/// Tools that the model may call; the caller runs them.
#[derive(Clone, Debug, PartialEq)]
pub struct Tools {
    /// Never empty, at most [`MAX_TOOLS`]; no two of one name.
    pub list: Vec<Tool>,
    pub choice: ToolChoice,
    /// Whether one answer may make several calls.
    pub is_parallel: bool,
}

/// One tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// 1 to 64 letters, digits, `_`, `-` or `.`.
    pub name: String,
    /// The JSON schema of its arguments.
    pub parameters: Value,
    /// All that the caller wrote of it, for the model to read.
    pub description: Value,
    /// Whether a provider is to keep the prompt up to here; as Anthropic writes it.
    pub cache: Option<Value>,
    /// What only its own dialect knows of it.
    pub extras: Option<(Family, Map<String, Value>)>,
}

/// A tool that only its own dialect knows, such as a search that the provider itself runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignTool {
    pub family: Family,
    pub value: Value,
    /// Whoever does not have it leaves it out; otherwise it is an error.
    pub is_wish: bool,
}

/// Which tools an answer calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// What the model likes.
    Auto,
    None,
    /// One or more.
    Required,
    /// This one.
    Named(String),
}

/// What the whole text of an answer is held to.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerFormat {
    /// Any JSON object.
    JsonObject,
    /// JSON that this schema admits.
    JsonSchema(Value),
    /// A text that this expression matches.
    Regex(String),
    /// A text of this grammar, in Lark's notation.
    Lark(String),
    /// One of these texts.
    Choice(Vec<String>),
}

/// Most tools in one request.
pub const MAX_TOOLS: usize = 128;
/// Most messages of one chat.
pub const MAX_MESSAGES: usize = 10_000;
/// Most calls in one message.
pub const MAX_CALLS: usize = 128;
/// Most options for the chat template.
pub const MAX_TEMPLATE_OPTIONS: usize = 16;

/// Most stop texts in one request.
pub const MAX_STOPS: usize = 16;
/// Longest stop text, in bytes.
pub const MAX_STOP_BYTES: usize = 256;
/// Most choices (`n`) in one request.
pub const MAX_CHOICES: u16 = 16;
/// Most alternatives reported per token.
pub const MAX_LOGPROBS: u8 = 20;

/// How urgent a request is. Who waits long comes to count as more urgent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Somebody sits in front of it: a turn of the web app's chat.
    Interactive,
    #[default]
    Default,
    /// Whenever there is room.
    Background,
}

/// What to continue.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Never empty.
    Chat(Vec<Message>),
    Text(String),
    Tokens(Vec<u32>),
    /// What belongs between two texts.
    Infill {
        prompt: String,
        suffix: String,
    },
}

impl GenerateRequest {
    /// The same request, for a client that gets the answer in pieces or at once.
    pub fn streamed(mut self, is_streamed: bool) -> GenerateRequest {
        self.rules.delivery.shape = if is_streamed { Shape::Stream } else { Shape::Whole };
        self
    }

    /// The URLs of pictures and files in it.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        let messages = match &self.input {
            Input::Chat(messages) => messages.as_slice(),
            _ => &[],
        };
        messages.iter().flat_map(Message::media).filter_map(|media| match &media.source {
            MediaSource::Url(url) => Some(url.as_str()),
            _ => None,
        })
    }

    /// Puts what was found at a URL in its place, wherever it stands. `base64`: of the bytes.
    pub fn inline(&mut self, url: &str, mime: &str, base64: &str) {
        let Input::Chat(messages) = &mut self.input else { return };
        for part in messages.iter_mut().flat_map(|message| &mut message.parts) {
            if let Part::Media(media) = part
                && matches!(&media.source, MediaSource::Url(other) if other == url)
            {
                let (mime, base64) = (mime.to_owned(), base64.to_owned());
                media.source = MediaSource::Bytes { mime, base64 };
            }
        }
    }
}

/// How the next token is drawn. `None` leaves the choice to the model's own defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// 0 ..= 2; 0 is greedy.
    pub temperature: Option<f32>,
    /// 1 ..= 1,000,000; the k likeliest tokens are kept.
    pub top_k: Option<u32>,
    /// 0 ..= 1; the likeliest tokens that together reach this mass are kept.
    pub top_p: Option<f32>,
    /// 0 ..= 1; tokens below this share of the likeliest token's probability are dropped.
    pub min_p: Option<f32>,
    /// 0.01 ..= 10; 1 is off. Divides positive and multiplies negative logits of seen tokens.
    pub repetition_penalty: Option<f32>,
    /// −2 ..= 2; subtracted once from every generated token's logit.
    pub presence_penalty: Option<f32>,
    /// −2 ..= 2; subtracted per occurrence among the generated tokens.
    pub frequency_penalty: Option<f32>,
    /// Token id → −100 ..= 100, added to the logit. At most 1,024 entries.
    pub logit_bias: Vec<(u32, f32)>,
    /// Same seed, same text.
    pub seed: Option<u64>,
}
