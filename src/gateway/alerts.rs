//! Tells whoever should know that something unusual has happened: rules that watch, and an outbox
//! that lasts until its letters have got there.
//!
//! What happened is written once, by a name of the occasion, together with who is to hear of it.
//! A process that is killed between sending and noting it sends again; the alert's id in each
//! letter and call tells the two apart.

mod config;
mod mail;
mod send;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

use hearth_store::{
    AlertAudience, AlertRule, AlertTarget, AlertWay, NewAlert, SealedPlace, SentAlert, Store,
};
use reqwest::Url;
use serde::Serialize;
use serde_json::json;
use tokio::sync::Mutex;

use crate::caller::Caller;
use crate::channels::Guard;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::vault::Vault;

pub use config::AlertsConfig;

/// How signing secrets begin.
const SECRET_START: &str = "hearth-whsec-";
/// Longest address, in bytes.
const MAX_ADDRESS_BYTES: usize = 1_024;

/// What is watched, with what its numbers mean and what they are without a wish.
pub const RULES: [Rule; 4] = [
    Rule {
        name: "budget",
        about: "A budget is used to `threshold` percent, and again at 100.",
        threshold: 80,
        floor: 0,
    },
    Rule {
        name: "spend",
        about: "Somebody spent `threshold` percent of their usual day within one; a usual day below \
                `floor` micro-dollars counts as that.",
        threshold: 300,
        floor: 1_000_000,
    },
    Rule {
        name: "failures",
        about: "`threshold` percent of a model's requests of this hour failed, of `floor` at least.",
        threshold: 50,
        floor: 20,
    },
    Rule {
        name: "sign_in",
        about: "Somebody signed in from a network that is new for them.",
        threshold: 0,
        floor: 0,
    },
];

/// A rule as it comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Names it.
    pub name: &'static str,
    /// When it speaks.
    pub about: &'static str,
    /// From where on it speaks, without a wish.
    pub threshold: u64,
    /// Below which it is silent, without a wish.
    pub floor: u64,
}

/// The alerts of one data directory. Cheap to clone.
#[derive(Clone)]
pub struct Alerts {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    vault: Vault,
    clock: Clock,
    guard: Guard,
    http: reqwest::Client,
    mail: Option<mail::Mail>,
    /// One round of sending at a time, so that nothing is sent by two.
    sending: Mutex<()>,
}

impl Alerts {
    /// The alerts of this store.
    pub fn open(store: Store, vault: Vault, clock: Clock, config: &AlertsConfig) -> Result<Alerts> {
        let guard = Guard::new(&config.allow_private);
        let http = send::client(&guard)?;
        let mail = mail::Mail::open(config).map_err(Error::Internal)?;
        let sending = Mutex::default();
        let inner = Inner { store, vault, clock, guard, http, mail, sending };
        Ok(Alerts { inner: Arc::new(inner) })
    }

    /// Whether e-mail can be sent.
    pub fn has_mail(&self) -> bool {
        self.inner.mail.is_some()
    }

    /// Every rule as it stands. For admins.
    pub async fn rules(&self, caller: &Caller) -> Result<Vec<AlertRule>> {
        caller.require_admin()?;
        rules_of(&self.inner.store).await
    }

    /// Changes a rule. For admins.
    pub async fn set_rule(&self, caller: &Caller, rule: AlertRule) -> Result<()> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        if !RULES.iter().any(|known| known.name == rule.rule) {
            let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
            let message = format!("'rule' must be one of {}.", names.join(", "));
            return Err(Error::invalid("rule", message));
        }
        if rule.threshold > 100_000 || i64::try_from(rule.floor).is_err() {
            let message = "'threshold' is at most 100000, 'floor' a number of 63 bits.";
            return Err(Error::invalid("threshold", message));
        }
        let store = self.acting(caller, "alerts.rule", rule.rule.clone(), json!(rule));
        Ok(store.alerts().set_rule(rule).await?)
    }

    /// Where alerts go. For admins.
    pub async fn targets(&self, caller: &Caller) -> Result<Vec<AlertTarget>> {
        caller.require_admin()?;
        Ok(self.inner.store.alerts().targets().await?)
    }

    /// Adds a target; for a webhook the secret that signs its calls, shown this once. For admins.
    pub async fn add_target(
        &self,
        caller: &Caller,
        way: AlertWay,
        address: &str,
    ) -> Result<(AlertTarget, Option<String>)> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        let address = address.trim();
        if address.len() > MAX_ADDRESS_BYTES {
            return Err(Error::invalid("address", "'address' is too long."));
        }
        let secret = match way {
            AlertWay::Email => {
                mail::check(address)?;
                None
            }
            AlertWay::Webhook => {
                self.check_url(address)?;
                Some(format!("{SECRET_START}{}", hex::encode(rand::random::<[u8; 32]>())))
            }
        };
        let (vault, sealed) = (self.inner.vault.clone(), secret.clone());
        let seal = move |id: i64| match sealed {
            None => Ok(None),
            Some(secret) => {
                let sealed = vault.seal(&place(id), secret.as_bytes());
                sealed.map(Some).map_err(|error| error.to_string())
            }
        };
        let detail = json!({ "way": way, "address": address });
        let store = self.acting(caller, "alerts.target.add", address.to_owned(), detail);
        let now = self.inner.clock.now();
        let added = store.alerts().add_target(way, address.to_owned(), now, seal).await;
        let target = added.map_err(|error| match error {
            hearth_store::Error::NameTaken => Error::Conflict {
                code: "target_exists",
                message: "Alerts go there already.".to_owned(),
            },
            error => error.into(),
        })?;
        Ok((target, secret))
    }

    /// Removes a target. For admins.
    pub async fn remove_target(&self, caller: &Caller, id: i64) -> Result<()> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        let store = self.acting(caller, "alerts.target.remove", id.to_string(), json!({}));
        Ok(store.alerts().remove_target(id).await?)
    }

    /// Sends a test to a target now; what became of it. For admins.
    pub async fn test(&self, caller: &Caller, id: i64) -> Result<SentAlert> {
        caller.require_admin()?;
        let targets = self.inner.store.alerts().targets().await?;
        let target = targets.iter().find(|target| target.id == id).ok_or(Error::NotFound)?;
        let now = self.inner.clock.now();
        let alert = NewAlert {
            occasion: format!("test:{}", uuid::Uuid::now_v7()),
            rule: "test".to_owned(),
            subject: "Hearth: a test".to_owned(),
            body: format!("{} has tried whether alerts get here. They do.", caller.name),
            detail: json!({ "by": caller.name }),
            created_at: now,
            person: None,
            audience: AlertAudience::One(target.id),
        };
        let store = self.acting(caller, "alerts.test", target.address.clone(), json!({}));
        let added = store.alerts().add(alert).await?;
        self.deliver().await?;
        let sent = self.inner.store.alerts().list(None, 100).await?;
        sent.into_iter().find(|sent| Some(sent.alert_id) == added).ok_or(Error::NotFound)
    }

    /// What was sent, the newest first. For admins.
    pub async fn sent(
        &self,
        caller: &Caller,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<SentAlert>> {
        caller.require_admin()?;
        Ok(self.inner.store.alerts().list(before, limit).await?)
    }

    fn acting(
        &self,
        caller: &Caller,
        action: &'static str,
        target: String,
        detail: serde_json::Value,
    ) -> Store {
        let act = caller.act(self.inner.clock.now(), action, target, detail);
        self.inner.store.audited(act)
    }

    fn check_url(&self, address: &str) -> Result<Url> {
        let wrong = |reason: String| Error::invalid("address", format!("'address' {reason}."));
        let url = Url::parse(address).map_err(|error| wrong(format!("is no address: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("must not hold a name or a password".to_owned()));
        }
        self.inner.guard.check(&url).map_err(wrong)?;
        Ok(url)
    }
}

/// Every rule: as it was set, or as it comes.
pub(crate) async fn rules_of(store: &Store) -> Result<Vec<AlertRule>> {
    let set = store.alerts().rules().await?;
    let as_it_comes = |rule: &Rule| AlertRule {
        rule: rule.name.to_owned(),
        is_on: true,
        threshold: rule.threshold,
        floor: rule.floor,
    };
    let now = |rule: &Rule| {
        let found = set.iter().find(|found| found.rule == rule.name).cloned();
        found.unwrap_or_else(|| as_it_comes(rule))
    };
    Ok(RULES.iter().map(now).collect())
}

fn place(id: i64) -> SealedPlace {
    SealedPlace { table: "alert_targets", column: "secret", row: id.to_string() }
}
