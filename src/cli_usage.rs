//! The command line of usage: which requests, and how they are shown.

use clap::{Args, ValueEnum};

use crate::cli::parse_lifetime;

/// Which requests to show, and how. Without --by, each on a line, the newest first.
#[derive(Debug, Args)]
pub struct Usage {
    /// Sum up by this instead.
    #[arg(long, value_enum)]
    pub by: Option<By>,
    /// Only this person's.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Only with the API token of this id.
    #[arg(long, value_name = "ID")]
    pub token: Option<i64>,
    /// Only of people of this group.
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// Only of this model.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Only by the channel of this id; 0 is this machine.
    #[arg(long, value_name = "ID")]
    pub channel: Option<i64>,
    /// Only such as ended so.
    #[arg(long, value_enum, conflicts_with = "by")]
    pub outcome: Option<Outcome>,
    /// From then on: a time ago such as 24h or 30d, or a day such as 2026-01-31 (UTC).
    #[arg(long, value_name = "WHEN", value_parser = parse_when)]
    pub since: Option<When>,
    /// Until then, which is not part of it.
    #[arg(long, value_name = "WHEN", value_parser = parse_when)]
    pub until: Option<When>,
    /// Most lines.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// As JSON.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// All requests, whatever --limit says, as CSV.
    #[arg(long, conflicts_with = "by")]
    pub csv: bool,
}

/// By what sums are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    User,
    Token,
    Group,
    Model,
    Channel,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Outcome {
    Complete,
    Stopped,
    Failed,
}

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// So many seconds ago.
    Ago(u64),
    /// Unix seconds.
    At(i64),
}

impl When {
    /// In Unix seconds.
    pub(crate) fn at(self, now: i64) -> i64 {
        match self {
            When::Ago(seconds) => now.saturating_sub_unsigned(seconds).max(0),
            When::At(at) => at,
        }
    }
}

fn parse_when(text: &str) -> Result<When, String> {
    if let Ok(day) = text.parse::<jiff::civil::Date>() {
        let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|error| error.to_string())?;
        return Ok(When::At(midnight.timestamp().as_second().max(0)));
    }
    parse_lifetime(text).map(When::Ago).map_err(|_| {
        format!("`{text}` is neither a time such as 24h or 30d nor a day such as 2026-01-31")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_day_or_a_time_ago() {
        assert_eq!(parse_when("1970-01-02"), Ok(When::At(86_400)));
        assert_eq!(parse_when("2h").unwrap().at(10_000), 2_800);
        assert_eq!(parse_when("100y").unwrap().at(10_000), 0);
        for bad in ["", "yesterday", "2026-13-01", "30", "-1d"] {
            assert!(parse_when(bad).is_err(), "{bad}");
        }
    }
}
