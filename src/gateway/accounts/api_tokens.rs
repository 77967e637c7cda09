//! API tokens: made, listed and deleted by their owners and by admins.

use std::net::IpAddr;

use hearth_store::{ApiToken, ApiTokenId, NewApiToken, UserId};
use ipnet::IpNet;

use super::secrets::{self, Secret, TOKEN_START};
use super::{Accounts, names};
use crate::caller::Caller;
use crate::error::{Error, Result};

/// Most models or networks that one API token names.
const MAX_ENTRIES: usize = 100;
/// Longest name or start of a name of a model, in bytes.
const MAX_MODEL_BYTES: usize = 256;
/// Letters of the secret that the list shows after its start.
const SHOWN_LETTERS: usize = 4;

/// An API token to be made.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    /// What its owner calls it; 1 to 64 characters.
    pub name: String,
    /// Name of the user whose it will be; `None` is the caller. Others need an admin.
    pub user: Option<String>,
    /// Unix seconds; `None` never expires.
    pub expires_at: Option<i64>,
    /// Names, or starts of names with `*`, of models; `None` is all.
    pub models: Option<Vec<String>>,
    /// Addresses or networks that it may be used from; `None` is everywhere.
    pub allow_ips: Option<Vec<String>>,
}

impl Accounts {
    /// Makes an API token; its secret is shown this once.
    pub async fn create_token(&self, caller: &Caller, new: NewToken) -> Result<(ApiToken, Secret)> {
        caller.require_unrestricted()?;
        let user_id = self.owner_of_new(caller, new.user.as_deref()).await?;
        let now = self.inner.clock.now();
        if new.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(Error::invalid("expires_at", "'expires_at' must be in the future."));
        }
        let secret = secrets::new_token();
        let shown = secret.reveal().get(..TOKEN_START.len() + SHOWN_LETTERS).unwrap_or_default();
        let row = NewApiToken {
            user_id,
            name: names::parse(&new.name)?,
            prefix: format!("{shown}…"),
            hash: self.inner.keys.hash(secret.reveal()),
            created_at: now,
            expires_at: new.expires_at,
            models: new.models.map(parse_models).transpose()?,
            allow_ips: new.allow_ips.map(parse_networks).transpose()?,
        };
        let token = self.inner.store.api_tokens().create(row).await?;
        Ok((token, secret))
    }

    /// The caller's API tokens, or everybody's for admins, in the order of their ids.
    pub async fn list_tokens(
        &self,
        caller: &Caller,
        all: bool,
        after: Option<ApiTokenId>,
        limit: u32,
    ) -> Result<Vec<ApiToken>> {
        let tokens = self.inner.store.api_tokens();
        if all {
            caller.require_admin()?;
            return Ok(tokens.list_all(after, limit).await?);
        }
        Ok(tokens.list_of(caller.owner()?, after, limit).await?)
    }

    /// Deletes an API token: the caller's own, or anybody's for admins.
    pub async fn delete_token(&self, caller: &Caller, id: ApiTokenId) -> Result<()> {
        caller.require_unrestricted()?;
        let tokens = self.inner.store.api_tokens();
        match caller.require_admin() {
            Ok(()) => Ok(tokens.delete_any(id).await?),
            Err(_) => Ok(tokens.delete_of(caller.owner()?, id).await?),
        }
    }

    async fn owner_of_new(&self, caller: &Caller, user: Option<&str>) -> Result<UserId> {
        let Some(name) = user else { return caller.owner() };
        if caller.user_id.is_some() && caller.name == name {
            return caller.owner();
        }
        Ok(self.user_by_name(caller, name).await?.id)
    }
}

fn parse_models(models: Vec<String>) -> Result<Vec<String>> {
    let wrong = |message: &str| Err(Error::invalid("models", message));
    if models.len() > MAX_ENTRIES {
        return wrong("'models' may have at most 100 entries.");
    }
    for model in &models {
        let start = model.strip_suffix('*').unwrap_or(model);
        if model.is_empty() || model.len() > MAX_MODEL_BYTES || start.contains('*') {
            return wrong("Each of 'models' is a model's name, or the start of one and *.");
        }
    }
    Ok(models)
}

/// Networks in one spelling; a single address is a network of one.
fn parse_networks(networks: Vec<String>) -> Result<Vec<String>> {
    if networks.len() > MAX_ENTRIES {
        return Err(Error::invalid("allow_ips", "'allow_ips' may have at most 100 entries."));
    }
    let parse = |text: &String| {
        let text = text.trim();
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.ok().map(|network| network.trunc().to_string())
    };
    networks.iter().map(parse).collect::<Option<_>>().ok_or_else(|| {
        let message = "Each of 'allow_ips' is an address such as 10.0.0.1 or a network such as \
                       10.0.0.0/8.";
        Error::invalid("allow_ips", message)
    })
}
