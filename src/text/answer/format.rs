//! How a family of models writes its thoughts and calls, as its chat template shows.

/// A family's way of answering.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerFormat {
    /// What opens and closes its thoughts.
    pub thoughts: Option<(String, String)>,
    /// How it calls tools.
    pub calls: Option<CallSyntax>,
    /// Arguments that are texts, even where they look like numbers: tool and argument. Only
    /// families that write arguments without quotes need to know.
    pub texts: Vec<(String, String)>,
}

/// How calls of tools are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallSyntax {
    /// `<tool_call>{"name": …, "arguments": {…}}</tool_call>`: Hermes and qwen.
    Hermes,
    /// `{"name": …, "parameters": {…}}` as the whole answer, or behind `<|python_tag|>`.
    Llama3,
    /// `[TOOL_CALLS]` and a list of objects, or `name[ARGS]{…}`.
    Mistral,
    /// `<|tool_call|>` and a list of objects: phi 4 and granite.
    Phi,
    /// `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`: qwen's
    /// models that write programs.
    Tagged,
    /// `<tool_call>name<arg_key>key</arg_key><arg_value>value</arg_value></tool_call>`: glm.
    Keyed,
    /// A name and JSON between tokens of its own: deepseek.
    Deepseek,
}

/// What opens and closes thoughts in the families that have them.
const THOUGHTS: [(&str, &str); 4] = [
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
];

impl AnswerFormat {
    /// The format that a template's own text gives away.
    pub fn of_template(source: &str) -> AnswerFormat {
        let thoughts = THOUGHTS.iter().find(|(_, close)| source.contains(close));
        let has = |text: &str| source.contains(text);
        let calls = if has("[TOOL_CALLS]") {
            Some(CallSyntax::Mistral)
        } else if has("<tool_call>") {
            Some(match (has("<function="), has("<arg_key>")) {
                (true, _) => CallSyntax::Tagged,
                (_, true) => CallSyntax::Keyed,
                _ => CallSyntax::Hermes,
            })
        } else if has("<｜tool▁calls▁begin｜>") {
            Some(CallSyntax::Deepseek)
        } else if has("<|tool_call|>") {
            Some(CallSyntax::Phi)
        } else if has("<|python_tag|>") || (has("<|start_header_id|>") && has("\"parameters\"")) {
            Some(CallSyntax::Llama3)
        } else {
            None
        };
        let thoughts = thoughts.map(|(open, close)| (open.to_string(), close.to_string()));
        AnswerFormat { thoughts, calls, texts: Vec::new() }
    }

    /// Whether a prompt that ends so leaves the model inside its thoughts.
    pub fn is_in_thoughts(&self, ending: &str) -> bool {
        self.thoughts.as_ref().is_some_and(|(open, _)| ending.trim_end().ends_with(open.as_str()))
    }

    /// Texts that mark parts of an answer. In some vocabularies they are control tokens.
    pub fn markers(&self) -> impl Iterator<Item = &str> {
        let thoughts = self.thoughts.iter().flat_map(|(open, close)| [open.as_str(), close]);
        let calls = self.calls.into_iter().flat_map(|calls| [Some(calls.marker()), calls.end()]);
        // What stands between a call's name and its arguments.
        let inner: &[&str] = match self.calls {
            Some(CallSyntax::Deepseek) => &DEEPSEEK_MARKS,
            Some(CallSyntax::Keyed) => &KEYED_MARKS,
            _ => &["[ARGS]", "[CALL_ID]"],
        };
        thoughts.chain(calls.flatten()).chain(inner.iter().copied())
    }
}

/// Tokens inside of deepseek's calls.
const DEEPSEEK_MARKS: [&str; 3] =
    ["<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"];
/// Tokens inside of glm's calls.
const KEYED_MARKS: [&str; 4] = ["<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"];

impl CallSyntax {
    /// What ends calls that are read as a whole; `None` where they are JSON, read as it comes.
    pub(super) fn block_end(self) -> Option<&'static str> {
        match self {
            CallSyntax::Tagged | CallSyntax::Keyed | CallSyntax::Deepseek => self.end(),
            CallSyntax::Hermes | CallSyntax::Llama3 | CallSyntax::Mistral | CallSyntax::Phi => None,
        }
    }

    /// What comes before calls.
    pub(super) fn marker(self) -> &'static str {
        match self {
            CallSyntax::Hermes | CallSyntax::Tagged | CallSyntax::Keyed => "<tool_call>",
            CallSyntax::Phi => "<|tool_call|>",
            CallSyntax::Deepseek => "<｜tool▁calls▁begin｜>",
            CallSyntax::Llama3 => "<|python_tag|>",
            CallSyntax::Mistral => "[TOOL_CALLS]",
        }
    }

    /// What comes behind a call.
    pub(super) fn end(self) -> Option<&'static str> {
        match self {
            CallSyntax::Hermes | CallSyntax::Tagged | CallSyntax::Keyed => Some("</tool_call>"),
            CallSyntax::Phi => Some("<|/tool_call|>"),
            CallSyntax::Deepseek => Some("<｜tool▁calls▁end｜>"),
            CallSyntax::Llama3 | CallSyntax::Mistral => None,
        }
    }
}
