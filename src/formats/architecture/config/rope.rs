//! What a `config.json` says about positions.

use serde_json::Value;

use super::Keys;
use crate::architecture::rope::{longrope_attention_factor, yarn_attention_factor};
use crate::architecture::{Architecture, LongRope, Rope, RopeScaling, RopeStyle, Yarn, limits};
use crate::error::{Error, Result, shown};

const ORIGINAL: &str = "original_max_position_embeddings";

impl<'a> Keys<'a> {
    pub(super) fn rope(&self, architecture: Architecture, head_dim: usize) -> Result<Rope> {
        let mut nested = self.rope_object()?;
        if let Some(all) = &nested
            && let Some(full) = all.child("full_attention", "rope_parameters.full_attention.")?
        {
            nested = Some(full);
        }
        let default = if architecture == Architecture::Gemma3 { 1e6 } else { 10_000.0 };
        let theta = match &nested {
            Some(nested) if nested.object.contains_key("rope_theta") => {
                nested.real("rope_theta", limits::ROPE_THETA, None)?
            }
            _ => self.real("rope_theta", limits::ROPE_THETA, Some(default))?,
        };
        let scaling = match &nested {
            Some(nested) => self.rope_scaling(nested, architecture)?,
            None => None,
        };
        let dim = self.rotated(nested.as_ref(), architecture, head_dim)?;
        Ok(Rope { dim, theta, style: RopeStyle::Halved, scaling })
    }

    /// How positions turn in layers with a window; gemma3.
    pub(super) fn local_rope(&self, head_dim: usize) -> Result<Rope> {
        let key = "rope_parameters.sliding_attention.";
        let nested = match self.rope_object()? {
            Some(all) => all.child("sliding_attention", key)?,
            None => None,
        };
        let theta = match &nested {
            Some(nested) if nested.object.contains_key("rope_theta") => {
                nested.real("rope_theta", limits::ROPE_THETA, None)?
            }
            _ => self.real("rope_local_base_freq", limits::ROPE_THETA, Some(10_000.0))?,
        };
        let scaling = match &nested {
            Some(nested) => self.rope_scaling(nested, Architecture::Gemma3)?,
            None => None,
        };
        Ok(Rope { dim: head_dim, theta, style: RopeStyle::Halved, scaling })
    }

    /// Since transformers 5 everything about RoPE is in one object; before, theta stood apart.
    fn rope_object(&self) -> Result<Option<Keys<'a>>> {
        match self.child("rope_parameters", "rope_parameters.")? {
            Some(nested) => Ok(Some(nested)),
            None => self.child("rope_scaling", "rope_scaling."),
        }
    }

    /// Leading values of a head that are turned.
    fn rotated(
        &self,
        nested: Option<&Keys>,
        architecture: Architecture,
        head_dim: usize,
    ) -> Result<usize> {
        let key = "partial_rotary_factor";
        let found = nested.map(|nested| nested.optional(key, 0.0..=1.0)).transpose()?.flatten();
        let partial = match found {
            Some(partial) => partial,
            None => self.real(key, 0.0..=1.0, Some(1.0))?,
        };
        if partial == 1.0 {
            return Ok(head_dim);
        }
        if architecture != Architecture::Phi3 {
            return Err(Error::key(key, format!("{partial} is not supported in {architecture}")));
        }
        let dim = (f64::from(partial) * head_dim as f64) as u64;
        super::count(key, Some(dim), limits::HEAD_DIM)
    }

    fn rope_scaling(
        &self,
        nested: &Keys,
        architecture: Architecture,
    ) -> Result<Option<RopeScaling>> {
        let kind = match nested.text("rope_type")? {
            Some(kind) => Some(kind),
            None => nested.text("type")?,
        };
        let factor = || nested.real("factor", limits::ROPE_FACTOR, None);
        let is_phi = architecture == Architecture::Phi3;
        match kind {
            None | Some("default") => Ok(None),
            // Early files of the family have other names for it.
            Some("longrope") => Ok(Some(RopeScaling::LongRope(self.longrope(nested)?))),
            Some("su" | "yarn") if is_phi => {
                Ok(Some(RopeScaling::LongRope(self.longrope(nested)?)))
            }
            Some("linear") => Ok(Some(RopeScaling::Linear { factor: factor()? })),
            Some("llama3") => {
                let low_freq_factor = nested.real("low_freq_factor", limits::ROPE_FACTOR, None)?;
                let high_freq_factor =
                    nested.real("high_freq_factor", limits::ROPE_FACTOR, None)?;
                // The blend divides by the difference of the two.
                if high_freq_factor <= low_freq_factor {
                    return Err(Error::key("high_freq_factor", "must be above low_freq_factor"));
                }
                Ok(Some(RopeScaling::Llama3 {
                    factor: factor()?,
                    low_freq_factor,
                    high_freq_factor,
                    original_context_tokens: self.original_context_tokens(nested, None)?,
                }))
            }
            Some("yarn") => Ok(Some(RopeScaling::Yarn(self.yarn(nested)?))),
            Some(other) => Err(Error::key(
                "rope_scaling",
                format!("the kind `{}` is not supported", shown(other)),
            )),
        }
    }

    /// The outer key counts where both are there, as in transformers.
    fn original_context_tokens(&self, nested: &Keys, default: Option<usize>) -> Result<usize> {
        let keys = if self.object.contains_key(ORIGINAL) { self } else { nested };
        match default {
            Some(default) => keys.count_or(ORIGINAL, limits::CONTEXT_TOKENS, default),
            None => keys.count(ORIGINAL, limits::CONTEXT_TOKENS),
        }
    }

    fn context_tokens(&self) -> Result<usize> {
        self.count("max_position_embeddings", limits::CONTEXT_TOKENS)
    }

    fn yarn(&self, nested: &Keys) -> Result<Yarn> {
        let original_context_tokens =
            self.original_context_tokens(nested, Some(self.context_tokens()?))?;
        let stretched = self.context_tokens()? as f32 / original_context_tokens as f32;
        let factor = nested.real("factor", limits::ROPE_FACTOR, Some(stretched))?;
        let weight = |key| nested.real(key, 0.0..=100.0, Some(0.0));
        let (weight, weight_all) = (weight("mscale")?, weight("mscale_all_dim")?);
        let attention_factor = match nested
            .optional("attention_factor", limits::ATTENTION_FACTOR)?
        {
            Some(given) => given,
            None if weight != 0.0 && weight_all != 0.0 => {
                yarn_attention_factor(factor, weight) / yarn_attention_factor(factor, weight_all)
            }
            None => yarn_attention_factor(factor, 1.0),
        };
        Ok(Yarn {
            factor,
            original_context_tokens,
            attention_factor,
            beta_fast: nested.real("beta_fast", limits::YARN_BETA, Some(32.0))?,
            beta_slow: nested.real("beta_slow", limits::YARN_BETA, Some(1.0))?,
            is_truncated: nested.flag("truncate")?.unwrap_or(true),
        })
    }

    fn longrope(&self, nested: &Keys) -> Result<LongRope> {
        // 4096 is the default of phi3, the family of this scaling.
        let original_context_tokens = self.original_context_tokens(nested, Some(4096))?;
        let stretched = self.context_tokens()? as f32 / original_context_tokens as f32;
        let factor = nested.real("factor", limits::ROPE_FACTOR, Some(stretched))?;
        let given = nested.optional("attention_factor", limits::ATTENTION_FACTOR)?;
        Ok(LongRope {
            original_context_tokens,
            attention_factor: given
                .unwrap_or_else(|| longrope_attention_factor(factor, original_context_tokens)),
            short: nested.divisors("short_factor")?,
            long: nested.divisors("long_factor")?,
        })
    }

    /// A list of numbers that must be there; their ranges are checked with the whole.
    fn divisors(&self, key: &str) -> Result<Vec<f32>> {
        let problem = || Error::key(&self.full(key), "is not a list of numbers");
        let list = self.typed(key, "a list", Value::as_array)?.ok_or_else(problem)?;
        // No head has more values.
        if list.is_empty() || list.len() as u64 > *limits::HEAD_DIM.end() {
            return Err(problem());
        }
        let number = |value: &Value| value.as_f64().map(|number| number as f32);
        list.iter().map(|value| number(value).ok_or_else(problem)).collect()
    }
}
