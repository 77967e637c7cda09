//! Real vocabularies give the ids that their makers' own tokenizers give.
//!
//! The texts and ids are in `tests/vectors/tokenizers`; the vocabularies are megabytes each and are
//! fetched by `tests/vectors/fetch.py`, which `make test` runs.

use std::path::{Path, PathBuf};

use hearth_formats::TokenizerSource;
use hearth_formats::gguf::Header;

use super::*;

/// Vocabulary → the file of its texts.
const VECTORS: [(&str, &str); 15] = [
    ("bert-bge", "common"),
    ("command-r", "common"),
    ("deepseek-coder", "common"),
    ("deepseek-llm", "common"),
    ("falcon", "common"),
    ("gemma-4", "gemma-4"),
    ("gpt-2", "common"),
    ("llama-bpe", "common"),
    ("llama-spm", "common"),
    ("mpt", "common"),
    ("phi-3", "common"),
    ("qwen2", "common"),
    ("qwen35", "qwen35"),
    ("refact", "common"),
    ("starcoder", "common"),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

/// The fetched vocabularies; `None`, after saying so, where they are absent.
fn fetched() -> Option<PathBuf> {
    let models = folder().join(".cache/models");
    if !models.is_dir() {
        eprintln!("SKIPPED: {} is absent; tests/vectors/fetch.py makes it", models.display());
        return None;
    }
    Some(models)
}

fn tokenizer(models: &Path, name: &str) -> Tokenizer {
    let path = models.join(format!("ggml-vocab-{name}.gguf"));
    let mut file = std::fs::File::open(&path).unwrap();
    let bytes = file.metadata().unwrap().len();
    let header = Header::read(&mut file, bytes).unwrap();
    Tokenizer::from_source(&TokenizerSource::Gguf(header.metadata))
        .unwrap_or_else(|problem| panic!("{name}: {problem}"))
}

/// The texts of a file, with a line between each two and perhaps one at the end.
fn texts(name: &str) -> Vec<String> {
    let path = folder().join(format!("tokenizers/{name}.inp"));
    let whole = std::fs::read_to_string(path).unwrap();
    let end = "\n__ggml_vocab_test__\n";
    whole.strip_suffix(end).unwrap_or(&whole).split(end).map(str::to_string).collect()
}

/// The ids of a file, one text a line.
fn ids(name: &str) -> Vec<Vec<u32>> {
    let path = folder().join(format!("tokenizers/{name}.out"));
    let whole = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| line.split_whitespace().map(|id| id.parse().unwrap()).collect();
    whole.lines().map(line).collect()
}

#[test]
fn real_vocabularies_give_their_makers_ids() {
    let Some(models) = fetched() else { return };
    let mut wrong = Vec::new();
    for (name, inputs) in VECTORS {
        let tokenizer = tokenizer(&models, name);
        let (texts, ids) = (texts(inputs), ids(name));
        assert_eq!(texts.len(), ids.len(), "{name}");
        for (text, wanted) in texts.iter().zip(ids) {
            let found = tokenizer.encode(text, Specials::AsText).unwrap();
            if found != wanted {
                wrong.push(format!("{name} {text:?}: {found:?}, not {wanted:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
