//! The rules by which requests are paid, kept in memory: a request that costs nothing and is bound
//! by no budget asks the store nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hearth_store::{ApiTokenId, Holder, PriceRow, Store, UserId};
use tokio::sync::RwLock;

use super::pace::Rules;
use super::price::ModelPrice;
use crate::error::Result;

/// All rules, as the store has them.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    prices: HashMap<String, Arc<ModelPrice>>,
    bound: HashSet<Holder>,
    has_group_budgets: bool,
    /// Rate limits.
    pub(crate) rules: Rules,
}

/// The rules in memory; read from the store when they are first asked for, and after each change.
pub(crate) struct TermsCache {
    store: Store,
    terms: RwLock<Option<Arc<Terms>>>,
}

impl TermsCache {
    pub(crate) fn new(store: Store) -> TermsCache {
        TermsCache { store, terms: RwLock::new(None) }
    }

    /// The rules that are in force.
    pub(crate) async fn get(&self) -> Result<Arc<Terms>> {
        if let Some(terms) = &*self.terms.read().await {
            return Ok(Arc::clone(terms));
        }
        let mut kept = self.terms.write().await;
        if let Some(terms) = &*kept {
            return Ok(Arc::clone(terms));
        }
        let terms = Arc::new(Terms::read(&self.store).await?);
        *kept = Some(Arc::clone(&terms));
        Ok(terms)
    }

    /// Runs a change of the rules; whoever asks later sees it.
    pub(crate) async fn change<T, E>(
        &self,
        change: impl Future<Output = std::result::Result<T, E>>,
    ) -> std::result::Result<T, E> {
        // The lock is held meanwhile, so that nobody reads what stood before and keeps it.
        let mut kept = self.terms.write().await;
        *kept = None;
        change.await
    }
}

impl Terms {
    async fn read(store: &Store) -> Result<Terms> {
        let mut prices: HashMap<String, ModelPrice> = HashMap::new();
        for PriceRow { model, channel_id, price } in store.prices().list().await? {
            let entry = prices.entry(model).or_default();
            match channel_id {
                None => entry.own = price,
                Some(channel) => entry.channels.push((channel, price)),
            }
        }
        let budgets = store.ledger().all_budgets().await?;
        let bound: HashSet<Holder> = budgets.into_iter().map(|budget| budget.holder).collect();
        Ok(Terms {
            prices: prices.into_iter().map(|(model, price)| (model, Arc::new(price))).collect(),
            has_group_budgets: bound.iter().any(|holder| matches!(holder, Holder::Group(_))),
            bound,
            rules: Rules::of(&store.rate_limits().list().await?),
        })
    }

    /// What a model costs; `None` is nothing.
    pub(crate) fn price(&self, model: &str) -> Option<Arc<ModelPrice>> {
        self.prices.get(model).filter(|price| !price.is_free()).cloned()
    }

    /// Whether a budget may bind these payers. Of groups it is not known here who is in which.
    pub(crate) fn may_bind(&self, user: Option<UserId>, token: Option<ApiTokenId>) -> bool {
        let user = user.map(Holder::User);
        let token = token.map(Holder::Token);
        (user.is_some() && self.has_group_budgets)
            || [user, token].iter().flatten().any(|holder| self.bound.contains(holder))
    }
}
