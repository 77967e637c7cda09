//! Parses the body of `/v1/completions`.

use serde_json::Value;

use super::fields::{Fields, must};
use super::{Call, CallForm, Tier, rules};
use crate::error::{Error, Result};
use crate::request::{AnswerRules, GenerateRequest, Input, RequestId, Sampling, Window};

/// Most prompts of one call.
const MAX_PROMPTS: usize = 64;
/// Most answers of one call: its prompts times `n`. Half of what a model's queue holds as shipped.
const MAX_ANSWERS: usize = 128;
/// OpenAI's default for `max_tokens` on this route.
const DEFAULT_MAX_TOKENS: u32 = 16;
/// Most alternatives on this route.
const MAX_COMPLETION_LOGPROBS: i64 = 20;

/// Parses a text completion: one request per prompt.
pub fn parse_completion(body: &[u8], id: RequestId) -> Result<Call> {
    let mut fields = Fields::parse(body)?;
    let model = fields.model()?;
    let suffix = fields.text("suffix")?.filter(|suffix| !suffix.is_empty()).map(str::to_owned);
    let choices = fields.choices()?;
    // `best_of` asks for more answers than are returned; equal to `n` it asks for nothing.
    if fields.whole("best_of", 1..=20)?.is_some_and(|best_of| best_of != i64::from(choices)) {
        let message = "'best_of' other than 'n' is not supported by this version of Hearth.";
        return Err(Error::invalid("best_of", message));
    }
    let logprobs = fields.whole("logprobs", 0..=MAX_COMPLETION_LOGPROBS)?;
    let echo = fields.flag("echo")?;
    if echo && logprobs.is_some() {
        let message = "'logprobs' of an echoed prompt are not supported by this version of Hearth.";
        return Err(Error::invalid("logprobs", message));
    }
    let tier = fields.tier()?;
    let template = GenerateRequest {
        id,
        model,
        input: Input::Text(String::new()),
        priority: tier.map_or_else(Default::default, Tier::priority),
        sampling: fields.sampling()?,
        max_tokens: Some(fields.count("max_tokens", 0)?.unwrap_or(DEFAULT_MAX_TOKENS)),
        stop: fields.stops()?,
        choices,
        logprobs: logprobs.and_then(|top| u8::try_from(top).ok()),
        echo,
        rules: AnswerRules { format: rules::guided(&fields)?, ..AnswerRules::default() },
        window: Window::default(),
        fallback: Sampling::default(),
        extras: None,
    };
    let prompts = parse_prompts(fields.take("prompt"))?;
    if prompts.len() * usize::from(choices) > MAX_ANSWERS {
        let message =
            format!("'n' times the entries of 'prompt' may be at most {MAX_ANSWERS} answers.");
        return Err(Error::invalid("n", message));
    }
    let prompts = match suffix {
        Some(suffix) => prompts.into_iter().map(|prompt| before(prompt, &suffix)).collect(),
        None => Ok(prompts),
    };
    let ignored = fields.has_idle_bias().then(|| "logit_bias".to_owned()).into_iter().collect();
    let stream = fields.stream()?;
    let extras = fields.open_ai_extras();
    let requests = prompts?
        .into_iter()
        .enumerate()
        .map(|(index, input)| {
            let mut request = GenerateRequest { input, extras: extras.clone(), ..template.clone() };
            if index > 0 {
                // Each prompt is a request of its own in the books.
                request.id = RequestId(format!("{}-{}", template.id.0, index + 1));
            }
            request
        })
        .collect();
    Ok(Call { requests, stream, tier, calls: CallForm::default(), ignored })
}

/// A prompt that a suffix comes behind.
fn before(prompt: Input, suffix: &str) -> Result<Input> {
    match prompt {
        Input::Text(prompt) => Ok(Input::Infill { prompt, suffix: suffix.to_owned() }),
        _ => Err(Error::invalid("suffix", "'suffix' goes with a prompt of text, not of tokens.")),
    }
}

/// A text, a list of texts, a list of token ids, or a list of those.
fn parse_prompts(value: Option<Value>) -> Result<Vec<Input>> {
    let wrong = || {
        let what = "a string, a list of strings, a list of token ids, or a list of such lists; \
                    none of them empty";
        Error::invalid("prompt", must("prompt", what))
    };
    match value {
        Some(Value::String(text)) => Ok(vec![Input::Text(text)]),
        Some(Value::Array(items)) => match items.first() {
            Some(Value::Number(_)) => Ok(vec![parse_tokens(&items).ok_or_else(wrong)?]),
            Some(_) if items.len() > MAX_PROMPTS => {
                let message = format!("'prompt' may have at most {MAX_PROMPTS} entries.");
                Err(Error::invalid("prompt", message))
            }
            Some(_) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Some(Input::Text(text)),
                    Value::Array(ids) => parse_tokens(&ids),
                    _ => None,
                })
                .collect::<Option<_>>()
                .ok_or_else(wrong),
            None => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

fn parse_tokens(ids: &[Value]) -> Option<Input> {
    let ids: Option<Vec<u32>> =
        ids.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect();
    ids.filter(|ids| !ids.is_empty()).map(Input::Tokens)
}
