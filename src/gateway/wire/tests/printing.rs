//! Answers of every provider, whole and in pieces, printed in every dialect.

use std::time::Duration;

use serde_json::{Value, json};

use super::bedrock::{self, BEDROCK};
use super::{ANSWERS, compare, events, read};
use crate::dialect::ollama::Timing;
use crate::dialect::{anthropic, gemini, ollama, openai, responses};
use crate::event::Event;
use crate::wire::Shape;

/// A stream among the goldens, as its provider writes it.
fn stream_of(name: &str) -> Vec<u8> {
    let stream = read(&format!("answers/{name}.stream"));
    if name == BEDROCK.0 { bedrock::frames(&stream) } else { stream }
}

fn open_ai(events: &[Event]) -> Value {
    let heading = || openai::Heading {
        id: "id".into(),
        model: "m".into(),
        created: 1,
        tier: None,
        calls: Default::default(),
    };
    let options = openai::StreamOptions { include_usage: true };
    let mut printer = openai::Printer::new(openai::Shape::Chat, heading(), options, false);
    let stream: Vec<Value> = events
        .iter()
        .flat_map(|event| printer.payloads(event))
        .map(|text| serde_json::from_str(&text).unwrap_or(text.into()))
        // What every chunk repeats says nothing here.
        .map(|chunk: Value| match &chunk["choices"][0]["delta"] {
            Value::Null => chunk,
            delta => json!([delta, chunk["choices"][0]["finish_reason"]]),
        })
        .collect();
    let mut collector = openai::Collector::new(openai::Shape::Chat, heading(), 1, false);
    events.iter().cloned().for_each(|event| collector.push(event));
    json!({ "stream": stream, "whole": collector.finish() })
}

fn anthropic(events: &[Event]) -> Value {
    let heading =
        || anthropic::Heading { id: "id".into(), model: "m".into(), stop: vec!["END".into()] };
    let mut printer = anthropic::Printer::new(heading());
    let stream: Vec<Value> =
        events.iter().flat_map(|event| printer.events(event)).map(|(_, data)| data).collect();
    let mut collector = anthropic::Collector::new(heading());
    events.iter().cloned().for_each(|event| collector.push(event));
    json!({ "stream": stream, "whole": collector.finish() })
}

fn responses(events: &[Event]) -> Value {
    let heading = responses::Heading {
        id: "resp_id".into(),
        model: "m".into(),
        created: 1,
        echoed: Default::default(),
    };
    let mut printer = responses::Printer::new(heading);
    let stream = events.iter().cloned().flat_map(|event| printer.events(event));
    let mut stream: Vec<Value> = stream.map(|(_, data)| data).collect();
    // The whole answer stands beside it.
    stream.retain(|data| data.get("response").is_none());
    json!({ "stream": stream, "whole": printer.answer() })
}

fn ollama(events: &[Event]) -> Value {
    let timing = Timing { created_at: "now".into(), since_start: Duration::from_nanos(1) };
    let printer = || ollama::Printer::new(ollama::Shape::Chat, "m".into(), false);
    let mut lines = printer();
    let stream = events.iter().cloned().flat_map(|event| lines.objects(event, &timing));
    let stream: Vec<Value> = stream.collect();
    json!({ "stream": stream, "whole": printer().answer(events.to_vec(), &timing) })
}

fn gemini(events: &[Event]) -> Value {
    let printer = || {
        let (id, model) = ("id".to_owned(), "m".to_owned());
        let heading = gemini::Heading { id, model, shows_thoughts: true, has_logprobs: false };
        gemini::Printer::new(heading)
    };
    let mut pieces = printer();
    let stream = events.iter().cloned().flat_map(|event| pieces.pieces(event));
    let stream: Vec<Value> = stream.collect();
    json!({ "stream": stream, "whole": printer().answer(events.to_vec()) })
}

#[test]
fn answers_of_every_provider_are_printed_in_every_dialect() {
    for (name, provider) in ANSWERS.into_iter().chain([BEDROCK]) {
        let stream = stream_of(name);
        let events = events(provider, Shape::Stream, &[&stream]).unwrap();
        let printed = json!({
            "openai": open_ai(&events),
            "anthropic": anthropic(&events),
            "responses": responses(&events),
            "ollama": ollama(&events),
            "gemini": gemini(&events),
        });
        compare(&format!("printed/{name}.json"), &printed);
    }
}

#[test]
fn an_answer_says_the_same_whole_and_in_pieces() {
    for (name, provider) in ANSWERS.into_iter().chain([BEDROCK]) {
        let stream = events(provider, Shape::Stream, &[&stream_of(name)]);
        let whole = events(provider, Shape::Whole, &[&read(&format!("answers/{name}.json"))]);
        let (stream, whole) = (stream.unwrap(), whole.unwrap());
        for print in [open_ai, anthropic, ollama, gemini] {
            assert_eq!(print(&stream)["whole"], print(&whole)["whole"], "{name}");
        }
    }
}

/// What clients of Anthropic get from Anthropic is what Anthropic has said, to the last mark.
#[test]
fn an_answer_of_the_same_dialect_loses_nothing() {
    let sent: Value = serde_json::from_slice(&read("answers/anthropic.json")).unwrap();
    let whole =
        events(super::Provider::Anthropic, Shape::Whole, &[&read("answers/anthropic.json")]);
    let printed = &anthropic(&whole.unwrap())["whole"];
    for field in ["content", "stop_reason", "stop_sequence", "usage"] {
        assert_eq!(printed[field], sent[field], "{field}");
    }
    let sent: Value = serde_json::from_slice(&read("answers/gemini.json")).unwrap();
    let whole = events(super::Provider::Gemini, Shape::Whole, &[&read("answers/gemini.json")]);
    let mut printed = gemini(&whole.unwrap())["whole"]["candidates"][0].take();
    for part in printed["content"]["parts"].as_array_mut().unwrap() {
        // Calls without a name are given one.
        if let Some(call) = part.get_mut("functionCall").and_then(Value::as_object_mut) {
            call.remove("id");
        }
    }
    assert_eq!(printed, sent["candidates"][0]);
}
