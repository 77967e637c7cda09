//! Every family against Hugging Face transformers, on the small models of `tests/parity`.
//!
//! Models are written here, as folders and as GGUF files, from the numbers that their tensors'
//! names stand for; what transformers computes with them is in `goldens.json`.

use std::collections::HashMap;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value as Pair};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use hearth_formats::ModelFile;
use hearth_kernels::KvNumber;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::support::{config, placement};
use crate::batch::Batch;
use crate::decoder::{Decoder, Loading};
use crate::kv::{DeviceKv, HostKv, KvCache, KvShape};
use crate::tensors::values;
use crate::worker::Runner;
use crate::{EngineConfig, loader};

/// Largest difference of a logit; they lie within ±8.
const TOLERANCE: f32 = 1e-4;
const PAGE_TOKENS: usize = 16;

#[derive(Deserialize)]
struct Goldens {
    prompt: Vec<u32>,
    /// Tokens of the prompt whose logits are recorded.
    rows: Vec<usize>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    config: Map<String, Value>,
    /// The longest context to run it with; 0 is the model's own.
    context_tokens: u32,
    tensors: Vec<Numbers>,
    /// Pairs of the GGUF file; empty if there is none.
    metadata: Map<String, Value>,
    /// The tensors of the GGUF file: name, what it is made of, how.
    recipe: Vec<(String, Value, String)>,
    logits: Vec<Vec<f32>>,
}

/// Name, dimensions, center and scale of a tensor's numbers.
#[derive(Deserialize)]
struct Numbers(String, Vec<usize>, f32, f32);

impl Numbers {
    /// SplitMix64 of the name's hash (FNV-1a) and the index, of which the upper 24 bits are taken.
    fn values(&self) -> Vec<f32> {
        let hash = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let seed = self.0.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
        let count = self.1.iter().product::<usize>() as u64;
        let number = |index: u64| {
            let mut x = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^= x >> 31;
            self.2 + ((x >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * self.3
        };
        (1..=count).map(number).collect()
    }
}

impl Case {
    fn write_folder(&self, folder: &Path) {
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.join(name), bytes).expect("a new file");
        };
        write("config.json", Value::Object(self.config.clone()).to_string().as_bytes());
        write("tokenizer.json", b"{}");
        let (mut header, mut data) = (Map::new(), Vec::new());
        for tensor in &self.tensors {
            let start = data.len();
            data.extend(tensor.values().iter().flat_map(|value| value.to_le_bytes()));
            let about = json!({
                "dtype": "F32", "shape": tensor.1, "data_offsets": [start, data.len()]
            });
            header.insert(tensor.0.clone(), about);
        }
        let header = Value::Object(header).to_string();
        let length = (header.len() as u64).to_le_bytes();
        write("model.safetensors", &[&length, header.as_bytes(), &data].concat());
    }

    fn write_gguf(&self, path: &Path) {
        let made: HashMap<&str, Tensor> = self
            .tensors
            .iter()
            .map(|tensor| {
                let values = Tensor::from_vec(tensor.values(), tensor.1.as_slice(), &Device::Cpu);
                (tensor.0.as_str(), values.expect("fits"))
            })
            .collect();
        let tensors: Vec<(&str, QTensor)> = self
            .recipe
            .iter()
            .map(|(name, sources, act)| {
                let tensor = made_of(&made, sources, act);
                let tensor = QTensor::quantize(&tensor, GgmlDType::F32).expect("can be written");
                (name.as_str(), tensor)
            })
            .collect();
        let tensors: Vec<(&str, &QTensor)> =
            tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let pairs: Vec<(&str, Pair)> =
            self.metadata.iter().map(|(key, value)| (key.as_str(), pair(value))).collect();
        let pairs: Vec<(&str, &Pair)> = pairs.iter().map(|(key, pair)| (*key, pair)).collect();
        let mut file = std::fs::File::create(path).expect("a new file");
        gguf_file::write(&mut file, &pairs, &tensors).expect("written");
    }
}

/// A tensor of a GGUF file, as llama.cpp's converter makes it of a folder's.
fn made_of(made: &HashMap<&str, Tensor>, sources: &Value, act: &str) -> Tensor {
    let list = sources.as_array().expect("a list");
    if act == "values" {
        let values: Vec<f32> =
            list.iter().map(|value| value.as_f64().expect("a number") as f32).collect();
        return Tensor::from_vec(values, list.len(), &Device::Cpu).expect("fits");
    }
    let parts: Vec<&Tensor> =
        list.iter().map(|name| &made[name.as_str().expect("a name")]).collect();
    let made = match act.strip_prefix("turn ") {
        None if act == "stack" => Tensor::stack(&parts, 0),
        None if act == "add one" => parts[0] + 1.0,
        None => Ok(parts[0].clone()),
        Some(heads) => {
            let heads: usize = heads.parse().expect("a number of heads");
            let (rows, columns) = parts[0].dims2().expect("a matrix");
            let split = parts[0].reshape((heads, 2, rows / heads / 2, columns));
            split
                .and_then(|split| split.transpose(1, 2)?.contiguous())
                .and_then(|split| split.reshape((rows, columns)))
        }
    };
    made.expect("shapes fit")
}

fn pair(value: &Value) -> Pair {
    match value {
        Value::String(text) => Pair::String(text.clone()),
        Value::Number(number) => match number.as_u64() {
            Some(number) => Pair::U32(number as u32),
            None => Pair::F32(number.as_f64().expect("a number") as f32),
        },
        Value::Array(list) => {
            let is_count = list.iter().all(Value::is_u64);
            let kind = |value: &Value| match pair(value) {
                Pair::U32(number) if is_count => Pair::I32(number as i32),
                other => other,
            };
            Pair::Array(list.iter().map(kind).collect())
        }
        other => panic!("{other} in metadata"),
    }
}

/// Logits of every token of the prompt, which comes in pieces of these sizes.
fn logits(runner: &mut dyn Runner, prompt: &[u32], pieces: &[usize]) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    let mut start = 0;
    for &count in pieces {
        let mut batch = Batch::new(PAGE_TOKENS);
        batch.push(&prompt[start..start + count], start, vec![2, 0, 3], false);
        batch.logit_rows = (0..count as u32).collect();
        let found = runner.run(&batch).expect("runs").expect("asked for");
        let vocab = found.dims2().expect("rows").1;
        all.extend(values(&found).expect("on the host").chunks_exact(vocab).map(<[f32]>::to_vec));
        start += count;
    }
    assert_eq!(start, prompt.len());
    all
}

fn worst(got: &[Vec<f32>], want: &[Vec<f32>]) -> f32 {
    assert_eq!(got.len(), want.len());
    let rows = got.iter().zip(want);
    rows.flat_map(|(got, want)| {
        assert_eq!(got.len(), want.len());
        got.iter().zip(want).map(|(got, want)| (got - want).abs())
    })
    // Not `f32::max`, which passes over what is no number.
    .fold(0.0, |worst, error| if error <= worst { worst } else { error })
}

fn of_rows(all: &[Vec<f32>], rows: &[usize]) -> Vec<Vec<f32>> {
    rows.iter().map(|&row| all[row].clone()).collect()
}

fn settings(case: &Case) -> EngineConfig {
    EngineConfig { context_tokens: case.context_tokens, page_tokens: PAGE_TOKENS, ..config() }
}

/// Candle's operations with weights and a cache as they are on a GPU.
struct AsOnDevice {
    decoder: Decoder,
    kv: DeviceKv,
}

impl Runner for AsOnDevice {
    fn run(&mut self, batch: &Batch) -> crate::Result<Option<Tensor>> {
        self.decoder.forward(batch, &mut self.kv)
    }
}

fn as_on_device(file: &ModelFile, context_tokens: usize) -> AsOnDevice {
    let loading = Loading { is_packed: false, context_tokens };
    AsOnDevice {
        decoder: Decoder::load(file, &Device::Cpu, loading).expect("loads"),
        kv: DeviceKv::new(KvShape::new(file, 4, PAGE_TOKENS), &Device::Cpu).expect("fits"),
    }
}

/// Several sequences in one step: the prompt's rows come out as they do alone.
fn batch_equals_singles(file: &ModelFile, context_tokens: usize, prompt: &[u32]) {
    let loading = Loading { is_packed: true, context_tokens };
    let decoder = Decoder::load(file, &Device::Cpu, loading).expect("loads");
    let run = |sequences: &[(&[u32], [u32; 3])]| {
        let shape = KvShape { number: KvNumber::F32, ..KvShape::new(file, 9, PAGE_TOKENS) };
        let mut kv = HostKv::new(shape).expect("fits");
        let mut batch = Batch::new(PAGE_TOKENS);
        for (tokens, pages) in sequences {
            batch.push(tokens, 0, pages.to_vec(), true);
        }
        let kv: &mut dyn KvCache = &mut kv;
        values(&decoder.forward(&batch, kv).expect("runs").expect("asked for")).expect("host")
    };
    let parts = [(prompt, [4, 1, 7]), (&prompt[20..], [0, 8, 3]), (&prompt[..1], [2, 5, 6])];
    let together = run(&parts);
    let vocab = together.len() / parts.len();
    for (part, together) in parts.iter().zip(together.chunks_exact(vocab)) {
        assert_eq!(run(&[*part]), together);
    }
}

/// Runs a case from one file or folder in every way, against its golden.
fn check(case: &Case, goldens: &Goldens, path: &Path, form: &str) {
    let settings = settings(case);
    let file =
        ModelFile::open(path).unwrap_or_else(|error| panic!("{} {form}: {error}", case.name));
    let placement = placement(&file, &settings);
    let context_tokens = placement.context_tokens as usize;
    let mut whole = loader::decoder(&file, &placement, &settings).expect("loads");
    let whole = logits(whole.as_mut(), &goldens.prompt, &[45]);
    let error = worst(&of_rows(&whole, &goldens.rows), &case.logits);
    assert!(error <= TOLERANCE, "{} {form}: {error}", case.name);
    // In pieces, as prompts come beside other sequences, and then token by token: the same bits.
    let mut pieces = vec![5, 17, 3];
    pieces.extend([1; 20]);
    let mut chunked = loader::decoder(&file, &placement, &settings).expect("loads");
    assert!(logits(chunked.as_mut(), &goldens.prompt, &pieces) == whole, "{} {form}", case.name);
    batch_equals_singles(&file, context_tokens, &goldens.prompt);
    for pieces in [&[45][..], &pieces] {
        let got = logits(&mut as_on_device(&file, context_tokens), &goldens.prompt, pieces);
        let error = worst(&of_rows(&got, &goldens.rows), &case.logits);
        assert!(error <= TOLERANCE, "{} {form} by candle's operations: {error}", case.name);
    }
}

/// All cases whose names begin so, from folders and from GGUF files.
fn equals_transformers(prefixes: &[&str]) {
    let text = include_str!("../../../tests/parity/goldens.json");
    let goldens: Goldens = serde_json::from_str(text).expect("goldens.json has this form");
    let of_family = |case: &&Case| prefixes.iter().any(|prefix| case.name.starts_with(prefix));
    let mut count = 0;
    for case in goldens.cases.iter().filter(of_family) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        case.write_folder(folder.path());
        check(case, &goldens, folder.path(), "folder");
        if !case.metadata.is_empty() {
            let path = folder.path().join("model.gguf");
            case.write_gguf(&path);
            check(case, &goldens, &path, "gguf");
        }
        count += 1;
    }
    assert!(count >= prefixes.len(), "{prefixes:?} name {count} cases");
}

#[test]
fn llama_and_mistral_equal_transformers() {
    equals_transformers(&["llama", "mistral"]);
}

#[test]
fn qwen_equals_transformers() {
    equals_transformers(&["qwen2", "qwen3"]);
}

#[test]
fn gemma_equals_transformers() {
    equals_transformers(&["gemma2", "gemma3"]);
}

#[test]
fn phi_equals_transformers() {
    equals_transformers(&["phi3"]);
}

#[test]
fn every_scaling_of_rope_equals_transformers() {
    equals_transformers(&["rope_linear", "rope_llama3", "rope_yarn", "rope_longrope"]);
}
