//! The one neutral request. Every dialect parses into it, every backend consumes it.
//!
//! Parse, don't check: the constructors of the dialects have bounded every number before a
//! [`GenerateRequest`] exists, so a backend need not look again.

use serde::{Deserialize, Serialize};
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

/// What the answer is made of, beyond plain text. The default is plain text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerRules {
    /// Chats only.
    pub tools: Option<Tools>,
    /// Not beside tools that may be called.
    pub format: Option<AnswerFormat>,
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

/// One message of a chat.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub role: Role,
    /// Empty only beside calls.
    pub parts: Vec<Part>,
    pub name: Option<String>,
    /// What the assistant thought before it spoke.
    pub reasoning: Option<String>,
    /// What the assistant called; at most [`MAX_CALLS`].
    pub calls: Vec<ToolCall>,
    /// The call that a message of [`Role::Tool`] answers.
    pub call_id: Option<String>,
}

/// One call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// JSON, as text.
    pub arguments: String,
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

/// A piece of a message. Text alone today; pictures and files are further variants.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Text(String),
}

impl Message {
    /// A message of one text.
    pub fn text(role: Role, text: impl Into<String>) -> Message {
        Message {
            role,
            parts: vec![Part::Text(text.into())],
            name: None,
            reasoning: None,
            calls: Vec::new(),
            call_id: None,
        }
    }

    /// All text parts, joined without a separator.
    pub fn joined_text(&self) -> String {
        self.parts.iter().map(|Part::Text(text)| text.as_str()).collect()
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
