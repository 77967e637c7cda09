//! candle-transformers' own quantised models: one batch of streams of one length, their own
//! growing cache.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::quantized::gguf_file::Content;
use candle_core::{D, Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen3};

/// A loaded model.
pub enum Candle {
    Llama(Box<quantized_llama::ModelWeights>),
    Qwen3(Box<quantized_qwen3::ModelWeights>),
}

impl Candle {
    pub fn load(path: &Path) -> Result<Candle> {
        let mut file = File::open(path).with_context(|| path.display().to_string())?;
        let content = Content::read(&mut file)?;
        let architecture = content.metadata.get("general.architecture").context("no architecture");
        Ok(match architecture?.to_string()?.as_str() {
            "qwen3" => {
                let device = &Device::Cpu;
                let model = quantized_qwen3::ModelWeights::from_gguf(content, &mut file, device)?;
                Candle::Qwen3(Box::new(model))
            }
            _ => {
                let device = &Device::Cpu;
                let model = quantized_llama::ModelWeights::from_gguf(content, &mut file, device)?;
                Candle::Llama(Box::new(model))
            }
        })
    }

    /// Greedy tokens per second after the first, of several streams together.
    pub fn decode(&mut self, prompts: &[Vec<u32>], tokens: u32) -> Result<f64> {
        let (streams, length) = (prompts.len(), prompts[0].len());
        let prompts = Tensor::new(prompts.concat(), &Device::Cpu)?.reshape((streams, length))?;
        let mut drawn = self.start(&prompts)?;
        let begun = Instant::now();
        for step in 0..tokens as usize - 1 {
            let input = drawn.reshape((streams, 1))?;
            drawn = self.forward(&input, length + step)?;
        }
        drawn.to_vec1::<u32>()?;
        Ok(f64::from(tokens - 1) * streams as f64 / begun.elapsed().as_secs_f64())
    }

    /// Prompt tokens per second up to the first token.
    pub fn prefill(&mut self, prompt: &[u32]) -> Result<f64> {
        let input = Tensor::new(prompt, &Device::Cpu)?.reshape((1, prompt.len()))?;
        let begun = Instant::now();
        self.start(&input)?.to_vec1::<u32>()?;
        Ok(prompt.len() as f64 / begun.elapsed().as_secs_f64())
    }

    /// Forgets everything, then reads prompts.
    fn start(&mut self, prompts: &Tensor) -> Result<Tensor> {
        match self {
            Candle::Llama(model) => model.clear_kv_cache(),
            Candle::Qwen3(model) => model.clear_kv_cache(),
        }
        self.forward(prompts, 0)
    }

    /// The likeliest next token of each stream.
    fn forward(&mut self, input: &Tensor, position: usize) -> Result<Tensor> {
        let logits = match self {
            Candle::Llama(model) => model.forward(input, position)?,
            Candle::Qwen3(model) => model.forward(input, position)?,
        };
        Ok(logits.argmax(D::Minus1)?)
    }
}
