//! Sends a model to a registry, and tells how far it is: one JSON object per line.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use hearth_hub::{Error as HubError, ModelName, Origin, PushEvent, PushProgress, PushWatch};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::body::Json;
use crate::error::{Failure, Result};
use crate::ndjson;
use crate::state::AppState;

/// A model of this library, and by its name the registry that it is sent to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Push {
    /// As in `registry.example/team/model:tag`.
    name: String,
}

pub(crate) async fn push(
    State(state): State<AppState>,
    Json(body): Json<Push>,
) -> Result<Response> {
    let watch = state.pushes().start(&whole(&state, &body.name)?)?;
    Ok(ndjson::answer(stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        Some((line(event, &watch), watch))
    })))
}

/// The name of a model of the library that is more than a part of the program.
pub(crate) fn whole(state: &AppState, name: &str) -> Result<ModelName> {
    let entry = state.library().find(name)?;
    match entry.origin {
        Origin::Builtin => Err(HubError::Builtin(entry.name).into()),
        Origin::Imported => Ok(entry.name),
    }
}

/// Progress, and at last `{"pushed": …}` or `{"error": …}`.
fn line(event: PushEvent, watch: &PushWatch) -> Bytes {
    let value = match event {
        PushEvent::Progress(PushProgress::Manifest) => json!({ "stage": "manifest" }),
        PushEvent::Progress(PushProgress::Sending { digest, total, completed }) => json!({
            "stage": "sending", "digest": digest, "total": total, "completed": completed,
        }),
        PushEvent::Progress(PushProgress::Naming) => json!({ "stage": "naming" }),
        PushEvent::Done => json!({ "pushed": watch.name() }),
        PushEvent::Failed(error) => {
            let failure = Failure::from(error);
            if let Some(detail) = &failure.detail {
                tracing::warn!(%detail, "a push failed on this machine");
            }
            json!({ "error": { "code": failure.code, "message": failure.message } })
        }
    };
    Bytes::from(format!("{value}\n"))
}
