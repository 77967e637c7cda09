//! Prices of models, and of models where one channel answers for them.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use hearth_gateway::caller::Caller;
use hearth_store::{ChannelId, MicroDollars, Price, PriceRow};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::body::Json;
use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

/// Prices of the models that the caller may use.
pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let prices = state.gateway().quota().prices().await?;
    let prices: Vec<PriceRow> =
        prices.into_iter().filter(|row| caller.may_use_model(&row.model)).collect();
    Ok(axum::Json(json!({ "prices": prices })))
}

/// A price to be set, in micro-dollars: 3,000,000 for a million tokens is three dollars.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    model: String,
    /// Where this channel answers; without it, wherever no other price is set.
    channel_id: Option<i64>,
    /// A million tokens of prompts, in micro-dollars.
    #[serde(default)]
    #[schema(value_type = u64)]
    input_micros_per_million: MicroDollars,
    /// The same for tokens that were computed before; without it, as the others.
    #[schema(value_type = Option<u64>)]
    cached_micros_per_million: Option<MicroDollars>,
    /// A million tokens of answers, in micro-dollars.
    #[serde(default)]
    #[schema(value_type = u64)]
    output_micros_per_million: MicroDollars,
    /// Each request, in micro-dollars.
    #[serde(default)]
    #[schema(value_type = u64)]
    call_micros: MicroDollars,
}

pub(crate) async fn set(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<New>,
) -> Result<axum::Json<Value>> {
    let input = body.input_micros_per_million;
    let price = Price {
        input_micros_per_million: input,
        cached_micros_per_million: body.cached_micros_per_million.unwrap_or(input),
        output_micros_per_million: body.output_micros_per_million,
        call_micros: body.call_micros,
    };
    let channel_id = body.channel_id.map(ChannelId);
    let row = PriceRow { model: full_name(&state, &caller, body.model), channel_id, price };
    state.gateway().quota().set_price(&caller, row.clone()).await?;
    state.channels().refresh().await?;
    Ok(axum::Json(json!({ "price": row })))
}

/// A model's name as requests are priced by it; a model that is not here may have a price already.
pub(super) fn full_name(state: &AppState, caller: &Caller, name: String) -> String {
    state.gateway().model(caller, &name).map_or(name, |model| model.name)
}

/// Which price.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    model: String,
    channel_id: Option<i64>,
}

pub(crate) async fn delete(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Query(which): Query<Which>,
) -> Result<StatusCode> {
    let channel = which.channel_id.map(ChannelId);
    let model = full_name(&state, &caller, which.model);
    state.gateway().quota().remove_price(&caller, model, channel).await?;
    state.channels().refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}
