//! The errors that Ollama's clients look for, word by word.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::registry::Registry;
use crate::story::Story;

/// A route below `/api/`, the body (of `chat` and `generate` what it changes of a good one; `LONG` is
/// a text that fits no context), the status, and the words; `…` stands for any that follow.
type Case = (&'static str, &'static str, u16, &'static str);

const BODIES_AND_NAMES: &[Case] = &[
    ("chat", "", 400, "missing request body"),
    ("generate", "", 400, "missing request body"),
    ("embed", "", 400, "missing request body"),
    ("embeddings", "", 400, "missing request body"),
    ("show", "", 400, "missing request body"),
    ("pull", "", 400, "missing request body"),
    ("push", "", 400, "missing request body"),
    ("create", "", 400, "missing request body"),
    ("copy", "", 400, "missing request body"),
    ("delete", "", 400, "missing request body"),
    ("chat", r#"{"model":"gone"}"#, 404, "model 'gone' not found"),
    ("generate", r#"{"model":"gone"}"#, 404, "model 'gone' not found"),
    ("generate", r#"{"model":""}"#, 404, "model '' not found"),
    ("embed", r#"{"model":"gone","input":"x"}"#, 404, "model 'gone' not found"),
    ("show", r#"{"model":"gone"}"#, 404, "model 'gone' not found"),
    ("push", r#"{"model":"gone"}"#, 404, "model 'gone' not found"),
    ("delete", r#"{"model":"gone"}"#, 404, "model 'gone' not found"),
    ("chat", r#"{"model":""}"#, 400, "model is required"),
    ("embeddings", r#"{"prompt":"x"}"#, 400, "model is required"),
    ("show", "{}", 400, "model is required"),
    ("push", "{}", 400, "model is required"),
    ("pull", r#"{"model":"a/../b"}"#, 400, "invalid model name"),
    ("push", r#"{"model":"a/../b"}"#, 400, "invalid model name"),
    ("create", r#"{"model":"a/../b","from":"x"}"#, 400, "invalid model name"),
    ("copy", r#"{"source":"../x","destination":"y"}"#, 400, "source \"../x\" is invalid"),
    ("copy", r#"{"source":"x","destination":"../y"}"#, 400, "destination \"../y\" is invalid"),
    ("copy", r#"{"source":"gone","destination":"y"}"#, 404, "model \"gone\" not found"),
    ("delete", r#"{"model":"../x"}"#, 400, "name \"../x\" is invalid"),
    ("blobs/sha256:12", "x", 400, "invalid digest format"),
    ("create", r#"{"model":"x"}"#, 400, "neither 'from' or 'files' was specified"),
    ("push", r#"{"model":"stories260k"}"#, 403, "Models are not pushed to…"),
    ("push", r#"{"model":"hearth-guide"}"#, 409, "Model `hearth-guide` is built into Hearth…"),
];

const INSERT: &str = "registry.ollama.ai/library/stories260k:latest does not support insert";
const TOOLS: &str = "registry.ollama.ai/library/stories260k:latest does not support tools";
const VISION: &str = "registry.ollama.ai/library/stories260k:latest does not support vision";
const THINKING: &str = "\"stories260k\" does not support thinking";
const RAW: &str = "raw mode does not support template, system, or context";
const LOGPROBS: &str = "top_logprobs must be between 0 and 20";
const THINK: &str = "invalid think value: \"x\" (must be \"high\", \"medium\", \"low\", \"max\", true, \
                     or false)";
const FULL: &str =
    "the prompt is longer than the context length currently available to the model; …";
const FORMAT: &str = "invalid format: \"xml\"; expected \"json\" or a valid JSON Schema object";
const PICTURE: &str = r#"{"messages":[{"role":"user","content":"x","images":["aGk="]}]}"#;
const LONG_CHAT: &str = r#"{"messages":[{"role":"user","content":"LONG"}],"truncate":false}"#;

/// Ollama answers a wrong option and a wrong format with 500, although the request is wrong and not
/// the server.
const ABILITIES_AND_OPTIONS: &[Case] = &[
    ("chat", r#"{"think":true}"#, 400, THINKING),
    ("generate", r#"{"think":"high"}"#, 400, THINKING),
    ("chat", r#"{"tools":[{"type":"function","function":{"name":"f"}}]}"#, 400, TOOLS),
    ("generate", r#"{"suffix":"x"}"#, 400, INSERT),
    ("generate", r#"{"images":["aGk="]}"#, 400, VISION),
    ("chat", PICTURE, 400, VISION),
    ("embed", r#"{"model":"stories260k","input":"x"}"#, 400, "…"),
    ("generate", r#"{"top_logprobs":21}"#, 400, LOGPROBS),
    ("chat", r#"{"top_logprobs":-1}"#, 400, LOGPROBS),
    ("generate", r#"{"raw":true,"system":"x"}"#, 400, RAW),
    ("generate", r#"{"raw":true,"template":"x"}"#, 400, RAW),
    ("generate", r#"{"raw":true,"context":[1]}"#, 400, RAW),
    ("chat", r#"{"think":"x"}"#, 400, THINK),
    ("embed", r#"{"model":"stories260k","input":7}"#, 400, "invalid input type"),
    ("embed", r#"{"model":"stories260k","input":[7]}"#, 400, "invalid input type"),
    ("generate", r#"{"prompt":"LONG","raw":true,"truncate":false}"#, 400, FULL),
    ("chat", LONG_CHAT, 400, FULL),
    ("chat", r#"{"format":"xml"}"#, 400, FORMAT),
    ("chat", r#"{"options":{"num_ctx":"8"}}"#, 400, "option \"num_ctx\" must be of type integer"),
    (
        "chat",
        r#"{"options":{"temperature":"hot"}}"#,
        400,
        "option \"temperature\" must be of type float32",
    ),
    ("chat", r#"{"options":{"stop":7}}"#, 400, "option \"stop\" must be of an array of strings"),
    ("chat", r#"{"keep_alive":"10"}"#, 400, "time: missing unit in duration \"10\""),
    ("generate", r#"{"width":64}"#, 400, "image generation models are not currently supported"),
];

/// The body that is sent.
fn body(route: &str, text: &str) -> Vec<u8> {
    let base = match route {
        "chat" => {
            json!({ "model": "stories260k", "messages": [{ "role": "user", "content": "Once" }] })
        }
        "generate" => json!({ "model": "stories260k", "prompt": "Once" }),
        _ => return text.as_bytes().to_vec(),
    };
    if text.is_empty() {
        return Vec::new();
    }
    let change: Map<String, Value> =
        serde_json::from_str(&text.replace("LONG", &"word ".repeat(2000))).unwrap();
    let Value::Object(mut body) = base else { panic!("an object") };
    body.extend(change);
    Value::Object(body).to_string().into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_in_ollamas_words() {
    let story = Story::begin().await;
    for (route, text, status, words) in BODIES_AND_NAMES.iter().chain(ABILITIES_AND_OPTIONS) {
        let method = if *route == "delete" { Method::DELETE } else { Method::POST };
        let path = format!("/api/{route}");
        let (found, answer) = story.send_bytes(method, &path, body(route, text)).await;
        let error = answer["error"].as_str().unwrap_or_default();
        let is_told = match words.strip_suffix('…') {
            Some(beginning) => error.starts_with(beginning) && !error.is_empty(),
            None => error == *words,
        };
        assert!(is_told && found.as_u16() == *status, "{route} {text}: {found} {answer}");
    }
    let (status, _) = story.send_bytes(Method::POST, "/api/chat", b"{\"model\":".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "whatever Go would say of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_file_is_told_in_ollamas_words() {
    let story = Story::begin().await;
    let (wanted, sent) = (hearth_hub::Digest::of(b"a"), hearth_hub::Digest::of(b"b"));
    let path = format!("/api/blobs/{wanted}");
    let (status, answer) = story.send_bytes(Method::POST, &path, b"b".to_vec()).await;
    let words = format!("digest mismatch, expected \"{wanted}\", got \"{sent}\"");
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!(words)));
    let (status, _) = story.send_bytes(Method::HEAD, &path, Vec::new()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_finds_nothing_says_what_the_client_compares() {
    let registry = Registry::start().await;
    let story = registry.story().await;
    let name = registry.name("me/none");
    let text = story.text(Method::POST, "/api/pull", json!({ "model": name })).await;
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last, json!({ "error": "pull model manifest: file does not exist" }));
    let whole = json!({ "model": name, "stream": false });
    let (status, answer) = story.call("/api/pull", whole).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let error = answer["error"].as_str().unwrap();
    assert!(error.starts_with("pull model manifest: file does not exist"), "{error}");
}
