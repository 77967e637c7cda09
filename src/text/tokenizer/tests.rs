//! Ids equal the golden file's, and special tokens are parsed only on request.

use serde_json::Value;

use super::*;
use crate::testing::{chatml, chatml_file, shared, stories};

#[test]
fn real_prompts_become_the_golden_ids() {
    let golden = std::fs::read_to_string(shared("models/stories260k/golden.json")).unwrap();
    let golden: Vec<Value> = serde_json::from_str(&golden).unwrap();
    assert_eq!(golden.len(), 5);
    for file in ["stories260K-f32.gguf", "stories260K-q8_0.gguf", "hf"] {
        let tokenizer = stories(file);
        for entry in &golden {
            let ids: Vec<u32> = serde_json::from_value(entry["prompt_ids"].clone()).unwrap();
            let prompt = entry["prompt"].as_str().unwrap();
            assert_eq!(tokenizer.encode_prompt(prompt, Specials::AsText).unwrap(), ids, "{file}");
        }
    }
}

#[test]
fn both_forms_of_the_real_model_cut_every_text_alike() {
    let (gguf, folder) = (stories("stories260K-f32.gguf"), stories("hf"));
    for text in [
        "",
        " ",
        "   a  b\n\nc\t",
        "Lily's mom said: \"No!\"",
        "naïve café — 日本語 🦀\u{0}",
        "▁ the mark itself",
        "<0x0A> is no byte",
        "supercalifragilistic",
    ] {
        let ids = gguf.encode(text, Specials::AsText).unwrap();
        assert_eq!(folder.encode(text, Specials::AsText).unwrap(), ids, "{text:?}");
    }
    let text = "<s>one</s> two<s>";
    let ids = gguf.encode(text, Specials::Parse).unwrap();
    assert_eq!(folder.encode(text, Specials::Parse).unwrap(), ids);
    assert_eq!(ids.iter().filter(|&&id| id == 1).count(), 2);
}

#[test]
fn the_real_model_knows_its_ends() {
    for file in ["stories260K-f32.gguf", "hf"] {
        let tokenizer = stories(file);
        assert_eq!((tokenizer.bos_id(), tokenizer.add_bos()), (Some(1), true), "{file}");
        assert_eq!((tokenizer.eos_ids(), tokenizer.vocab()), ([2].as_slice(), 512), "{file}");
        assert!(tokenizer.is_control(1) && tokenizer.is_control(2) && !tokenizer.is_control(13));
        assert_eq!(
            (tokenizer.token_bytes(13), tokenizer.token_bytes(259)),
            (b"\n".as_slice(), b" t".as_slice())
        );
    }
}

#[test]
fn special_texts_are_letters_unless_asked_for() {
    for file in ["stories260K-f32.gguf", "hf"] {
        let tokenizer = stories(file);
        for text in ["<s>", "</s>", "a</s>b<s><unk>"] {
            let ids = tokenizer.encode(text, Specials::AsText).unwrap();
            assert!(ids.iter().all(|&id| !tokenizer.is_control(id)), "{file} {text}: {ids:?}");
            assert_eq!(crate::decode(&tokenizer, &ids), text);
        }
        assert_eq!(tokenizer.encode("</s>", Specials::Parse).unwrap(), [2]);
    }
}

#[test]
fn byte_level_text_is_split_merged_and_read_back() {
    let tokenizer = chatml();
    let id = |bytes: &[u8]| {
        (0..tokenizer.vocab() as u32).find(|&id| tokenizer.token_bytes(id) == bytes).unwrap()
    };
    let ids = tokenizer.encode("hello world", Specials::AsText).unwrap();
    assert_eq!(ids[..2], [id(b"hello"), id(b" w")]);
    assert_eq!(ids.len(), 6);
    let ids = tokenizer.encode("<|im_start|>hello<think>", Specials::Parse).unwrap();
    assert_eq!(ids, [id(b"<|im_start|>"), id(b"hello"), id(b"<think>")]);
    // `<think>` was added as an ordinary token; only its neighbours are letters here.
    let ids = tokenizer.encode("<|im_start|><think>", Specials::AsText).unwrap();
    assert_eq!((ids.len(), ids[12]), (13, id(b"<think>")));
    let every_byte = (0..=u8::MAX).map(char::from).collect::<String>() + "🦀 \r\n\n  x";
    let ids = tokenizer.encode(&every_byte, Specials::AsText).unwrap();
    assert_eq!(crate::decode(&tokenizer, &ids), every_byte);
}

#[test]
fn pre_tokenizers_differ_in_digits_and_unknown_ones_are_named() {
    let ids = |pre: &str| {
        let file = Box::leak(chatml_file(pre).into_boxed_slice());
        let tokenizer = Tokenizer::from_model(&ModelFile::from_static(file).unwrap())?;
        tokenizer.encode("123", Specials::AsText)
    };
    assert_eq!(ids("qwen2").unwrap().len(), 3);
    assert_eq!(ids("llama-bpe").unwrap().len(), 1);
    assert_eq!(ids("gpt-2").unwrap().len(), 1);
    assert!(ids("made-up").unwrap_err().to_string().contains("`made-up`"));
}

#[test]
fn control_tokens_that_end_an_answer_are_found_by_name() {
    let tokenizer = chatml();
    let names: Vec<&[u8]> =
        tokenizer.eos_ids().iter().map(|&id| tokenizer.token_bytes(id)).collect();
    assert_eq!(names, [b"<|im_end|>".as_slice(), b"<|endoftext|>"]);
    assert_eq!((tokenizer.bos_id(), tokenizer.add_bos()), (None, false));
}

#[test]
fn texts_beyond_the_limit_are_refused() {
    let long = "a".repeat(MAX_TEXT_BYTES + 1);
    let problem = chatml().encode(&long, Specials::AsText).unwrap_err();
    assert!(matches!(problem, Error::TextTooLong { limit_bytes: MAX_TEXT_BYTES, .. }));
}

mod hugging_face_files {
    use serde_json::json;

    use super::*;
    use hearth_formats::HuggingFaceTexts;

    fn real() -> Value {
        let path = shared("models/stories260k/hf/tokenizer.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn build(file: &Value) -> Result<Tokenizer> {
        let config = json!({"bos_token": {"content": "<s>"}, "eos_token": "</s>"});
        hugging_face::build(&HuggingFaceTexts {
            tokenizer: file.to_string(),
            tokenizer_config: config.as_object().unwrap().clone(),
            ..HuggingFaceTexts::default()
        })
    }

    fn refused(change: impl Fn(&mut Value), words: &str) {
        let mut file = real();
        change(&mut file);
        let problem = build(&file).expect_err("accepted").to_string();
        assert!(problem.contains(words), "`{words}` is not in `{problem}`");
    }

    #[test]
    fn the_post_processor_tells_whether_a_text_begins_with_bos() {
        assert!(build(&real()).unwrap().add_bos());
        let mut file = real();
        file["post_processor"] = Value::Null;
        assert!(!build(&file).unwrap().add_bos());
    }

    #[test]
    fn a_space_only_before_the_first_piece_is_kept_to_it() {
        let mut file = real();
        file["normalizer"] = Value::Null;
        file["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁",
            "prepend_scheme": "first", "split": false});
        let tokenizer = build(&file).unwrap();
        let ids = tokenizer.encode("the<s>the", Specials::Parse).unwrap();
        let texts: Vec<&[u8]> = ids.iter().map(|&id| tokenizer.token_bytes(id)).collect();
        assert_eq!(texts[..2], [b" the".as_slice(), b"<s>"]);
        assert_eq!(texts[2..].concat(), b"the");
    }

    #[test]
    fn broken_and_foreign_files_are_refused() {
        // Without the check this merge makes the library panic.
        refused(
            |file| file["model"]["merges"][0] = json!("supercalifragilistic x"),
            "does not exist",
        );
        refused(|file| file["model"]["merges"] = json!([["▁the", "▁the▁the"]]), "does not exist");
        refused(|file| file["model"]["merges"] = json!(["▁thethethethe"]), "not two tokens");
        refused(|file| file["model"]["type"] = json!("WordLevel"), "`WordLevel`");
        refused(|file| file["model"]["dropout"] = json!(0.5), "dropout");
        refused(|file| file["model"]["unk_token"] = json!("<none>"), "<none>");
        refused(|file| file["model"]["vocab"]["x"] = json!(4_000_000_000u32), "too high");
        refused(|file| file["model"]["vocab"] = json!({"x": -1}), "vocabulary");
        refused(|file| file["added_tokens"][0]["id"] = json!(4_000_000_000u32), "too high");
        refused(|file| file["normalizer"] = json!({"type": "Nmt"}), "`Nmt`");
        refused(|file| file["normalizer"] = json!({"type": 7}), "no type");
        refused(|file| file["pre_tokenizer"] = json!({"type": "Magic"}), "`Magic`");
        refused(
            |file| file["normalizer"] = json!({"type": "Prepend", "prepend": "x".repeat(65)}),
            "multiplies",
        );
        refused(
            |file| {
                let double =
                    json!({"type": "Replace", "pattern": {"String": "x"}, "content": "xx"});
                file["normalizer"] = json!({"type": "Sequence", "normalizers": vec![double; 40]});
            },
            "multiplies",
        );
    }
}
