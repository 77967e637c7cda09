//! Wallets: what holders may spend, and what a caller may still spend.

use axum::extract::{Path, Query, State};
use hearth_gateway::caller::Caller;
use hearth_store::{ApiTokenId, Grant, Holder, MAX_PAGE, MicroDollars};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{holder, named_budgets, named_wallets, with_name};
use crate::body::Json;
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

/// What the caller may still spend.
pub(crate) async fn mine(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let remaining = state.gateway().quota().remaining(&caller).await?;
    let mut shown = json!(remaining);
    shown["wallets"] = json!(named_wallets(&state, &remaining.wallets).await?);
    shown["budgets"] = json!(named_budgets(&state, &remaining.budgets).await?);
    Ok(axum::Json(json!({ "budget": shown })))
}

/// After which wallet a list goes on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct After {
    /// `kind:id`
    after: Option<String>,
}

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Query(After { after }): Query<After>,
) -> Result<axum::Json<Value>> {
    let parse = |text: &str| {
        let (kind, id) = text.split_once(':')?;
        Holder::of(kind, id.parse().ok()?)
    };
    let after = match after.as_deref().map(parse) {
        Some(None) => return Err(Failure::invalid("'after' is a kind and a number, as user:7.")),
        other => other.flatten(),
    };
    let wallets = state.gateway().quota().wallets(&caller, after, MAX_PAGE).await?;
    let is_whole = wallets.len() < MAX_PAGE as usize;
    let last = wallets.last().filter(|_| !is_whole).map(|wallet| wallet.holder);
    let next = last.map(|holder| format!("{}:{}", holder.kind(), holder.id()));
    let wallets = named_wallets(&state, &wallets).await?;
    Ok(axum::Json(json!({ "wallets": wallets, "next": next })))
}

pub(crate) async fn show(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path((kind, name)): Path<(String, String)>,
) -> Result<axum::Json<Value>> {
    let holder = holder(&state, &kind, &name).await?;
    tell(&state, &caller, holder).await
}

/// The wallet of one's own API token.
pub(crate) async fn of_token(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
) -> Result<axum::Json<Value>> {
    tell(&state, &caller, Holder::Token(ApiTokenId(id))).await
}

async fn tell(state: &AppState, caller: &Caller, holder: Holder) -> Result<axum::Json<Value>> {
    let account = state.gateway().quota().account(caller, holder).await?;
    let names = state.store().holders().names(vec![holder]).await?;
    let mut shown = json!({ "holder": holder });
    shown["holder"]["name"] = json!(names.get(&holder));
    let wallet = account.wallet.map(|wallet| with_name(&wallet, holder, &names));
    shown["wallet"] = json!(wallet);
    shown["budgets"] = json!(named_budgets(state, &account.budgets).await?);
    Ok(axum::Json(shown))
}

/// What becomes of a wallet.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// `add`, `set` or `unlimited`.
    #[schema(value_type = String)]
    action: Action,
    /// Dollars, as `12.50`; for `add` and `set`.
    usd: Option<String>,
    /// Why, for the ledger.
    #[serde(default)]
    reason: String,
}

/// What is done to a wallet.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Add,
    Set,
    Unlimited,
}

impl Change {
    fn grant(&self) -> Result<Grant> {
        match (self.action, &self.usd) {
            (Action::Unlimited, None) => Ok(Grant::Unlimited),
            (Action::Unlimited, Some(_)) => {
                Err(Failure::invalid("'usd' does not go with 'unlimited'."))
            }
            (Action::Add, Some(usd)) => dollars(usd).map(Grant::Add),
            (Action::Set, Some(usd)) => dollars(usd).map(Grant::Set),
            (_, None) => Err(Failure::invalid("'usd' says how many dollars.")),
        }
    }
}

pub(crate) async fn update(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path((kind, name)): Path<(String, String)>,
    Json(body): Json<Change>,
) -> Result<axum::Json<Value>> {
    let holder = holder(&state, &kind, &name).await?;
    change(&state, &caller, holder, &body).await
}

/// Holds one's own API token down to an amount, which its owner pays too.
pub(crate) async fn update_token(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
    Json(body): Json<Change>,
) -> Result<axum::Json<Value>> {
    change(&state, &caller, Holder::Token(ApiTokenId(id)), &body).await
}

async fn change(
    state: &AppState,
    caller: &Caller,
    holder: Holder,
    body: &Change,
) -> Result<axum::Json<Value>> {
    let grant = body.grant()?;
    let wallet = state.gateway().quota().grant(caller, holder, grant, &body.reason).await?;
    let wallet = named_wallets(state, &[wallet]).await?.pop();
    Ok(axum::Json(json!({ "wallet": wallet })))
}

/// An amount of dollars, exactly.
pub(crate) fn dollars(text: &str) -> Result<MicroDollars> {
    MicroDollars::parse_dollars(text).ok_or_else(|| {
        Failure::invalid("An amount is dollars with at most six digits after the point, as 12.50.")
    })
}
