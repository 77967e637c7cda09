//! Settlement: the row of what a request used, what it cost, and the sums, in one.

use rusqlite::Connection;

use super::reserve::{self, Payers};
use super::types::{Amounts, Settled};
use super::wallets::Share;
use super::{budgets, wallets};
use crate::error::Result;
use crate::money::MicroDollars;
use crate::usage::{self, UsageRow};

/// Writes a request into the books, once.
pub(crate) fn settle(connection: &Connection, row: &UsageRow) -> Result<Settled> {
    let hold = reserve::find(connection, &row.request_id)?;
    if hold.is_some_and(|hold| hold.is_void) {
        return Ok(Settled::Void);
    }
    let payers = match hold {
        Some(hold) => hold.payers,
        None => Payers::of(connection, row.user_id, row.token_id)?,
    };
    // The row's id is unique: what follows happens once.
    if !usage::insert(connection, row, payers.group)? {
        return Ok(Settled::Before);
    }
    let shares: Vec<Share> = match hold {
        Some(hold) => hold.shares().collect(),
        None if row.cost > MicroDollars::ZERO => unreserved(connection, payers)?,
        None => Vec::new(),
    };
    let mut unpaid = MicroDollars::ZERO;
    for share in shares {
        let left = wallets::charge(connection, share, row.cost, &row.request_id, row.created_at)?;
        unpaid = unpaid.max(left);
    }
    if let Some(hold) = hold {
        if hold.budgets > 0 {
            let tokens = u64::from(row.prompt_tokens) + u64::from(row.completion_tokens);
            let used = Amounts { money: row.cost, tokens };
            budgets::end(connection, &row.request_id, Some(used))?;
        }
        reserve::forget(connection, &row.request_id)?;
    }
    if unpaid > MicroDollars::ZERO {
        connection
            .prepare_cached("UPDATE usage SET unpaid_micros = ?2 WHERE request_id = ?1")?
            .execute((&row.request_id, unpaid))?;
    }
    usage::add(connection, row, payers.group)?;
    Ok(Settled::Now { unpaid })
}

/// Shares of nothing: a request that was not reserved is paid from what remains.
fn unreserved(connection: &Connection, payers: Payers) -> Result<Vec<Share>> {
    let mut shares = Vec::new();
    for (_, holder) in payers.each() {
        if let Some(wallet) = wallets::find(connection, holder)? {
            let (amount, is_credit) = (MicroDollars::ZERO, wallet.is_unlimited);
            shares.push(Share { holder, amount, is_credit });
        }
    }
    Ok(shares)
}
