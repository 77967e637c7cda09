//! Takes matrices apart that files write as one: query, key and value of a layer, one below the
//! other.

use std::collections::HashMap;

use crate::architecture::ModelShape;
use crate::error::{Error, Result};
use crate::expected::{LayerPart, Naming, TensorRole};
use crate::model_file::TensorLocation;

const WEIGHTS: [LayerPart; 3] = [LayerPart::Query, LayerPart::Key, LayerPart::Value];
const BIASES: [LayerPart; 3] = [LayerPart::QueryBias, LayerPart::KeyBias, LayerPart::ValueBias];

/// Puts the three parts of each fused tensor where the one was.
pub(super) fn split(
    shape: &ModelShape,
    naming: Naming,
    found: &mut HashMap<String, TensorLocation>,
) -> Result<()> {
    let rows = [shape.query_dim(), shape.kv_dim(), shape.kv_dim()].map(|rows| rows as u64);
    for layer in 0..shape.layers {
        for (fused, parts) in [("weight", WEIGHTS), ("bias", BIASES)] {
            let fused = match naming {
                Naming::Gguf => format!("blk.{layer}.attn_qkv.{fused}"),
                _ => format!("layers.{layer}.self_attn.qkv_proj.{fused}"),
            };
            let Some(location) = found.remove(&fused) else { continue };
            let pieces = pieces(&location, rows).ok_or_else(|| {
                let problem = format!("{rows:?} rows expected, shape {:?} found", location.shape);
                Error::tensor(&fused, problem)
            })?;
            for (part, piece) in parts.into_iter().zip(pieces) {
                let Some(name) = (TensorRole::Layer { layer, part }).file_name(naming) else {
                    continue;
                };
                if found.insert(name.clone(), piece).is_some() {
                    return Err(Error::tensor(&name, "is there alone and fused with others"));
                }
            }
        }
    }
    Ok(())
}

/// The first rows, those after them, and so on; `None` where the rows are not those of the tensor.
fn pieces(location: &TensorLocation, rows: [u64; 3]) -> Option<[TensorLocation; 3]> {
    let (&all, inner) = location.shape.split_first()?;
    if all != rows.iter().sum::<u64>() || !location.bytes.is_multiple_of(all) {
        return None;
    }
    let row_bytes = location.bytes / all;
    let mut offset = location.offset;
    Some(rows.map(|rows| {
        let bytes = rows * row_bytes;
        let shape = [&[rows], inner].concat();
        let piece = TensorLocation { offset, bytes, shape, ..location.clone() };
        offset += bytes;
        piece
    }))
}
