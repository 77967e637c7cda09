//! Settings of sign-in.

use serde::{Deserialize, Serialize};

use super::directory::LdapConfig;
use super::oidc::OidcConfig;

/// How people sign in and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountsConfig {
    /// Seconds without a request after which a session ends.
    pub session_idle_s: u32,
    /// Seconds after which a session ends, however much it is used.
    pub session_max_s: u32,
    /// Passwords that are hashed at the same time; each takes 19 MiB of memory.
    pub hashes_at_once: u32,
    /// How hard new passwords must be to guess: 0 (anything of 8 characters) to 4, by zxcvbn.
    pub password_score: u8,
    /// Seconds after which a session must prove again who its user is before a dangerous act.
    pub step_up_s: u32,
    /// Header in which a trusted proxy names the user whom it has signed in; empty is none.
    pub proxy_user_header: String,
    /// Our address as browsers see it, such as `https://llm.example.com`: passkeys are bound to its
    /// name. Empty is whatever name of `server.hosts` a browser uses.
    pub public_url: String,
}

/// All ways to sign in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SignInConfig {
    /// By a password, and what is common to all ways.
    pub accounts: AccountsConfig,
    /// By a provider of OpenID Connect.
    pub oidc: OidcConfig,
    /// By a directory.
    pub ldap: LdapConfig,
}

impl From<AccountsConfig> for SignInConfig {
    fn from(accounts: AccountsConfig) -> SignInConfig {
        SignInConfig { accounts, ..SignInConfig::default() }
    }
}

impl Default for AccountsConfig {
    fn default() -> AccountsConfig {
        AccountsConfig {
            session_idle_s: 12 * 60 * 60,
            session_max_s: 7 * 24 * 60 * 60,
            hashes_at_once: 4,
            password_score: 3,
            step_up_s: 20 * 60,
            proxy_user_header: String::new(),
            public_url: String::new(),
        }
    }
}

impl AccountsConfig {
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), String> {
        let year = 366 * 24 * 60 * 60;
        if !(60..=year).contains(&self.session_idle_s) {
            return Err("session_idle_s must be 60 to 31622400".to_owned());
        }
        if !(60..=year).contains(&self.session_max_s) {
            return Err("session_max_s must be 60 to 31622400".to_owned());
        }
        if !(1..=64).contains(&self.hashes_at_once) {
            return Err("hashes_at_once must be 1 to 64".to_owned());
        }
        if self.password_score > 4 {
            return Err("password_score must be 0 to 4".to_owned());
        }
        if !(60..=year).contains(&self.step_up_s) {
            return Err("step_up_s must be 60 to 31622400".to_owned());
        }
        if !self.public_url.is_empty() {
            let url = super::site::Site::of_url(&self.public_url);
            let is_web =
                self.public_url.starts_with("https://") || self.public_url.starts_with("http://");
            if url.is_err() || !is_web || self.public_url.matches('/').count() > 3 {
                return Err("public_url must be our address, as https://llm.example.com".to_owned());
            }
        }
        Ok(())
    }
}
