//! Settings of routing.

use serde::{Deserialize, Serialize};

use super::policy::Policy;

/// How requests find who answers them, where no route says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoutingConfig {
    /// Where requests go.
    pub policy: Policy,
    /// Longest wait on this machine, in milliseconds, before `prefer-local` goes elsewhere.
    pub spill_wait_ms: u64,
    /// Most times that one request is tried.
    pub max_attempts: u32,
    /// Longest that one request waits for channels that have said when to come again, in
    /// milliseconds.
    pub max_retry_wait_ms: u64,
    /// Seconds that a conversation stays with the channel that answered it last.
    pub sticky_s: u64,
}

impl Default for RoutingConfig {
    fn default() -> RoutingConfig {
        RoutingConfig {
            policy: Policy::PreferLocal,
            spill_wait_ms: 10_000,
            max_attempts: 8,
            max_retry_wait_ms: 5_000,
            sticky_s: 60 * 60,
        }
    }
}

impl RoutingConfig {
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), String> {
        if self.spill_wait_ms > 3_600_000 {
            return Err("spill_wait_ms must be 0 to 3600000".to_owned());
        }
        if !(1..=100).contains(&self.max_attempts) {
            return Err("max_attempts must be 1 to 100".to_owned());
        }
        if self.max_retry_wait_ms > 600_000 {
            return Err("max_retry_wait_ms must be 0 to 600000".to_owned());
        }
        if self.sticky_s > 7 * 24 * 60 * 60 {
            return Err("sticky_s must be 0 to 604800".to_owned());
        }
        Ok(())
    }
}
