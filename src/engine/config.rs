//! The engine's settings.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Limits and choices of the engine; one for all models of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Where models run: `auto` (a GPU with room, else the CPU), `cpu` or `gpu`.
    pub device: DevicePreference,
    /// Longest context of any sequence, in tokens; 0 is the model's own.
    pub context_tokens: u32,
    /// Tokens in one page of the KV cache, 1 to 256.
    pub page_tokens: usize,
    /// Most memory for one model's KV cache, in bytes; less is taken where less is useful.
    pub kv_cache_bytes: u64,
    /// How the KV cache in host memory keeps its numbers: `auto`, `f32`, `f16` or `q8_0`. A GPU's
    /// cache has f32.
    pub kv_type: KvType,
    /// Whether prompts of one caller that begin alike are computed once: pages of the KV cache keep
    /// what they hold until their place is needed.
    pub prefix_reuse: bool,
    /// Tokens one step may run, over all sequences; at least `max_sequences`.
    pub budget_tokens: usize,
    /// Sequences of one model that run at once.
    pub max_sequences: usize,
    /// Whether to guess how answers go on, from how their text went on before, and verify several
    /// tokens at once: answers stay the same, and those that quote come faster. `auto` (where it
    /// pays), `always` or `off`.
    pub speculation: Speculation,
    /// Guesses for one answer that a step may verify, 1 to 63.
    pub speculative_tokens: usize,
    /// Small models that guess for large ones of the same vocabulary, each as `LARGE=SMALL`; they
    /// take memory beside them.
    pub draft_models: Vec<String>,
    /// Sequences of one model that may wait; more are refused as busy.
    pub queue_sequences: usize,
    /// Sequences of one caller and one model that may wait; more are refused as busy.
    pub queue_sequences_per_caller: usize,
    /// Seconds after which a sequence that has not ended counts as one priority higher, so that
    /// nobody waits for ever.
    pub priority_age_s: u64,
    /// Events kept for a reader that lags; a sequence whose reader lags further is paused.
    pub event_buffer: usize,
    /// Seconds until a paused sequence is ended.
    pub reader_timeout_s: u64,
    /// Models that may be loaded at once.
    pub max_loaded_models: usize,
    /// Seconds until an idle model is unloaded; 0 is never.
    pub keep_alive_s: u64,
    /// Share of the free memory that models may take, 0.1 to 1.
    pub memory_share: f64,
}

/// Which kind of device models run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DevicePreference {
    /// A GPU that has room, else the CPU.
    #[default]
    Auto,
    /// The CPU only.
    Cpu,
    /// A GPU only; a model that fits none is refused.
    Gpu,
}

/// When guesses are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speculation {
    /// Where that is faster, by what steps were measured to take.
    #[default]
    Auto,
    /// Wherever there are any.
    Always,
    Off,
}

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvType {
    /// f32 for a model whose weights are, f16 for any other.
    #[default]
    Auto,
    F32,
    F16,
    /// Bytes, with a half float for each 32: little more than half of f16.
    Q8_0,
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            device: DevicePreference::Auto,
            context_tokens: 0,
            page_tokens: 16,
            kv_cache_bytes: 4 << 30,
            kv_type: KvType::Auto,
            prefix_reuse: true,
            budget_tokens: 512,
            max_sequences: 32,
            speculation: Speculation::Auto,
            speculative_tokens: 15,
            draft_models: Vec::new(),
            queue_sequences: 256,
            queue_sequences_per_caller: 64,
            priority_age_s: 30,
            event_buffer: 256,
            reader_timeout_s: 120,
            max_loaded_models: 4,
            keep_alive_s: 300,
            memory_share: 0.9,
        }
    }
}

impl EngineConfig {
    /// The large models that have a draft model, each with that one's name.
    pub fn draft_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.draft_models.iter().filter_map(|pair| draft_pair(pair))
    }

    /// Says which setting is out of range, if one is.
    pub fn validate(&self) -> Result<()> {
        let within = |key, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::Config { key, problem: format!("is {value}, must be {low} to {high}") })
        };
        within("page_tokens", self.page_tokens as u64, 1, 256)?;
        within("kv_cache_bytes", self.kv_cache_bytes, 1 << 16, 1 << 44)?;
        within("max_sequences", self.max_sequences as u64, 1, 1024)?;
        let sequences = self.max_sequences as u64;
        within("budget_tokens", self.budget_tokens as u64, sequences, 1 << 16)?;
        within("speculative_tokens", self.speculative_tokens as u64, 1, 63)?;
        within("queue_sequences", self.queue_sequences as u64, 1, 65_536)?;
        let per_caller = self.queue_sequences_per_caller as u64;
        within("queue_sequences_per_caller", per_caller, 1, 65_536)?;
        within("priority_age_s", self.priority_age_s, 1, 86_400)?;
        within("event_buffer", self.event_buffer as u64, 4, 65_536)?;
        within("reader_timeout_s", self.reader_timeout_s, 1, 86_400)?;
        within("max_loaded_models", self.max_loaded_models as u64, 1, 1024)?;
        within("keep_alive_s", self.keep_alive_s, 0, 31_536_000)?;
        let is_pair = |pair: &String| draft_pair(pair).is_some();
        if let Some(pair) = self.draft_models.iter().find(|pair| !is_pair(pair)) {
            let problem = format!("has {pair:?}, must be names of two models: large=small");
            return Err(Error::Config { key: "draft_models", problem });
        }
        if !(0.1..=1.0).contains(&self.memory_share) {
            let problem = format!("is {}, must be 0.1 to 1", self.memory_share);
            return Err(Error::Config { key: "memory_share", problem });
        }
        Ok(())
    }
}

/// The names of the large model and of the small one.
fn draft_pair(pair: &str) -> Option<(&str, &str)> {
    let (large, small) = pair.split_once('=')?;
    let (large, small) = (large.trim(), small.trim());
    (!large.is_empty() && !small.is_empty() && !small.contains('=')).then_some((large, small))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert!(EngineConfig::default().validate().is_ok());
    }

    #[test]
    fn a_draft_model_is_named_with_its_large_one() {
        let with = |pair: &str| EngineConfig {
            draft_models: vec![pair.to_string()],
            ..EngineConfig::default()
        };
        let config = with("llama3.1:8b = llama3.2:1b");
        assert!(config.validate().is_ok());
        assert_eq!(config.draft_pairs().collect::<Vec<_>>(), [("llama3.1:8b", "llama3.2:1b")]);
        for pair in ["llama3.2:1b", "=small", "large=", "a=b=c"] {
            let problem = with(pair).validate().expect_err("refused").to_string();
            assert!(problem.contains("draft_models"), "{problem}");
        }
    }

    #[test]
    fn a_bad_setting_is_named_with_its_range() {
        let config = EngineConfig { budget_tokens: 8, ..EngineConfig::default() };
        let message = config.validate().expect_err("8 < 32").to_string();
        assert!(message.contains("budget_tokens") && message.contains("32"), "{message}");
        let config = EngineConfig { memory_share: f64::NAN, ..EngineConfig::default() };
        assert!(config.validate().is_err());
    }
}
