//! Writes a model of real size with random weights: what speed depends on is real, what the model
//! says is not.
//!
//! `cargo run --release -p hearth-benches --bin make-model -- --shape qwen3-0.6b --mix q4_k_m
//! --vocab ggml-vocab-qwen2.gguf OUT.gguf`. The vocabulary file is any GGUF file whose tokenizer
//! the model shall have; llama.cpp's sources carry such files in `models/`. Same arguments, same
//! file. Peak memory is about the size of the file plus the two largest tensors as floats.

mod mix;
mod noise;
mod shape;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, Result};
use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use clap::Parser;
use rayon::prelude::{IntoParallelIterator, ParallelIterator};

use mix::Mix;
use shape::{EMBEDDING, Fill, Shape, Speech, TensorPlan};

/// Writes a model of real size with random weights.
#[derive(Debug, Parser)]
struct Arguments {
    /// Whose dimensions it has.
    #[arg(long, value_enum)]
    shape: Shape,
    /// How its matrices are quantised.
    #[arg(long, value_enum)]
    mix: Mix,
    /// A GGUF file with the vocabulary.
    #[arg(long, value_name = "FILE")]
    vocab: PathBuf,
    /// After each token it says the one with the next number, and so quotes a prompt of these.
    #[arg(long)]
    counting: bool,
    /// Other weights of the same size.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The file to write.
    #[arg(value_name = "OUT.gguf")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let tokenizer = read_tokenizer(&arguments.vocab)?;
    let Some(Value::Array(tokens)) = tokenizer.get("tokenizer.ggml.tokens") else {
        anyhow::bail!("{} has no tokens", arguments.vocab.display());
    };
    let mut metadata = arguments.shape.metadata();
    let name = format!("{} of random weights", arguments.shape.name());
    metadata.insert("general.name".into(), Value::String(name));
    metadata.insert("general.file_type".into(), Value::U32(arguments.mix.file_type()));
    metadata.extend(arguments.shape.vocab_size_key(tokens.len()));
    let speech = if arguments.counting { Speech::Counting } else { Speech::Random };
    let plans = arguments.shape.tensors(tokens.len(), speech);
    metadata.extend(tokenizer);
    let tensors = fill(&plans, &arguments)?;
    write(&arguments.out, &metadata, &tensors)
}

/// The `tokenizer.*` pairs of a GGUF file.
fn read_tokenizer(path: &Path) -> Result<BTreeMap<String, Value>> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let content = Content::read(&mut file).with_context(|| path.display().to_string())?;
    let is_ours = |(key, _): &(String, Value)| key.starts_with("tokenizer.");
    Ok(content.metadata.into_iter().filter(is_ours).collect())
}

fn fill(plans: &[TensorPlan], arguments: &Arguments) -> Result<Vec<(String, QTensor)>> {
    let done = AtomicUsize::new(0);
    let layers = arguments.shape.layers();
    plans
        .into_par_iter()
        .map(|plan| {
            let kind = match plan.fill {
                Fill::Noise(_) | Fill::Successors => arguments.mix.kind(plan.role, layers),
                Fill::Ones | Fill::Values(_) => GgmlDType::F32,
            };
            let values = values(plan, arguments.seed);
            let values = Tensor::from_vec(values, plan.dims.as_slice(), &Device::Cpu)?;
            let tensor = QTensor::quantize(&values, kind)?;
            progress(done.fetch_add(1, Relaxed) + 1, plans.len(), &plan.name);
            Ok((plan.name.clone(), tensor))
        })
        .collect()
}

fn values(plan: &TensorPlan, seed: u64) -> Vec<f32> {
    let count = plan.dims.iter().product();
    match &plan.fill {
        Fill::Noise(scale) => noise::normal(seed, &plan.name, count, *scale),
        Fill::Successors => {
            let mut values = noise::normal(seed, &format!("{EMBEDDING}.weight"), count, 1.0);
            values.rotate_right(plan.dims[1]);
            values
        }
        Fill::Ones => vec![1.0; count],
        Fill::Values(values) => values.clone(),
    }
}

fn write(
    path: &Path,
    metadata: &BTreeMap<String, Value>,
    tensors: &[(String, QTensor)],
) -> Result<()> {
    let metadata: Vec<(&str, &Value)> =
        metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    gguf_file::write(&mut file, &metadata, &tensors)?;
    file.flush().with_context(|| path.display().to_string())
}

#[expect(clippy::print_stderr, reason = "progress of a program for developers")]
fn progress(done: usize, total: usize, name: &str) {
    eprintln!("{done}/{total} {name}");
}
