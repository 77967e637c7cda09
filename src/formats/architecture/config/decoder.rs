//! What a `config.json` says about the parts in which families of decoders differ.

use serde_json::Value;

use super::{Keys, MISTRAL, class};
use crate::architecture::{Architecture, DecoderShape, Experts, Window, limits};
use crate::error::{Error, Result, shown};

/// Layers of qwen2 and qwen3 before the first with a window, where none is named.
const QWEN_FULL_LAYERS: u64 = 28;

impl Keys<'_> {
    /// Says no to settings whose effect we would otherwise leave out silently.
    pub(super) fn refuse_variants(&self, architecture: Architecture) -> Result<()> {
        for key in ["attention_bias", "mlp_bias", "use_bidirectional_attention"] {
            if self.flag(key)?.unwrap_or(false) {
                return Err(Error::key(key, "is not supported"));
            }
        }
        let (key, supported) = match architecture.is_gemma() {
            true => ("hidden_activation", "gelu_pytorch_tanh"),
            false => ("hidden_act", "silu"),
        };
        if let Some(other) = self.text(key)?.filter(|found| *found != supported) {
            let problem = format!("`{}` is not supported, only {supported}", shown(other));
            return Err(Error::key(key, problem));
        }
        if self.object.contains_key("quantization_config") {
            let problem = "quantised safetensors are not supported; use a GGUF file";
            return Err(Error::key("quantization_config", problem));
        }
        Ok(())
    }

    pub(super) fn decoder(
        &self,
        architecture: Architecture,
        layers: usize,
        head_dim: usize,
    ) -> Result<DecoderShape> {
        let scalar = match architecture.is_gemma() {
            true => self.real("query_pre_attn_scalar", limits::ATTENTION_SCALAR, Some(256.0))?,
            false => head_dim as f32,
        };
        let caps = ["attn_logit_softcapping", "final_logit_softcapping"];
        let [attention_softcap, logit_softcap] = match architecture {
            Architecture::Gemma2 => [
                self.nullable(caps[0], limits::SOFTCAP, 50.0)?,
                self.nullable(caps[1], limits::SOFTCAP, 30.0)?,
            ],
            Architecture::Gemma3 => {
                [self.optional(caps[0], limits::SOFTCAP)?, self.optional(caps[1], limits::SOFTCAP)?]
            }
            _ => [None, None],
        };
        Ok(DecoderShape {
            qk_norm: matches!(
                architecture,
                Architecture::Qwen3 | Architecture::Qwen3Moe | Architecture::Gemma3
            ),
            attention_scale: 1.0 / scalar.sqrt(),
            attention_softcap,
            logit_softcap,
            window: self.window(architecture, layers, head_dim)?,
            experts: match architecture {
                Architecture::Qwen3Moe => Some(self.experts()?),
                _ => None,
            },
        })
    }

    fn experts(&self) -> Result<Experts> {
        if self.number("decoder_sparse_step")?.is_some_and(|step| step != 1) {
            return Err(Error::key("decoder_sparse_step", "must be 1"));
        }
        let plain = self.typed("mlp_only_layers", "a list", Value::as_array)?;
        if plain.is_some_and(|layers| !layers.is_empty()) {
            return Err(Error::key("mlp_only_layers", "layers without experts are not supported"));
        }
        Ok(Experts {
            count: self.count_or("num_experts", limits::EXPERTS, 128)?,
            used: self.count_or("num_experts_per_tok", limits::EXPERTS, 8)?,
            is_normalized: self.flag("norm_topk_prob")?.unwrap_or(false),
        })
    }

    fn window(
        &self,
        architecture: Architecture,
        layers: usize,
        head_dim: usize,
    ) -> Result<Option<Window>> {
        let mut tokens = self.number("sliding_window")?;
        let is_absent = !self.object.contains_key("sliding_window");
        match architecture {
            Architecture::Qwen2 | Architecture::Qwen3 | Architecture::Qwen3Moe => {
                // Qwen writes a window and switches it off beside it.
                if !self.flag("use_sliding_window")?.unwrap_or(false) {
                    return Ok(None);
                }
                tokens = if is_absent { Some(4096) } else { tokens };
                if architecture == Architecture::Qwen3Moe {
                    return Window::new(tokens, layers, |_| true);
                }
                let full = self.number("max_window_layers")?.unwrap_or(QWEN_FULL_LAYERS);
                let kinds = self.layer_kinds(layers, |layer| layer as u64 >= full)?;
                Window::new(tokens, layers, |layer| kinds[layer])
            }
            Architecture::Gemma2 | Architecture::Gemma3 => {
                tokens = if is_absent { Some(4096) } else { tokens };
                let period = match architecture {
                    Architecture::Gemma2 => 2,
                    _ => self.count_or("sliding_window_pattern", limits::LAYERS, 6)?,
                };
                let kinds =
                    self.layer_kinds(layers, |layer| !(layer + 1).is_multiple_of(period))?;
                let window = Window::new(tokens, layers, |layer| kinds[layer])?;
                match (architecture, window) {
                    (Architecture::Gemma3, Some(window)) => {
                        Ok(Some(Window { rope: Some(self.local_rope(head_dim)?), ..window }))
                    }
                    (_, window) => Ok(window),
                }
            }
            _ => {
                let is_mistral = class(self.object) == Some(MISTRAL);
                let tokens = if is_mistral && is_absent { Some(4096) } else { tokens };
                Window::new(tokens, layers, |_| true)
            }
        }
    }

    /// Whether each layer looks through the window: as the file says, else as `default` does.
    fn layer_kinds(&self, layers: usize, default: impl Fn(usize) -> bool) -> Result<Vec<bool>> {
        let key = "layer_types";
        let Some(kinds) = self.typed(key, "a list", Value::as_array)? else {
            return Ok((0..layers).map(default).collect());
        };
        if kinds.len() != layers {
            return Err(Error::key(key, format!("has {} for {layers} layers", kinds.len())));
        }
        let kind = |kind: &Value| match kind.as_str() {
            Some("sliding_attention") => Ok(true),
            Some("full_attention") => Ok(false),
            _ => Err(Error::key(key, "knows sliding_attention and full_attention only")),
        };
        kinds.iter().map(kind).collect()
    }
}
