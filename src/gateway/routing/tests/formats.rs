//! Every provider's format against every fault: what a client hears, and whether somebody else was
//! asked.

use super::upstream::{Reply, refusal};
use super::*;
use crate::error::Fault as Why;
use crate::request::Shape;
use crate::wire::frame;

/// Kinds of channels, each with an answer in its provider's own format among the goldens.
const FORMATS: [(&str, &str); 6] = [
    ("openai-compatible", "openai"),
    ("anthropic", "anthropic"),
    ("gemini", "gemini"),
    ("ollama", "ollama"),
    ("cohere", "cohere"),
    ("bedrock-converse", "bedrock"),
];

/// What a provider does, given its answer.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    SingleBytes,
    OtherLineEnds,
    Comments,
    NoLastWord,
    CutInTheMiddle,
    ResetInTheMiddle,
    HangInTheMiddle,
    Garbage,
    EndlessLine,
    ErrorInPlaceOfTheAnswer,
    Silence,
    TooMany,
    Overloaded,
}

/// What a client hears.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// All of the answer.
    Same,
    /// The next channel's answer, and no error.
    Other,
    /// The beginning, and then an error.
    Broken(Why),
}

const TABLE: [(Fault, Outcome); 14] = [
    (Fault::None, Outcome::Same),
    (Fault::SingleBytes, Outcome::Same),
    (Fault::OtherLineEnds, Outcome::Same),
    (Fault::Comments, Outcome::Same),
    (Fault::NoLastWord, Outcome::Same),
    (Fault::CutInTheMiddle, Outcome::Broken(Why::Broken)),
    (Fault::ResetInTheMiddle, Outcome::Broken(Why::Broken)),
    (Fault::HangInTheMiddle, Outcome::Broken(Why::TimedOut)),
    (Fault::Garbage, Outcome::Other),
    (Fault::EndlessLine, Outcome::Other),
    (Fault::ErrorInPlaceOfTheAnswer, Outcome::Other),
    (Fault::Silence, Outcome::Other),
    (Fault::TooMany, Outcome::Other),
    (Fault::Overloaded, Outcome::Other),
];

/// An answer as this provider writes it.
fn answer_of(format: &str) -> Vec<u8> {
    let path = format!("{}/wire/goldens/answers/{format}.stream", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    if format != "bedrock" {
        return text.into_bytes();
    }
    let events = text.lines().map(|line| line.split_once(' ').unwrap());
    events.flat_map(|(kind, payload)| frame("event", kind, payload)).collect()
}

/// An error inside an answer of status 200.
fn error_of(format: &str) -> Vec<u8> {
    match format {
        "bedrock" => frame("exception", "throttlingException", r#"{"message":"Overloaded"}"#),
        "ollama" => b"{\"error\":\"overloaded\"}\n".to_vec(),
        "anthropic" => b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_\
                         error\",\"message\":\"Overloaded\"}}\n\n"
            .to_vec(),
        _ => b"data: {\"error\":{\"code\":503,\"message\":\"Overloaded\"}}\n\n".to_vec(),
    }
}

/// What is sent; `None` where this format has no such thing.
fn reply(fault: Fault, format: &str) -> Option<Reply> {
    let whole = answer_of(format);
    let (is_text, is_sse) = (format != "bedrock", !["bedrock", "ollama"].contains(&format));
    let half = whole[..whole.len() / 2].to_vec();
    let text = || String::from_utf8(whole.clone()).unwrap();
    let busy =
        |status, header| Reply::Whole(status, header, refusal("slow down", "rate_limit_exceeded"));
    Some(match fault {
        Fault::None => Reply::Stream(vec![whole]),
        Fault::SingleBytes => Reply::Stream(whole.chunks(1).map(<[u8]>::to_vec).collect()),
        Fault::OtherLineEnds if is_text => {
            Reply::Stream(vec![text().replace('\n', "\r\n").into_bytes()])
        }
        Fault::Comments if is_sse => {
            Reply::Stream(vec![text().replace("\n\n", "\n\n: waiting\n\n").into_bytes()])
        }
        Fault::NoLastWord if format == "openai" => {
            Reply::Stream(vec![text().replace("data: [DONE]\n\n", "").into_bytes()])
        }
        Fault::OtherLineEnds | Fault::Comments | Fault::NoLastWord => return None,
        Fault::CutInTheMiddle => Reply::Stream(vec![half]),
        Fault::ResetInTheMiddle => Reply::Reset(vec![half]),
        Fault::HangInTheMiddle => Reply::Hang(vec![half]),
        Fault::Garbage => Reply::Stream(vec![b"<html>\x00\xff{]\n\ndata: {]\n\n".to_vec()]),
        Fault::EndlessLine => {
            Reply::Stream(vec![b"data: {\"x\":\"".to_vec(), vec![b'x'; 10 << 20]])
        }
        Fault::ErrorInPlaceOfTheAnswer => Reply::Stream(vec![error_of(format)]),
        Fault::Silence => Reply::Silence,
        Fault::TooMany => busy(429, "retry-after: 30\r\n"),
        Fault::Overloaded => busy(529, "retry-after: 30\r\n"),
    })
}

async fn hear(kind: &str, reply: Reply) -> (Said, usize) {
    let it = Fixture::new();
    let (one, two) = (Upstream::new("one").await, Upstream::new("two").await);
    let timeouts = json!({ "first_byte_ms": 400, "idle_ms": 400 });
    let change = json!({ "type": kind, "priority": 1, "settings": { "timeouts": timeouts } });
    it.channel("one", &one.base_url, change).await;
    it.channel("two", &two.base_url, json!({})).await;
    one.then(reply);
    let mut request = chat("m", "hi");
    request.rules.delivery.shape = Shape::Stream;
    let said = heard(it.board.generate(Asker::default(), request).await.unwrap()).await;
    (said, two.seen().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_with_every_fault_ends_as_the_table_says() {
    for (kind, format) in FORMATS {
        let (plain, _) = hear(kind, reply(Fault::None, format).unwrap()).await;
        assert!(plain.error.is_none() && plain.text.contains("Gr"), "{format}: {plain:?}");
        for (fault, wanted) in &TABLE {
            let Some(reply) = reply(*fault, format) else { continue };
            let (said, asked_two) = hear(kind, reply).await;
            let found = match &said.error {
                None if said.text == plain.text => Outcome::Same,
                None if said.text == "two" => Outcome::Other,
                Some(Error::Upstream { fault, .. }) => Outcome::Broken(*fault),
                _ => panic!("{format}, {fault:?}: {said:?}"),
            };
            assert_eq!(&found, wanted, "{format}, {fault:?}: {said:?}");
            assert_eq!(asked_two, usize::from(*wanted == Outcome::Other), "{format}, {fault:?}");
            // Each ends with what was used, or with an error: never with neither or both.
            assert_ne!(said.usage.is_some(), said.error.is_some(), "{format}, {fault:?}");
        }
    }
}
