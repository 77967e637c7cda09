//! `/api/tags` and `/api/ps`: which models there are and which are loaded.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hearth_gateway::backend::{Activity, ModelState, ServedModel};
use hearth_gateway::dialect::ollama::tagged_name;
use hearth_hub::Entry;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Details, time_of};
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

/// What a model that stays for ever is said to stay: some hundred years.
const FOREVER_S: i64 = 100 * 365 * 24 * 3600;

pub(crate) async fn tags(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<Response> {
    let served = state.gateway().models(&caller);
    let names: HashSet<&str> = served.iter().map(|model| model.name.as_str()).collect();
    let mut entries = state.library().list();
    entries.retain(|entry| names.contains(entry.name.to_string().as_str()));
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.description.created_at));
    let here = entries.iter().map(|entry| Listed::Here(Tagged::new(entry)));
    let elsewhere = served.iter().filter(|model| model.state == ModelState::Remote);
    let models: Vec<Listed<'_>> = here.chain(elsewhere.map(Listed::elsewhere)).collect();
    // Printed here, for what is printed borrows from the entries.
    let body = serde_json::to_vec(&Tags { models })
        .map_err(|error| Failure::internal(format!("cannot print the models: {error}")))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

pub(crate) async fn running(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> axum::Json<Value> {
    let mut loaded = state.gateway().activity();
    loaded.retain(|model| caller.may_use_model(&model.model));
    // Those that stay longest come first; `None` is for ever.
    loaded.sort_by_key(|model| std::cmp::Reverse((model.expires_in.is_none(), model.expires_in)));
    let models: Vec<Value> =
        loaded.iter().filter_map(|model| running_model(&state, model)).collect();
    axum::Json(json!({ "models": models }))
}

fn running_model(state: &AppState, model: &Activity) -> Option<Value> {
    let mut shape = json!(Shape::new(&state.library().find(&model.model).ok()?));
    let expires_s = match model.expires_in {
        Some(time) => i64::try_from(time.as_secs()).unwrap_or(FOREVER_S),
        None => FOREVER_S,
    };
    shape["size"] = model.memory_bytes.into();
    shape["size_vram"] = model.gpu_bytes.into();
    shape["expires_at"] = time_of(state.now() + expires_s).into();
    shape["context_length"] = model.context_tokens.into();
    Some(shape)
}

/// The answer to `/api/tags`. Hundreds of models are asked for again and again: no tree of values is
/// built for them.
#[derive(Serialize)]
struct Tags<'a> {
    models: Vec<Listed<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Listed<'a> {
    Here(Tagged<'a>),
    Elsewhere(Value),
}

impl Listed<'_> {
    /// A model that somebody else runs, marked as Ollama marks those of its cloud; it has no files.
    fn elsewhere(model: &ServedModel) -> Self {
        Listed::Elsewhere(json!({
            "name": model.name,
            "model": model.name,
            "remote_model": model.name,
            "remote_host": "channel",
            "modified_at": time_of(model.created_at),
            "size": 0,
            "digest": "",
            "details": {
                "parent_model": "", "format": "", "family": "", "families": [],
                "parameter_size": "", "quantization_level": "",
            },
            "capabilities": ["completion"],
        }))
    }
}

#[derive(Serialize)]
struct Tagged<'a> {
    #[serde(flatten)]
    shape: Shape<'a>,
    modified_at: String,
    capabilities: &'a [String],
}

/// What both lists say of a model.
#[derive(Serialize)]
struct Shape<'a> {
    name: String,
    model: String,
    size: u64,
    digest: String,
    details: Details<'a>,
}

impl<'a> Tagged<'a> {
    fn new(entry: &'a Entry) -> Tagged<'a> {
        let about = &entry.description;
        Tagged {
            shape: Shape::new(entry),
            modified_at: time_of(about.created_at),
            capabilities: &about.capabilities,
        }
    }
}

impl<'a> Shape<'a> {
    fn new(entry: &'a Entry) -> Shape<'a> {
        let name = tagged_name(&entry.name.to_string());
        Shape {
            model: name.clone(),
            name,
            size: entry.size_bytes,
            digest: entry.digest.hex(),
            details: Details::of(entry),
        }
    }
}
