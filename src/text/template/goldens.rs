//! Real templates render as Python's jinja2 renders them in Hugging Face's transformers.
//!
//! The texts' digests are made by `tests/vectors/make_templates.py`; the templates are fetched by
//! `tests/vectors/fetch.py`, which `make test` runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;

/// These add text to what is marked `safe`, which makes Python escape it as for HTML: a slip of
/// their makers that is not copied.
const ESCAPED: [&str; 1] = ["meetkai-functionary-medium-v3.1"];

#[derive(Deserialize)]
struct Conversation {
    name: String,
    messages: Vec<ChatMessage>,
    #[serde(default)]
    tools: bool,
    #[serde(default)]
    style: Style,
    #[serde(default)]
    options: Map<String, Json>,
    /// The chat is over: no words after which the assistant speaks.
    #[serde(default)]
    end: bool,
}

#[derive(Default, Deserialize)]
struct Style {
    empty_content: bool,
    text_arguments: bool,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

fn read<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

/// How a conversation renders, as the golden file writes it.
fn outcome(template: &Result<ChatTemplate>, talk: &Conversation, tools: &[Json]) -> String {
    let Ok(template) = template else { return "no template".into() };
    let style = CallStyle {
        empty_content: talk.style.empty_content,
        text_arguments: talk.style.text_arguments,
    };
    let input = RenderInput {
        messages: &talk.messages,
        tools: if talk.tools { tools } else { &[] },
        options: Some(&talk.options),
        add_generation_prompt: !talk.end,
        bos_token: "<s>",
        eos_token: "</s>",
        style,
    };
    match template.render_at(&input, "2026-01-02T03:04:05Z".parse().unwrap()) {
        Ok(text) => {
            Sha256::digest(text.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
        }
        Err(Error::TemplateRefused(_)) => "refused".into(),
        Err(other) => other.to_string(),
    }
}

#[test]
fn real_templates_render_as_in_python() {
    let templates = folder().join(".cache/models/templates");
    if !templates.is_dir() {
        eprintln!("SKIPPED: {} is absent; tests/vectors/fetch.py makes it", templates.display());
        return;
    }
    let conversations: Vec<Conversation> = read("conversations.json");
    let tools: Vec<Json> = read("tools.json");
    let goldens: BTreeMap<String, BTreeMap<String, String>> = read("templates.json");
    assert!(goldens.len() > 40);
    let mut wrong = Vec::new();
    for (name, golden) in &goldens {
        let source = std::fs::read_to_string(templates.join(format!("{name}.jinja"))).unwrap();
        let template = ChatTemplate::new(&source);
        for talk in &conversations {
            if talk.tools && ESCAPED.contains(&name.as_str()) {
                continue;
            }
            let found = outcome(&template, talk, &tools);
            let wanted = golden[&talk.name].as_str();
            // Where Python stumbles, over `None` in a loop for example, this engine may go on.
            if found != wanted && (wanted != "failed" || template.is_err()) {
                let problem = template.as_ref().err().map(ToString::to_string).unwrap_or_default();
                wrong.push(format!("{name} | {}: {found} {problem}", talk.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
