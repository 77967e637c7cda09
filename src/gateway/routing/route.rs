//! A route as an admin writes it: how requests for one model find who answers.

use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::channels::spec::{check_name, invalid};
use crate::error::Result;

/// Most targets, and most models for prompts that are too long.
const MAX_TARGETS: usize = 100;

/// How requests for one model are answered. Where the model is only a name for others (an alias),
/// `targets` says which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Left out: as the group's, then as the settings say.
    pub policy: Option<Policy>,
    /// In the order in which they are asked; empty is the model itself.
    pub targets: Vec<RouteTarget>,
    /// Longest wait on this machine before `prefer-local` goes elsewhere.
    pub spill_wait_ms: Option<u64>,
    /// Models with longer contexts, for prompts that are too long for all targets.
    pub on_context_full: Vec<String>,
    /// Whether a second channel is asked when the first takes unusually long to begin; whoever
    /// begins first answers.
    pub hedge: bool,
}

/// One who is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteTarget {
    /// A model on offer here or elsewhere.
    pub model: String,
    /// Only this channel; `local` is this machine. Left out: whoever offers the model.
    #[serde(default)]
    pub channel: Option<String>,
}

impl Route {
    /// Refuses what cannot be a route.
    pub(crate) fn check(&self) -> Result<()> {
        if self.targets.len() > MAX_TARGETS || self.on_context_full.len() > MAX_TARGETS {
            return Err(invalid("targets", &format!("may be {MAX_TARGETS} at most")));
        }
        for target in &self.targets {
            check_name("targets", &target.model)?;
            if let Some(channel) = &target.channel {
                check_name("targets", channel)?;
            }
        }
        for model in &self.on_context_full {
            check_name("on_context_full", model)?;
        }
        if self.spill_wait_ms.is_some_and(|wait_ms| wait_ms > 3_600_000) {
            return Err(invalid("spill_wait_ms", "must be 0 to 3600000"));
        }
        Ok(())
    }
}
