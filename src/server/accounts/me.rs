//! What users change of themselves.

use axum::extract::State;
use axum::http::StatusCode;
use hearth_gateway::Error as GatewayError;
use hearth_gateway::accounts::Preferences;
use hearth_store::Theme;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::body::{Json, present};
use crate::error::{Failure, Result};
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
    match state.accounts().change_password(&caller, &body.current, &body.new).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error @ GatewayError::WrongCredentials) => {
            // The caller is signed in; 401 would tell the web app otherwise.
            Err(Failure { status: StatusCode::FORBIDDEN, ..error.into() })
        }
        Err(error) => Err(error.into()),
    }
}
