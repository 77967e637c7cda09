//! Requests of every dialect, written for every provider.

use serde_json::{Map, Value, json};

use super::{compare, read};
use crate::dialect::ollama::Task;
use crate::dialect::{anthropic, gemini, ollama, openai, responses};
use crate::request::{GenerateRequest, RequestId};
use crate::wire::{Provider, Shape, Target, of};

/// Each provider with a model whose name it knows.
const TARGETS: [(&str, Provider, &str); 17] = [
    ("responses", Provider::OpenAiResponses, "gpt-5"),
    ("openai", Provider::OpenAi, "gpt-5"),
    ("azure", Provider::Azure, "gpt-4o"),
    ("openrouter", Provider::OpenRouter, "anthropic/claude-sonnet-4.5"),
    ("deepseek", Provider::DeepSeek, "deepseek-chat"),
    ("mistral", Provider::Mistral, "mistral-large"),
    ("groq", Provider::Groq, "llama"),
    ("dashscope", Provider::DashScope, "qwen-max"),
    ("vllm", Provider::Vllm, "qwen"),
    ("hearth", Provider::Hearth, "starter"),
    ("anthropic", Provider::Anthropic, "claude-sonnet-4-5"),
    ("gemini", Provider::Gemini, "gemini-2.5-flash"),
    ("gemini3", Provider::Gemini, "gemini-3-pro"),
    ("ollama", Provider::Ollama, "qwen3:8b"),
    ("cohere", Provider::Cohere, "command-a"),
    ("bedrock", Provider::BedrockConverse, "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("nova", Provider::BedrockConverse, "amazon.nova-pro-v1:0"),
];

/// What these wires make of the request, each by its name.
fn calls(request: &GenerateRequest) -> Value {
    let written = TARGETS.map(|(name, provider, model)| {
        let target = Target { model: model.to_owned(), shape: Shape::Stream };
        let call = match of(provider).call(request, &target) {
            Ok(call) => json!({ "path": call.path, "headers": call.headers, "body": call.body,
                "warnings": call.warnings }),
            Err(error) => json!({ "refused": error.to_string() }),
        };
        (name.to_owned(), call)
    });
    Value::Object(written.into_iter().collect())
}

fn check(dialect: &str, parse: impl Fn(&[u8], RequestId) -> GenerateRequest) {
    let cases: Map<String, Value> =
        serde_json::from_slice(&read(&format!("requests/{dialect}.json"))).unwrap();
    let written = cases.iter().map(|(name, body)| {
        let request = parse(body.to_string().as_bytes(), RequestId("r".into()));
        (name.clone(), calls(&request))
    });
    compare(&format!("calls/{dialect}.json"), &Value::Object(written.collect()));
}

#[test]
fn chats_of_openai_reach_every_provider() {
    check("openai", |body, id| openai::parse_chat(body, id).unwrap().requests.remove(0));
}

#[test]
fn texts_of_openai_reach_every_provider_that_continues_texts() {
    check("completion", |body, id| openai::parse_completion(body, id).unwrap().requests.remove(0));
}

#[test]
fn messages_of_anthropic_reach_every_provider() {
    check("anthropic", |body, id| anthropic::parse_messages(body, id).unwrap().request);
}

#[test]
fn responses_of_openai_reach_every_provider() {
    check("responses", |body, id| responses::parse_response(body, id).unwrap().request);
}

#[test]
fn chats_of_ollama_reach_every_provider() {
    check("ollama", |body, id| match ollama::parse_chat(body, id).unwrap().task {
        Task::Generate(request) => *request,
        other => panic!("{other:?}"),
    });
}

#[test]
fn contents_of_gemini_reach_every_provider() {
    check("gemini", |body, id| gemini::parse_generate("m", body, id).unwrap().request);
}

/// The members of a body, sorted, as far as they say something.
fn said(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> =
                members.iter().map(|(name, value)| (name.clone(), said(value))).collect();
            members.sort_by(|one, two| one.0.cmp(&two.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(list) => list.iter().map(said).collect(),
        value => value.clone(),
    }
}

/// What comes in and goes out in the same dialect says the same, to the last mark.
#[test]
fn the_same_dialect_loses_nothing() {
    let cases: Map<String, Value> =
        serde_json::from_slice(&read("requests/anthropic.json")).unwrap();
    for (name, body) in &cases {
        let body = body.to_string();
        let call = anthropic::parse_messages(body.as_bytes(), RequestId("r".into())).unwrap();
        let target = Target { model: "m".into(), shape: Shape::Whole };
        let call = of(Provider::Anthropic).call(&call.request, &target).unwrap();
        let again = Value::Object(call.body).to_string();
        let twice = anthropic::parse_messages(again.as_bytes(), RequestId("r".into())).unwrap();
        let twice = of(Provider::Anthropic).call(&twice.request, &target).unwrap();
        assert_eq!(call.warnings, Vec::<String>::new(), "{name}");
        assert_eq!(said(&serde_json::from_str(&again).unwrap()), said(&Value::Object(twice.body)));
        let wanted: Value = serde_json::from_str(&body).unwrap();
        let found: Value = serde_json::from_str(&again).unwrap();
        for (field, value) in wanted.as_object().unwrap() {
            // A text alone and one block of it mean the same.
            if field != "messages" {
                assert_eq!(said(&found[field]), said(value), "{name}: {field}");
            }
        }
        assert_eq!(blocks(&found), blocks(&wanted), "{name}");
    }
}

/// All blocks of all messages; texts alone as blocks.
fn blocks(body: &Value) -> Vec<Value> {
    let of_message = |message: &Value| match &message["content"] {
        Value::String(text) => vec![json!({ "type": "text", "text": text })],
        content => content.as_array().unwrap().iter().map(said).collect(),
    };
    let all = body["messages"].as_array().unwrap().iter().flat_map(of_message);
    let said = all.map(|mut block| {
        if block["type"] == "tool_result" {
            block["content"] = of_message(&block).into();
        }
        said(&block)
    });
    said.collect()
}
