//! A file that is being fetched: its bytes, and which pieces of it are here.
//!
//! Two files in `partial/`: `sha256-<hex>` has the bytes at their places, `sha256-<hex>.pieces` a
//! head line and one byte per piece, `1` once the piece is written. A process that dies loses no
//! more than the pieces that it was writing. What a failing machine loses is found by the digest.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::error::{Doing, Result};

/// Bytes of a piece. A crash costs at most one for each connection.
pub(super) const PIECE_BYTES: u64 = 4 << 20;
/// Bytes that are hashed at once.
const HASH_BYTES: usize = 1 << 20;

/// One unfinished file. Its methods do blocking work.
pub(super) struct Partial {
    data: File,
    pieces: File,
    path: PathBuf,
    bytes: u64,
    head_bytes: u64,
    is_done: Mutex<Vec<bool>>,
}

impl Partial {
    /// Goes on with what is in `folder`, or begins.
    pub(super) fn open(folder: &Path, digest: &Digest, bytes: u64) -> Result<Partial> {
        let path = folder.join(digest.file_name());
        let doing = || format!("write {}", path.display());
        let open = |path: &Path| {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
        };
        fs::create_dir_all(folder).doing(doing)?;
        let (data, pieces) = (open(&path).doing(doing)?, open(&pieces_path(&path)).doing(doing)?);
        let head = format!("hearth pieces 1 {bytes} {PIECE_BYTES}\n");
        let count = usize::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(usize::MAX);
        let mut is_done = vec![false; count];
        let known = fs::read(pieces_path(&path)).doing(doing)?;
        let is_ours = known.len() == head.len() + count && known.starts_with(head.as_bytes());
        if is_ours && data.metadata().doing(doing)?.len() == bytes {
            for (done, mark) in is_done.iter_mut().zip(&known[head.len()..]) {
                *done = *mark == b'1';
            }
        } else {
            data.set_len(bytes).doing(doing)?;
            pieces.set_len(0).doing(doing)?;
            pieces.write_all_at(&vec![b'0'; count], head.len() as u64).doing(doing)?;
            pieces.write_all_at(head.as_bytes(), 0).doing(doing)?;
        }
        let head_bytes = head.len() as u64;
        Ok(Partial { data, pieces, path, bytes, head_bytes, is_done: Mutex::new(is_done) })
    }

    /// Bytes that are still to come for this file, without opening or making anything.
    pub(super) fn missing_bytes(folder: &Path, digest: &Digest, bytes: u64) -> u64 {
        let pieces = fs::read(pieces_path(&folder.join(digest.file_name()))).unwrap_or_default();
        let marks = pieces.split(|&byte| byte == b'\n').nth(1).unwrap_or_default();
        let here = marks.iter().filter(|&&mark| mark == b'1').count() as u64;
        bytes.saturating_sub(here * PIECE_BYTES)
    }

    /// All bytes of the file when it is whole.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// First byte of a piece and first byte after it.
    pub(super) fn range(&self, piece: usize) -> (u64, u64) {
        let start = piece as u64 * PIECE_BYTES;
        (start, (start + PIECE_BYTES).min(self.bytes))
    }

    /// The pieces that are not here.
    pub(super) fn missing(&self) -> Vec<usize> {
        let is_done = self.done();
        is_done.iter().enumerate().filter(|(_, done)| !**done).map(|(piece, _)| piece).collect()
    }

    pub(super) fn has(&self, piece: usize) -> bool {
        self.done().get(piece).copied().unwrap_or(true)
    }

    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.data.write_all_at(bytes, offset).doing(|| format!("write {}", self.path.display()))
    }

    /// Notes that a piece is written.
    pub(super) fn finish(&self, piece: usize) -> Result<()> {
        let at = self.head_bytes + piece as u64;
        let marked = self.pieces.write_all_at(b"1", at);
        marked.doing(|| format!("write {}", self.path.display()))?;
        if let Some(done) = self.done().get_mut(piece) {
            *done = true;
        }
        Ok(())
    }

    /// Hashes the pieces in their order as they come; `None` when no more will. `news` is asked
    /// when the next piece is not here yet.
    pub(super) fn hash(&self, news: std::sync::mpsc::Receiver<()>) -> Result<Option<Digest>> {
        let mut hasher = Sha256::new();
        let mut chunk = vec![0; HASH_BYTES];
        let pieces = self.done().len();
        for piece in 0..pieces {
            while !self.has(piece) {
                if news.recv().is_err() {
                    return Ok(None);
                }
            }
            let (mut at, end) = self.range(piece);
            while at < end {
                let length = chunk.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
                let chunk = &mut chunk[..length];
                let read = self.data.read_exact_at(chunk, at);
                read.doing(|| format!("read {}", self.path.display()))?;
                hasher.update(chunk);
                at += length as u64;
            }
        }
        Ok(Some(Digest::finish(hasher)))
    }

    /// Makes the whole file durable as a blob.
    pub(super) fn keep(&self, blob: &Path) -> Result<()> {
        let doing = || format!("write {}", blob.display());
        self.data.sync_all().doing(doing)?;
        fs::rename(&self.path, blob).doing(doing)?;
        let folder = blob.parent().expect("a blob lies in a folder");
        File::open(folder).and_then(|folder| folder.sync_all()).doing(doing)?;
        fs::remove_file(pieces_path(&self.path)).doing(doing)
    }

    /// Deletes what is here.
    pub(super) fn discard(&self) -> Result<()> {
        let doing = || format!("remove {}", self.path.display());
        // First the pieces: bytes without them count for nothing.
        fs::remove_file(pieces_path(&self.path)).doing(doing)?;
        fs::remove_file(&self.path).doing(doing)
    }

    fn done(&self) -> MutexGuard<'_, Vec<bool>> {
        self.is_done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pieces_path(data: &Path) -> PathBuf {
    data.with_extension("pieces")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_on_where_it_was_and_begins_anew_when_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = PIECE_BYTES * 2 + 3;
        let digest = Digest::of(b"any");
        let partial = Partial::open(folder.path(), &digest, bytes).unwrap();
        assert_eq!(partial.missing(), [0, 1, 2]);
        partial.write(b"abc", PIECE_BYTES * 2).unwrap();
        partial.finish(2).unwrap();
        assert_eq!(Partial::missing_bytes(folder.path(), &digest, bytes), PIECE_BYTES + 3);
        drop(partial);
        assert_eq!(Partial::open(folder.path(), &digest, bytes).unwrap().missing(), [0, 1]);
        // The same name with another size, or marks that are cut off.
        assert_eq!(Partial::open(folder.path(), &digest, bytes + 1).unwrap().missing(), [0, 1, 2]);
        fs::write(folder.path().join(digest.file_name()).with_extension("pieces"), "111").unwrap();
        assert_eq!(Partial::open(folder.path(), &digest, bytes).unwrap().missing(), [0, 1, 2]);
    }

    #[test]
    fn pieces_are_hashed_in_order_however_they_come() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..PIECE_BYTES * 2 + 5).map(|at| (at % 251) as u8).collect();
        let digest = Digest::of(&content);
        let partial = Partial::open(folder.path(), &digest, content.len() as u64).unwrap();
        let (sender, news) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let hashed = scope.spawn(|| partial.hash(news).unwrap());
            for piece in [2, 0, 1] {
                let (start, end) = partial.range(piece);
                partial.write(&content[start as usize..end as usize], start).unwrap();
                partial.finish(piece).unwrap();
                sender.send(()).unwrap();
            }
            assert_eq!(hashed.join().unwrap(), Some(digest));
        });
        let nothing = || std::sync::mpsc::channel().1;
        assert_eq!(partial.hash(nothing()).unwrap(), Some(digest), "all is here already");
        let other = Partial::open(folder.path(), &Digest::of(b"other"), 5).unwrap();
        assert_eq!(other.hash(nothing()).unwrap(), None);
    }
}
