//! Templates that real models use, and those that never end.

use std::time::{Duration, Instant};

use super::*;
use crate::testing::{CHATML, stories};

fn render(source: &str, messages: &[ChatMessage]) -> Result<String> {
    let input = RenderInput {
        messages,
        add_generation_prompt: true,
        bos_token: "<s>",
        eos_token: "</s>",
        ..RenderInput::default()
    };
    ChatTemplate::new(source)?.render(&input)
}

fn chat() -> Vec<ChatMessage> {
    vec![ChatMessage::new("system", " Be brief. "), ChatMessage::new("user", "1 < 2 & \"é\"?")]
}

/// Renders or fails in under a second, and returns how.
fn bounded(source: &str) -> Result<String> {
    let start = Instant::now();
    let result = render(source, &chat());
    assert!(start.elapsed() < Duration::from_secs(1), "{source}: {:?}", start.elapsed());
    result
}

#[test]
fn chatml_renders_as_its_makers_mean() {
    let expected = "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n1 < 2 & \"é\"?\
        <|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(render(CHATML, &chat()).unwrap(), expected);
}

#[test]
fn blocks_leave_no_white_space_behind() {
    let source = "{% for m in messages %}\n    {% if m.role == 'user' %}\nU:{{ m.content }}\n    \
        {% endif %}\n{% endfor %}\n";
    assert_eq!(render(source, &[ChatMessage::new("user", "x")]).unwrap(), "U:x\n");
}

#[test]
fn the_functions_of_hugging_face_are_there() {
    let cases = [
        ("{{ messages[0]['content'].strip() }}", "Be brief."),
        ("{{ messages[0].content | trim }}", "Be brief."),
        ("{{ messages[1].content.split('<')[-1].lstrip() }}", "2 & \"é\"?"),
        ("{{ messages[0].role.startswith('sys') }}", "True"),
        (
            "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% endfor %}",
            "user",
        ),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "2",
        ),
        ("{{ messages[1] | tojson }}", r#"{"role": "user", "content": "1 < 2 & \"é\"?"}"#),
        ("{{ [1, [2]] | tojson(indent=2) }}", "[\n  1,\n  [\n    2\n  ]\n]"),
        ("{% if tools %}t{% endif %}{% if tools is none %}n{% endif %}", "n"),
        ("{% if messages[0].name is defined %}d{% else %}u{% endif %}", "u"),
        ("{{ messages[::-1][0].role }}{{ messages[1:] | length }}", "user1"),
        ("{{ bos_token }}{{ eos_token }}", "<s></s>"),
        ("{{- '' -}}  x", "x"),
        ("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m('a') }}", "[a]"),
    ];
    for (source, expected) in cases {
        assert_eq!(render(source, &chat()).unwrap(), expected, "{source}");
    }
    let year: u32 = render("{{ strftime_now('%Y') }}", &[]).unwrap().parse().unwrap();
    assert!(year >= 2024);
}

#[test]
fn a_template_can_refuse_with_its_own_words() {
    let problem = render("{{ raise_exception('no system role') }}", &chat()).unwrap_err();
    assert!(matches!(&problem, Error::TemplateRefused(words) if words.contains("no system role")));
    let source = "{{ strftime_now('%Q%') }}";
    assert!(matches!(render(source, &[]), Err(Error::TemplateRefused(_))));
}

#[test]
fn a_broken_template_is_refused_when_it_is_built() {
    for source in ["{% for %}", "{{", "{% if x %}", "{{ x | }}"] {
        assert!(matches!(ChatTemplate::new(source), Err(Error::BrokenTemplate(_))), "{source}");
    }
    let large = "x".repeat(MAX_SOURCE_BYTES + 1);
    assert!(matches!(ChatTemplate::new(&large), Err(Error::BrokenTemplate(_))));
}

/// A template of about `bytes` bytes that nests or chains as deep as that allows.
fn deep(start: &str, link: &str, end: &str, bytes: usize) -> String {
    format!("{start}{}{end}", link.repeat((bytes - start.len() - end.len()) / link.len()))
}

#[test]
fn the_deepest_source_ends_in_an_answer_not_a_crash() {
    let chains = [
        "(",
        "[",
        "not ",
        "-",
        "+ 1",
        "~1",
        "|e",
        ".a",
        "()",
        "**1",
        " is x",
        " and 1",
        " if 1 else 1",
    ];
    for link in chains {
        let (start, end) =
            if ["(", "[", "not ", "-"].contains(&link) { ("{{ ", "1 }}") } else { ("{{ 1", " }}") };
        let _ = render(&deep(start, link, end, MAX_TAG_BYTES), &chat());
    }
    let _ = render(&deep("{% if 0 %}", "{%elif 0%}", "{% endif %}", MAX_SOURCE_BYTES), &chat());
    assert!(render(&deep("", "{%if 1%}", "", MAX_SOURCE_BYTES), &chat()).is_err());
}

#[test]
fn tags_have_a_longest_length_whatever_their_strings_hold() {
    let long = "~1".repeat(MAX_TAG_BYTES);
    for source in [format!("{{{{ 1{long} }}}}"), format!("{{{{ '}}}}'{long} }}}}")] {
        let problem = ChatTemplate::new(&source).unwrap_err().to_string();
        assert!(problem.contains("a tag is over"), "{problem}");
    }
    let raw = format!("{{% raw %}}{{{{ ' {{% endraw %}}{{{{ '}}}}'{long} }}}}");
    assert!(ChatTemplate::new(&raw).unwrap_err().to_string().contains("raw"));
    assert!(ChatTemplate::new(&"text ".repeat(10_000)).is_ok());
}

#[test]
fn values_nested_without_end_are_stopped() {
    for step in ["[ns.s]", "{'a': ns.s}"] {
        let source = format!(
            "{{% set ns = namespace(s=[]) %}}{{% for a in range(10000) %}}{{% for b in range(10000) %}}\
            {{% set ns.s = {step} %}}{{% endfor %}}{{% endfor %}}{{{{ ns.s }}}}"
        );
        assert!(matches!(bounded(&source), Err(Error::TemplateLimit)), "{step}");
    }
}

#[test]
fn templates_that_loop_are_stopped() {
    for source in [
        "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in range(10000) %}{% for b in range(10000) %}{{ a * b }}{% endfor %}{% endfor %}",
        "{% for a in range(10000) %}{% for b in range(10000) %}{% set c = (messages | tojson) %}{% endfor %}{% endfor %}",
    ] {
        assert!(matches!(bounded(source), Err(Error::TemplateLimit)), "{source}");
    }
}

#[test]
fn templates_that_recurse_are_stopped() {
    for source in [
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{% for x in [[[1]]] recursive %}{{ loop([[1]]) }}{% endfor %}",
    ] {
        let problem = bounded(source).unwrap_err();
        assert!(matches!(problem, Error::TemplateRefused(_) | Error::TemplateLimit), "{source}");
    }
}

#[test]
fn templates_that_write_or_hold_too_much_are_stopped() {
    for source in [
        "{{ 'x' * 1000000000 }}",
        "{{ 'x' * 90000000 }}",
        "{% for a in range(1000) %}{{ 'x' * 20000 }}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for a in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{{ '{:>1000000000}'.format('x') }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ 'x\ny' | indent(1000000000) }}",
        "{{ ('x' * 100000).replace('', 'y' * 10000) }}",
        "{{ ('y' * 10000).join(['x'] * 100000) }}",
        "{{ ([1] * 90000000) | tojson }}",
        "{{ ([1] * 90000000) | join(',') }}",
        "{{ ([1] * 90000000) | list | length }}",
        "{{ range(1000000000) | list }}",
    ] {
        assert!(bounded(source).is_err(), "{source}");
    }
}

#[test]
fn templates_reach_nothing_outside() {
    for source in [
        "{% include '/etc/passwd' %}",
        "{% import 'x' as x %}",
        "{% extends 'chat' %}",
        "{{ open('/etc/passwd') }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ env('HOME') }}",
    ] {
        assert!(render(source, &chat()).is_err(), "{source}");
    }
}

#[test]
fn the_template_comes_from_the_model_or_is_the_plain_one() {
    for file in ["stories260K-f32.gguf", "hf"] {
        let tokenizer = stories(file);
        let template = ChatTemplate::from_tokenizer(&tokenizer).unwrap();
        let input = RenderInput {
            messages: &[ChatMessage::new("user", "a"), ChatMessage::new("user", "b")],
            add_generation_prompt: true,
            bos_token: &tokenizer.bos_text(),
            eos_token: &tokenizer.eos_text(),
            ..RenderInput::default()
        };
        assert_eq!(template.render(&input).unwrap(), "<s>ab");
        let plain = ChatTemplate::plain().render(&input).unwrap();
        assert_eq!(plain, "<s>user: a\nuser: b\nassistant:");
    }
}

#[test]
fn a_template_whose_work_fuel_does_not_count_is_stopped_and_not_tried_again() {
    // Joins a list to itself sixty times, and asks for its length: 2^60 elements in 60 steps.
    let source = "{% set ns = namespace(s=[1]) %}\
        {% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}";
    let template = ChatTemplate::new(source).unwrap();
    let messages = chat();
    let input = RenderInput {
        messages: &messages,
        add_generation_prompt: true,
        bos_token: "<s>",
        eos_token: "</s>",
        ..RenderInput::default()
    };
    assert!(matches!(template.render(&input), Err(Error::TemplateLimit)));
    let started = Instant::now();
    assert!(matches!(template.render(&input), Err(Error::TemplateLimit)));
    assert!(started.elapsed() < Duration::from_secs(1), "the second render must not run");
}
