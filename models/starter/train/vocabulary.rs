//! The vocabulary: byte-level pairs learned from the corpus, split as GPT-2 splits text.

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

/// Control tokens, which take the first ids: begin of a chat, who speaks, end of a message.
pub const BEGIN: u32 = 0;
pub const END: u32 = 1;
pub const USER: u32 = 2;
pub const ASSISTANT: u32 = 3;
const CONTROL: [&str; 4] = ["<|begin|>", "<|end|>", "<|user|>", "<|assistant|>"];

/// Text to token ids and back.
pub struct Vocabulary {
    tokenizer: Tokenizer,
    /// Every token as written in the file, by id.
    pub tokens: Vec<String>,
    /// Pairs to join, the first ones first, as `left right`.
    pub merges: Vec<String>,
}

impl Vocabulary {
    /// Learns at most `size` tokens from `texts`.
    pub fn learn(texts: &[String], size: usize) -> Result<Self> {
        let mut tokenizer = Tokenizer::new(BPE::default());
        tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        tokenizer.with_decoder(Some(ByteLevel::default()));
        let control = CONTROL.map(|token| AddedToken::from(token, true));
        let trainer = BpeTrainer::builder()
            .vocab_size(size)
            .show_progress(false)
            .special_tokens(control.to_vec())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let mut trainer = TrainerWrapper::BpeTrainer(trainer);
        tokenizer.train(&mut trainer, texts.iter()).map_err(|error| anyhow!(error))?;
        let tokens = (0..tokenizer.get_vocab_size(true) as u32)
            .map(|id| tokenizer.id_to_token(id).with_context(|| format!("no token {id}")))
            .collect::<Result<_>>()?;
        let merges = learned_merges(&tokenizer)?;
        Ok(Self { tokenizer, tokens, merges })
    }

    /// Token ids of plain text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|error| anyhow!(error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `ids`, without control tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, true).map_err(|error| anyhow!(error))
    }

    /// Whether `id` steers the chat instead of being text.
    pub fn is_control(id: usize) -> bool {
        id < CONTROL.len()
    }
}

/// The library shows the merges in its file format only.
fn learned_merges(tokenizer: &Tokenizer) -> Result<Vec<String>> {
    let file = tokenizer.to_string(false).map_err(|error| anyhow!(error))?;
    let file: Value = serde_json::from_str(&file)?;
    let merges = file["model"]["merges"].as_array().context("no merges")?;
    let pair = |merge: &Value| {
        let (left, right) = (merge[0].as_str()?, merge[1].as_str()?);
        Some(format!("{left} {right}"))
    };
    merges.iter().map(|merge| pair(merge).context("a merge is no pair")).collect()
}
