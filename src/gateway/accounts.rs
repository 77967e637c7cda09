//! Who may come in: the first setup, sign-in, sessions, users and API tokens.
//!
//! The server asks it for the [`Caller`] behind each credential; the command line uses the same
//! methods as [`Caller::operator`]. It knows no HTTP and no SQL.

mod alerts;
mod api_tokens;
mod attempts;
mod audit;
mod config;
mod directory;
mod external;
mod groups;
mod hidden;
mod invites;
mod names;
mod new_api;
mod oidc;
mod passkeys;
mod passwords;
mod people_file;
mod proxy;
mod revocations;
mod second_factor;
mod secrets;
mod sessions;
mod setup;
mod sign_in;
mod site;
#[cfg(test)]
mod tests;
mod users;

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use hearth_store::{Store, User, UserId};
use serde_json::Value;

use crate::caller::Caller;
use crate::clock::Clock;
use crate::error::Result;
use crate::vault::Vault;

use attempts::Attempts;
use directory::Directory;
use oidc::Oidc;
use passkeys::Ceremonies;
use passwords::Passwords;
use revocations::Revocations;
use secrets::Keys;

pub use api_tokens::{NewToken, TokenChange};
pub use config::{AccountsConfig, SignInConfig};
pub use directory::LdapConfig;
pub use groups::GroupWishes;
pub use hidden::Hidden;
pub use invites::{InviteWishes, Join};
pub use new_api::Report as NewApiReport;
pub use oidc::{Arrival, Departure, OidcConfig};
pub use people_file::Imported;
pub use revocations::Watch;
pub use second_factor::{Enrolment, SecondFactor};
pub use secrets::{Secret, read_control_secret};
pub(crate) use secrets::{check_private, unusable};
pub use site::Site;
pub use users::{AccountChange, LANGUAGES, NewAccount, Preferences};

/// Attempts of one address: ten at once, then one every six seconds.
const ADDRESS_ATTEMPTS: (i64, i64) = (10, 6);
/// Attempts at one name from one network: five at once, then five a minute.
const NAME_ATTEMPTS: (i64, i64) = (5, 12);
/// Attempts at one name from everywhere together: a hundred at once, then ten a minute. Looser, so
/// that nobody is kept out of their account by a few guesses of others.
const NAME_ATTEMPTS_IN_ALL: (i64, i64) = (100, 6);
/// Challenges for passkeys that one address is given: twenty at once, then one every three seconds.
const CHALLENGES: (i64, i64) = (20, 3);
/// Attempts at the setup code from everywhere together.
const SETUP_ATTEMPTS: (i64, i64) = (20, 3);

/// The accounts of one data directory. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    config: AccountsConfig,
    clock: Clock,
    keys: Keys,
    vault: Vault,
    directory: Directory,
    oidc: Oidc,
    passwords: Passwords,
    ceremonies: Ceremonies,
    revocations: Revocations,
    by_address: Attempts<IpAddr>,
    by_name_and_network: Attempts<(String, IpAddr)>,
    by_name: Attempts<String>,
    at_challenge: Attempts<IpAddr>,
    at_change: Attempts<UserId>,
    at_setup: Attempts<()>,
    /// Keyed hash of the setup code while there is no user.
    setup_code: Mutex<Option<[u8; 32]>>,
}

/// What comes with an attempt to sign in.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The client's address.
    pub address: IpAddr,
    /// What the browser calls itself.
    pub agent: Option<String>,
    /// A code of the second factor, or a recovery code.
    pub code: Option<String>,
    /// A passkey in the place of a code.
    pub passkey: Option<ShownPasskey>,
}

/// What an authenticator has answered, on a page of this site.
#[derive(Clone, Debug)]
pub struct ShownPasskey {
    /// Where it was asked.
    pub site: Site,
    /// As browsers put it.
    pub answer: Value,
}

impl From<IpAddr> for Visit {
    fn from(address: IpAddr) -> Visit {
        Visit { address, agent: None, code: None, passkey: None }
    }
}

/// A user who has just signed in, and the secret for the cookie.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who it is.
    pub user: User,
    /// The session's id; only its hash is stored.
    pub session: Secret,
}

impl Accounts {
    /// Opens the accounts of a data directory; makes its two key files at the first start.
    pub fn open(
        store: Store,
        data_dir: &Path,
        config: impl Into<SignInConfig>,
        clock: Clock,
        vault: Vault,
    ) -> Result<Accounts> {
        let SignInConfig { accounts: config, oidc, ldap } = config.into();
        let inner = Inner {
            store,
            clock,
            keys: Keys::open(data_dir)?,
            vault,
            directory: Directory::new(ldap),
            oidc: Oidc::new(oidc)?,
            revocations: Revocations::new(),
            passwords: Passwords::new(config.hashes_at_once),
            ceremonies: Ceremonies::new(),
            by_address: Attempts::new(ADDRESS_ATTEMPTS.0, ADDRESS_ATTEMPTS.1),
            by_name_and_network: Attempts::new(NAME_ATTEMPTS.0, NAME_ATTEMPTS.1),
            by_name: Attempts::new(NAME_ATTEMPTS_IN_ALL.0, NAME_ATTEMPTS_IN_ALL.1),
            at_challenge: Attempts::new(CHALLENGES.0, CHALLENGES.1),
            at_change: Attempts::new(NAME_ATTEMPTS.0, NAME_ATTEMPTS.1),
            at_setup: Attempts::new(SETUP_ATTEMPTS.0, SETUP_ATTEMPTS.1),
            setup_code: Mutex::new(None),
            config,
        };
        Ok(Accounts { inner: Arc::new(inner) })
    }

    /// The store, through a handle that notes this act of the caller with what it writes.
    fn acting(
        &self,
        caller: &Caller,
        action: &'static str,
        target: impl Into<String>,
        detail: Value,
    ) -> Store {
        self.inner.store.audited(caller.act(self.inner.clock.now(), action, target.into(), detail))
    }

    /// Refuses a dangerous act of a session whose user has not proved lately who they are.
    fn require_confirmed(&self, caller: &Caller) -> Result<()> {
        let lately = self.inner.clock.now() - i64::from(self.inner.config.step_up_s);
        caller.require_confirmed(lately)
    }

    /// Deletes sessions that have ended, a thousand at most; to be called now and then.
    pub async fn sweep(&self) -> Result<usize> {
        let now = self.inner.clock.now();
        let seen_before = now - i64::from(self.inner.config.session_idle_s);
        Ok(self.inner.store.sessions().sweep(now, seen_before).await?)
    }
}
