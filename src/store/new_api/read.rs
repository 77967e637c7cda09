//! Reads the tables of the old database.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row, params_from_iter};
use serde_json::Value;

use super::{DEFAULT_GROUP, OldData, OldToken, OldUsage, OldUser};
use crate::error::{Error, Result};
use crate::money::MicroDollars;
use crate::prices::Price;
use crate::users::UserRole;

/// Most rows of one table that are brought in.
const MAX_ROWS: i64 = 1_000_000;
/// Old units of quota that are a dollar, if the old options say no other number.
const UNITS_PER_DOLLAR: f64 = 500_000.0;
/// A ratio of 1 is two dollars for a million tokens of a prompt.
const DOLLARS_PER_RATIO: f64 = 2.0;
/// The kind of a log row that tells of a request that was paid for.
const CONSUMED: i64 = 2;

/// A table with the columns that this version of the old product has.
struct Table<'a> {
    connection: &'a Connection,
    name: &'static str,
    columns: HashSet<String>,
}

pub(super) fn read(file: &Path) -> Result<OldData> {
    let unreadable = |error: rusqlite::Error| Error::NotNewApi {
        path: file.to_owned(),
        reason: error.to_string(),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(unreadable)?;
    read_all(&connection).map_err(|error| match error {
        Error::Sql(error) => unreadable(error),
        Error::NotNewApi { reason, .. } => Error::NotNewApi { path: file.to_owned(), reason },
        error => error,
    })
}

fn read_all(connection: &Connection) -> Result<OldData> {
    // One snapshot of all tables, though the old product may be running.
    let snapshot = connection.unchecked_transaction()?;
    let users = Table::open(&snapshot, "users")?;
    let tokens = Table::open(&snapshot, "tokens")?;
    for (table, needed) in [(&users, "username"), (&users, "password"), (&tokens, "key")] {
        if !table.columns.contains(needed) {
            let reason = format!("the table {} has no column {needed}", table.name);
            return Err(Error::NotNewApi { path: Default::default(), reason });
        }
    }
    let options = read_options(&snapshot)?;
    let units = options
        .get("QuotaPerUnit")
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|units| units.is_finite() && *units >= 1.0)
        .unwrap_or(UNITS_PER_DOLLAR);
    let logs = Table::open(&snapshot, "logs")?;
    Ok(OldData {
        users: users.rows("id", "1", |row| read_user(row, units))?,
        tokens: tokens.rows("id", "1", |row| read_token(row, units))?,
        prices: prices(&options),
        usage: if logs.columns.is_empty() {
            Vec::new()
        } else {
            logs.rows("id", &format!("type = {CONSUMED}"), |row| read_usage(row, units))?
        },
        channels: Table::open(&snapshot, "channels")?.count()?,
    })
}

impl<'a> Table<'a> {
    fn open(connection: &'a Connection, name: &'static str) -> Result<Table<'a>> {
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let columns: rusqlite::Result<HashSet<String>> =
            statement.query_map([name], |row| row.get(0))?.collect();
        Ok(Table { connection, name, columns: columns? })
    }

    fn count(&self) -> Result<u64> {
        if self.columns.is_empty() {
            return Ok(0);
        }
        let mut statement =
            self.connection.prepare(&format!("SELECT count(*) FROM \"{}\"", self.name))?;
        let count: i64 = statement.query_row([], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// Rows that were not deleted, in the order of a column.
    fn rows<T>(
        &self,
        order: &str,
        condition: &str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let alive = match self.columns.contains("deleted_at") {
            true => "deleted_at IS NULL",
            false => "1",
        };
        let mut statement = self.connection.prepare(&format!(
            "SELECT * FROM \"{}\" WHERE {alive} AND {condition} ORDER BY \"{order}\" LIMIT {}",
            self.name,
            MAX_ROWS + 1
        ))?;
        let no_values = params_from_iter([] as [i64; 0]);
        let rows: rusqlite::Result<Vec<T>> = statement.query_map(no_values, read)?.collect();
        let rows = rows?;
        if rows.len() as i64 > MAX_ROWS {
            let reason = format!("the table {} has more than {MAX_ROWS} rows", self.name);
            return Err(Error::NotNewApi { path: Default::default(), reason });
        }
        Ok(rows)
    }
}

fn read_user(row: &Row<'_>, units: f64) -> rusqlite::Result<OldUser> {
    let group = text(row, "group");
    Ok(OldUser {
        id: row.get("id")?,
        name: row.get("username")?,
        password: text(row, "password"),
        role: match number(row, "role") {
            100 => UserRole::Owner,
            10 => UserRole::Admin,
            _ => UserRole::User,
        },
        disabled: number(row, "status") != 1,
        email: text(row, "email"),
        group: if group == DEFAULT_GROUP { String::new() } else { group },
        remaining: money(number(row, "quota"), units),
    })
}

fn read_token(row: &Row<'_>, units: f64) -> rusqlite::Result<OldToken> {
    let is_limited = number(row, "model_limits_enabled") == 1;
    let list = |text: String, between: char| -> Vec<String> {
        let parts = text.split(between).map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    // One API has `models` where New API has `model_limits`.
    let of_one_api = list(text(row, "models"), ',');
    let models = match is_limited {
        true => Some(list(text(row, "model_limits"), ',')),
        false => Some(of_one_api).filter(|models| !models.is_empty()),
    };
    let networks =
        format!("{}\n{}", text(row, "allow_ips"), text(row, "subnet").replace(',', "\n"));
    let expires_at = number(row, "expired_time");
    Ok(OldToken {
        id: row.get("id")?,
        user_id: row.get("user_id")?,
        key: row.get::<_, String>("key")?.trim().to_owned(),
        name: text(row, "name"),
        disabled: number(row, "status") == 2,
        created_at: number(row, "created_time"),
        expires_at: Some(expires_at).filter(|expires_at| *expires_at > 0),
        remaining: (number(row, "unlimited_quota") != 1)
            .then(|| money(number(row, "remain_quota"), units)),
        models,
        allow_ips: list(networks, '\n'),
    })
}

fn read_usage(row: &Row<'_>, units: f64) -> rusqlite::Result<OldUsage> {
    let tokens = |column: &str| u32::try_from(number(row, column).max(0)).unwrap_or(u32::MAX);
    Ok(OldUsage {
        id: row.get("id")?,
        user_id: row.get("user_id")?,
        token_id: number(row, "token_id"),
        model: text(row, "model_name"),
        prompt_tokens: tokens("prompt_tokens"),
        completion_tokens: tokens("completion_tokens"),
        cost: money(number(row, "quota"), units),
        total_ms: number(row, "use_time").clamp(0, 1_000_000).unsigned_abs() * 1_000,
        created_at: number(row, "created_at"),
    })
}

/// A text column; empty if it is NULL or absent.
fn text(row: &Row<'_>, column: &str) -> String {
    row.get::<_, Option<String>>(column).ok().flatten().unwrap_or_default()
}

/// A number column, which some versions write as a boolean; 0 if it is NULL or absent.
fn number(row: &Row<'_>, column: &str) -> i64 {
    row.get::<_, Option<i64>>(column).ok().flatten().unwrap_or_default()
}

/// Old units as money; a debt is nothing.
fn money(units: i64, per_dollar: f64) -> MicroDollars {
    let micros = (units.max(0) as f64) * 1_000_000.0 / per_dollar;
    MicroDollars::new(micros.round() as u64).unwrap_or(MicroDollars::MAX)
}

fn read_options(connection: &Connection) -> Result<BTreeMap<String, String>> {
    let table = Table::open(connection, "options")?;
    if !table.columns.contains("key") || !table.columns.contains("value") {
        return Ok(BTreeMap::new());
    }
    let rows = table.rows("key", "1", |row| Ok((text(row, "key"), text(row, "value"))))?;
    Ok(rows.into_iter().collect())
}

/// The ratios of the options as prices.
fn prices(options: &BTreeMap<String, String>) -> Vec<(String, Price)> {
    let table = |key: &str| -> BTreeMap<String, f64> {
        let parsed = options.get(key).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let entries = parsed.as_ref().and_then(Value::as_object).into_iter().flatten();
        entries.filter_map(|(model, ratio)| Some((model.clone(), ratio.as_f64()?))).collect()
    };
    let per_call = table("ModelPrice");
    let ratios = table("ModelRatio");
    let (completion, cached) = (table("CompletionRatio"), table("CacheRatio"));
    let micros = |dollars: f64| {
        let micros = (dollars * 1_000_000.0).round().max(0.0) as u64;
        MicroDollars::new(micros).unwrap_or(MicroDollars::MAX)
    };
    let mut prices: BTreeMap<String, Price> = BTreeMap::new();
    for (model, ratio) in ratios {
        let dollars = ratio * DOLLARS_PER_RATIO;
        let factor = |table: &BTreeMap<String, f64>| table.get(&model).copied().unwrap_or(1.0);
        let price = Price {
            input_micros_per_million: micros(dollars),
            cached_micros_per_million: micros(dollars * factor(&cached)),
            output_micros_per_million: micros(dollars * factor(&completion)),
            call_micros: MicroDollars::ZERO,
        };
        prices.insert(model, price);
    }
    for (model, dollars) in per_call {
        // There, a price per call takes the place of the ratio.
        let zero = MicroDollars::ZERO;
        let price = Price {
            input_micros_per_million: zero,
            cached_micros_per_million: zero,
            output_micros_per_million: zero,
            call_micros: micros(dollars),
        };
        prices.insert(model, price);
    }
    prices.into_iter().collect()
}
