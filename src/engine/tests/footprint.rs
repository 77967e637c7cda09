//! What a model is reckoned to take, beside what a process has resident that loads and uses it.

use std::path::Path;
use std::process::Command;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use hearth_kernels::reference::noise;

use super::support::{collect, greedy, roomy};
use crate::{EngineConfig, Machine, Pool, Source, process_memory_bytes, process_peak_bytes};

/// Tells the second process which model to load.
const MODEL: &str = "HEARTH_TEST_FOOTPRINT";
const CHILD: &str = "tests::footprint::another_process_loads_a_model";

/// A llama of some 120 million weights: 130 MB in Q8_0.
const DIM: usize = 1024;
const FFN: usize = 2816;
const HEADS: usize = 16;
const KV_HEADS: usize = 4;
const HEAD_DIM: usize = 64;
const LAYERS: usize = 8;
const VOCAB: usize = 32_000;
const CONTEXT: usize = 512;

fn metadata() -> Vec<(String, Value)> {
    let number = |key: &str, value: usize| (format!("llama.{key}"), Value::U32(value as u32));
    let word = |id: usize| match id {
        0 => ("<unk>".to_string(), 2),
        1 => ("<s>".to_string(), 3),
        2 => ("</s>".to_string(), 3),
        3..=258 => (format!("<0x{:02X}>", id - 3), 6),
        _ => (format!("word{id}"), 1),
    };
    let array = |values: &dyn Fn(usize) -> Value| Value::Array((0..VOCAB).map(values).collect());
    vec![
        ("general.architecture".into(), Value::String("llama".into())),
        number("block_count", LAYERS),
        number("context_length", CONTEXT),
        number("embedding_length", DIM),
        number("feed_forward_length", FFN),
        number("attention.head_count", HEADS),
        number("attention.head_count_kv", KV_HEADS),
        number("rope.dimension_count", HEAD_DIM),
        ("llama.attention.layer_norm_rms_epsilon".into(), Value::F32(1e-6)),
        ("tokenizer.ggml.model".into(), Value::String("llama".into())),
        ("tokenizer.ggml.tokens".into(), array(&|id| Value::String(word(id).0))),
        ("tokenizer.ggml.scores".into(), array(&|id| Value::F32(-(id as f32)))),
        ("tokenizer.ggml.token_type".into(), array(&|id| Value::I32(word(id).1))),
        ("tokenizer.ggml.bos_token_id".into(), Value::U32(1)),
        ("tokenizer.ggml.eos_token_id".into(), Value::U32(2)),
    ]
}

/// Writes the model; layers share their weights, which a loader does not know.
pub(super) fn write(path: &Path) {
    let matrix = |rows: usize, columns: usize, seed: u64| {
        let numbers = noise(seed, rows * columns).into_iter().map(|number| number * 0.05);
        let numbers: Vec<f32> = numbers.collect();
        let tensor = Tensor::from_vec(numbers, (rows, columns), &Device::Cpu).expect("fits");
        QTensor::quantize(&tensor, GgmlDType::Q8_0).expect("whole blocks")
    };
    let norm = Tensor::ones(DIM, candle_core::DType::F32, &Device::Cpu).expect("fits");
    let norm = QTensor::quantize(&norm, GgmlDType::F32).expect("can be written");
    let embedding = matrix(VOCAB, DIM, 1);
    let (query, kv) = (matrix(HEADS * HEAD_DIM, DIM, 2), matrix(KV_HEADS * HEAD_DIM, DIM, 3));
    let (up, down) = (matrix(FFN, DIM, 4), matrix(DIM, FFN, 5));
    let mut tensors = vec![
        ("token_embd.weight".to_string(), &embedding),
        ("output_norm.weight".to_string(), &norm),
    ];
    for layer in 0..LAYERS {
        let parts = [
            ("attn_norm", &norm),
            ("attn_q", &query),
            ("attn_k", &kv),
            ("attn_v", &kv),
            ("attn_output", &query),
            ("ffn_norm", &norm),
            ("ffn_gate", &up),
            ("ffn_up", &up),
            ("ffn_down", &down),
        ];
        tensors.extend(parts.map(|(part, tensor)| (format!("blk.{layer}.{part}.weight"), tensor)));
    }
    let metadata = metadata();
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, v)| (key.as_str(), v)).collect();
    let tensors: Vec<(&str, &QTensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), *tensor)).collect();
    let mut file = std::fs::File::create(path).expect("a new file");
    gguf_file::write(&mut file, &metadata, &tensors).expect("written");
}

/// The other process: loads the model, fills its cache, and prints what was reckoned and what is.
#[test]
fn another_process_loads_a_model() {
    // Without a model this is a run of all tests, and there is nothing to do.
    let Some(path) = std::env::var_os(MODEL) else { return };
    let before = process_memory_bytes();
    let config = EngineConfig { max_sequences: 2, budget_tokens: 256, ..EngineConfig::default() };
    let pool = Pool::new(config, Machine::recorded(roomy())).expect("starts");
    let model = pool.get("test", &Source::Path(path.into())).expect("loads");
    let prompts = [300, 400].map(|first| (first..first + CONTEXT as u32 - 4).collect::<Vec<_>>());
    let sequences = prompts.map(|prompt| model.submit(greedy(&prompt, 3)).expect("accepted"));
    for sequence in sequences {
        assert!(collect(sequence).end.is_ok());
    }
    let resident = process_memory_bytes() - before;
    println!("took {} {resident} {}", model.info().memory_bytes, process_peak_bytes() - before);
}

#[cfg(target_os = "linux")]
#[test]
fn a_model_takes_what_it_is_reckoned_to_take() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    write(&path);
    let file_bytes = std::fs::metadata(&path).expect("is there").len() as f64;
    let output = Command::new(std::env::current_exe().expect("a test program"))
        .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
        .env(MODEL, &path)
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let numbers = said.lines().find_map(|line| line.split_once("took ")).expect("says it").1;
    let numbers: Vec<f64> =
        numbers.split(' ').map(|number| number.parse().expect("a number")).collect();
    let [reckoned, resident, peak] = numbers[..] else { panic!("{said}") };
    let ratio = reckoned / resident;
    assert!((0.9..=1.1).contains(&ratio), "reckoned {reckoned}, resident {resident}: {ratio}");
    let kv_bytes = (2 * CONTEXT * LAYERS * KV_HEADS * HEAD_DIM * 2 * 2) as f64;
    // A large model has 1.15; here the vocabulary and a step's activations are much of the whole.
    let share = (peak - kv_bytes) / file_bytes;
    assert!(share <= 1.3, "peak {peak}, {kv_bytes} of it cache, of {file_bytes}: {share}");
}
