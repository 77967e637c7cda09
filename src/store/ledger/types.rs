//! What the ledger is asked and what it answers.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

use crate::api_tokens::ApiTokenId;
use crate::groups::GroupId;
use crate::money::MicroDollars;
use crate::users::UserId;

/// Whose a wallet or a budget is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", content = "id", rename_all = "lowercase")]
pub enum Holder {
    /// A person's.
    User(UserId),
    /// One API token's.
    Token(ApiTokenId),
    /// All people of a group share it.
    Group(GroupId),
}

impl Holder {
    /// As it stands in the database and in the API.
    pub fn kind(self) -> &'static str {
        match self {
            Holder::User(_) => "user",
            Holder::Token(_) => "token",
            Holder::Group(_) => "group",
        }
    }

    /// The number of the user, API token or group.
    pub fn id(self) -> i64 {
        match self {
            Holder::User(UserId(id))
            | Holder::Token(ApiTokenId(id))
            | Holder::Group(GroupId(id)) => id,
        }
    }

    /// The holder of this kind and number, if there is such a kind.
    pub fn of(kind: &str, id: i64) -> Option<Holder> {
        match kind {
            "user" => Some(Holder::User(UserId(id))),
            "token" => Some(Holder::Token(ApiTokenId(id))),
            "group" => Some(Holder::Group(GroupId(id))),
            _ => None,
        }
    }
}

/// One holder's money. `granted = remaining + held + used`, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Wallet {
    /// Whose it is.
    pub holder: Holder,
    /// Whether requests are granted what they use.
    pub is_unlimited: bool,
    /// All that ever came in.
    #[serde(rename = "granted_micros")]
    pub granted: MicroDollars,
    /// What new requests may spend.
    #[serde(rename = "remaining_micros")]
    pub remaining: MicroDollars,
    /// What running requests may spend.
    #[serde(rename = "held_micros")]
    pub held: MicroDollars,
    /// What ended requests have spent.
    #[serde(rename = "used_micros")]
    pub used: MicroDollars,
}

/// What becomes of a wallet by an admin's hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// More to spend; the wallet is limited from now on.
    Add(MicroDollars),
    /// This much to spend, whatever was left; the wallet is limited from now on.
    Set(MicroDollars),
    /// No limit from now on.
    Unlimited,
}

/// How long a budget lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// From midnight.
    Day,
    /// From Monday's midnight.
    Week,
    /// From midnight of the first.
    Month,
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Micro-dollars.
    Money,
    /// Tokens of prompts and answers.
    Tokens,
    /// Requests.
    Requests,
}

/// A span of time: Unix seconds, the end not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first second.
    pub start: i64,
    /// The first second after it.
    pub end: i64,
}

/// Says in which span of a time zone's calendar a moment lies; `None` if the zone is unknown or
/// the moment out of all calendars. The calendar itself is not this room's matter.
pub type Calendar = fn(time_zone: &str, period: Period, now: i64) -> Option<Span>;

/// A limit on what is spent in a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Names it.
    pub id: i64,
    /// Whom it binds.
    pub holder: Holder,
    /// How long it lasts.
    pub period: Period,
    /// What it counts.
    pub unit: Unit,
    /// Whose midnight; a name of the IANA database.
    pub time_zone: String,
    /// Most in each period.
    pub most: u64,
    /// Unix seconds at which the current period began.
    pub window_start: i64,
    /// Unix seconds at which it ends.
    pub window_end: i64,
    /// What running requests of this period may spend.
    pub held: u64,
    /// What ended requests of this period have spent.
    pub used: u64,
}

/// A budget to be made, or to replace the one of the same holder, period and unit.
#[derive(Clone, Debug)]
pub struct NewBudget {
    /// Whom it binds.
    pub holder: Holder,
    /// How long it lasts.
    pub period: Period,
    /// What it counts.
    pub unit: Unit,
    /// Whose midnight.
    pub time_zone: String,
    /// Most in each period, within 63 bits.
    pub most: u64,
    /// The period that runs now.
    pub window: Span,
}

/// A request's wish to spend.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// Names the request.
    pub request_id: String,
    /// Who asks; their group pays too. `None` is the operator, who pays nothing.
    pub user_id: Option<UserId>,
    /// With which API token.
    pub token_id: Option<ApiTokenId>,
    /// With less it is refused.
    pub least: Amounts,
    /// It is given this, or as much of it as there is.
    pub most: Amounts,
    /// Unix seconds.
    pub now: i64,
    /// Unix seconds after which nobody is believed to settle it any more.
    pub expires_at: i64,
    /// For budgets whose period has ended.
    pub calendar: Calendar,
}

/// What a request may spend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Money.
    pub money: MicroDollars,
    /// Tokens of prompt and answer.
    pub tokens: u64,
}

/// Why a reservation is refused: what was too little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Whose.
    pub holder: Holder,
    /// The budget's period; `None` is the wallet.
    pub period: Option<Period>,
    /// What is short.
    pub unit: Unit,
    /// What is left.
    pub left: u64,
    /// What the request needs at least.
    pub needed: u64,
    /// Unix seconds at which there is more; `None` when somebody grants it.
    pub resets_at: Option<i64>,
}

/// How a settlement went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The request is in the books now. `unpaid` is the part of its cost beyond what was reserved
    /// that no balance was left for.
    Now {
        /// Not paid by at least one wallet.
        unpaid: MicroDollars,
    },
    /// It was settled before; nothing has changed.
    Before,
    /// It was taken back before; nothing has changed.
    Void,
}

impl Period {
    /// As it stands in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        }
    }
}

impl Unit {
    /// As it stands in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Money => "money",
            Unit::Tokens => "tokens",
            Unit::Requests => "requests",
        }
    }
}

impl ToSql for Period {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for Period {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Period> {
        match value.as_str()? {
            "day" => Ok(Period::Day),
            "week" => Ok(Period::Week),
            "month" => Ok(Period::Month),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for Unit {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for Unit {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Unit> {
        match value.as_str()? {
            "money" => Ok(Unit::Money),
            "tokens" => Ok(Unit::Tokens),
            "requests" => Ok(Unit::Requests),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}
