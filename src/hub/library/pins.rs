//! Blobs that nobody may delete although no manifest refers to them yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;

/// How many count on each blob.
#[derive(Clone, Default)]
pub(super) struct Pins {
    counts: Arc<Mutex<BTreeMap<Digest, usize>>>,
}

/// Keeps blobs from being deleted until it is dropped.
pub(crate) struct Pin {
    pins: Pins,
    digests: Vec<Digest>,
}

impl Pins {
    pub(super) fn pin(&self, digests: Vec<Digest>) -> Pin {
        let mut counts = self.lock();
        for digest in &digests {
            *counts.entry(*digest).or_default() += 1;
        }
        drop(counts);
        Pin { pins: self.clone(), digests }
    }

    /// Runs `delete` unless the blob is pinned; nobody can pin it meanwhile.
    pub(super) fn unless_pinned<E>(
        &self,
        digest: &Digest,
        delete: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let counts = self.lock();
        if counts.contains_key(digest) { Ok(()) } else { delete() }
    }

    /// Runs `work` with what is pinned; nobody can pin more meanwhile.
    pub(super) fn while_unpinned<T>(
        &self,
        work: impl FnOnce(&mut dyn Iterator<Item = Digest>) -> T,
    ) -> T {
        let counts = self.lock();
        work(&mut counts.keys().copied())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut counts = self.pins.lock();
        for digest in &self.digests {
            if let Some(count) = counts.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(digest);
                }
            }
        }
    }
}
