//! Templates in Go's notation: what they write, what they show of a model, and that they end.

use std::time::Instant;

use serde_json::{Value as Json, json};

use super::*;
use crate::answer::CallSyntax;
use crate::message::{ChatMessage, ToolCall};
use crate::template::{Abilities, ChatTemplate};

/// ChatML with tools and thoughts, as models of the qwen family have it.
const CHATML: &str = r#"{{- if or .System .Tools }}<|im_start|>system
{{ .System }}
{{- if .Tools }}

# Tools
<tools>
{{- range .Tools }}
{"type": "function", "function": {{ .Function }}}
{{- end }}
</tools>
{{- end }}<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "system" }}{{ continue }}{{ end -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if .Thinking }}<think>{{ .Thinking }}</think>
{{ end }}{{ .Content }}
{{- if .ToolCalls }}<tool_call>
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}{{ end }}
</tool_call>
{{- end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- else if eq .Role "tool" }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ if and $.IsThinkSet (not $.Think) }}<think></think>{{ end }}
{{- end }}
{{- end }}"#;

/// One question and one answer at a time, as older models have it.
const PAIRS: &str = "{{ if .System }}[S]{{ .System }}[/S] {{ end }}{{ if .Prompt }}Q: {{ .Prompt }}\n{{ end }}A: {{ .Response }}</s>\n";

fn render(source: &str, input: RenderInput) -> Result<String> {
    ChatTemplate::new_go(source)?.render(&input)
}

fn said(list: &[(&str, &str)]) -> Vec<ChatMessage> {
    list.iter().map(|(role, content)| ChatMessage::new(*role, *content)).collect()
}

fn weather() -> Json {
    json!({ "type": "function", "function": {
        "name": "weather", "description": "Tells <the> weather",
        "parameters": { "type": "object", "required": ["city"], "properties": {
            "unit": { "type": "string", "enum": ["C", "F"] },
            "city": { "description": "where", "type": ["string", "null"] },
        }},
    }})
}

#[test]
fn a_chat_with_tools_is_written_as_its_family_expects() {
    let mut messages = said(&[("system", "Be kind."), ("user", "hi")]);
    let call = ToolCall {
        id: "1".into(),
        name: "weather".into(),
        arguments: r#"{"unit":"C","city":"Rome"}"#.into(),
    };
    messages.push(ChatMessage { tool_calls: vec![call], ..ChatMessage::new("assistant", "") });
    messages.push(ChatMessage::new("tool", "20"));
    let tools = [weather()];
    let text =
        render(CHATML, RenderInput { messages: &messages, tools: &tools, ..Default::default() });
    // Members of a structure come as declared, those of an object by name, and `<` as Go writes it.
    let function = concat!(
        r#"{"name":"weather","description":"Tells \u003cthe\u003e weather","parameters":{"#,
        r#""type":"object","required":["city"],"properties":{"#,
        r#""city":{"type":["string","null"],"description":"where"},"#,
        r#""unit":{"type":"string","enum":["C","F"]}}}}"#
    );
    let expected = format!(
        "<|im_start|>system\nBe kind.\n\n# Tools\n<tools>\n\
         {{\"type\": \"function\", \"function\": {function}}}\n</tools><|im_end|>\n\
         <|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<tool_call>\n\
         {{\"name\": \"weather\", \"arguments\": {{\"city\":\"Rome\",\"unit\":\"C\"}}}}\n\
         </tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n20\n</tool_response><|im_end|>\n\
         <|im_start|>assistant\n"
    );
    assert_eq!(text.unwrap(), expected);
}

#[test]
fn neighbours_of_one_role_are_one_message_and_system_texts_are_joined() {
    let messages =
        said(&[("system", "a"), ("user", "b"), ("system", "c"), ("user", "d"), ("user", "e")]);
    let text = render(CHATML, RenderInput { messages: &messages, ..Default::default() }).unwrap();
    assert!(text.starts_with("<|im_start|>system\na\n\nc<|im_end|>\n"), "{text}");
    assert!(text.contains("<|im_start|>user\nd\n\ne<|im_end|>\n"), "{text}");
}

#[test]
fn a_template_of_pairs_goes_through_them_and_stops_where_the_answer_begins() {
    let messages = said(&[("system", "s"), ("user", "q1"), ("assistant", "a1"), ("user", "q2")]);
    let text = render(PAIRS, RenderInput { messages: &messages, ..Default::default() }).unwrap();
    assert_eq!(text, "[S]s[/S] Q: q1\nA: a1</s>\nQ: q2\nA: ");
    // An answer that has begun is gone on with.
    let messages = said(&[("user", "q"), ("assistant", "Well")]);
    let text = render(PAIRS, RenderInput { messages: &messages, ..Default::default() }).unwrap();
    assert_eq!(text, "Q: q\nA: Well");
    // One that does not say where the answer goes has it at its end.
    let messages = said(&[("user", "q1"), ("assistant", "a1"), ("user", "q2")]);
    let input = RenderInput { messages: &messages, ..Default::default() };
    assert_eq!(render("<{{ .Prompt }}>", input).unwrap(), "<q1>a1<q2>");
}

#[test]
fn wishes_about_thoughts_reach_the_template() {
    let messages = said(&[("user", "q")]);
    let ending = |options: Json| {
        let options = options.as_object().unwrap();
        let input =
            RenderInput { messages: &messages, options: Some(options), ..Default::default() };
        let source =
            "{{ range .Messages }}{{ end }}{{ .IsThinkSet }} {{ .Think }} {{ .ThinkLevel }}";
        (
            render(source, input).unwrap(),
            render(CHATML, input).unwrap().ends_with("<think></think>"),
        )
    };
    assert_eq!(ending(json!({})), ("false false ".into(), false));
    assert_eq!(ending(json!({ "enable_thinking": false })), ("true false ".into(), true));
    let high = json!({ "enable_thinking": true, "reasoning_effort": "high" });
    assert_eq!(ending(high), ("true true high".into(), false));
}

#[test]
fn the_functions_of_ollama_are_there_and_others_are_refused_when_the_template_is_parsed() {
    let messages = said(&[("user", "q \"x\"")]);
    let tools = [weather()];
    let template = ChatTemplate::new_go(
        "{{ range .Messages }}{{ json .Content }}{{ end }} \
         {{ range .Tools }}{{ range $name, $property := .Function.Parameters.Properties }}\
         {{ $name }}:{{ toTypeScriptType $property }};{{ end }}{{ end }} \
         {{ currentDate }} {{ yesterdayDate }} {{ printf \"%s-%05d|%q\" \"a\" 7 \"b\" }} {{ .Missing }}|",
    );
    let input = RenderInput { messages: &messages, tools: &tools, ..Default::default() };
    let now = "2024-03-01T12:00:00Z".parse().unwrap();
    let text = template.unwrap().render_at(&input, now).unwrap();
    assert_eq!(
        text,
        "\"q \\\"x\\\"\" city:string | null;unit:string; 2024-03-01 2024-02-29 a-00007|\"b\" |"
    );
    let unknown = ChatTemplate::new_go("{{ if exec \"rm\" }}{{ end }}");
    assert!(matches!(unknown, Err(Error::BrokenTemplate(problem)) if problem.contains("exec")));
}

#[test]
fn a_template_shows_what_its_model_can_do() {
    let template = ChatTemplate::new_go(CHATML).unwrap();
    let all = Abilities { tools: true, tool_results: true, thinking: true, infill: false };
    assert_eq!(template.abilities(), all);
    let tags = ("<think>".to_owned(), "</think>".to_owned());
    assert_eq!(template.format().thoughts.as_ref(), Some(&tags));
    assert_eq!(template.format().calls, Some(CallSyntax::Hermes));
    let own = "{{ range .Messages }}{{ if .Thinking }}[T] {{ .Thinking }} [/T]{{ end }}{{ end }}";
    let tags = ("[T]".to_owned(), "[/T]".to_owned());
    assert_eq!(ChatTemplate::new_go(own).unwrap().format().thoughts, Some(tags));
    let plain = ChatTemplate::new_go("{{ .Prompt }}").unwrap();
    assert_eq!(plain.abilities(), Abilities::default());
    let gap = ChatTemplate::new_go("<P>{{ .Prompt }}<S>{{ .Suffix }}<M>").unwrap();
    assert!(gap.abilities().infill);
    assert_eq!(gap.render_infill("a", "b").unwrap().unwrap(), "<P>a<S>b<M>");
    assert!(plain.render_infill("a", "b").is_none());
}

#[test]
fn jinja_is_preferred_only_where_it_can_do_more() {
    let none = Abilities::default();
    let tools = Abilities { tools: true, ..none };
    let results = Abilities { tool_results: true, ..tools };
    let thinks = Abilities { thinking: true, ..none };
    let cases = [
        (none, none, false),
        (tools, none, true),
        (none, tools, false),
        (tools, tools, false),
        (results, tools, true),
        (tools, results, false),
        (thinks, tools, false),
        (Abilities { thinking: true, ..tools }, results, false),
        (Abilities { thinking: true, ..results }, results, true),
    ];
    for (jinja, go, expected) in cases {
        assert_eq!(jinja.are_better_than(go), expected, "{jinja:?} {go:?}");
    }
}

#[test]
fn bombs_end_soon_with_a_clear_error() {
    let messages = said(&[("user", "q")]);
    let input = RenderInput { messages: &messages, ..Default::default() };
    let laughs: String = (0..60)
        .map(|at| {
            let next = format!("{{{{ template \"l{}\" }}}}", at + 1);
            format!("{{{{ define \"l{at}\" }}}}{next}{next}{{{{ end }}}}")
        })
        .collect();
    let doubling = "{{ $x = printf \"%s%s\" $x $x }}".repeat(60);
    let nested = "{{ range 100000 }}".repeat(5) + &"{{ end }}".repeat(5);
    let bombs = [
        format!("{laughs}{{{{ define \"l60\" }}}}{{{{ end }}}}{{{{ template \"l0\" }}}}"),
        format!("{{{{ $x := \"haha\" }}}}{doubling}{{{{ len $x }}}}"),
        nested,
        "{{ range 9000000000000 }}ha{{ end }}".to_owned(),
        "{{ define \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}".to_owned(),
        "{{ $x := \"a\" }}{{ range 100000 }}{{ $x = print $x $x }}{{ end }}".to_owned(),
        "{{ range 4000 }}{{ printf \"%60000d\" 1 }}{{ end }}".to_owned(),
    ];
    for bomb in bombs {
        let begun = Instant::now();
        let failed = render(&bomb, input);
        assert!(matches!(failed, Err(Error::TemplateLimit)), "{failed:?} of {bomb:.80}");
        assert!(begun.elapsed() < 2 * RENDER_LIMIT, "{:?} for {bomb:.80}", begun.elapsed());
    }
    let huge = format!("{{{{ printf \"%2000000000d\" 1 }}}}{}", "x".repeat(100));
    assert!(render(&huge, input).is_ok_and(|text| text.len() < 100_000));
}

#[test]
fn broken_templates_are_refused_and_never_panic() {
    for source in [
        "{{",
        "{{ if }}",
        "{{ range .Messages }}",
        "{{ end }}",
        "{{ .Messages | }}",
        "{{ nil }}",
        "{{ define }}{{ end }}",
        "{{ \"a }}",
        "{{ template \"gone\" }}",
        "{{ index .Messages 9 }}",
        "{{ slice .System 5 1 }}",
        "{{ call .System }}",
        "{{ break }}",
        "{{ len 3 }}",
        "{{ '\\x' }}",
        "a{{ end }}b",
        "{{ if true }}a",
    ] {
        let failed = render(source, RenderInput::default());
        let is_told = matches!(failed, Err(Error::BrokenTemplate(_) | Error::TemplateRefused(_)));
        assert!(is_told, "{source}: {failed:?}");
    }
    let deep = "{{ if true }}".repeat(4000);
    assert!(matches!(ChatTemplate::new_go(&deep), Err(Error::BrokenTemplate(_))));
    let wide = format!("{{{{ {}1{} }}}}", "(".repeat(20_000), ")".repeat(20_000));
    assert!(matches!(ChatTemplate::new_go(&wide), Err(Error::BrokenTemplate(_))));
    assert!(matches!(ChatTemplate::new_go(&"x".repeat(1 << 20)), Err(Error::BrokenTemplate(_))));
}
