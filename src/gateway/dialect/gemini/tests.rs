//! Tests of Google's dialect.

use serde_json::{Value, json};

use super::*;
use crate::error::{Error, Result};
use crate::event::{Aside, Event, FinishReason, Usage};
use crate::request::{
    AnswerFormat, Effort, Family, Input, MediaKind, MediaSource, Message, Part, RequestId, Role,
    Seal, Thinking, ToolChoice,
};

fn parse(change: Value) -> Result<Call> {
    let mut body = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] });
    let members = body.as_object_mut().unwrap();
    members.extend(change.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    parse_generate("m", body.to_string().as_bytes(), RequestId("r".into()))
}

fn messages(contents: Value) -> Vec<Message> {
    match parse(json!({ "contents": contents })).unwrap().request.input {
        Input::Chat(messages) => messages,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_path_names_a_model_and_what_is_asked_of_it() {
    let found = Action::of_path("a/b:q4:streamGenerateContent");
    assert_eq!(found, Some(("a/b:q4", Action::Stream)));
    assert_eq!(Action::of_path("m:predict"), None);
    assert_eq!(Action::of_path("m"), None);
}

#[test]
fn both_spellings_of_names_are_understood() {
    let call = parse(json!({
        "system_instruction": { "parts": [{ "text": "be brief" }] },
        "generation_config": { "max_output_tokens": 5, "top_k": 3.0, "stop_sequences": ["x"],
            "response_mime_type": "application/json", "thinking_config": { "thinking_budget": 0 } },
        "safetySettings": [],
    }))
    .unwrap();
    let request = call.request;
    let Input::Chat(messages) = &request.input else { panic!("a chat") };
    assert_eq!(messages[0], Message::text(Role::System, "be brief"));
    assert_eq!((request.max_tokens, request.sampling.top_k), (Some(5), Some(3)));
    assert_eq!((request.stop, request.rules.thinking), (vec!["x".to_owned()], Thinking::Off));
    assert_eq!(request.rules.format, Some(AnswerFormat::JsonObject));
    assert_eq!(call.ignored, ["safetySettings"]);
    let extras = request.extras.unwrap();
    assert_eq!(extras.raw["generationConfig"]["maxOutputTokens"], 5);
}

#[test]
fn results_find_their_calls_and_signatures_stand_before_what_they_sign() {
    let read = messages(json!([
        { "role": "user", "parts": [{ "text": "q" },
            { "inlineData": { "mimeType": "image/png", "data": "aGk=" } }] },
        { "role": "model", "parts": [
            { "text": "hm", "thought": true },
            { "functionCall": { "name": "f", "args": { "b": 1, "a": 2 } }, "thoughtSignature": "s" },
            { "functionCall": { "name": "g", "id": "x" } }] },
        { "role": "user", "parts": [
            { "functionResponse": { "name": "g", "id": "x", "response": { "result": 2 } } },
            { "functionResponse": { "name": "f", "response": { "result": 1 } } },
            { "text": "go on" }] },
    ]));
    let roles: Vec<Role> = read.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::Tool, Role::User]);
    let image = read[0].media().next().unwrap();
    assert!(matches!(image.source, MediaSource::Bytes { .. }) && image.kind == MediaKind::Image);
    let Part::Thought(sealed) = &read[1].parts[1] else { panic!("{:?}", read[1].parts) };
    let seal = Seal { family: Family::Gemini, value: "s".into(), is_thought: false };
    assert_eq!(sealed.seal, Some(seal));
    let calls: Vec<_> = read[1].calls().collect();
    assert_eq!((calls[0].arguments.as_str(), calls[1].id.as_str()), (r#"{"b":1,"a":2}"#, "x"));
    assert_eq!(read[2].call_id.as_deref(), Some("x"));
    assert_eq!(read[3].call_id.as_ref(), Some(&calls[0].id));
    assert_eq!(read[3].joined_text(), r#"{"result":1}"#);
}

#[test]
fn tools_formats_and_thinking_become_rules() {
    let schema = json!({ "type": "OBJECT", "properties": { "a": { "type": "STRING",
        "nullable": true }, "b": { "type": "ARRAY", "items": { "type": "INTEGER" } } } });
    let function = json!({ "name": "f", "description": "d", "parameters": schema });
    let tools = json!([{ "functionDeclarations": [function, { "name": "g" }] },
        { "googleSearch": {} }]);
    let config = |mode: &str, names: Value| json!({ "functionCallingConfig": { "mode": mode, "allowedFunctionNames": names } });
    let rules = |change| parse(change).unwrap().request.rules;
    let found = rules(json!({ "tools": tools, "toolConfig": config("ANY", json!(["g"])) }));
    let list = found.tools.unwrap();
    assert_eq!((&list.choice, list.list.len()), (&ToolChoice::Named("g".into()), 2));
    let wanted = json!({ "type": "object", "properties": { "a": { "type": ["string", "null"] },
        "b": { "type": "array", "items": { "type": "integer" } } } });
    assert_eq!(list.list[0].parameters, wanted);
    assert_eq!(found.foreign_tools[0].value, json!({ "googleSearch": {} }));
    let none = rules(json!({ "tools": tools, "toolConfig": config("NONE", json!([])) }));
    assert_eq!(none.tools.unwrap().choice, ToolChoice::None);
    let format = |config: Value| rules(json!({ "generationConfig": config })).format;
    assert_eq!(
        format(json!({ "responseMimeType": "text/x.enum",
            "responseSchema": { "type": "STRING", "enum": ["a", "b"] } })),
        Some(AnswerFormat::Choice(vec!["a".into(), "b".into()]))
    );
    let thinking =
        |config: Value| rules(json!({ "generationConfig": { "thinkingConfig": config } })).thinking;
    assert_eq!(thinking(json!({ "thinkingLevel": "low" })), Thinking::IfAble(Some(Effort::Low)));
    assert_eq!(thinking(json!({ "thinkingBudget": -1 })), Thinking::IfAble(None));
    assert_eq!(rules(json!({})).thinking, Thinking::AsModel);
}

#[test]
fn what_cannot_be_read_is_refused_by_its_place() {
    let parts = |part: Value| json!({ "contents": [{ "parts": [part] }] });
    for (change, place) in [
        (json!({ "contents": null }), "contents"),
        (json!({ "contents": [] }), "contents"),
        (json!({ "contents": [{ "role": "robot", "parts": [] }] }), "contents[0].role"),
        (parts(json!({ "hologram": {} })), "contents[0].parts[0]"),
        (
            parts(json!({ "inlineData": { "mimeType": "image/png", "data": "?" } })),
            "contents[0].parts[0]",
        ),
        (parts(json!({ "functionCall": { "name": "f" } })), "contents[0].parts[0]"),
        (parts(json!({ "functionResponse": { "name": "f" } })), "contents[0].parts[0]"),
        (json!({ "generationConfig": { "temperature": 3 } }), "temperature"),
        (json!({ "generationConfig": { "logprobs": 3 } }), "generationConfig.logprobs"),
        (
            json!({ "toolConfig": { "functionCallingConfig": { "mode": "ANY" } } }),
            "toolConfig.functionCallingConfig",
        ),
    ] {
        let Err(Error::Invalid { param, .. }) = parse(change.clone()) else {
            panic!("{change} was taken")
        };
        assert_eq!(param.as_deref(), Some(place), "{change}");
    }
}

fn events() -> Vec<Event> {
    let aside = |aside| Event::Aside { choice: 0, aside, tokens: Vec::new() };
    let text = |text: &str| Event::Text { choice: 0, text: text.into(), tokens: Vec::new() };
    let seal = Seal { family: Family::Gemini, value: "s".into(), is_thought: false };
    vec![
        Event::Started { prompt_tokens: 3 },
        aside(Aside::Reasoning("hm".into())),
        text("a"),
        text("b"),
        aside(Aside::Seal(Box::new(seal))),
        aside(Aside::CallStart { index: 0, id: "c".into(), name: "f".into() }),
        aside(Aside::CallArguments { index: 0, text: "{\"x\":".into() }),
        aside(Aside::CallArguments { index: 0, text: "1}".into() }),
        Event::Finished { choice: 0, reason: FinishReason::ToolCalls },
        Event::Done(Usage {
            prompt_tokens: 3,
            completion_tokens: 5,
            reasoning_tokens: 2,
            ..Usage::default()
        }),
    ]
}

fn printer(shows_thoughts: bool) -> Printer {
    let (id, model) = ("r".to_owned(), "m".to_owned());
    Printer::new(Heading { id, model, shows_thoughts, has_logprobs: false })
}

#[test]
fn a_stream_tells_whole_calls_and_ends_with_reason_and_usage() {
    let mut printer = printer(true);
    let pieces: Vec<Value> = events().into_iter().flat_map(|event| printer.pieces(event)).collect();
    let parts: Vec<&Value> =
        pieces.iter().map(|piece| &piece["candidates"][0]["content"]["parts"]).collect();
    let call = json!({ "functionCall": { "id": "c", "name": "f", "args": { "x": 1 } },
        "thoughtSignature": "s" });
    assert_eq!(
        parts,
        [
            &json!([{ "text": "hm", "thought": true }]),
            &json!([{ "text": "a" }]),
            &json!([{ "text": "b" }]),
            &json!([call]),
            &json!([]),
        ]
    );
    let last = pieces.last().unwrap();
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    assert_eq!(
        last["usageMetadata"],
        json!({ "promptTokenCount": 3, "candidatesTokenCount": 3, "totalTokenCount": 8,
            "thoughtsTokenCount": 2 })
    );
}

#[test]
fn a_whole_answer_joins_its_texts_and_hides_thoughts_unless_asked() {
    let answer = printer(false).answer(events());
    let parts = &answer["candidates"][0]["content"]["parts"];
    assert_eq!(parts[0], json!({ "text": "ab" }));
    assert_eq!((parts.as_array().unwrap().len(), &parts[1]["thoughtSignature"]), (2, &json!("s")));
    assert_eq!(answer["candidates"][0]["finishReason"], "STOP");
    assert_eq!((&answer["modelVersion"], &answer["responseId"]), (&json!("m"), &json!("r")));
}

#[test]
fn vectors_are_asked_for_one_by_one_and_together() {
    use crate::embedding::{EmbedInput, Embedded};
    let id = || RequestId("r".into());
    let content = json!({ "parts": [{ "text": "a" }, { "text": "b" }] });
    let one = json!({ "content": content, "taskType": "RETRIEVAL_QUERY",
        "outputDimensionality": 1 });
    let call = parse_embed("m", one.to_string().as_bytes(), id()).unwrap();
    assert_eq!(call.request.inputs, [EmbedInput::Cut("a\nb".into())]);
    assert_eq!(call.ignored, ["taskType"]);
    let embedded = Embedded { vectors: vec![vec![3.0, 4.0]], usage: Usage::default() };
    assert_eq!(call.print(&embedded), json!({ "embedding": { "values": [1.0] } }));
    let batch = json!({ "requests": [{ "content": content }, { "content": content }] });
    let call = parse_embed_batch("m", batch.to_string().as_bytes(), id()).unwrap();
    let embedded = Embedded { vectors: vec![vec![1.0], vec![2.0]], usage: Usage::default() };
    let wanted = json!({ "embeddings": [{ "values": [1.0] }, { "values": [2.0] }] });
    assert_eq!(call.print(&embedded), wanted);
    assert!(parse_embed_batch("m", b"{}", id()).is_err());
}
