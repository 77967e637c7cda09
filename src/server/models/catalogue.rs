//! Well-known models: what they are, whether they are here, and whether they would run here.

use axum::extract::{Query, State};
use hearth_hub::Catalogue;
use hearth_hub::catalogue::{Card, Variant};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Failure, Result};
use crate::state::{AppState, Fit};

/// Most families in one answer.
const MAX_CARDS: usize = 100;
/// Longest question, in bytes.
const MAX_WORDS_BYTES: usize = 200;

/// What is looked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Search {
    /// Words that all occur in what is found.
    #[serde(default)]
    q: String,
    /// Families to pass over.
    #[serde(default)]
    offset: usize,
    #[serde(default = "all")]
    limit: usize,
}

fn all() -> usize {
    MAX_CARDS
}

pub(crate) async fn search(
    State(state): State<AppState>,
    Query(search): Query<Search>,
) -> Result<axum::Json<Value>> {
    if !(1..=MAX_CARDS).contains(&search.limit) {
        return Err(Failure::invalid(format!("'limit' must be 1 to {MAX_CARDS}.")));
    }
    if search.q.len() > MAX_WORDS_BYTES {
        return Err(Failure::invalid(format!("'q' has at most {MAX_WORDS_BYTES} bytes.")));
    }
    let found = Catalogue::built_in().search(&search.q);
    let total = found.len();
    let cards: Vec<&Card> = found.into_iter().skip(search.offset).take(search.limit).collect();
    let end = search.offset.saturating_add(cards.len());
    let next = (end < total && !cards.is_empty()).then_some(end);
    let variants: Vec<&'static Variant> = cards.iter().flat_map(|card| &card.variants).collect();
    let judge = state.judge();
    let fits = tokio::task::spawn_blocking(move || judge(&variants)).await;
    let mut fits =
        fits.map_err(|error| Failure::internal(format!("catalogue: {error}")))?.into_iter();
    let mut shown = Vec::with_capacity(cards.len());
    for card in cards {
        let variants = card.variants.iter().map(|variant| {
            let fit = fits.next().map(|fit| json!(fit));
            shape(&state, variant, fit.unwrap_or(Value::Null))
        });
        let variants: Vec<Value> = variants.collect();
        shown.push(json!({
            "name": card.name,
            "title": card.title,
            "about": card.about,
            "maker": card.maker,
            "capabilities": card.capabilities,
            "sampling": card.sampling,
            "variants": variants,
        }));
    }
    Ok(axum::Json(json!({ "models": shown, "total": total, "next": next })))
}

fn shape(state: &AppState, variant: &Variant, fit: Value) -> Value {
    let aliases: Vec<String> = variant.aliases.iter().map(ToString::to_string).collect();
    json!({
        "name": variant.name,
        "aliases": aliases,
        "source": variant.source,
        "license": variant.license,
        "architecture": variant.architecture.name(),
        "parameters": variant.parameters,
        "file_bytes": variant.file_bytes,
        "quantization": variant.quantization,
        "context_tokens": variant.sizes.context_tokens,
        "installed": state.library().find(&variant.name.to_string()).is_ok(),
        "fit": fit,
    })
}

/// Tells of each variant how it would run; may block for some milliseconds.
pub type Judge = dyn Fn(&[&Variant]) -> Vec<Fit> + Send + Sync;
