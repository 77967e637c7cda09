//! Whether a model that is not here yet would run here: the same sums and the same placement as
//! for one that is, from the numbers that its card gives.

use hearth_formats::ModelShape;
use hearth_kernels::KvNumber;

use crate::config::{EngineConfig, KvType};
use crate::error::Error;
use crate::kv;
use crate::machine::Facts;
use crate::placement::{
    Backends, DeviceChoice, MERGE_BYTES, Need, Parts, TOKEN_BYTES, freest, place, usable_bytes,
};
use crate::weights;

/// The sizes of a model that its memory depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimensions {
    pub layers: usize,
    /// Width of the residual stream.
    pub dim: usize,
    /// Width of the feed-forward part's inner layer; of one expert's where there are experts.
    pub ffn_dim: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
    /// Positions the model was trained for.
    pub context_tokens: usize,
    /// How many there are, and how many a token is sent to.
    pub experts: Option<(usize, usize)>,
    /// Whether it makes vectors and writes no text.
    pub is_encoder: bool,
}

/// What is known of a model before its file is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    pub dimensions: Dimensions,
    pub parameters: u64,
    pub file_bytes: u64,
    /// Whether its weights are half floats, which a GPU keeps as whole ones.
    pub is_half: bool,
}

/// How a model would fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    pub verdict: Verdict,
    /// Where it would run; for one that is too large, where most memory is free.
    pub device: DeviceChoice,
    /// Weights, workspace and the keys and values of one text: as long as the model and the
    /// settings allow if that fits, else as long as fits, or the shortest that is worth it.
    pub need_bytes: u64,
    /// What models may take on that device.
    pub free_bytes: u64,
    /// The longest text; 0 if the model is too large.
    pub context_tokens: u32,
}

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With as long a context as it would get on an empty machine.
    Fits,
    /// With a shorter one.
    FitsShorter,
    TooLarge,
}

impl Dimensions {
    /// Those of a checked file.
    pub fn of(shape: &ModelShape) -> Dimensions {
        Dimensions {
            layers: shape.layers,
            dim: shape.dim,
            ffn_dim: shape.ffn_dim,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_dim: shape.head_dim,
            vocab: shape.vocab,
            context_tokens: shape.context_tokens,
            experts: shape.decoder.experts.map(|experts| (experts.count, experts.used)),
            is_encoder: shape.encoder.is_some(),
        }
    }

    pub(crate) fn query_dim(&self) -> usize {
        self.heads * self.head_dim
    }

    pub(crate) fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Numbers in the largest matrix: the vocabulary's, or all experts' of a layer.
    fn largest(&self) -> u64 {
        let experts = self.experts.map_or(1, |(count, _)| count);
        (self.dim * self.vocab.max(experts * self.ffn_dim)) as u64
    }
}

impl Outline {
    pub(crate) fn need(&self, config: &EngineConfig) -> Need {
        let shape = &self.dimensions;
        let bytes_of = |numbers: u64| {
            let bytes = u128::from(self.file_bytes) * u128::from(numbers)
                / u128::from(self.parameters.max(1));
            u64::try_from(bytes).unwrap_or(self.file_bytes).min(self.file_bytes)
        };
        let largest_bytes = bytes_of(shape.largest());
        let row_bytes = bytes_of(shape.dim.max(shape.ffn_dim) as u64);
        // Cards tell of no model in whole floats.
        let number = match config.kv_type {
            KvType::Auto | KvType::F16 => KvNumber::F16,
            KvType::F32 => KvNumber::F32,
            KvType::Q8_0 => KvNumber::Q8,
        };
        let (host_token_bytes, gpu_token_bytes) = kv::token_bytes_of(shape, number, config);
        let parts = Parts {
            host_bytes: self.file_bytes,
            gpu_bytes: if self.is_half { 4 * self.parameters } else { self.file_bytes },
            largest_bytes,
            host_reading_bytes: weights::host_pieces_bytes(row_bytes),
            // As many merges as tokens, as qwen2 has.
            vocabulary_bytes: shape.vocab as u64 * (TOKEN_BYTES + MERGE_BYTES),
            host_token_bytes,
            gpu_token_bytes,
        };
        Need::reckon(shape, &parts, config)
    }

    /// Where and how the model would run on a machine that has this free.
    pub(crate) fn fit(&self, facts: &Facts, config: &EngineConfig, backends: Backends) -> Fit {
        let need = self.need(config);
        let bytes_on = |device, tokens: u64| {
            let footprint = need.on(device);
            footprint.weights_bytes + footprint.workspace_bytes + tokens * footprint.kv_token_bytes
        };
        match place(&need, facts, config, backends) {
            Ok(placement) => {
                let device = placement.device;
                let boundless = boundless(facts);
                let most = place(&need, &boundless, config, backends)
                    .map_or(placement.context_tokens, |most| most.context_tokens);
                let context_tokens = match need.on(device).kv_token_bytes {
                    0 => u32::try_from(need.context_tokens).unwrap_or(u32::MAX),
                    _ => placement.context_tokens,
                };
                let is_whole = need.on(device).kv_token_bytes == 0 || context_tokens >= most;
                Fit {
                    verdict: if is_whole { Verdict::Fits } else { Verdict::FitsShorter },
                    device,
                    need_bytes: bytes_on(device, u64::from(context_tokens)),
                    free_bytes: usable_bytes(facts.free_on(device), config),
                    context_tokens,
                }
            }
            Err(error) => {
                let (device, free) = freest(facts, config, backends);
                let free_bytes = usable_bytes(free, config);
                let need_bytes = match error {
                    Error::TooBig { need_bytes, .. } => need_bytes,
                    _ => bytes_on(device, need.context_tokens),
                };
                let verdict = Verdict::TooLarge;
                Fit { verdict, device, need_bytes, free_bytes, context_tokens: 0 }
            }
        }
    }
}

/// The same machine with more memory than any model needs.
fn boundless(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    // Far from where sums of it would overflow.
    facts.memory_free_bytes = 1 << 50;
    for gpu in &mut facts.gpus {
        gpu.memory_free_bytes = 1 << 50;
    }
    facts
}
