//! Softmax over what each token may see, as one candle operation with its way back.
//!
//! In packed rows a token sees a sixth of its row or less: the rest costs nothing here.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Error, Layout, Result, Shape, Tensor};

/// What each token of each row may look at.
#[derive(Clone)]
pub struct Sight {
    /// [rows × length]: seen tokens, by their place in the row.
    seen: Arc<Vec<Range<usize>>>,
}

impl Sight {
    /// Rows that hold several conversations: `owner` [rows × length] numbers them within each row.
    pub fn of_conversations(owner: &[usize], length: usize) -> Self {
        let mut seen: Vec<Range<usize>> = Vec::with_capacity(owner.len());
        for at in 0..owner.len() {
            let goes_on = at % length > 0 && owner[at] == owner[at - 1];
            let first = if goes_on { seen[at - 1].start } else { at % length };
            seen.push(first..at % length + 1);
        }
        Self { seen: Arc::new(seen) }
    }

    /// One row of `length` tokens that follow `earlier` ones of the same conversation.
    pub fn of_one(earlier: usize, length: usize) -> Self {
        Self { seen: Arc::new((0..length).map(|at| 0..earlier + at + 1).collect()) }
    }

    /// Shares of attention from `scores` [rows, heads, length, tokens].
    pub fn softmax(&self, scores: &Tensor) -> Result<Tensor> {
        scores.apply_op1(Shares { sight: self.clone() })
    }

    /// Calls `work` with each line of [rows, heads, length, tokens] and the part of it that is seen.
    fn for_each_line(
        &self,
        shape: &Shape,
        mut work: impl FnMut(usize, &Range<usize>),
    ) -> Result<()> {
        let (rows, heads, length, tokens) = shape.dims4()?;
        for line in 0..rows * heads * length {
            let row = line / (heads * length);
            work(line * tokens, &self.seen[row * length + line % length]);
        }
        Ok(())
    }
}

struct Shares {
    sight: Sight,
}

impl CustomOp1 for Shares {
    fn name(&self) -> &'static str {
        "softmax-of-the-seen"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let scores = contiguous(storage, layout)?;
        let mut shares = vec![0.0; scores.len()];
        self.sight.for_each_line(layout.shape(), |line, seen| {
            let part = line + seen.start..line + seen.end;
            let highest = scores[part.clone()].iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
            let mut sum = 0.0;
            for (share, score) in shares[part.clone()].iter_mut().zip(&scores[part.clone()]) {
                *share = (score - highest).exp();
                sum += *share;
            }
            shares[part].iter_mut().for_each(|share| *share /= sum);
        })?;
        Ok((CpuStorage::F32(shares), layout.shape().clone()))
    }

    fn bwd(&self, _scores: &Tensor, shares: &Tensor, slope: &Tensor) -> Result<Option<Tensor>> {
        let back = Slope { sight: self.sight.clone() };
        shares.apply_op2_no_bwd(&slope.contiguous()?, &back).map(Some)
    }
}

/// The slope of softmax: share × (slope − Σ share × slope) over the seen.
struct Slope {
    sight: Sight,
}

impl CustomOp2 for Slope {
    fn name(&self) -> &'static str {
        "slope-of-the-seen"
    }

    fn cpu_fwd(
        &self,
        shares: &CpuStorage,
        shares_layout: &Layout,
        slope: &CpuStorage,
        slope_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shares = contiguous(shares, shares_layout)?;
        let slope = contiguous(slope, slope_layout)?;
        let mut back = vec![0.0; shares.len()];
        self.sight.for_each_line(shares_layout.shape(), |line, seen| {
            let part = line + seen.start..line + seen.end;
            let pairs = || shares[part.clone()].iter().zip(&slope[part.clone()]);
            let mean: f32 = pairs().map(|(share, slope)| share * slope).sum();
            for (back, (share, slope)) in back[part.clone()].iter_mut().zip(pairs()) {
                *back = share * (slope - mean);
            }
        })?;
        Ok((CpuStorage::F32(back), shares_layout.shape().clone()))
    }
}

fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        return Err(Error::Msg("attention needs contiguous scores".to_owned()));
    };
    Ok(&storage.as_slice::<f32>()?[from..to])
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;

    #[test]
    fn softmax_sees_its_conversation_only_and_learns_by_the_right_slope() {
        let sight = Sight::of_conversations(&[0, 0, 1, 1], 4);
        let values: Vec<f32> = (0..16).map(|value| (value as f32 * 0.7).sin()).collect();
        let scores =
            Var::from_tensor(&Tensor::from_vec(values, (1, 1, 4, 4), &Device::Cpu).unwrap())
                .unwrap();
        let hidden = [0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0].map(|bit| bit as f32 * -80.0);
        let mask = Tensor::from_vec(hidden.to_vec(), (1, 1, 4, 4), &Device::Cpu).unwrap();
        let plain = candle_nn::ops::softmax(&(scores.as_tensor() + mask).unwrap(), 3).unwrap();
        let ours = sight.softmax(scores.as_tensor()).unwrap();
        let weights =
            Tensor::arange(0f32, 16.0, &Device::Cpu).unwrap().reshape((1, 1, 4, 4)).unwrap();
        let slope = |shares: &Tensor| {
            let slopes = (shares * &weights).unwrap().sum_all().unwrap().backward().unwrap();
            slopes.get(scores.as_tensor()).unwrap().clone()
        };
        for (left, right) in [(&ours, &plain), (&slope(&ours), &slope(&plain))] {
            let gap = (left - right).unwrap().abs().unwrap().max_all().unwrap();
            assert!(gap.to_dtype(DType::F32).unwrap().to_scalar::<f32>().unwrap() < 1e-5);
        }
    }
}
