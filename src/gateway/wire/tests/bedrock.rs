//! Bedrock's answers, which are frames: the goldens hold them as lines of `KIND JSON`.

use super::{events, read};
use crate::event::{Event, FinishReason};
use crate::wire::bedrock::frame;
use crate::wire::{Provider, RefusalKind, Shape};

pub(super) const BEDROCK: (&str, Provider) = ("bedrock", Provider::BedrockConverse);

/// The frames of these lines.
pub(super) fn frames(lines: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(lines).unwrap();
    let frame = |line: &str| {
        let (kind, payload) = line.split_once(' ').unwrap();
        frame("event", kind, payload)
    };
    text.lines().flat_map(frame).collect()
}

#[test]
fn any_cut_gives_the_same_events_and_half_an_answer_has_broken_off() {
    let bytes = frames(&read("answers/bedrock.stream"));
    let wanted = events(BEDROCK.1, Shape::Stream, &[&bytes]).unwrap();
    let singles: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(events(BEDROCK.1, Shape::Stream, &singles).unwrap(), wanted);
    for at in (0..bytes.len()).step_by(7) {
        let pieces = [&bytes[..at], &bytes[at..]];
        assert_eq!(events(BEDROCK.1, Shape::Stream, &pieces).unwrap(), wanted, "{at}");
        // Only the usage stands behind the reason for the end.
        if at < bytes.len() / 2 {
            let (refusal, _) = events(BEDROCK.1, Shape::Stream, &[&bytes[..at]]).unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::Broken, "{at}");
        }
    }
}

#[test]
fn exceptions_inside_a_stream_are_refusals_by_what_can_be_done() {
    for (kind, message, wanted) in [
        ("throttlingException", "Too many requests", RefusalKind::Busy),
        ("validationException", "Input is too long for requested model", RefusalKind::ContextFull),
        ("validationException", "malformed input", RefusalKind::Request),
        ("internalServerException", "oh", RefusalKind::Broken),
        ("modelStreamErrorException", "oh", RefusalKind::Broken),
        ("serviceUnavailableException", "later", RefusalKind::Busy),
    ] {
        let payload = serde_json::json!({ "message": message }).to_string();
        let bytes = [
            frame("event", "messageStart", r#"{"role":"assistant"}"#),
            frame("exception", kind, &payload),
        ];
        let (refusal, seen) = events(BEDROCK.1, Shape::Stream, &[&bytes.concat()]).unwrap_err();
        assert_eq!((refusal.kind, refusal.message.as_str()), (wanted, message), "{kind}");
        assert!(matches!(seen.as_slice(), [Event::Started { .. }]));
    }
    let noise = b"HTTP/1.1 200 OK\r\n\r\nnothing";
    assert!(events(BEDROCK.1, Shape::Stream, &[noise]).is_err());
    assert!(events(BEDROCK.1, Shape::Whole, &[b"{}"]).is_err());
}

#[test]
fn the_one_stop_text_of_a_request_is_the_one_that_was_met() {
    let bytes = frames(
        b"messageStart {\"role\":\"assistant\"}\n\
          contentBlockDelta {\"contentBlockIndex\":0,\"delta\":{\"text\":\"a\"}}\n\
          messageStop {\"stopReason\":\"stop_sequence\"}",
    );
    let found = events(BEDROCK.1, Shape::Stream, &[&bytes]).unwrap();
    let wanted = Event::Finished { choice: 0, reason: FinishReason::StopText(0) };
    assert!(found.contains(&wanted), "{found:?}");
    assert!(matches!(found.last(), Some(Event::Done(usage)) if usage.is_estimated));
}
