//! What is known of providers before anybody configures one: a row of data for each.

use serde::Serialize;

use crate::wire::Provider;

/// A kind of provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Preset {
    /// What it is called in a channel's `type`.
    pub name: &'static str,
    #[serde(skip)]
    pub provider: Provider,
    /// Where it is; empty where everybody has an address of their own.
    pub base_url: &'static str,
    /// Whether it answers nobody without a key.
    pub needs_key: bool,
    /// What a base URL looks like, and what else to know.
    pub note: &'static str,
}

/// Somebody's cloud, which wants a key.
const fn cloud(name: &'static str, provider: Provider, base_url: &'static str) -> Preset {
    Preset { name, provider, base_url, needs_key: true, note: "" }
}

/// A cloud where everybody has an address of their own, such as this one.
const fn tenant(name: &'static str, provider: Provider, note: &'static str) -> Preset {
    Preset { note, ..cloud(name, provider, "") }
}

/// A server of one's own.
const fn own(name: &'static str, provider: Provider, base_url: &'static str) -> Preset {
    Preset { needs_key: false, ..cloud(name, provider, base_url) }
}

/// Every kind of provider that is known by name.
pub const PRESETS: &[Preset] = &[
    cloud("openai", Provider::OpenAi, "https://api.openai.com/v1"),
    cloud("openai-responses", Provider::OpenAiResponses, "https://api.openai.com/v1"),
    tenant(
        "azure",
        Provider::Azure,
        "https://RESOURCE.openai.azure.com/openai/v1; a model is a deployment's name",
    ),
    cloud("anthropic", Provider::Anthropic, "https://api.anthropic.com/v1"),
    cloud("gemini", Provider::Gemini, "https://generativelanguage.googleapis.com/v1beta"),
    tenant(
        "vertex",
        Provider::Vertex,
        "https://LOCATION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION\
         /publishers/google; a key is a service account's JSON, or an access token",
    ),
    tenant(
        "vertex-anthropic",
        Provider::VertexAnthropic,
        "https://LOCATION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION\
         /publishers/anthropic; a key is a service account's JSON, or an access token",
    ),
    tenant(
        "bedrock-converse",
        Provider::BedrockConverse,
        "https://bedrock-runtime.REGION.amazonaws.com; a key is ACCESS_KEY_ID|SECRET_ACCESS_KEY\
         |REGION (and |SESSION_TOKEN), or a Bedrock API key",
    ),
    tenant(
        "bedrock",
        Provider::Bedrock,
        "https://bedrock-runtime.REGION.amazonaws.com/openai/v1; a key is a Bedrock API key",
    ),
    own("ollama", Provider::Ollama, "http://127.0.0.1:11434"),
    cloud("openrouter", Provider::OpenRouter, "https://openrouter.ai/api/v1"),
    cloud("deepseek", Provider::DeepSeek, "https://api.deepseek.com/v1"),
    cloud("mistral", Provider::Mistral, "https://api.mistral.ai/v1"),
    cloud("groq", Provider::Groq, "https://api.groq.com/openai/v1"),
    cloud("cohere", Provider::Cohere, "https://api.cohere.com"),
    cloud("moonshot", Provider::Moonshot, "https://api.moonshot.ai/v1"),
    cloud("zhipu", Provider::Zhipu, "https://open.bigmodel.cn/api/paas/v4"),
    cloud("dashscope", Provider::DashScope, "https://dashscope.aliyuncs.com/compatible-mode/v1"),
    cloud("siliconflow", Provider::SiliconFlow, "https://api.siliconflow.cn/v1"),
    cloud("xai", Provider::XAi, "https://api.x.ai/v1"),
    cloud("jina", Provider::Jina, "https://api.jina.ai/v1"),
    cloud("together", Provider::Compatible, "https://api.together.xyz/v1"),
    cloud("fireworks", Provider::Compatible, "https://api.fireworks.ai/inference/v1"),
    cloud("perplexity", Provider::Compatible, "https://api.perplexity.ai"),
    own("vllm", Provider::Vllm, "http://127.0.0.1:8000/v1"),
    own("sglang", Provider::SgLang, "http://127.0.0.1:30000/v1"),
    own("llamacpp", Provider::LlamaCpp, "http://127.0.0.1:8080/v1"),
    own("lmstudio", Provider::Compatible, "http://127.0.0.1:1234/v1"),
    Preset {
        needs_key: false,
        ..tenant(
            "openai-compatible",
            Provider::Compatible,
            "https://HOST/v1, or wherever /chat/completions stands below",
        )
    },
    tenant("hearth", Provider::Hearth, "https://HOST/v1; a key is an API token"),
];

/// The preset of this name.
pub(super) fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use reqwest::Url;

    use super::*;

    #[test]
    fn names_are_unique_and_addresses_are_urls() {
        let names: HashSet<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        assert_eq!(names.len(), PRESETS.len());
        for preset in PRESETS {
            assert_eq!(find(preset.name), Some(preset));
            if preset.base_url.is_empty() {
                assert!(preset.note.contains("https://"), "{} needs an example", preset.name);
                continue;
            }
            let url = Url::parse(preset.base_url).unwrap();
            let is_own = url.host_str() == Some("127.0.0.1");
            assert_eq!(url.scheme(), if is_own { "http" } else { "https" }, "{}", preset.name);
            assert_eq!(preset.needs_key, !is_own, "{}", preset.name);
        }
    }
}
