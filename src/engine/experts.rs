//! A feed-forward part made of many small ones: a router sends each row to a few of them.
//!
//! Rows are grouped by expert, so that a step reads the weights of each expert once, however many
//! rows it is sent, and those of an expert without rows never.

use candle_core::{Result, Tensor};

use crate::block::Dense;
use crate::layers::Linear;
use crate::tensors::{is_host, values, with_values};

/// The experts of a layer.
#[derive(Debug)]
pub(crate) struct Experts {
    /// Scores of the experts.
    pub(crate) router: Linear,
    pub(crate) experts: Vec<Dense>,
    /// Experts that a row is sent to.
    pub(crate) used: usize,
    /// The weights of those are scaled to sum to 1.
    pub(crate) is_normalized: bool,
}

/// A row on its way to an expert, and what the expert's answer counts.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Visit {
    row: usize,
    weight: f32,
}

impl Experts {
    /// `x`: normed rows, [rows, dim] → [rows, dim].
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, dim) = x.dims2()?;
        let scores = values(&self.router.forward(x)?.to_device(&candle_core::Device::Cpu)?)?;
        let visits = self.route(&scores);
        let mut answers = Vec::new();
        for (expert, visits) in self.experts.iter().zip(&visits) {
            if visits.is_empty() {
                continue;
            }
            let rows: Vec<u32> = visits.iter().map(|visit| visit.row as u32).collect();
            let rows = Tensor::new(rows.as_slice(), x.device())?;
            answers.push(expert.forward(&x.index_select(&rows, 0)?)?);
        }
        let visits: Vec<Visit> = visits.into_iter().flatten().collect();
        match is_host(x) {
            true => mix_on_host(&answers, &visits, (rows, dim)),
            false => self.mix_on_device(&answers, &visits, (rows, dim)),
        }
    }

    /// Each expert's visits, in the order of rows. `scores`: [rows, experts].
    fn route(&self, scores: &[f32]) -> Vec<Vec<Visit>> {
        let mut visits = vec![Vec::new(); self.experts.len()];
        let mut order: Vec<usize> = Vec::new();
        for (row, scores) in scores.chunks_exact(self.experts.len()).enumerate() {
            order.clear();
            order.extend(0..scores.len());
            // The highest first; of equals, the first.
            let best = |&a: &usize, &b: &usize| scores[b].total_cmp(&scores[a]).then(a.cmp(&b));
            if self.used < order.len() {
                order.select_nth_unstable_by(self.used, best);
                order.truncate(self.used);
            }
            let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mass = |score: f32| (score - highest).exp();
            let total: f32 = match self.is_normalized {
                true => order.iter().map(|&expert| mass(scores[expert])).sum(),
                false => scores.iter().map(|&score| mass(score)).sum(),
            };
            for &expert in &order {
                visits[expert].push(Visit { row, weight: mass(scores[expert]) / total });
            }
        }
        visits
    }

    /// As [`mix_on_host`], in operations that every device has: each row has the same number of
    /// answers.
    fn mix_on_device(
        &self,
        answers: &[Tensor],
        visits: &[Visit],
        (rows, dim): (usize, usize),
    ) -> Result<Tensor> {
        let device = answers[0].device().clone();
        let mut order: Vec<u32> = (0..visits.len() as u32).collect();
        order.sort_by_key(|&place| visits[place as usize].row);
        let weights: Vec<f32> = order.iter().map(|&place| visits[place as usize].weight).collect();
        let weights = Tensor::from_vec(weights, (rows, self.used, 1), &device)?;
        let order = Tensor::new(order.as_slice(), &device)?;
        let answers = Tensor::cat(answers, 0)?.index_select(&order, 0)?;
        answers.reshape((rows, self.used, dim))?.broadcast_mul(&weights)?.sum(1)
    }
}

/// Adds up what each row's experts answered. `answers`: in the order of `visits`.
///
/// A row's answers are added in the order of experts, whatever rows are beside it.
fn mix_on_host(
    answers: &[Tensor],
    visits: &[Visit],
    (rows, dim): (usize, usize),
) -> Result<Tensor> {
    let mut mixed = vec![0.0; rows * dim];
    let mut visits = visits.iter();
    for answers in answers {
        with_values(answers, |answers| {
            for (answer, visit) in answers.chunks_exact(dim).zip(visits.by_ref()) {
                let row = &mut mixed[visit.row * dim..(visit.row + 1) * dim];
                for (sum, value) in row.iter_mut().zip(answer) {
                    *sum += visit.weight * value;
                }
            }
        })?;
    }
    Tensor::from_vec(mixed, (rows, dim), &candle_core::Device::Cpu)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use hearth_kernels::reference::noise;
    use hearth_kernels::{Encoding, PackedMatrix};

    use super::*;
    use crate::layers::{PackedRows, Weight};
    use crate::tensors::Gate;

    const DIM: usize = 24;
    const FFN: usize = 20;
    const COUNT: usize = 5;

    fn linear(seed: u64, (outputs, inputs): (usize, usize)) -> Linear {
        let mut matrix = PackedMatrix::zeroed(Encoding::F32, outputs, inputs).expect("memory");
        let values = noise(seed, outputs * inputs);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        matrix.pack(&bytes);
        Linear::new(Weight::Packed(PackedRows::whole(matrix)), None)
    }

    fn experts(used: usize) -> Experts {
        let expert = |index: u64| Dense {
            gate: linear(10 + index, (FFN, DIM)),
            up: linear(20 + index, (FFN, DIM)),
            down: linear(30 + index, (DIM, FFN)),
            function: Gate::Silu,
        };
        let experts = (0..COUNT as u64).map(expert).collect();
        Experts { router: linear(1, (COUNT, DIM)), experts, used, is_normalized: true }
    }

    fn rows(count: usize) -> Tensor {
        Tensor::from_vec(noise(2, count * DIM), (count, DIM), &Device::Cpu).expect("fits")
    }

    #[test]
    fn a_row_goes_to_its_best_experts_with_weights_that_sum_to_one() {
        let scores = [0.0, 2.0, 1.0, 2.0, -1.0, 3.0, 0.0, 0.0, 0.0, 0.0];
        let visits = experts(2).route(&scores);
        let met: Vec<Vec<usize>> =
            visits.iter().map(|visits| visits.iter().map(|visit| visit.row).collect()).collect();
        // Of the second row's equals, the first.
        assert_eq!(met, [vec![1], vec![0, 1], vec![], vec![0], vec![]]);
        assert_eq!((visits[1][0].weight, visits[3][0].weight), (0.5, 0.5));
        let sum = visits[0][0].weight + visits[1][1].weight;
        assert!((sum - 1.0).abs() < 1e-6 && visits[0][0].weight > 0.9);
        let raw = Experts { is_normalized: false, ..experts(2) }.route(&scores);
        assert!(raw[1][0].weight < 0.5);
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_among_others() {
        let (experts, x) = (experts(3), rows(9));
        let together = values(&experts.forward(&x).expect("runs")).expect("on the host");
        for row in 0..9 {
            let alone = x.narrow(0, row, 1).and_then(|x| experts.forward(&x)).expect("runs");
            let alone = values(&alone).expect("on the host");
            assert_eq!(alone, together[row * DIM..(row + 1) * DIM]);
        }
    }

    #[test]
    fn both_ways_of_adding_up_agree() {
        let experts = experts(2);
        let visits = experts.route(&noise(3, 7 * COUNT));
        let mut seed = 40;
        let answers: Vec<Tensor> = visits
            .iter()
            .filter(|visits| !visits.is_empty())
            .map(|visits| {
                seed += 1;
                let values = noise(seed, visits.len() * DIM);
                Tensor::from_vec(values, (visits.len(), DIM), &Device::Cpu).expect("fits")
            })
            .collect();
        let visits: Vec<Visit> = visits.into_iter().flatten().collect();
        let ours = mix_on_host(&answers, &visits, (7, DIM)).and_then(|y| values(&y));
        let theirs = experts.mix_on_device(&answers, &visits, (7, DIM)).and_then(|y| values(&y));
        let (ours, theirs) = (ours.expect("runs"), theirs.expect("runs"));
        assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
