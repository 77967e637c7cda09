//! What encoder models have beside other transformers, and the small files of a sentence-transformers
//! folder that say how their vectors are made.

use serde_json::{Map, Value};

use crate::architecture::{Architecture, DecoderShape, ModelShape, Rope, RopeStyle};
use crate::error::{Error, Result, shown};

/// The parts of a [`ModelShape`] that only encoders have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderShape {
    /// Rows of the table of positions; texts may be limited to fewer.
    pub positions: usize,
    /// Rows of the table of token types; a single text is of type 0.
    pub token_types: usize,
    pub pooling: Pooling,
    /// Vectors are scaled to length 1.
    pub is_normalized: bool,
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
    pub(super) fn blank(positions: usize) -> ModelShape {
        ModelShape {
            architecture: Architecture::Bert,
            layers: 0,
            dim: 0,
            ffn_dim: 0,
            heads: 0,
            kv_heads: 0,
            head_dim: 0,
            vocab: 0,
            context_tokens: positions,
            rms_eps: 0.0,
            tied_embeddings: true,
            qkv_bias: true,
            rope: Rope { dim: 0, theta: 1.0, style: RopeStyle::Halved, scaling: None },
            decoder: DecoderShape::default(),
            encoder: None,
        }
    }

    /// The whole shape: heads share the width and none shares keys.
    pub(super) fn model(self, shape: ModelShape) -> Result<ModelShape> {
        let (dim, heads) = (shape.dim, shape.heads);
        if !dim.is_multiple_of(heads) {
            let problem = format!("{heads} heads cannot share a width of {dim}");
            return Err(Error::key("attention heads", problem));
        }
        ModelShape { kv_heads: heads, head_dim: dim / heads, encoder: Some(self), ..shape }
            .checked()
    }
}

impl EncoderFiles {
    /// Puts what the files say into the shape of an encoder.
    pub(crate) fn apply(&self, shape: &mut ModelShape) -> Result<()> {
        let Some(encoder) = &mut shape.encoder else { return Ok(()) };
        if let Some(modules) = &self.modules {
            encoder.is_normalized = has_normalize(modules)?;
        }
        if let Some(config) = &self.pooling {
            encoder.pooling = pooling(config)?;
        }
        let key = "max_seq_length";
        match self.sentences.as_ref().and_then(|config| config.get(key)) {
            None | Some(Value::Null) => {}
            Some(value) => {
                let most = encoder.positions as u64;
                let limit = value.as_u64().filter(|limit| (1..=most).contains(limit));
                let problem = || format!("must be a whole number from 1 to {most}");
                let limit = limit.ok_or_else(|| Error::key(key, problem()))?;
                // At most `positions`, which is a usize.
                shape.context_tokens = limit as usize;
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
mod tests {
    use serde_json::json;

    use super::*;
    use crate::architecture::from_config;

    fn config() -> Map<String, Value> {
        let config = json!({
            "architectures": ["BertModel"], "hidden_size": 48, "intermediate_size": 96,
            "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100,
            "max_position_embeddings": 64, "hidden_act": "gelu", "type_vocab_size": 2
        });
        config.as_object().unwrap().clone()
    }

    fn apply(files: EncoderFiles) -> Result<ModelShape> {
        let mut shape = from_config(&config())?;
        files.apply(&mut shape)?;
        Ok(shape)
    }

    fn object(value: &Value) -> Option<Map<String, Value>> {
        value.as_object().cloned()
    }

    #[test]
    fn a_bare_encoder_is_averaged_and_normalised() {
        let shape = apply(EncoderFiles::default()).unwrap();
        assert_eq!((shape.head_dim, shape.kv_heads, shape.context_tokens), (12, 4, 64));
        let encoder = shape.encoder.unwrap();
        assert_eq!((encoder.positions, encoder.pooling), (64, Pooling::Mean));
        assert!(encoder.is_normalized);
    }

    #[test]
    fn files_say_pooling_norm_and_limit() {
        let shape = apply(EncoderFiles {
            modules: Some(json!([{ "type": "a.Transformer" }, { "type": "a.Pooling" }])),
            pooling: object(&json!({
                "word_embedding_dimension": 48, "pooling_mode_cls_token": true,
                "pooling_mode_mean_tokens": false
            })),
            sentences: object(&json!({ "max_seq_length": 32, "do_lower_case": false })),
        })
        .unwrap();
        let encoder = shape.encoder.unwrap();
        assert_eq!((encoder.pooling, encoder.is_normalized), (Pooling::First, false));
        assert_eq!((shape.context_tokens, encoder.positions), (32, 64));
    }

    #[test]
    fn what_would_change_the_vectors_is_refused_by_name() {
        let refused = |files: EncoderFiles, words: &str| {
            let problem = apply(files).expect_err("accepted").to_string();
            assert!(problem.contains(words), "`{words}` is not in `{problem}`");
        };
        let modules = Some(json!([{ "type": "sentence_transformers.models.Dense" }]));
        refused(EncoderFiles { modules, ..EncoderFiles::default() }, "`Dense`");
        let pooling = object(&json!({ "pooling_mode_max_tokens": true }));
        refused(EncoderFiles { pooling, ..EncoderFiles::default() }, "max_tokens");
        let sentences = object(&json!({ "max_seq_length": 65 }));
        refused(EncoderFiles { sentences, ..EncoderFiles::default() }, "1 to 64");
        for (key, value, words) in [
            ("hidden_act", json!("gelu_new"), "gelu_new"),
            ("position_embedding_type", json!("relative_key"), "relative_key"),
            ("is_decoder", json!(true), "is_decoder"),
            ("num_attention_heads", json!(5), "5 heads"),
        ] {
            let mut config = config();
            config.insert(key.into(), value);
            let problem = from_config(&config).expect_err("accepted").to_string();
            assert!(problem.contains(words), "`{words}` is not in `{problem}`");
        }
    }
}
