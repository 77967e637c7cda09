//! What is known of providers before anybody configures one: a row of data for each.

use serde::Serialize;

/// The dialect that a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    OpenAi,
    Anthropic,
    Gemini,
    Ollama,
}

/// How a key is shown to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// As the protocol has it; without a key, not at all.
    Protocol,
    /// In this header, as it is.
    Header(&'static str),
}

/// A kind of provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Preset {
    /// What it is called in a channel's `type`.
    pub name: &'static str,
    pub protocol: Protocol,
    /// Where it is; empty where everybody has an address of their own.
    pub base_url: &'static str,
    pub auth: Auth,
    /// Whether it answers nobody without a key.
    pub needs_key: bool,
    /// What a base URL looks like, and what else to know.
    pub note: &'static str,
}

/// Somebody's cloud, which speaks OpenAI's dialect and wants a key.
const fn cloud(name: &'static str, base_url: &'static str) -> Preset {
    let (protocol, auth) = (Protocol::OpenAi, Auth::Protocol);
    Preset { name, protocol, base_url, auth, needs_key: true, note: "" }
}

/// A server of one's own, which speaks OpenAI's dialect.
const fn own(name: &'static str, base_url: &'static str, note: &'static str) -> Preset {
    Preset { needs_key: false, note, ..cloud(name, base_url) }
}

/// Every kind of provider that is known by name.
pub const PRESETS: &[Preset] = &[
    cloud("openai", "https://api.openai.com/v1"),
    Preset {
        auth: Auth::Header("api-key"),
        note: "https://RESOURCE.openai.azure.com/openai/v1; a model is a deployment's name",
        ..cloud("azure", "")
    },
    Preset {
        protocol: Protocol::Anthropic,
        ..cloud("anthropic", "https://api.anthropic.com/v1")
    },
    Preset {
        protocol: Protocol::Gemini,
        ..cloud("gemini", "https://generativelanguage.googleapis.com/v1beta")
    },
    Preset {
        note: "https://LOCATION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION\
               /endpoints/openapi; a key is an access token",
        ..cloud("vertex", "")
    },
    Preset {
        note: "https://bedrock-runtime.REGION.amazonaws.com/openai/v1; a key is a Bedrock API key",
        ..cloud("bedrock", "")
    },
    Preset { protocol: Protocol::Ollama, ..own("ollama", "http://127.0.0.1:11434", "") },
    cloud("openrouter", "https://openrouter.ai/api/v1"),
    cloud("deepseek", "https://api.deepseek.com/v1"),
    cloud("mistral", "https://api.mistral.ai/v1"),
    cloud("groq", "https://api.groq.com/openai/v1"),
    cloud("cohere", "https://api.cohere.ai/compatibility/v1"),
    cloud("moonshot", "https://api.moonshot.ai/v1"),
    cloud("zhipu", "https://open.bigmodel.cn/api/paas/v4"),
    cloud("dashscope", "https://dashscope.aliyuncs.com/compatible-mode/v1"),
    cloud("siliconflow", "https://api.siliconflow.cn/v1"),
    cloud("xai", "https://api.x.ai/v1"),
    cloud("together", "https://api.together.xyz/v1"),
    cloud("fireworks", "https://api.fireworks.ai/inference/v1"),
    cloud("perplexity", "https://api.perplexity.ai"),
    own("vllm", "http://127.0.0.1:8000/v1", ""),
    own("sglang", "http://127.0.0.1:30000/v1", ""),
    own("llamacpp", "http://127.0.0.1:8080/v1", ""),
    own("lmstudio", "http://127.0.0.1:1234/v1", ""),
    own("openai-compatible", "", "https://HOST/v1, or wherever /chat/completions stands below"),
    Preset { needs_key: true, ..own("hearth", "", "https://HOST/v1; a key is an API token") },
];

/// The preset of this name.
pub fn find(name: &str) -> Option<&'static Preset> {
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
