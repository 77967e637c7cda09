//! The older form of tools: what it comes to and how it is answered.

use super::rules::asides;
use super::*;
use crate::request::{ToolCall, ToolChoice};

fn function(name: &str) -> Value {
    json!({ "name": name, "description": "does it", "parameters": { "type": "object" } })
}

#[test]
fn functions_are_tools_of_one_call() {
    for (choice, expected) in [
        (json!(null), ToolChoice::Auto),
        (json!("auto"), ToolChoice::Auto),
        (json!("none"), ToolChoice::None),
        (json!({ "name": "b" }), ToolChoice::Named("b".into())),
    ] {
        let functions = [function("a"), function("b")];
        let call = chat(json!({ "functions": functions, "function_call": choice })).unwrap();
        assert_eq!((call.calls, call.ignored.len()), (CallForm::Function, 0));
        let tools = call.requests[0].rules.tools.clone().unwrap();
        assert_eq!((tools.choice, tools.is_parallel), (expected, false));
        assert_eq!((tools.list[1].name.as_str(), tools.list.len()), ("b", 2));
        let told = json!({ "type": "function", "function": function("b") });
        assert_eq!(tools.list[1].description, told);
        assert_eq!(tools.list[1].parameters, json!({ "type": "object" }));
    }
    let plain = chat(json!({ "functions": [] })).unwrap();
    assert_eq!((plain.calls, plain.requests[0].rules.tools.is_none()), (CallForm::Tools, true));
}

#[test]
fn beside_tools_functions_are_left_out_and_that_is_said() {
    let both =
        json!({ "functions": [function("a")], "function_call": "none", "tools": [tool("b")] });
    let call = chat(both).unwrap();
    assert_eq!(
        (call.calls, call.ignored),
        (CallForm::Tools, vec!["functions".into(), "function_call".into()])
    );
    let tools = call.requests[0].rules.tools.clone().unwrap();
    assert_eq!((tools.list[0].name.as_str(), tools.choice), ("b", ToolChoice::Auto));
}

#[test]
fn wrong_functions_are_named() {
    for (change, param) in [
        (json!({ "functions": [{}] }), "functions[0].name"),
        (json!({ "functions": 1 }), "functions"),
        (json!({ "functions": [function("a"), function("a")] }), "functions[1].name"),
        (json!({ "functions": [{ "name": "a", "parameters": 1 }] }), "functions[0].parameters"),
        (
            json!({ "functions": [function("a")], "function_call": { "name": "b" } }),
            "function_call",
        ),
        (json!({ "functions": [function("a")], "function_call": "required" }), "function_call"),
        (json!({ "function_call": { "name": "b" } }), "function_call"),
        (
            json!({ "messages": [{ "role": "assistant", "function_call": { "name": "a" } }] }),
            "messages[0].function_call.arguments",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": "x",
                "function_call": { "name": "a", "arguments": "{}" } }] }),
            "messages[0].function_call",
        ),
    ] {
        refused(&change, param);
    }
}

#[test]
fn a_result_answers_the_call_before_it() {
    let turn = |arguments: &str| {
        json!({ "role": "assistant", "content": null,
            "function_call": { "name": "a", "arguments": arguments } })
    };
    let result = json!({ "role": "function", "name": "a", "content": "7" });
    let messages = json!([
        { "role": "user", "content": "x" }, turn("{}"), result, turn("{\"b\":1}"), result,
    ]);
    let call = chat(json!({ "messages": messages })).unwrap();
    let Input::Chat(messages) = &call.requests[0].input else { panic!("a chat") };
    let made = |id: &str, arguments: &str| {
        vec![ToolCall { id: id.into(), name: "a".into(), arguments: arguments.into() }]
    };
    assert!(messages[1].calls().eq(&made("call00001", "{}")));
    assert!(messages[3].calls().eq(&made("call00003", "{\"b\":1}")));
    for (at, id) in [(2, "call00001"), (4, "call00003")] {
        assert_eq!((messages[at].role, messages[at].call_id.as_deref()), (Role::Tool, Some(id)));
    }
}

#[test]
fn a_call_is_told_in_the_older_form() {
    let heading = Heading { calls: CallForm::Function, ..heading() };
    let mut printer = Printer::new(Shape::Chat, heading.clone(), StreamOptions::default(), false);
    let payloads: Vec<String> = asides().iter().flat_map(|event| printer.payloads(event)).collect();
    let choices: Vec<Value> = payloads
        .iter()
        .map(|payload| serde_json::from_str::<Value>(payload).unwrap()["choices"][0].take())
        .collect();
    assert_eq!(choices[3]["delta"], json!({ "function_call": { "name": "a", "arguments": "" } }));
    assert_eq!(choices[5]["delta"], json!({ "function_call": { "arguments": ": 1}" } }));
    assert_eq!(choices[6]["finish_reason"], "function_call");
    let mut collector = Collector::new(Shape::Chat, heading, 1, false);
    asides().into_iter().for_each(|event| collector.push(event));
    let choice = &collector.finish()["choices"][0];
    let call = json!({ "name": "a", "arguments": "{\"b\": 1}" });
    assert_eq!(choice["message"]["function_call"], call);
    assert_eq!(choice["message"].get("tool_calls"), None);
    assert_eq!(choice["finish_reason"], "function_call");
}
