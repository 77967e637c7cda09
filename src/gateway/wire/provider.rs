//! The providers that channels name, each with its wire.

use super::Wire;
use super::anthropic::Anthropic;
use super::bedrock;
use super::cohere::Cohere;
use super::gemini::Gemini;
use super::ollama::Ollama;
use super::open_ai::{OpenAi, quirks};
use super::responses::Responses;

/// A kind of provider; presets of channels name one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Base URL `https://api.openai.com/v1`.
    OpenAi,
    /// OpenAI's newer route, `/responses`.
    OpenAiResponses,
    /// Base URL `https://NAME.openai.azure.com/openai/v1`; the model is the deployment.
    Azure,
    /// Base URL `https://api.anthropic.com/v1`.
    Anthropic,
    /// Base URL `https://generativelanguage.googleapis.com/v1beta`.
    Gemini,
    /// Base URL up to and with `/publishers/google`; the key is a service account or an access token.
    Vertex,
    /// Base URL up to and with `/publishers/anthropic`.
    VertexAnthropic,
    /// Base URL `https://bedrock-runtime.REGION.amazonaws.com`, without a path.
    BedrockConverse,
    /// Base URL `https://bedrock-runtime.REGION.amazonaws.com/openai/v1`; the key is one of
    /// Bedrock's API keys.
    Bedrock,
    /// Base URL `http://HOST:11434`, without a path.
    Ollama,
    OpenRouter,
    DeepSeek,
    Mistral,
    Groq,
    /// Base URL `https://api.cohere.com`, without a path.
    Cohere,
    Moonshot,
    Zhipu,
    DashScope,
    SiliconFlow,
    XAi,
    Jina,
    Vllm,
    SgLang,
    LlamaCpp,
    /// Whoever else speaks OpenAI's dialect.
    Compatible,
    /// Another Hearth.
    Hearth,
}

impl Provider {
    /// Whether a Hearth may stand behind it, under its own or a borrowed name.
    pub fn may_be_hearth(self) -> bool {
        use Provider::{Compatible, Hearth, LlamaCpp, Ollama, OpenAiResponses, SgLang, Vllm};
        [Compatible, Hearth, LlamaCpp, Ollama, OpenAiResponses, SgLang, Vllm].contains(&self)
    }
}

/// The wire of a provider.
pub fn of(provider: Provider) -> &'static dyn Wire {
    match provider {
        Provider::OpenAi => &OpenAi(quirks::OPEN_AI),
        Provider::Azure => &OpenAi(quirks::AZURE),
        Provider::Bedrock => &OpenAi(quirks::BEDROCK),
        Provider::OpenRouter => &OpenAi(quirks::OPEN_ROUTER),
        Provider::DeepSeek => &OpenAi(quirks::DEEP_SEEK),
        Provider::Mistral => &OpenAi(quirks::MISTRAL),
        Provider::Groq => &OpenAi(quirks::GROQ),
        Provider::Moonshot => &OpenAi(quirks::MOONSHOT),
        Provider::Zhipu => &OpenAi(quirks::ZHIPU),
        Provider::DashScope => &OpenAi(quirks::DASH_SCOPE),
        Provider::SiliconFlow => &OpenAi(quirks::SILICON_FLOW),
        Provider::XAi => &OpenAi(quirks::X_AI),
        Provider::Jina | Provider::Compatible => &OpenAi(quirks::COMPATIBLE),
        Provider::Vllm => &OpenAi(quirks::VLLM),
        Provider::SgLang => &OpenAi(quirks::SG_LANG),
        Provider::LlamaCpp => &OpenAi(quirks::LLAMA_CPP),
        Provider::Hearth => &OpenAi(quirks::HEARTH),
        Provider::Anthropic => &Anthropic { is_vertex: false },
        Provider::VertexAnthropic => &Anthropic { is_vertex: true },
        Provider::BedrockConverse => &bedrock::Bedrock,
        Provider::Gemini => &Gemini { is_vertex: false },
        Provider::Vertex => &Gemini { is_vertex: true },
        Provider::Ollama => &Ollama,
        Provider::Cohere => &Cohere,
        Provider::OpenAiResponses => &Responses,
    }
}
