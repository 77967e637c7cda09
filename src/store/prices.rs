//! Rows of prices: what a model's tokens and calls cost, and what they cost where one channel
//! answers. What they make of a request is decided above.

use rusqlite::{Connection, Row, named_params};
use serde::{Deserialize, Serialize};

use crate::channels::ChannelId;
use crate::error::{Error, Result};
use crate::money::MicroDollars;
use crate::store::Store;

/// Most prices.
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

/// A price and what has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PriceRow {
    /// The model's public name.
    pub model: String,
    /// Where this channel answers; `None` is wherever no other price is set.
    pub channel_id: Option<ChannelId>,
    /// What it costs.
    #[serde(flatten)]
    pub price: Price,
}

/// Questions about prices.
pub struct Prices<'a>(pub(crate) &'a Store);

impl Prices<'_> {
    /// Every price, in the order of the models' names.
    pub async fn list(&self) -> Result<Vec<PriceRow>> {
        self.0
            .read(|connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT model, NULL AS channel_id, input_micros_per_million,
                         cached_micros_per_million, output_micros_per_million, call_micros
                     FROM prices
                     UNION ALL SELECT * FROM channel_prices
                     ORDER BY model, channel_id LIMIT ?1",
                )?;
                let prices: rusqlite::Result<Vec<PriceRow>> =
                    statement.query_map([2 * MAX_PRICES], read)?.collect();
                Ok(prices?)
            })
            .await
    }

    /// Sets a price; it counts for requests that begin later.
    pub async fn set(&self, row: PriceRow) -> Result<()> {
        self.0
            .write(move |connection| match row.channel_id {
                None => set_of_model(connection, &row),
                Some(channel) => set_of_channel(connection, &row, channel),
            })
            .await
    }

    /// Removes a price, or fails with [`Error::NotFound`].
    pub async fn remove(&self, model: String, channel: Option<ChannelId>) -> Result<()> {
        self.0
            .write(move |connection| {
                let removed = match channel {
                    None => connection
                        .prepare_cached("DELETE FROM prices WHERE model = ?1")?
                        .execute([model])?,
                    Some(channel) => connection
                        .prepare_cached(
                            "DELETE FROM channel_prices WHERE model = ?1 AND channel_id = ?2",
                        )?
                        .execute((model, channel))?,
                };
                if removed == 0 { Err(Error::NotFound) } else { Ok(()) }
            })
            .await
    }
}

fn set_of_model(connection: &Connection, row: &PriceRow) -> Result<()> {
    refuse_more(connection, "SELECT count(*) FROM prices")?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO prices (model, input_micros_per_million,
                 cached_micros_per_million, output_micros_per_million, call_micros)
             VALUES (:model, :input, :cached, :output, :call)",
        )?
        .execute(named_params! {
            ":model": row.model,
            ":input": row.price.input_micros_per_million,
            ":cached": row.price.cached_micros_per_million,
            ":output": row.price.output_micros_per_million,
            ":call": row.price.call_micros,
        })?;
    Ok(())
}

fn set_of_channel(connection: &Connection, row: &PriceRow, channel: ChannelId) -> Result<()> {
    refuse_more(connection, "SELECT count(*) FROM channel_prices")?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO channel_prices
             VALUES (:model, :channel, :input, :cached, :output, :call)",
        )?
        .execute(named_params! {
            ":model": row.model,
            ":channel": channel,
            ":input": row.price.input_micros_per_million,
            ":cached": row.price.cached_micros_per_million,
            ":output": row.price.output_micros_per_million,
            ":call": row.price.call_micros,
        })?;
    Ok(())
}

fn refuse_more(connection: &Connection, counting: &str) -> Result<()> {
    let count: i64 = connection.prepare_cached(counting)?.query_row([], |row| row.get(0))?;
    match count < MAX_PRICES {
        true => Ok(()),
        false => Err(Error::TooMany { what: "prices", limit: MAX_PRICES as u64 }),
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<PriceRow> {
    Ok(PriceRow {
        model: row.get("model")?,
        channel_id: row.get("channel_id")?,
        price: Price {
            input_micros_per_million: row.get("input_micros_per_million")?,
            cached_micros_per_million: row.get("cached_micros_per_million")?,
            output_micros_per_million: row.get("output_micros_per_million")?,
            call_micros: row.get("call_micros")?,
        },
    })
}
