//! Writes GGUF and safetensors files for tests: small honest ones, and any kind of dishonest one.

use std::path::PathBuf;

/// The shared test data; the models in it are real and not part of the project.
pub(crate) fn shared(path: &str) -> PathBuf {
    let root = std::env::var_os("HEARTH_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = root.join(path);
    assert!(path.exists(), "{} is absent: set HEARTH_SHARED to the shared folder", path.display());
    path
}

// `enum gguf_type`
pub(crate) const U32: u32 = 4;
pub(crate) const F32: u32 = 6;
pub(crate) const BOOL: u32 = 7;
pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;

/// A GGUF file in the making. Nothing is checked: that is what it is for.
#[derive(Clone)]
pub(crate) struct Gguf {
    pub(crate) version: u32,
    /// Claimed instead of the true count.
    pub(crate) claimed_tensors: Option<u64>,
    pub(crate) claimed_pairs: Option<u64>,
    pub(crate) pairs: Vec<(String, Vec<u8>)>,
    pub(crate) tensors: Vec<Row>,
    pub(crate) data_bytes: usize,
}

#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Innermost first, as in the file.
    pub(crate) dims: Vec<u64>,
    pub(crate) kind: u32,
    pub(crate) offset: u64,
}

impl Gguf {
    pub(crate) fn empty() -> Gguf {
        Gguf {
            version: 3,
            claimed_tensors: None,
            claimed_pairs: None,
            pairs: Vec::new(),
            tensors: Vec::new(),
            data_bytes: 0,
        }
    }

    /// Adds or replaces a pair; `value` starts with its type.
    pub(crate) fn set(mut self, key: &str, value: Vec<u8>) -> Gguf {
        self.pairs.retain(|(known, _)| known != key);
        self.pairs.push((key.to_string(), value));
        self
    }

    pub(crate) fn without(mut self, key: &str) -> Gguf {
        self.pairs.retain(|(known, _)| known != key);
        self
    }

    /// Adds a tensor where it claims to be.
    pub(crate) fn tensor_at(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Gguf {
        self.tensors.push(Row { name: name.into(), dims: dims.into(), kind, offset });
        self
    }

    /// Adds an honest F32 tensor after all others.
    pub(crate) fn tensor(self, name: &str, dims: &[u64]) -> Gguf {
        let offset = self.data_bytes.next_multiple_of(32);
        let bytes = 4 * dims.iter().product::<u64>() as usize;
        Gguf { data_bytes: offset + bytes, ..self }.tensor_at(name, dims, 0, offset as u64)
    }

    pub(crate) fn rename(mut self, from: &str, to: &str) -> Gguf {
        let row = self.tensors.iter_mut().find(|row| row.name == from).expect("a tensor to rename");
        row.name = to.to_string();
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        let tensors = self.claimed_tensors.unwrap_or(self.tensors.len() as u64);
        file.extend(tensors.to_le_bytes());
        file.extend(self.claimed_pairs.unwrap_or(self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            file.extend(text(key));
            file.extend(value);
        }
        for row in &self.tensors {
            file.extend(text(&row.name));
            file.extend((row.dims.len() as u32).to_le_bytes());
            file.extend(row.dims.iter().flat_map(|dim| dim.to_le_bytes()));
            file.extend(row.kind.to_le_bytes());
            file.extend(row.offset.to_le_bytes());
        }
        file.resize(file.len().next_multiple_of(32) + self.data_bytes, 0);
        file
    }
}

/// A length and its text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

pub(crate) fn u32_value(number: u32) -> Vec<u8> {
    [U32.to_le_bytes(), number.to_le_bytes()].concat()
}

pub(crate) fn f32_value(number: f32) -> Vec<u8> {
    [F32.to_le_bytes(), number.to_le_bytes()].concat()
}

pub(crate) fn string_value(value: &str) -> Vec<u8> {
    [STRING.to_le_bytes().to_vec(), text(value)].concat()
}

/// An array's type, element type and claimed length, then whatever follows.
pub(crate) fn array_value(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    let start = [ARRAY.to_le_bytes(), kind.to_le_bytes()].concat();
    [&start, count.to_le_bytes().as_slice(), elements].concat()
}

/// The smallest honest llama: one layer, two heads, three tokens.
pub(crate) fn tiny_llama() -> Gguf {
    let tokens: Vec<u8> = ["<unk>", "a", "b"].into_iter().flat_map(text).collect();
    let mut file = Gguf::empty()
        .set("general.architecture", string_value("llama"))
        .set("tokenizer.ggml.tokens", array_value(STRING, 3, &tokens))
        .set("llama.attention.layer_norm_rms_epsilon", f32_value(1e-5));
    for (key, number) in [
        ("block_count", 1),
        ("embedding_length", 4),
        ("feed_forward_length", 6),
        ("context_length", 16),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
    ] {
        file = file.set(&format!("llama.{key}"), u32_value(number));
    }
    for (name, dims) in [
        ("token_embd", [4, 3].as_slice()),
        ("blk.0.attn_norm", &[4]),
        ("blk.0.attn_q", &[4, 4]),
        ("blk.0.attn_k", &[4, 2]),
        ("blk.0.attn_v", &[4, 2]),
        ("blk.0.attn_output", &[4, 4]),
        ("blk.0.ffn_norm", &[4]),
        ("blk.0.ffn_gate", &[4, 6]),
        ("blk.0.ffn_up", &[4, 6]),
        ("blk.0.ffn_down", &[6, 4]),
        ("output_norm", &[4]),
        ("output", &[4, 3]),
    ] {
        file = file.tensor(&format!("{name}.weight"), dims);
    }
    file
}

/// The smallest honest bert: one layer, two heads, three tokens.
pub(crate) fn tiny_bert() -> Gguf {
    let tokens: Vec<u8> = ["[UNK]", "[CLS]", "[SEP]"].into_iter().flat_map(text).collect();
    let mut file = Gguf::empty()
        .set("general.architecture", string_value("bert"))
        .set("tokenizer.ggml.tokens", array_value(STRING, 3, &tokens))
        .set("tokenizer.ggml.token_type_count", u32_value(2))
        .set("bert.attention.layer_norm_epsilon", f32_value(1e-12))
        .set("bert.pooling_type", u32_value(2));
    for (key, number) in [
        ("block_count", 1),
        ("embedding_length", 4),
        ("feed_forward_length", 6),
        ("context_length", 16),
        ("attention.head_count", 2),
    ] {
        file = file.set(&format!("bert.{key}"), u32_value(number));
    }
    let matrices = [("token_embd", 3), ("position_embd", 16), ("token_types", 2)];
    for (name, rows) in matrices {
        file = file.tensor(&format!("{name}.weight"), &[4, rows]);
    }
    for (name, inputs, outputs) in [
        ("attn_q", 4, 4),
        ("attn_k", 4, 4),
        ("attn_v", 4, 4),
        ("attn_output", 4, 4),
        ("ffn_up", 4, 6),
        ("ffn_down", 6, 4),
    ] {
        file = file.tensor(&format!("blk.0.{name}.weight"), &[inputs, outputs]);
        file = file.tensor(&format!("blk.0.{name}.bias"), &[outputs]);
    }
    for name in ["token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"] {
        file = file.tensor(&format!("{name}.weight"), &[4]).tensor(&format!("{name}.bias"), &[4]);
    }
    file
}

/// A safetensors file of a JSON header and so many bytes of data.
pub(crate) fn safetensors(header: &str, data_bytes: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + data_bytes, 0);
    file
}
