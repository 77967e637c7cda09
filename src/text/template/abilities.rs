//! What a template has a place for, and which of two templates is the better one.

use crate::answer::AnswerFormat;

/// What a template has a place for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    pub tools: bool,
    /// The assistant's earlier calls, and the results of tools.
    pub tool_results: bool,
    pub thinking: bool,
    /// A text with a gap.
    pub infill: bool,
}

impl Abilities {
    /// What the text of a Jinja template gives away.
    pub fn of_jinja(source: &str) -> Abilities {
        let has = |text: &str| source.contains(text);
        Abilities {
            tools: has("tools"),
            tool_results: has("tool_calls") && (has("'tool'") || has("\"tool\"")),
            thinking: AnswerFormat::of_template(source).thoughts.is_some(),
            infill: false,
        }
    }

    fn count(self) -> usize {
        [self.tools, self.thinking, self.infill].into_iter().filter(|can| *can).count()
    }

    /// Whether a model's own Jinja template that has these abilities is better than one in Go's
    /// notation that came beside it and has those. Ollama decides so.
    pub fn are_better_than(self, go: Abilities) -> bool {
        if self.count() > go.count() {
            return self.tool_results || !go.tool_results;
        }
        let are_same =
            (self.tools, self.thinking, self.infill) == (go.tools, go.thinking, go.infill);
        are_same && self.tools && self.tool_results && !go.tool_results
    }
}
