//! `/api/embed` and `/api/embeddings`.

use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hearth_gateway::Error as GatewayError;
use hearth_gateway::caller::Caller;
use hearth_gateway::dialect::ollama::{self, EmbedCall};
use hearth_gateway::embedding::Embedded;
use hearth_gateway::event::Usage;
use hearth_gateway::request::RequestId;

use super::answer::keep;
use super::fold::folded;
use crate::body::{AnyBytes, parse, tell_ignored};
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) async fn embed(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    AnyBytes(body): AnyBytes,
) -> Result<Response> {
    let started = Instant::now();
    let call = parse(&state, body, id, |body, id| ollama::parse_embed(&folded(body), id)).await?;
    give(&state, &caller, call, started).await
}

pub(crate) async fn embeddings(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    AnyBytes(body): AnyBytes,
) -> Result<Response> {
    let started = Instant::now();
    let call =
        parse(&state, body, id, |body, id| ollama::parse_embeddings(&folded(body), id)).await?;
    give(&state, &caller, call, started).await
}

/// A text that is too long is told in other words here than a prompt.
fn by_route(error: GatewayError) -> Failure {
    match error {
        GatewayError::ContextFull { .. } => {
            Failure::invalid("the input length exceeds the context length")
        }
        other => other.into(),
    }
}

async fn give(
    state: &AppState,
    caller: &Caller,
    call: EmbedCall,
    started: Instant,
) -> Result<Response> {
    let served = state.gateway().model(caller, &call.request.model)?.name;
    let loading = Instant::now();
    state.gateway().prepare(caller, &served).await?;
    let load = loading.elapsed();
    let embedded = match call.request.inputs.is_empty() {
        true => Embedded { vectors: Vec::new(), usage: Usage::default() },
        false => {
            let embedded = state.gateway().embed(caller, call.request.clone()).await;
            let embedded = embedded.map_err(by_route)?;
            state.metrics().count_generation(&served, &embedded.usage);
            embedded
        }
    };
    let body = call.print(&embedded, started.elapsed(), load)?;
    let mut response = axum::Json(body).into_response();
    if let Some(time) = call.keep_alive
        && !keep(state, caller, &served, time).await?
    {
        tell_ignored(response.headers_mut(), &["keep_alive".to_owned()]);
    }
    Ok(response)
}
