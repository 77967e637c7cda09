//! Runs templates in Go's notation, which models of Ollama's registry and Modelfiles carry.
//!
//! They are as untrusted as any other part of a model. Before every node of the parsed tree stands
//! an empty text, so that each step of a run passes through the writer that counts it; functions
//! that make texts pay for their bytes. So a run ends by itself, whatever it loops over.

mod blocks;
mod functions;
mod json;
mod tree;
mod values;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gotmpl::parse::{ListNode, Parser};
use gotmpl::{MissingKey, Template, TemplateError, Value};
use jiff::Timestamp;

use super::{MAX_OUTPUT_BYTES, RenderInput};
use crate::error::{Error, Result};

/// Steps of one render; ChatML takes about 15 for a message.
const STEPS: u64 = 1_000_000;
/// Bytes of text that one render may make, its output among them.
const MADE_BYTES: u64 = 4 * MAX_OUTPUT_BYTES as u64;
/// Longest time of one render; the thread that it runs on ends soon after.
const RENDER_LIMIT: Duration = Duration::from_secs(2);

/// The whole tree among the named ones; no template can name it.
const WHOLE: &str = "\u{0}whole";
/// The tree without what follows the answer, for the turn that is to be answered.
const LAST: &str = "\u{0}last";

/// A parsed template.
#[derive(Debug)]
pub(super) struct GoTemplate {
    trees: Vec<(String, ListNode)>,
    /// Names of fields and variables that it looks at, in lower case.
    names: BTreeSet<String>,
    /// What opens and closes an assistant's thoughts, if it shows.
    pub(super) thoughts: Option<(String, String)>,
    /// Whether it shows an assistant its calls, and the results.
    pub(super) has_round_trip: bool,
}

/// One run of one tree.
type Run = (&'static str, Value);

impl GoTemplate {
    /// Parses a template; follows its nesting by recursion.
    pub(super) fn parse(source: &str) -> Result<GoTemplate> {
        blocks::check(source)?;
        let parsed = Parser::new(source, "{{", "}}").and_then(Parser::parse);
        let (mut whole, defines) = parsed.map_err(broken)?;
        let mut names = tree::names(&whole);
        names.extend(defines.iter().flat_map(|define| tree::names(&define.body)));
        let functions = tree::functions(&whole).into_iter();
        let mut functions =
            functions.chain(defines.iter().flat_map(|define| tree::functions(&define.body)));
        if let Some(unknown) = functions.find(|name| !functions::is_known(name)) {
            let problem = format!("function {:?} not defined", unknown.escape_debug().to_string());
            return Err(Error::BrokenTemplate(problem));
        }
        if !names.contains("messages") && !names.contains("response") {
            whole.nodes.push(tree::response());
        }
        let has = |text: &str| source.contains(text);
        let has_round_trip = names.contains("tools")
            && names.contains("toolcalls")
            && (has(r#"eq .Role "tool""#) || has("tool_response") || has("TOOL_RESULTS"));
        let thoughts = tree::thoughts(&whole);
        let last = tree::until_response(&whole);
        let mut trees =
            vec![(WHOLE.to_owned(), tree::metered(whole)), (LAST.to_owned(), tree::metered(last))];
        for define in defines {
            let is_known = trees.iter().any(|(name, _)| *name == define.name.as_str());
            if !(is_known && define.body.is_empty_tree()) {
                trees.retain(|(name, _)| *name != define.name.as_str());
                trees.push((define.name.to_string(), tree::metered(define.body)));
            }
        }
        Ok(GoTemplate { trees, names, thoughts, has_round_trip })
    }

    /// Whether it looks at a field or variable of this name, in lower case.
    pub(super) fn names(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// A chat's runs, one after the other.
    pub(super) fn chat(&self, input: &RenderInput) -> Vec<Run> {
        match self.names("messages") {
            true => vec![(WHOLE, values::chat(input))],
            // Older ones know one question and one answer.
            false => {
                let turns = values::turns(input);
                let last = turns.len().saturating_sub(1);
                let tree = |at| if at == last { LAST } else { WHOLE };
                turns.into_iter().enumerate().map(|(at, turn)| (tree(at), turn)).collect()
            }
        }
    }

    /// The run for a text with a gap.
    pub(super) fn infill(prompt: &str, suffix: &str) -> Vec<Run> {
        vec![(WHOLE, values::infill(prompt, suffix))]
    }

    /// What the runs write; blocks for [`RENDER_LIMIT`] at most.
    pub(super) fn run(&self, runs: &[Run], now: Timestamp) -> Result<String> {
        let meter = Arc::new(Meter::new());
        let mut template =
            Template::new("").missing_key(MissingKey::ZeroValue).funcs(functions::all(&meter, now));
        for (name, tree) in &self.trees {
            template = template.add_parse_tree(name, tree.clone());
        }
        let mut output = Metered { meter: &meter, text: String::new() };
        for (tree, values) in runs {
            let done = template.execute_template_fmt(&mut output, tree, values);
            done.map_err(|problem| match problem {
                _ if meter.is_spent.load(Relaxed) => Error::TemplateLimit,
                TemplateError::RecursionLimit | TemplateError::RangeIterLimit => {
                    Error::TemplateLimit
                }
                problem => Error::TemplateRefused(problem.to_string()),
            })?;
        }
        Ok(output.text)
    }
}

/// What one render may still do.
#[derive(Debug)]
struct Meter {
    steps: AtomicU64,
    bytes: AtomicU64,
    until: Instant,
    is_spent: AtomicBool,
}

impl Meter {
    fn new() -> Meter {
        Meter {
            steps: AtomicU64::new(STEPS),
            bytes: AtomicU64::new(MADE_BYTES),
            until: Instant::now() + RENDER_LIMIT,
            is_spent: AtomicBool::new(false),
        }
    }

    /// Pays for a step that makes so many bytes of text.
    fn spend(&self, bytes: usize) -> gotmpl::Result<()> {
        let take = |left: &AtomicU64, amount| {
            // One thread alone spends.
            let rest = left.load(Relaxed).checked_sub(amount);
            left.store(rest.unwrap_or(0), Relaxed);
            rest.is_some()
        };
        let is_paid = take(&self.steps, 1) && take(&self.bytes, bytes as u64);
        if is_paid && Instant::now() < self.until {
            return Ok(());
        }
        self.is_spent.store(true, Relaxed);
        Err(TemplateError::Exec("the template does too much".to_owned()))
    }
}

/// Collects output and counts steps.
struct Metered<'a> {
    meter: &'a Meter,
    text: String,
}

impl fmt::Write for Metered<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.meter.spend(text.len()).map_err(|_| fmt::Error)?;
        if self.text.len() + text.len() > MAX_OUTPUT_BYTES {
            self.meter.is_spent.store(true, Relaxed);
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

fn broken(problem: TemplateError) -> Error {
    Error::BrokenTemplate(problem.to_string())
}

#[cfg(test)]
mod tests;
