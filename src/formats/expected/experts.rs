//! Experts under one form: a matrix each, though GGUF files stack those of a layer in one tensor.

use std::collections::HashMap;

use crate::architecture::ModelShape;
use crate::error::{Error, Result};
use crate::expected::{ExpertPart, Naming};
use crate::model_file::TensorLocation;

/// The name of one expert's matrix.
pub(super) fn file_name(naming: Naming, layer: usize, expert: usize, part: ExpertPart) -> String {
    match naming {
        Naming::Gguf => format!("{}[{expert}]", stack_name(layer, part)),
        _ => {
            let part = match part {
                ExpertPart::Gate => "gate_proj",
                ExpertPart::Up => "up_proj",
                ExpertPart::Down => "down_proj",
            };
            format!("model.layers.{layer}.mlp.experts.{expert}.{part}.weight")
        }
    }
}

fn stack_name(layer: usize, part: ExpertPart) -> String {
    let part = match part {
        ExpertPart::Gate => "gate",
        ExpertPart::Up => "up",
        ExpertPart::Down => "down",
    };
    format!("blk.{layer}.ffn_{part}_exps.weight")
}

/// Replaces each stack of a GGUF file, `[experts, out, in]`, by its matrices.
pub(crate) fn unstack(
    shape: &ModelShape,
    found: &mut HashMap<String, TensorLocation>,
) -> Result<()> {
    let Some(experts) = shape.decoder.experts else { return Ok(()) };
    let (count, dim, ffn) = (experts.count as u64, shape.dim as u64, shape.ffn_dim as u64);
    for layer in 0..shape.layers {
        for part in [ExpertPart::Gate, ExpertPart::Up, ExpertPart::Down] {
            let name = stack_name(layer, part);
            let wanted = match part {
                ExpertPart::Gate | ExpertPart::Up => [count, ffn, dim],
                ExpertPart::Down => [count, dim, ffn],
            };
            let Some(stack) = found.remove(&name) else {
                let problem = format!("is missing; shape {wanted:?} expected");
                return Err(Error::tensor(&name, problem));
            };
            if stack.shape != wanted {
                let problem = format!("shape {wanted:?} expected, {:?} found", stack.shape);
                return Err(Error::tensor(&name, problem));
            }
            // Rows are whole blocks, so all matrices take the same bytes.
            let bytes = stack.bytes / count;
            for expert in 0..count {
                let offset = stack.offset + expert * bytes;
                let shape = wanted[1..].to_vec();
                let matrix = TensorLocation { offset, bytes, shape, ..stack.clone() };
                let name = file_name(Naming::Gguf, layer, expert as usize, part);
                if found.insert(name, matrix).is_some() {
                    return Err(Error::tensor(&stack_name(layer, part), "appears twice"));
                }
            }
        }
    }
    Ok(())
}
