//! Cards that could not be right are not right.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::cards::{FILES, parse};
use super::*;

fn all() -> Catalogue {
    parse().unwrap()
}

fn variants(catalogue: &Catalogue) -> impl Iterator<Item = &Variant> {
    catalogue.cards.iter().flat_map(|card| &card.variants)
}

#[test]
fn every_card_of_the_folder_is_part_of_the_binary_and_parses() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/catalogue");
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(FILES.contains(&text.as_str()), "{} is not listed", path.display());
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(text.starts_with(&format!("name = \"{name}\"\n")), "{}", path.display());
        files += 1;
    }
    assert_eq!(files, FILES.len());
    assert!(files >= 40, "{files}");
    assert_eq!(all().cards.len(), files);
}

#[test]
fn no_name_or_alias_is_another_models() {
    let catalogue = all();
    let mut seen = HashSet::new();
    for variant in variants(&catalogue) {
        for name in std::iter::once(&variant.name).chain(&variant.aliases) {
            assert!(seen.insert(name.clone()), "{name} twice");
            assert_eq!(catalogue.find(name).map(|found| &found.name), Some(&variant.name));
        }
    }
}

#[test]
fn a_card_says_something_of_itself() {
    let known = ["completion", "tools", "thinking", "insert", "embedding"];
    for card in all().cards {
        assert!(!card.variants.is_empty(), "{}", card.name);
        assert!(card.about.ends_with('.') && card.about.len() < 100, "{}", card.about);
        assert!(!card.title.is_empty() && !card.maker.is_empty(), "{}", card.name);
        let capabilities = &card.capabilities;
        assert!(capabilities.iter().all(|one| known.contains(&one.as_str())), "{}", card.name);
        let sizes: Vec<u64> = card.variants.iter().map(|variant| variant.parameters).collect();
        assert!(sizes.is_sorted(), "{}: {sizes:?}", card.name);
        for variant in &card.variants {
            let writes = capabilities.iter().any(|one| one == "completion");
            assert_eq!(writes, !variant.architecture.is_encoder(), "{}", variant.name);
            assert!(!variant.license.is_empty(), "{}", variant.name);
        }
    }
}

/// Numbers in the matrices of a model with these sizes.
fn counted(variant: &Variant) -> usize {
    let Sizes { layers, dim, ffn_dim, heads, kv_heads, head_dim, vocab, .. } = variant.sizes;
    let attention = 2 * dim * (heads + kv_heads) * head_dim;
    let table = vocab * dim;
    match variant.architecture {
        // GELU has two matrices, and positions are a table.
        Architecture::Bert | Architecture::XlmRoberta => {
            let positions = variant.sizes.context_tokens * dim;
            table + positions + layers * (attention + 2 * dim * ffn_dim)
        }
        Architecture::NomicBert => table + layers * (attention + 3 * dim * ffn_dim),
        _ => {
            let experts = variant.sizes.experts.map_or(1, |experts| experts.count);
            let router = variant.sizes.experts.map_or(0, |experts| experts.count * dim);
            let tables = if variant.sizes.tied_embeddings { table } else { 2 * table };
            tables + layers * (attention + experts * 3 * dim * ffn_dim + router)
        }
    }
}

#[test]
fn dimensions_parameters_and_bytes_agree_with_each_other() {
    for variant in variants(&all()) {
        let (name, sizes) = (&variant.name, &variant.sizes);
        let ratio = counted(variant) as f64 / variant.parameters as f64;
        assert!((0.985..=1.015).contains(&ratio), "{name}: {ratio} of its parameters");
        // Of all weights; tables are kept with more bits than the rest, in small models much.
        let bits = match variant.quantization {
            Quantization::Q4_0 => 4.4..=5.0,
            Quantization::Q4KM => 4.7..=6.6,
            Quantization::Q8_0 => 8.4..=8.8,
            Quantization::F16 => 16.0..=17.0,
        };
        let found = variant.file_bytes as f64 * 8.0 / counted(variant) as f64;
        assert!(bits.contains(&found), "{name}: {found} bits");
        assert!(sizes.heads.is_multiple_of(sizes.kv_heads), "{name}");
        assert!((512..=1 << 20).contains(&sizes.context_tokens), "{name}");
        if let Some(experts) = sizes.experts {
            assert!((1..=experts.count).contains(&experts.used), "{name}");
        }
    }
}

#[test]
fn recommended_sampling_is_within_what_requests_may_ask() {
    for card in all().cards {
        let Recommended { temperature, top_p, top_k, repeat_penalty } = card.sampling;
        assert!(temperature.is_none_or(|value| (0.0..=2.0).contains(&value)), "{}", card.name);
        assert!(top_p.is_none_or(|value| (0.0..=1.0).contains(&value)), "{}", card.name);
        assert!(top_k.is_none_or(|value| (1..=1000).contains(&value)), "{}", card.name);
        assert!(repeat_penalty.is_none_or(|value| (0.5..=2.0).contains(&value)), "{}", card.name);
    }
}

#[test]
fn words_find_cards_and_names_come_first() {
    let catalogue = all();
    let names = |words: &str| -> Vec<&str> {
        catalogue.search(words).iter().map(|card| card.name.as_str()).collect()
    };
    assert_eq!(names("").len(), catalogue.cards.len());
    assert_eq!(names("qwen3")[0], "qwen3");
    assert_eq!(names("QWEN3:0.6b")[0], "qwen3");
    assert!(names("google").contains(&"gemma3"));
    assert!(names("embedding search").contains(&"nomic-embed-text"));
    assert!(names("thinking alibaba").contains(&"qwq"));
    assert!(names("no such model").is_empty());
}

#[test]
fn a_model_that_its_registry_has_otherwise_comes_from_elsewhere() {
    let catalogue = all();
    let find = |name: &str| catalogue.find(&name.parse().unwrap()).unwrap();
    assert_eq!(find("gemma3:4b").source.host(), "hf.co");
    assert_eq!(find("Qwen3:0.6B").source, find("qwen3:0.6b").name);
    assert_eq!(find("phi3:mini").name.to_string(), "phi3:3.8b");
    assert!(catalogue.find(&"me/own:latest".parse().unwrap()).is_none());
}
