//! What the dialect of `/v1/responses` takes, refuses and prints.

use serde_json::{Value, json};

use super::*;
use crate::error::Result;
use crate::event::{Aside, Event, FinishReason, Usage};
use crate::request::{
    AnswerFormat, Effort, Input, Message, Overflow, RequestId, Role, Thinking, ToolChoice,
};

fn parse(change: Value) -> Result<Call> {
    let mut body = json!({ "model": "m", "input": "hi" });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    parse_response(body.to_string().as_bytes(), RequestId("r".into()))
}

fn messages(change: Value) -> Vec<Message> {
    match parse(change).unwrap().request.input {
        Input::Chat(messages) => messages,
        _ => panic!("a chat"),
    }
}

fn printer() -> Printer {
    let echoed = parse(json!({ "temperature": 0.5 })).unwrap().echoed;
    Printer::new(Heading { id: "resp_1".into(), model: "m".into(), created: 7, echoed })
}

fn aside(aside: Aside) -> Event {
    Event::Aside { choice: 0, aside, tokens: Vec::new() }
}

fn answer(reason: FinishReason) -> Vec<Event> {
    let text = |text: &str| Event::Text { choice: 0, text: text.into(), tokens: Vec::new() };
    let call = Aside::CallStart { index: 0, id: "c".into(), name: "f".into() };
    vec![
        Event::Started { prompt_tokens: 9 },
        aside(Aside::Reasoning("hm".into())),
        text("a"),
        text(""),
        text("b"),
        aside(call),
        aside(Aside::CallArguments { index: 0, text: "{}".into() }),
        Event::Finished { choice: 0, reason },
        Event::Done(Usage {
            prompt_tokens: 9,
            completion_tokens: 4,
            reasoning_tokens: 1,
            ..Usage::default()
        }),
    ]
}

#[test]
fn items_of_one_turn_become_one_message() {
    let read = messages(json!({ "instructions": "Be kind.", "input": [
        { "role": "user", "content": [{ "type": "input_text", "text": "q" }] },
        { "type": "reasoning", "id": "rs", "summary": [{ "type": "summary_text", "text": "hm" }] },
        { "type": "message", "role": "assistant", "content": [
            { "type": "output_text", "text": "ok", "annotations": [] }] },
        { "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}" },
        { "type": "function_call", "call_id": "call_2", "name": "g", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "call_1", "output": "1" },
    ]}));
    let roles: Vec<Role> = read.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool]);
    assert_eq!(
        (read[2].reasoning().as_deref(), read[2].joined_text().as_str()),
        (Some("hm"), "ok")
    );
    assert_eq!(read[2].calls().count(), 2);
    assert_eq!((read[3].call_id.as_deref(), read[3].joined_text().as_str()), (Some("call_1"), "1"));
    assert_eq!(messages(json!({})), [Message::text(Role::User, "hi")]);
}

#[test]
fn fields_become_the_request() {
    let tool = json!({ "type": "function", "name": "f", "parameters": null, "strict": true });
    let call = parse(json!({ "max_output_tokens": 5, "temperature": 1, "truncation": "auto",
        "reasoning": { "effort": "high" }, "tools": [tool, { "type": "web_search" }],
        "tool_choice": { "type": "function", "name": "f" }, "parallel_tool_calls": false,
        "include": ["message.output_text.logprobs"], "stream": true }))
    .unwrap();
    assert!(call.is_streamed);
    assert_eq!(call.ignored, ["include", "tools.1"]);
    let request = call.request;
    assert_eq!((request.max_tokens, request.window.overflow), (Some(5), Overflow::DropOldest));
    assert_eq!(request.rules.thinking, Thinking::IfAble(Some(Effort::High)));
    let tools = request.rules.tools.unwrap();
    assert_eq!((tools.choice, tools.is_parallel), (ToolChoice::Named("f".into()), false));
    let schema = json!({ "type": "object" });
    let text = json!({ "format": { "type": "json_schema", "name": "n", "schema": schema } });
    let rules = parse(json!({ "text": text })).unwrap().request.rules;
    assert_eq!(rules.format, Some(AnswerFormat::JsonSchema(schema)));
}

#[test]
fn what_needs_a_memory_or_cannot_be_read_is_refused_by_name() {
    let image = json!([{ "role": "user", "content": [{ "type": "input_hologram" }] }]);
    for (change, wanted) in [
        (json!({ "previous_response_id": "resp_0" }), "'previous_response_id' is not supported"),
        (json!({ "background": true }), "'background' is not supported"),
        (json!({ "input": [] }), "'input' must be a string or a list"),
        (json!({ "input": image }), "A content part of type 'input_hologram'"),
        (json!({ "input": [{ "type": "item_reference" }] }), "An item of type 'item_reference'"),
        (json!({ "tool_choice": "required" }), "'tool_choice' asks for a call"),
        (json!({ "truncation": "some" }), "'truncation' must be auto or disabled."),
        (json!({ "reasoning": { "effort": "huge" } }), "'reasoning.effort' must be one of"),
        (json!({ "max_output_tokens": 0 }), "'max_output_tokens' must be"),
    ] {
        let error = parse(change.clone()).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{change}: {error}");
    }
}

#[test]
fn a_stream_is_numbered_and_ends_with_the_whole_answer() {
    let mut printer = printer();
    let events: Vec<Named> = answer(FinishReason::ToolCalls)
        .into_iter()
        .flat_map(|event| printer.events(event))
        .collect();
    let names: Vec<&str> =
        events.iter().map(|(name, _)| name.strip_prefix("response.").unwrap()).collect();
    assert_eq!(
        names,
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_text.delta",
            "reasoning_text.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(number)));
    }
    assert_eq!(events[10].1["text"], "ab");
    let whole = &events[17].1["response"];
    assert_eq!(*whole, printer.answer());
    assert_eq!(whole["status"], "completed");
    let kinds: Vec<&Value> =
        whole["output"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["reasoning", "message", "function_call"]);
    assert_eq!(whole["output"][2]["call_id"], "call_c");
    assert_eq!((&whole["temperature"], &whole["tools"]), (&json!(0.5), &json!([])));
    assert_eq!(whole["usage"]["total_tokens"], 13);
    assert_eq!(whole["usage"]["output_tokens_details"]["reasoning_tokens"], 1);
}

#[test]
fn an_answer_that_was_cut_or_broke_off_says_so() {
    let mut cut = printer();
    let last = answer(FinishReason::Length).into_iter().flat_map(|event| cut.events(event)).last();
    let (name, data) = last.unwrap();
    assert_eq!((name, &data["response"]["status"]), ("response.incomplete", &json!("incomplete")));
    assert_eq!(data["response"]["incomplete_details"]["reason"], "max_output_tokens");
    let mut broken = printer();
    broken.events(Event::Started { prompt_tokens: 1 });
    let (name, data) = broken.failed("server_error", "it broke");
    assert_eq!((name, &data["sequence_number"]), ("response.failed", &json!(2)));
    assert_eq!(data["response"]["error"], json!({ "code": "server_error", "message": "it broke" }));
    assert_eq!(data["response"]["status"], "failed");
}
