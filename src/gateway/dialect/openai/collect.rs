//! Collects neutral events into one answer.

use serde_json::{Value, json};

use super::print::{Shape, print_citation, print_usage, reason_name};
use super::{CallForm, Heading, logprobs, thoughts};
use crate::event::{Aside, Event, FinishReason, TokenLogprob, Usage};
use crate::request::{Family, Seal, ToolCall};

/// Gathers the events of one answer that is not streamed.
#[derive(Debug)]
pub struct Collector {
    shape: Shape,
    heading: Heading,
    has_logprobs: bool,
    choices: Vec<Choice>,
    usage: Usage,
}

#[derive(Debug, Default)]
struct Choice {
    text: String,
    reasoning: String,
    /// Bytes of it that have their seal.
    sealed: usize,
    /// A seal that waits for what it is of: a call carries its own.
    held: Option<Seal>,
    /// Calls with what their maker wants to see again.
    seals: Vec<(usize, Value)>,
    refusal: String,
    /// `reasoning_details`
    details: Vec<Value>,
    annotations: Vec<Value>,
    /// Further members of the message, from a provider of this dialect.
    further: Vec<Value>,
    calls: Vec<ToolCall>,
    tokens: Vec<TokenLogprob>,
    reason: Option<FinishReason>,
}

impl Collector {
    /// A collector for an answer with `choices` choices (prompts times `n`).
    pub fn new(shape: Shape, heading: Heading, choices: usize, has_logprobs: bool) -> Collector {
        let choices = std::iter::repeat_with(Choice::default).take(choices).collect();
        Collector { shape, heading, has_logprobs, choices, usage: Usage::default() }
    }

    /// Takes the next event.
    pub fn push(&mut self, event: Event) {
        match event {
            Event::Served { .. } | Event::Started { .. } | Event::Context { .. } => {}
            Event::Text { choice, text, tokens } => {
                if let Some(choice) = self.choices.get_mut(usize::from(choice)) {
                    choice.text.push_str(&text);
                    if self.has_logprobs {
                        choice.tokens.extend(tokens);
                    }
                }
            }
            Event::Aside { choice, aside, tokens } => {
                if let Some(choice) = self.choices.get_mut(usize::from(choice)) {
                    choice.note(aside);
                    if self.has_logprobs {
                        choice.tokens.extend(tokens);
                    }
                }
            }
            Event::Finished { choice, reason } => {
                if let Some(choice) = self.choices.get_mut(usize::from(choice)) {
                    choice.unseal();
                    choice.reason = Some(reason);
                }
            }
            Event::Done(usage) => self.usage = usage,
        }
    }

    /// The whole answer.
    pub fn finish(self) -> Value {
        let object = match self.shape {
            Shape::Chat => "chat.completion",
            Shape::Text => "text_completion",
        };
        let choices: Vec<Value> = self
            .choices
            .iter()
            .enumerate()
            .map(|(index, choice)| self.print(index, choice))
            .collect();
        let mut answer = json!({
            "id": self.heading.id,
            "object": object,
            "created": self.heading.created,
            "model": self.heading.model,
            "choices": choices,
            "usage": print_usage(&self.usage),
        });
        if let Some(tier) = self.heading.tier {
            answer["service_tier"] = tier.name().into();
        }
        answer
    }

    fn print(&self, index: usize, choice: &Choice) -> Value {
        let logprobs = match self.has_logprobs {
            true => logprobs::print(self.shape, &choice.tokens, &mut 0),
            false => Value::Null,
        };
        let calls = self.heading.calls;
        let reason = choice.reason.map(|reason| reason_name(reason, calls));
        match self.shape {
            Shape::Chat => json!({
                "index": index,
                "message": choice.message(calls),
                "logprobs": logprobs,
                "finish_reason": reason,
            }),
            Shape::Text => json!({
                "index": index,
                "text": choice.text,
                "logprobs": logprobs,
                "finish_reason": reason,
            }),
        }
    }
}

impl Choice {
    fn note(&mut self, aside: Aside) {
        match aside {
            Aside::Reasoning(text) => self.reasoning.push_str(&text),
            Aside::Seal(seal) => {
                self.unseal();
                self.held = Some(*seal);
            }
            Aside::Refusal(text) => self.refusal.push_str(&text),
            Aside::Citation(citation) => self.annotations.extend(print_citation(&citation)),
            Aside::Foreign(foreign) if foreign.family == Family::OpenAi => {
                self.further.push(foreign.value);
            }
            Aside::Foreign(_) | Aside::Break => {}
            Aside::CallStart { id, name, .. } => {
                match self.held.take() {
                    Some(seal) if seal.family == Family::Gemini => {
                        self.seals.push((self.calls.len(), thoughts::print_of_call(&seal)));
                    }
                    seal => {
                        self.held = seal;
                        self.unseal();
                    }
                }
                self.calls.push(ToolCall { id, name, arguments: String::new() });
            }
            Aside::CallArguments { index, text } => {
                if let Some(call) = self.calls.get_mut(index as usize) {
                    call.arguments.push_str(&text);
                }
            }
        }
    }

    /// Tells a seal that is not of a call.
    fn unseal(&mut self) {
        let Some(seal) = self.held.take() else { return };
        // The text that it seals is what came since the last one.
        let text = self.reasoning.get(self.sealed..).unwrap_or_default();
        self.details.push(thoughts::print(&seal, text, self.details.len()));
        self.sealed = self.reasoning.len();
    }

    /// The `message` of a chat: fields that have nothing to say are left out, but for the content,
    /// which is null beside calls alone.
    fn message(&self, form: CallForm) -> Value {
        let is_silent = self.text.is_empty() && !(self.calls.is_empty() && self.refusal.is_empty());
        let content = (!is_silent).then_some(&self.text);
        let refusal = (!self.refusal.is_empty()).then_some(&self.refusal);
        let mut message = json!({ "role": "assistant", "content": content, "refusal": refusal });
        for (name, list) in
            [("reasoning_details", &self.details), ("annotations", &self.annotations)]
        {
            if !list.is_empty() {
                message[name] = list.clone().into();
            }
        }
        if let Some(message) = message.as_object_mut() {
            let further = self.further.iter().filter_map(Value::as_object).flatten();
            message.extend(further.map(|(name, value)| (name.clone(), value.clone())));
        }
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = self.reasoning.as_str().into();
        }
        let function = |call: &ToolCall| json!({ "name": call.name, "arguments": call.arguments });
        match (form, self.calls.first()) {
            (_, None) => {}
            (CallForm::Function, Some(call)) => message["function_call"] = function(call),
            (CallForm::Tools, Some(_)) => {
                let print = |(at, call): (usize, &ToolCall)| {
                    let mut printed =
                        json!({ "id": call.id, "type": "function", "function": function(call) });
                    if let Some((_, seal)) = self.seals.iter().find(|(of, _)| *of == at) {
                        printed["extra_content"] = seal.clone();
                    }
                    printed
                };
                message["tool_calls"] = self.calls.iter().enumerate().map(print).collect();
            }
        }
        message
    }
}
