//! What providers get wrong: bytes cut anywhere, other line ends, ends that are missing, errors
//! inside an answer, numbers that are absurd, lines without end.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ANSWERS, events, read, reader, request};
use crate::event::{Event, FinishReason, Usage};
use crate::wire::{MAX_LINE_BYTES, Provider, Refusal, RefusalKind, Shape, of};

fn usage(events: &[Event]) -> Usage {
    match events.last() {
        Some(Event::Done(usage)) => *usage,
        other => panic!("{other:?}"),
    }
}

fn refused(provider: Provider, text: &str) -> Refusal {
    events(provider, Shape::Stream, &[text.as_bytes()]).unwrap_err().0
}

proptest! {
    #[test]
    fn any_cut_of_the_bytes_gives_the_same_events(
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        crlf in 0..3usize,
    ) {
        for (name, provider) in ANSWERS {
            for (file, shape) in [("stream", Shape::Stream), ("json", Shape::Whole)] {
                let plain = read(&format!("answers/{name}.{file}"));
                let wanted = events(provider, shape, &[&plain]).unwrap();
                let text = String::from_utf8(plain).unwrap();
                let text = text.replace('\n', ["\n", "\r\n", "\r"][crlf]);
                let bytes = text.as_bytes();
                let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
                at.extend([0, bytes.len()]);
                at.sort_unstable();
                let pieces: Vec<&[u8]> =
                    at.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
                prop_assert_eq!(&events(provider, shape, &pieces).unwrap(), &wanted);
            }
        }
    }

    #[test]
    fn noise_is_an_error_and_never_a_panic(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
    ) {
        for (name, provider) in ANSWERS {
            let mut bytes = read(&format!("answers/{name}.stream"));
            let at = at.index(bytes.len());
            bytes.splice(at..at, noise.iter().copied());
            let _ = events(provider, Shape::Stream, &[&bytes]);
            let _ = of(provider).refusal(400, &noise);
            let _ = of(provider).models(&noise);
        }
    }
}

#[test]
fn one_byte_at_a_time_gives_the_same_events() {
    for (name, provider) in ANSWERS {
        let bytes = read(&format!("answers/{name}.stream"));
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        let wanted = events(provider, Shape::Stream, &[&bytes]).unwrap();
        assert_eq!(events(provider, Shape::Stream, &pieces).unwrap(), wanted, "{name}");
    }
}

#[test]
fn an_answer_that_stops_in_the_middle_has_broken_off() {
    for (name, provider) in ANSWERS {
        let text = String::from_utf8(read(&format!("answers/{name}.stream"))).unwrap();
        let half = text.len() / 2;
        let half = (half..).find(|at| text.is_char_boundary(*at)).unwrap();
        let (refusal, seen) =
            events(provider, Shape::Stream, &[&text.as_bytes()[..half]]).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Broken, "{name}");
        assert!(matches!(seen[0], Event::Started { .. }), "{name}");
        assert!(!seen.iter().any(|event| matches!(event, Event::Done(_))), "{name}");
        // Nothing at all is no answer either.
        assert_eq!(refused(provider, "").kind, RefusalKind::Broken);
    }
}

#[test]
fn a_missing_last_word_is_forgiven_when_the_reason_was_told() {
    let text = String::from_utf8(read("answers/openai.stream")).unwrap();
    let without = text.replace("data: [DONE]\n\n", "");
    let wanted = events(Provider::Compatible, Shape::Stream, &[text.as_bytes()]).unwrap();
    let found = events(Provider::Compatible, Shape::Stream, &[without.trim_end().as_bytes()]);
    assert_eq!(found.unwrap(), wanted);
}

#[test]
fn errors_inside_an_answer_are_refusals_by_what_can_be_done() {
    let openai = "data: {\"error\":{\"message\":\"This model's maximum context length is 8\",\
                  \"code\":400}}\n\n";
    assert_eq!(refused(Provider::Compatible, openai).kind, RefusalKind::ContextFull);
    let plain = "{\"error\":{\"message\":\"Rate limit reached\",\"type\":\"rate_limit_error\"}}";
    assert_eq!(refused(Provider::Compatible, plain).kind, RefusalKind::Busy);
    let anthropic = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\
                     \"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let refusal = refused(Provider::Anthropic, anthropic);
    assert_eq!((refusal.kind, refusal.message.as_str()), (RefusalKind::Busy, "Overloaded"));
    let gemini = "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n";
    assert_eq!(refused(Provider::Gemini, gemini).kind, RefusalKind::Content);
    let gemini = "[{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}]";
    assert_eq!(refused(Provider::Gemini, gemini).kind, RefusalKind::Busy);
    let ollama = "{\"error\":\"model runner has unexpectedly stopped\"}\n";
    assert_eq!(refused(Provider::Ollama, ollama).kind, RefusalKind::Broken);
    let cohere = "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\"}}\n\n";
    assert_eq!(refused(Provider::Cohere, cohere).kind, RefusalKind::Broken);
    assert_eq!(refused(Provider::Compatible, "<html>502</html>").kind, RefusalKind::Broken);
}

#[test]
fn refusals_of_every_provider_are_told_apart() {
    use RefusalKind::{Broken, Busy, ContextFull, Key, NoModel, Request};
    let open_ai = |message: &str, code: Value| json!({ "error": { "message": message, "type": "x", "code": code } });
    let long = "This model's maximum context length is 8192 tokens. However, you requested 9000.";
    let anthropic = |kind: &str, message: &str| json!({ "type": "error", "error": { "type": kind, "message": message } });
    for (status, body, wanted) in [
        (400, open_ai(long, json!("context_length_exceeded")), ContextFull),
        (400, anthropic("invalid_request_error", "prompt is too long: 9 tokens > 8"), ContextFull),
        (400, open_ai("The input token count (9) exceeds the maximum", json!(400)), ContextFull),
        (401, open_ai("Incorrect API key provided", json!("invalid_api_key")), Key),
        (429, open_ai("You exceeded your current quota", json!("insufficient_quota")), Key),
        (429, open_ai("Rate limit reached", json!("rate_limit_exceeded")), Busy),
        (400, open_ai("API key not valid. Please pass a valid API key.", json!(400)), Key),
        (400, anthropic("invalid_request_error", "Your credit balance is too low"), Key),
        (402, json!({ "error": { "message": "Insufficient Balance" } }), Key),
        (404, anthropic("not_found_error", "model: claude-9"), NoModel),
        (400, json!({ "message": "Invalid model: x", "type": "invalid_model" }), NoModel),
        (404, json!({ "error": "model 'x' not found" }), NoModel),
        (529, anthropic("overloaded_error", "Overloaded"), Busy),
        (400, open_ai("Unknown parameter: 'x'", Value::Null), Request),
        (422, json!({ "detail": [{ "msg": "Input should be a number" }] }), Request),
        (
            400,
            json!({ "error": { "message": "blocked", "code": "content_filter" } }),
            RefusalKind::Content,
        ),
        (500, open_ai("The server had an error", Value::Null), Broken),
        (502, Value::Null, Broken),
    ] {
        let refusal = of(Provider::Compatible).refusal(status, body.to_string().as_bytes());
        assert_eq!(refusal.kind, wanted, "{status} {body}");
    }
    let long = "x\r\n".repeat(10_000);
    let refusal = of(Provider::OpenAi).refusal(500, long.as_bytes());
    assert!(refusal.message.len() <= 500 && !refusal.message.contains(['\r', '\n']));
}

#[test]
fn numbers_that_are_negative_or_absurd_count_as_not_told() {
    let with = |usage: &str| {
        let text = format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"abcdefgh\"}},\
             \"finish_reason\":\"stop\"}}],\"usage\":{usage}}}\n\n"
        );
        let events = events(Provider::Compatible, Shape::Stream, &[text.as_bytes()]).unwrap();
        usage_of(&events)
    };
    fn usage_of(events: &[Event]) -> Usage {
        usage(events)
    }
    let told = with(r#"{"prompt_tokens":3,"completion_tokens":4.0}"#);
    assert_eq!((told.prompt_tokens, told.completion_tokens, told.is_estimated), (3, 4, false));
    for wrong in ["-1", "1e300", "18446744073709551615", "\"7\"", "null", "{}", "99999999999"] {
        let usage = with(&format!(r#"{{"prompt_tokens":3,"completion_tokens":{wrong}}}"#));
        assert_eq!((usage.completion_tokens, usage.is_estimated), (2, true), "{wrong}");
    }
    assert!(with("null").is_estimated);
    // Parts are never more than the whole.
    let parts = with(
        &json!({ "prompt_tokens": 3, "completion_tokens": 4,
            "prompt_tokens_details": { "cached_tokens": 9 },
            "completion_tokens_details": { "reasoning_tokens": 9 } })
        .to_string(),
    );
    assert_eq!((parts.cached_tokens, parts.reasoning_tokens), (3, 4));
}

#[test]
fn a_line_without_end_is_refused_before_it_is_kept() {
    for (name, provider) in ANSWERS {
        let (mut reader, mut out) = (reader(provider, Shape::Stream), Vec::new());
        let piece = vec![b'x'; 1 << 20];
        let mut fed = reader.feed(b"data: ", &mut out);
        let mut bytes = 0;
        while fed.is_ok() {
            fed = reader.feed(&piece, &mut out);
            bytes += piece.len();
            assert!(bytes <= MAX_LINE_BYTES + piece.len(), "{name}");
        }
    }
}

#[test]
fn no_answer_makes_calls_or_choices_without_end() {
    let choice = "data: {\"choices\":[{\"index\":16,\"delta\":{\"content\":\"a\"}}]}\n\n";
    assert_eq!(refused(Provider::Compatible, choice).kind, RefusalKind::Broken);
    let call = |index: u32| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":{index},\
             \"id\":\"c{index}\",\"function\":{{\"name\":\"f\",\"arguments\":\"{{}}\"}}}}]}}}}]}}\n\n"
        )
    };
    let many: String = (0..129).map(call).collect();
    assert_eq!(refused(Provider::Compatible, &many).kind, RefusalKind::Broken);
}

#[test]
fn what_a_provider_says_cannot_become_an_event_of_its_own() {
    let evil = "a\n\ndata: {\"error\":1}\n\nevent: message_stop\r\n\r\n";
    let text = format!(
        "data: {}\n\n",
        json!({ "choices": [{ "index": 0, "delta": { "content": evil }, "finish_reason": "stop" }] })
    );
    let found = events(Provider::Compatible, Shape::Stream, &[text.as_bytes()]).unwrap();
    assert!(matches!(&found[1], Event::Text { text, .. } if text == evil));
    let heading = crate::dialect::openai::Heading {
        id: "id".into(),
        model: "m".into(),
        created: 1,
        tier: None,
        calls: Default::default(),
    };
    use crate::dialect::openai::{Printer, Shape as Route, StreamOptions};
    let mut printer = Printer::new(Route::Chat, heading, StreamOptions::default(), false);
    for payload in found.iter().flat_map(|event| printer.payloads(event)) {
        assert!(!payload.contains(['\n', '\r']), "{payload}");
    }
}

#[test]
fn the_stop_text_that_ended_an_answer_is_told() {
    let text = json!({ "type": "message", "content": [{ "type": "text", "text": "a" }],
        "stop_reason": "stop_sequence", "stop_sequence": "END",
        "usage": { "input_tokens": 1, "output_tokens": 1 } });
    let events = events(Provider::Anthropic, Shape::Whole, &[text.to_string().as_bytes()]).unwrap();
    let wanted = Event::Finished { choice: 0, reason: FinishReason::StopText(0) };
    assert!(events.contains(&wanted));
}

#[test]
fn prompts_are_counted_where_the_provider_counts_and_guessed_elsewhere() {
    let target = crate::wire::Target { model: "m".into(), shape: Shape::Whole };
    let counts = |provider| of(provider).count(&request(), &target).unwrap();
    assert_eq!(counts(Provider::Anthropic).unwrap().path, "/messages/count_tokens");
    assert_eq!(counts(Provider::Gemini).unwrap().path, "/models/m:countTokens");
    assert_eq!(counts(Provider::OpenAi), None);
    assert_eq!(of(Provider::Anthropic).counted(br#"{"input_tokens":7}"#), Ok(7));
    assert_eq!(of(Provider::Gemini).counted(br#"{"totalTokens":8}"#), Ok(8));
    assert!((3..20).contains(&crate::wire::estimate(&request())));
}
