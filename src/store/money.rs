//! Exact money: whole micro-dollars, never below zero, and never so many that sums could overflow.

use std::fmt;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

/// Micro-dollars in a dollar.
const MICROS_PER_DOLLAR: u64 = 1_000_000;
/// Digits of a dollar after the point.
const DIGITS: usize = 6;

/// An amount of money, 0 ..= [`MicroDollars::MAX`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct MicroDollars(u64);

impl MicroDollars {
    /// Nothing.
    pub const ZERO: MicroDollars = MicroDollars(0);
    /// A billion dollars: nine thousand such sums fit into the database's 63 bits.
    pub const MAX: MicroDollars = MicroDollars(1_000_000_000 * MICROS_PER_DOLLAR);

    /// So many micro-dollars; `None` above [`MicroDollars::MAX`].
    pub fn new(micros: u64) -> Option<MicroDollars> {
        (micros <= MicroDollars::MAX.0).then_some(MicroDollars(micros))
    }

    /// Reads dollars, such as `12` or `0.000001`; no sign, no exponent, at most six digits after
    /// the point, so that nothing is ever rounded.
    pub fn parse_dollars(text: &str) -> Option<MicroDollars> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| {
            (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !is_number(whole) || !is_number(part) || part.len() > DIGITS {
            return None;
        }
        let dollars: u64 = whole.parse().ok()?;
        let micros: u64 = format!("{part:0<DIGITS$}").parse().ok()?;
        MicroDollars::new(dollars.checked_mul(MICROS_PER_DOLLAR)?.checked_add(micros)?)
    }

    /// Whole micro-dollars.
    pub fn micros(self) -> u64 {
        self.0
    }

    /// As a number of dollars, for people and for clients that know no other.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / MICROS_PER_DOLLAR as f64
    }

    /// The sum; `None` above [`MicroDollars::MAX`].
    pub fn checked_add(self, other: MicroDollars) -> Option<MicroDollars> {
        MicroDollars::new(self.0.checked_add(other.0)?)
    }

    /// What is left when this much is taken away, at least nothing.
    pub fn saturating_sub(self, other: MicroDollars) -> MicroDollars {
        MicroDollars(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for MicroDollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = format!("{:06}", self.0 % MICROS_PER_DOLLAR);
        // Cents always, smaller parts where there are any.
        let shown = part.trim_end_matches('0').len().max(2);
        write!(f, "${}.{}", self.0 / MICROS_PER_DOLLAR, &part[..shown])
    }
}

impl TryFrom<u64> for MicroDollars {
    type Error = String;

    fn try_from(micros: u64) -> Result<MicroDollars, String> {
        MicroDollars::new(micros)
            .ok_or_else(|| format!("at most {} micro-dollars are allowed", MicroDollars::MAX.0))
    }
}

impl From<MicroDollars> for u64 {
    fn from(money: MicroDollars) -> u64 {
        money.0
    }
}

impl ToSql for MicroDollars {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        // At most MAX, which fits.
        Ok(self.0.cast_signed().into())
    }
}

impl FromSql for MicroDollars {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<MicroDollars> {
        let micros = value.as_i64()?;
        u64::try_from(micros)
            .ok()
            .and_then(MicroDollars::new)
            .ok_or(FromSqlError::OutOfRange(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_exactly_or_not_at_all() {
        for (text, micros) in [
            ("0", 0),
            ("5", 5_000_000),
            ("0.000001", 1),
            ("12.5", 12_500_000),
            ("007.10", 7_100_000),
            ("1000000000", 1_000_000_000_000_000),
        ] {
            assert_eq!(MicroDollars::parse_dollars(text), MicroDollars::new(micros), "{text}");
        }
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "0.0000001",
            "1,5",
            " 1",
            "1_0",
            "NaN",
            "inf",
            "1000000000.000001",
            "99999999999999999999",
            "١",
        ] {
            assert_eq!(MicroDollars::parse_dollars(bad), None, "{bad}");
        }
    }

    #[test]
    fn amounts_print_as_dollars_and_cross_json_as_whole_numbers_in_range() {
        let show = |micros| MicroDollars::new(micros).unwrap().to_string();
        assert_eq!(show(0), "$0.00");
        assert_eq!(show(1), "$0.000001");
        assert_eq!(show(12_500_000), "$12.50");
        let read = serde_json::from_str::<MicroDollars>;
        assert_eq!(read("7").unwrap().micros(), 7);
        for bad in ["-1", "1.5", "1e3", "1000000000000001", "18446744073709551616", "\"1\""] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(MicroDollars::MAX.checked_add(MicroDollars(1)), None);
    }
}
