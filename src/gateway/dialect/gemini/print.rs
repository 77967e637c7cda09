//! Prints neutral events as the pieces of a stream, or as one answer; both look alike.

use serde_json::{Map, Value, json};

use crate::event::{Aside, Event, Filter, FinishReason, TokenLogprob, Usage};
use crate::request::{Citation, Family, Seal, ToolCall};

/// Facts that every piece repeats.
#[derive(Clone, Debug)]
pub struct Heading {
    pub id: String,
    pub model: String,
    /// Whether what the model thinks is told.
    pub shows_thoughts: bool,
    pub has_logprobs: bool,
}

/// Turns events into pieces, the last with the reasons and the usage.
#[derive(Debug)]
pub struct Printer {
    heading: Heading,
    choices: Vec<Choice>,
}

#[derive(Debug, Default)]
struct Choice {
    /// A call that is being written; told when it is whole.
    call: Option<ToolCall>,
    /// The signature of the part that comes next.
    signature: Option<String>,
    citations: Vec<Value>,
    reason: Option<FinishReason>,
}

impl Printer {
    /// A printer for one answer.
    pub fn new(heading: Heading) -> Printer {
        Printer { heading, choices: Vec::new() }
    }

    /// The pieces that this event adds to a stream.
    pub fn pieces(&mut self, event: Event) -> Vec<Value> {
        if let Event::Done(usage) = event {
            return vec![self.last(&usage)];
        }
        let Some((index, candidate)) = self.take(event) else { return Vec::new() };
        match candidate.is_empty() {
            true => Vec::new(),
            false => vec![self.piece(vec![printed(index, candidate)], None)],
        }
    }

    /// The whole answer, from all its events.
    pub fn answer(mut self, events: Vec<Event>) -> Value {
        let mut whole: Vec<Candidate> = Vec::new();
        let mut usage = Usage::default();
        for event in events {
            if let Event::Done(used) = event {
                usage = used;
            } else if let Some((index, more)) = self.take(event) {
                let index = usize::from(index);
                if whole.len() <= index {
                    whole.resize_with(index + 1, Candidate::default);
                }
                whole[index].add(more);
            }
        }
        let last = self.last(&usage);
        let mut candidates: Vec<Value> =
            (0u16..).zip(whole).map(|(index, candidate)| printed(index, candidate)).collect();
        let ends = last["candidates"].as_array().cloned().unwrap_or_default();
        for (at, end) in ends.into_iter().enumerate() {
            match candidates.get_mut(at) {
                // What it has of parts came before.
                Some(candidate) => {
                    for name in ["finishReason", "citationMetadata"] {
                        if let Some(value) = end.get(name) {
                            candidate[name] = value.clone();
                        }
                    }
                    let parts = end["content"]["parts"].as_array().cloned().unwrap_or_default();
                    if let Some(list) = candidate["content"]["parts"].as_array_mut() {
                        list.extend(parts);
                    }
                }
                None => candidates.push(end),
            }
        }
        self.piece(candidates, Some(&usage))
    }

    fn take(&mut self, event: Event) -> Option<(u16, Candidate)> {
        match event {
            Event::Served { .. }
            | Event::Started { .. }
            | Event::Context { .. }
            | Event::Done(_) => None,
            Event::Text { choice, text, tokens } => {
                let logprobs = if self.heading.has_logprobs { tokens } else { Vec::new() };
                let mut candidate = Candidate { logprobs, ..Candidate::default() };
                if !text.is_empty() {
                    let part = json!({ "text": text });
                    candidate.parts.push(self.choice(choice).signed(part));
                }
                Some((choice, candidate))
            }
            Event::Aside { choice, aside, .. } => Some((choice, self.aside(choice, aside))),
            Event::Finished { choice, reason } => {
                let ended = self.choice(choice);
                ended.reason = Some(reason);
                let parts = ended.whole_call().into_iter().collect();
                Some((choice, Candidate { parts, ..Candidate::default() }))
            }
        }
    }

    fn aside(&mut self, choice: u16, aside: Aside) -> Candidate {
        let shows_thoughts = self.heading.shows_thoughts;
        let choice = self.choice(choice);
        let mut candidate = Candidate::default();
        match aside {
            Aside::Reasoning(text) if shows_thoughts => {
                candidate.parts.push(json!({ "text": text, "thought": true }));
            }
            Aside::Reasoning(_) | Aside::Break => {}
            Aside::Seal(seal) => choice.seal(&seal),
            Aside::Refusal(text) => candidate.parts.push(json!({ "text": text })),
            Aside::Citation(citation) => choice.citations.extend(source(&citation)),
            Aside::Foreign(foreign) if foreign.family == Family::Gemini => {
                let is_beside = |name: &str| foreign.value.get(name).is_some();
                match is_beside("groundingMetadata") || is_beside("citationMetadata") {
                    true => candidate.beside = foreign.value.as_object().cloned(),
                    false => candidate.parts.push(choice.signed(foreign.value)),
                }
            }
            Aside::Foreign(_) => {}
            Aside::CallStart { id, name, .. } => {
                candidate.parts.extend(choice.whole_call());
                choice.call = Some(ToolCall { id, name, arguments: String::new() });
            }
            Aside::CallArguments { text, .. } => {
                if let Some(call) = &mut choice.call {
                    call.arguments.push_str(&text);
                }
            }
        }
        candidate
    }

    fn last(&mut self, usage: &Usage) -> Value {
        let candidates = (0u16..).zip(&mut self.choices).map(|(index, choice)| {
            let signature = choice.signature.take();
            let mut parts: Vec<Value> = choice.whole_call().into_iter().collect();
            if let Some(signature) = signature {
                parts.push(json!({ "text": "", "thoughtSignature": signature }));
            }
            let mut candidate = printed(index, Candidate { parts, ..Candidate::default() });
            candidate["finishReason"] = choice.reason.map_or("OTHER", reason_name).into();
            if !choice.citations.is_empty() {
                candidate["citationMetadata"] = json!({ "citationSources": choice.citations });
            }
            candidate
        });
        let candidates = candidates.collect();
        self.piece(candidates, Some(usage))
    }

    fn piece(&self, candidates: Vec<Value>, usage: Option<&Usage>) -> Value {
        let mut piece = json!({ "candidates": candidates });
        if let Some(usage) = usage {
            piece["usageMetadata"] = print_usage(usage);
        }
        piece["modelVersion"] = self.heading.model.as_str().into();
        piece["responseId"] = self.heading.id.as_str().into();
        piece
    }

    fn choice(&mut self, choice: u16) -> &mut Choice {
        let at = usize::from(choice);
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, Choice::default);
        }
        &mut self.choices[at]
    }
}

/// More of a candidate.
#[derive(Debug, Default)]
struct Candidate {
    parts: Vec<Value>,
    logprobs: Vec<TokenLogprob>,
    /// Members beside the content.
    beside: Option<Map<String, Value>>,
}

impl Candidate {
    fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.logprobs.is_empty() && self.beside.is_none()
    }

    /// Texts of one kind that follow each other become one.
    fn add(&mut self, more: Candidate) {
        for part in more.parts {
            let is_plain = part["text"].is_string() && part.get("thoughtSignature").is_none();
            match self.parts.last_mut() {
                Some(last)
                    if is_plain
                        && last["text"].is_string()
                        && last.get("thought") == part.get("thought") =>
                {
                    let text = [&last["text"], &part["text"]].map(|t| t.as_str().unwrap_or(""));
                    last["text"] = text.concat().into();
                }
                _ => self.parts.push(part),
            }
        }
        self.logprobs.extend(more.logprobs);
        if let Some(more) = more.beside {
            self.beside.get_or_insert_default().extend(more);
        }
    }
}

impl Choice {
    fn seal(&mut self, seal: &Seal) {
        self.signature = Some(seal.carried_by(Family::Gemini));
    }

    fn signed(&mut self, mut part: Value) -> Value {
        if let Some(signature) = self.signature.take() {
            part["thoughtSignature"] = signature.into();
        }
        part
    }

    /// The call that has been written. One that the limit on tokens has cut off in its arguments
    /// cannot be made and is left out; the reason says so.
    fn whole_call(&mut self) -> Option<Value> {
        let call = self.call.take()?;
        let args: Map<String, Value> = match call.arguments.trim() {
            "" => Map::new(),
            text => serde_json::from_str(text).ok()?,
        };
        let function = json!({ "id": call.id, "name": call.name, "args": args });
        Some(self.signed(json!({ "functionCall": function })))
    }
}

fn printed(index: u16, candidate: Candidate) -> Value {
    let content = json!({ "parts": candidate.parts, "role": "model" });
    let mut printed = json!({ "content": content, "index": index });
    if !candidate.logprobs.is_empty() {
        printed["logprobsResult"] = print_logprobs(&candidate.logprobs);
    }
    if let (Some(beside), Some(printed)) = (candidate.beside, printed.as_object_mut()) {
        printed.extend(beside);
    }
    printed
}

fn print_logprobs(tokens: &[TokenLogprob]) -> Value {
    let one = |id: u32, text: &str, logprob: f32| {
        // JSON has no infinity.
        let logprob = if logprob.is_finite() { logprob } else { -9999.0 };
        json!({ "token": text, "tokenId": id, "logProbability": logprob })
    };
    let chosen: Vec<Value> = tokens.iter().map(|t| one(t.id, &t.text, t.logprob)).collect();
    let tops: Vec<Value> = tokens
        .iter()
        .map(|token| {
            let top = token.top.iter().map(|(id, text, _, logprob)| one(*id, text, *logprob));
            json!({ "candidates": top.collect::<Vec<_>>() })
        })
        .collect();
    json!({ "chosenCandidates": chosen, "topCandidates": tops })
}

/// A source of the answer; what Google's own search has found is told as a whole.
fn source(citation: &Citation) -> Option<Value> {
    if matches!(citation.raw, Some((Family::Gemini, _))) {
        return None;
    }
    let (start, end) = citation.span.unwrap_or_default();
    let mut source = json!({ "startIndex": start, "endIndex": end, "uri": citation.url.as_ref()? });
    if let Some(title) = &citation.title {
        source["title"] = title.as_str().into();
    }
    Some(source)
}

fn reason_name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopText(_) | FinishReason::ToolCalls => "STOP",
        FinishReason::Length => "MAX_TOKENS",
        FinishReason::Filtered(filter) => match filter {
            Filter::Safety => "SAFETY",
            Filter::Recitation => "RECITATION",
            Filter::Language => "LANGUAGE",
            Filter::Blocklist => "BLOCKLIST",
            Filter::Prohibited => "PROHIBITED_CONTENT",
            Filter::PersonalData => "SPII",
        },
        FinishReason::Refusal => "SAFETY",
        FinishReason::BadCall => "MALFORMED_FUNCTION_CALL",
        FinishReason::Paused | FinishReason::Other => "OTHER",
    }
}

/// Here thoughts are not part of the answer's number.
fn print_usage(usage: &Usage) -> Value {
    let total = u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens);
    let mut printed = json!({
        "promptTokenCount": usage.prompt_tokens,
        "candidatesTokenCount": usage.completion_tokens.saturating_sub(usage.reasoning_tokens),
        "totalTokenCount": total,
    });
    for (name, count) in [
        ("thoughtsTokenCount", usage.reasoning_tokens),
        ("cachedContentTokenCount", usage.cached_tokens),
    ] {
        if count > 0 {
            printed[name] = count.into();
        }
    }
    printed
}
