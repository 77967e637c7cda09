//! Rows of prices: what a model's tokens and calls cost. What they make of a request is decided
//! above.

use rusqlite::named_params;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::money::MicroDollars;
use crate::store::Store;

/// Most models with a price.
const MAX_PRICES: i64 = 10_000;

/// What a model costs. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Price {
    /// A million tokens of prompts that are computed.
    pub input_micros_per_million: MicroDollars,
    /// A million tokens of prompts that were computed before.
    pub cached_micros_per_million: MicroDollars,
    /// A million tokens of answers.
    pub output_micros_per_million: MicroDollars,
    /// Each request, whatever its length.
    pub call_micros: MicroDollars,
}

/// Questions about prices.
pub struct Prices<'a>(pub(crate) &'a Store);

impl Prices<'_> {
    /// Every model that has a price, in the order of their names.
    pub async fn list(&self) -> Result<Vec<(String, Price)>> {
        self.0
            .read(|connection| {
                let mut statement =
                    connection.prepare_cached("SELECT * FROM prices ORDER BY model LIMIT ?1")?;
                let prices: rusqlite::Result<Vec<(String, Price)>> = statement
                    .query_map([MAX_PRICES], |row| {
                        let price = Price {
                            input_micros_per_million: row.get("input_micros_per_million")?,
                            cached_micros_per_million: row.get("cached_micros_per_million")?,
                            output_micros_per_million: row.get("output_micros_per_million")?,
                            call_micros: row.get("call_micros")?,
                        };
                        Ok((row.get("model")?, price))
                    })?
                    .collect();
                Ok(prices?)
            })
            .await
    }

    /// Sets a model's price; it counts for requests that begin later.
    pub async fn set(&self, model: String, price: Price) -> Result<()> {
        self.0
            .write(move |connection| {
                let others: i64 = connection
                    .prepare_cached("SELECT count(*) FROM prices WHERE model <> ?1")?
                    .query_row([&model], |row| row.get(0))?;
                if others >= MAX_PRICES {
                    return Err(Error::TooMany { what: "prices", limit: MAX_PRICES as u64 });
                }
                connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO prices (model, input_micros_per_million,
                             cached_micros_per_million, output_micros_per_million, call_micros)
                         VALUES (:model, :input, :cached, :output, :call)",
                    )?
                    .execute(named_params! {
                        ":model": model,
                        ":input": price.input_micros_per_million,
                        ":cached": price.cached_micros_per_million,
                        ":output": price.output_micros_per_million,
                        ":call": price.call_micros,
                    })?;
                Ok(())
            })
            .await
    }

    /// Makes a model free, or fails with [`Error::NotFound`].
    pub async fn remove(&self, model: String) -> Result<()> {
        self.0
            .write(move |connection| {
                match connection
                    .prepare_cached("DELETE FROM prices WHERE model = ?1")?
                    .execute([model])?
                {
                    0 => Err(Error::NotFound),
                    _ => Ok(()),
                }
            })
            .await
    }
}
