//! What GGUF metadata says about the parts in which families of decoders differ.

use super::Keys;
use crate::architecture::{Architecture, DecoderShape, Experts, Rope, RopeStyle, Window, limits};
use crate::error::{Error, Result};
use crate::gguf::{Array, FixedKind, Value};

/// Layers of the largest models of Gemma 2 and 3, whose attention is scaled by another width.
/// No key says so; who computes with such files knows them by their layers, as llama.cpp does.
const LARGEST_GEMMAS: [(Architecture, usize); 2] =
    [(Architecture::Gemma2, 46), (Architecture::Gemma3, 62)];

impl Keys<'_> {
    /// `widths`: of the residual stream by heads, of a head.
    pub(super) fn decoder(
        &self,
        architecture: Architecture,
        layers: usize,
        (share_dim, head_dim): (usize, usize),
    ) -> Result<DecoderShape> {
        let scaled_dim = match LARGEST_GEMMAS.contains(&(architecture, layers)) {
            true => share_dim,
            false => head_dim,
        };
        let (score_cap, logit_cap) = match architecture {
            Architecture::Gemma2 => (Some(50.0), Some(30.0)),
            _ => (None, None),
        };
        let cap = |key, default: Option<f32>| {
            Ok::<_, Error>(self.optional(key, limits::SOFTCAP)?.or(default))
        };
        Ok(DecoderShape {
            qk_norm: matches!(
                architecture,
                Architecture::Qwen3 | Architecture::Qwen3Moe | Architecture::Gemma3
            ),
            attention_scale: 1.0 / (scaled_dim as f32).sqrt(),
            attention_softcap: match architecture {
                Architecture::Gemma2 => cap("attn_logit_softcapping", score_cap)?,
                _ => None,
            },
            logit_softcap: match architecture.is_gemma() {
                true => cap("final_logit_softcapping", logit_cap)?,
                false => None,
            },
            window: self.window(architecture, layers, head_dim)?,
            experts: match architecture {
                Architecture::Qwen3Moe => Some(self.experts()?),
                _ => None,
            },
        })
    }

    fn experts(&self) -> Result<Experts> {
        Ok(Experts {
            count: self.count("expert_count", limits::EXPERTS)?,
            used: self.count("expert_used_count", limits::EXPERTS)?,
            is_normalized: true,
        })
    }

    fn window(
        &self,
        architecture: Architecture,
        layers: usize,
        head_dim: usize,
    ) -> Result<Option<Window>> {
        let found = self.metadata.u64(&self.full("attention.sliding_window"))?;
        let tokens = match architecture {
            Architecture::Gemma2 => found.or(Some(4096)),
            _ => found,
        };
        if !architecture.is_gemma() {
            return Window::new(tokens, layers, |_| true);
        }
        let period = if architecture == Architecture::Gemma2 { 2 } else { 6 };
        let pattern = self.pattern(layers, period)?;
        let Some(window) = Window::new(tokens, layers, |layer| pattern[layer])? else {
            return Ok(None);
        };
        let rope = match architecture {
            Architecture::Gemma3 => Some(Rope {
                dim: head_dim,
                theta: self.real("rope.freq_base_swa", limits::ROPE_THETA, Some(10_000.0))?,
                style: RopeStyle::Halved,
                scaling: None,
            }),
            _ => None,
        };
        Ok(Some(Window { rope, ..window }))
    }

    /// Which layers look through the window: all but each `period`th, or as the file says.
    fn pattern(&self, layers: usize, period: u64) -> Result<Vec<bool>> {
        let key = self.full("attention.sliding_window_pattern");
        if let Some(Value::Array(Array::Fixed { kind: FixedKind::Bool, bytes })) =
            self.metadata.get(&key)
        {
            if bytes.len() != layers {
                let problem = format!("has {} flags for {layers} layers", bytes.len());
                return Err(Error::key(&key, problem));
            }
            return Ok(bytes.iter().map(|&byte| byte != 0).collect());
        }
        let period = self.metadata.u64(&key)?.unwrap_or(period);
        // Of 0 llama.cpp makes windows everywhere.
        Ok((1..=layers as u64).map(|layer| period == 0 || layer % period != 0).collect())
    }
}
