//! What the Ollama dialect takes, refuses and prints.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::error::{Error, Result};
use crate::event::{Aside, Event, FinishReason, TokenLogprob, Usage};
use crate::request::{
    AnswerFormat, Effort, Input, Message, Overflow, RequestId, Role, Thinking, ToolChoice,
};

fn with(mut body: Value, change: Value) -> Vec<u8> {
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    body.to_string().into_bytes()
}

fn chat(change: Value) -> Result<Call> {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    parse_chat(&with(body, change), RequestId("r".into()))
}

fn generate(change: Value) -> Result<Call> {
    parse_generate(&with(json!({ "model": "m", "prompt": "hi" }), change), RequestId("r".into()))
}

fn request(call: Call) -> GenerateRequest {
    match call.task {
        Task::Generate(request) => *request,
        Task::Load | Task::Render(_) => panic!("a request"),
    }
}

fn timing() -> Timing {
    Timing { created_at: "now".into(), since_start: Duration::from_nanos(9) }
}

fn usage() -> Usage {
    let (prompt_tokens, completion_tokens) = (3, 2);
    let (load_ns, prompt_ns, answer_ns) = (4, 5, 6);
    Usage { prompt_tokens, completion_tokens, load_ns, prompt_ns, answer_ns, ..Usage::default() }
}

fn text(text: &str) -> Event {
    Event::Text { choice: 0, text: text.into(), tokens: Vec::new() }
}

fn aside(aside: Aside) -> Event {
    Event::Aside { choice: 0, aside, tokens: Vec::new() }
}

fn finished(reason: FinishReason) -> Event {
    Event::Finished { choice: 0, reason }
}

#[test]
fn a_plain_chat_streams_and_draws_as_ollama_does() {
    let call = chat(json!({})).unwrap();
    assert!(call.is_streamed);
    assert_eq!((call.keep_alive, call.shape), (None, Shape::Chat));
    let request = request(call);
    assert_eq!(request.input, Input::Chat(vec![Message::text(Role::User, "hi")]));
    assert_eq!(request.sampling, Default::default());
    let drawn = request.fallback;
    assert_eq!((drawn.temperature, drawn.top_k, drawn.top_p), (Some(0.8), Some(40), Some(0.9)));
    assert_eq!(request.window.overflow, Overflow::DropOldest);
    assert_eq!(request.max_tokens, None);
}

#[test]
fn options_are_read_by_type_and_unknown_ones_are_named() {
    let call = chat(json!({ "stream": false, "truncate": false, "options": {
        "num_ctx": 2048.0, "num_predict": 7, "temperature": 0, "top_k": 0, "top_p": 0.5,
        "min_p": 0.1, "seed": 5, "stop": ["a", ""], "repeat_penalty": 1.1, "presence_penalty": 1,
        "frequency_penalty": -1, "mirostat": 2, "num_gpu": 1, "no such option": 1, "tfs_z": null,
    }}))
    .unwrap();
    assert!(!call.is_streamed);
    assert_eq!(call.ignored, ["mirostat", "num_gpu"]);
    let request = request(call);
    assert_eq!(request.window.limit_tokens, Some(2048));
    assert_eq!(request.window.overflow, Overflow::Refuse);
    assert_eq!((request.max_tokens, request.stop), (Some(7), vec!["a".to_owned()]));
    let drawn = request.sampling;
    assert_eq!((drawn.temperature, drawn.top_k, drawn.seed), (Some(0.0), Some(1_000_000), Some(5)));
    assert_eq!((drawn.repetition_penalty, drawn.presence_penalty), (Some(1.1), Some(1.0)));
    let any = chat(json!({ "options": { "seed": -1, "num_predict": -1 } })).unwrap();
    let any = super::tests::request(any);
    assert_eq!((any.sampling.seed, any.max_tokens), (None, None));
}

#[test]
fn refusals_have_the_words_that_clients_look_for() {
    let deep = json!({ "name": "f" });
    for (change, wanted) in [
        (json!({ "model": "" }), "model is required"),
        (json!({ "options": { "num_ctx": "8" } }), "option \"num_ctx\" must be of type integer"),
        (json!({ "options": { "top_p": true } }), "option \"top_p\" must be of type float32"),
        (json!({ "options": { "stop": [1] } }), "option \"stop\" must be of an array of strings"),
        (json!({ "top_logprobs": 21 }), "top_logprobs must be between 0 and 20"),
        (
            json!({ "think": "loud" }),
            "invalid think value: \"loud\" (must be \"high\", \"medium\", \"low\", \"max\", true, \
             or false)",
        ),
        (
            json!({ "format": "xml" }),
            "invalid format: \"xml\"; expected \"json\" or a valid JSON Schema object",
        ),
        (json!({ "keep_alive": "10" }), "time: missing unit in duration \"10\""),
        (
            json!({ "messages": [{ "role": "user", "content": "x", "images": ["?"] }] }),
            "images: the data must be base64.",
        ),
        (json!({ "width": 8 }), "image generation models are not currently supported"),
        (json!({ "tools": [deep] }), "'tools[0].type' must be \"function\"."),
        (
            json!({ "messages": [{ "role": "robot", "content": "x" }] }),
            "messages: role must be one of system, user, assistant, tool",
        ),
    ] {
        assert_eq!(chat(change.clone()).unwrap_err().to_string(), wanted, "{change}");
    }
    for (change, wanted) in [
        (
            json!({ "raw": true, "system": "s" }),
            "raw mode does not support template, system, or context",
        ),
        (json!({ "suffix": "s", "raw": true }), "raw mode does not support suffix"),
        (json!({ "context": ["a"] }), "context must be a list of token ids"),
    ] {
        assert_eq!(generate(change.clone()).unwrap_err().to_string(), wanted, "{change}");
    }
    assert_eq!(generate(json!({ "model": "" })).unwrap_err(), Error::NoModel(String::new()));
    let empty = parse_chat(b" ", RequestId("r".into())).unwrap_err();
    assert_eq!(empty.to_string(), "missing request body");
    assert!(chat(json!({ "template": 1, "template2": [], "unknown": {} })).is_ok());
}

#[test]
fn a_suffix_makes_a_gap_and_a_template_goes_along() {
    let call = generate(json!({ "prompt": "a", "suffix": "b", "template": "{{ .Suffix }}" }));
    let request = request(call.unwrap());
    assert_eq!(request.input, Input::Infill { prompt: "a".into(), suffix: "b".into() });
    assert_eq!(request.rules.template.as_deref(), Some("{{ .Suffix }}"));
    for call in [chat, generate].map(|parse| parse(json!({ "_debug_render_only": true }))) {
        assert!(matches!(call.unwrap().task, Task::Render(_)));
    }
}

#[test]
fn a_call_without_words_only_loads() {
    for call in [chat(json!({ "messages": [] })), generate(json!({ "prompt": "" }))] {
        assert!(matches!(call.unwrap().task, Task::Load));
    }
    let call = generate(json!({ "prompt": null, "keep_alive": 0 })).unwrap();
    assert_eq!(call.keep_alive, Some(KeepAlive::For(Duration::ZERO)));
}

#[test]
fn formats_thoughts_and_tools_become_rules() {
    let rules = |change| request(chat(change).unwrap()).rules;
    assert_eq!(rules(json!({ "format": "json" })).format, Some(AnswerFormat::JsonObject));
    assert_eq!(rules(json!({ "format": "" })).format, None);
    let schema = json!({ "type": "object" });
    let format = rules(json!({ "format": schema })).format;
    assert_eq!(format, Some(AnswerFormat::JsonSchema(schema)));
    assert_eq!(rules(json!({ "think": true })).thinking, Thinking::On(None));
    assert_eq!(rules(json!({ "think": false })).thinking, Thinking::Off);
    assert_eq!(rules(json!({ "think": "max" })).thinking, Thinking::On(Some(Effort::Max)));
    let tool = json!({ "type": "function", "function": { "name": "f" } });
    let tools = rules(json!({ "tools": [tool] })).tools.unwrap();
    assert_eq!((tools.choice, tools.list[0].name.as_str()), (ToolChoice::Auto, "f"));
}

#[test]
fn results_of_tools_find_the_call_that_they_answer() {
    let call = |id: &str, name: &str| {
        json!({ "id": id, "function": { "name": name,
        "arguments": { "b": 1, "a": 2 } } })
    };
    let messages = json!([
        { "role": "USER", "content": "q" },
        { "role": "assistant", "content": "", "thinking": "hm", "tool_calls": [
            call("c1", "f"), call("c2", "g")] },
        { "role": "tool", "tool_name": "g", "content": "2" },
        { "role": "tool", "tool_call_id": "c1", "content": "1" },
    ]);
    let Input::Chat(messages) = request(chat(json!({ "messages": messages })).unwrap()).input
    else {
        panic!("a chat")
    };
    assert_eq!(messages[0].role, Role::User);
    assert_eq!(messages[1].reasoning().as_deref(), Some("hm"));
    assert_eq!(
        messages[1].calls().next().unwrap().arguments,
        r#"{"b":1,"a":2}"#,
        "in the order as written"
    );
    assert_eq!(messages[2].call_id.as_deref(), Some("c2"));
    assert_eq!(messages[3].call_id.as_deref(), Some("c1"));
    let nameless = json!([
        { "role": "assistant", "content": "", "tool_calls": [call("c1", "f"), call("c2", "g")] },
        { "role": "tool", "content": "1" }, { "role": "tool", "content": "2" },
    ]);
    let Input::Chat(messages) = request(chat(json!({ "messages": nameless })).unwrap()).input
    else {
        panic!("a chat")
    };
    let ids: Vec<_> = messages[1..].iter().map(|message| message.call_id.as_deref()).collect();
    assert_eq!(ids, [Some("c1"), Some("c2")], "in their order");
}

#[test]
fn a_prompt_is_a_chat_unless_it_is_raw() {
    let request = |change| request(generate(change).unwrap());
    let plain = request(json!({ "system": "be kind", "context": [1, 2] }));
    let Input::Chat(messages) = &plain.input else { panic!("a chat") };
    assert_eq!(messages[0], Message::text(Role::System, "be kind"));
    assert_eq!((plain.window.before, plain.window.tells_context), (vec![1, 2], true));
    let raw = request(json!({ "raw": true }));
    assert_eq!((raw.input, raw.window.tells_context), (Input::Text("hi".into()), false));
}

#[test]
fn a_stream_ends_with_counts_and_whole_nanoseconds() {
    let mut printer = Printer::new(Shape::Chat, "m:x".into(), false);
    let mut objects = Vec::new();
    for event in [
        Event::Started { prompt_tokens: 3 },
        aside(Aside::Reasoning("hm".into())),
        text("a"),
        text(""),
        finished(FinishReason::Length),
        Event::Done(Usage { dropped_tokens: 8, ..usage() }),
    ] {
        objects.extend(printer.objects(event, &timing()));
    }
    let line = |message: Value| json!({ "model": "m:x", "created_at": "now", "message": message, "done": false });
    assert_eq!(objects.len(), 3);
    let thought = json!({ "role": "assistant", "content": "", "thinking": "hm" });
    assert_eq!(objects[0], line(thought));
    assert_eq!(objects[1], line(json!({ "role": "assistant", "content": "a" })));
    assert_eq!(
        objects[2],
        json!({
            "model": "m:x", "created_at": "now", "done": true, "done_reason": "length",
            "message": { "role": "assistant", "content": "" },
            "total_duration": 9, "load_duration": 4, "prompt_eval_count": 3,
            "prompt_eval_duration": 5, "eval_count": 2, "eval_duration": 6,
            "truncated": true, "prompt_tokens_dropped": 8,
        })
    );
}

#[test]
fn calls_are_told_whole_with_arguments_as_objects() {
    let start = |index, name: &str| {
        aside(Aside::CallStart { index, id: format!("id{index}"), name: name.into() })
    };
    let arguments = |index, text: &str| aside(Aside::CallArguments { index, text: text.into() });
    let events = [
        start(0, "f"),
        arguments(0, "{\"b\": 1,"),
        arguments(0, " \"a\": 2}"),
        start(1, "g"),
        start(2, "cut"),
        arguments(2, "{\"a\": "),
        finished(FinishReason::ToolCalls),
        Event::Done(usage()),
    ];
    let call = |index: u32, name: &str, arguments: Value| {
        json!({ "id": format!("call_id{index}"),
            "function": { "index": index, "name": name, "arguments": arguments } })
    };
    let (f, g) = (call(0, "f", json!({ "b": 1, "a": 2 })), call(1, "g", json!({})));
    let mut printer = Printer::new(Shape::Chat, "m".into(), false);
    let lines: Vec<Value> =
        events.clone().into_iter().flat_map(|event| printer.objects(event, &timing())).collect();
    let calls: Vec<&Value> = lines.iter().map(|line| &line["message"]["tool_calls"]).collect();
    assert_eq!(calls, [&json!([f]), &json!([g]), &Value::Null]);
    assert_eq!(lines[2]["done_reason"], "stop");
    let whole = Printer::new(Shape::Chat, "m".into(), false).answer(events.into(), &timing());
    assert_eq!(whole["message"]["tool_calls"], json!([f, g]));
}

#[test]
fn a_prompt_is_answered_with_its_context_and_log_probabilities() {
    let top = vec![
        (7, "x".to_owned(), vec![120], -0.25),
        (8, "y".to_owned(), vec![121], f32::NEG_INFINITY),
    ];
    let token = TokenLogprob { id: 7, text: "x".into(), bytes: vec![120], logprob: -0.25, top };
    let events = vec![
        Event::Text { choice: 0, text: "x".into(), tokens: vec![token.clone()] },
        Event::Text { choice: 0, text: "x".into(), tokens: vec![token] },
        finished(FinishReason::Stop),
        Event::Context { tokens: vec![1, 7, 7] },
        Event::Done(usage()),
    ];
    let answer = Printer::new(Shape::Generate, "m".into(), true).answer(events.clone(), &timing());
    assert_eq!((&answer["response"], &answer["context"]), (&json!("xx"), &json!([1, 7, 7])));
    let one = json!({ "token": "x", "logprob": -0.25, "bytes": [120], "top_logprobs": [
        { "token": "x", "logprob": -0.25, "bytes": [120] },
        { "token": "y", "logprob": -9999.0, "bytes": [121] },
    ]});
    assert_eq!(answer["logprobs"], json!([one, one]));
    let unasked = Printer::new(Shape::Generate, "m".into(), false).answer(events, &timing());
    assert_eq!(unasked.get("logprobs"), None);
}

#[test]
fn a_stream_that_broke_off_says_so_and_ends() {
    let printer = Printer::new(Shape::Generate, "m".into(), false);
    let last = printer.failed("it broke", &timing());
    assert_eq!((&last["error"], &last["done"]), (&json!("it broke"), &json!(true)));
    assert_eq!((&last["done_reason"], &last["response"]), (&json!("error"), &json!("")));
}

#[test]
fn names_are_written_out() {
    for (model, full, tagged) in [
        ("m", "registry.ollama.ai/library/m:latest", "m:latest"),
        ("m:q4", "registry.ollama.ai/library/m:q4", "m:q4"),
        ("me/m", "registry.ollama.ai/me/m:latest", "me/m:latest"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest", "localhost:5000/a/b:latest"),
    ] {
        assert_eq!((full_name(model).as_str(), tagged_name(model).as_str()), (full, tagged));
    }
}

#[test]
fn vectors_are_asked_for_in_two_ways() {
    use crate::embedding::{EmbedInput, Embedded};
    let embed = |body: Value| parse_embed(body.to_string().as_bytes(), RequestId("r".into()));
    let call = embed(json!({ "model": "m", "input": ["a", "b"], "dimensions": 1 })).unwrap();
    let cut = |text: &str| EmbedInput::Cut(text.into());
    assert_eq!(call.request.inputs, [cut("a"), cut("b")]);
    let vectors = vec![vec![-3.0, 4.0], vec![0.0, 1.0]];
    let dropped = Usage { dropped_tokens: 4, ..usage() };
    let embedded = Embedded { vectors, usage: dropped };
    let times = (Duration::from_nanos(9), Duration::from_nanos(2));
    assert_eq!(
        call.print(&embedded, times.0, times.1).unwrap(),
        json!({ "model": "m", "embeddings": [[-1.0], [0.0]], "total_duration": 9,
            "load_duration": 2, "prompt_eval_count": 3,
            "truncated": true, "prompt_tokens_dropped": 4 })
    );
    let whole = embed(json!({ "model": "m", "input": "a", "truncate": false })).unwrap();
    assert_eq!(whole.request.inputs, [EmbedInput::Text("a".into())]);
    assert_eq!(embed(json!({ "model": "m" })).unwrap().request.inputs, []);
    let wrong = embed(json!({ "model": "m", "input": [1] })).unwrap_err();
    assert_eq!(wrong.to_string(), "invalid input type");
    let body = json!({ "model": "m", "prompt": "a" }).to_string();
    let call = parse_embeddings(body.as_bytes(), RequestId("r".into())).unwrap();
    let answer = call.print(&embedded, times.0, times.1).unwrap();
    assert_eq!(answer, json!({ "embedding": [-3.0, 4.0] }));
}
