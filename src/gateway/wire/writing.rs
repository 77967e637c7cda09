//! What the writers of calls share: warnings, names of calls, and what of a request goes nowhere.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::request::{Family, GenerateRequest, Input, Message, Part, Role, Sampling, ToolCall};

/// Most warnings of one call, and the longest.
const MAX_WARNINGS: usize = 24;
const MAX_WARNING_BYTES: usize = 40;

/// Gathers what a provider will not be told.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<String>);

impl Notes {
    /// Names a field; once, and only if its name can stand in a header.
    pub(super) fn warn(&mut self, name: &str) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let is_shown = name.len() <= MAX_WARNING_BYTES && name.bytes().all(plain);
        let name = if is_shown { name } else { "other" };
        if self.0.len() < MAX_WARNINGS && !self.0.iter().any(|known| known == name) {
            self.0.push(name.to_owned());
        }
    }

    /// The provider is told after all.
    pub(super) fn forgive(&mut self, name: &str) {
        self.0.retain(|known| known != name);
    }

    pub(super) fn into_names(self) -> Vec<String> {
        self.0
    }

    /// Names what was asked of the drawing of tokens and is not among the provider's `known`.
    pub(super) fn sampling(&mut self, sampling: &Sampling, known: &[&str]) {
        let asked = [
            ("temperature", sampling.temperature.is_some()),
            ("top_k", sampling.top_k.is_some()),
            ("top_p", sampling.top_p.is_some()),
            ("min_p", sampling.min_p.is_some()),
            ("repetition_penalty", sampling.repetition_penalty.is_some()),
            ("presence_penalty", sampling.presence_penalty.is_some()),
            ("frequency_penalty", sampling.frequency_penalty.is_some()),
            ("logit_bias", !sampling.logit_bias.is_empty()),
            ("seed", sampling.seed.is_some()),
        ];
        for (name, is_asked) in asked {
            if is_asked && !known.contains(&name) {
                self.warn(name);
            }
        }
    }
}

/// The error for what this provider cannot do and an answer without it would be another.
pub(super) fn cannot(param: &str, what: &str) -> Error {
    Error::invalid(param, format!("The provider that serves this model {what}."))
}

/// The messages of a request, for a provider that answers chats alone, once, and repeats nothing.
pub(super) fn only_chat(request: &GenerateRequest) -> Result<&[Message]> {
    let Input::Chat(messages) = &request.input else {
        return Err(cannot("prompt", "answers chats only"));
    };
    if request.choices > 1 {
        return Err(cannot("n", "gives one answer at a time"));
    }
    if request.echo {
        return Err(cannot("echo", "repeats no prompt"));
    }
    Ok(messages)
}

/// Refuses or names what only models that run here know.
pub(super) fn check_local(request: &GenerateRequest, notes: &mut Notes) -> Result<()> {
    if !request.window.before.is_empty() {
        return Err(cannot("context", "does not go on with tokens of an earlier answer"));
    }
    if request.rules.template.is_some() {
        return Err(cannot("template", "takes no template of the prompt"));
    }
    if request.window.limit_tokens.is_some() {
        notes.warn("num_ctx");
    }
    Ok(())
}

/// Refuses or names the tools that only another dialect knows.
pub(super) fn check_foreign_tools(
    request: &GenerateRequest,
    family: Family,
    notes: &mut Notes,
) -> Result<()> {
    for tool in request.rules.foreign_tools.iter().filter(|tool| tool.family != family) {
        // Google's have their kind as a member's name.
        let first = tool.value.as_object().and_then(|tool| tool.keys().next());
        let kind = tool.value["type"].as_str().or(first.map(String::as_str)).unwrap_or("?");
        if !tool.is_wish {
            let kind: String = kind.chars().take(40).collect();
            return Err(cannot("tools", &format!("has no tool of type {kind}")));
        }
        notes.warn(&format!("tools.{kind}"));
    }
    Ok(())
}

/// Lays what else the body said over a body of the same family, or names it.
pub(super) fn add_extras(
    request: &GenerateRequest,
    (family, shared): (Family, &[&str]),
    body: &mut Map<String, Value>,
    notes: &mut Notes,
) {
    let Some(extras) = &request.extras else { return };
    let is_same = extras.family == family;
    for (name, value) in &extras.fields {
        if is_same || shared.contains(&name.as_str()) {
            body.insert(name.clone(), value.clone());
        } else {
            notes.warn(name);
        }
    }
    match is_same {
        true => body.extend(extras.raw.clone()),
        false => extras.inner.iter().for_each(|name| notes.warn(name)),
    }
}

/// A number as it was written: 0.1 and not 0.10000000149011612.
pub(super) fn number(value: f32) -> Value {
    let shortest: f64 = value.to_string().parse().unwrap_or(f64::from(value));
    shortest.into()
}

/// How a dialect wants calls to be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdRule {
    /// Up to 40 letters of any kind.
    Short,
    /// Letters, digits, `_` and `-`.
    Plain,
    /// Nine letters and digits.
    Nine,
}

/// Names calls and finds the names for their results, whatever the client called them.
#[derive(Debug)]
pub(super) struct CallIds {
    rule: IdRule,
    /// Calls without a result so far: as the client named them, as they are named here, and the
    /// tool.
    open: VecDeque<(String, String, String)>,
    count: usize,
}

impl CallIds {
    pub(super) fn new(rule: IdRule) -> CallIds {
        CallIds { rule, open: VecDeque::new(), count: 0 }
    }

    /// The name of the next call.
    pub(super) fn call(&mut self, call: &ToolCall) -> String {
        self.count += 1;
        let id = match call.id.is_empty() {
            true => fit(self.rule, &format!("call-{}", self.count)),
            false => fit(self.rule, &call.id),
        };
        self.open.push_back((call.id.clone(), id.clone(), call.name.clone()));
        id
    }

    /// The name of the call that a message answers, and its tool; a message that does not say
    /// answers the first open one.
    pub(super) fn result(&mut self, message: &Message) -> (String, String) {
        let asked = message.call_id.as_deref().filter(|id| !id.is_empty());
        let at = match asked {
            Some(id) => self.open.iter().position(|(theirs, ..)| theirs == id),
            None => (!self.open.is_empty()).then_some(0),
        };
        let name = message.name.clone().unwrap_or_default();
        match at.and_then(|at| self.open.remove(at)) {
            Some((_, id, tool)) => (id, tool),
            None => (fit(self.rule, asked.unwrap_or("call")), name),
        }
    }
}

fn fit(rule: IdRule, id: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let fits = match rule {
        IdRule::Short => id.len() <= 40,
        IdRule::Plain => id.len() <= 64 && id.bytes().all(is_plain),
        IdRule::Nine => id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
    };
    if fits {
        return id.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    format!("{:09x}", hasher.finish() >> 28)
}

/// Messages in the form in which providers want them that know no roles but user and assistant, in
/// turns: system messages apart, and what one side says together.
pub(super) fn turns(messages: &[Message]) -> (Vec<&Message>, Vec<(bool, Vec<&Message>)>) {
    let mut system = Vec::new();
    let mut turns: Vec<(bool, Vec<&Message>)> = Vec::new();
    for message in messages {
        let is_model = match message.role {
            Role::System => {
                system.push(message);
                continue;
            }
            Role::Assistant => true,
            Role::User | Role::Tool => false,
        };
        match turns.last_mut().filter(|(of_model, _)| *of_model == is_model) {
            Some((_, turn)) => turn.push(message),
            None => turns.push((is_model, vec![message])),
        }
    }
    (system, turns)
}

/// The arguments of a call as an object; what is none (a model wrote it) stands in one.
pub(super) fn arguments(call: &ToolCall) -> Value {
    match serde_json::from_str(&call.arguments) {
        Ok(Value::Object(arguments)) => Value::Object(arguments),
        _ if call.arguments.trim().is_empty() => Value::Object(Map::new()),
        Ok(other) => serde_json::json!({ "value": other }),
        Err(_) => serde_json::json!({ "value": call.arguments }),
    }
}

/// Names what of a part stays behind when only its text is sent.
pub(super) fn warn_of_part(part: &Part, notes: &mut Notes) {
    match part {
        Part::Cache(_) => notes.warn("cache_control"),
        Part::Citation(_) => notes.warn("citations"),
        Part::Thought(_) => notes.warn("reasoning"),
        Part::Foreign(foreign) => {
            notes.warn(foreign.value["type"].as_str().unwrap_or("content"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_find_their_calls_under_any_rule() {
        let call = |id: &str, name: &str| ToolCall {
            id: id.into(),
            name: name.into(),
            arguments: "{}".into(),
        };
        let result = |id: Option<&str>| Message {
            call_id: id.map(str::to_owned),
            ..Message::text(Role::Tool, "x")
        };
        let long = "call|".repeat(20);
        for rule in [IdRule::Short, IdRule::Plain, IdRule::Nine] {
            let mut ids = CallIds::new(rule);
            let names = [call(&long, "f"), call("", "g"), call("abcdefgh9", "h")];
            let given: Vec<String> = names.iter().map(|call| ids.call(call)).collect();
            assert_eq!(given[2], "abcdefgh9");
            assert!(given.iter().all(|id| fit(rule, id) == *id), "{given:?}");
            assert_eq!(ids.result(&result(Some("abcdefgh9"))), (given[2].clone(), "h".into()));
            assert_eq!(ids.result(&result(Some(&long))), (given[0].clone(), "f".into()));
            assert_eq!(ids.result(&result(None)), (given[1].clone(), "g".into()));
        }
    }
}
