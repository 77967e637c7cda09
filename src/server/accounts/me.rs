//! What users change of themselves.

use axum::extract::State;
use axum::http::StatusCode;
use hearth_gateway::accounts::Preferences;
use hearth_store::Theme;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::session::still_signed_in;
use crate::body::{Json, present};
use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

/// New preferences; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    language: Option<Option<String>>,
    /// `system`, `light` or `dark`.
    #[schema(value_type = Option<String>)]
    theme: Option<Theme>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    default_model: Option<Option<String>>,
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    email: Option<Option<String>>,
}

pub(crate) async fn update(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<Change>,
) -> Result<axum::Json<Value>> {
    let preferences = Preferences {
        language: body.language,
        theme: body.theme,
        default_model: body.default_model,
        name: body.name,
        email: body.email,
    };
    let user = state.accounts().update_me(&caller, preferences).await?;
    Ok(axum::Json(json!({ "user": user })))
}

/// The password as it is and as it shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Passwords {
    current: String,
    new: String,
}

pub(crate) async fn change_password(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<Passwords>,
) -> Result<StatusCode> {
    let changed = state.accounts().change_password(&caller, &body.current, &body.new).await;
    changed.map_err(|error| still_signed_in(error.into()))?;
    Ok(StatusCode::NO_CONTENT)
}
