//! Every family's answers, cut in every way.

use proptest::prelude::*;

use super::*;

/// What an answer says, thinks and calls as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
struct Whole {
    text: String,
    reasoning: String,
    calls: Vec<(String, String)>,
}

fn format(thinks: bool, calls: CallSyntax) -> AnswerFormat {
    let thoughts = thinks.then(|| ("<think>".to_string(), "</think>".to_string()));
    AnswerFormat { thoughts, calls: Some(calls), texts: Vec::new() }
}

const TOOLS: AnswerStart =
    AnswerStart { in_thoughts: false, has_tools: true, only_calls: false, one_call: false };

fn read<'a>(
    format: &AnswerFormat,
    start: AnswerStart,
    pieces: impl IntoIterator<Item = &'a str>,
) -> Whole {
    let mut parser = AnswerParser::new(format.clone(), start);
    let mut found: Vec<AnswerPiece> =
        pieces.into_iter().flat_map(|piece| parser.push(piece)).collect();
    found.extend(parser.finish());
    let mut whole = Whole::default();
    for piece in found {
        match piece {
            AnswerPiece::Text(text) => whole.text.push_str(&text),
            AnswerPiece::Reasoning(text) => whole.reasoning.push_str(&text),
            AnswerPiece::CallStart { index, name } => {
                assert_eq!(index as usize, whole.calls.len());
                whole.calls.push((name, String::new()));
            }
            AnswerPiece::CallArguments { index, text } => {
                assert_eq!(index as usize + 1, whole.calls.len());
                whole.calls[index as usize].1.push_str(&text);
            }
        }
    }
    whole
}

fn whole(text: &str, reasoning: &str, calls: &[(&str, &str)]) -> Whole {
    let calls = calls.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
    Whole { text: text.into(), reasoning: reasoning.into(), calls }
}

/// Answers of each family, and what they are.
fn answers() -> Vec<Answer> {
    [hermes_answers(), other_answers(), block_answers()].concat()
}

type Answer = (AnswerFormat, AnswerStart, &'static str, Whole);

/// Of families that write calls as marked text.
fn block_answers() -> Vec<Answer> {
    let texts = vec![("add".to_string(), "id".to_string())];
    let tagged = AnswerFormat { texts: texts.clone(), ..format(false, CallSyntax::Tagged) };
    let keyed = AnswerFormat { texts, ..format(true, CallSyntax::Keyed) };
    let deepseek = format(true, CallSyntax::Deepseek);
    let phi = format(false, CallSyntax::Phi);
    vec![
        (
            tagged.clone(),
            TOOLS,
            "I add.\n<tool_call>\n<function=add>\n<parameter=id>\n12\n</parameter>\n<parameter=b>\n[1, \"<\"]\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=n>\n</function>\n</tool_call>",
            whole("I add.", "", &[("add", "{\"id\":\"12\",\"b\":[1,\"<\"]}"), ("n", "{}")]),
        ),
        (
            tagged.clone(),
            TOOLS,
            "<tool_call><function=add><parameter=a>two\nlines</parameter><parameter=b>True",
            whole("", "", &[("add", "{\"a\":\"two\\nlines\",\"b\":true}")]),
        ),
        (
            tagged.clone(),
            TOOLS,
            "<tool_call>no call</tool_call> at all",
            whole("<tool_call>no call</tool_call> at all", "", &[]),
        ),
        (tagged, TOOLS, "<tool_call>\nno", whole("<tool_call>\nno", "", &[])),
        (
            keyed,
            TOOLS,
            "<think>a</think>\n<tool_call>add\n<arg_key>id</arg_key>\n<arg_value>1</arg_value>\n<arg_key>b</arg_key>\n<arg_value>2</arg_value>\n</tool_call>\n",
            whole("", "a", &[("add", "{\"id\":\"1\",\"b\":2}")]),
        ),
        (
            deepseek.clone(),
            TOOLS,
            "Well.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>n<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
            whole("Well.", "", &[("add", "{\"a\": 1}"), ("n", "{}")]),
        ),
        (
            deepseek,
            TOOLS,
            "<｜tool▁calls▁begin｜>nothing<｜tool▁calls▁end｜>",
            whole("<｜tool▁calls▁begin｜>nothing<｜tool▁calls▁end｜>", "", &[]),
        ),
        (
            phi,
            TOOLS,
            "<|tool_call|>[{\"name\": \"add\", \"arguments\": {\"a\": 1}}]<|/tool_call|>",
            whole("", "", &[("add", "{\"a\": 1}")]),
        ),
    ]
}

fn hermes_answers() -> Vec<Answer> {
    let add = |arguments| whole("", "", &[("add", arguments)]);
    let hermes = format(true, CallSyntax::Hermes);
    vec![
        (hermes.clone(), TOOLS, "Hello \n there. \n", whole("Hello \n there. \n", "", &[])),
        (
            hermes.clone(),
            TOOLS,
            "<think>\nLet me\n\nadd.\n</think>\n\nOf course.\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": \"}\\\"{\", \"b\": [1]}}\n</tool_call>\n<tool_call>\n{\"arguments\": {}, \"name\": \"n\"}\n</tool_call>",
            whole(
                "Of course.",
                "Let me\n\nadd.",
                &[("add", "{\"a\": \"}\\\"{\", \"b\": [1]}"), ("n", "{}")],
            ),
        ),
        (hermes.clone(), TOOLS, "<tool_call>{\"name\":\"add\"}</tool_call>", add("{}")),
        (
            hermes.clone(),
            TOOLS,
            "<tool_call>{\"name\":\"add\",\"arguments\":\"{\\\"a\\\":1}\"}</tool_call>",
            add("{\"a\":1}"),
        ),
        (
            hermes.clone(),
            TOOLS,
            "I write <tool_call>nonsense</tool_call>.",
            whole("I write <tool_call>nonsense</tool_call>.", "", &[]),
        ),
        (
            hermes.clone(),
            AnswerStart { in_thoughts: true, ..TOOLS },
            "\nwell\n</think>\n\n4 < 5",
            whole("4 < 5", "well", &[]),
        ),
        (
            hermes.clone(),
            AnswerStart { has_tools: false, ..TOOLS },
            "<tool_call>{\"name\":\"add\"}</tool_call>",
            whole("<tool_call>{\"name\":\"add\"}</tool_call>", "", &[]),
        ),
        (hermes.clone(), TOOLS, "a <tool_call> [ b", whole("a <tool_call> [ b", "", &[])),
        (hermes.clone(), TOOLS, "a <tool_call>\n", whole("a <tool_call>\n", "", &[])),
        (hermes.clone(), TOOLS, "<think>cut off", whole("", "cut off", &[])),
        (
            hermes,
            AnswerStart { only_calls: true, ..TOOLS },
            "[{\"name\": \"add\", \"arguments\": {\"a\": 1}}, {\"name\": \"b\", \"arguments\": {}}]",
            whole("", "", &[("add", "{\"a\": 1}"), ("b", "{}")]),
        ),
    ]
}

fn other_answers() -> Vec<Answer> {
    let add = |arguments| whole("", "", &[("add", arguments)]);
    let (llama, mistral) = (format(false, CallSyntax::Llama3), format(false, CallSyntax::Mistral));
    vec![
        (
            llama.clone(),
            TOOLS,
            " {\"name\": \"add\", \"parameters\": {\"a\": 1}}; {\"name\": \"b\", \"parameters\": {}}",
            whole("", "", &[("add", "{\"a\": 1}"), ("b", "{}")]),
        ),
        (
            llama.clone(),
            TOOLS,
            "<|python_tag|>{\"type\": \"function\", \"name\": \"add\", \"parameters\": {}}",
            add("{}"),
        ),
        (llama.clone(), TOOLS, "{\"a\": 1} is JSON", whole("{\"a\": 1} is JSON", "", &[])),
        (llama, TOOLS, "{ no JSON at all", whole("{ no JSON at all", "", &[])),
        (
            mistral.clone(),
            TOOLS,
            "Sure. [TOOL_CALLS][{\"name\": \"add\", \"arguments\": {\"a\": 1}}, {\"name\": \"b\", \"arguments\": {}, \"id\": \"x\"}]",
            whole("Sure.", "", &[("add", "{\"a\": 1}"), ("b", "{}")]),
        ),
        (
            mistral,
            TOOLS,
            "[TOOL_CALLS]add[ARGS]{\"a\": 1}[TOOL_CALLS]b{}",
            whole("", "", &[("add", "{\"a\": 1}"), ("b", "{}")]),
        ),
    ]
}

#[test]
fn every_family_is_read_as_a_whole_and_letter_by_letter() {
    for (format, start, text, expected) in answers() {
        assert_eq!(read(&format, start, [text]), expected, "{text}");
        let letters: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(read(&format, start, letters.iter().map(String::as_str)), expected, "{text}");
    }
}

#[test]
fn arguments_come_before_the_call_is_over() {
    let mut parser = AnswerParser::new(format(false, CallSyntax::Hermes), TOOLS);
    assert_eq!(parser.push("<tool_call>\n{\"name\": \"ad"), []);
    let name = AnswerPiece::CallStart { index: 0, name: "add".into() };
    assert_eq!(parser.push("d\", \"arguments\""), [name]);
    let text = AnswerPiece::CallArguments { index: 0, text: "{\"a".into() };
    assert_eq!(parser.push(": {\"a"), [text]);
    assert_eq!(parser.calls(), 1);
}

#[test]
fn a_second_call_is_dropped_where_one_was_asked_for() {
    let start = AnswerStart { one_call: true, ..TOOLS };
    let calls =
        "{\"name\": \"a\", \"parameters\": {}}; {\"name\": \"b\", \"parameters\": {\"x\": 1}}";
    let found = read(&format(false, CallSyntax::Llama3), start, [calls]);
    assert_eq!(found, whole("", "", &[("a", "{}")]));
}

#[test]
fn a_format_is_read_off_its_template() {
    let cases = [
        ("<tool_call> </think>", true, Some(CallSyntax::Hermes)),
        ("<tool_call> <function=", false, Some(CallSyntax::Tagged)),
        ("<tool_call> <arg_key>", false, Some(CallSyntax::Keyed)),
        ("<｜tool▁calls▁begin｜>", false, Some(CallSyntax::Deepseek)),
        ("<|tool_call|>", false, Some(CallSyntax::Phi)),
        ("[TOOL_CALLS]", false, Some(CallSyntax::Mistral)),
        ("<|start_header_id|> \"parameters\"", false, Some(CallSyntax::Llama3)),
        ("{{ messages }}", false, None),
    ];
    for (source, thinks, calls) in cases {
        let found = AnswerFormat::of_template(source);
        assert_eq!((found.thoughts.is_some(), found.calls), (thinks, calls), "{source}");
    }
    let thinking = AnswerFormat::of_template("</think>");
    assert!(thinking.is_in_thoughts("<think>\n") && !thinking.is_in_thoughts("</think>\n\n"));
}

proptest! {
    #[test]
    fn pieces_give_what_the_whole_gives(
        at in 0..answers().len(), cuts in prop::collection::vec(0usize..200, 0..8)
    ) {
        let (format, start, text, expected) = answers().swap_remove(at);
        let mut borders: Vec<usize> =
            cuts.into_iter().filter(|&cut| text.is_char_boundary(cut)).collect();
        borders.extend([0, text.len()]);
        borders.sort_unstable();
        let pieces = borders.windows(2).map(|pair| &text[pair[0]..pair[1]]);
        prop_assert_eq!(read(&format, start, pieces), expected);
    }

    #[test]
    fn any_text_ends_without_a_panic_and_without_tools_nothing_is_lost(
        text in "(<think>|</think>|<tool_call>|</tool_call>|<function=|<parameter=|<arg_key>|<｜tool▁calls▁begin｜>|<｜tool▁calls▁end｜>|<\\|tool_call\\|>|>|\\{|\\}|\\[|\\]|\"name\"|:|\"a\"|,| |\n|é){0,24}",
    ) {
        for calls in [
            CallSyntax::Hermes,
            CallSyntax::Llama3,
            CallSyntax::Mistral,
            CallSyntax::Phi,
            CallSyntax::Tagged,
            CallSyntax::Keyed,
            CallSyntax::Deepseek,
        ] {
            read(&format(true, calls), TOOLS, [text.as_str()]);
            let plain = AnswerStart { has_tools: false, ..TOOLS };
            let found = read(&format(false, calls), plain, [text.as_str()]);
            prop_assert_eq!(found, whole(&text, "", &[]));
        }
    }
}
