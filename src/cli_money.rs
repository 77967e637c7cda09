//! The command line of money: quotas, budgets, limits and prices.

use clap::{Args, Subcommand, ValueEnum};
use hearth_store::MicroDollars;

/// Commands about what people, API tokens and groups may spend. HOLDER is user:NAME, group:NAME or
/// token:ID.
#[derive(Debug, Subcommand)]
pub enum Quota {
    /// List who has how much.
    List,
    /// Show what one holder has and what binds it.
    Show { holder: String },
    /// Set what a holder may spend from now on: dollars, or `unlimited`.
    Set {
        holder: String,
        #[arg(value_name = "USD|unlimited")]
        amount: String,
        /// Why; it stands in the ledger.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Give a holder more to spend.
    Add {
        holder: String,
        #[arg(value_name = "USD", value_parser = parse_dollars)]
        amount: MicroDollars,
        /// Why; it stands in the ledger.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Limit what a holder spends in each day, week or month.
    Budget {
        holder: String,
        /// Dollars, or a number with --unit tokens or requests.
        most: String,
        #[arg(long, value_enum, default_value_t = Period::Month)]
        per: Period,
        #[arg(long, value_enum, default_value_t = Unit::Money)]
        unit: Unit,
        /// Whose midnight.
        #[arg(long, default_value = "UTC", value_name = "ZONE")]
        time_zone: String,
    },
    /// List budgets.
    Budgets,
    /// Remove the budget with this id.
    RmBudget { id: i64 },
    /// Limit how fast a holder, or model:NAME, may be used; user:* is each without an own limit.
    Limit(Limit),
    /// List rate limits.
    Limits,
}

/// How fast. Without any number, the limit is removed.
#[derive(Debug, Args)]
pub struct Limit {
    pub holder: String,
    /// Requests in a minute.
    #[arg(long, value_name = "N")]
    pub requests: Option<u32>,
    /// Tokens in a minute.
    #[arg(long, value_name = "N")]
    pub tokens: Option<u32>,
    /// Requests at once.
    #[arg(long, value_name = "N")]
    pub concurrent: Option<u32>,
}

/// Commands about what models cost.
#[derive(Debug, Subcommand)]
pub enum Prices {
    /// List prices.
    List,
    /// Set what a model costs; what is not given costs nothing.
    Set {
        model: String,
        /// Dollars for a million tokens of prompts.
        #[arg(long, value_name = "USD", value_parser = parse_dollars)]
        input: Option<MicroDollars>,
        /// The same for tokens that were computed before [default: as the others].
        #[arg(long, value_name = "USD", value_parser = parse_dollars)]
        cached: Option<MicroDollars>,
        /// Dollars for a million tokens of answers.
        #[arg(long, value_name = "USD", value_parser = parse_dollars)]
        output: Option<MicroDollars>,
        /// Dollars for each request.
        #[arg(long, value_name = "USD", value_parser = parse_dollars)]
        call: Option<MicroDollars>,
        /// Only where this channel answers.
        #[arg(long, value_name = "ID")]
        channel: Option<i64>,
    },
    /// Remove a price: the model is free.
    Rm {
        model: String,
        #[arg(long, value_name = "ID")]
        channel: Option<i64>,
    },
}

/// How long a budget lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Period {
    Day,
    Week,
    Month,
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Unit {
    Money,
    Tokens,
    Requests,
}

impl Period {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        }
    }
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::Money => "money",
            Unit::Tokens => "tokens",
            Unit::Requests => "requests",
        }
    }
}

/// Dollars, exactly.
pub(crate) fn parse_dollars(text: &str) -> Result<MicroDollars, String> {
    MicroDollars::parse_dollars(text).ok_or_else(|| {
        format!("`{text}` is no amount; write dollars with at most six digits after the point")
    })
}

/// Dollars, or `unlimited`.
pub(crate) fn parse_quota(text: &str) -> Result<String, String> {
    match text {
        "unlimited" => Ok(text.to_owned()),
        dollars => parse_dollars(dollars).map(|_| dollars.to_owned()),
    }
}
