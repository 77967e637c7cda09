//! What the Anthropic dialect takes, refuses and prints.

use serde_json::{Value, json};

use super::*;
use crate::error::Result;
use crate::event::{Aside, Event, FinishReason, Usage};
use crate::request::{AnswerFormat, Effort, Input, Message, RequestId, Role, Thinking, ToolChoice};

fn with(change: Value) -> Vec<u8> {
    let mut body = json!({
        "model": "m", "max_tokens": 5, "messages": [{ "role": "user", "content": "hi" }],
    });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    body.to_string().into_bytes()
}

fn parse(change: Value) -> Result<Call> {
    parse_messages(&with(change), RequestId("r".into()))
}

fn messages(change: Value) -> Vec<Message> {
    match parse(change).unwrap().request.input {
        Input::Chat(messages) => messages,
        _ => panic!("a chat"),
    }
}

fn heading() -> Heading {
    Heading { id: "msg_1".into(), model: "m".into(), stop: vec!["END".into()] }
}

fn aside(aside: Aside) -> Event {
    Event::Aside { choice: 0, aside, tokens: Vec::new() }
}

fn answer(reason: FinishReason) -> Vec<Event> {
    let text = |text: &str| Event::Text { choice: 0, text: text.into(), tokens: Vec::new() };
    let start = |index, name: &str| {
        aside(Aside::CallStart { index, id: format!("c{index}"), name: name.into() })
    };
    let usage =
        Usage { prompt_tokens: 9, cached_tokens: 4, completion_tokens: 6, ..Usage::default() };
    vec![
        Event::Started { prompt_tokens: 9 },
        aside(Aside::Reasoning("hm".into())),
        text("a"),
        text(""),
        text("b"),
        start(0, "f"),
        aside(Aside::CallArguments { index: 0, text: "{\"x\":".into() }),
        aside(Aside::CallArguments { index: 0, text: "1}".into() }),
        start(1, "g"),
        Event::Finished { choice: 0, reason },
        Event::Done(usage),
    ]
}

#[test]
fn blocks_become_messages() {
    let list = json!([
        { "role": "user", "content": [{ "type": "text", "text": "q" },
            { "type": "document", "source": { "type": "text", "data": "d" }, "title": "t" }] },
        { "role": "assistant", "content": [
            { "type": "thinking", "thinking": "hm", "signature": "s" },
            { "type": "text", "text": "ok" },
            { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "b": 1, "a": 2 } }] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "toolu_1", "is_error": true,
              "content": [{ "type": "text", "text": "no" }] },
            { "type": "text", "text": "again" }] },
    ]);
    let system = json!([{ "type": "text", "text": "Be", "cache_control": { "type": "ephemeral" } },
        { "type": "text", "text": "kind." }]);
    let read = messages(json!({ "system": system, "messages": list }));
    let roles: Vec<Role> = read.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
    let texts: Vec<String> = read.iter().map(Message::joined_text).collect();
    assert_eq!(texts, ["Be\nkind.", "qt\n\nd", "ok", "Error: no", "again"]);
    assert_eq!(read[2].reasoning().as_deref(), Some("hm"));
    assert_eq!(read[2].calls().next().unwrap().arguments, r#"{"b":1,"a":2}"#);
    assert_eq!(read[3].call_id.as_deref(), Some("toolu_1"));
}

#[test]
fn numbers_stops_and_thoughts_become_the_request() {
    let call = parse(json!({ "temperature": 1, "top_k": 5, "top_p": 0.7, "stream": true,
        "stop_sequences": ["x"], "thinking": { "type": "enabled", "budget_tokens": 1024 },
        "output_config": { "effort": "low" }, "metadata": { "user_id": "u" } }))
    .unwrap();
    assert!(call.is_streamed && call.ignored.is_empty());
    let request = call.request;
    assert_eq!((request.max_tokens, request.sampling.top_k), (Some(5), Some(5)));
    assert_eq!(request.stop, ["x"]);
    assert_eq!(request.rules.thinking, Thinking::IfAble(Some(Effort::Low)));
    assert_eq!(parse(json!({})).unwrap().request.rules.thinking, Thinking::Off);
    let counted = json!({ "max_tokens": null });
    assert!(parse_count(&with(counted.clone()), RequestId("r".into())).is_ok());
    assert!(parse(counted).is_err());
}

#[test]
fn tools_and_formats_become_rules() {
    let schema = json!({ "type": "object" });
    let tool = json!({ "name": "f", "description": "d", "input_schema": schema, "strict": true });
    let rules = |change| parse(change).unwrap().request.rules;
    let tools = rules(json!({ "tools": [tool], "tool_choice":
        { "type": "tool", "name": "f", "disable_parallel_tool_use": true } }))
    .tools
    .unwrap();
    assert_eq!((&tools.choice, tools.is_parallel), (&ToolChoice::Named("f".into()), false));
    assert_eq!(
        tools.list[0].description,
        json!({ "type": "function", "function":
            { "name": "f", "description": "d", "parameters": schema } })
    );
    for (word, choice) in
        [("any", ToolChoice::Required), ("auto", ToolChoice::Auto), ("none", ToolChoice::None)]
    {
        let change = json!({ "tools": [tool], "tool_choice": { "type": word } });
        assert_eq!(rules(change).tools.unwrap().choice, choice);
    }
    let config = json!({ "format": { "type": "json_schema", "schema": schema } });
    let format = rules(json!({ "output_config": config })).format;
    assert_eq!(format, Some(AnswerFormat::JsonSchema(schema)));
    let both = parse(json!({ "output_config": config, "tools": [tool] })).unwrap();
    assert!(both.request.rules.format.is_some() && both.request.rules.yields_format);
    assert_eq!(both.ignored, ["output_config.format"]);
    let bash = json!({ "type": "bash_20250124", "name": "bash" });
    let rules = rules(json!({ "tools": [bash, tool] }));
    assert_eq!((&rules.foreign_tools[0].value, rules.tools.unwrap().list.len()), (&bash, 1));
}

#[test]
fn what_cannot_be_read_is_refused_by_its_place() {
    let image = json!([{ "role": "user", "content": [{ "type": "hologram", "source": {} }] }]);
    for (change, wanted) in [
        (json!({ "max_tokens": null }), "max_tokens: Field required"),
        (json!({ "max_tokens": 0 }), "'max_tokens' must be a whole number"),
        (json!({ "messages": [] }), "messages: at least one message is required"),
        (json!({ "messages": image }), "messages.0.content.0: a block of type \"hologram\""),
        (json!({ "messages": [{ "role": "tool", "content": "x" }] }), "messages.0.role: must be"),
        (json!({ "temperature": 1.5 }), "'temperature' must be a number from 0 to 1"),
        (json!({ "tool_choice": { "type": "any" } }), "tool_choice: asks for a call without"),
        (json!({ "thinking": { "type": "deep" } }), "thinking: type must be"),
        (json!({ "stop_sequences": [""] }), "'stop_sequences' must be a list"),
    ] {
        let error = parse(change.clone()).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{change}: {error}");
    }
}

#[test]
fn a_stream_is_blocks_between_a_start_and_a_stop() {
    let mut printer = Printer::new(heading());
    let events: Vec<Named> =
        answer(FinishReason::ToolCalls).iter().flat_map(|event| printer.events(event)).collect();
    let names: Vec<&str> = events.iter().map(|(name, _)| *name).collect();
    let block = |deltas: usize| {
        let mut names = vec!["content_block_start"];
        names.extend(vec!["content_block_delta"; deltas]);
        names.push("content_block_stop");
        names
    };
    let wanted = [
        vec!["message_start"],
        block(2),
        block(2),
        block(2),
        block(0),
        vec!["message_delta", "message_stop"],
    ];
    assert_eq!(names, wanted.concat());
    assert!(events.iter().all(|(name, data)| data["type"] == *name));
    assert_eq!(events[0].1["message"]["usage"]["input_tokens"], 9);
    assert_eq!(events[3].1["delta"], json!({ "type": "signature_delta", "signature": "hearth" }));
    assert_eq!(events[9].1["content_block"]["id"], "toolu_c0");
    assert_eq!((&events[12].1["index"], &events[14].1["index"]), (&json!(2), &json!(3)));
    let last = &events[events.len() - 2].1;
    assert_eq!(last["delta"], json!({ "stop_reason": "tool_use", "stop_sequence": null }));
    let usage = json!({ "input_tokens": 5, "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 4, "output_tokens": 6 });
    assert_eq!(last["usage"], usage);
}

#[test]
fn a_whole_message_has_the_same_blocks() {
    let whole = |reason| {
        let mut collector = Collector::new(heading());
        answer(reason).into_iter().for_each(|event| collector.push(event));
        collector.finish()
    };
    let message = whole(FinishReason::StopText(0));
    assert_eq!(
        message["content"],
        json!([
            { "type": "thinking", "thinking": "hm", "signature": "hearth" },
            { "type": "text", "text": "ab" },
            { "type": "tool_use", "id": "toolu_c0", "name": "f", "input": { "x": 1 } },
            { "type": "tool_use", "id": "toolu_c1", "name": "g", "input": {} },
        ])
    );
    assert_eq!(
        (&message["stop_reason"], &message["stop_sequence"]),
        (&json!("stop_sequence"), &json!("END"))
    );
    for (reason, word) in [
        (FinishReason::Stop, "end_turn"),
        (FinishReason::StopText(7), "end_turn"),
        (FinishReason::Length, "max_tokens"),
    ] {
        assert_eq!(whole(reason)["stop_reason"], word);
    }
}
