//! Well-known models: what they are called, where they come from, and the sizes by which the
//! engine can tell whether one fits before anything is fetched.
//!
//! The cards are TOML files in `models/catalogue/`, part of the binary and parsed once. They are
//! an offer, no limit: any model of an allowed registry can be pulled by its name.

mod cards;

use std::sync::OnceLock;

use hearth_formats::Architecture;
use serde::{Deserialize, Serialize};

use crate::name::ModelName;

/// All cards.
#[derive(Debug)]
pub struct Catalogue {
    /// By name.
    pub cards: Vec<Card>,
}

/// A family of models.
#[derive(Debug)]
pub struct Card {
    /// The name without a tag.
    pub name: String,
    pub title: String,
    /// A sentence for people.
    pub about: String,
    pub maker: String,
    /// As Ollama calls them: completion, tools, thinking, insert, embedding.
    pub capabilities: Vec<String>,
    /// How its makers say that answers are best drawn.
    pub sampling: Recommended,
    /// The small ones first.
    pub variants: Vec<Variant>,
}

/// One model of a family, as one file.
#[derive(Debug)]
pub struct Variant {
    /// Its name in the library.
    pub name: ModelName,
    /// Other names under which it is asked for.
    pub aliases: Vec<ModelName>,
    /// Where it is pulled from.
    pub source: ModelName,
    pub license: String,
    pub architecture: Architecture,
    pub parameters: u64,
    /// As its registry shows it, rounded to two or three digits.
    pub file_bytes: u64,
    pub quantization: Quantization,
    pub sizes: Sizes,
}

/// The dimensions that memory depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    pub layers: usize,
    pub dim: usize,
    /// Of one expert where there are experts.
    pub ffn_dim: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
    /// The output matrix is the embedding table.
    pub tied_embeddings: bool,
    pub experts: Option<Experts>,
    /// Positions the model was trained for.
    pub context_tokens: usize,
}

/// Parts of which a token takes a few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experts {
    pub count: usize,
    pub used: usize,
}

/// How most weights of a card's file are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quantization {
    #[serde(rename = "Q4_0")]
    Q4_0,
    #[serde(rename = "Q4_K_M")]
    Q4KM,
    #[serde(rename = "Q8_0")]
    Q8_0,
    F16,
}

/// Recommended sampling; what is absent is left to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recommended {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_penalty: Option<f32>,
}

impl Catalogue {
    /// The catalogue of this binary.
    pub fn built_in() -> &'static Catalogue {
        static BUILT_IN: OnceLock<Catalogue> = OnceLock::new();
        BUILT_IN.get_or_init(|| cards::parse().expect("a test parses every card"))
    }

    /// The cards in which every one of these words occurs; those that are named so come first.
    pub fn search(&self, words: &str) -> Vec<&Card> {
        let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
        let has_all = |card: &&Card| words.iter().all(|word| card.mentions(word));
        let mut found: Vec<&Card> = self.cards.iter().filter(has_all).collect();
        // The sort is stable: within a rank they stay by name.
        found.sort_by_key(|card| !words.iter().any(|word| card.is_named(word)));
        found
    }

    /// The model of this name or alias.
    pub fn find(&self, name: &ModelName) -> Option<&Variant> {
        self.cards
            .iter()
            .flat_map(|card| &card.variants)
            .find(|variant| variant.name == *name || variant.aliases.contains(name))
    }
}

impl Card {
    fn is_named(&self, word: &str) -> bool {
        let stem = word.split(':').next().unwrap_or(word);
        !stem.is_empty() && self.name.starts_with(stem)
    }

    fn mentions(&self, word: &str) -> bool {
        let texts = [&self.name, &self.title, &self.about, &self.maker];
        texts.iter().any(|text| text.to_lowercase().contains(word))
            || self.capabilities.iter().any(|capability| capability.starts_with(word))
            || self.variants.iter().any(|variant| variant.is_called(word))
    }
}

impl Variant {
    fn is_called(&self, word: &str) -> bool {
        let mut names = std::iter::once(&self.name).chain(&self.aliases);
        names.any(|name| name.to_string().to_lowercase().contains(word))
            || self.architecture.name() == word
            || self.source.to_string().to_lowercase().contains(word)
    }
}

#[cfg(test)]
mod tests;
