//! `hearth doctor`: whether database, ledger, files and disk are as they should be.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use axum::http::Method;
use serde_json::Value;

use crate::client::Client;
use crate::terminal;

/// With less room than this, the next pull or a busy day fills the disk.
const LOW_BYTES: u64 = 1 << 30;

/// Checks everything, says what it found, and fails if something is wrong.
pub(crate) async fn doctor(client: &Client, data: Option<&Path>) -> Result<()> {
    let answer = client.call(Method::GET, "/hearth/doctor", None).await?;
    let mut problems = Vec::new();
    let database = &answer["database"];
    let size = terminal::size(database["bytes"].as_u64().unwrap_or(0));
    let about = format!("{size}, format {}", database["format"]);
    tell(&mut problems, "database", &about, listed(database))?;
    let ledger = &answer["ledger"];
    let about = format!(
        "{} wallets, {} requests settled, {} under way",
        ledger["wallets"], ledger["settled"], ledger["holds"]
    );
    tell(&mut problems, "ledger", &about, listed(ledger))?;
    if let Some(data) = data {
        let open = open_to_others(data)?;
        tell(&mut problems, "files", "private to their owner", open)?;
        let free = free_bytes(data)?;
        let low = (free < LOW_BYTES).then(|| "less than 1 GiB is free".to_owned());
        let about = format!("{} free", terminal::size(free));
        tell(&mut problems, "disk", &about, low.into_iter().collect())?;
    }
    match problems.len() {
        0 => terminal::line("everything is as it should be"),
        1 => bail!("1 problem was found"),
        count => bail!("{count} problems were found"),
    }
}

fn tell(all: &mut Vec<String>, what: &str, about: &str, problems: Vec<String>) -> Result<()> {
    let verdict = if problems.is_empty() { "ok  " } else { "BAD " };
    terminal::line(&format!("{verdict} {what:10} {about}"))?;
    for problem in &problems {
        terminal::line(&format!("     {problem}"))?;
    }
    all.extend(problems);
    Ok(())
}

fn listed(report: &Value) -> Vec<String> {
    let problems = report["problems"].as_array().into_iter().flatten();
    problems.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Files and folders of the data directory that others than their owner can read or write. Model
/// files are no secret: only what stands beside them is looked at.
#[cfg(unix)]
fn open_to_others(data: &Path) -> Result<Vec<String>> {
    use std::os::unix::fs::PermissionsExt;
    let mut open = Vec::new();
    let entries = fs::read_dir(data).with_context(|| format!("cannot read {}", data.display()))?;
    let mut paths = vec![data.to_owned()];
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            paths.push(entry.path());
        }
    }
    for path in paths {
        // A file may go while we look.
        let Ok(about) = fs::metadata(&path) else { continue };
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let wanted = if about.is_dir() { 700 } else { 600 };
            let path = path.display();
            open.push(format!("{path} has mode {mode:o}; others can use it: chmod {wanted} it"));
        }
    }
    Ok(open)
}

#[cfg(not(unix))]
fn open_to_others(_data: &Path) -> Result<Vec<String>> {
    Ok(Vec::new())
}

fn free_bytes(data: &Path) -> Result<u64> {
    let about = rustix::fs::statvfs(data)
        .with_context(|| format!("cannot ask how full the disk of {} is", data.display()))?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_that_others_can_read_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        set(dir.path(), 0o700);
        for (name, mode) in [("hearth.db", 0o600), ("keys", 0o644)] {
            fs::write(dir.path().join(name), b"x").unwrap();
            set(&dir.path().join(name), mode);
        }
        let open = open_to_others(dir.path()).unwrap();
        assert_eq!(open.len(), 1, "{open:?}");
        assert!(open[0].contains("keys has mode 644"), "{open:?}");
        set(dir.path(), 0o755);
        assert_eq!(open_to_others(dir.path()).unwrap().len(), 2);
        assert!(free_bytes(dir.path()).unwrap() > 0);
    }
}
