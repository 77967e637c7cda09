//! Sign-in by an LDAP directory: find the entry of a name, then try its password.
//!
//! Everybody whose sign-in fails costs one search and one bind, people who are not there or whose
//! password is kept here too: how long it takes tells nobody who has an account where.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hearth_store::{Identity, User};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry, ldap_escape};
use serde::{Deserialize, Serialize};

use super::Accounts;
use super::external::{Trust, Vouched};
use super::hidden::Hidden;
use crate::error::{Error, Result};

/// How long a connection, and how long each question, may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What stands for the name in a filter.
const NAME: &str = "{name}";
/// Where nobody is, and their password: binding there takes as long as with a wrong password.
const NOBODY: &str = "cn=hearth-nobody";
const NOBODYS_PASSWORD: &str = "hearth-nobody";
/// What a directory says to a wrong password or a wrong name.
const INVALID_CREDENTIALS: u32 = 49;

/// An LDAP directory or Active Directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LdapConfig {
    /// `ldaps://host:636`, `ldap://host:389` or `ldapi://socket`; empty is no directory.
    pub url: String,
    /// Whether a connection of `ldap://` is encrypted before anything is said.
    pub starttls: bool,
    /// Who looks people up; empty is nobody in particular.
    pub bind_dn: String,
    /// Their password.
    pub bind_password: Hidden,
    /// Where people are.
    pub base_dn: String,
    /// Finds one of them; `{name}` is the name that was typed.
    pub user_filter: String,
    /// The name that they have here.
    pub name_attribute: String,
    /// What never changes of a person.
    pub id_attribute: String,
    /// Their address.
    pub email_attribute: String,
    /// Their groups.
    pub groups_attribute: String,
    /// Groups whose people are admins here; empty changes no roles.
    pub admin_groups: Vec<String>,
    /// Groups whose people come in; empty is everybody.
    pub allowed_groups: Vec<String>,
    /// Whether people who have no account get one.
    pub creates_users: bool,
}

impl Default for LdapConfig {
    fn default() -> LdapConfig {
        LdapConfig {
            url: String::new(),
            starttls: true,
            bind_dn: String::new(),
            bind_password: Hidden::default(),
            base_dn: String::new(),
            user_filter: "(uid={name})".to_owned(),
            name_attribute: "uid".to_owned(),
            id_attribute: "entryUUID".to_owned(),
            email_attribute: "mail".to_owned(),
            groups_attribute: "memberOf".to_owned(),
            admin_groups: Vec::new(),
            allowed_groups: Vec::new(),
            creates_users: true,
        }
    }
}

impl LdapConfig {
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> std::result::Result<(), String> {
        if self.url.is_empty() {
            return Ok(());
        }
        if !["ldap://", "ldaps://", "ldapi://"].iter().any(|way| self.url.starts_with(way)) {
            return Err("url must begin with ldaps://, ldap:// or ldapi://".to_owned());
        }
        if !self.user_filter.contains(NAME) {
            return Err("user_filter must have {name} in it".to_owned());
        }
        Ok(())
    }
}

/// The directory, if one is configured.
pub(super) struct Directory {
    config: LdapConfig,
    /// Searches for people and binds as them, for the test that nobody's name is told by the time.
    asked: AtomicU64,
}

/// Somebody who wants in, or is only to cost as much as if they did.
struct Knock<'a> {
    name: &'a str,
    /// `None` is refused whatever the directory says.
    password: Option<&'a str>,
}

impl Accounts {
    /// Whether people may sign in by a directory.
    pub fn offers_ldap(&self) -> bool {
        !self.inner.directory.config.url.is_empty()
    }

    /// The user whom the directory knows by this name and password; `None` if it knows none.
    pub(super) async fn sign_in_by_directory(
        &self,
        name: &str,
        password: &str,
        known: Option<&User>,
    ) -> Result<Option<User>> {
        let directory = &self.inner.directory;
        let config = &directory.config;
        // A directory takes an empty password as "nobody in particular" and lets them in.
        if password.is_empty() {
            return Ok(None);
        }
        let Some(entry) = directory.knock(Knock { name, password: Some(password) }).await? else {
            return Ok(None);
        };
        let trust = Trust {
            creates_users: config.creates_users,
            admin_groups: &config.admin_groups,
            allowed_groups: &config.allowed_groups,
        };
        match self.vouched_user(config.vouched(&entry, name), &trust).await {
            // Somebody else here has this name; to the one who signs in it is simply wrong.
            Ok(user) if known.is_none_or(|known| known.id == user.id) => Ok(Some(user)),
            Ok(_) | Err(Error::Conflict { .. } | Error::WrongCredentials) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks the directory for nothing but the time that it takes. It is not told the password: that
    /// of somebody who signs in here is none of its business.
    pub(super) async fn ask_directory_in_vain(&self, name: &str, password: &str) -> Result<()> {
        if password.is_empty() {
            return Ok(());
        }
        self.inner.directory.knock(Knock { name, password: None }).await.map(drop)
    }
}

impl Directory {
    pub(super) fn new(config: LdapConfig) -> Directory {
        Directory { config, asked: AtomicU64::new(0) }
    }

    /// Searches and binds since the start.
    #[cfg(test)]
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// The entry of this name, if the password is its own and there is a directory.
    async fn knock(&self, knock: Knock<'_>) -> Result<Option<SearchEntry>> {
        if self.config.url.is_empty() || knock.name.is_empty() {
            return Ok(None);
        }
        self.ask(knock).await.map_err(|error| {
            tracing::error!(%error, "the directory does not answer");
            Error::Provider("The directory does not answer.".to_owned())
        })
    }

    async fn ask(
        &self,
        knock: Knock<'_>,
    ) -> std::result::Result<Option<SearchEntry>, ldap3::LdapError> {
        let config = &self.config;
        let mut ldap = connect(config).await?;
        if !config.bind_dn.is_empty() {
            ldap.with_timeout(TIMEOUT);
            ldap.simple_bind(&config.bind_dn, &config.bind_password.0).await?.success()?;
        }
        let filter = config.user_filter.replace(NAME, &ldap_escape(knock.name));
        let attributes = [
            &config.name_attribute,
            &config.id_attribute,
            &config.email_attribute,
            &config.groups_attribute,
        ];
        ldap.with_timeout(TIMEOUT);
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found =
            ldap.search(&config.base_dn, Scope::Subtree, &filter, attributes.map(|a| a.as_str()));
        let (mut entries, _) = found.await?.success()?;
        // Of two people nobody can say which one is meant.
        let entry = match (entries.pop(), entries.is_empty()) {
            (Some(entry), true) => Some(SearchEntry::construct(entry)),
            _ => None,
        };
        ldap.with_timeout(TIMEOUT);
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (Some(entry), Some(password)) = (entry, knock.password) else {
            let nobody = match config.base_dn.is_empty() {
                true => NOBODY.to_owned(),
                false => format!("{NOBODY},{}", config.base_dn),
            };
            ldap.simple_bind(&nobody, NOBODYS_PASSWORD).await?;
            return Ok(None);
        };
        let bound = ldap.simple_bind(&entry.dn, password).await?;
        // Anything else that is no success is the directory's matter.
        match bound.rc {
            0 => Ok(Some(entry)),
            INVALID_CREDENTIALS => Ok(None),
            _ => bound.success().map(|_| None),
        }
    }
}

impl LdapConfig {
    /// What an entry says of a person who signed in by this name.
    fn vouched(&self, entry: &SearchEntry, name: &str) -> Vouched {
        let first = |attribute: &str| entry.attrs.get(attribute)?.first().cloned();
        // Active Directory's ids are bytes.
        let bytes = || entry.bin_attrs.get(&self.id_attribute)?.first().map(hex::encode);
        let subject = first(&self.id_attribute).or_else(bytes);
        let subject = subject.unwrap_or_else(|| entry.dn.to_lowercase());
        Vouched {
            identity: Identity { provider: "ldap".to_owned(), subject },
            name: first(&self.name_attribute).unwrap_or_else(|| name.to_owned()),
            email: first(&self.email_attribute),
            groups: Some(entry.attrs.get(&self.groups_attribute).cloned().unwrap_or_default()),
        }
    }
}

async fn connect(config: &LdapConfig) -> std::result::Result<Ldap, ldap3::LdapError> {
    // A second start in one process keeps the first one's choice, which is the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    let settings = LdapConnSettings::new()
        .set_conn_timeout(TIMEOUT)
        .set_starttls(config.starttls && config.url.starts_with("ldap://"));
    let (connection, ldap) = LdapConnAsync::with_settings(settings, &config.url).await?;
    // It ends when the last handle is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.drive().await {
            tracing::debug!(%error, "a connection to the directory ended");
        }
    });
    Ok(ldap)
}
