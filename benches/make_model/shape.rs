//! The dimensions of the models that are imitated, and the tensors and metadata they come with.

use std::collections::BTreeMap;

use candle_core::quantized::gguf_file::Value;
use clap::ValueEnum;

use crate::mix::Role;

/// The embedding table, whose noise an output matrix may share.
pub(crate) const EMBEDDING: &str = "token_embd";

/// A published model whose dimensions are used. Both use their embedding table as output matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    #[value(name = "llama-3.2-1b")]
    Llama1B,
    #[value(name = "qwen3-0.6b")]
    Qwen600M,
}

/// A tensor to be made.
pub(crate) struct TensorPlan {
    pub(crate) name: String,
    /// Outermost first.
    pub(crate) dims: Vec<usize>,
    pub(crate) role: Role,
    pub(crate) fill: Fill,
}

/// What a tensor holds.
pub(crate) enum Fill {
    /// So many times as large as usual.
    Noise(f32),
    /// Row t + 1 is the noise of row t in the embedding table, so that t is followed by t + 1.
    Successors,
    Ones,
    Values(Vec<f32>),
}

/// What the model says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// Anything.
    Random,
    /// After each token the one with the next number: a prompt of consecutive tokens is quoted.
    /// The output matrix is one of its own.
    Counting,
}

/// The numbers of a published `config.json`.
struct Numbers {
    layers: usize,
    dim: usize,
    ffn_dim: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    context_tokens: u32,
    rms_eps: f32,
    rope_theta: f32,
}

impl Shape {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Shape::Llama1B => "Llama-3.2-1B",
            Shape::Qwen600M => "Qwen3-0.6B",
        }
    }

    pub(crate) fn layers(self) -> usize {
        self.numbers().layers
    }

    /// Everything but the tokenizer.
    pub(crate) fn metadata(self) -> BTreeMap<String, Value> {
        let numbers = self.numbers();
        let architecture = self.architecture();
        let count = |count: usize| Value::U32(count as u32);
        let below = [
            ("block_count", count(numbers.layers)),
            ("context_length", Value::U32(numbers.context_tokens)),
            ("embedding_length", count(numbers.dim)),
            ("feed_forward_length", count(numbers.ffn_dim)),
            ("attention.head_count", count(numbers.heads)),
            ("attention.head_count_kv", count(numbers.kv_heads)),
            ("attention.key_length", count(numbers.head_dim)),
            ("attention.value_length", count(numbers.head_dim)),
            ("attention.layer_norm_rms_epsilon", Value::F32(numbers.rms_eps)),
            ("rope.dimension_count", count(numbers.head_dim)),
            ("rope.freq_base", Value::F32(numbers.rope_theta)),
        ];
        let below = below.map(|(key, value)| (format!("{architecture}.{key}"), value));
        let general = [
            ("general.architecture", Value::String(architecture.into())),
            ("general.quantization_version", Value::U32(2)),
        ];
        general.map(|(key, value)| (key.to_string(), value)).into_iter().chain(below).collect()
    }

    /// llama's converter states the size of the vocabulary, qwen's does not.
    pub(crate) fn vocab_size_key(self, vocab: usize) -> Option<(String, Value)> {
        (self == Shape::Llama1B).then(|| ("llama.vocab_size".into(), Value::U32(vocab as u32)))
    }

    /// All tensors, the largest first so that two threads end together.
    pub(crate) fn tensors(self, vocab: usize, speech: Speech) -> Vec<TensorPlan> {
        let numbers = self.numbers();
        let table = |name: &str, role, fill| {
            let (name, dims) = (format!("{name}.weight"), vec![vocab, numbers.dim]);
            TensorPlan { name, dims, role, fill }
        };
        let mut tensors = match speech {
            Speech::Random => vec![table(EMBEDDING, Role::Output, Fill::Noise(1.0))],
            Speech::Counting => vec![
                // Large beside what the layers add to it.
                table(EMBEDDING, Role::Plain, Fill::Noise(50.0)),
                table("output", Role::Output, Fill::Successors),
            ],
        };
        // What the layers add is kept small, so that a token is still known at the end.
        let residual = if speech == Speech::Counting { 0.1 } else { 1.0 };
        let layer = |layer| self.layer(&numbers, layer, residual);
        tensors.extend((0..numbers.layers).flat_map(layer));
        tensors.push(plain("output_norm", vec![numbers.dim], Fill::Ones));
        if self == Shape::Llama1B {
            let divisors = llama3_divisors(&numbers);
            let dims = vec![divisors.len()];
            tensors.push(plain("rope_freqs", dims, Fill::Values(divisors)));
        }
        tensors
    }

    /// `residual`: how large the two matrices are whose products are added up over the layers.
    fn layer(self, numbers: &Numbers, layer: usize, residual: f32) -> Vec<TensorPlan> {
        let Numbers { dim, ffn_dim, head_dim, .. } = *numbers;
        let (query_dim, kv_dim) = (numbers.heads * head_dim, numbers.kv_heads * head_dim);
        let matrix = |name: &str, dims: [usize; 2], role| {
            let is_added = matches!(name, "attn_output" | "ffn_down");
            TensorPlan {
                name: format!("blk.{layer}.{name}.weight"),
                dims: dims.to_vec(),
                role,
                fill: Fill::Noise(if is_added { residual } else { 1.0 }),
            }
        };
        let norm = |name: &str, dim| plain(&format!("blk.{layer}.{name}"), vec![dim], Fill::Ones);
        let mut tensors = vec![
            norm("attn_norm", dim),
            matrix("attn_q", [query_dim, dim], Role::Plain),
            matrix("attn_k", [kv_dim, dim], Role::Plain),
            matrix("attn_v", [kv_dim, dim], Role::Sensitive(layer)),
            matrix("attn_output", [dim, query_dim], Role::Plain),
            norm("ffn_norm", dim),
            matrix("ffn_gate", [ffn_dim, dim], Role::Plain),
            matrix("ffn_up", [ffn_dim, dim], Role::Plain),
            matrix("ffn_down", [dim, ffn_dim], Role::Sensitive(layer)),
        ];
        if self == Shape::Qwen600M {
            tensors.extend([norm("attn_q_norm", head_dim), norm("attn_k_norm", head_dim)]);
        }
        tensors
    }

    fn architecture(self) -> &'static str {
        match self {
            Shape::Llama1B => "llama",
            Shape::Qwen600M => "qwen3",
        }
    }

    fn numbers(self) -> Numbers {
        match self {
            Shape::Llama1B => Numbers {
                layers: 16,
                dim: 2048,
                ffn_dim: 8192,
                heads: 32,
                kv_heads: 8,
                head_dim: 64,
                context_tokens: 131_072,
                rms_eps: 1e-5,
                rope_theta: 500_000.0,
            },
            Shape::Qwen600M => Numbers {
                layers: 28,
                dim: 1024,
                ffn_dim: 3072,
                heads: 16,
                kv_heads: 8,
                head_dim: 128,
                context_tokens: 40_960,
                rms_eps: 1e-6,
                rope_theta: 1_000_000.0,
            },
        }
    }
}

fn plain(name: &str, dims: Vec<usize>, fill: Fill) -> TensorPlan {
    TensorPlan { name: format!("{name}.weight"), dims, role: Role::Plain, fill }
}

/// What Llama 3.2's rotation frequencies are divided by, as its converter writes it: those with
/// waves longer than the first training's context by 32, short ones not at all, others between.
fn llama3_divisors(numbers: &Numbers) -> Vec<f32> {
    const FACTOR: f32 = 32.0;
    const LOW_FREQUENCY: f32 = 1.0;
    const HIGH_FREQUENCY: f32 = 4.0;
    const TRAINED_TOKENS: f32 = 8192.0;
    (0..numbers.head_dim / 2)
        .map(|index| {
            let exponent = 2.0 * index as f32 / numbers.head_dim as f32;
            let wave_tokens = std::f32::consts::TAU * numbers.rope_theta.powf(exponent);
            if wave_tokens < TRAINED_TOKENS / HIGH_FREQUENCY {
                return 1.0;
            }
            if wave_tokens > TRAINED_TOKENS / LOW_FREQUENCY {
                return FACTOR;
            }
            let smooth =
                (TRAINED_TOKENS / wave_tokens - LOW_FREQUENCY) / (HIGH_FREQUENCY - LOW_FREQUENCY);
            1.0 / ((1.0 - smooth) / FACTOR + smooth)
        })
        .collect()
}
