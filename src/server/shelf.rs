//! `/hearth/shelf…`: prompts behind a command and presets of models, one's own and shared ones.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use hearth_gateway::caller::Caller;
use hearth_store::{Audience, GroupId, NewShelfItem, ShelfId, ShelfKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::body::Json;
use crate::chats::Settings;
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

/// Longest name, in characters.
const MAX_NAME_CHARS: usize = 80;
/// Longest text of a prompt, in characters.
const MAX_TEXT_CHARS: usize = 50_000;

/// A prompt or a preset.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    /// The command of a prompt, without its stroke; the title of a preset.
    name: String,
    /// `me`, `group` or `all`; only admins choose others than `me`.
    #[schema(value_type = Option<String>)]
    audience: Option<Audience>,
    #[schema(value_type = Option<i64>)]
    group_id: Option<GroupId>,
    prompt: Option<Prompt>,
    preset: Option<Preset>,
}

/// A text behind a command.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prompt {
    text: String,
}

/// A model with its instructions and parameters.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preset {
    model: Option<String>,
    settings: Settings,
}

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let items = state.store().shelf().list(caller.owner()?).await?;
    Ok(axum::Json(json!({ "items": items })))
}

pub(crate) async fn add(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<Item>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    let id = ShelfId(Uuid::now_v7().to_string());
    let new = item(&caller, id, body, state.now())?;
    let item = state.store().shelf().add(caller.owner()?, new).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "item": item }))))
}

pub(crate) async fn update(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
    Json(body): Json<Item>,
) -> Result<axum::Json<Value>> {
    let new = item(&caller, ShelfId(id), body, state.now())?;
    let item = state.store().shelf().update(caller.owner()?, new).await?;
    Ok(axum::Json(json!({ "item": item })))
}

pub(crate) async fn delete(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    state.store().shelf().delete(caller.owner()?, ShelfId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn item(caller: &Caller, id: ShelfId, body: Item, now: i64) -> Result<NewShelfItem> {
    let name = body.name.trim().to_owned();
    let length = name.chars().count();
    if !(1..=MAX_NAME_CHARS).contains(&length) {
        let message = format!("'name' must have 1 to {MAX_NAME_CHARS} characters.");
        return Err(Failure::invalid(message));
    }
    let audience = body.audience.unwrap_or(Audience::Me);
    if audience != Audience::Me {
        caller.require_admin()?;
    }
    if (audience == Audience::Group) != body.group_id.is_some() {
        return Err(Failure::invalid("Send 'group_id' with the audience 'group', and only then."));
    }
    let (kind, content) = match (body.prompt, body.preset) {
        (Some(prompt), None) => (ShelfKind::Prompt, prompt_body(&name, prompt)?),
        (None, Some(preset)) => {
            preset.settings.check()?;
            (ShelfKind::Preset, json!(preset))
        }
        _ => return Err(Failure::invalid("Send either 'prompt' or 'preset'.")),
    };
    let (group_id, created_at) = (body.group_id, now);
    Ok(NewShelfItem { id, kind, name, body: content, audience, group_id, created_at })
}

fn prompt_body(name: &str, prompt: Prompt) -> Result<Value> {
    if name.contains(|letter: char| letter.is_whitespace() || letter == '/') {
        return Err(Failure::invalid("A command has no spaces and no stroke."));
    }
    if prompt.text.trim().is_empty() || prompt.text.chars().count() > MAX_TEXT_CHARS {
        let message = format!("'text' must have 1 to {MAX_TEXT_CHARS} characters.");
        return Err(Failure::invalid(message));
    }
    Ok(json!(prompt))
}
