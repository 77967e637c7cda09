//! Who has how much, and who used it for what: one ledger, exact in all that may happen.
//!
//! A request reserves before it works, and is settled or taken back once, by its id. Each of these
//! is one job of the writing thread, so nobody sees half of one and two cannot spend the same
//! money. What a request costs and when a period ends is decided above and passed in.

mod budgets;
mod check;
mod reserve;
mod settle;
mod types;
mod wallets;

use crate::error::Result;
use crate::store::Store;
use crate::usage::UsageRow;

pub use check::LedgerReport;
pub use types::{
    Amounts, Budget, Calendar, Grant, Holder, NewBudget, Period, Reservation, Settled, Shortage,
    Span, Unit, Wallet,
};
pub(crate) use wallets::grant;

pub(crate) use reserve::release_all;
pub(crate) use settle::settle;

/// Questions about money and budgets.
pub struct Ledger<'a>(pub(crate) &'a Store);

impl Ledger<'_> {
    /// Sets something aside for a request before it begins; says how much. Fails with
    /// [`crate::Error::Short`] if there is not even the least, and with
    /// [`crate::Error::RequestTaken`] if the id was used before.
    pub async fn reserve(&self, wish: Reservation) -> Result<Amounts> {
        self.0.write(move |connection| reserve::reserve(connection, &wish)).await
    }

    /// Sets more aside for a request that holds something: at least `least` on top, at most
    /// `most`; says how much. Fails with [`crate::Error::Short`] and leaves what it holds.
    pub async fn extend(
        &self,
        request_id: String,
        least: Amounts,
        most: Amounts,
    ) -> Result<Amounts> {
        self.0.write(move |connection| reserve::extend(connection, &request_id, least, most)).await
    }

    /// Writes down what a request used, takes what it cost and gives the rest of what was set
    /// aside back, all in one. A second settlement changes nothing.
    pub async fn settle(&self, row: UsageRow) -> Result<Settled> {
        self.0.write(move |connection| settle(connection, &row)).await
    }

    /// Gives back all that was set aside for a request that did no work; says whether anything
    /// was. The request cannot be settled afterwards.
    pub async fn void(&self, request_id: String) -> Result<bool> {
        self.0.write(move |connection| reserve::void(connection, &request_id)).await
    }

    /// Gives back what requests hold that should have ended long ago, a thousand at most, and
    /// forgets those that were taken back; says how many were given back.
    pub async fn expire(&self, now: i64) -> Result<usize> {
        self.0.write(move |connection| reserve::expire(connection, now)).await
    }

    /// Changes what a holder may spend. `reference` says who did it and why.
    pub async fn grant(
        &self,
        holder: Holder,
        grant: Grant,
        reference: String,
        now: i64,
    ) -> Result<Wallet> {
        self.0
            .write(move |connection| wallets::grant(connection, holder, grant, &reference, now))
            .await
    }

    /// A holder's wallet; without one, nothing limits what is spent.
    pub async fn wallet(&self, holder: Holder) -> Result<Option<Wallet>> {
        self.0.read(move |connection| wallets::find(connection, holder)).await
    }

    /// Sets a budget; what the running period has used stays counted if it is the same period.
    pub async fn set_budget(&self, new: NewBudget) -> Result<Budget> {
        self.0.write(move |connection| budgets::set(connection, &new)).await
    }

    /// Removes a budget, or fails with [`crate::Error::NotFound`].
    pub async fn remove_budget(&self, id: i64) -> Result<()> {
        self.0.write(move |connection| budgets::remove(connection, id)).await
    }

    /// The budgets that bind a holder.
    pub async fn budgets(&self, holder: Holder) -> Result<Vec<Budget>> {
        self.0.read(move |connection| budgets::of(connection, holder)).await
    }

    /// Every budget.
    pub async fn all_budgets(&self) -> Result<Vec<Budget>> {
        self.0.read(budgets::all).await
    }

    /// Wallets in the order of their holders, after `after`.
    pub async fn wallets(&self, after: Option<Holder>, limit: u32) -> Result<Vec<Wallet>> {
        self.0.read(move |connection| wallets::list(connection, after, limit)).await
    }

    /// Adds all up anew and says where the sums differ.
    pub async fn check(&self) -> Result<LedgerReport> {
        self.0.read(check::check).await
    }
}
