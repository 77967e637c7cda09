//! Settings of alerts.

use serde::{Deserialize, Serialize};

use crate::accounts::Hidden;

/// How alerts travel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertsConfig {
    /// The mail server: `smtps://name:password@host:465`, or `smtp://…?tls=required` for a
    /// connection that begins in the clear; empty sends no e-mail.
    pub smtp_url: Hidden,
    /// Whom e-mail comes from, such as `Hearth <hearth@example.com>`.
    pub smtp_from: String,
    /// Hosts and networks that webhooks may reach although their addresses are private.
    pub allow_private: Vec<String>,
}

impl AlertsConfig {
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), String> {
        super::mail::Mail::open(self).map(drop)
    }
}
