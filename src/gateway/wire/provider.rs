//! The providers that channels name, each with its wire.

/// A kind of provider; presets of channels name one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    OpenAi,
    /// OpenAI's newer route, `/responses`.
    OpenAiResponses,
    /// Base URL `https://NAME.openai.azure.com/openai/v1`; the model is the deployment.
    Azure,
    Anthropic,
    /// Base URL `https://generativelanguage.googleapis.com/v1beta`.
    Gemini,
    /// Base URL up to and with `/publishers/google`; the key is an access token.
    Vertex,
    /// Base URL `https://bedrock-runtime.REGION.amazonaws.com/openai/v1`; the key is one of
    /// Bedrock's API keys.
    Bedrock,
    Ollama,
    OpenRouter,
    DeepSeek,
    Mistral,
    Groq,
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

/// The wire of a provider.
pub fn of(_provider: Provider) -> &'static dyn super::Wire {
    &super::open_ai::OpenAi
}
