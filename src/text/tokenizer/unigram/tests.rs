//! Ids equal sentencepiece's and Hugging Face's; damaged tables are refused, not followed.
//!
//! The small model in `tests/vectors/unigram.json` is trained by `tests/vectors/make_unigram.py`.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hearth_formats::gguf::{Array, FixedKind, Metadata, Value};
use hearth_formats::{HuggingFaceTexts, TokenizerSource};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;
use tokenizers::models::unigram::Unigram;

use super::*;
use crate::tokenizer::{Specials, Tokenizer};

#[derive(Deserialize)]
struct Golden {
    /// Text, score and kind.
    pieces: Vec<(String, f32, i32)>,
    charsmap: String,
    tokenizer: serde_json::Value,
    sentencepiece: Vec<Vec<u32>>,
    hugging_face: Vec<Vec<u32>>,
}

fn vectors(name: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn golden() -> &'static Golden {
    static GOLDEN: OnceLock<Golden> = OnceLock::new();
    GOLDEN.get_or_init(|| serde_json::from_str(&vectors("unigram.json")).unwrap())
}

fn corpus() -> Vec<String> {
    serde_json::from_str(&vectors("corpus.json")).unwrap()
}

fn from_json(tokenizer: &serde_json::Value) -> Result<Tokenizer> {
    let tokenizer_config = json!({ "bos_token": "<s>", "eos_token": "</s>" });
    Tokenizer::from_source(&TokenizerSource::HuggingFace(HuggingFaceTexts {
        tokenizer: tokenizer.to_string(),
        tokenizer_config: tokenizer_config.as_object().unwrap().clone(),
        ..HuggingFaceTexts::default()
    }))
}

fn from_gguf(golden: &Golden, charsmap: Vec<u8>) -> Result<Tokenizer> {
    let list = |kind, bytes| Value::Array(Array::Fixed { kind, bytes });
    let texts = golden.pieces.iter().map(|(text, ..)| text.clone()).collect();
    let scores = golden.pieces.iter().flat_map(|(_, score, _)| score.to_le_bytes()).collect();
    let kinds = golden.pieces.iter().flat_map(|(_, _, kind)| kind.to_le_bytes()).collect();
    let mut metadata = Metadata::default();
    for (key, value) in [
        ("model", Value::String("t5".into())),
        ("tokens", Value::Array(Array::Strings(texts))),
        ("scores", list(FixedKind::F32, scores)),
        ("token_type", list(FixedKind::I32, kinds)),
        ("precompiled_charsmap", list(FixedKind::U8, charsmap)),
        ("add_space_prefix", Value::Bool(true)),
        ("remove_extra_whitespaces", Value::Bool(true)),
        ("bos_token_id", Value::Unsigned(0)),
        ("eos_token_id", Value::Unsigned(2)),
        ("unknown_token_id", Value::Unsigned(3)),
    ] {
        metadata.insert(format!("tokenizer.ggml.{key}"), value).unwrap();
    }
    Tokenizer::from_source(&TokenizerSource::Gguf(metadata))
}

fn charsmap(golden: &Golden) -> Vec<u8> {
    STANDARD.decode(&golden.charsmap).unwrap()
}

#[test]
fn a_folders_ids_are_hugging_faces() {
    let golden = golden();
    let tokenizer = from_json(&golden.tokenizer).unwrap();
    for (text, wanted) in corpus().iter().zip(&golden.hugging_face) {
        assert_eq!(&tokenizer.encode(text, Specials::AsText).unwrap(), wanted, "{text:?}");
    }
}

#[test]
fn a_gguf_files_ids_are_sentencepieces() {
    let golden = golden();
    let tokenizer = from_gguf(golden, charsmap(golden)).unwrap();
    let mut checked = 0;
    for (text, wanted) in corpus().iter().zip(&golden.sentencepiece) {
        // Many ways to cut it are equally good, and sentencepiece's sums have 24 bits.
        if text.starts_with("xxxx") {
            continue;
        }
        assert_eq!(&tokenizer.encode(text, Specials::AsText).unwrap(), wanted, "{text:?}");
        checked += 1;
    }
    assert!(checked > 40);
}

#[test]
fn texts_and_pairs_are_framed_as_the_model_was_trained() {
    let golden = golden();
    let both = [from_json(&golden.tokenizer), from_gguf(golden, charsmap(golden))];
    for tokenizer in both.map(|tokenizer| tokenizer.unwrap()) {
        let (a, b) = (
            tokenizer.encode("the mark", Specials::AsText).unwrap(),
            tokenizer.encode("</s> is text", Specials::AsText).unwrap(),
        );
        assert!(!b.contains(&2), "a text never becomes a control token");
        let framed = tokenizer.encode_framed("the mark", Specials::AsText).unwrap();
        assert_eq!(framed, [&[0][..], &a, &[2]].concat());
        let first = tokenizer.encode_first("the mark").unwrap();
        assert_eq!(first, [&[0][..], &a, &[2, 2]].concat());
        let pair = tokenizer.encode_pair(&first, "</s> is text").unwrap();
        assert_eq!(pair, [&first[..], &b, &[2]].concat());
        assert_eq!(tokenizer.token_bytes(a[0])[0], b' ');
    }
}

#[test]
fn what_no_piece_has_is_one_unknown_or_its_bytes() {
    let piece = |text: &str, id| (text.to_string(), (id, -1.0));
    let parts = UnigramParts {
        pieces: HashMap::from([piece("a", 1), piece("ab", 2)]),
        lowest: -1.0,
        ..UnigramParts::default()
    };
    let encode = |parts: &UnigramParts| {
        let mut ids = Vec::new();
        UnigramModel::new(parts.clone()).unwrap().encode("ab日é a", true, &mut ids).unwrap();
        ids
    };
    assert_eq!(encode(&parts), [2, 0, 1]);
    let spelled = UnigramParts { bytes: (1000..1256).collect(), ..parts };
    let bytes = "日é ".bytes().map(|byte| 1000 + u32::from(byte));
    assert_eq!(encode(&spelled), [vec![2], bytes.collect(), vec![1]].concat());
}

#[test]
fn broken_parts_are_refused_by_name() {
    let golden = golden();
    let refused = |change: fn(&mut serde_json::Value), words: &str| {
        let mut file = golden.tokenizer.clone();
        change(&mut file);
        let problem = from_json(&file).expect_err("accepted").to_string();
        assert!(problem.contains(words), "`{words}` is not in `{problem}`");
    };
    refused(|file| file["model"]["unk_id"] = json!(100_000), "unknown token");
    refused(|file| file["model"]["unk_id"] = json!(null), "unknown token");
    refused(|file| file["model"]["vocab"] = json!({ "a": 1 }), "vocabulary");
    refused(|file| file["model"]["vocab"][9][0] = json!("x".repeat(600)), "512 bytes");
    refused(
        |file| {
            file["normalizer"] = json!({ "type": "Precompiled", "precompiled_charsmap": "AAAA" });
        },
        "charsmap",
    );
    let mut rootless = charsmap(golden);
    rootless[7] |= 0x80;
    assert!(from_gguf(golden, rootless).is_err());
    let mut cut = charsmap(golden);
    cut.truncate(100);
    assert!(from_gguf(golden, cut).is_err());
}

proptest! {
    #[test]
    fn the_library_cuts_every_word_alike(
        pieces in prop::collection::btree_map("[abé▁]{1,4}", 1..100u32, 1..14),
        word in "[abéc▁]{0,20}",
    ) {
        let mut vocab = vec![("<unk>".to_string(), 0.0)];
        // Odd parts keep different cuts from being equally good.
        let score = |seed: u32| -f64::from(seed) * 0.7310585 - f64::from(seed * seed) * 1e-3;
        vocab.extend(pieces.iter().map(|(text, seed)| (text.clone(), score(*seed))));
        let lowest = vocab.iter().map(|(_, score)| *score).fold(0.0, f64::min);
        let numbered = (0u32..).zip(&vocab).skip(1);
        let pieces = numbered.map(|(id, (text, score))| (text.clone(), (id, *score))).collect();
        let ours = UnigramModel::new(UnigramParts { pieces, lowest, ..UnigramParts::default() }).unwrap();
        let mut ids = Vec::new();
        ours.encode(&word, true, &mut ids).unwrap();
        let theirs = Unigram::from(vocab.clone(), Some(0), false).unwrap().encode(&word).unwrap();
        let id = |text: &String| vocab.iter().position(|(known, _)| known == text).unwrap_or(0) as u32;
        prop_assert_eq!(ids, theirs.iter().map(id).collect::<Vec<_>>());
    }

    #[test]
    fn a_damaged_charsmap_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let golden = golden();
        let mut table = charsmap(golden);
        for (at, byte) in changes {
            let at = at.index(table.len());
            table[at] = byte;
        }
        if let Ok(tokenizer) = from_gguf(golden, table) {
            for text in ["plain", "ﷺ ﬁ e\u{301} ①…", "日本語 Ａ½\t\u{200b}™"] {
                let _ = tokenizer.encode(text, Specials::AsText);
            }
        }
    }
}
