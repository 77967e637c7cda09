//! Holds: what is set aside for requests that run, and how it is given back.

use rusqlite::{Connection, OptionalExtension, Row, named_params};

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
    for (bit, holder) in payers.each() {
        let mut wallet = wallets::find(connection, holder)?;
        if wallet.is_none() && costs && !matches!(holder, Holder::Group(_)) {
            wallets::open(connection, holder)?;
            wallet = wallets::find(connection, holder)?;
        }
        found.extend(wallet.filter(|_| costs).map(|wallet| (bit, wallet)));
        for budget in budgets::of(connection, holder)? {
            limits.push(budgets::current(connection, budget, wish.now, wish.calendar)?);
        }
    }
    let given = give(wish, &found, &limits)?;
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
             VALUES (:id, 'held', :user, :token, :group, :wallets, :credit, :amount, :tokens,
                 :budgets, :now, :expires)",
        )?
        .execute(named_params! {
            ":id": wish.request_id, ":user": payers.user, ":token": payers.token,
            ":group": payers.group, ":wallets": set, ":credit": credit, ":amount": given.money,
            ":tokens": budgets::counted(Unit::Tokens, given).cast_signed(),
            ":budgets": limits.len() as i64, ":now": wish.now, ":expires": wish.expires_at,
        })?;
    Ok(given)
}

/// The most that every wallet and budget can give, or what is short.
fn give(wish: &Reservation, wallets: &[(u8, Wallet)], limits: &[Budget]) -> Result<Amounts> {
    let mut given = wish.most;
    let wallets = wallets.iter().filter(|(_, wallet)| !wallet.is_unlimited).map(|(_, wallet)| {
        let left = wallet.remaining.micros();
        (wallet.holder, None, Unit::Money, left, None)
    });
    let limits = limits.iter().map(|budget| {
        let left = budget.most.saturating_sub(budget.held.saturating_add(budget.used));
        (budget.holder, Some(budget.period), budget.unit, left, Some(budget.window_end))
    });
    for (holder, period, unit, left, resets_at) in wallets.chain(limits) {
        let needed = budgets::counted(unit, wish.least);
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
        .query_map((now, EXPIRED_AT_ONCE as i64), |row| Ok((row.get("request_id")?, read(row)?)))?
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
        statement.query_map([], |row| Ok((row.get("request_id")?, read(row)?)))?.collect();
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

fn read(row: &Row<'_>) -> rusqlite::Result<Hold> {
    let state: String = row.get("state")?;
    Ok(Hold {
        is_void: state == "void",
        is_held: state == "held",
        payers: Payers {
            user: row.get("user_id")?,
            token: row.get("token_id")?,
            group: row.get("group_id")?,
        },
        wallets: row.get("wallets")?,
        credit: row.get("credit")?,
        amount: row.get("amount_micros")?,
        budgets: row.get("budgets")?,
    })
}
