//! Trains: AdamW with warm-up, cosine decay and clipped gradients.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use candle_nn::loss::cross_entropy;
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::rngs::StdRng;

use crate::batch::{Batch, Packer};
use crate::network::{Network, Shape};

/// How long and how boldly to learn.
#[derive(Clone, Debug)]
pub struct Plan {
    pub steps: usize,
    pub warm_up_steps: usize,
    pub peak_rate: f64,
    pub final_rate: f64,
    pub weight_decay: f64,
    /// Longest gradient over all weights together; a longer one is shortened to it.
    pub longest_gradient: f32,
}

impl Plan {
    /// The shipped plan over `steps` steps.
    pub fn with_steps(steps: usize) -> Self {
        Self {
            steps,
            warm_up_steps: (steps / 20).clamp(1, 60),
            peak_rate: 3e-3,
            final_rate: 1e-5,
            weight_decay: 0.05,
            longest_gradient: 1.0,
        }
    }

    /// Learning rate of `step`: a straight rise, then half a cosine down.
    fn rate(&self, step: usize) -> f64 {
        if step < self.warm_up_steps {
            return self.peak_rate * (step + 1) as f64 / self.warm_up_steps as f64;
        }
        let done = (step - self.warm_up_steps) as f64 / (self.steps - self.warm_up_steps) as f64;
        let share = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.final_rate + (self.peak_rate - self.final_rate) * share
    }
}

/// Trains `weights` in place, on batches from `packer`; `report` hears of the progress.
pub fn train(
    shape: &Shape,
    weights: &BTreeMap<String, Var>,
    (packer, rng): (&mut Packer<'_>, &mut StdRng),
    plan: &Plan,
    mut report: impl FnMut(String),
) -> Result<()> {
    let vars: Vec<Var> = weights.values().cloned().collect();
    let shared = weights.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone()));
    let network = Network::new(shape.clone(), shared.collect());
    let params = ParamsAdamW {
        lr: plan.peak_rate,
        beta2: 0.98,
        weight_decay: plan.weight_decay,
        ..ParamsAdamW::default()
    };
    let mut optimiser = AdamW::new(vars.clone(), params)?;
    let started = Instant::now();
    let (mut loss_sum, mut losses) = (0.0, 0);
    for step in 0..plan.steps {
        let batch = packer.next(rng)?;
        let loss = batch_loss(&network, &batch)?;
        let mut gradients = loss.backward()?;
        clip(&vars, &mut gradients, plan.longest_gradient)?;
        optimiser.set_learning_rate(plan.rate(step));
        optimiser.step(&gradients)?;
        loss_sum += loss.to_scalar::<f32>()?;
        losses += 1;
        if (step + 1) % 50 == 0 || step + 1 == plan.steps {
            let mean = loss_sum / losses as f32;
            let seconds = started.elapsed().as_secs();
            report(format!("step {} of {}: loss {mean:.4}, {seconds} s", step + 1, plan.steps));
            (loss_sum, losses) = (0.0, 0);
        }
    }
    Ok(())
}

/// Mean surprise over the tokens of all answers.
fn batch_loss(network: &Network, batch: &Batch) -> Result<Tensor> {
    let states = network.read_rows(&batch.tokens, &batch.sight)?;
    let states = states.flatten(0, 1)?.index_select(&batch.places, 0)?;
    Ok(cross_entropy(&network.score(&states)?, &batch.targets)?)
}

fn clip(vars: &[Var], gradients: &mut GradStore, longest: f32) -> Result<()> {
    let mut square = 0.0;
    for gradient in vars.iter().filter_map(|var| gradients.get(var)) {
        square += gradient.sqr()?.sum_all()?.to_scalar::<f32>()?;
    }
    let length = square.sqrt();
    if length <= longest {
        return Ok(());
    }
    for var in vars {
        if let Some(gradient) = gradients.remove(var) {
            gradients.insert(var, (gradient * f64::from(longest / length))?);
        }
    }
    Ok(())
}
