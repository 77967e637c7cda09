//! Rotary position embedding as one candle operation that also knows its way back.
//!
//! candle's own fast version cannot be trained through; its slow one copies each head several times.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Tensor};

/// Turns neighbouring pairs of each head by an angle that grows with the position: llama's GGUF layout,
/// in which values 2i and 2i+1 form a pair.
#[derive(Clone, Copy)]
pub struct Rotation {
    /// Position of the first token.
    pub start: usize,
    pub base: f32,
}

impl Rotation {
    /// Turned copy of `heads` [rows, length, heads, head].
    pub fn turn(self, heads: &Tensor) -> Result<Tensor> {
        heads.apply_op1(Turn { rotation: self, direction: 1.0 })
    }

    /// Cosine and sine of each pair at each position, position-major.
    fn angles(self, length: usize, pairs: usize) -> Vec<(f32, f32)> {
        let angle = |position: usize, pair: usize| {
            let frequency = f64::from(self.base).powf(-(pair as f64) / pairs as f64);
            (position as f64 * frequency).sin_cos()
        };
        (0..length * pairs)
            .map(|at| angle(self.start + at / pairs, at % pairs))
            .map(|(sine, cosine)| (cosine as f32, sine as f32))
            .collect()
    }
}

#[derive(Clone, Copy)]
struct Turn {
    rotation: Rotation,
    direction: f32,
}

impl CustomOp1 for Turn {
    fn name(&self) -> &'static str {
        "rotary-position"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, length, heads, head_width) = layout.shape().dims4()?;
        let Some((from, to)) = layout.contiguous_offsets() else {
            return Err(Error::Msg("rotation needs contiguous heads".to_owned()));
        };
        let mut values = storage.as_slice::<f32>()?[from..to].to_vec();
        let pairs = head_width / 2;
        let angles = self.rotation.angles(length, pairs);
        for (at, head) in values.chunks_exact_mut(head_width).enumerate() {
            let position = at / heads % length;
            let angles = &angles[position * pairs..][..pairs];
            for (pair, (cosine, sine)) in head.chunks_exact_mut(2).zip(angles) {
                let sine = sine * self.direction;
                let (even, odd) = (pair[0], pair[1]);
                pair[0] = even * cosine - odd * sine;
                pair[1] = even * sine + odd * cosine;
            }
        }
        Ok((CpuStorage::F32(values), layout.shape().clone()))
    }

    fn bwd(&self, _heads: &Tensor, _turned: &Tensor, slope: &Tensor) -> Result<Option<Tensor>> {
        // A rotation's transpose is the rotation back.
        let back = Turn { rotation: self.rotation, direction: -self.direction };
        slope.contiguous()?.apply_op1(back).map(Some)
    }
}
