//! What a database of New API or One API holds, and bringing it in: all of it or nothing.
//!
//! The two share their core tables and have grown apart in the rest, so columns are looked for,
//! never assumed by version. What a name or an amount may look like is judged above this room.

mod bring;
mod read;

use std::path::PathBuf;

use serde::Serialize;

use crate::error::Result;
use crate::groups::GroupId;
use crate::money::MicroDollars;
use crate::prices::Price;
use crate::store::Store;
use crate::users::UserRole;

/// A user of the old product.
#[derive(Clone, Debug, PartialEq)]
pub struct OldUser {
    /// There.
    pub id: i64,
    /// As it was.
    pub name: String,
    /// The hash, usually of bcrypt; may be empty.
    pub password: String,
    /// By its number there.
    pub role: UserRole,
    /// Not active there.
    pub disabled: bool,
    /// May be empty.
    pub email: String,
    /// Name of the group; may be empty.
    pub group: String,
    /// What was left to spend.
    pub remaining: MicroDollars,
}

/// An API token of the old product.
#[derive(Clone, Debug, PartialEq)]
pub struct OldToken {
    /// There.
    pub id: i64,
    /// Its owner there.
    pub user_id: i64,
    /// The secret, without `sk-`.
    pub key: String,
    /// As it was.
    pub name: String,
    /// Switched off there.
    pub disabled: bool,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds; `None` never expires.
    pub expires_at: Option<i64>,
    /// What was left to spend; `None` is no limit.
    pub remaining: Option<MicroDollars>,
    /// The models that it may use; `None` is all.
    pub models: Option<Vec<String>>,
    /// Addresses and networks, as they were written.
    pub allow_ips: Vec<String>,
}

/// A request that the old product has in its books.
#[derive(Clone, Debug, PartialEq)]
pub struct OldUsage {
    /// There.
    pub id: i64,
    /// Who asked, there.
    pub user_id: i64,
    /// With which token, there; 0 is none.
    pub token_id: i64,
    /// As it was asked for.
    pub model: String,
    /// Of the prompt.
    pub prompt_tokens: u32,
    /// Of the answer.
    pub completion_tokens: u32,
    /// What it cost.
    pub cost: MicroDollars,
    /// How long it took.
    pub total_ms: u64,
    /// Unix seconds.
    pub created_at: i64,
}

/// What the old database holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OldData {
    /// In the order of their ids.
    pub users: Vec<OldUser>,
    /// In the order of their ids.
    pub tokens: Vec<OldToken>,
    /// Prices by model, from its ratios.
    pub prices: Vec<(String, Price)>,
    /// Requests that were paid for.
    pub usage: Vec<OldUsage>,
    /// Channels, which are counted alone.
    pub channels: u64,
}

/// A user to be brought in.
#[derive(Clone, Debug)]
pub struct BroughtUser {
    /// The old id, which tokens and usage name.
    pub old_id: i64,
    /// As it will be here.
    pub name: String,
    /// As it will be here; empty is nobody's.
    pub password: String,
    /// As it will be here.
    pub role: UserRole,
    /// As it will be here.
    pub disabled: bool,
    /// As it will be here.
    pub email: Option<String>,
    /// Name of the group, which is made if it is not here.
    pub group: Option<String>,
    /// What may be spent here.
    pub remaining: MicroDollars,
}

/// An API token to be brought in.
#[derive(Clone, Debug)]
pub struct BroughtToken {
    /// As it was.
    pub old: OldToken,
    /// As it will be here.
    pub name: String,
    /// Keyed hash of the old secret.
    pub hash: [u8; 32],
    /// What the list shows.
    pub prefix: String,
    /// As they will be here; `None` is everywhere.
    pub allow_ips: Option<Vec<String>>,
}

/// All that is to be brought in.
#[derive(Clone, Debug, Default)]
pub struct Brought {
    /// Users whose names are free.
    pub users: Vec<BroughtUser>,
    /// Tokens of those users.
    pub tokens: Vec<BroughtToken>,
    /// A price that is set here already stays.
    pub prices: Vec<(String, Price)>,
    /// Usage of those users.
    pub usage: Vec<OldUsage>,
}

/// How much was brought in, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BroughtCounts {
    /// Users.
    pub users: u64,
    /// Groups that were not here.
    pub groups: u64,
    /// API tokens.
    pub tokens: u64,
    /// Prices.
    pub prices: u64,
    /// Requests of the books.
    pub usage: u64,
}

/// Questions about another product's database.
pub struct NewApi<'a>(pub(crate) &'a Store);

impl NewApi<'_> {
    /// Reads such a database, which is not changed. Blocks no other reader.
    pub async fn read(&self, file: PathBuf) -> Result<OldData> {
        self.0.read(move |_| read::read(&file)).await
    }

    /// Brings all in within one transaction; with `is_trial` it is taken back at the end, so that
    /// what a real one would say is known.
    pub async fn bring(&self, all: Brought, now: i64, is_trial: bool) -> Result<BroughtCounts> {
        if is_trial {
            return self.0.trial(move |connection| bring::bring(connection, &all, now)).await;
        }
        self.0.write(move |connection| bring::bring(connection, &all, now)).await
    }
}

/// The group that every user of the old product is in who is in no other.
const DEFAULT_GROUP: &str = "default";

/// A group by its name, made if it is not here.
struct MadeGroup {
    id: GroupId,
    is_new: bool,
}
