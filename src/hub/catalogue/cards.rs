//! Reads the cards as they are written.

use hearth_formats::Architecture;
use serde::Deserialize;

use super::{Card, Catalogue, Experts, Quantization, Recommended, Sizes, Variant};
use crate::name::ModelName;

/// Every file of `models/catalogue/`; a test holds the list complete.
pub(super) const FILES: [&str; 41] = [
    include_str!("../../../models/catalogue/all-minilm.toml"),
    include_str!("../../../models/catalogue/bge-large.toml"),
    include_str!("../../../models/catalogue/bge-m3.toml"),
    include_str!("../../../models/catalogue/codellama.toml"),
    include_str!("../../../models/catalogue/codestral.toml"),
    include_str!("../../../models/catalogue/deepseek-coder.toml"),
    include_str!("../../../models/catalogue/deepseek-r1.toml"),
    include_str!("../../../models/catalogue/devstral.toml"),
    include_str!("../../../models/catalogue/dolphin3.toml"),
    include_str!("../../../models/catalogue/falcon3.toml"),
    include_str!("../../../models/catalogue/gemma2.toml"),
    include_str!("../../../models/catalogue/gemma3.toml"),
    include_str!("../../../models/catalogue/hermes3.toml"),
    include_str!("../../../models/catalogue/llama2.toml"),
    include_str!("../../../models/catalogue/llama3.toml"),
    include_str!("../../../models/catalogue/llama3.1.toml"),
    include_str!("../../../models/catalogue/llama3.2.toml"),
    include_str!("../../../models/catalogue/llama3.3.toml"),
    include_str!("../../../models/catalogue/magistral.toml"),
    include_str!("../../../models/catalogue/mistral.toml"),
    include_str!("../../../models/catalogue/mistral-nemo.toml"),
    include_str!("../../../models/catalogue/mistral-small.toml"),
    include_str!("../../../models/catalogue/mxbai-embed-large.toml"),
    include_str!("../../../models/catalogue/nomic-embed-text.toml"),
    include_str!("../../../models/catalogue/phi3.toml"),
    include_str!("../../../models/catalogue/phi3.5.toml"),
    include_str!("../../../models/catalogue/phi4.toml"),
    include_str!("../../../models/catalogue/phi4-mini.toml"),
    include_str!("../../../models/catalogue/phi4-reasoning.toml"),
    include_str!("../../../models/catalogue/qwen2.5.toml"),
    include_str!("../../../models/catalogue/qwen2.5-coder.toml"),
    include_str!("../../../models/catalogue/qwen3.toml"),
    include_str!("../../../models/catalogue/qwen3-coder.toml"),
    include_str!("../../../models/catalogue/qwq.toml"),
    include_str!("../../../models/catalogue/smollm2.toml"),
    include_str!("../../../models/catalogue/snowflake-arctic-embed.toml"),
    include_str!("../../../models/catalogue/snowflake-arctic-embed2.toml"),
    include_str!("../../../models/catalogue/tinyllama.toml"),
    include_str!("../../../models/catalogue/tulu3.toml"),
    include_str!("../../../models/catalogue/yi-coder.toml"),
    include_str!("../../../models/catalogue/zephyr.toml"),
];

/// A file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    title: String,
    about: String,
    maker: String,
    license: String,
    architecture: String,
    context_tokens: usize,
    capabilities: Vec<String>,
    #[serde(default)]
    sampling: Recommended,
    variants: Vec<WrittenVariant>,
}

/// A variant; what it does not say is as its family's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenVariant {
    tag: String,
    #[serde(default)]
    aliases: Vec<String>,
    source: Option<String>,
    license: Option<String>,
    architecture: Option<String>,
    context_tokens: Option<usize>,
    parameters: u64,
    file_bytes: u64,
    quantization: Quantization,
    layers: usize,
    dim: usize,
    ffn_dim: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    vocab: usize,
    #[serde(default)]
    tied_embeddings: bool,
    experts: Option<Experts>,
}

/// All cards, by name; says which file is wrong and why.
pub(super) fn parse() -> Result<Catalogue, String> {
    let cards: Result<Vec<Card>, String> = FILES.iter().copied().map(card).collect();
    let mut cards = cards?;
    cards.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Catalogue { cards })
}

fn card(text: &str) -> Result<Card, String> {
    let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
    let variants: Result<Vec<Variant>, String> =
        written.variants.iter().map(|variant| written.variant(variant)).collect();
    let variants = variants.map_err(|problem| format!("{}: {problem}", written.name))?;
    Ok(Card {
        name: written.name,
        title: written.title,
        about: written.about,
        maker: written.maker,
        capabilities: written.capabilities,
        sampling: written.sampling,
        variants,
    })
}

impl Written {
    fn variant(&self, variant: &WrittenVariant) -> Result<Variant, String> {
        let named = |text: &str| text.parse::<ModelName>().map_err(|error| error.to_string());
        let name = named(&format!("{}:{}", self.name, variant.tag))?;
        let architecture = variant.architecture.as_ref().unwrap_or(&self.architecture);
        let known = Architecture::ALL.into_iter().find(|known| known.name() == architecture);
        Ok(Variant {
            source: variant.source.as_deref().map_or_else(|| Ok(name.clone()), named)?,
            aliases: variant.aliases.iter().map(|alias| named(alias)).collect::<Result<_, _>>()?,
            name,
            license: variant.license.as_ref().unwrap_or(&self.license).clone(),
            architecture: known.ok_or_else(|| format!("{architecture} cannot be run"))?,
            parameters: variant.parameters,
            file_bytes: variant.file_bytes,
            quantization: variant.quantization,
            sizes: Sizes {
                layers: variant.layers,
                dim: variant.dim,
                ffn_dim: variant.ffn_dim,
                heads: variant.heads,
                kv_heads: variant.kv_heads,
                head_dim: variant.head_dim,
                vocab: variant.vocab,
                tied_embeddings: variant.tied_embeddings,
                experts: variant.experts,
                context_tokens: variant.context_tokens.unwrap_or(self.context_tokens),
            },
        })
    }
}
