//! Settings of the gateway.

use serde::{Deserialize, Serialize};

/// How much one caller may ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Answers of one user that run or wait at the same time, all API tokens and sessions together:
    /// a call asks for its prompts times n. Further calls are refused as busy.
    pub max_running_per_caller: u32,
    /// Seconds after which a request is ended, loading of the model included.
    pub request_timeout_s: u32,
    /// Tokens that are set aside at a time for an answer without a limit of its own, where tokens
    /// cost money or a budget counts them.
    pub reserve_tokens: u32,
    /// Whether an answer's limit on tokens is lowered to what its payers have left, instead of
    /// refusing the request.
    pub lower_max_tokens: bool,
    /// How an answer ends whose payers have nothing left: `length`, as at a limit on tokens, or
    /// `error`.
    pub when_used_up: WhenUsedUp,
    /// Bytes of answers that are kept for whoever asks the same again, where a rule says so
    /// (`hearth cache`); 0 keeps none.
    pub response_cache_bytes: u64,
}

/// How an answer ends whose payers have nothing left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenUsedUp {
    /// As at a limit on tokens.
    Length,
    /// With an error.
    Error,
}

impl Default for GatewayConfig {
    fn default() -> GatewayConfig {
        GatewayConfig {
            max_running_per_caller: 64,
            request_timeout_s: 60 * 60,
            reserve_tokens: 1024,
            lower_max_tokens: false,
            when_used_up: WhenUsedUp::Length,
            response_cache_bytes: 64 << 20,
        }
    }
}

impl GatewayConfig {
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), String> {
        if !(1..=10_000).contains(&self.max_running_per_caller) {
            return Err("max_running_per_caller must be 1 to 10000".to_owned());
        }
        if !(1..=7 * 24 * 60 * 60).contains(&self.request_timeout_s) {
            return Err("request_timeout_s must be 1 to 604800".to_owned());
        }
        if self.response_cache_bytes > 64 << 30 {
            return Err("response_cache_bytes must be 0 to 68719476736".to_owned());
        }
        if !(1..=1_000_000).contains(&self.reserve_tokens) {
            return Err("reserve_tokens must be 1 to 1000000".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_what_is_not_is_named() {
        GatewayConfig::default().validate().unwrap();
        let config = GatewayConfig { request_timeout_s: 0, ..GatewayConfig::default() };
        assert!(config.validate().unwrap_err().starts_with("request_timeout_s must be"));
        let unknown = serde_json::from_str::<GatewayConfig>(r#"{"request_timeout_ms": 1}"#);
        assert!(unknown.is_err());
    }
}
