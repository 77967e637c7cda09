//! Answers that pass through, cut anywhere and broken in every way.

use std::sync::Arc;

use serde_json::{Map, json};

use super::*;
use crate::passage::PassBody;
use crate::request::RequestId;
use crate::wire::RefusalKind;

fn request(route: PassRoute) -> PassRequest {
    let members: Map<String, Value> =
        [("input".to_owned(), json!("12345678"))].into_iter().collect();
    let body = PassBody::Json(Arc::new(members));
    PassRequest { id: RequestId("r".to_owned()), model: "public".to_owned(), route, body }
}

fn read(route: PassRoute, mime: &str, pieces: &[&[u8]]) -> Read<(String, Usage)> {
    let (mut reader, _) = PassReader::new(&request(route), mime)?;
    let mut out = Vec::new();
    for piece in pieces {
        reader.feed(Bytes::copy_from_slice(piece), &mut out)?;
    }
    let usage = reader.end(&mut out)?;
    Ok((String::from_utf8(out.concat()).unwrap(), usage))
}

fn json_of(route: PassRoute, body: Value) -> Read<(String, Usage)> {
    read(route, "application/json; charset=utf-8", &[body.to_string().as_bytes()])
}

#[test]
fn usage_is_what_the_provider_tells_and_otherwise_guessed_and_marked() {
    let usage = json!({ "input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210 });
    let body = json!({ "created": 1, "data": [{ "b64_json": "AAAA" }], "usage": usage });
    let (text, usage) = json_of(PassRoute::Images, body.clone()).unwrap();
    assert_eq!(text, body.to_string());
    let told = (usage.prompt_tokens, usage.completion_tokens, usage.is_estimated);
    assert_eq!(told, (50, 4160, false));
    for odd in [
        json!({ "input_tokens": -5, "output_tokens": 1e300 }),
        json!({ "type": "duration", "seconds": 9 }),
        json!({ "input_tokens": "many" }),
        json!(null),
    ] {
        let body = json!({ "created": 1, "data": [], "usage": odd });
        let (_, usage) = json_of(PassRoute::Images, body).unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (2, 0), "{odd}");
        assert!(usage.is_estimated);
    }
}

#[test]
fn an_error_inside_an_answer_of_status_200_is_a_refusal() {
    let body = json!({ "error": { "message": "slow down", "code": "rate_limit_exceeded" } });
    let refusal = json_of(PassRoute::Images, body).unwrap_err();
    assert_eq!((refusal.kind, refusal.message.as_str()), (RefusalKind::Busy, "slow down"));
    for body in ["", "{", "nothing", "[1]"] {
        let broken = read(PassRoute::Images, "application/json", &[body.as_bytes()]);
        assert_eq!(broken.unwrap_err().kind, RefusalKind::Broken, "{body}");
    }
    assert!(read(PassRoute::Speech, "text/html", &[b"<script>"]).is_err());
    assert!(read(PassRoute::Speech, "audio/mpeg", &[]).is_err());
}

#[test]
fn events_are_the_same_however_they_are_cut_and_carry_nothing_but_their_json() {
    let text = ": hello\r\nevent: evil\r\nid: 7\r\ndata: {\"type\":\"image_edit.partial_image\",\r\n\
                data: \"b64_json\":\"é\"}\r\n\r\ndata: {\"type\":\"x\\nevent: y\"}\n\n\
                data: {\"type\":\"image_edit.completed\",\"usage\":{\"input_tokens\":3,\
                \"output_tokens\":4}}";
    let wanted = "event: image_edit.partial_image\ndata: {\"type\":\"image_edit.partial_image\", \
                  \"b64_json\":\"é\"}\n\ndata: {\"type\":\"x\\nevent: y\"}\n\n\
                  event: image_edit.completed\ndata: {\"type\":\"image_edit.completed\",\"usage\":\
                  {\"input_tokens\":3,\"output_tokens\":4}}\n\n";
    let bytes = text.as_bytes();
    for at in 0..=bytes.len() {
        let (one, two) = bytes.split_at(at);
        let (found, usage) = read(PassRoute::ImageEdits, "text/event-stream", &[one, two]).unwrap();
        assert_eq!(found, wanted, "{at}");
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (3, 4));
    }
}

#[test]
fn a_stream_that_breaks_off_or_tells_an_error_is_no_answer() {
    let half = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"a\"}\n\n";
    let error = "data: {\"type\":\"error\",\"error\":{\"message\":\"Overloaded\"}}\n\n";
    let garbage = "data: {\"type\":\n\n";
    for end in ["", error, garbage] {
        let text = format!("{half}{end}");
        let ended = read(PassRoute::Transcriptions, "text/event-stream", &[text.as_bytes()]);
        assert!(ended.is_err(), "{end}");
    }
    let (text, _) = read(
        PassRoute::Transcriptions,
        "text/event-stream",
        &[half.as_bytes(), b"data: [DONE]\n\n"],
    )
    .unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"));
}

#[test]
fn what_a_browser_would_run_is_named_as_mere_bytes() {
    for (mime, kind) in [
        ("audio/mpeg", "audio/mpeg"),
        ("Audio/WAV; codec=1", "audio/wav"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("image/svg+xml", "application/octet-stream"),
        ("audio/x y", "application/octet-stream"),
        ("text/xml", "application/octet-stream"),
        ("", "application/octet-stream"),
    ] {
        let (_, found) = PassReader::new(&request(PassRoute::Speech), mime).unwrap();
        assert_eq!(found, PassKind::Bytes(kind.to_owned()), "{mime}");
    }
}

#[test]
fn a_judgement_names_the_model_as_the_caller_knows_it() {
    let body = json!({ "id": "x", "model": "their-own", "results": [{ "flagged": false }] });
    let (text, _) = json_of(PassRoute::Moderations, body).unwrap();
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&found["model"], &found["results"][0]["flagged"]),
        (&json!("public"), &json!(false))
    );
}
