//! What the OpenAI dialect takes, refuses and prints.

use serde_json::{Value, json};

use super::*;
use crate::error::Error;
use crate::event::{Event, FinishReason, TokenLogprob, Usage};
use crate::request::{Input, Message, Priority, RequestId, Role};

fn chat(change: Value) -> crate::Result<Call> {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    parse_chat(body.to_string().as_bytes(), RequestId("r".into()))
}

fn completion(change: Value) -> crate::Result<Call> {
    let mut body = json!({ "model": "m", "prompt": "once" });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    parse_completion(body.to_string().as_bytes(), RequestId("r".into()))
}

fn tool(name: &str) -> Value {
    json!({ "type": "function", "function": {
        "name": name, "parameters": { "type": "object", "properties": {} },
    } })
}

fn heading() -> Heading {
    let (id, model, calls) = ("id".into(), "m".into(), CallForm::Tools);
    Heading { id, model, created: 1, tier: None, calls }
}

fn token(text: &str, bytes: &[u8]) -> TokenLogprob {
    let top = vec![(7, text.to_owned(), bytes.to_vec(), -0.5)];
    TokenLogprob { id: 7, text: text.into(), bytes: bytes.to_vec(), logprob: -0.5, top }
}

#[test]
fn a_plain_chat_is_parsed_with_nothing_chosen_for_the_model() {
    let call = chat(json!({})).unwrap();
    let request = &call.requests[0];
    assert_eq!(call.requests.len(), 1);
    assert_eq!(call.stream, None);
    assert_eq!(request.input, Input::Chat(vec![Message::text(Role::User, "hi")]));
    assert_eq!(request.sampling, Default::default());
    assert_eq!((request.max_tokens, request.choices, request.logprobs), (None, 1, None));
}

#[test]
fn roles_and_content_parts_are_understood() {
    let call = chat(json!({ "messages": [
        { "role": "developer", "content": "be kind" },
        { "role": "user", "name": "ann", "content": [
            { "type": "text", "text": "a" }, { "type": "text", "text": "b" }] },
        { "role": "assistant", "content": "", "tool_calls": [] },
    ]}))
    .unwrap();
    let Input::Chat(messages) = &call.requests[0].input else { panic!("a chat") };
    assert_eq!(messages[0].role, Role::System);
    assert_eq!(messages[1].joined_text(), "ab");
    assert_eq!(messages[1].name.as_deref(), Some("ann"));
    assert_eq!(messages[2].joined_text(), "");
}

#[test]
fn the_newer_name_of_max_tokens_wins() {
    let call = chat(json!({ "max_tokens": 5, "max_completion_tokens": 6 })).unwrap();
    assert_eq!(call.requests[0].max_tokens, Some(6));
}

#[test]
fn the_flex_tier_is_served_in_the_background_and_the_answer_names_its_tier() {
    for (asked, priority, tier) in [
        (json!(null), Priority::Default, None),
        (json!("auto"), Priority::Default, Some(Tier::Default)),
        (json!("priority"), Priority::Default, Some(Tier::Default)),
        (json!("flex"), Priority::Background, Some(Tier::Flex)),
    ] {
        for call in
            [chat(json!({ "service_tier": asked })), completion(json!({ "service_tier": asked }))]
        {
            let call = call.unwrap();
            assert_eq!((call.requests[0].priority, call.tier), (priority, tier), "{asked}");
        }
    }
    for wrong in [json!("fast"), json!(1)] {
        let Err(Error::Invalid { param, .. }) = chat(json!({ "service_tier": wrong })) else {
            panic!("{wrong}");
        };
        assert_eq!(param.as_deref(), Some("service_tier"));
    }
    let flex = Heading { tier: Some(Tier::Flex), ..heading() };
    let answer = Collector::new(Shape::Chat, flex.clone(), 1, false).finish();
    assert_eq!(answer["service_tier"], "flex");
    let mut printer = Printer::new(Shape::Chat, flex, StreamOptions::default(), false);
    let text = Event::Text { choice: 0, text: "a".into(), tokens: vec![] };
    for payload in printer.payloads(&text) {
        assert_eq!(serde_json::from_str::<Value>(&payload).unwrap()["service_tier"], "flex");
    }
}

#[test]
fn top_k_off_is_not_the_models_default() {
    for (top_k, wanted) in [
        (json!(null), None),
        (json!(-1), Some(1_000_000)),
        (json!(0), Some(1_000_000)),
        (json!(5), Some(5)),
    ] {
        let call = chat(json!({ "top_k": top_k })).unwrap();
        assert_eq!(call.requests[0].sampling.top_k, wanted, "{top_k}");
    }
}

#[test]
fn extras_of_other_clients_are_ignored_and_null_means_absent() {
    chat(json!({
        "num_ctx": 2048, "think": true, "keep_alive": "5m", "user": "u", "store": false,
        "tools": [], "response_format": { "type": "text" }, "temperature": null, "stop": null,
        "tool_choice": "none",
    }))
    .unwrap();
}

#[test]
fn each_wrong_chat_field_is_refused_by_its_name() {
    for (change, param) in [
        (json!({ "model": "" }), "model"),
        (json!({ "model": "m".repeat(257) }), "model"),
        (json!({ "messages": [] }), "messages"),
        (json!({ "messages": null }), "messages"),
        (json!({ "messages": ["x"] }), "messages[0]"),
        (json!({ "messages": [{ "role": "king", "content": "x" }] }), "messages[0].role"),
        (json!({ "messages": [{ "role": "user" }] }), "messages[0].content"),
        (json!({ "messages": [{ "role": "user", "content": 1 }] }), "messages[0].content"),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "hologram" }] }] }),
            "messages[0].content[0]",
        ),
        (json!({ "temperature": "x" }), "temperature"),
        (json!({ "temperature": 2.1 }), "temperature"),
        (json!({ "top_p": -0.1 }), "top_p"),
        (json!({ "n": 0 }), "n"),
        (json!({ "n": 1.5 }), "n"),
        (json!({ "n": 17 }), "n"),
        (json!({ "max_tokens": -1 }), "max_tokens"),
        (json!({ "max_tokens": 1e30 }), "max_tokens"),
        (json!({ "max_completion_tokens": 4_294_967_296_u64 }), "max_completion_tokens"),
        (json!({ "stop": [""] }), "stop"),
        (json!({ "stop": vec!["a"; 17] }), "stop"),
        (json!({ "stop": "a".repeat(257) }), "stop"),
        (json!({ "logit_bias": { "x": 1 } }), "logit_bias"),
        (json!({ "logit_bias": { "1": 101 } }), "logit_bias"),
        (json!({ "logprobs": true, "top_logprobs": 21 }), "top_logprobs"),
        (json!({ "top_logprobs": 2 }), "top_logprobs"),
        (json!({ "seed": 1.5 }), "seed"),
        (json!({ "stream": 1 }), "stream"),
        (json!({ "stream_options": [] }), "stream_options"),
        (json!({ "stream_options": { "include_usage": 1 } }), "stream_options.include_usage"),
    ] {
        refused(&change, param);
    }
}

#[test]
fn each_wrong_field_that_rules_an_answer_is_refused_by_its_name() {
    for (change, param) in [
        (json!({ "tools": [{}] }), "tools[0].type"),
        (json!({ "tools": 1 }), "tools"),
        (json!({ "tools": vec![json!({}); 129] }), "tools"),
        (json!({ "tools": [tool("a b")] }), "tools[0].function.name"),
        (json!({ "tools": [tool("a"), tool("a")] }), "tools[1].function.name"),
        (
            json!({ "tools": [{ "type": "function", "function": { "name": "a", "parameters": 1 } }] }),
            "tools[0].function.parameters",
        ),
        (json!({ "tool_choice": "required" }), "tool_choice"),
        (json!({ "tool_choice": "any", "tools": [tool("a")] }), "tool_choice"),
        (
            json!({ "tool_choice": { "function": { "name": "b" } }, "tools": [tool("a")] }),
            "tool_choice",
        ),
        (json!({ "parallel_tool_calls": 1, "tools": [tool("a")] }), "parallel_tool_calls"),
        (
            json!({ "messages": [{ "role": "assistant", "tool_calls": [{ "id": "1" }] }] }),
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": "x", "tool_calls": [
                { "id": "1", "function": { "name": "a", "arguments": "{}" } }] }] }),
            "messages[0].tool_calls",
        ),
        (json!({ "response_format": { "type": "xml" } }), "response_format.type"),
        (
            json!({ "response_format": { "type": "json_schema" } }),
            "response_format.json_schema.schema",
        ),
        (json!({ "guided_regex": 1 }), "guided_regex"),
        (json!({ "guided_regex": "a", "guided_choice": ["a"] }), "guided_json"),
        (json!({ "guided_choice": [] }), "guided_choice"),
        (json!({ "guided_json": "{" }), "guided_json"),
        (json!({ "chat_template_kwargs": { "a": "text" } }), "chat_template_kwargs"),
    ] {
        refused(&change, param);
    }
}

/// Holds that a chat with this change is refused by the name of its field, in a sentence.
fn refused(change: &Value, param: &str) {
    match chat(change.clone()) {
        Err(Error::Invalid { param: Some(found), message }) => {
            assert_eq!(found, param, "{change}");
            assert!(message.ends_with('.'), "{message}");
        }
        other => panic!("{change}: {other:?}"),
    }
}

#[test]
fn bodies_that_are_no_json_objects_are_refused() {
    let deep = "[".repeat(10_000);
    for body in ["", "{", "[]", "7", "{\"temperature\":NaN}", "{\"temperature\":1e999}", &deep] {
        let parsed = parse_chat(body.as_bytes(), RequestId("r".into()));
        assert!(matches!(parsed, Err(Error::Invalid { .. })), "{body:.20}");
    }
}

#[test]
fn a_body_of_millions_of_tiny_values_is_refused_before_it_is_parsed() {
    let many = |item: &str| {
        format!("{{\"model\":\"m\",\"x\":[{}{item}]}}", format!("{item},").repeat(300_000))
    };
    for item in ["1", "[]", "{\"\":1}"] {
        let parsed = parse_chat(many(item).as_bytes(), RequestId("r".into()));
        let Err(Error::Invalid { message, .. }) = parsed else { panic!("{item} was taken") };
        assert!(message.contains("values"), "{message}");
    }
    // Commas, brackets and escaped quotes inside texts are no values.
    chat(json!({ "user": "[{,:\\\"".repeat(300_000) })).unwrap();
    completion(json!({ "prompt": vec![5; 200_000] })).unwrap();
}

#[test]
fn prompts_come_in_four_forms() {
    let inputs = |prompt: Value| {
        let call = completion(json!({ "prompt": prompt })).unwrap();
        call.requests.into_iter().map(|request| request.input).collect::<Vec<_>>()
    };
    let text = |text: &str| Input::Text(text.to_owned());
    assert_eq!(inputs(json!("a")), [text("a")]);
    assert_eq!(inputs(json!(["a", "b"])), [text("a"), text("b")]);
    assert_eq!(inputs(json!([1, 2])), [Input::Tokens(vec![1, 2])]);
    assert_eq!(inputs(json!([[1], [2]])), [Input::Tokens(vec![1]), Input::Tokens(vec![2])]);
    for bad in
        [json!([]), json!([[]]), json!([1, "a"]), json!([-1]), json!(7), json!(vec!["a"; 65])]
    {
        assert!(completion(json!({ "prompt": bad })).is_err(), "{bad}");
    }
}

#[test]
fn each_prompt_is_a_request_with_its_own_id() {
    let call = completion(json!({ "prompt": ["a", "b"], "n": 2 })).unwrap();
    let ids: Vec<_> = call.requests.iter().map(|request| request.id.0.as_str()).collect();
    assert_eq!(ids, ["r", "r-2"]);
    assert_eq!(call.requests[0].max_tokens, Some(16));
}

#[test]
fn a_call_asks_for_so_many_answers_over_all_its_prompts() {
    let ask = |prompts: usize, n: u16| completion(json!({ "prompt": vec!["a"; prompts], "n": n }));
    assert_eq!(ask(64, 2).unwrap().requests.len(), 64);
    assert_eq!(ask(8, 16).unwrap().requests.len(), 8);
    for (prompts, n) in [(64, 3), (9, 16)] {
        let Err(Error::Invalid { param, .. }) = ask(prompts, n) else { panic!("{prompts} × {n}") };
        assert_eq!(param.as_deref(), Some("n"));
    }
}

#[test]
fn what_completions_cannot_do_is_refused() {
    for change in [
        json!({ "suffix": 1 }),
        json!({ "best_of": 3 }),
        json!({ "echo": true, "logprobs": 1 }),
        json!({ "logprobs": 21 }),
    ] {
        assert!(completion(change.clone()).is_err(), "{change}");
    }
    completion(json!({ "suffix": "", "best_of": 2, "n": 2 })).unwrap();
    let call = completion(json!({ "prompt": ["a", "b"], "suffix": "c" })).unwrap();
    let gap = Input::Infill { prompt: "b".into(), suffix: "c".into() };
    assert_eq!(call.requests[1].input, gap);
    assert!(completion(json!({ "prompt": [1, 2], "suffix": "c" })).is_err());
}

#[test]
fn a_chat_stream_has_role_text_reason_usage_and_end() {
    let options = StreamOptions { include_usage: true };
    let mut printer = Printer::new(Shape::Chat, heading(), options, false);
    let usage = Usage { prompt_tokens: 3, completion_tokens: 1, ..Usage::default() };
    let events = [
        Event::Started { prompt_tokens: 3 },
        Event::Text { choice: 0, text: "Hé".into(), tokens: vec![] },
        Event::Finished { choice: 0, reason: FinishReason::Stop },
        Event::Done(usage),
    ];
    let payloads: Vec<String> = events.iter().flat_map(|event| printer.payloads(event)).collect();
    let chunks: Vec<Value> =
        payloads[..4].iter().map(|payload| serde_json::from_str(payload).unwrap()).collect();
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    assert_eq!(
        chunks[1],
        json!({
            "id": "id", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{
                "index": 0, "delta": { "content": "Hé" }, "logprobs": null, "finish_reason": null,
            }],
            "usage": null,
        })
    );
    assert_eq!(chunks[2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(chunks[3]["choices"], json!([]));
    assert_eq!(chunks[3]["usage"]["total_tokens"], 4);
    assert_eq!(payloads[4], "[DONE]");
}

#[test]
fn usage_is_left_out_unless_asked_for() {
    let mut printer = Printer::new(Shape::Text, heading(), StreamOptions::default(), false);
    let text = Event::Text { choice: 1, text: "a".into(), tokens: vec![] };
    let chunk: Value = serde_json::from_str(&printer.payloads(&text)[0]).unwrap();
    assert_eq!(chunk.get("usage"), None);
    assert_eq!(
        chunk["choices"][0],
        json!({
            "index": 1, "text": "a", "logprobs": null, "finish_reason": null,
        })
    );
    assert_eq!(printer.payloads(&Event::Done(Usage::default())), ["[DONE]"]);
}

#[test]
fn a_collected_chat_has_every_choice_in_order() {
    let mut collector = Collector::new(Shape::Chat, heading(), 2, true);
    for event in [
        Event::Text { choice: 1, text: "b".into(), tokens: vec![token("b", b"b")] },
        Event::Text { choice: 0, text: "a".into(), tokens: vec![token("a", b"a")] },
        Event::Finished { choice: 0, reason: FinishReason::Length },
        Event::Finished { choice: 1, reason: FinishReason::Stop },
        Event::Done(Usage { prompt_tokens: 1, completion_tokens: 2, ..Usage::default() }),
    ] {
        collector.push(event);
    }
    let answer = collector.finish();
    assert_eq!(answer["object"], "chat.completion");
    let message = json!({ "role": "assistant", "content": "a", "refusal": null });
    assert_eq!(answer["choices"][0]["message"], message);
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(
        answer["choices"][1]["logprobs"]["content"][0],
        json!({
            "token": "b", "logprob": -0.5, "bytes": [98],
            "top_logprobs": [{ "token": "b", "logprob": -0.5, "bytes": [98] }],
        })
    );
    assert_eq!(answer["usage"]["completion_tokens"], 2);
}

#[test]
fn text_logprobs_name_broken_characters_by_their_bytes_and_count_offsets() {
    let mut collector = Collector::new(Shape::Text, heading(), 1, true);
    let mut rare = token("é", "é".as_bytes());
    rare.logprob = f32::NEG_INFINITY;
    collector.push(Event::Text {
        choice: 0,
        text: "é\u{fffd}".into(),
        tokens: vec![rare, token("\u{fffd}", &[0xe4])],
    });
    let logprobs = &collector.finish()["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"], json!(["é", "bytes:\\xe4"]));
    assert_eq!(logprobs["text_offset"], json!([0, 1]));
    assert_eq!(logprobs["token_logprobs"], json!([-9999.0, -0.5]));
    assert_eq!(logprobs["top_logprobs"][1], json!({ "bytes:\\xe4": -0.5 }));
}

mod functions;
mod harmless;

mod rules {
    use super::*;
    use crate::event::Aside;
    use crate::request::{AnswerFormat, ToolCall, ToolChoice};

    #[test]
    fn tools_and_the_choice_among_them_are_understood() {
        let named = json!({ "type": "function", "function": { "name": "b" } });
        for (choice, expected) in [
            (json!(null), ToolChoice::Auto),
            (json!("none"), ToolChoice::None),
            (json!("required"), ToolChoice::Required),
            (named, ToolChoice::Named("b".into())),
        ] {
            let change = json!({ "tools": [tool("a"), tool("b")], "tool_choice": choice });
            let call = chat(change).unwrap();
            let tools = call.requests[0].rules.tools.clone().unwrap();
            assert_eq!((tools.choice, tools.is_parallel), (expected, true));
            assert_eq!(tools.list[1].name, "b");
            assert_eq!(tools.list[1].description, tool("b"));
        }
        let call = chat(json!({ "tools": [tool("a")], "parallel_tool_calls": false })).unwrap();
        assert!(!call.requests[0].rules.tools.clone().unwrap().is_parallel);
    }

    #[test]
    fn calls_their_results_and_thoughts_are_understood() {
        let call = chat(json!({ "messages": [
            { "role": "user", "content": "x" },
            { "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
                { "id": "1", "type": "function", "function": { "name": "a", "arguments": "{\"b\":1}" } },
                { "id": "2", "type": "function", "function": { "name": "a", "arguments": { "b": 2 } } }] },
            { "role": "tool", "tool_call_id": "1", "content": "done" },
        ]}))
        .unwrap();
        let Input::Chat(messages) = &call.requests[0].input else { panic!("a chat") };
        let made = |id: &str, arguments: &str| ToolCall {
            id: id.into(),
            name: "a".into(),
            arguments: arguments.into(),
        };
        assert!(messages[1].calls().eq(&[made("1", "{\"b\":1}"), made("2", "{\"b\":2}")]));
        assert_eq!((messages[1].parts.len(), messages[1].reasoning().as_deref()), (3, Some("hm")));
        assert_eq!(messages[2].call_id.as_deref(), Some("1"));
    }

    #[test]
    fn formats_are_understood_by_their_names() {
        let format = |change: Value| chat(change).unwrap().requests[0].rules.format.clone();
        let schema = json!({ "type": "object", "properties": { "z": {}, "a": {} } });
        let wanted = Some(AnswerFormat::JsonSchema(schema.clone()));
        let asked =
            json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema } });
        assert_eq!(format(json!({ "response_format": asked })), wanted);
        assert_eq!(format(json!({ "guided_json": schema.to_string() })), wanted);
        let Some(AnswerFormat::JsonSchema(found)) = wanted else { panic!("a schema") };
        assert_eq!(found["properties"].to_string(), r#"{"z":{},"a":{}}"#, "the order is kept");
        let object = json!({ "response_format": { "type": "json_object" } });
        assert_eq!(format(object), Some(AnswerFormat::JsonObject));
        let regex = AnswerFormat::Regex("a+".into());
        assert_eq!(format(json!({ "guided_regex": "a+" })), Some(regex.clone()));
        let call = completion(json!({ "guided_regex": "a+" })).unwrap();
        assert_eq!(call.requests[0].rules.format, Some(regex));
        let lark = json!({ "guided_grammar": "start: \"a\"" });
        assert_eq!(format(lark), Some(AnswerFormat::Lark("start: \"a\"".into())));
        let choice = AnswerFormat::Choice(vec!["a".into(), "b".into()]);
        assert_eq!(format(json!({ "guided_choice": ["a", "b"] })), Some(choice));
        assert_eq!(format(json!({ "response_format": { "type": "text" } })), None);
    }

    pub(super) fn asides() -> Vec<Event> {
        let aside = |aside| Event::Aside { choice: 0, aside, tokens: Vec::new() };
        let arguments = |text: &str| Aside::CallArguments { index: 0, text: text.into() };
        vec![
            aside(Aside::Reasoning("h".into())),
            aside(Aside::Reasoning("m".into())),
            aside(Aside::CallStart { index: 0, id: "call_1".into(), name: "a".into() }),
            aside(arguments("{\"b\"")),
            aside(arguments(": 1}")),
            Event::Finished { choice: 0, reason: FinishReason::ToolCalls },
        ]
    }

    #[test]
    fn a_stream_tells_thoughts_and_calls_as_they_come() {
        let mut printer = Printer::new(Shape::Chat, heading(), StreamOptions::default(), false);
        let payloads: Vec<String> =
            asides().iter().flat_map(|event| printer.payloads(event)).collect();
        let deltas: Vec<Value> = payloads
            .iter()
            .map(|payload| serde_json::from_str::<Value>(payload).unwrap()["choices"][0].take())
            .collect();
        assert_eq!(deltas[1]["delta"], json!({ "reasoning_content": "h" }));
        assert_eq!(
            deltas[3]["delta"],
            json!({ "tool_calls": [{ "index": 0, "id": "call_1", "type": "function",
                "function": { "name": "a", "arguments": "" } }] })
        );
        let more = json!({ "tool_calls": [{ "index": 0, "function": { "arguments": ": 1}" } }] });
        assert_eq!(deltas[5]["delta"], more);
        assert_eq!(deltas[6]["finish_reason"], "tool_calls");
    }

    #[test]
    fn a_whole_answer_has_thoughts_and_calls_in_its_message() {
        let mut collector = Collector::new(Shape::Chat, heading(), 1, false);
        asides().into_iter().for_each(|event| collector.push(event));
        let choice = &collector.finish()["choices"][0];
        assert_eq!(
            choice["message"],
            json!({
                "role": "assistant", "content": null, "refusal": null, "reasoning_content": "hm",
                "tool_calls": [{ "id": "call_1", "type": "function",
                    "function": { "name": "a", "arguments": "{\"b\": 1}" } }],
            })
        );
        assert_eq!(choice["finish_reason"], "tool_calls");
    }
}
