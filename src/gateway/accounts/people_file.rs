//! Many people at once, as a table of comma-separated values.
//!
//! Spreadsheets run what begins like a formula; such a cell is written with an apostrophe before
//! it, as spreadsheets themselves do, and read without it.

use hearth_store::{MAX_PAGE, NewUser, User, UserChange, UserRole};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::users::parse_email;
use super::{Accounts, names, passwords};
use crate::caller::Caller;
use crate::error::{Error, Result, sentence};

/// Columns of the file, in the order in which they are written.
const COLUMNS: [&str; 6] = ["name", "role", "group", "email", "disabled", "created_at"];
/// Most people of one file: each password takes a hash, which takes a while.
const MAX_ROWS: usize = 1_000;

/// What an import did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// People who were made.
    pub users: usize,
    /// Whether nothing was written.
    pub dry_run: bool,
}

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    disabled: String,
    /// Empty: they cannot sign in by a password until one is set.
    #[serde(default)]
    password: String,
    /// Written by the export; when an import was is told by the import.
    #[serde(default, rename = "created_at")]
    _created_at: String,
}

impl Accounts {
    /// All people, without their passwords; for admins.
    pub async fn export_users(&self, caller: &Caller) -> Result<String> {
        caller.require_admin()?;
        let mut writer = csv::Writer::from_writer(Vec::new());
        let fault = |error: csv::Error| Error::Internal(format!("writing a table: {error}"));
        writer.write_record(COLUMNS).map_err(fault)?;
        let mut after = None;
        loop {
            let page = self.inner.store.users().list(after, MAX_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for user in &page {
                writer.write_record(record(user)).map_err(fault)?;
            }
        }
        self.inner.store.audit().note(self.export_act(caller)).await?;
        let bytes = writer.into_inner().map_err(|error| Error::Internal(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| Error::Internal(error.to_string()))
    }

    fn export_act(&self, caller: &Caller) -> hearth_store::Act {
        let now = self.inner.clock.now();
        caller.act(now, "users.export", "all users".to_owned(), json!({}))
    }

    /// Makes the people of a file, all or none; for admins.
    pub async fn import_users(&self, caller: &Caller, file: &[u8], dry: bool) -> Result<Imported> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        self.require_confirmed(caller)?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
        let mut lines = Vec::new();
        for line in reader.deserialize::<Line>() {
            let line = line.map_err(|error| refused(lines.len() + 1, &error.to_string()))?;
            lines.push(line);
            if lines.len() > MAX_ROWS {
                let message = format!("A file may have at most {MAX_ROWS} people.");
                return Err(Error::Invalid { param: None, message });
            }
        }
        let mut users = Vec::with_capacity(lines.len());
        let now = self.inner.clock.now();
        for (index, line) in lines.into_iter().enumerate() {
            let row = index + 1;
            let parsed = self.parse_line(caller, line, now, dry).await;
            users.push(parsed.map_err(|error| match error {
                Error::Busy { .. } | Error::Internal(_) => error,
                error => refused(row, &error.to_string()),
            })?);
        }
        let count = users.len();
        if dry {
            return Ok(Imported { users: count, dry_run: true });
        }
        let names: Vec<&str> = users.iter().map(|(user, _)| user.name.as_str()).collect();
        let detail = json!({ "users": count, "names": names });
        let store = self.acting(caller, "users.import", "users", detail);
        let made = store.users().create_all(users).await.map_err(|error| match error {
            hearth_store::Error::RowRefused { row } => refused(row, "This name is taken already."),
            error => error.into(),
        })?;
        Ok(Imported { users: made, dry_run: false })
    }

    async fn parse_line(
        &self,
        caller: &Caller,
        line: Line,
        created_at: i64,
        dry: bool,
    ) -> Result<(NewUser, UserChange)> {
        let name = names::parse(plain(&line.name))?;
        let role = match plain(&line.role) {
            "" => UserRole::User,
            role => UserRole::parse(role).ok_or_else(|| {
                Error::invalid("role", format!("`{role}` is no role: user, admin or owner."))
            })?,
        };
        caller.require_rank(role)?;
        let group_id = match plain(&line.group) {
            "" => None,
            group => Some(self.group_named(group).await?.id),
        };
        let email = match plain(&line.email) {
            "" => None,
            email => Some(parse_email(email.to_owned())?),
        };
        let disabled = match plain(&line.disabled).to_ascii_lowercase().as_str() {
            "" | "false" | "no" | "0" => false,
            "true" | "yes" | "1" => true,
            other => {
                let message = format!("`{other}` is neither true nor false.");
                return Err(Error::invalid("disabled", message));
            }
        };
        let password = match line.password.as_str() {
            // The hash of nobody: no password matches it.
            "" => String::new(),
            password => {
                passwords::check_strength(&name, password, self.inner.config.password_score)?;
                if dry { String::new() } else { self.inner.passwords.hash(password).await? }
            }
        };
        let more = UserChange {
            disabled: Some(disabled),
            group_id: Some(group_id),
            email: Some(email),
            ..UserChange::default()
        };
        Ok((NewUser { name, password, role, created_at }, more))
    }
}

/// The first line of a file names its columns, so the first person is row 1.
fn refused(row: usize, reason: &str) -> Error {
    Error::Invalid { param: None, message: format!("Row {row}: {}", sentence(&reason)) }
}

fn record(user: &User) -> [String; COLUMNS.len()] {
    [
        harmless(&user.name),
        user.role.as_str().to_owned(),
        harmless(user.group.as_deref().unwrap_or_default()),
        harmless(user.email.as_deref().unwrap_or_default()),
        user.disabled.to_string(),
        user.created_at.to_string(),
    ]
}

/// What begins like a formula, behind an apostrophe.
fn harmless(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']);
    if is_formula { format!("'{cell}") } else { cell.to_owned() }
}

/// A cell as it was meant.
fn plain(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if rest.starts_with(['=', '+', '-', '@', '\'']) => rest,
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_written_as_text_and_read_back() {
        for cell in ["=1+1", "+1", "-1", "@x", "'quoted", "plain", "o'neil", ""] {
            let written = harmless(cell);
            assert!(!written.starts_with(['=', '+', '-', '@']), "{written}");
            assert_eq!(plain(&written), cell);
        }
    }
}
