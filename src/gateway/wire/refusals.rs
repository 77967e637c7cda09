//! Tells from a provider's error what can be done about it. Providers agree neither on status codes
//! nor on words; the tables below hold what each of them writes.

use serde_json::Value;

use super::{Refusal, RefusalKind};

/// Longest message that is kept, in characters.
const MAX_MESSAGE_CHARS: usize = 500;

/// What says that a prompt is too long, in small letters.
const CONTEXT: [&str; 27] = [
    "context_length_exceeded",               // OpenAI, Azure, Groq, Hearth
    "maximum context length",                // OpenAI, DeepSeek, OpenRouter, vLLM, Mistral
    "input tokens exceed the configured",    // OpenAI
    "input exceeds the context window",      // OpenAI, responses
    "prompt is too long",                    // Anthropic
    "exceed context limit",                  // Anthropic
    "input token count",                     // Gemini
    "input is too long for requested model", // Bedrock
    "reduce the length of the messages",     // Groq
    "maximum prompt length is",              // xAI
    "too many tokens",                       // Cohere
    "exceeded model token limit",            // Moonshot
    "prompt exceeds max length",             // Zhipu
    "prompt 超长",                           // Zhipu
    "\"1261\"",                              // Zhipu
    "range of input length should be",       // DashScope
    "must be less than max_seq_len",         // SiliconFlow
    "longer than the model's context",       // SGLang
    "longer than the maximum model length",  // vLLM
    "exceeds the model's maximum context",   // SGLang
    "exceed_context_size",                   // llama.cpp
    "exceeds the available context size",    // llama.cpp
    "exceeds the context length",            // Ollama
    "longer than the context length",        // Ollama
    "context window exceeds limit",          // MiniMax
    "model_context_window_exceeded",         // Anthropic
    "this model's context is",               // Hearth
];

/// What says that rules forbid the content.
const CONTENT: [&str; 13] = [
    "content_filter",
    "content_policy_violation",
    "responsibleaipolicyviolation", // Azure
    "content management policy",    // Azure
    "datainspectionfailed",         // DashScope
    "data_inspection_failed",       // DashScope
    "inappropriate content",        // DashScope
    "\"1301\"",                     // Zhipu
    "敏感内容",                     // Zhipu
    "flagged",                      // OpenRouter
    "content exists risk",          // DeepSeek
    "high risk",                    // Moonshot
    "output blocked by content",    // Anthropic
];

/// What says that the key is wrong or has no money left.
const KEY: [&str; 20] = [
    "invalid_api_key",
    "incorrect api key",
    "api key not valid", // Gemini
    "api_key_invalid",   // Gemini
    "invalid api key",
    "invalid x-api-key",     // Anthropic
    "authentication_error",  // Anthropic
    "insufficient_quota",    // OpenAI
    "billing_hard_limit",    // OpenAI
    "account_deactivated",   // OpenAI
    "billing_not_active",    // OpenAI
    "credit balance is too", // Anthropic
    "insufficient balance",  // DeepSeek, Moonshot
    "insufficient credits",  // OpenRouter
    "exceeded_current_quota",
    "arrearage", // DashScope
    "\"1113\"",  // Zhipu
    "余额",      // Zhipu, SiliconFlow
    "permission_error",
    "unauthorized",
];

/// What says that there is no such model.
const NO_MODEL: [&str; 13] = [
    "model_not_found",
    "deploymentnotfound", // Azure
    "invalid_model",      // Mistral
    "invalid model",      // Mistral
    "model not exist",    // DashScope, DeepSeek
    "model_not_supported",
    "\"1211\"",             // Zhipu
    "model does not exist", // SiliconFlow
    "is not a valid model id",
    "model_decommissioned", // Groq
    "is not found for api version",
    "the model identifier is invalid", // Bedrock
    "no endpoints found",              // OpenRouter
];

/// What an answer of this status says.
pub(super) fn read(status: u16, body: &[u8]) -> Refusal {
    let text = String::from_utf8_lossy(&body[..body.len().min(64 << 10)]);
    let parsed: Value = serde_json::from_str(&text).unwrap_or_default();
    // Gemini answers streams with a list of one.
    let parsed = parsed.get(0).unwrap_or(&parsed);
    let message = message(parsed).unwrap_or_else(|| text.trim().to_owned());
    let shown = match message.is_empty() {
        true => format!("The provider answered with status {status}."),
        false => message,
    };
    Refusal { kind: kind(status, parsed, &shown), message: cut(&shown) }
}

/// What an error says that came inside an answer of status 200.
pub(super) fn read_inside(error: &Value) -> Refusal {
    let status = |value: &Value| {
        value
            .as_u64()
            .or_else(|| value.as_str()?.parse().ok())
            .and_then(|code| code.try_into().ok())
    };
    let told = status(&error["code"]).or(status(&error["status"]));
    let told = told.or(status(&error["error"]["code"])).filter(|code| (400..600).contains(code));
    let shown = message(error).unwrap_or_else(|| "The provider broke off.".to_owned());
    Refusal { kind: kind(told.unwrap_or(0), error, &shown), message: cut(&shown) }
}

fn kind(status: u16, error: &Value, message: &str) -> RefusalKind {
    // The whole of it: codes stand in members of many names.
    let all = match error {
        Value::Null => message.to_lowercase(),
        error => error.to_string().to_lowercase(),
    };
    let says = |table: &[&str]| table.iter().any(|words| all.contains(words));
    let is_ours = status == 0 || (400..500).contains(&status);
    match status {
        _ if is_ours && says(&CONTEXT) => RefusalKind::ContextFull,
        401 | 402 => RefusalKind::Key,
        _ if is_ours && says(&KEY) => RefusalKind::Key,
        _ if is_ours && says(&CONTENT) => RefusalKind::Content,
        _ if is_ours && says(&NO_MODEL) => RefusalKind::NoModel,
        403 => RefusalKind::Key,
        404 => RefusalKind::NoModel,
        429 | 503 | 529 => RefusalKind::Busy,
        _ if says(&["overloaded", "rate_limit", "resource_exhausted", "server busy"]) => {
            RefusalKind::Busy
        }
        408 | 409 | 425 | 499 => RefusalKind::Broken,
        400..=498 => RefusalKind::Request,
        0 if says(&["invalid_request", "invalid_argument"]) => RefusalKind::Request,
        _ => RefusalKind::Broken,
    }
}

/// The text for people, wherever it stands.
fn message(error: &Value) -> Option<String> {
    let pointers = [
        "/error/metadata/raw", // OpenRouter: what the provider behind it said
        "/error/message",
        "/error/error/message",
        "/response/error/message",
        "/message/detail",
        "/message",
        "/detail/0/msg",
        "/detail",
        "/error",
        "/msg",
    ];
    let texts = pointers.iter().filter_map(|pointer| error.pointer(pointer)?.as_str());
    texts.map(str::trim).find(|text| !text.is_empty()).map(str::to_owned)
}

/// Cut to a bounded length, on one line: it goes into logs and headers of others.
fn cut(text: &str) -> String {
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().take(MAX_MESSAGE_CHARS).map(plain).collect()
}
