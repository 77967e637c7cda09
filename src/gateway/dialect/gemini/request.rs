//! Parses the bodies of generateContent and countTokens.

use serde_json::{Map, Value};

use super::content::{parse_contents, parse_system};
use super::fields::{in_camel_case, list, wrong};
use super::{Call, rules};
use crate::dialect::fields::Fields;
use crate::error::{Error, Result};
use crate::request::{
    Extras, Family, GenerateRequest, Input, MAX_CHOICES, MAX_LOGPROBS, MAX_STOP_BYTES, MAX_STOPS,
    Message, Priority, RequestId, Sampling, Window,
};

/// Fields that have a neutral meaning.
const KNOWN: [&str; 5] =
    ["contents", "generationConfig", "systemInstruction", "toolConfig", "tools"];
/// Members of `generationConfig` that have one.
const KNOWN_OF_CONFIG: [&str; 16] = [
    "candidateCount",
    "frequencyPenalty",
    "logprobs",
    "maxOutputTokens",
    "presencePenalty",
    "responseJsonSchema",
    "responseLogprobs",
    "responseMimeType",
    "responseSchema",
    "seed",
    "stopSequences",
    "temperature",
    "thinkingConfig",
    "topK",
    "topP",
    "_responseJsonSchema",
];
/// Largest `topK`; keeps every token.
const MAX_TOP_K: i64 = 1_000_000;

/// Parses a request for content of this model.
pub fn parse_generate(model: &str, body: &[u8], id: RequestId) -> Result<Call> {
    let members = Fields::parse(body)?.into_members();
    parse(model, in_camel_case(members), id)
}

/// Parses a request for the number of its tokens: contents, or a whole request for content.
pub fn parse_count(model: &str, body: &[u8], id: RequestId) -> Result<Call> {
    let mut members = in_camel_case(Fields::parse(body)?.into_members());
    match members.remove("generateContentRequest") {
        Some(Value::Object(inner)) => parse(model, in_camel_case(inner), id),
        Some(_) => Err(wrong("generateContentRequest", "an object")),
        None => parse(model, members, id),
    }
}

fn parse(model: &str, mut members: Map<String, Value>, id: RequestId) -> Result<Call> {
    // The path has said it.
    members.remove("model");
    let messages: Vec<Message> = parse_system(members.get("systemInstruction"))?
        .into_iter()
        .chain(parse_contents(members.get("contents"))?)
        .collect();
    let config = match members.get("generationConfig") {
        None => Map::new(),
        Some(Value::Object(config)) => in_camel_case(config.clone()),
        Some(_) => return Err(wrong("generationConfig", "an object")),
    };
    let rules = rules::parse(&members, &config)?;
    let shows_thoughts = config.get("thinkingConfig").is_some_and(|config| {
        super::fields::member(config, "includeThoughts") == Some(&true.into())
    });
    let inner: Vec<String> =
        config.keys().filter(|name| !KNOWN_OF_CONFIG.contains(&name.as_str())).cloned().collect();
    let config = Fields::of(config);
    let mut request = GenerateRequest {
        id,
        model: model.to_owned(),
        input: Input::Chat(messages),
        priority: Priority::Default,
        sampling: sampling(&config)?,
        max_tokens: config.count("maxOutputTokens", 1)?,
        stop: stops(&config)?,
        choices: config
            .whole("candidateCount", 1..=i64::from(MAX_CHOICES))?
            .and_then(|count| u16::try_from(count).ok())
            .unwrap_or(1),
        logprobs: logprobs(&config)?,
        echo: false,
        rules,
        window: Window::default(),
        fallback: Sampling::default(),
        extras: None,
    };
    let ignored = members.keys().filter(|name| !KNOWN.contains(&name.as_str())).cloned();
    let ignored = ignored.chain(inner.iter().cloned()).collect();
    request.extras = extras(members, inner);
    Ok(Call { request, shows_thoughts, ignored })
}

/// What else the body said; the whole configuration goes to Google as it is.
fn extras(members: Map<String, Value>, inner: Vec<String>) -> Option<Box<Extras>> {
    let (mut fields, mut raw) = (Map::new(), Map::new());
    for (name, value) in members {
        match name.as_str() {
            "generationConfig" => {
                let config = value.as_object().cloned().map(in_camel_case).unwrap_or_default();
                raw.insert(name, config.into());
            }
            "toolConfig" => {
                raw.insert(name, value);
            }
            known if KNOWN.contains(&known) => {}
            _ => {
                fields.insert(name, value);
            }
        }
    }
    let mut extras = Extras::of(Family::Gemini, fields, raw)?;
    extras.inner = inner;
    Some(extras)
}

fn sampling(config: &Fields) -> Result<Sampling> {
    let top_k = config.number("topK", 0.0..=MAX_TOP_K as f32)?;
    // 0 is how "off" is written elsewhere; whole numbers come as fractions from some clients.
    let top_k = top_k.map(|top| if top < 1.0 { MAX_TOP_K as u32 } else { top as u32 });
    Ok(Sampling {
        temperature: config.number("temperature", 0.0..=2.0)?,
        top_k,
        top_p: config.number("topP", 0.0..=1.0)?,
        presence_penalty: config.number("presencePenalty", -2.0..=2.0)?,
        frequency_penalty: config.number("frequencyPenalty", -2.0..=2.0)?,
        seed: config
            .whole("seed", i64::from(i32::MIN)..=i64::from(u32::MAX))?
            .map(i64::cast_unsigned),
        ..Sampling::default()
    })
}

fn stops(config: &Fields) -> Result<Vec<String>> {
    let name = "generationConfig.stopSequences";
    let what = format!("a list of at most {MAX_STOPS} texts of 1 to {MAX_STOP_BYTES} bytes");
    let texts = list(name, config.get("stopSequences"))?;
    let stop = |text: &Value| {
        let text = text.as_str().filter(|text| (1..=MAX_STOP_BYTES).contains(&text.len()));
        text.map(str::to_owned).ok_or_else(|| wrong(name, &what))
    };
    match texts.len() <= MAX_STOPS {
        true => texts.iter().map(stop).collect(),
        false => Err(wrong(name, &what)),
    }
}

fn logprobs(config: &Fields) -> Result<Option<u8>> {
    let top = config.whole("logprobs", 0..=i64::from(MAX_LOGPROBS))?;
    match (config.flag("responseLogprobs")?, top) {
        (true, top) => Ok(Some(top.and_then(|top| u8::try_from(top).ok()).unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => Err(Error::invalid(
            "generationConfig.logprobs",
            "logprobs needs responseLogprobs to be true.",
        )),
    }
}
