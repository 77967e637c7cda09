//! The outbox: tries what is due, and notes what became of it.

use std::time::Duration;

use hearth_store::{AlertWay, DueDelivery};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::{Alerts, place};
use crate::channels::Guard;
use crate::error::{Error, Result};

/// Deliveries of one round.
const AT_ONCE: u32 = 16;
/// Attempts at one delivery; the waits between them double.
const MAX_ATTEMPTS: u32 = 8;
/// The first wait, in seconds.
const FIRST_WAIT_S: i64 = 30;
/// How long a webhook may take to connect and to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest text of an error that is kept, in bytes.
const MAX_ERROR_BYTES: usize = 300;

impl Alerts {
    /// Tries all deliveries whose time has come.
    pub async fn deliver(&self) -> Result<()> {
        let _turn = self.inner.sending.lock().await;
        let alerts = self.inner.store.alerts();
        let due = alerts.due(self.inner.clock.now(), AT_ONCE).await?;
        for delivery in due {
            let outcome = self.try_one(&delivery).await;
            let now = self.inner.clock.now();
            match outcome {
                Ok(()) => alerts.sent(delivery.id, now).await?,
                Err(mut error) => {
                    error.truncate(error.floor_char_boundary(MAX_ERROR_BYTES));
                    tracing::warn!(delivery.id, %error, "an alert did not get there");
                    let next = next_attempt(delivery.attempts, now);
                    alerts.failed(delivery.id, error, now, next).await?;
                }
            }
        }
        Ok(())
    }

    async fn try_one(&self, delivery: &DueDelivery) -> std::result::Result<(), String> {
        match delivery.way {
            AlertWay::Email => {
                let mail = self.inner.mail.as_ref().ok_or("no mail server is configured")?;
                let (id, subject, body) = (delivery.alert_id, &delivery.subject, &delivery.body);
                mail.send(&delivery.address, id, subject, body).await
            }
            AlertWay::Webhook => self.call(delivery).await,
        }
    }

    /// Calls a webhook. Its signature covers the time and the body, so that an old call cannot be
    /// sent again by somebody else.
    async fn call(&self, delivery: &DueDelivery) -> std::result::Result<(), String> {
        let url = self.check_url(&delivery.address).map_err(|error| error.to_string())?;
        let (Some(target), Some(sealed)) = (delivery.target_id, &delivery.secret) else {
            return Err("the target is gone".to_owned());
        };
        let secret = self.inner.vault.unseal(&place(target), sealed);
        let secret = secret.map_err(|error| error.to_string())?;
        let body = json!({
            "id": delivery.alert_id,
            "rule": delivery.rule,
            "subject": delivery.subject,
            "body": delivery.body,
            "detail": delivery.detail,
            "created_at": delivery.created_at,
        })
        .to_string();
        let now = self.inner.clock.now();
        let request = self
            .inner
            .http
            .post(url)
            .header("content-type", "application/json")
            .header("x-hearth-alert", delivery.alert_id)
            .header("x-hearth-signature", format!("t={now},v1={}", sign(&secret, now, &body)))
            .body(body);
        // Without the address: it may hold what is not for logs.
        let answer = request.send().await.map_err(|error| why(error.without_url()))?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(format!("it answered {}", answer.status())),
        }
    }
}

/// When a delivery is tried again that has failed after so many others.
fn next_attempt(before: u32, now: i64) -> Option<i64> {
    (before + 1 < MAX_ATTEMPTS).then(|| now + (FIRST_WAIT_S << before))
}

/// HMAC-SHA256 of the time, a point and the body, in hex.
pub(super) fn sign(secret: &[u8], at: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(format!("{at}.{body}").as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// What went wrong, with its causes.
fn why(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// Calls nobody but whom it is told to: no redirects, no proxy by accident, no private address.
pub(super) fn client(guard: &Guard) -> Result<reqwest::Client> {
    // A second start in one process keeps the first one's choice, which is the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(guard.resolver())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .build()
        .map_err(|error| Error::Internal(format!("cannot make an HTTP client: {error}")))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn attempts_wait_twice_as_long_each_time_and_end() {
        let waits: Vec<_> = (0..9).map(|before| next_attempt(before, 0)).collect();
        assert_eq!(waits[..3], [Some(30), Some(60), Some(120)]);
        assert_eq!(waits[6..], [Some(1_920), None, None]);
    }
}
