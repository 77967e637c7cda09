//! Makes smaller weights of floats: which tensor gets which kind, and the blocks themselves.
//!
//! The mixes are llama.cpp's (`llama_tensor_get_type`), so that a model has the size and the
//! quality that people know by a mix's name. The file around the blocks is the caller's matter.

use std::thread;

use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};
use hearth_formats::TensorKind;
use hearth_formats::gguf::{Header, TensorInfo};

use crate::error::{Error, Result};
use crate::weights::{block_kind, widen};

/// Which kinds a quantised model is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    Q4_0,
    Q4KSmall,
    Q4KMedium,
    Q8_0,
}

/// What the choice of kinds depends on besides the tensor.
struct Model {
    mix: Mix,
    layers: u64,
    experts: u64,
    /// The table of tokens is the output too.
    is_tied: bool,
}

/// Values that one thread quantises at a time, at the least.
const LEAST_PART: usize = 64 << 10;

/// The kind of each tensor of a model under this mix, in the order of its file.
pub fn mixed_kinds(header: &Header, mix: Mix) -> Result<Vec<TensorKind>> {
    let metadata = &header.metadata;
    let architecture = metadata.str("general.architecture")?.unwrap_or_default();
    let number = |name: &str| metadata.u64(&format!("{architecture}.{name}"));
    let model = Model {
        mix,
        layers: number("block_count")?.unwrap_or(0),
        experts: number("expert_count")?.unwrap_or(0),
        is_tied: !header.tensors.iter().any(|tensor| tensor.name == "output.weight"),
    };
    Ok(header.tensors.iter().map(|tensor| model.kind(tensor)).collect())
}

/// Whole rows of floats, in the bytes of their file, as rows of another kind. `row_values` is a
/// whole number of that kind's blocks.
pub fn convert_rows(
    rows: &[u8],
    from: TensorKind,
    to: TensorKind,
    row_values: usize,
) -> Result<Vec<u8>> {
    if block_kind(from).is_some() {
        return Err(Error::Unsupported(format!("weights of kind {} as floats", from.label())));
    }
    let values = widen(rows, from);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let part = values.len().div_ceil(cores).max(LEAST_PART).next_multiple_of(row_values.max(1));
    let parts = thread::scope(|scope| {
        let converting: Vec<_> = values
            .chunks(part.max(1))
            .map(|values| scope.spawn(move || convert(values, to)))
            .collect();
        let joined = converting.into_iter().map(|part| {
            part.join().map_err(|_| Error::LoadFailed("quantising panicked".to_owned()))?
        });
        joined.collect::<Result<Vec<Vec<u8>>>>()
    })?;
    Ok(parts.concat())
}

fn convert(values: &[f32], to: TensorKind) -> Result<Vec<u8>> {
    let halves = |half: fn(f32) -> [u8; 2]| values.iter().flat_map(|&value| half(value)).collect();
    match (block_kind(to), to) {
        (Some(kind), _) => {
            let tensor = Tensor::from_slice(values, values.len(), &Device::Cpu)?;
            Ok(QTensor::quantize(&tensor, kind)?.data()?.into_owned())
        }
        (None, TensorKind::F16) => Ok(halves(|value| half::f16::from_f32(value).to_le_bytes())),
        (None, TensorKind::BF16) => Ok(halves(|value| half::bf16::from_f32(value).to_le_bytes())),
        (None, _) => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
    }
}

impl Model {
    fn kind(&self, tensor: &TensorInfo) -> TensorKind {
        if tensor.shape.len() < 2 {
            // Norms and biases are small, and steps compute with them in this precision.
            return if block_kind(tensor.kind).is_none() { TensorKind::F32 } else { tensor.kind };
        }
        let name = tensor.name.as_str();
        let is_kept = !name.ends_with("weight")
            || ["ffn_gate_inp.weight", "position_embd.weight", "token_types.weight"]
                .iter()
                .any(|end| name.ends_with(end))
            || name.contains("_norm");
        if is_kept {
            return tensor.kind;
        }
        fitting(self.wanted(name), tensor.shape.last().copied().unwrap_or(0))
    }

    /// The kind if rows were always whole blocks.
    fn wanted(&self, name: &str) -> TensorKind {
        let is_output = match self.is_tied {
            true => name == "token_embd.weight",
            false => name == "output.weight",
        };
        let is = |part: &str| name.contains(part);
        match self.mix {
            Mix::Q8_0 => TensorKind::Q8_0,
            _ if is_output => TensorKind::Q6_K,
            _ if self.experts == 8 && (is("attn_v.") || is("attn_k.")) => TensorKind::Q8_0,
            Mix::Q4_0 => TensorKind::Q4_0,
            _ if self.experts == 8 && is("attn_output.") => TensorKind::Q5_K,
            Mix::Q4KMedium if is("attn_qkv.") => TensorKind::Q5_K,
            Mix::Q4KMedium if (is("attn_v.") || is("ffn_down")) && self.is_careful(name) => {
                TensorKind::Q6_K
            }
            Mix::Q4KSmall if is("attn_v.") && layer(name).is_some_and(|layer| layer < 4) => {
                TensorKind::Q5_K
            }
            Mix::Q4KSmall
                if is("ffn_down") && layer(name).is_some_and(|layer| layer < self.layers / 8) =>
            {
                TensorKind::Q5_K
            }
            _ => TensorKind::Q4_K,
        }
    }

    /// Whether this tensor's layer is among those that suffer most: the first and last eighth, and
    /// every third between.
    fn is_careful(&self, name: &str) -> bool {
        let (Some(layer), eighth) = (layer(name), self.layers / 8) else { return false };
        layer < eighth || layer >= 7 * self.layers / 8 || (layer - eighth) % 3 == 2
    }
}

/// The number in `blk.7.attn_v.weight`.
fn layer(name: &str) -> Option<u64> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

/// The kind that comes closest among those whose blocks fill a row of so many values.
fn fitting(kind: TensorKind, row_values: u64) -> TensorKind {
    let fits = |kind: TensorKind| row_values.is_multiple_of(kind.block_elements());
    let near = match kind {
        kind if fits(kind) => kind,
        TensorKind::Q4_K => TensorKind::Q5_0,
        TensorKind::Q5_K => TensorKind::Q5_1,
        TensorKind::Q6_K => TensorKind::Q8_0,
        _ => TensorKind::F16,
    };
    if fits(near) { near } else { TensorKind::F16 }
}

#[cfg(test)]
mod tests;
