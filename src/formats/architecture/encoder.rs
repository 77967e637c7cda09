//! What encoder models have beside other transformers, and the small files of a sentence-transformers
//! folder that say how their vectors are made.

mod config;
mod metadata;

use serde_json::{Map, Value};

use crate::architecture::{Architecture, ModelShape, Rope, RopeStyle};
use crate::error::{Error, Result, shown};

pub(super) use config::from_config;
pub(super) use metadata::from_metadata;

/// The parts of a [`ModelShape`] that only encoders have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderShape {
    /// Learned vectors of positions; `None` where queries and keys are rotated instead.
    pub positions: Option<PositionTable>,
    /// Rows of the table of token types: a single text is of type 0, the second of a pair of type
    /// 1 where there is one.
    pub token_types: usize,
    pub output: EncoderOutput,
}

/// A table of learned positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PositionTable {
    pub rows: usize,
    /// The row of a text's first token; those before it stand for padding.
    pub first: usize,
}

/// What an encoder makes of the vectors of a text's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderOutput {
    /// One vector; of length 1 where `is_normalized`.
    Vector { pooling: Pooling, is_normalized: bool },
    /// One number: how well a document answers a question, read as a pair.
    Score,
}

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their average.
    Mean,
    /// The first token's, which stands for the text.
    First,
}

/// The files of a folder that say how vectors are made; absent ones leave the defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct EncoderFiles {
    /// `modules.json`
    pub(crate) modules: Option<Value>,
    /// `1_Pooling/config.json`
    pub(crate) pooling: Option<Map<String, Value>>,
    /// `sentence_bert_config.json`
    pub(crate) sentences: Option<Map<String, Value>>,
}

impl EncoderShape {
    /// What all encoders have in common, to fill up a shape with.
    fn blank(architecture: Architecture, context_tokens: usize) -> ModelShape {
        ModelShape {
            architecture,
            layers: 0,
            dim: 0,
            ffn_dim: 0,
            heads: 0,
            kv_heads: 0,
            head_dim: 0,
            vocab: 0,
            context_tokens,
            rms_eps: 0.0,
            tied_embeddings: true,
            qkv_bias: architecture != Architecture::NomicBert,
            qk_norm: false,
            rope: Rope { dim: 0, theta: 1.0, style: RopeStyle::Halved, scaling: None },
            encoder: None,
        }
    }

    /// The whole shape: heads share the width and none shares keys.
    fn model(self, shape: ModelShape) -> Result<ModelShape> {
        let (dim, heads) = (shape.dim, shape.heads);
        if !dim.is_multiple_of(heads) {
            let problem = format!("{heads} heads cannot share a width of {dim}");
            return Err(Error::key("attention heads", problem));
        }
        let head_dim = dim / heads;
        let mut shape = ModelShape { kv_heads: heads, head_dim, encoder: Some(self), ..shape };
        if shape.architecture == Architecture::NomicBert {
            shape.rope.dim = head_dim;
        }
        shape.checked()
    }
}

impl EncoderFiles {
    /// Puts what the files say into the shape of an encoder.
    pub(crate) fn apply(&self, shape: &mut ModelShape) -> Result<()> {
        let Some(encoder) = &mut shape.encoder else { return Ok(()) };
        // What a score is made of stands in the model itself.
        if let EncoderOutput::Vector { pooling: mode, is_normalized } = &mut encoder.output {
            if let Some(modules) = &self.modules {
                *is_normalized = has_normalize(modules)?;
            }
            if let Some(config) = &self.pooling {
                *mode = pooling(config)?;
            }
        }
        let key = "max_seq_length";
        match self.sentences.as_ref().and_then(|config| config.get(key)) {
            None | Some(Value::Null) => {}
            Some(value) => {
                let most = shape.context_tokens as u64;
                // Rotated positions have no end of their own: folders may name a longer one than
                // the model was trained for.
                let is_bound = encoder.positions.is_some();
                let limit =
                    value.as_u64().filter(|&limit| limit > 0 && (limit <= most || !is_bound));
                let problem = || format!("must be a whole number from 1 to {most}");
                let limit = limit.ok_or_else(|| Error::key(key, problem()))?;
                // At most `context_tokens`, which is a usize.
                shape.context_tokens = limit.min(most) as usize;
            }
        }
        Ok(())
    }
}

/// Whether vectors are normalised; any other step that we do not have is refused.
fn has_normalize(modules: &Value) -> Result<bool> {
    let wrong = || Error::key("modules.json", "is not a list of modules with types");
    let mut found = false;
    for module in modules.as_array().ok_or_else(wrong)? {
        let kind = module.get("type").and_then(Value::as_str).ok_or_else(wrong)?;
        match kind.rsplit('.').next().unwrap_or(kind) {
            "Transformer" | "Pooling" => {}
            "Normalize" => found = true,
            other => {
                let problem = format!("the module `{}` is not supported", shown(other));
                return Err(Error::key("modules.json", problem));
            }
        }
    }
    Ok(found)
}

fn pooling(config: &Map<String, Value>) -> Result<Pooling> {
    let mut chosen = Vec::new();
    for (key, value) in config {
        if let (Some(mode), Value::Bool(true)) = (key.strip_prefix("pooling_mode_"), value) {
            chosen.push(mode);
        }
    }
    match chosen[..] {
        ["mean_tokens"] => Ok(Pooling::Mean),
        ["cls_token"] => Ok(Pooling::First),
        _ => {
            let modes = shown(&chosen.join(", "));
            let problem = format!("`{modes}` is not supported, only mean_tokens or cls_token");
            Err(Error::key("pooling_mode", problem))
        }
    }
}

#[cfg(test)]
mod tests;
