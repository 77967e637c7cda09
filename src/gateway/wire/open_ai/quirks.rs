//! In what the providers that speak OpenAI's dialect differ.

use PassRoute::{ImageEdits, Images, Moderations, Speech, Transcriptions, Translations};

use crate::passage::PassRoute;
use crate::wire::writing::IdRule;

/// One provider's way.
#[derive(Debug)]
pub(in crate::wire) struct Quirks {
    pub(super) max_tokens: &'static str,
    /// Whether `stream_options` asks for the usage.
    pub(super) asks_usage: bool,
    /// Fields that say how tokens are drawn, and `logprobs`, `n`.
    pub(super) sampling: &'static [&'static str],
    pub(super) seed: &'static str,
    pub(super) thoughts: Thoughts,
    pub(super) effort: EffortForm,
    pub(super) formats: Formats,
    /// How a call of any tool is asked for.
    pub(super) required: &'static str,
    pub(super) has_parallel: bool,
    pub(super) ids: IdRule,
    /// Whether messages may have parts, pictures among them.
    pub(super) has_parts: bool,
    pub(super) takes_urls: bool,
    /// Whether parts may carry `cache_control`.
    pub(super) has_cache: bool,
    /// Whether there is a route for plain texts.
    pub(super) completes: bool,
    /// Whether `chat_template_kwargs` is known.
    pub(super) has_template: bool,
    pub(super) key: Key,
    /// Most texts of a call for vectors.
    pub(super) texts: usize,
    /// Routes for pictures, sound and moderation that it has.
    pub(super) passes: &'static [PassRoute],
}

/// How what an assistant has thought is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thoughts {
    No,
    Field(&'static str),
    /// With `reasoning_details` beside the field.
    Details(&'static str),
}

/// How thinking is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EffortForm {
    No,
    /// `reasoning_effort`, of models that think by their names.
    ByName,
    /// `reasoning_effort`, of every model.
    Effort,
    /// `reasoning: {effort}`
    Object,
    /// `thinking: {type}`
    Switch,
    /// `enable_thinking`
    Flag,
    /// `chat_template_kwargs`
    Template,
}

/// What answers can be held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Formats {
    /// JSON without a schema.
    Json,
    Schema,
    /// Besides, vLLM's `structured_outputs`.
    Structured,
    /// Besides, `guided_…`.
    Guided,
}

/// The header of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Bearer,
    ApiKey,
}

const OWN: [&str; 9] = [
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "seed",
    "logprobs",
    "n",
    "stop",
];
const ALL: [&str; 12] = [
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "seed",
    "logprobs",
    "n",
    "stop",
    "top_k",
    "min_p",
    "repetition_penalty",
];

pub(in crate::wire) const OPEN_AI: Quirks = Quirks {
    max_tokens: "max_completion_tokens",
    asks_usage: true,
    sampling: &OWN,
    seed: "seed",
    thoughts: Thoughts::No,
    effort: EffortForm::ByName,
    formats: Formats::Schema,
    required: "required",
    has_parallel: true,
    ids: IdRule::Short,
    has_parts: true,
    takes_urls: true,
    has_cache: false,
    completes: true,
    has_template: false,
    key: Key::Bearer,
    texts: 2048,
    passes: &PassRoute::ALL,
};

pub(in crate::wire) const AZURE: Quirks = Quirks { key: Key::ApiKey, ..OPEN_AI };

/// What every server that calls itself compatible takes.
pub(in crate::wire) const COMPATIBLE: Quirks = Quirks {
    max_tokens: "max_tokens",
    sampling: &ALL,
    thoughts: Thoughts::Field("reasoning_content"),
    effort: EffortForm::No,
    ..OPEN_AI
};

pub(in crate::wire) const BEDROCK: Quirks =
    Quirks { sampling: &OWN, thoughts: Thoughts::No, completes: false, passes: &[], ..COMPATIBLE };

pub(in crate::wire) const OPEN_ROUTER: Quirks = Quirks {
    thoughts: Thoughts::Details("reasoning"),
    effort: EffortForm::Object,
    passes: &[],
    has_cache: true,
    ..COMPATIBLE
};

pub(in crate::wire) const DEEP_SEEK: Quirks = Quirks {
    sampling: &[
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "stop",
    ],
    effort: EffortForm::Switch,
    formats: Formats::Json,
    has_parallel: false,
    has_parts: false,
    passes: &[],
    completes: false,
    ..COMPATIBLE
};

pub(in crate::wire) const MISTRAL: Quirks = Quirks {
    sampling: &[
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "n",
        "stop",
    ],
    asks_usage: false,
    seed: "random_seed",
    thoughts: Thoughts::No,
    required: "any",
    ids: IdRule::Nine,
    passes: &[Transcriptions, Moderations],
    completes: false,
    ..COMPATIBLE
};

pub(in crate::wire) const GROQ: Quirks = Quirks {
    max_tokens: "max_completion_tokens",
    sampling: &["temperature", "top_p", "seed", "stop"],
    thoughts: Thoughts::Field("reasoning"),
    passes: &[Transcriptions, Translations, Speech],
    completes: false,
    ..COMPATIBLE
};

pub(in crate::wire) const MOONSHOT: Quirks = Quirks {
    sampling: &["temperature", "top_p", "presence_penalty", "frequency_penalty", "n", "stop"],
    effort: EffortForm::Switch,
    has_parallel: false,
    takes_urls: false,
    completes: false,
    passes: &[],
    ..COMPATIBLE
};

pub(in crate::wire) const ZHIPU: Quirks = Quirks {
    sampling: &["temperature", "top_p", "stop"],
    effort: EffortForm::Switch,
    formats: Formats::Json,
    has_parallel: false,
    completes: false,
    texts: 64,
    passes: &[Images, Transcriptions, Speech, Moderations],
    ..COMPATIBLE
};

pub(in crate::wire) const DASH_SCOPE: Quirks = Quirks {
    sampling: &[
        "temperature",
        "top_p",
        "top_k",
        "presence_penalty",
        "repetition_penalty",
        "seed",
        "logprobs",
        "n",
        "stop",
    ],
    effort: EffortForm::Flag,
    has_cache: true,
    texts: 10,
    passes: &[],
    ..COMPATIBLE
};

pub(in crate::wire) const SILICON_FLOW: Quirks = Quirks {
    sampling: &["temperature", "top_p", "top_k", "min_p", "frequency_penalty", "n", "stop"],
    effort: EffortForm::Flag,
    formats: Formats::Json,
    has_parallel: false,
    completes: false,
    texts: 32,
    passes: &[Images, Transcriptions, Speech],
    ..COMPATIBLE
};

pub(in crate::wire) const X_AI: Quirks = Quirks {
    sampling: &OWN,
    thoughts: Thoughts::No,
    completes: false,
    passes: &[Images, ImageEdits],
    ..COMPATIBLE
};

pub(in crate::wire) const VLLM: Quirks = Quirks {
    effort: EffortForm::Template,
    formats: Formats::Structured,
    has_template: true,
    passes: &[Transcriptions, Translations, Images, Speech],
    ..COMPATIBLE
};

pub(in crate::wire) const SG_LANG: Quirks = Quirks { formats: Formats::Schema, ..VLLM };

pub(in crate::wire) const LLAMA_CPP: Quirks =
    Quirks { formats: Formats::Schema, takes_urls: false, ..VLLM };

pub(in crate::wire) const HEARTH: Quirks = Quirks {
    thoughts: Thoughts::Details("reasoning_content"),
    effort: EffortForm::Effort,
    formats: Formats::Guided,
    has_template: true,
    has_cache: true,
    ..COMPATIBLE
};
