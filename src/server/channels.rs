//! `/hearth/channels…` and `/hearth/routes…`: who answers elsewhere, and how requests get there.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use hearth_gateway::channels::{ChannelSpec, PRESETS};
use hearth_gateway::routing::{Policy, Route};
use hearth_store::{ChannelId, ChannelKeyId};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::body::Json;
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

/// A channel to be made. In a change every field may be left out, and null takes one away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it describes the body; the gateway reads it")]
pub(crate) struct Channel {
    #[schema(required = true)]
    name: Option<String>,
    /// One of those of `/hearth/channels/types`.
    #[serde(rename = "type")]
    #[schema(required = true)]
    preset: Option<String>,
    /// Left out, the type's.
    base_url: Option<String>,
    enabled: Option<bool>,
    /// Channels of a higher number come first.
    priority: Option<i64>,
    /// Share among channels of one priority.
    weight: Option<i64>,
    /// Never shown again.
    keys: Option<Vec<String>>,
    /// Models, mapping, groups, network, limits, timeouts and what is changed in requests.
    settings: Option<Value>,
}

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    Ok(axum::Json(json!({ "channels": state.channels().list(&caller)? })))
}

pub(crate) async fn types() -> axum::Json<Value> {
    axum::Json(json!({ "types": PRESETS }))
}

pub(crate) async fn create(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<Value>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    let spec: ChannelSpec = parse(body)?;
    let channel = state.channels().create(&caller, spec).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "channel": channel }))))
}

pub(crate) async fn show(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
) -> Result<axum::Json<Value>> {
    Ok(axum::Json(json!({ "channel": state.channels().show(&caller, ChannelId(id))? })))
}

pub(crate) async fn update(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
    Json(patch): Json<Value>,
) -> Result<axum::Json<Value>> {
    let channel = state.channels().update(&caller, ChannelId(id), &patch).await?;
    Ok(axum::Json(json!({ "channel": channel })))
}

pub(crate) async fn remove(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    state.channels().remove(&caller, ChannelId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A further key of a channel.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    key: String,
}

pub(crate) async fn add_key(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
    Json(body): Json<Key>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    let channel = state.channels().add_key(&caller, ChannelId(id), &body.key).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "channel": channel }))))
}

pub(crate) async fn remove_key(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path((id, key)): Path<(i64, String)>,
) -> Result<StatusCode> {
    state.channels().remove_key(&caller, ChannelId(id), ChannelKeyId(key)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a test asks.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Test {
    /// Left out: the channel's test model, or the first that it offers.
    model: Option<String>,
}

pub(crate) async fn test(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
    Json(body): Json<Test>,
) -> Result<axum::Json<Value>> {
    let model = body.model.as_deref();
    let probe = state.channels().probe(&caller, ChannelId(id), model).await?;
    Ok(axum::Json(json!({ "test": probe })))
}

pub(crate) async fn models(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
) -> Result<axum::Json<Value>> {
    let list = state.channels().fetch_models(&caller, ChannelId(id)).await?;
    Ok(axum::Json(json!({ "list": list })))
}

pub(crate) async fn routes(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let routes: Vec<Value> = state.channels().routes(&caller)?.iter().map(route_shape).collect();
    let groups = state.channels().group_policies(&caller).await?;
    let group = |(name, policy): &(String, Policy)| json!({ "group": name, "policy": policy });
    let groups: Vec<Value> = groups.iter().map(group).collect();
    Ok(axum::Json(json!({ "routes": routes, "groups": groups })))
}

fn route_shape((model, route): &(String, Route)) -> Value {
    let mut shape = json!(route);
    shape["model"] = json!(model);
    shape
}

/// How requests for a model are answered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRoute {
    /// A model, or a new name for others.
    model: String,
    /// `local-only`, `prefer-local`, `prefer-remote`, `cheapest`, `fastest` or `weighted`.
    policy: Option<Value>,
    /// `{model, channel}` in the order in which they are asked.
    targets: Option<Value>,
    spill_wait_ms: Option<u64>,
    on_context_full: Option<Vec<String>>,
    hedge: Option<bool>,
}

pub(crate) async fn set_route(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<NewRoute>,
) -> Result<axum::Json<Value>> {
    let route: Route = parse(json!({
        "policy": body.policy,
        "targets": body.targets.unwrap_or_else(|| json!([])),
        "spill_wait_ms": body.spill_wait_ms,
        "on_context_full": body.on_context_full.unwrap_or_default(),
        "hedge": body.hedge.unwrap_or_default(),
    }))?;
    state.channels().set_route(&caller, &body.model, &route).await?;
    Ok(axum::Json(json!({ "route": route_shape(&(body.model, route)) })))
}

pub(crate) async fn remove_route(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(model): Path<String>,
) -> Result<StatusCode> {
    state.channels().remove_route(&caller, &model).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where requests of a group may go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupPolicy {
    group: String,
    /// As a route's; null takes it away.
    policy: Option<Value>,
}

pub(crate) async fn set_group_policy(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<GroupPolicy>,
) -> Result<StatusCode> {
    let policy: Option<Policy> = body.policy.map(parse).transpose()?;
    state.channels().set_group_policy(&caller, &body.group, policy).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn rotate_secrets(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    Ok(axum::Json(json!({ "secrets": state.channels().rotate_secrets(&caller).await? })))
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| Failure::invalid(format!("{error}.")))
}
