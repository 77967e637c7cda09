//! Room on the disk of the library.

use std::path::Path;

use crate::error::{Error, Result};

/// Bytes that an ordinary user may still write where the store is.
pub(crate) fn free_bytes(root: &Path) -> Result<u64> {
    let about = rustix::fs::statvfs(root).map_err(|error| Error::Io {
        doing: format!("ask how much of the disk of {} is free", root.display()),
        source: error.into(),
    })?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// Fails if so many bytes cannot be written: said before hours of work rather than after them.
pub(crate) fn check_room(root: &Path, need_bytes: u64) -> Result<()> {
    let free_bytes = free_bytes(root)?;
    match need_bytes <= free_bytes {
        true => Ok(()),
        false => Err(Error::NoRoom { need_bytes, free_bytes }),
    }
}
