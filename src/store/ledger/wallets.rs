//! Rows of wallets and of why they are as they are.
//!
//! Every change goes through here and ends with [`proved`], in release builds too; the table
//! itself refuses a row that does not add up.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::types::{Grant, Holder, Wallet};
use crate::error::{Error, Result};
use crate::money::MicroDollars;
use crate::page;

/// Longest reason in an entry, in bytes.
const MAX_REFERENCE_BYTES: usize = 512;

/// Why a wallet changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Grant,
    Revoke,
    Charge,
    Credit,
}

/// A wallet's part of one reservation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) holder: Holder,
    pub(super) amount: MicroDollars,
    /// Whether the wallet was unlimited when the amount was set aside.
    pub(super) is_credit: bool,
}

/// The wallet of this holder.
pub(super) fn find(connection: &Connection, holder: Holder) -> Result<Option<Wallet>> {
    let found = connection
        .prepare_cached("SELECT * FROM wallets WHERE kind = ?1 AND holder_id = ?2")?
        .query_row((holder.kind(), holder.id()), read)
        .optional()?;
    Ok(found)
}

/// Wallets in the order of their holders.
pub(super) fn list(
    connection: &Connection,
    after: Option<Holder>,
    limit: u32,
) -> Result<Vec<Wallet>> {
    let (kind, id) = after.map_or(("", 0), |holder| (holder.kind(), holder.id()));
    let mut statement = connection.prepare_cached(
        "SELECT * FROM wallets WHERE (kind, holder_id) > (?1, ?2)
         ORDER BY kind, holder_id LIMIT ?3",
    )?;
    let wallets: rusqlite::Result<Vec<Wallet>> =
        statement.query_map((kind, id, page::rows(limit)), read)?.collect();
    Ok(wallets?)
}

/// Makes a wallet without a limit, so that what is used is counted.
pub(super) fn open(connection: &Connection, holder: Holder) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO wallets (kind, holder_id, is_unlimited) VALUES (?1, ?2, 1)
             ON CONFLICT DO NOTHING",
        )?
        .execute((holder.kind(), holder.id()))?;
    Ok(())
}

/// Changes what a holder may spend.
pub(crate) fn grant(
    connection: &Connection,
    holder: Holder,
    grant: Grant,
    reference: &str,
    now: i64,
) -> Result<Wallet> {
    open(connection, holder)?;
    let before = find(connection, holder)?.ok_or(Error::NotFound)?;
    let (entry, amount) = match grant {
        Grant::Unlimited => (None, MicroDollars::ZERO),
        Grant::Add(amount) => (Some(Entry::Grant), amount),
        Grant::Set(amount) if amount >= before.remaining => {
            (Some(Entry::Grant), amount.saturating_sub(before.remaining))
        }
        Grant::Set(amount) => (Some(Entry::Revoke), before.remaining.saturating_sub(amount)),
    };
    if entry == Some(Entry::Grant) && before.granted.checked_add(amount).is_none() {
        return Err(Error::TooMuchMoney);
    }
    let sign = if entry == Some(Entry::Revoke) { -1 } else { 1 };
    connection
        .prepare_cached(
            "UPDATE wallets SET is_unlimited = :unlimited,
                 granted_micros = granted_micros + :sign * :amount,
                 remaining_micros = remaining_micros + :sign * :amount
             WHERE kind = :kind AND holder_id = :id",
        )?
        .execute(named_params! {
            ":unlimited": grant == Grant::Unlimited, ":sign": sign, ":amount": amount,
            ":kind": holder.kind(), ":id": holder.id(),
        })?;
    if let Some(entry) = entry {
        write_entry(connection, holder, (entry, amount), (reference, now))?;
    }
    proved(find(connection, holder)?.ok_or(Error::NotFound)?)
}

/// Sets a share aside. The condition stands in the statement, so that no check before it is
/// believed.
pub(super) fn hold(connection: &Connection, share: Share) -> Result<()> {
    let statement = match share.is_credit {
        true => {
            "UPDATE wallets SET granted_micros = granted_micros + ?3, held_micros = held_micros + ?3
             WHERE kind = ?1 AND holder_id = ?2 AND is_unlimited RETURNING *"
        }
        false => {
            "UPDATE wallets SET remaining_micros = remaining_micros - ?3,
                 held_micros = held_micros + ?3
             WHERE kind = ?1 AND holder_id = ?2 AND NOT is_unlimited AND remaining_micros >= ?3
             RETURNING *"
        }
    };
    let Share { holder, amount, .. } = share;
    change(connection, statement, holder, amount)
}

/// Gives a share back.
pub(super) fn release(connection: &Connection, share: Share) -> Result<()> {
    let statement = match share.is_credit {
        true => {
            "UPDATE wallets SET granted_micros = granted_micros - ?3, held_micros = held_micros - ?3
             WHERE kind = ?1 AND holder_id = ?2 RETURNING *"
        }
        false => {
            "UPDATE wallets SET remaining_micros = remaining_micros + ?3,
                 held_micros = held_micros - ?3
             WHERE kind = ?1 AND holder_id = ?2 RETURNING *"
        }
    };
    change(connection, statement, share.holder, share.amount)
}

/// Takes what a request cost and gives the rest of its share back; says how much of the cost
/// could not be taken. Beyond its share a request may take what remains, but never more.
pub(super) fn charge(
    connection: &Connection,
    share: Share,
    cost: MicroDollars,
    reference: &str,
    now: i64,
) -> Result<MicroDollars> {
    if cost == MicroDollars::ZERO {
        release(connection, share)?;
        return Ok(MicroDollars::ZERO);
    }
    let paid = match share.is_credit || cost <= share.amount {
        true => cost,
        false => {
            let wallet = find(connection, share.holder)?.ok_or(Error::NotFound)?;
            let payable = wallet.remaining.micros() + share.amount.micros();
            MicroDollars::new(payable).unwrap_or(MicroDollars::MAX).min(cost)
        }
    };
    if paid == MicroDollars::ZERO {
        return Ok(cost);
    }
    // One statement gives the share back, takes the cost and counts the entry.
    let (statement, entry) = match share.is_credit {
        true => (
            "UPDATE wallets SET granted_micros = granted_micros + ?3 - ?4,
                 held_micros = held_micros - ?4, used_micros = used_micros + ?3,
                 entries = entries + 1
             WHERE kind = ?1 AND holder_id = ?2 RETURNING *",
            Entry::Credit,
        ),
        false => (
            "UPDATE wallets SET remaining_micros = remaining_micros + ?4 - ?3,
                 held_micros = held_micros - ?4, used_micros = used_micros + ?3,
                 entries = entries + 1
             WHERE kind = ?1 AND holder_id = ?2 RETURNING *",
            Entry::Charge,
        ),
    };
    let (kind, id) = (share.holder.kind(), share.holder.id());
    let changed = connection
        .prepare_cached(statement)?
        .query_row((kind, id, paid, share.amount), |row| Ok((read(row)?, row.get::<_, i64>(7)?)))
        .map_err(too_much)?;
    let (wallet, sequence) = (proved(changed.0)?, changed.1);
    insert_entry(connection, wallet, sequence, (entry, paid), (reference, now))?;
    Ok(cost.saturating_sub(paid))
}

/// A sum that no wallet can hold reads as one out of range.
fn too_much(error: rusqlite::Error) -> Error {
    match error {
        rusqlite::Error::IntegralValueOutOfRange(..) => Error::TooMuchMoney,
        other => Error::from(other),
    }
}

/// Runs a statement that changes one wallet by an amount, and looks at what became of it.
fn change(
    connection: &Connection,
    statement: &str,
    holder: Holder,
    amount: MicroDollars,
) -> Result<()> {
    if amount == MicroDollars::ZERO {
        return Ok(());
    }
    let changed = connection
        .prepare_cached(statement)?
        .query_row((holder.kind(), holder.id(), amount), read)
        .optional()
        .map_err(too_much)?;
    let changed = changed.ok_or_else(|| {
        let (kind, id) = (holder.kind(), holder.id());
        Error::Unbalanced(format!("the wallet of {kind} {id} cannot change by {amount}"))
    })?;
    proved(changed).map(drop)
}

/// The invariant of the ledger, asserted wherever a wallet changes. An error takes the change
/// back with its savepoint.
fn proved(wallet: Wallet) -> Result<Wallet> {
    let Wallet { granted, remaining, held, used, holder, .. } = wallet;
    let sum = remaining.micros() + held.micros() + used.micros();
    if granted.micros() == sum {
        return Ok(wallet);
    }
    let (kind, id) = (holder.kind(), holder.id());
    Err(Error::Unbalanced(format!(
        "the wallet of {kind} {id} was granted {granted}, but has {remaining} + {held} + {used}"
    )))
}

fn write_entry(
    connection: &Connection,
    holder: Holder,
    change: (Entry, MicroDollars),
    reason: (&str, i64),
) -> Result<()> {
    let (wallet, sequence) = connection
        .prepare_cached(
            "UPDATE wallets SET entries = entries + 1 WHERE kind = ?1 AND holder_id = ?2
             RETURNING *",
        )?
        .query_row((holder.kind(), holder.id()), |row| Ok((read(row)?, row.get::<_, i64>(7)?)))?;
    insert_entry(connection, wallet, sequence, change, reason)
}

fn insert_entry(
    connection: &Connection,
    wallet: Wallet,
    sequence: i64,
    (entry, amount): (Entry, MicroDollars),
    (reference, now): (&str, i64),
) -> Result<()> {
    let name = match entry {
        Entry::Grant => "grant",
        Entry::Revoke => "revoke",
        Entry::Charge => "charge",
        Entry::Credit => "credit",
    };
    let end = reference.floor_char_boundary(MAX_REFERENCE_BYTES);
    connection
        .prepare_cached("INSERT INTO ledger_entries VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            wallet.holder.kind(),
            wallet.holder.id(),
            sequence,
            name,
            amount,
            wallet.remaining,
            &reference[..end],
            now,
        ])?;
    Ok(())
}

/// A whole row, by the places of the table's columns: names would be looked up in each row.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Wallet> {
    Ok(Wallet {
        holder: read_holder(row, 0)?,
        is_unlimited: row.get(2)?,
        granted: row.get(3)?,
        remaining: row.get(4)?,
        held: row.get(5)?,
        used: row.get(6)?,
    })
}

/// The holder in this column, its kind, and the next one, its number.
pub(super) fn read_holder(row: &Row<'_>, column: usize) -> rusqlite::Result<Holder> {
    let kind = row.get_ref(column)?.as_str()?;
    Holder::of(kind, row.get(column + 1)?).ok_or_else(|| {
        rusqlite::Error::InvalidColumnType(column, "kind".to_owned(), rusqlite::types::Type::Text)
    })
}
