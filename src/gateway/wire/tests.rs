//! Every pair of dialects, against goldens: rich requests of each are written by each wire, and an
//! answer of each wire is printed in each dialect. `UPDATE_GOLDENS=1` writes them anew.

mod bedrock;
mod faults;
mod pairs;
mod printing;
mod speed;

use std::path::PathBuf;

use serde_json::Value;

use super::{Provider, Reader, Refusal, Shape, of};
use crate::event::Event;
use crate::request::{GenerateRequest, Input, Message, RequestId, Role};

/// A folder or file among the goldens.
fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("wire/goldens").join(name)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(golden(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Compares with a golden, or writes it.
fn compare(name: &str, found: &Value) {
    let text = serde_json::to_string_pretty(found).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(golden(name), text).unwrap();
        return;
    }
    let wanted: Value = serde_json::from_slice(&read(name)).unwrap();
    let Value::Object(found) = found else { panic!("{name} is no object") };
    for (case, found) in found {
        assert_eq!(found, &wanted[case], "{name}, {case}");
    }
    assert_eq!(found.len(), wanted.as_object().unwrap().len(), "{name}");
}

/// A request that the answers would fit.
fn request() -> GenerateRequest {
    GenerateRequest {
        id: RequestId("r".into()),
        model: "m".into(),
        input: Input::Chat(vec![Message::text(Role::User, "Compare.")]),
        priority: Default::default(),
        sampling: Default::default(),
        max_tokens: None,
        stop: vec!["END".into()],
        choices: 1,
        logprobs: None,
        echo: false,
        rules: Default::default(),
        window: Default::default(),
        fallback: Default::default(),
        extras: None,
    }
}

fn reader(provider: Provider, shape: Shape) -> Box<dyn Reader> {
    of(provider).reader(&request(), shape)
}

/// The events of an answer in these pieces, or why there are none.
fn events(
    provider: Provider,
    shape: Shape,
    pieces: &[&[u8]],
) -> Result<Vec<Event>, (Refusal, Vec<Event>)> {
    let (mut reader, mut events) = (reader(provider, shape), Vec::new());
    let mut fed = pieces.iter().try_for_each(|piece| reader.feed(piece, &mut events));
    if fed.is_ok() {
        fed = reader.end(&mut events);
    }
    match fed {
        Ok(()) => Ok(events),
        Err(refusal) => Err((refusal, events)),
    }
}

/// Providers with an answer among the goldens, one of each dialect.
const ANSWERS: [(&str, Provider); 6] = [
    ("responses", Provider::OpenAiResponses),
    ("openai", Provider::Compatible),
    ("anthropic", Provider::Anthropic),
    ("gemini", Provider::Gemini),
    ("ollama", Provider::Ollama),
    ("cohere", Provider::Cohere),
];
