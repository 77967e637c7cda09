//! Every kind of weights in every architecture, on tiny models with random weights.

use std::collections::HashMap;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use hearth_formats::gguf::Header;
use hearth_formats::{Architecture, ModelFile, TensorKind};
use hearth_kernels::KvNumber;
use hearth_kernels::reference::noise;

use super::support::{answer, config, greedy, load};
use crate::batch::Batch;
use crate::decoder::{Decoder, Loading};
use crate::kv::{DeviceKv, HostKv, KvCache, KvShape};
use crate::limits::TokenCost;
use crate::placement::Need;
use crate::quantize::{Mix, convert_rows, mixed_kinds};
use crate::tensors::values;

/// One block of a K-quant wide; two query heads share each key head.
const DIM: usize = 256;
const FFN: usize = 512;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 64;
const LAYERS: usize = 2;
const EXPERTS: usize = 3;
const VOCAB: usize = 288;
const PROMPT: [u32; 9] = [1, 270, 17, 101, 44, 280, 5, 199, 3];

fn ggml(kind: TensorKind) -> GgmlDType {
    match kind {
        TensorKind::F32 => GgmlDType::F32,
        TensorKind::F16 => GgmlDType::F16,
        TensorKind::BF16 => GgmlDType::BF16,
        TensorKind::Q4_0 => GgmlDType::Q4_0,
        TensorKind::Q4_1 => GgmlDType::Q4_1,
        TensorKind::Q5_0 => GgmlDType::Q5_0,
        TensorKind::Q5_1 => GgmlDType::Q5_1,
        TensorKind::Q8_0 => GgmlDType::Q8_0,
        TensorKind::Q2_K => GgmlDType::Q2K,
        TensorKind::Q3_K => GgmlDType::Q3K,
        TensorKind::Q4_K => GgmlDType::Q4K,
        TensorKind::Q5_K => GgmlDType::Q5K,
        TensorKind::Q6_K => GgmlDType::Q6K,
    }
}

/// Random weights of an architecture: matrices as `kind` rounds them, vectors in f32.
fn tensors(architecture: Architecture, kind: TensorKind) -> Vec<(String, QTensor)> {
    let mut all = Vec::new();
    let mut add = |name: String, dims: &[usize], center: f32, kind: TensorKind| {
        let seed = all.len() as u64 + 1;
        let scale = 1.7 / (*dims.last().expect("has dimensions") as f32).sqrt();
        let numbers = noise(seed, dims.iter().product());
        let numbers = numbers.into_iter().map(|number| center + number * scale).collect();
        let tensor = Tensor::from_vec::<_, f32>(numbers, dims, &Device::Cpu).expect("fits");
        all.push((name, QTensor::quantize(&tensor, ggml(kind)).expect("can be written")));
    };
    add("token_embd.weight".into(), &[VOCAB, DIM], 0.0, kind);
    let (query, kv) = (HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM);
    let is_phi = architecture == Architecture::Phi3;
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}");
        add(name("attn_norm.weight"), &[DIM], 1.0, TensorKind::F32);
        if is_phi {
            add(name("attn_qkv.weight"), &[query + 2 * kv, DIM], 0.0, kind);
        }
        for (part, rows) in [("attn_q", query), ("attn_k", kv), ("attn_v", kv)] {
            if !is_phi {
                add(name(&format!("{part}.weight")), &[rows, DIM], 0.0, kind);
            }
            if architecture == Architecture::Qwen2 {
                add(name(&format!("{part}.bias")), &[rows], 0.0, TensorKind::F32);
            }
        }
        if matches!(architecture, Architecture::Qwen3 | Architecture::Qwen3Moe) {
            add(name("attn_q_norm.weight"), &[HEAD_DIM], 1.0, TensorKind::F32);
            add(name("attn_k_norm.weight"), &[HEAD_DIM], 1.0, TensorKind::F32);
        }
        add(name("attn_output.weight"), &[DIM, query], 0.0, kind);
        add(name("ffn_norm.weight"), &[DIM], 1.0, TensorKind::F32);
        if architecture == Architecture::Gemma2 {
            add(name("post_attention_norm.weight"), &[DIM], 1.0, TensorKind::F32);
            add(name("post_ffw_norm.weight"), &[DIM], 1.0, TensorKind::F32);
        }
        if architecture == Architecture::Qwen3Moe {
            add(name("ffn_gate_inp.weight"), &[EXPERTS, DIM], 0.0, TensorKind::F32);
            add(name("ffn_gate_exps.weight"), &[EXPERTS, FFN, DIM], 0.0, kind);
            add(name("ffn_up_exps.weight"), &[EXPERTS, FFN, DIM], 0.0, kind);
            add(name("ffn_down_exps.weight"), &[EXPERTS, DIM, FFN], 0.0, kind);
            continue;
        }
        if !is_phi {
            add(name("ffn_gate.weight"), &[FFN, DIM], 0.0, kind);
        }
        let up = if is_phi { 2 * FFN } else { FFN };
        add(name("ffn_up.weight"), &[up, DIM], 0.0, kind);
        add(name("ffn_down.weight"), &[DIM, FFN], 0.0, kind);
    }
    add("output_norm.weight".into(), &[DIM], 1.0, TensorKind::F32);
    // The others have tied embeddings.
    if architecture == Architecture::Llama {
        add("output.weight".into(), &[VOCAB, DIM], 0.0, kind);
    }
    all
}

fn metadata(architecture: Architecture) -> Vec<(String, Value)> {
    let name = architecture.name();
    let has_experts = architecture == Architecture::Qwen3Moe;
    let number = |key: &str, value: usize| (format!("{name}.{key}"), Value::U32(value as u32));
    let word = |id: usize| match id {
        0 => ("<unk>".to_string(), 2),
        1 => ("<s>".to_string(), 3),
        2 => ("</s>".to_string(), 3),
        3..=258 => (format!("<0x{:02X}>", id - 3), 6),
        _ => (format!("word{id}"), 1),
    };
    let words = || (0..VOCAB).map(word);
    vec![
        ("general.architecture".into(), Value::String(name.into())),
        number("block_count", LAYERS),
        number("context_length", 128),
        number("embedding_length", DIM),
        number("feed_forward_length", FFN),
        // Read where there are experts.
        number("expert_feed_forward_length", FFN),
        number("expert_count", if has_experts { EXPERTS } else { 0 }),
        number("expert_used_count", 2),
        number("attention.head_count", HEADS),
        number("attention.head_count_kv", KV_HEADS),
        number("attention.key_length", HEAD_DIM),
        number("attention.value_length", HEAD_DIM),
        number("rope.dimension_count", HEAD_DIM),
        (format!("{name}.rope.freq_base"), Value::F32(10_000.0)),
        (format!("{name}.attention.layer_norm_rms_epsilon"), Value::F32(1e-6)),
        ("tokenizer.ggml.model".into(), Value::String("llama".into())),
        (
            "tokenizer.ggml.tokens".into(),
            Value::Array(words().map(|(text, _)| Value::String(text)).collect()),
        ),
        (
            "tokenizer.ggml.scores".into(),
            Value::Array((0..VOCAB).map(|id| Value::F32(-(id as f32))).collect()),
        ),
        (
            "tokenizer.ggml.token_type".into(),
            Value::Array(words().map(|(_, kind)| Value::I32(kind)).collect()),
        ),
        ("tokenizer.ggml.bos_token_id".into(), Value::U32(1)),
        ("tokenizer.ggml.eos_token_id".into(), Value::U32(2)),
    ]
}

fn write(path: &Path, architecture: Architecture, tensors: &[(String, QTensor)]) {
    let metadata = metadata(architecture);
    let metadata: Vec<(&str, &Value)> =
        metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut file = std::fs::File::create(path).expect("a new file");
    gguf_file::write(&mut file, &metadata, &tensors).expect("written");
}

/// Who computes.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Our kernels over a cache of this kind of number.
    Host(KvNumber),
    /// Candle's operations, as on a GPU.
    Device,
}

const EXACT: Way = Way::Host(KvNumber::F32);

/// Logits after each part of the prompt, as a prompt and one more step would give them.
fn logits(path: &Path, way: Way) -> Vec<f32> {
    let file = ModelFile::open(path).expect("sound");
    let loading = Loading { is_packed: way != Way::Device, context_tokens: 128 };
    let decoder = Decoder::load(&file, &Device::Cpu, loading).expect("loads");
    let shape = KvShape::new(&file, 4, 16);
    let mut kv: Box<dyn KvCache> = match way {
        Way::Device => Box::new(DeviceKv::new(shape, &Device::Cpu).expect("fits")),
        Way::Host(number) => Box::new(HostKv::new(KvShape { number, ..shape }).expect("fits")),
    };
    let mut all = Vec::new();
    for (start, tokens) in [(0, &PROMPT[..5]), (5, &PROMPT[5..8]), (8, &PROMPT[8..])] {
        let mut batch = Batch::new(16);
        batch.push(tokens, start, vec![2], true);
        let logits = decoder.forward(&batch, kv.as_mut()).expect("runs").expect("asked for");
        all.extend(values(&logits).expect("on the host"));
    }
    all
}

/// Root of the mean squared difference, as a share of the root of the mean square.
fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |number: f64| number * number;
    let difference: f64 = got.iter().zip(want).map(|(a, b)| square(f64::from(a - b))).sum();
    let size: f64 = want.iter().map(|&value| square(f64::from(value))).sum();
    assert!(size > 0.0);
    (difference / size).sqrt()
}

fn runs_like_its_dequantised_twin(architecture: Architecture, kinds: &[TensorKind]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for &kind in kinds {
        let (path, twin) = (folder.path().join("model.gguf"), folder.path().join("twin.gguf"));
        let written = tensors(architecture, kind);
        write(&path, architecture, &written);
        let plain = |(name, tensor): &(String, QTensor)| {
            let tensor = tensor.dequantize(&Device::Cpu).expect("dequantises");
            let tensor = QTensor::quantize(&tensor, GgmlDType::F32).expect("can be written");
            (name.clone(), tensor)
        };
        write(&twin, architecture, &written.iter().map(plain).collect::<Vec<_>>());
        let want = logits(&twin, EXACT);
        let error = relative_error(&logits(&path, EXACT), &want);
        // Rows are rounded to eight bits where blocks are multiplied; floats are widened exactly.
        let bound = if kind.block_elements() == 1 { 1e-6 } else { 0.03 };
        assert!(error < bound, "{architecture} {}: {error}", kind.label());
        let error = relative_error(&logits(&path, Way::Host(KvNumber::F16)), &logits(&path, EXACT));
        // Where rows are rounded to eight bits, a hair's difference rounds some the other way.
        let bound = if kind.block_elements() == 1 { 1e-3 } else { 0.03 };
        assert!(error < bound, "{architecture} {} over half floats: {error}", kind.label());
        let error = relative_error(&logits(&path, Way::Device), &logits(&path, EXACT));
        // candle rounds rows in another way on each set of instructions.
        assert!(error < 0.03, "{architecture} {} by candle's operations: {error}", kind.label());
        if kind == TensorKind::F32 {
            assert!(error < 1e-5, "{architecture} by candle's operations: {error}");
        }
        if kind == TensorKind::Q4_K {
            let answer = answer(&load(&path, &config()), greedy(&PROMPT, 8));
            assert!(answer.end.is_ok(), "{:?}", answer.end);
        }
    }
}

#[test]
fn each_architecture_computes_what_its_definition_says() {
    // Made by reference_logits.py, in f64 and without our code.
    let reference: HashMap<String, Vec<f32>> =
        serde_json::from_str(include_str!("reference_logits.json")).expect("three lists");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for architecture in [Architecture::Llama, Architecture::Qwen2, Architecture::Qwen3] {
        let path = folder.path().join(architecture.name());
        write(&path, architecture, &tensors(architecture, TensorKind::F32));
        let expected = &reference[architecture.name()];
        for way in [EXACT, Way::Device] {
            let all = logits(&path, way);
            let last = &all[all.len() - VOCAB..];
            let differences = last.iter().zip(expected).map(|(a, b)| (a - b).abs());
            let worst = differences.fold(0.0, f32::max);
            assert!(worst < 1e-4, "{architecture}: {worst}");
            assert_eq!(expected.len(), VOCAB);
        }
    }
}

#[test]
fn llama_runs_with_every_kind_of_weights() {
    runs_like_its_dequantised_twin(Architecture::Llama, &TensorKind::ALL);
}

#[test]
fn qwen2_runs_with_every_kind_of_weights() {
    runs_like_its_dequantised_twin(Architecture::Qwen2, &TensorKind::ALL);
}

#[test]
fn qwen3_runs_with_every_kind_of_weights() {
    runs_like_its_dequantised_twin(Architecture::Qwen3, &TensorKind::ALL);
}

/// A kind of our kernels with small blocks, one with large ones, one that is left to candle.
const SOME: [TensorKind; 4] =
    [TensorKind::F32, TensorKind::Q8_0, TensorKind::Q4_K, TensorKind::Q3_K];

#[test]
fn matrices_that_lie_in_one_run_with_each_sort_of_weights() {
    runs_like_its_dequantised_twin(Architecture::Phi3, &SOME);
}

#[test]
fn experts_run_with_each_sort_of_weights() {
    runs_like_its_dequantised_twin(Architecture::Qwen3Moe, &SOME);
}

#[test]
fn gemma_runs_with_each_sort_of_weights() {
    runs_like_its_dequantised_twin(Architecture::Gemma2, &SOME);
}

/// The file's tensors as a mix makes them.
fn mixed(path: &Path, mix: Mix) -> Vec<(String, QTensor)> {
    let bytes = std::fs::read(path).expect("readable");
    let length = bytes.len() as u64;
    let header = Header::read(&mut std::io::Cursor::new(&bytes), length).expect("sound");
    let kinds = mixed_kinds(&header, mix).expect("a known architecture");
    let made = header.tensors.iter().zip(kinds).map(|(tensor, kind)| {
        let (start, end) = (tensor.offset as usize, (tensor.offset + tensor.bytes) as usize);
        let row = *tensor.shape.last().expect("has dimensions") as usize;
        let rows = convert_rows(&bytes[start..end], tensor.kind, kind, row).expect("converts");
        let storage = QStorage::from_data(rows.into(), &Device::Cpu, ggml(kind)).expect("fits");
        let dims: Vec<usize> = tensor.shape.iter().map(|&dim| dim as usize).collect();
        (tensor.name.clone(), QTensor::new(storage, dims).expect("fits"))
    });
    made.collect()
}

#[test]
fn quantised_models_say_nearly_what_their_floats_say() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, small) = (folder.path().join("floats.gguf"), folder.path().join("small.gguf"));
    // Experts with random weights are so near each other that some rows go to another one.
    for (architecture, looseness) in [(Architecture::Llama, 1.0), (Architecture::Qwen3Moe, 2.0)] {
        write(&path, architecture, &tensors(architecture, TensorKind::F32));
        let want = logits(&path, EXACT);
        for (mix, bound) in
            [(Mix::Q8_0, 0.03), (Mix::Q4KMedium, 0.2), (Mix::Q4KSmall, 0.2), (Mix::Q4_0, 0.25)]
        {
            write(&small, architecture, &mixed(&path, mix));
            let error = relative_error(&logits(&small, EXACT), &want);
            assert!(error < bound * looseness, "{architecture} as {mix:?}: {error}");
        }
    }
}

#[test]
fn all_experts_are_held_in_memory_and_some_of_them_are_met() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    write(&path, Architecture::Qwen3Moe, &tensors(Architecture::Qwen3Moe, TensorKind::Q4_K));
    let file = ModelFile::open(&path).expect("sound");
    let need = Need::of(&file, &config());
    // Tiles have 16 rows, of which the router's fill three.
    let padding = (LAYERS * (16 - EXPERTS) * DIM * 4) as u64;
    assert_eq!(need.on_host.weights_bytes, file.weights_bytes() + padding);
    let matrix = (DIM * FFN) as u64;
    let (cost, experts) = (TokenCost::of(&file), LAYERS as u64 * EXPERTS as u64 * 3 * matrix);
    // Two of three are met; four and a half bits each.
    assert_eq!(cost.step_bytes, file.weights_bytes() - experts / 3 * 144 / 256);
    let attention = (2 * HEADS * HEAD_DIM * DIM + 2 * KV_HEADS * HEAD_DIM * DIM) as u64;
    let router = (EXPERTS * DIM) as u64;
    // Matrix by matrix, each rounded down.
    let met = (LAYERS * EXPERTS * 3) as u64 * (2 * matrix * 2 / 3);
    assert_eq!(cost.prompt_ops, 2 * LAYERS as u64 * (attention + router) + met);
}
