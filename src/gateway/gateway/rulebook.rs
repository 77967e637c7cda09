//! Rules that admins change while the server runs: one JSON text in the store's settings, kept in
//! memory, so that a request without any rule asks the store nothing.

use std::sync::Arc;

use hearth_store::{GroupId, Store};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::RwLock;

use crate::caller::Caller;
use crate::channels::{check_name, matches};
use crate::error::{Error, Result};

/// Most patterns of models in one rule.
const MAX_MODELS: usize = 100;

/// Whom a rule concerns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Audience {
    /// Members of this group; left out, everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The group's id, which outlives its name. Not read from requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<GroupId>,
    /// Models; `*` stands for any text. Empty is all.
    pub models: Vec<String>,
}

impl Audience {
    /// Whether a request of this caller for this model, by its full name, is concerned.
    pub(super) fn covers(&self, caller: &Caller, model: &str) -> bool {
        let by_group = self.group_id.is_none_or(|id| caller.scope.group_id == Some(id));
        let models = &self.models;
        by_group && (models.is_empty() || models.iter().any(|pattern| matches(pattern, model)))
    }

    /// Finds the group that is named, and refuses what cannot be a model.
    pub(super) async fn check(&mut self, store: &Store) -> Result<()> {
        self.group_id = None;
        if let Some(name) = &self.group {
            let group = store.groups().by_name(name).await?;
            let nobody = || Error::invalid("group", format!("There is no group `{name}`."));
            self.group_id = Some(group.ok_or_else(nobody)?.id);
        }
        if self.models.len() > MAX_MODELS {
            let message = format!("A rule may name {MAX_MODELS} models at most.");
            return Err(Error::invalid("models", message));
        }
        self.models.iter().try_for_each(|model| check_name("models", model))
    }
}

/// One set of rules, made of what is kept in the store.
pub(super) trait Rules: Sized {
    /// The setting under which they are kept.
    const KEY: &'static str;
    /// What is kept.
    type Kept: Default + Serialize + DeserializeOwned + Send + Sync;

    /// Makes them ready; they were checked when they were kept.
    fn of(kept: Self::Kept) -> Result<Self>;
}

/// The rules in memory.
pub(super) struct Rulebook<R> {
    store: Store,
    kept: RwLock<Option<Arc<R>>>,
}

impl<R: Rules> Rulebook<R> {
    pub(super) fn new(store: Store) -> Rulebook<R> {
        Rulebook { store, kept: RwLock::new(None) }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// The rules that are in force.
    pub(super) async fn get(&self) -> Result<Arc<R>> {
        if let Some(rules) = &*self.kept.read().await {
            return Ok(Arc::clone(rules));
        }
        let mut place = self.kept.write().await;
        if let Some(rules) = &*place {
            return Ok(Arc::clone(rules));
        }
        let rules = Arc::new(R::of(self.read().await?)?);
        *place = Some(Arc::clone(&rules));
        Ok(rules)
    }

    /// What is kept.
    pub(super) async fn read(&self) -> Result<R::Kept> {
        match self.store.settings().get(R::KEY).await? {
            None => Ok(R::Kept::default()),
            Some(text) => serde_json::from_str(&text)
                .map_err(|error| Error::Internal(format!("the setting `{}`: {error}", R::KEY))),
        }
    }

    /// Replaces them; whoever asks later sees the new ones. `store`: with the act that it is.
    pub(super) async fn set(&self, store: &Store, kept: R::Kept) -> Result<()> {
        let text = serde_json::to_string(&kept)
            .map_err(|error| Error::Internal(format!("the setting `{}`: {error}", R::KEY)))?;
        let rules = Arc::new(R::of(kept)?);
        // Held meanwhile, so that nobody reads what stood before and keeps it.
        let mut place = self.kept.write().await;
        store.settings().set(R::KEY, &text).await?;
        *place = Some(rules);
        Ok(())
    }
}
