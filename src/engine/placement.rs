//! Decides on which device a model runs and how large its KV cache is. Numbers only.

use hearth_formats::{ModelFile, TensorLocation, TokenizerSource};

use crate::config::{DevicePreference, EngineConfig};
use crate::error::{Error, Result};
use crate::fit::Dimensions;
use crate::kv;
use crate::machine::Facts;
use crate::weights;

/// Contexts shorter than this (or the model's own) are not worth loading a model for.
const LEAST_CONTEXT_TOKENS: u64 = 2048;

/// A place for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
    Metal,
}

/// The kinds of device that this binary was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backends {
    pub(crate) cuda: bool,
    pub(crate) metal: bool,
}

/// What a model needs, before it is known how much it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) on_host: Footprint,
    pub(crate) on_gpu: Footprint,
    /// The longest context that the model and the settings allow.
    pub(crate) context_tokens: u64,
}

/// What depends on the kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) weights_bytes: u64,
    /// Activations of a full step, logits, what is read at once, and on the host the vocabulary.
    pub(crate) workspace_bytes: u64,
    /// Keys and values of one token.
    pub(crate) kv_token_bytes: u64,
}

/// What a model gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) device: DeviceChoice,
    pub(crate) pages: usize,
    pub(crate) context_tokens: u32,
    /// Weights, workspace and all pages.
    pub(crate) memory_bytes: u64,
}

impl Backends {
    /// What this binary has.
    pub(crate) fn compiled() -> Backends {
        Backends { cuda: cfg!(feature = "cuda"), metal: cfg!(feature = "metal") }
    }
}

/// What a model's tensors and tokenizer take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) host_bytes: u64,
    pub(crate) gpu_bytes: u64,
    /// The largest tensor.
    pub(crate) largest_bytes: u64,
    /// What reading takes beside the weights, at the most.
    pub(crate) host_reading_bytes: u64,
    pub(crate) vocabulary_bytes: u64,
    pub(crate) host_token_bytes: u64,
    pub(crate) gpu_token_bytes: u64,
}

impl Need {
    /// Reckons from a checked file's tensors.
    pub(crate) fn of(model: &ModelFile, config: &EngineConfig) -> Need {
        let sum = |bytes: fn(&TensorLocation) -> u64| model.tensors.values().map(bytes).sum();
        let most = |bytes: fn(&TensorLocation) -> u64| model.tensors.values().map(bytes).max();
        let (host_token_bytes, gpu_token_bytes) = kv::token_bytes(model, config);
        let parts = Parts {
            host_bytes: sum(weights::host_bytes),
            gpu_bytes: sum(weights::gpu_bytes),
            largest_bytes: most(|tensor| tensor.bytes).unwrap_or(0),
            host_reading_bytes: most(weights::host_reading_bytes).unwrap_or(0),
            vocabulary_bytes: vocabulary_bytes(model),
            host_token_bytes,
            gpu_token_bytes,
        };
        Need::reckon(&Dimensions::of(&model.shape), &parts, config)
    }

    /// The same of a model whose file need not be there.
    pub(crate) fn reckon(shape: &Dimensions, parts: &Parts, config: &EngineConfig) -> Need {
        let own_context = shape.context_tokens as u64;
        let context_tokens = match u64::from(config.context_tokens) {
            0 => own_context,
            limit => limit.min(own_context),
        };
        if shape.is_encoder {
            return Need::of_encoder(shape, parts, context_tokens, config);
        }
        // Live at once, per row: residual, normed and attended rows, projections, gate, up, both.
        let mut row =
            4 * shape.dim + 3 * shape.query_dim() + 3 * shape.kv_dim() + 4 * shape.ffn_dim;
        // Rows of one expert are gathered, and what all of a row's experts answered is kept.
        if let Some((count, used)) = shape.experts {
            row += (1 + used) * shape.dim + 2 * count;
        }
        let rows = 4 * (config.budget_tokens * row) as u64;
        let logits = 3 * 4 * (config.max_sequences * shape.vocab) as u64;
        Need {
            on_host: Footprint {
                weights_bytes: parts.host_bytes,
                workspace_bytes: rows + logits + parts.host_reading_bytes + parts.vocabulary_bytes,
                kv_token_bytes: parts.host_token_bytes,
            },
            on_gpu: Footprint {
                weights_bytes: parts.gpu_bytes,
                // Twice: a product is computed by output and then turned.
                workspace_bytes: 2 * rows + logits + parts.largest_bytes,
                kv_token_bytes: parts.gpu_token_bytes,
            },
            context_tokens,
        }
    }
}

impl Need {
    /// An encoder keeps nothing between batches.
    fn of_encoder(
        shape: &Dimensions,
        parts: &Parts,
        context_tokens: u64,
        config: &EngineConfig,
    ) -> Need {
        let rows = context_tokens.max(config.budget_tokens as u64);
        // Live at once, per row: residual, projections, attended rows, sums; both sides of GELU.
        let row = (8 * shape.dim + 3 * shape.ffn_dim) as u64;
        // Our kernel packs keys and values of a head anew, on each of its threads.
        let packed = 2 * context_tokens * (shape.heads * shape.head_dim) as u64;
        // candle has all scores of a text at once: as they are, scaled, and their softmax.
        let scores = 3 * shape.heads as u64 * context_tokens * context_tokens;
        let workspace = |attention| 2 * 4 * rows * row + 4 * attention + parts.largest_bytes;
        let footprint = |weights_bytes, workspace_bytes| Footprint {
            weights_bytes,
            workspace_bytes,
            kv_token_bytes: 0,
        };
        Need {
            on_host: footprint(parts.host_bytes, workspace(packed)),
            on_gpu: footprint(parts.gpu_bytes, workspace(scores)),
            context_tokens,
        }
    }

    /// What a model needs together with one that guesses for it, each with as many pages.
    pub(crate) fn with_draft(self, draft: &Need) -> Need {
        let both = |one: Footprint, other: Footprint| Footprint {
            weights_bytes: one.weights_bytes + other.weights_bytes,
            workspace_bytes: one.workspace_bytes + other.workspace_bytes,
            kv_token_bytes: one.kv_token_bytes + other.kv_token_bytes,
        };
        Need {
            on_host: both(self.on_host, draft.on_host),
            on_gpu: both(self.on_gpu, draft.on_gpu),
            // A sequence is as long as both can bear.
            context_tokens: self.context_tokens.min(draft.context_tokens),
        }
    }

    pub(crate) fn on(&self, device: DeviceChoice) -> Footprint {
        match device {
            DeviceChoice::Cpu => self.on_host,
            DeviceChoice::Cuda(_) | DeviceChoice::Metal => self.on_gpu,
        }
    }
}

/// A token of the tokenizer, and a merge.
pub(crate) const TOKEN_BYTES: u64 = 160;
pub(crate) const MERGE_BYTES: u64 = 230;

/// What the tokenizer takes, as measured with the vocabularies of llama-3 and qwen2: 80 and 56 MiB
/// with 280 and 151 thousand merges.
fn vocabulary_bytes(model: &ModelFile) -> u64 {
    match &model.tokenizer {
        TokenizerSource::Gguf(metadata) => {
            let merges = metadata.strings("tokenizer.ggml.merges").ok().flatten();
            let merges = merges.map_or(0, <[String]>::len) as u64;
            model.shape.vocab as u64 * TOKEN_BYTES + merges * MERGE_BYTES
        }
        // Each token and merge is a line of some 20 bytes there.
        TokenizerSource::HuggingFace(texts) => texts.tokenizer.len() as u64 * 8,
    }
}

/// Chooses a device with room: the GPU with the most free memory that has it, else the CPU.
pub(crate) fn place(
    need: &Need,
    facts: &Facts,
    config: &EngineConfig,
    backends: Backends,
) -> Result<Placement> {
    let options = options(facts, config, backends);
    let fitting = options.iter().find_map(|&(device, free)| {
        fit(need, device, usable_bytes(free, config), config).map(|fit| (device, fit))
    });
    let Some((device, pages)) = fitting else {
        let (device, free) = freest(facts, config, backends);
        let need_bytes = least_bytes(need, device, config);
        return Err(Error::TooBig { need_bytes, free_bytes: usable_bytes(free, config) });
    };
    let tokens = pages * config.page_tokens as u64;
    Ok(Placement {
        device,
        // A model that keeps no keys and values has none.
        pages: if need.on(device).kv_token_bytes == 0 { 0 } else { pages as usize },
        // Bounded by formats far below u32.
        context_tokens: need.context_tokens.min(tokens) as u32,
        memory_bytes: need.on(device).weights_bytes
            + need.on(device).workspace_bytes
            + tokens * need.on(device).kv_token_bytes,
    })
}

/// Where a model may run and what is free there, in the order in which it is tried.
fn options(facts: &Facts, config: &EngineConfig, backends: Backends) -> Vec<(DeviceChoice, u64)> {
    let mut options: Vec<(DeviceChoice, u64)> = Vec::new();
    if config.device != DevicePreference::Cpu {
        if backends.cuda {
            let gpus = facts.gpus.iter();
            options.extend(gpus.map(|gpu| (DeviceChoice::Cuda(gpu.index), gpu.memory_free_bytes)));
            options.sort_by_key(|&(_, free)| std::cmp::Reverse(free));
        }
        if backends.metal {
            // The GPU of such a machine works in the same memory as its CPU.
            options.push((DeviceChoice::Metal, facts.memory_free_bytes));
        }
    }
    if config.device != DevicePreference::Gpu {
        options.push((DeviceChoice::Cpu, facts.memory_free_bytes));
    }
    options
}

/// Where most memory is free.
pub(crate) fn freest(
    facts: &Facts,
    config: &EngineConfig,
    backends: Backends,
) -> (DeviceChoice, u64) {
    let options = options(facts, config, backends);
    options.into_iter().max_by_key(|&(_, free)| free).unwrap_or((DeviceChoice::Cpu, 0))
}

/// What models may take of so much free memory.
pub(crate) fn usable_bytes(free: u64, config: &EngineConfig) -> u64 {
    (free as f64 * config.memory_share) as u64
}

/// The pages a model gets in this much memory; `None` if it cannot even hold a short context.
fn fit(need: &Need, device: DeviceChoice, usable_bytes: u64, config: &EngineConfig) -> Option<u64> {
    let page_bytes = page_bytes(need, device, config);
    let fixed = need.on(device).weights_bytes + need.on(device).workspace_bytes;
    let room = usable_bytes.checked_sub(fixed)?;
    let useful = pages_for(need.context_tokens, config).saturating_mul(config.max_sequences as u64);
    let least = least_pages(need, config);
    // The setting is a wish; the least context is a must.
    let allowed = config.kv_cache_bytes.checked_div(page_bytes).unwrap_or(u64::MAX).max(least);
    let pages = useful
        .min(allowed)
        .min(room.checked_div(page_bytes).unwrap_or(u64::MAX))
        .min(u64::from(u32::MAX));
    (pages >= least).then_some(pages)
}

fn least_pages(need: &Need, config: &EngineConfig) -> u64 {
    pages_for(need.context_tokens.min(LEAST_CONTEXT_TOKENS), config)
}

fn least_bytes(need: &Need, device: DeviceChoice, config: &EngineConfig) -> u64 {
    let pages = least_pages(need, config) * page_bytes(need, device, config);
    need.on(device).weights_bytes + need.on(device).workspace_bytes + pages
}

fn page_bytes(need: &Need, device: DeviceChoice, config: &EngineConfig) -> u64 {
    need.on(device).kv_token_bytes * config.page_tokens as u64
}

fn pages_for(tokens: u64, config: &EngineConfig) -> u64 {
    tokens.div_ceil(config.page_tokens as u64).max(1)
}

#[cfg(test)]
mod tests;
