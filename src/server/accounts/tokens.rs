//! API tokens.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use hearth_gateway::accounts::{NewToken, TokenChange};
use hearth_store::{ApiToken, ApiTokenId, Grant, Holder, MAX_PAGE};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::body::{Json, present};
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::quota::wallets::dollars;
use crate::state::AppState;

/// Most API tokens that one answer lists.
const MAX_LISTED: usize = 100_000;

/// Whose API tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whose {
    #[serde(default)]
    all: bool,
}

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Query(whose): Query<Whose>,
) -> Result<axum::Json<Value>> {
    let mut tokens: Vec<ApiToken> = Vec::new();
    loop {
        let after = tokens.last().map(|token| token.id);
        let page = state.accounts().list_tokens(&caller, whose.all, after, MAX_PAGE).await?;
        let is_last = page.len() < MAX_PAGE as usize;
        tokens.extend(page);
        if tokens.len() > MAX_LISTED {
            return Err(Failure::invalid("There are too many API tokens to list at once."));
        }
        if is_last {
            return Ok(axum::Json(json!({ "tokens": tokens })));
        }
    }
}

/// An API token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    name: String,
    /// Name of the user whose it will be; others than the caller need an admin.
    user: Option<String>,
    /// Unix seconds.
    expires_at: Option<i64>,
    models: Option<Vec<String>>,
    allow_ips: Option<Vec<String>>,
    /// It works only while its owner is in one of these groups.
    groups: Option<Vec<String>>,
    /// Dollars that it may spend, as `12.50`; without it, as much as its owner.
    quota_usd: Option<String>,
}

pub(crate) async fn create(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<New>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    let new = NewToken {
        name: body.name,
        user: body.user,
        expires_at: body.expires_at,
        models: body.models,
        allow_ips: body.allow_ips,
        groups: body.groups,
    };
    let quota = body.quota_usd.as_deref().map(dollars).transpose()?;
    let (token, secret) = state.accounts().create_token(&caller, new).await?;
    if let Some(quota) = quota {
        // Nobody knows the secret yet: until its wallet stands, nothing can be spent with it.
        let (holder, grant) = (Holder::Token(token.id), Grant::Set(quota));
        let granted = state.gateway().quota().grant(&caller, holder, grant, "with its token").await;
        if let Err(error) = granted {
            state.accounts().delete_token(&caller, token.id).await?;
            return Err(error.into());
        }
    }
    let body = json!({ "token": token, "secret": secret.reveal() });
    Ok((StatusCode::CREATED, axum::Json(body)))
}

/// Changes of an API token; what is absent stays, null takes a bound away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    name: Option<String>,
    disabled: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    expires_at: Option<Option<i64>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    models: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    allow_ips: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    groups: Option<Option<Vec<String>>>,
}

pub(crate) async fn update(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
    Json(body): Json<Change>,
) -> Result<axum::Json<Value>> {
    let change = TokenChange {
        name: body.name,
        disabled: body.disabled,
        expires_at: body.expires_at,
        models: body.models,
        allow_ips: body.allow_ips,
        groups: body.groups,
    };
    let token = state.accounts().update_token(&caller, ApiTokenId(id), change).await?;
    Ok(axum::Json(json!({ "token": token })))
}

/// How long the secret that is replaced works too.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotate {
    #[serde(default)]
    overlap_s: u32,
}

pub(crate) async fn rotate(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
    Json(body): Json<Rotate>,
) -> Result<axum::Json<Value>> {
    let rotated = state.accounts().rotate_token(&caller, ApiTokenId(id), body.overlap_s).await?;
    let (token, secret) = rotated;
    Ok(axum::Json(json!({ "token": token, "secret": secret.reveal() })))
}

pub(crate) async fn delete(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    state.accounts().delete_token(&caller, ApiTokenId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
