//! A settings file of another program: read, written whole or not at all, and put back.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// Largest settings file, in bytes.
const MAX_BYTES: u64 = 4 << 20;
/// Beside the file: what was there before, and a sign that nothing was.
const BACKUP: &str = ".hearth-backup";
const NOTHING: &str = ".hearth-absent";
/// What was there when the backup came back.
const REPLACED: &str = ".hearth-replaced";

/// A file that belongs to a tool.
pub(crate) struct SettingsFile {
    path: PathBuf,
}

impl SettingsFile {
    /// The file at this path; where it is a link, what the link leads to.
    pub(crate) fn new(path: PathBuf) -> SettingsFile {
        SettingsFile { path: path.canonicalize().unwrap_or(path) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its text; empty if there is none.
    pub(crate) fn read(&self) -> Result<String> {
        let shown = self.path.display();
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
            Ok(about) => ensure!(
                about.is_file() && about.len() <= MAX_BYTES,
                "{shown} is no file of at most {MAX_BYTES} bytes"
            ),
        }
        fs::read_to_string(&self.path).with_context(|| format!("cannot read {shown}"))
    }

    /// Replaces it, after what is there has been put aside once: a second time the older backup
    /// stays, because that is what the tool's owner wrote.
    pub(crate) fn write(&self, text: &str, is_secret: bool) -> Result<()> {
        let folder = self.path.parent().context("the settings have no folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let former = fs::metadata(&self.path).ok();
        let mode = former.as_ref().map_or(0o644, |about| about.permissions().mode() & 0o777);
        if !self.beside(BACKUP).exists() && !self.beside(NOTHING).exists() {
            match &former {
                Some(_) => replace(&self.beside(BACKUP), &fs::read(&self.path)?, mode)?,
                None => replace(&self.beside(NOTHING), b"", 0o600)?,
            }
        }
        let mode = if is_secret { 0o600 } else { mode };
        replace(&self.path, text.as_bytes(), mode)
    }

    /// Where the former settings are.
    pub(crate) fn backup_note(&self) -> String {
        match self.beside(BACKUP) {
            backup if backup.exists() => format!("it is kept in {}", backup.display()),
            _ => "there was nothing before".to_owned(),
        }
    }

    /// Puts back what was there; returns what was done, for people.
    pub(crate) fn restore(&self) -> Result<String> {
        let (backup, nothing) = (self.beside(BACKUP), self.beside(NOTHING));
        let shown = self.path.display();
        if !backup.exists() && !nothing.exists() {
            bail!("nothing was put aside for {shown}");
        }
        // Settings that were made since are not lost either.
        let replaced = self.beside(REPLACED);
        let has_replaced = self.path.exists();
        if has_replaced {
            replace(&replaced, &fs::read(&self.path)?, 0o600)?;
        }
        if backup.exists() {
            fs::rename(&backup, &self.path).with_context(|| format!("cannot restore {shown}"))?;
        } else {
            if has_replaced {
                fs::remove_file(&self.path).with_context(|| format!("cannot remove {shown}"))?;
            }
            fs::remove_file(&nothing)?;
        }
        let kept = match has_replaced {
            true => format!("; what was there is kept in {}", replaced.display()),
            false => String::new(),
        };
        Ok(format!("restored {shown}{kept}"))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name: OsString = self.path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    }
}

/// Puts a whole file in place of another, or nothing.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let folder = path.parent().context("the file has no folder")?;
    let doing = || format!("cannot write {}", path.display());
    // Made for its owner alone, before anything is in it.
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(doing)?;
    file.write_all(bytes).with_context(doing)?;
    file.as_file().set_permissions(Permissions::from_mode(mode)).with_context(doing)?;
    file.as_file().sync_all().with_context(doing)?;
    file.persist(path).with_context(doing)?;
    Ok(())
}
