//! Holds: what is set aside for requests that run, and how it is given back.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::budgets;
use super::types::{Amounts, Budget, Holder, Reservation, Shortage, Unit, Wallet};
use super::wallets::{self, Share};
use crate::api_tokens::ApiTokenId;
use crate::error::{Error, Result};
use crate::groups::GroupId;
use crate::money::MicroDollars;
use crate::users::UserId;

/// Holds that one job gives back, so that it does not keep others waiting.
const EXPIRED_AT_ONCE: usize = 1_000;

/// What one request holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) is_void: bool,
    pub(super) is_held: bool,
    pub(super) payers: Payers,
    wallets: u8,
    credit: u8,
    amount: MicroDollars,
    pub(super) budgets: i64,
}

/// Who pays for a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Payers {
    pub(super) user: Option<UserId>,
    pub(super) token: Option<ApiTokenId>,
    pub(super) group: Option<GroupId>,
}

impl Payers {
    /// A user, with the group that they are in now.
    pub(super) fn of(
        connection: &Connection,
        user: Option<UserId>,
        token: Option<ApiTokenId>,
    ) -> Result<Payers> {
        let Some(id) = user else { return Ok(Payers { user, token, group: None }) };
        let group: Option<Option<GroupId>> = connection
            .prepare_cached("SELECT group_id FROM users WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        Ok(Payers { user, token, group: group.flatten() })
    }

    /// Each with its bit in a set.
    pub(super) fn each(self) -> impl Iterator<Item = (u8, Holder)> {
        let user = self.user.map(|id| (1, Holder::User(id)));
        let token = self.token.map(|id| (2, Holder::Token(id)));
        let group = self.group.map(|id| (4, Holder::Group(id)));
        [user, token, group].into_iter().flatten()
    }
}

impl Hold {
    /// What each wallet gave.
    pub(super) fn shares(self) -> impl Iterator<Item = Share> {
        self.payers.each().filter(move |(bit, _)| self.wallets & bit != 0).map(
            move |(bit, holder)| Share {
                holder,
                amount: if self.is_held { self.amount } else { MicroDollars::ZERO },
                is_credit: self.credit & bit != 0,
            },
        )
    }
}

/// Sets aside as much of what is wished as every payer has.
pub(super) fn reserve(connection: &Connection, wish: &Reservation) -> Result<Amounts> {
    refuse_known(connection, &wish.request_id)?;
    let payers = Payers::of(connection, wish.user_id, wish.token_id)?;
    let costs = wish.most.money > MicroDollars::ZERO;
    let mut found: Vec<(u8, Wallet)> = Vec::with_capacity(3);
    let mut limits: Vec<Budget> = Vec::new();
    if costs {
        for (bit, holder) in payers.each() {
            found.extend(paying(connection, holder)?.map(|wallet| (bit, wallet)));
        }
    }
    if budgets::are_any(connection)? {
        for (_, holder) in payers.each() {
            for budget in budgets::of(connection, holder)? {
                limits.push(budgets::current(connection, budget, wish.now, wish.calendar)?);
            }
        }
    }
    let given = most_of(wish.least, wish.most, &found, &limits, true)?;
    let (mut set, mut credit) = (0, 0);
    for (bit, wallet) in found {
        set |= bit;
        credit |= if wallet.is_unlimited { bit } else { 0 };
        let (holder, is_credit) = (wallet.holder, wallet.is_unlimited);
        wallets::hold(connection, Share { holder, amount: given.money, is_credit })?;
    }
    for budget in &limits {
        budgets::hold(connection, budget, &wish.request_id, given)?;
    }
    connection
        .prepare_cached(
            "INSERT INTO holds (request_id, state, user_id, token_id, group_id, wallets, credit,
                 amount_micros, tokens, budgets, created_at, expires_at)
             VALUES (?1, 'held', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            wish.request_id,
            payers.user,
            payers.token,
            payers.group,
            set,
            credit,
            given.money,
            budgets::counted(Unit::Tokens, given).cast_signed(),
            limits.len() as i64,
            wish.now,
            wish.expires_at,
        ])?;
    Ok(given)
}

/// The wallet that pays for a holder; users and API tokens get one when they first spend.
fn paying(connection: &Connection, holder: Holder) -> Result<Option<Wallet>> {
    let wallet = wallets::find(connection, holder)?;
    if wallet.is_some() || matches!(holder, Holder::Group(_)) {
        return Ok(wallet);
    }
    wallets::open(connection, holder)?;
    wallets::find(connection, holder)
}

/// Sets more aside for a request that holds something already: at least `least` more, at most
/// `most` more. Says what it was given on top.
pub(super) fn extend(
    connection: &Connection,
    request_id: &str,
    least: Amounts,
    most: Amounts,
) -> Result<Amounts> {
    let hold = find(connection, request_id)?.filter(|hold| hold.is_held).ok_or(Error::NotFound)?;
    let mut found: Vec<(u8, Wallet)> = Vec::with_capacity(3);
    for (bit, holder) in hold.payers.each().filter(|(bit, _)| hold.wallets & bit != 0) {
        let mut wallet = wallets::find(connection, holder)?.ok_or(Error::NotFound)?;
        if wallet.is_unlimited != (hold.credit & bit != 0) {
            // Its limit has changed: what was begun under the other rule gets no more under it.
            wallet.is_unlimited = false;
            wallet.remaining = MicroDollars::ZERO;
        }
        found.push((bit, wallet));
    }
    let limits = match hold.budgets {
        0 => Vec::new(),
        _ => budgets::held_by(connection, request_id)?,
    };
    let given = most_of(least, most, &found, &limits, false)?;
    for (bit, wallet) in found {
        let (holder, is_credit) = (wallet.holder, hold.credit & bit != 0);
        wallets::hold(connection, Share { holder, amount: given.money, is_credit })?;
    }
    for budget in &limits {
        budgets::hold_more(connection, budget, request_id, given)?;
    }
    connection
        .prepare_cached(
            "UPDATE holds SET amount_micros = amount_micros + ?2, tokens = tokens + ?3
             WHERE request_id = ?1",
        )?
        .execute((request_id, given.money, budgets::counted(Unit::Tokens, given).cast_signed()))?;
    Ok(given)
}

/// The most that every wallet and budget can give, or what is short.
fn most_of(
    least: Amounts,
    most: Amounts,
    wallets: &[(u8, Wallet)],
    limits: &[Budget],
    is_first: bool,
) -> Result<Amounts> {
    let mut given = most;
    let wallets = wallets.iter().filter(|(_, wallet)| !wallet.is_unlimited).map(|(_, wallet)| {
        let left = wallet.remaining.micros();
        (wallet.holder, None, Unit::Money, left, None)
    });
    let limits = limits.iter().map(|budget| {
        let left = budget.most.saturating_sub(budget.held.saturating_add(budget.used));
        (budget.holder, Some(budget.period), budget.unit, left, Some(budget.window_end))
    });
    for (holder, period, unit, left, resets_at) in wallets.chain(limits) {
        // A request counts once, however much it takes.
        let needed = match unit {
            Unit::Requests if !is_first => 0,
            _ => budgets::counted(unit, least),
        };
        if left < needed {
            let shortage = Shortage { holder, period, unit, left, needed, resets_at };
            return Err(Error::Short(Box::new(shortage)));
        }
        match unit {
            // What is left may be more than any money; then it does not bind.
            Unit::Money => {
                let left = MicroDollars::new(left).unwrap_or(MicroDollars::MAX);
                given.money = given.money.min(left);
            }
            Unit::Tokens => given.tokens = given.tokens.min(left),
            Unit::Requests => {}
        }
    }
    Ok(given)
}

/// A request reserves once, and not after it was settled.
fn refuse_known(connection: &Connection, request_id: &str) -> Result<()> {
    let is_known: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM holds WHERE request_id = ?1)
                 OR EXISTS (SELECT 1 FROM usage WHERE request_id = ?1)",
        )?
        .query_row([request_id], |row| row.get(0))?;
    if is_known { Err(Error::RequestTaken) } else { Ok(()) }
}

/// What a request holds, or held.
pub(super) fn find(connection: &Connection, request_id: &str) -> Result<Option<Hold>> {
    let found = connection
        .prepare_cached("SELECT * FROM holds WHERE request_id = ?1")?
        .query_row([request_id], read)
        .optional()?;
    Ok(found)
}

/// Forgets what a request held.
pub(super) fn forget(connection: &Connection, request_id: &str) -> Result<()> {
    connection.prepare_cached("DELETE FROM holds WHERE request_id = ?1")?.execute([request_id])?;
    Ok(())
}

/// Takes a request back.
pub(super) fn void(connection: &Connection, request_id: &str) -> Result<bool> {
    let Some(hold) = find(connection, request_id)?.filter(|hold| hold.is_held) else {
        return Ok(false);
    };
    give_back(connection, request_id, hold, "void")?;
    Ok(true)
}

/// Gives back what has expired.
pub(super) fn expire(connection: &Connection, now: i64) -> Result<usize> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM holds WHERE state = 'held' AND expires_at <= ?1 LIMIT ?2")?;
    let expired: rusqlite::Result<Vec<(String, Hold)>> = statement
        .query_map((now, EXPIRED_AT_ONCE as i64), |row| Ok((row.get(0)?, read(row)?)))?
        .collect();
    let expired = expired?;
    for (request_id, hold) in &expired {
        // Kept as expired, so that who settles late still pays, from what remains.
        give_back(connection, request_id, *hold, "expired")?;
    }
    // Nobody settles a request any more after twice its time.
    connection
        .prepare_cached(
            "DELETE FROM holds WHERE state <> 'held' AND 2 * expires_at - created_at <= ?1",
        )?
        .execute([now])?;
    Ok(expired.len())
}

/// Gives back whatever is held, at a start: who held it has ended with the process before.
pub(crate) fn release_all(connection: &Connection) -> Result<usize> {
    let mut statement = connection.prepare("SELECT * FROM holds WHERE state = 'held'")?;
    let held: rusqlite::Result<Vec<(String, Hold)>> =
        statement.query_map([], |row| Ok((row.get(0)?, read(row)?)))?.collect();
    let held = held?;
    for (request_id, hold) in &held {
        give_back(connection, request_id, *hold, "expired")?;
    }
    connection.execute("DELETE FROM holds", [])?;
    Ok(held.len())
}

fn give_back(connection: &Connection, request_id: &str, hold: Hold, state: &str) -> Result<()> {
    for share in hold.shares() {
        wallets::release(connection, share)?;
    }
    if hold.budgets > 0 {
        budgets::end(connection, request_id, None)?;
    }
    connection
        .prepare_cached("UPDATE holds SET state = ?2 WHERE request_id = ?1")?
        .execute((request_id, state))?;
    Ok(())
}

/// A whole row, by the places of the table's columns.
fn read(row: &Row<'_>) -> rusqlite::Result<Hold> {
    let state = row.get_ref(1)?.as_str()?;
    Ok(Hold {
        is_void: state == "void",
        is_held: state == "held",
        payers: Payers { user: row.get(2)?, token: row.get(3)?, group: row.get(4)? },
        wallets: row.get(5)?,
        credit: row.get(6)?,
        amount: row.get(7)?,
        budgets: row.get(9)?,
    })
}
