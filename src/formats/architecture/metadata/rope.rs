//! What GGUF metadata says about positions.

use super::{Keys, TensorFacts};
use crate::architecture::rope::yarn_attention_factor;
use crate::architecture::{Architecture, LongRope, Rope, RopeScaling, RopeStyle, Yarn, limits};
use crate::error::{Error, Result, shown};

impl Keys<'_> {
    pub(super) fn rope(
        &self,
        architecture: Architecture,
        head_dim: usize,
        tensors: &TensorFacts,
    ) -> Result<Rope> {
        Ok(Rope {
            dim: self.count_or("rope.dimension_count", limits::HEAD_DIM, head_dim)?,
            theta: self.real("rope.freq_base", limits::ROPE_THETA, Some(10_000.0))?,
            style: match architecture {
                Architecture::Llama => RopeStyle::Interleaved,
                _ => RopeStyle::Halved,
            },
            scaling: self.rope_scaling(tensors)?,
        })
    }

    fn rope_scaling(&self, tensors: &TensorFacts) -> Result<Option<RopeScaling>> {
        let key = self.full("rope.scaling.type");
        let kind = self.metadata.str(&key)?;
        if tensors.has_long_factors || kind == Some("longrope") {
            return Ok(Some(RopeScaling::LongRope(self.longrope()?)));
        }
        match kind {
            None => {
                // Files from before 2023-11 say it with one number.
                let factor = self.real("rope.scale_linear", limits::ROPE_FACTOR, Some(1.0))?;
                let factor = self.real("rope.scaling.factor", limits::ROPE_FACTOR, Some(factor))?;
                Ok((factor != 1.0).then_some(RopeScaling::Linear { factor }))
            }
            Some("none") => Ok(None),
            Some("linear") => {
                let factor = self.real("rope.scaling.factor", limits::ROPE_FACTOR, None)?;
                Ok(Some(RopeScaling::Linear { factor }))
            }
            Some("yarn") => Ok(Some(RopeScaling::Yarn(self.yarn()?))),
            Some(other) => {
                Err(Error::key(&key, format!("the kind `{}` is not supported", shown(other))))
            }
        }
    }

    fn original_context_tokens(&self) -> Result<usize> {
        let context_tokens = self.count("context_length", limits::CONTEXT_TOKENS)?;
        let key = "rope.scaling.original_context_length";
        self.count_or(key, limits::CONTEXT_TOKENS, context_tokens)
    }

    fn longrope(&self) -> Result<LongRope> {
        let attention_factor =
            self.real("rope.scaling.attn_factor", limits::ATTENTION_FACTOR, Some(1.0))?;
        let original_context_tokens = self.original_context_tokens()?;
        let (short, long) = (Vec::new(), Vec::new());
        Ok(LongRope { original_context_tokens, attention_factor, short, long })
    }

    fn yarn(&self) -> Result<Yarn> {
        let extrapolation = self.full("rope.scaling.yarn_ext_factor");
        if self.metadata.f32(&extrapolation)?.is_some_and(|factor| factor != 1.0) {
            return Err(Error::key(&extrapolation, "must be 1"));
        }
        let factor = self.real("rope.scaling.factor", limits::ROPE_FACTOR, None)?;
        let beta = |key, default| self.real(key, limits::YARN_BETA, Some(default));
        let total = self.optional("rope.scaling.yarn_attn_factor", limits::ATTENTION_FACTOR)?;
        let attention_factor = match total {
            Some(total) => total,
            None => {
                let weight =
                    self.real("rope.scaling.yarn_log_multiplier", 0.0..=100.0, Some(0.0))?;
                let paper = yarn_attention_factor(factor, 1.0);
                let extra =
                    self.real("rope.scaling.attn_factor", limits::ATTENTION_FACTOR, Some(1.0))?;
                match weight == 0.0 {
                    true => paper * extra,
                    false => paper / yarn_attention_factor(factor, weight) * extra,
                }
            }
        };
        Ok(Yarn {
            factor,
            original_context_tokens: self.original_context_tokens()?,
            attention_factor,
            beta_fast: beta("rope.scaling.yarn_beta_fast", 32.0)?,
            beta_slow: beta("rope.scaling.yarn_beta_slow", 1.0)?,
            is_truncated: true,
        })
    }
}
