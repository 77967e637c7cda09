//! How a key is shown to its provider: as a header, by signing each request with it, or by access
//! tokens that it gets.

pub(crate) mod aws;
pub(crate) mod google;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::exchange::{Trouble, TroubleKind};
use super::live::Live;
use crate::error::{Error, Result};
use crate::wire::{RefusalKind, Scheme, Wire};

/// A key that can be shown.
pub(crate) enum Credential {
    /// There is none.
    None,
    Header(HeaderName, HeaderValue),
    Aws(Box<aws::AwsKey>),
    Google(Box<google::ServiceAccount>),
}

/// What is to be sent with it.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    pub(crate) body: &'a [u8],
}

impl Credential {
    /// The key as this provider wants it.
    pub(super) fn open(wire: &dyn Wire, secret: &str) -> Result<Credential> {
        match wire.scheme() {
            Scheme::Aws if secret.contains('|') => {
                Ok(Credential::Aws(Box::new(aws::AwsKey::parse(secret).map_err(wrong)?)))
            }
            Scheme::Google if secret.starts_with('{') => {
                let account = google::ServiceAccount::parse(secret).map_err(wrong)?;
                Ok(Credential::Google(Box::new(account)))
            }
            _ => {
                let (name, value) = wire.credential(secret);
                let mut value = HeaderValue::from_str(&value)
                    .map_err(|_| Error::Internal("a key cannot be sent".to_owned()))?;
                value.set_sensitive(true);
                Ok(Credential::Header(HeaderName::from_static(name), value))
            }
        }
    }

    /// Puts what proves the key among the headers of a request.
    pub(super) async fn show(
        &self,
        live: &Live,
        outgoing: Outgoing<'_>,
        headers: &mut HeaderMap,
    ) -> std::result::Result<(), Trouble> {
        match self {
            Credential::None => {}
            Credential::Header(name, value) => {
                headers.insert(name, value.clone());
            }
            Credential::Aws(key) => key.sign(&outgoing, jiff::Timestamp::now(), headers)?,
            Credential::Google(account) => {
                let value = account.token(live).await?;
                headers.insert(reqwest::header::AUTHORIZATION, value);
            }
        }
        Ok(())
    }

    /// What of it must stand in no log, if a provider repeats it.
    pub(super) fn secret(&self) -> Option<&str> {
        match self {
            Credential::Header(_, value) => value.to_str().ok()?.rsplit(' ').next(),
            Credential::Aws(key) => Some(key.secret()),
            Credential::None | Credential::Google(_) => None,
        }
    }
}

/// A key that cannot be used as it is.
fn unusable(message: impl Into<String>) -> Trouble {
    Trouble::new(TroubleKind::Refused(RefusalKind::Key), message)
}

fn wrong(what: &str) -> Error {
    Error::invalid("keys", format!("A key {what}."))
}

/// The key on one line: service accounts come as files of many.
pub(super) fn on_one_line(key: &str) -> String {
    let object = || serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(key).ok();
    match key.trim_start().starts_with('{').then(object).flatten() {
        Some(members) => serde_json::Value::Object(members).to_string(),
        None => key.to_owned(),
    }
}
