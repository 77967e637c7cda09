//! Rows of wallets and of why they are as they are.
//!
//! Every change goes through here and ends with [`proved`], in release builds too; the table
//! itself refuses a row that does not add up.

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::types::{Grant, Holder, Wallet};
use crate::error::{Error, Result};
use crate::money::MicroDollars;

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
        write_entry(connection, holder, (entry, amount), reference, now)?;
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
    release(connection, share)?;
    let wallet = find(connection, share.holder)?.ok_or(Error::NotFound)?;
    let paid = if share.is_credit { cost } else { cost.min(wallet.remaining) };
    if paid > MicroDollars::ZERO {
        let statement = match share.is_credit {
            true => {
                "UPDATE wallets SET granted_micros = granted_micros + ?3,
                     used_micros = used_micros + ?3
                 WHERE kind = ?1 AND holder_id = ?2 RETURNING *"
            }
            false => {
                "UPDATE wallets SET remaining_micros = remaining_micros - ?3,
                     used_micros = used_micros + ?3
                 WHERE kind = ?1 AND holder_id = ?2 AND remaining_micros >= ?3 RETURNING *"
            }
        };
        change(connection, statement, share.holder, paid)?;
        let entry = if share.is_credit { Entry::Credit } else { Entry::Charge };
        write_entry(connection, share.holder, (entry, paid), reference, now)?;
    }
    Ok(cost.saturating_sub(paid))
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
        .map_err(|error| match error {
            rusqlite::Error::IntegralValueOutOfRange(..) => Error::TooMuchMoney,
            other => Error::from(other),
        })?;
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
    (entry, amount): (Entry, MicroDollars),
    reference: &str,
    now: i64,
) -> Result<()> {
    let (sequence, remaining): (i64, MicroDollars) = connection
        .prepare_cached(
            "UPDATE wallets SET entries = entries + 1 WHERE kind = ?1 AND holder_id = ?2
             RETURNING entries, remaining_micros",
        )?
        .query_row((holder.kind(), holder.id()), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let name = match entry {
        Entry::Grant => "grant",
        Entry::Revoke => "revoke",
        Entry::Charge => "charge",
        Entry::Credit => "credit",
    };
    let end = reference.floor_char_boundary(MAX_REFERENCE_BYTES);
    connection
        .prepare_cached(
            "INSERT INTO ledger_entries (kind, holder_id, sequence, entry, amount_micros,
                 remaining_micros, reference, created_at)
             VALUES (:kind, :id, :sequence, :entry, :amount, :remaining, :reference, :now)",
        )?
        .execute(named_params! {
            ":kind": holder.kind(), ":id": holder.id(), ":sequence": sequence, ":entry": name,
            ":amount": amount, ":remaining": remaining, ":reference": &reference[..end],
            ":now": now,
        })?;
    Ok(())
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Wallet> {
    Ok(Wallet {
        holder: read_holder(row)?,
        is_unlimited: row.get("is_unlimited")?,
        granted: row.get("granted_micros")?,
        remaining: row.get("remaining_micros")?,
        held: row.get("held_micros")?,
        used: row.get("used_micros")?,
    })
}

/// The holder in the columns `kind` and `holder_id`.
pub(super) fn read_holder(row: &Row<'_>) -> rusqlite::Result<Holder> {
    let kind: String = row.get("kind")?;
    Holder::of(&kind, row.get("holder_id")?).ok_or_else(|| {
        rusqlite::Error::InvalidColumnType(0, "kind".to_owned(), rusqlite::types::Type::Text)
    })
}
