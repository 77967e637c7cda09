//! Reads the answers of generateContent, whole and in pieces, which look alike.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::event::{Event, Filter, FinishReason, TokenLogprob};
use crate::request::{Citation, Family, GenerateRequest, Seal};
use crate::wire::answer::{Answer, CallKey, Count, Told};
use crate::wire::stream::{Parse, json as parse_json};
use crate::wire::{Read, Refusal, RefusalKind, refusals};

/// Reads one answer.
pub(super) struct GeminiReader {
    answer: Answer,
}

impl GeminiReader {
    pub(super) fn new(request: &GenerateRequest) -> GeminiReader {
        GeminiReader { answer: Answer::new(request) }
    }
}

impl Parse for GeminiReader {
    fn piece(&mut self, data: &[u8], out: &mut Vec<Event>) -> Read<()> {
        match data.is_empty() {
            true => Ok(()),
            false => self.take(parse_json(data)?, out),
        }
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<Event>) -> Read<()> {
        // Without `alt=sse` a stream is a list.
        if body.trim_ascii_start().starts_with(b"[") {
            let pieces: Vec<Piece> = parse_json(body)?;
            return pieces.into_iter().try_for_each(|piece| self.take(piece, out));
        }
        self.take(parse_json(body)?, out)
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Read<()> {
        self.answer.end(out)
    }
}

impl GeminiReader {
    fn take(&mut self, piece: Piece, out: &mut Vec<Event>) -> Read<()> {
        if let Some(error) = piece.error {
            return Err(refusals::read_inside(&json!({ "error": error })));
        }
        if let Some(usage) = piece.usage_metadata {
            self.answer.tell(usage.told());
        }
        let feedback = piece.prompt_feedback.and_then(|feedback| feedback.block_reason);
        if let (Some(reason), true) = (feedback, piece.candidates.is_empty()) {
            let reason: String = reason.chars().take(40).collect();
            let message = format!("The provider refuses the prompt: {reason}.");
            return Err(Refusal { kind: RefusalKind::Content, message });
        }
        piece.candidates.into_iter().try_for_each(|candidate| self.candidate(candidate, out))
    }

    fn candidate(&mut self, candidate: Candidate, out: &mut Vec<Event>) -> Read<()> {
        let choice = candidate.index.unwrap_or(0);
        let mut tokens = candidate.logprobs_result.map(Logprobs::tokens).unwrap_or_default();
        for part in candidate.content.unwrap_or_default().parts {
            self.part(choice, part, &mut tokens, out)?;
        }
        if !tokens.is_empty() {
            self.answer.text(choice, String::new(), tokens, out)?;
        }
        if let Some(grounding) = candidate.grounding_metadata {
            for citation in citations(&grounding) {
                self.answer.cite(choice, citation, out)?;
            }
            let value = json!({ "groundingMetadata": grounding });
            self.answer.foreign(choice, (Family::Gemini, value), out)?;
        }
        if let Some(value) = candidate.citation_metadata {
            let value = json!({ "citationMetadata": value });
            self.answer.foreign(choice, (Family::Gemini, value), out)?;
        }
        match candidate.finish_reason.as_deref() {
            None | Some("FINISH_REASON_UNSPECIFIED") => Ok(()),
            Some(word) => self.answer.finish(choice, reason(word), out),
        }
    }

    fn part(
        &mut self,
        choice: u16,
        part: Part,
        tokens: &mut Vec<TokenLogprob>,
        out: &mut Vec<Event>,
    ) -> Read<()> {
        let answer = &mut self.answer;
        if let Some(value) = part.thought_signature {
            let seal = Seal { family: Family::Gemini, value, is_thought: false };
            answer.seal(choice, seal, out)?;
        }
        if let Some(text) = part.text {
            return match part.thought {
                true => answer.think(choice, text, out),
                false => answer.text(choice, text, std::mem::take(tokens), out),
            };
        }
        if let Some(call) = part.function_call {
            let key = CallKey { index: answer.calls(choice) as u64, id: call.id };
            let arguments = match call.args {
                Value::Null => "{}".to_owned(),
                args => args.to_string(),
            };
            return answer.call(choice, key, (Some(&call.name), arguments), out);
        }
        let others = [
            ("inlineData", part.inline_data),
            ("fileData", part.file_data),
            ("executableCode", part.executable_code),
            ("codeExecutionResult", part.code_execution_result),
        ];
        for (name, value) in others {
            if let Some(value) = value {
                answer.foreign(choice, (Family::Gemini, json!({ name: value })), out)?;
            }
        }
        Ok(())
    }
}

fn reason(word: &str) -> FinishReason {
    match word {
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY" | "IMAGE_SAFETY" => FinishReason::Filtered(Filter::Safety),
        "RECITATION" | "IMAGE_RECITATION" => FinishReason::Filtered(Filter::Recitation),
        "LANGUAGE" => FinishReason::Filtered(Filter::Language),
        "BLOCKLIST" => FinishReason::Filtered(Filter::Blocklist),
        "PROHIBITED_CONTENT" | "IMAGE_PROHIBITED_CONTENT" => {
            FinishReason::Filtered(Filter::Prohibited)
        }
        "SPII" => FinishReason::Filtered(Filter::PersonalData),
        "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "TOO_MANY_TOOL_CALLS" => {
            FinishReason::BadCall
        }
        _ => FinishReason::Other,
    }
}

/// What a search has found, for each stretch of text that it supports.
fn citations(grounding: &Value) -> Vec<Citation> {
    let list = |name: &str| grounding[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let chunks = list("groundingChunks");
    let mut found = Vec::new();
    for support in list("groundingSupports") {
        let segment = &support["segment"];
        let place = |name: &str| segment[name].as_u64().and_then(|at| u32::try_from(at).ok());
        let indices = support["groundingChunkIndices"].as_array().into_iter().flatten();
        for web in indices.filter_map(|index| chunks.get(usize::try_from(index.as_u64()?).ok()?)) {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            found.push(Citation {
                url: text(&web["web"]["uri"]),
                title: text(&web["web"]["title"]),
                text: text(&segment["text"]),
                span: Some(place("startIndex").unwrap_or(0)).zip(place("endIndex")),
                // Clients of this dialect get all of it at once.
                raw: Some((Family::Gemini, Value::Null)),
            });
        }
    }
    found
}

/// The models of a list.
pub(super) fn models(body: &[u8]) -> Read<Vec<String>> {
    #[derive(Deserialize)]
    struct Model {
        name: String,
    }
    #[derive(Deserialize)]
    struct List {
        models: Vec<Model>,
    }
    let list: List = parse_json(body)?;
    let short = |model: Model| model.name.trim_start_matches("models/").to_owned();
    Ok(list.models.into_iter().map(short).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Piece {
    #[serde(default)]
    candidates: Vec<Candidate>,
    prompt_feedback: Option<Feedback>,
    usage_metadata: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    block_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    index: Option<u16>,
    content: Option<Content>,
    finish_reason: Option<String>,
    grounding_metadata: Option<Value>,
    citation_metadata: Option<Value>,
    logprobs_result: Option<Logprobs>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    parts: Vec<Part>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Part {
    text: Option<String>,
    thought: bool,
    thought_signature: Option<String>,
    function_call: Option<Function>,
    inline_data: Option<Value>,
    file_data: Option<Value>,
    executable_code: Option<Value>,
    code_execution_result: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Function {
    id: String,
    name: String,
    args: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Logprobs {
    chosen_candidates: Vec<Token>,
    top_candidates: Vec<Top>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Top {
    candidates: Vec<Token>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Token {
    token: String,
    token_id: Count,
    log_probability: f32,
}

impl Logprobs {
    fn tokens(self) -> Vec<TokenLogprob> {
        let mut tops = self.top_candidates.into_iter();
        let neutral = |token: Token| {
            let top = tops.next().unwrap_or_default().candidates.into_iter().map(|other| {
                let bytes = other.token.as_bytes().to_vec();
                (other.token_id.0.unwrap_or(0), other.token, bytes, other.log_probability)
            });
            TokenLogprob {
                id: token.token_id.0.unwrap_or(0),
                bytes: token.token.as_bytes().to_vec(),
                logprob: token.log_probability,
                top: top.collect(),
                text: token.token,
            }
        };
        self.chosen_candidates.into_iter().map(neutral).collect()
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Usage {
    prompt_token_count: Count,
    tool_use_prompt_token_count: Count,
    candidates_token_count: Count,
    thoughts_token_count: Count,
    cached_content_token_count: Count,
}

impl Usage {
    /// Here thoughts are not part of the answer's number.
    fn told(self) -> Told {
        let completion = self.candidates_token_count.plus(self.thoughts_token_count);
        Told {
            prompt: self.prompt_token_count.plus(self.tool_use_prompt_token_count).0,
            completion: completion.0,
            reasoning: self.thoughts_token_count.0,
            cached: self.cached_content_token_count.0,
            cache_write: None,
        }
    }
}
