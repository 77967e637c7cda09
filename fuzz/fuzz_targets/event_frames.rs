//! Frames of a hostile event stream whose checksums are right: whatever stands in them, and however
//! they are cut, they are refused or read the same.
#![no_main]

use hearth_gateway::wire::Frames;
use libfuzzer_sys::fuzz_target;

/// What was read, and whether all of it could be.
fn read(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let (mut frames, mut payloads) = (Frames::default(), Vec::new());
    let fed = pieces.iter().try_for_each(|piece| {
        frames.feed(piece, |frame| {
            payloads.push(frame.payload.to_vec());
            Ok(())
        })
    });
    (payloads, fed.and_then(|()| frames.end()).is_ok())
}

/// A frame of these headers and this payload.
fn frame(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = (16 + headers.len() + payload.len()) as u32;
    let mut bytes = [length.to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend(headers);
    bytes.extend(payload);
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

fuzz_target!(|input: (u16, Vec<(Vec<u8>, Vec<u8>)>)| {
    let (cut, parts) = input;
    let bytes: Vec<u8> = parts.iter().flat_map(|(head, body)| frame(head, body)).collect();
    let (one, two) = bytes.split_at(usize::from(cut).min(bytes.len()));
    assert_eq!(read(&[&bytes]), read(&[one, two]));
});
