//! `/api/copy` and `/api/delete`: what admins do with names of models.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use hearth_gateway::request::RequestId;
use hearth_hub::{Error as HubError, ModelName, Origin};
use serde::Deserialize;

use super::fold::folded;
use crate::body::{AnyBytes, parse};
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::models::on_library;
use crate::state::AppState;

/// A body that names a model; clients differ in the field.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    pub(super) model: String,
    name: String,
    pub(super) verbose: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Copied {
    source: String,
    destination: String,
}

/// Reads a body as Ollama does: what is not known is passed over.
pub(super) async fn read<T: serde::de::DeserializeOwned + Send + 'static>(
    state: &AppState,
    body: axum::body::Bytes,
    id: RequestId,
) -> Result<T> {
    parse(state, body, id, |body, _| {
        let invalid = |message: String| hearth_gateway::Error::Invalid { param: None, message };
        if body.trim_ascii().is_empty() {
            return Err(invalid("missing request body".to_owned()));
        }
        serde_json::from_slice(&folded(body)).map_err(|error| invalid(error.to_string()))
    })
    .await
}

impl Named {
    pub(super) fn model(&self) -> &str {
        if self.model.is_empty() { &self.name } else { &self.model }
    }
}

pub(crate) async fn copy(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    AnyBytes(body): AnyBytes,
) -> Result<StatusCode> {
    let Copied { source, destination } = read(&state, body, id).await?;
    for (what, name) in [("source", &source), ("destination", &destination)] {
        if name.parse::<ModelName>().is_err() {
            return Err(Failure::invalid(format!("{what} {name:?} is invalid")));
        }
    }
    let absent = |_| {
        Failure::new(
            StatusCode::NOT_FOUND,
            "model_not_found",
            format!("model {source:?} not found"),
        )
    };
    let served = state.gateway().model(&caller, &source).map_err(absent)?;
    on_library(&state, move |library| library.copy_over(&served.name, &destination)).await?;
    Ok(StatusCode::OK)
}

pub(crate) async fn delete(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    AnyBytes(body): AnyBytes,
) -> Result<StatusCode> {
    let named: Named = read(&state, body, id).await?;
    let name = named.model();
    if name.parse::<ModelName>().is_err() {
        return Err(Failure::invalid(format!("name {name:?} is invalid")));
    }
    let served = state.gateway().model(&caller, name)?;
    let entry = state.library().find(&served.name)?;
    if entry.origin == Origin::Builtin {
        return Err(HubError::Builtin(entry.name).into());
    }
    // First, because nobody can unload a model whose name the library has forgotten.
    state.gateway().unload(&caller, &served.name).await?;
    on_library(&state, move |library| library.remove(&served.name)).await?;
    Ok(StatusCode::OK)
}
