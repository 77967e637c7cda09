//! Pieces together equal the whole text, whatever the cuts.

use proptest::prelude::*;

use super::*;
use crate::testing::{chatml, stories};
use crate::tokenizer::Specials;

/// The text of these ids, pushed one by one after a prompt.
fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let mut detokenizer = Detokenizer::continuing();
    let mut pieces: Vec<String> = ids.iter().map(|&id| detokenizer.push(tokenizer, id)).collect();
    pieces.push(detokenizer.finish());
    pieces
}

#[test]
fn golden_continuations_read_as_their_text() {
    let path = crate::testing::shared("models/stories260k/golden.json");
    let golden: Vec<serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for file in ["stories260K-f32.gguf", "hf"] {
        let tokenizer = stories(file);
        for entry in &golden {
            let ids: Vec<u32> = serde_json::from_value(entry["greedy_ids"].clone()).unwrap();
            let text = streamed(&tokenizer, &ids).concat();
            assert_eq!(text, entry["greedy_text"].as_str().unwrap(), "{file}");
        }
    }
}

#[test]
fn a_character_comes_whole_or_not_at_all() {
    let tokenizer = stories("stories260K-f32.gguf");
    // 🦀 is f0 9f a6 80; byte b has the id b + 3.
    let ids = [0xf0 + 3, 0x9f + 3, 0xa6 + 3, 0x80 + 3];
    assert_eq!(streamed(&tokenizer, &ids), ["", "", "", "🦀", ""]);
    assert_eq!(streamed(&tokenizer, &ids[..2]), ["", "", "\u{fffd}"]);
    assert_eq!(streamed(&tokenizer, &[0xf0 + 3, 0x41 + 3]), ["", "\u{fffd}A", ""]);
}

#[test]
fn the_space_that_was_never_typed_is_dropped_once() {
    for file in ["stories260K-f32.gguf", "hf"] {
        let tokenizer = stories(file);
        for text in ["Once upon", " two  spaces ", "x"] {
            let ids = tokenizer.encode(text, Specials::AsText).unwrap();
            assert_eq!(decode(&tokenizer, &ids), text, "{file}");
            assert_eq!(streamed(&tokenizer, &ids).concat(), format!(" {text}"), "{file}");
        }
    }
    let tokenizer = chatml();
    let ids = tokenizer.encode(" hello", Specials::AsText).unwrap();
    assert_eq!(decode(&tokenizer, &ids), " hello");
}

#[test]
fn control_tokens_and_unknown_ids_have_no_text() {
    let tokenizer = stories("hf");
    assert_eq!(decode(&tokenizer, &[1, 403, 2, 9_999_999]), "Once");
    assert_eq!(tokenizer.token_bytes(2), b"</s>");
    assert_eq!(tokenizer.token_bytes(9_999_999), b"");
}

proptest! {
    #[test]
    fn any_text_survives_the_way_there_and_back(text in any::<String>()) {
        for tokenizer in [stories("stories260K-f32.gguf"), stories("hf")] {
            let ids = tokenizer.encode(&text, Specials::AsText).unwrap();
            prop_assert!(ids.iter().all(|&id| !tokenizer.is_control(id)), "{:?}", ids);
            prop_assert_eq!(decode(&tokenizer, &ids), text.clone());
        }
    }

    #[test]
    fn streamed_pieces_are_the_lossy_whole(ids in prop::collection::vec(3u32..512, 0..40)) {
        let tokenizer = stories("stories260K-f32.gguf");
        let bytes: Vec<u8> =
            ids.iter().flat_map(|&id| tokenizer.token_bytes(id)).copied().collect();
        prop_assert_eq!(streamed(&tokenizer, &ids).concat(), String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn control_tokens_that_mark_parts_are_shown_on_request() {
    let tokenizer = stories("hf");
    let mut detokenizer = Detokenizer::new().showing([2].into());
    assert_eq!(detokenizer.push(&tokenizer, 2), "</s>");
    assert_eq!(detokenizer.push(&tokenizer, 1), "");
}
