//! Bringing in what New API or One API has: people keep their passwords, tokens their secrets.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use hearth_store::{
    Brought, BroughtCounts, BroughtToken, BroughtUser, OldData, OldToken, OldUser, UserRole,
};
use serde::Serialize;
use serde_json::json;

use super::api_tokens::{parse_models, parse_networks};
use super::users::parse_email;
use super::{Accounts, names, passwords};
use crate::caller::Caller;
use crate::error::{Error, Result};

/// How secrets of the old product begin.
const OLD_START: &str = "sk-";
/// Shortest old secret that is let in, in characters: the old product makes 48.
const MIN_KEY_CHARACTERS: usize = 16;
/// Letters of an old secret that the list shows after its start.
const SHOWN_LETTERS: usize = 4;
/// Most notes of one report; what is beyond them is counted.
const MAX_NOTES: usize = 200;

/// What an import did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What is brought in.
    pub brought: BroughtCounts,
    /// Channels of the old product: they are set up here by `hearth channels add`.
    pub channels_left: u64,
    /// What was left out or changed, a sentence each.
    pub notes: Vec<String>,
    /// Notes beyond those.
    pub more_notes: usize,
    /// Whether nothing was written.
    pub dry_run: bool,
}

/// Sentences about what could not be taken as it was.
#[derive(Default)]
struct Notes {
    kept: Vec<String>,
    more: usize,
}

impl Notes {
    fn add(&mut self, note: String) {
        match self.kept.len() < MAX_NOTES {
            true => self.kept.push(note),
            false => self.more += 1,
        }
    }
}

impl Accounts {
    /// Brings in a database of New API or One API, all or nothing; for the operator.
    pub async fn import_new_api(
        &self,
        caller: &Caller,
        file: PathBuf,
        dry: bool,
    ) -> Result<Report> {
        caller.require_operator()?;
        let old = self.inner.store.new_api().read(file.clone()).await?;
        let channels_left = old.channels;
        let mut notes = Notes::default();
        let brought = self.judge(old, &mut notes).await?;
        let now = self.inner.clock.now();
        let detail = json!({ "users": brought.users.len(), "tokens": brought.tokens.len() });
        let target = format!("New API {}", file.display());
        let store = self.acting(caller, "import.new_api", target, detail);
        let counts = store.new_api().bring(brought, now, dry).await?;
        Ok(Report {
            brought: counts,
            channels_left,
            notes: notes.kept,
            more_notes: notes.more,
            dry_run: dry,
        })
    }

    /// What of the old data can live here, and how.
    async fn judge(&self, old: OldData, notes: &mut Notes) -> Result<Brought> {
        let mut users = Vec::new();
        let mut names_here = HashSet::new();
        let mut old_names: HashMap<i64, String> = HashMap::new();
        for user in old.users {
            let Some(brought) = judge_user(&user, notes) else { continue };
            let key = brought.name.to_lowercase();
            let is_taken = self.inner.store.users().by_name(&brought.name).await?.is_some();
            if is_taken || !names_here.insert(key) {
                let name = &brought.name;
                notes.add(format!("user {name}: left out with their tokens, the name is taken"));
                continue;
            }
            old_names.insert(user.id, brought.name.clone());
            users.push(brought);
        }
        let mut tokens = Vec::new();
        let mut hashes = HashSet::new();
        for token in old.tokens {
            let Some(owner) = old_names.get(&token.user_id) else { continue };
            let what = format!("token {} ({}) of {owner}", token.id, token.name);
            match self.judge_token(token) {
                Err(error) => notes.add(format!("{what}: left out, {error}")),
                Ok(brought) => {
                    let known = self.inner.store.api_tokens().by_secret(brought.hash).await?;
                    if known.is_some() || !hashes.insert(brought.hash) {
                        notes.add(format!("{what}: left out, its secret is here already"));
                    } else {
                        tokens.push(brought);
                    }
                }
            }
        }
        Ok(Brought { users, tokens, prices: old.prices, usage: old.usage })
    }

    fn judge_token(&self, mut old: OldToken) -> Result<BroughtToken> {
        let is_plain = old.key.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || !(MIN_KEY_CHARACTERS..=256).contains(&old.key.len()) {
            return Err(Error::invalid("key", "its secret is too short or damaged"));
        }
        let name = match names::parse(&old.name) {
            Ok(name) => name,
            Err(_) => format!("token {}", old.id),
        };
        let networks = std::mem::take(&mut old.allow_ips);
        let allow_ips = match networks.is_empty() {
            true => None,
            // A list that cannot be read must not become "everywhere".
            false => Some(parse_networks(networks)?),
        };
        old.models = old.models.take().map(parse_models).transpose()?;
        let shown = old.key.get(..SHOWN_LETTERS).unwrap_or_default();
        let prefix = format!("{OLD_START}{shown}…");
        let hash = self.inner.keys.hash(&format!("{OLD_START}{}", old.key));
        Ok(BroughtToken { old, name, hash, prefix, allow_ips })
    }
}

fn judge_user(user: &OldUser, notes: &mut Notes) -> Option<BroughtUser> {
    let name = match names::parse(&user.name) {
        Ok(name) => name,
        Err(error) => {
            notes.add(format!("user {}: left out with their tokens, {error}", user.id));
            return None;
        }
    };
    let password = match passwords::is_bcrypt(&user.password) {
        true => user.password.clone(),
        false => {
            notes.add(format!("user {name}: without a password, its hash is of an unknown kind"));
            String::new()
        }
    };
    let email = match user.email.as_str() {
        "" => None,
        email => parse_email(email.to_owned()).ok(),
    };
    let group = match user.group.as_str() {
        "" => None,
        group => match names::parse(group) {
            Ok(group) => Some(group),
            Err(_) => {
                notes.add(format!("user {name}: in no group, the name of theirs cannot be one"));
                None
            }
        },
    };
    Some(BroughtUser {
        old_id: user.id,
        name,
        password,
        // The first admin here becomes the owner; nobody else does without being asked.
        role: user.role.min(UserRole::Admin),
        disabled: user.disabled,
        email,
        group,
        remaining: user.remaining,
    })
}
