//! Rows of budgets: what holders may spend in a period, and what of it is held or used.
//!
//! An amount counts in the period in which it was set aside. When a period ends the row begins
//! anew, and what is settled later of the period before changes nothing.

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::types::{Amounts, Budget, Calendar, Holder, NewBudget, Unit};
use super::wallets::read_holder;
use crate::error::{Error, Result};
use crate::money::MicroDollars;

/// Most budgets.
const MAX_BUDGETS: i64 = 100_000;

/// The budgets that bind a holder.
pub(super) fn of(connection: &Connection, holder: Holder) -> Result<Vec<Budget>> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM budgets WHERE kind = ?1 AND holder_id = ?2 ORDER BY id")?;
    let budgets: rusqlite::Result<Vec<Budget>> =
        statement.query_map((holder.kind(), holder.id()), read)?.collect();
    Ok(budgets?)
}

/// Sets a budget.
pub(super) fn set(connection: &Connection, new: &NewBudget) -> Result<Budget> {
    let most = i64::try_from(new.most).map_err(|_| Error::TooMuchMoney)?;
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM budgets")?
        .query_row([], |row| row.get(0))?;
    if count >= MAX_BUDGETS {
        return Err(Error::TooMany { what: "budgets", limit: MAX_BUDGETS as u64 });
    }
    // Of another zone or period the count begins anew; of the same one it goes on, so that
    // changing a limit gives nothing for free.
    let budget = connection
        .prepare_cached(
            "INSERT INTO budgets (kind, holder_id, period, unit, time_zone, most, window_start,
                 window_end)
             VALUES (:kind, :id, :period, :unit, :zone, :most, :start, :end)
             ON CONFLICT (kind, holder_id, period, unit) DO UPDATE SET
                 most = :most, time_zone = :zone, window_start = :start, window_end = :end,
                 held = iif(window_start = :start, held, 0),
                 used = iif(window_start = :start, used, 0)
             RETURNING *",
        )?
        .query_row(
            named_params! {
                ":kind": new.holder.kind(), ":id": new.holder.id(), ":period": new.period,
                ":unit": new.unit, ":zone": new.time_zone, ":most": most,
                ":start": new.window.start, ":end": new.window.end,
            },
            read,
        )?;
    Ok(budget)
}

/// Whether anybody has a budget.
pub(super) fn are_any(connection: &Connection) -> Result<bool> {
    let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM budgets)")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// Every budget.
pub(super) fn all(connection: &Connection) -> Result<Vec<Budget>> {
    let mut statement =
        connection.prepare_cached("SELECT * FROM budgets ORDER BY kind, holder_id, id LIMIT ?1")?;
    let budgets: rusqlite::Result<Vec<Budget>> =
        statement.query_map([MAX_BUDGETS], read)?.collect();
    Ok(budgets?)
}

/// Removes a budget.
pub(super) fn remove(connection: &Connection, id: i64) -> Result<()> {
    connection.execute("DELETE FROM budget_holds WHERE budget_id = ?1", [id])?;
    match connection.execute("DELETE FROM budgets WHERE id = ?1", [id])? {
        0 => Err(Error::NotFound),
        _ => Ok(()),
    }
}

/// The budget in the period in which `now` lies.
pub(super) fn current(
    connection: &Connection,
    budget: Budget,
    now: i64,
    calendar: Calendar,
) -> Result<Budget> {
    if (budget.window_start..budget.window_end).contains(&now) {
        return Ok(budget);
    }
    // A zone that has left the database's list keeps its last period: nobody gets more by it.
    let Some(window) = calendar(&budget.time_zone, budget.period, now) else { return Ok(budget) };
    // A clock that went back must not open a period twice: what was used stays used.
    let is_back = now < budget.window_start;
    if is_back {
        connection
            .prepare_cached(
                "UPDATE budget_holds SET window_start = ?3
                 WHERE budget_id = ?1 AND window_start = ?2",
            )?
            .execute((budget.id, budget.window_start, window.start))?;
    }
    let moved = connection
        .prepare_cached(
            "UPDATE budgets SET window_start = :start, window_end = :end,
                 held = iif(:is_back, held, 0), used = iif(:is_back, used, 0)
             WHERE id = :id RETURNING *",
        )?
        .query_row(
            named_params! {
                ":start": window.start, ":end": window.end, ":is_back": is_back,
                ":id": budget.id,
            },
            read,
        )?;
    Ok(moved)
}

/// Sets an amount aside for a request.
pub(super) fn hold(
    connection: &Connection,
    budget: &Budget,
    request_id: &str,
    amounts: Amounts,
) -> Result<()> {
    let amount = counted(budget.unit, amounts);
    let changed = connection
        .prepare_cached(
            "UPDATE budgets SET held = held + ?2 WHERE id = ?1 AND held + used + ?2 <= most",
        )?
        .execute((budget.id, amount.cast_signed()))?;
    if changed != 1 {
        return Err(Error::Unbalanced(format!("budget {} cannot hold {amount}", budget.id)));
    }
    connection.prepare_cached("INSERT INTO budget_holds VALUES (?1, ?2, ?3, ?4)")?.execute((
        request_id,
        budget.id,
        budget.window_start,
        amount.cast_signed(),
    ))?;
    Ok(())
}

/// The budgets of which a request holds something in the period that runs.
pub(super) fn held_by(connection: &Connection, request_id: &str) -> Result<Vec<Budget>> {
    let mut statement = connection.prepare_cached(
        "SELECT b.* FROM budget_holds h JOIN budgets b
             ON b.id = h.budget_id AND b.window_start = h.window_start
         WHERE h.request_id = ?1 ORDER BY b.id",
    )?;
    let budgets: rusqlite::Result<Vec<Budget>> = statement.query_map([request_id], read)?.collect();
    Ok(budgets?)
}

/// Sets more aside for a request that holds something of this budget.
pub(super) fn hold_more(
    connection: &Connection,
    budget: &Budget,
    request_id: &str,
    more: Amounts,
) -> Result<()> {
    if budget.unit == Unit::Requests {
        return Ok(());
    }
    let amount = counted(budget.unit, more).cast_signed();
    let changed = connection
        .prepare_cached(
            "UPDATE budgets SET held = held + ?2 WHERE id = ?1 AND held + used + ?2 <= most",
        )?
        .execute((budget.id, amount))?;
    if changed != 1 {
        return Err(Error::Unbalanced(format!("budget {} cannot hold {amount}", budget.id)));
    }
    connection
        .prepare_cached(
            "UPDATE budget_holds SET amount = amount + ?3 WHERE request_id = ?1 AND budget_id = ?2",
        )?
        .execute((request_id, budget.id, amount))?;
    Ok(())
}

/// Ends what a request holds, and counts what it used; `None` is nothing.
pub(super) fn end(connection: &Connection, request_id: &str, used: Option<Amounts>) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM budget_holds WHERE request_id = ?1 RETURNING budget_id, window_start, amount",
    )?;
    let lines: rusqlite::Result<Vec<(i64, i64, i64)>> = statement
        .query_map([request_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect();
    for (budget, window_start, amount) in lines? {
        let unit: Option<Unit> = connection
            .prepare_cached("SELECT unit FROM budgets WHERE id = ?1 AND window_start = ?2")?
            .query_row((budget, window_start), |row| row.get(0))
            .optional()?;
        let Some(unit) = unit else { continue };
        let used = used.map_or(0, |used| counted(unit, used));
        connection
            .prepare_cached("UPDATE budgets SET held = held - ?2, used = used + ?3 WHERE id = ?1")?
            .execute((budget, amount, used.cast_signed()))?;
    }
    Ok(())
}

/// What of these amounts a budget counts.
pub(super) fn counted(unit: Unit, amounts: Amounts) -> u64 {
    match unit {
        Unit::Money => amounts.money.micros(),
        // More tokens than any sum of money could buy are as good as that many.
        Unit::Tokens => amounts.tokens.min(MicroDollars::MAX.micros()),
        Unit::Requests => 1,
    }
}

/// A whole row, by the places of the table's columns.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Budget> {
    Ok(Budget {
        id: row.get(0)?,
        holder: read_holder(row, 1)?,
        period: row.get(3)?,
        unit: row.get(4)?,
        time_zone: row.get(5)?,
        most: row.get::<_, i64>(6)?.unsigned_abs(),
        window_start: row.get(7)?,
        window_end: row.get(8)?,
        held: row.get::<_, i64>(9)?.unsigned_abs(),
        used: row.get::<_, i64>(10)?.unsigned_abs(),
    })
}
