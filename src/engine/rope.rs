//! The angles of rotary position embedding.

use candle_core::{Device, Tensor};
use hearth_formats::{RopeScaling, RopeStyle, Yarn};
use hearth_kernels::Pairing;

use crate::error::{Error, Result};
use crate::tensors;

/// Turns queries and keys by their positions.
#[derive(Debug)]
pub(crate) struct Rope {
    /// Radians per position, of each pair that is turned.
    frequencies: Vec<f64>,
    head_dim: usize,
    pairing: Pairing,
    /// What turned values are multiplied with; 1 but for contexts that were stretched.
    attention_factor: f64,
}

/// Cosines and sines of one step's rows, `[rows, pairs]`; all layers of a kind share them.
pub(crate) struct Angles {
    cos: Tensor,
    sin: Tensor,
    head_dim: usize,
    pairing: Pairing,
}

impl Rope {
    /// `divisors`: what some files divide each frequency by, empty for none.
    pub(crate) fn new(
        rope: &hearth_formats::Rope,
        head_dim: usize,
        divisors: &[f32],
    ) -> Result<Rope> {
        let theta = f64::from(rope.theta);
        let base = (0..rope.dim / 2).map(|i| theta.powf(-2.0 * i as f64 / rope.dim as f64));
        let mut attention_factor = 1.0;
        let mut frequencies: Vec<f64> = match &rope.scaling {
            None => base.collect(),
            Some(RopeScaling::Linear { factor }) => {
                base.map(|frequency| frequency / f64::from(*factor)).collect()
            }
            Some(scaling @ RopeScaling::Llama3 { .. }) => {
                base.map(|frequency| llama3(frequency, scaling)).collect()
            }
            Some(RopeScaling::Yarn(scaling)) => {
                attention_factor = f64::from(scaling.attention_factor);
                yarn(base.collect(), theta, scaling)
            }
            Some(RopeScaling::LongRope(scaling)) => {
                attention_factor = f64::from(scaling.attention_factor);
                base.collect()
            }
        };
        for (frequency, &divisor) in frequencies.iter_mut().zip(divisors) {
            *frequency /= f64::from(divisor);
        }
        if frequencies.iter().any(|frequency| !frequency.is_finite()) {
            return Err(Error::Unsupported("rotation by something that is no number".into()));
        }
        let pairing = match rope.style {
            RopeStyle::Interleaved => Pairing::Neighbours,
            RopeStyle::Halved => Pairing::Halves,
        };
        Ok(Rope { frequencies, head_dim, pairing, attention_factor })
    }

    /// The angles of these positions. Products are made in f64: at position 100,000 an f32 angle
    /// is wrong in its third digit.
    pub(crate) fn angles(&self, positions: &[u32], device: &Device) -> Result<Angles> {
        let count = positions.len() * self.frequencies.len();
        let (mut cos, mut sin) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for &position in positions {
            for frequency in &self.frequencies {
                let (s, c) = (f64::from(position) * frequency).sin_cos();
                cos.push((c * self.attention_factor) as f32);
                sin.push((s * self.attention_factor) as f32);
            }
        }
        let shape = (positions.len(), self.frequencies.len());
        let cos = Tensor::from_vec(cos, shape, device)?;
        let sin = Tensor::from_vec(sin, shape, device)?;
        Ok(Angles { cos, sin, head_dim: self.head_dim, pairing: self.pairing })
    }
}

impl Angles {
    /// Turns every head of each row. `x`: [rows, heads · head_dim].
    pub(crate) fn turn(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        tensors::rotate(x, (&self.cos, &self.sin), self.head_dim, self.pairing)
    }
}

/// YaRN: pairs that turn often within the original context are kept, those that turn seldom are
/// stretched, and a ramp over the pairs between blends the two.
fn yarn(frequencies: Vec<f64>, theta: f64, scaling: &Yarn) -> Vec<f64> {
    let dim = (2 * frequencies.len()) as f64;
    // The pair, as a real number, that turns so often over the original context.
    let pair_of = |turns: f32| {
        let wavelength = scaling.original_context_tokens as f64 / f64::from(turns);
        dim * (wavelength / std::f64::consts::TAU).ln() / (2.0 * theta.ln())
    };
    let (mut low, mut high) = (pair_of(scaling.beta_fast), pair_of(scaling.beta_slow));
    if scaling.is_truncated {
        (low, high) = (low.floor(), high.ceil());
    }
    // The upper bound counts values, not pairs, as in the authors' program.
    let (low, mut high) = (low.max(0.0), high.min(dim - 1.0));
    if low == high {
        high += 0.001;
    }
    let stretched = |(pair, frequency): (usize, f64)| {
        let stretch = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
        frequency * (1.0 - stretch) + frequency / f64::from(scaling.factor) * stretch
    };
    frequencies.into_iter().enumerate().map(stretched).collect()
}

/// Llama 3.1's scaling: wavelengths that the first training saw many times over are kept, those it
/// never saw whole are stretched, those between are blended.
fn llama3(frequency: f64, scaling: &RopeScaling) -> f64 {
    let RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context_tokens } =
        scaling
    else {
        return frequency;
    };
    let (factor, low, high) =
        (f64::from(*factor), f64::from(*low_freq_factor), f64::from(*high_freq_factor));
    let turns = *original_context_tokens as f64 * frequency / std::f64::consts::TAU;
    if turns < low {
        frequency / factor
    } else if turns > high {
        frequency
    } else {
        let kept = (turns - low) / (high - low);
        (1.0 - kept) * frequency / factor + kept * frequency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_keeps_fast_stretches_slow_and_blends_between() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context_tokens: 8192,
        };
        let of_turns = |turns: f64| turns * std::f64::consts::TAU / 8192.0;
        assert_eq!(llama3(of_turns(5.0), &scaling), of_turns(5.0));
        assert_eq!(llama3(of_turns(0.5), &scaling), of_turns(0.5) / 8.0);
        // Half way from 1 to 4 turns: the mean of both.
        let middle = llama3(of_turns(2.5), &scaling);
        assert!((middle / of_turns(2.5) - (0.5 / 8.0 + 0.5)).abs() < 1e-12);
    }
}
