//! Looks whether the database is whole and the ledger adds up, for `hearth doctor`.

use axum::extract::State;
use serde_json::{Value, json};

use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) async fn show(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    caller.require_admin()?;
    let database = state.store().check().await?;
    let ledger = state.store().ledger().check().await?;
    Ok(axum::Json(json!({ "database": database, "ledger": ledger })))
}
