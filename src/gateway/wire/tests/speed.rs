//! Reads and prints long streams. How fast: `HEARTH_SLOW=1` makes them long enough to be measured, by
//! the time that the process has computed.

use super::{events, reader};
use crate::dialect::openai::{Heading, Printer, Shape as Route, StreamOptions};
use crate::event::Event;
use crate::wire::{Provider, Shape};

fn chunk(number: usize) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\
         \"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{number}\"}},\
         \"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
    )
}

#[test]
fn a_long_stream_is_read_and_printed_piece_by_piece() {
    let count = if std::env::var_os("HEARTH_SLOW").is_some() { 500_000 } else { 2_000 };
    let heading = Heading {
        id: "id".into(),
        model: "m".into(),
        created: 1,
        tier: None,
        calls: Default::default(),
    };
    let mut printer = Printer::new(Route::Chat, heading, StreamOptions::default(), false);
    let mut reader = reader(Provider::Compatible, Shape::Stream);
    let (mut out, mut bytes) = (Vec::new(), 0);
    let texts: Vec<String> = (0..64).map(chunk).collect();
    for number in 0..count {
        reader.feed(texts[number % texts.len()].as_bytes(), &mut out).unwrap();
        // Each piece goes on at once, and nothing of it stays.
        assert!(out.len() <= 2);
        bytes += out
            .drain(..)
            .flat_map(|event| printer.payloads(&event))
            .map(|p| p.len())
            .sum::<usize>();
    }
    assert!(bytes > count * 100, "{bytes}");
}

#[test]
fn a_stream_begins_before_it_has_ended() {
    let mut out = Vec::new();
    let mut reader = reader(Provider::Compatible, Shape::Stream);
    reader.feed(chunk(7).as_bytes(), &mut out).unwrap();
    assert!(matches!(&out[0], Event::Started { .. }));
    assert!(matches!(&out[1], Event::Text { text, .. } if text == " word7"));
    // Without its end it is none.
    assert!(events(Provider::Compatible, Shape::Stream, &[chunk(7).as_bytes()]).is_err());
}
