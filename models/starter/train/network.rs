//! A llama-architecture network over candle tensors, the same code for training and for answering.
//!
//! Weights carry their GGUF names from the start, so that what is trained is what is written. It knows
//! nothing of text: token ids go in, scores over the vocabulary come out.

use std::collections::BTreeMap;

use candle_core::{D, Device, Result, Tensor, Var};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::rotation::Rotation;
use crate::sight::Sight;

/// The sizes of the network. Every row is a multiple of 32, the block of Q8_0.
#[derive(Clone, Debug)]
pub struct Shape {
    pub vocabulary: usize,
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    pub heads_kv: usize,
    pub head_width: usize,
    pub hidden: usize,
    /// Tokens a prompt and its answer may have together, written into the file.
    pub context: usize,
    pub rope_base: f32,
    pub norm_epsilon: f64,
}

impl Shape {
    /// Tokens that the vocabulary may have.
    pub const VOCABULARY: usize = 1536;

    /// The shipped sizes around a vocabulary of `vocabulary` tokens.
    pub fn with_vocabulary(vocabulary: usize) -> Self {
        Self {
            vocabulary,
            width: 192,
            layers: 4,
            heads: 6,
            heads_kv: 2,
            head_width: 32,
            hidden: 512,
            context: 1024,
            rope_base: 10_000.0,
            norm_epsilon: 1e-5,
        }
    }

    /// Name and dimensions of every weight, in the order of a GGUF file.
    pub fn weights(&self) -> Vec<(String, Vec<usize>)> {
        let mut weights = vec![
            ("token_embd.weight".to_owned(), vec![self.vocabulary, self.width]),
            ("output_norm.weight".to_owned(), vec![self.width]),
        ];
        let (query, shared) = (self.heads * self.head_width, self.heads_kv * self.head_width);
        for layer in 0..self.layers {
            let parts = [
                ("attn_norm", vec![self.width]),
                ("attn_q", vec![query, self.width]),
                ("attn_k", vec![shared, self.width]),
                ("attn_v", vec![shared, self.width]),
                ("attn_output", vec![self.width, query]),
                ("ffn_norm", vec![self.width]),
                ("ffn_gate", vec![self.hidden, self.width]),
                ("ffn_up", vec![self.hidden, self.width]),
                ("ffn_down", vec![self.width, self.hidden]),
            ];
            weights.extend(parts.map(|(part, dims)| (format!("blk.{layer}.{part}.weight"), dims)));
        }
        weights
    }

    /// Number of trained values.
    pub fn parameters(&self) -> usize {
        self.weights().iter().map(|(_, dims)| dims.iter().product::<usize>()).sum()
    }
}

/// Fresh weights: norms at one, matrices normal with the spread that keeps a deep sum of layers level.
pub fn initial_weights(shape: &Shape, rng: &mut StdRng) -> Result<BTreeMap<String, Var>> {
    let mut weights = BTreeMap::new();
    for (name, dims) in shape.weights() {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = if dims.len() == 1 {
            vec![1.0; count]
        } else {
            let spread = initial_spread(shape, &name);
            (0..count).map(|_| normal(rng) * spread).collect()
        };
        let tensor = Tensor::from_vec(values, dims, &Device::Cpu)?;
        weights.insert(name, Var::from_tensor(&tensor)?);
    }
    Ok(weights)
}

fn initial_spread(shape: &Shape, name: &str) -> f32 {
    // The two matrices that write into the residual stream start smaller, once per layer and branch (GPT-2).
    let writes_residual = name.contains("attn_output") || name.contains("ffn_down");
    let depth = (2.0 * shape.layers as f32).sqrt();
    if writes_residual { 0.04 / depth } else { 0.04 }
}

/// One draw of the standard normal distribution (Box–Muller).
fn normal(rng: &mut StdRng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
}

/// Keys and values of the tokens already read, per layer.
#[derive(Default)]
pub struct Memory {
    layers: Vec<(Tensor, Tensor)>,
    tokens: usize,
}

/// The network over one set of weights.
pub struct Network {
    shape: Shape,
    weights: BTreeMap<String, Tensor>,
}

impl Network {
    /// Takes weights under their GGUF names; a missing one is found at the first use.
    pub fn new(shape: Shape, weights: BTreeMap<String, Tensor>) -> Self {
        Self { shape, weights }
    }

    /// States after the last norm for whole rows: `tokens` [rows, length] → [rows, length, width].
    pub fn read_rows(&self, tokens: &Tensor, sight: &Sight) -> Result<Tensor> {
        let mut states = self.embed(tokens)?;
        for layer in 0..self.shape.layers {
            let (query, key, value) = self.project(layer, &states, 0)?;
            let mixed = self.attend(&query, &key, &value, sight)?;
            states = self.finish_layer(layer, &states, &mixed)?;
        }
        self.norm(&states, "output_norm.weight")
    }

    /// Scores of the next token after `tokens` [1, length], which follow what `memory` holds: [vocabulary].
    /// A first call reads a whole prompt; later calls read one token each.
    pub fn read_next(&self, tokens: &Tensor, memory: &mut Memory) -> Result<Tensor> {
        let length = tokens.dim(1)?;
        let sight = Sight::of_one(memory.tokens, length);
        let mut states = self.embed(tokens)?;
        for layer in 0..self.shape.layers {
            let (query, key, value) = self.project(layer, &states, memory.tokens)?;
            let (key, value) = memory.remember(layer, key, value)?;
            let mixed = self.attend(&query, &key, &value, &sight)?;
            states = self.finish_layer(layer, &states, &mixed)?;
        }
        memory.tokens += length;
        let last = states.narrow(1, length - 1, 1)?.reshape((1, self.shape.width))?;
        self.score(&self.norm(&last, "output_norm.weight")?)?.squeeze(0)
    }

    /// Scores over the vocabulary, by the token embedding itself: `states` [rows, width] → [rows, vocabulary].
    pub fn score(&self, states: &Tensor) -> Result<Tensor> {
        states.matmul(&self.weight("token_embd.weight")?.t()?)
    }

    fn embed(&self, tokens: &Tensor) -> Result<Tensor> {
        let (rows, length) = tokens.dims2()?;
        let states = self.weight("token_embd.weight")?.index_select(&tokens.flatten_all()?, 0)?;
        states.reshape((rows, length, self.shape.width))
    }

    /// Query [rows, heads, length, head], key and value [rows, heads_kv, length, head] of one layer.
    fn project(
        &self,
        layer: usize,
        states: &Tensor,
        start: usize,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let input = self.norm(states, &format!("blk.{layer}.attn_norm.weight"))?;
        let rotation = Rotation { start, base: self.shape.rope_base };
        let query = self.linear(&input, &format!("blk.{layer}.attn_q.weight"))?;
        let key = self.linear(&input, &format!("blk.{layer}.attn_k.weight"))?;
        let value = self.linear(&input, &format!("blk.{layer}.attn_v.weight"))?;
        let split = |part: Tensor, heads: usize| {
            let (rows, length, _) = part.dims3()?;
            part.reshape((rows, length, heads, self.shape.head_width))
        };
        let query = rotation.turn(&split(query, self.shape.heads)?)?;
        let key = rotation.turn(&split(key, self.shape.heads_kv)?)?;
        let value = split(value, self.shape.heads_kv)?;
        Ok((query.transpose(1, 2)?, key.transpose(1, 2)?, value.transpose(1, 2)?))
    }

    fn attend(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        sight: &Sight,
    ) -> Result<Tensor> {
        let (rows, heads, length, head_width) = query.dims4()?;
        let group = heads / self.shape.heads_kv;
        // Heads that share a key and a value stand below each other as one taller matrix: nothing is copied.
        let tall = (rows, self.shape.heads_kv, group * length, head_width);
        let query = (query.contiguous()?.reshape(tall)? / (head_width as f64).sqrt())?;
        let scores = query.matmul(&key.transpose(2, 3)?.contiguous()?)?;
        let seen = scores.dim(3)?;
        let shares = sight.softmax(&scores.reshape((rows, heads, length, seen))?)?;
        let shares = shares.reshape((rows, self.shape.heads_kv, group * length, seen))?;
        let mixed =
            shares.matmul(&value.contiguous()?)?.reshape((rows, heads, length, head_width))?;
        mixed.transpose(1, 2)?.contiguous()?.reshape((rows, length, heads * head_width))
    }

    fn finish_layer(&self, layer: usize, states: &Tensor, mixed: &Tensor) -> Result<Tensor> {
        let states = (states + self.linear(mixed, &format!("blk.{layer}.attn_output.weight"))?)?;
        let input = self.norm(&states, &format!("blk.{layer}.ffn_norm.weight"))?;
        let gate = self.linear(&input, &format!("blk.{layer}.ffn_gate.weight"))?.silu()?;
        let up = self.linear(&input, &format!("blk.{layer}.ffn_up.weight"))?;
        let down = self.linear(&(gate * up)?, &format!("blk.{layer}.ffn_down.weight"))?;
        states + down
    }

    fn linear(&self, input: &Tensor, name: &str) -> Result<Tensor> {
        let (rows, length, width) = input.dims3()?;
        let weight = self.weight(name)?;
        let output = input.reshape((rows * length, width))?.matmul(&weight.t()?)?;
        output.reshape((rows, length, weight.dim(0)?))
    }

    fn norm(&self, states: &Tensor, name: &str) -> Result<Tensor> {
        let mean_square = states.sqr()?.mean_keepdim(D::Minus1)?;
        let scale = (mean_square + self.shape.norm_epsilon)?.sqrt()?.recip()?;
        states.broadcast_mul(&scale)?.broadcast_mul(self.weight(name)?)
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        self.weights.get(name).ok_or_else(|| candle_core::Error::Msg(format!("no weight {name}")))
    }
}

impl Memory {
    fn remember(&mut self, layer: usize, key: Tensor, value: Tensor) -> Result<(Tensor, Tensor)> {
        let whole = match self.layers.get(layer) {
            Some((keys, values)) => {
                (Tensor::cat(&[keys, &key], 2)?, Tensor::cat(&[values, &value], 2)?)
            }
            None => (key.contiguous()?, value.contiguous()?),
        };
        if layer < self.layers.len() {
            self.layers[layer] = whole.clone();
        } else {
            self.layers.push(whole.clone());
        }
        Ok(whole)
    }
}
