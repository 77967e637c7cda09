//! What several tests of this room share: the real models, and small ones made by hand.

use std::path::PathBuf;

use hearth_formats::gguf::Value;
use hearth_formats::{ModelFile, TokenizerSource};

use crate::tokenizer::Tokenizer;

/// A file of the shared test data, which is not part of the project.
pub(crate) fn shared(path: &str) -> PathBuf {
    let root = std::env::var_os("HEARTH_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = root.join(path);
    assert!(path.exists(), "{} is absent: set HEARTH_SHARED to the shared folder", path.display());
    path
}

/// The tokenizer of the real model stories260k, from `stories260K-f32.gguf`, `hf` and so on.
pub(crate) fn stories(file: &str) -> Tokenizer {
    let path = shared("models/stories260k").join(file);
    Tokenizer::from_model(&ModelFile::open(&path).unwrap()).unwrap()
}

/// A byte-level tokenizer in the way of qwen: 256 bytes, a few merges, ChatML control tokens, and
/// `<think>` as an added token that does not steer.
pub(crate) fn chatml() -> Tokenizer {
    let model = ModelFile::from_static(Box::leak(chatml_file("qwen2").into_boxed_slice())).unwrap();
    Tokenizer::from_model(&model).unwrap()
}

/// [`chatml`] with control tokens around a gap.
pub(crate) fn filling() -> Tokenizer {
    let model = ModelFile::from_static(Box::leak(chatml_file("qwen2").into_boxed_slice())).unwrap();
    let TokenizerSource::Gguf(mut metadata) = model.tokenizer else { panic!("a GGUF file") };
    let tokenizer = chatml();
    for (key, text) in
        [("fim_pre", "<|im_start|>"), ("fim_suf", "<|endoftext|>"), ("fim_mid", "<|im_end|>")]
    {
        let id = tokenizer.control_id(text).unwrap();
        let key = format!("tokenizer.ggml.{key}_token_id");
        metadata.insert(key, Value::Unsigned(id.into())).unwrap();
    }
    Tokenizer::from_source(&TokenizerSource::Gguf(metadata)).unwrap()
}

/// The smallest model file around that tokenizer, for a pre-tokenizer of this name.
pub(crate) fn chatml_file(pre_tokenizer: &str) -> Vec<u8> {
    let mut tokens: Vec<String> = (0..=u8::MAX).map(byte_letter).collect();
    tokens.extend(["he", "ll", "hell", "hello", "Ġw", "12", "123"].map(String::from));
    let normal = tokens.len();
    tokens.extend(["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>"].map(String::from));
    let vocab = tokens.len() as u64;
    let kinds = (0..tokens.len()).map(|id| match id {
        id if id < normal => 1i32,
        id if id < normal + 3 => 3,
        _ => 4,
    });
    let kinds: Vec<u8> = kinds.flat_map(i32::to_le_bytes).collect();
    let merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "1 2", "12 3"];
    let mut pairs: Vec<(String, Vec<u8>)> = vec![
        ("general.architecture".into(), string("llama")),
        ("llama.attention.layer_norm_rms_epsilon".into(), fixed(6, &1e-5f32.to_le_bytes())),
        ("tokenizer.ggml.model".into(), string("gpt2")),
        ("tokenizer.ggml.pre".into(), string(pre_tokenizer)),
        (
            "tokenizer.ggml.tokens".into(),
            array(8, vocab, &tokens.iter().flat_map(|t| text(t)).collect::<Vec<u8>>()),
        ),
        ("tokenizer.ggml.token_type".into(), array(5, vocab, &kinds)),
        (
            "tokenizer.ggml.merges".into(),
            array(8, 7, &merges.iter().flat_map(|m| text(m)).collect::<Vec<u8>>()),
        ),
        ("tokenizer.ggml.eos_token_id".into(), fixed(4, &(normal as u32 + 1).to_le_bytes())),
        ("tokenizer.chat_template".into(), string(CHATML)),
    ];
    for (key, number) in [
        ("block_count", 1u32),
        ("embedding_length", 2),
        ("feed_forward_length", 2),
        ("context_length", 16),
        ("attention.head_count", 1),
    ] {
        pairs.push((format!("llama.{key}"), fixed(4, &number.to_le_bytes())));
    }
    let tensors = [
        ("token_embd", vec![2, vocab]),
        ("blk.0.attn_norm", vec![2]),
        ("blk.0.attn_q", vec![2, 2]),
        ("blk.0.attn_k", vec![2, 2]),
        ("blk.0.attn_v", vec![2, 2]),
        ("blk.0.attn_output", vec![2, 2]),
        ("blk.0.ffn_norm", vec![2]),
        ("blk.0.ffn_gate", vec![2, 2]),
        ("blk.0.ffn_up", vec![2, 2]),
        ("blk.0.ffn_down", vec![2, 2]),
        ("output_norm", vec![2]),
    ];
    let mut file = [b"GGUF".as_slice(), &3u32.to_le_bytes()].concat();
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend((pairs.len() as u64).to_le_bytes());
    file.extend(pairs.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()));
    let mut offset = 0;
    for (name, dims) in tensors {
        file.extend(text(&format!("{name}.weight")));
        file.extend((dims.len() as u32).to_le_bytes());
        file.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
        file.extend(0u32.to_le_bytes());
        file.extend((offset as u64).to_le_bytes());
        offset = (offset + 4 * dims.iter().product::<u64>() as usize).next_multiple_of(32);
    }
    file.resize(file.len().next_multiple_of(32) + offset, 0);
    file
}

/// The ChatML template of the qwen family, without tools.
pub(crate) const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' \
    + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// How a byte-level vocabulary writes a byte.
fn byte_letter(byte: u8) -> String {
    let plain = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if plain(byte) {
        return char::from(byte).to_string();
    }
    let place = (0..byte).filter(|&byte| !plain(byte)).count() as u32;
    char::from_u32(0x100 + place).unwrap().to_string()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn fixed(kind: u32, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes(), bytes].concat()
}

fn string(value: &str) -> Vec<u8> {
    fixed(8, &text(value))
}

fn array(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    fixed(9, &[&kind.to_le_bytes(), count.to_le_bytes().as_slice(), elements].concat())
}
