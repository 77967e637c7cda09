//! Measures what this machine can do at best, so that a model's speed can be held against it.
//!
//! Benchmarks call it; serving does not. Decoding one sequence reads all weights for each token, so
//! that the bandwidth of reads is its limit; a long prompt multiplies each weight many times, so
//! that the rate of 8-bit products is its limit.

use std::thread;
use std::time::Instant;

use hearth_formats::{ModelFile, TensorRole};
use hearth_kernels::{Memory, probe};

use crate::error::{Error, Result};

/// Much more than any cache holds, yet little beside a model.
const BUFFER_BYTES: usize = 512 << 20;
/// Some 10 ms of multiplying.
const ROUNDS: usize = 100_000;

/// A buffer in memory and the threads that measure with it.
#[derive(Debug)]
pub struct MachineLimits {
    /// In huge pages where the system has them, as weights are.
    buffer: Memory<u8>,
    threads: usize,
}

impl MachineLimits {
    /// Takes and fills the buffer; it goes when this is dropped.
    pub fn new(threads: usize) -> Result<MachineLimits> {
        let failed = |error: std::io::Error| Error::LoadFailed(error.to_string());
        let mut buffer = Memory::zeroed(BUFFER_BYTES).map_err(failed)?;
        // Pages that were never written are all one page of zeros.
        buffer.fill(1);
        Ok(MachineLimits { buffer, threads: threads.max(1) })
    }

    /// Bytes per second that all threads together read, once through the buffer.
    pub fn read_bytes_per_s(&self) -> f64 {
        let share = self.buffer.len() / self.threads;
        let begun = Instant::now();
        thread::scope(|scope| {
            for part in self.buffer.chunks_exact(share) {
                scope.spawn(move || std::hint::black_box(probe::sum_words(part)));
            }
        });
        (share * self.threads) as f64 / begun.elapsed().as_secs_f64()
    }

    /// Products of 8-bit numbers, added up in 32 bits, per second of all threads together. A
    /// product with its addition counts as two operations, as in FLOP/s.
    pub fn multiply_ops_per_s(&self) -> f64 {
        let w = [1; probe::BLOCK_BYTES];
        let x = [[1; probe::BLOCK_BYTES]; probe::BLOCK_ROWS];
        let begun = Instant::now();
        thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| std::hint::black_box(probe::multiply_bytes(&w, &x, ROUNDS)));
            }
        });
        let products = self.threads * ROUNDS * probe::BLOCK_BYTES * probe::BLOCK_ROWS;
        2.0 * products as f64 / begun.elapsed().as_secs_f64()
    }
}

/// What one token costs a machine at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCost {
    /// Weights that a step reads, however many sequences it has; keys and values come on top. Of
    /// experts, those that one sequence meets.
    pub step_bytes: u64,
    /// Operations in the layers' matrices, which every token of a prompt runs through. The output
    /// matrix is left out: of a prompt only the last token meets it.
    pub prompt_ops: u64,
}

impl TokenCost {
    /// Reckons from a file's tensors.
    pub fn of(model: &ModelFile) -> TokenCost {
        // With an output matrix of its own, the embedding table is only looked up.
        let is_read =
            |role: &TensorRole| *role != TensorRole::TokenEmbedding || model.shape.tied_embeddings;
        let read = model.tensors.iter().filter(|(role, _)| is_read(role));
        let matrices = model.tensors.iter().filter(|(role, tensor)| {
            let is_layers = matches!(role, TensorRole::Layer { .. } | TensorRole::Expert { .. });
            is_layers && tensor.shape.len() == 2
        });
        // A token meets a share of the experts.
        let share = |role: &TensorRole, whole: u64| match (role, model.shape.decoder.experts) {
            (TensorRole::Expert { .. }, Some(experts)) => {
                whole * experts.used as u64 / experts.count as u64
            }
            _ => whole,
        };
        TokenCost {
            step_bytes: read.map(|(role, tensor)| share(role, tensor.bytes)).sum(),
            prompt_ops: matrices.map(|(role, tensor)| share(role, 2 * tensor.elements())).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::support::f32_gguf;

    #[test]
    fn a_machine_reads_and_multiplies_at_a_rate_that_a_machine_can() {
        let limits = MachineLimits::new(2).expect("half a gigabyte is free");
        // From an old phone to a large server.
        let (read, multiply) = (limits.read_bytes_per_s(), limits.multiply_ops_per_s());
        assert!((1e8..1e13).contains(&read), "{read} B/s");
        assert!((1e8..1e15).contains(&multiply), "{multiply} op/s");
    }

    #[test]
    fn a_token_costs_every_matrix_once() {
        let file = ModelFile::open(&f32_gguf()).expect("a model");
        let (shape, cost) = (&file.shape, TokenCost::of(&file));
        let attention = 2 * shape.dim * shape.query_dim() + 2 * shape.dim * shape.kv_dim();
        let layer = attention + 3 * shape.dim * shape.ffn_dim;
        assert_eq!(cost.prompt_ops, (2 * shape.layers * layer) as u64);
        // Of the embedding table a row is looked up; the output matrix is another.
        let table = file.tensor(TensorRole::TokenEmbedding).expect("an embedding table");
        assert!(file.tensor(TensorRole::Output).is_some());
        assert_eq!(cost.step_bytes, file.weights_bytes() - table.bytes);
    }
}
