//! What is written when somebody signs in from where they never were.

use std::net::IpAddr;

use hearth_store::{AlertAudience, NewAlert, User};
use serde_json::json;

use super::Accounts;
use crate::alerts::rules_of;

impl Accounts {
    /// The alert that is written with a session if its network is new for its user; `None` if
    /// nobody wants to know, or that cannot be told now.
    pub(super) async fn new_network_alert(
        &self,
        user: &User,
        method: &str,
        address: IpAddr,
        occasion: &str,
    ) -> Option<NewAlert> {
        let rules = match rules_of(&self.inner.store).await {
            Ok(rules) => rules,
            Err(error) => {
                tracing::warn!(%error, "cannot tell whether a new network is an alert");
                return None;
            }
        };
        if !rules.iter().any(|rule| rule.rule == "sign_in" && rule.is_on) {
            return None;
        }
        let name = &user.name;
        Some(NewAlert {
            occasion: format!("sign_in:{occasion}"),
            rule: "sign_in".to_owned(),
            subject: format!("Hearth: {name} signed in from a new place"),
            body: format!(
                "{name} signed in by {method} from {address}, a network from which they never have.\n\
                 If that was not {name}, end the session, change the password and look at the \
                 second factor."
            ),
            detail: json!({
                "user_id": user.id, "user": name, "method": method, "address": address.to_string(),
            }),
            created_at: self.inner.clock.now(),
            person: user.email.clone(),
            audience: AlertAudience::All,
        })
    }
}
