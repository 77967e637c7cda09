//! Brings one file into the store: several connections take spans of missing
//! pieces, a thread hashes what has come in order, and only the right bytes become a blob. Where no
//! digest is known beforehand, the file must stay of one version while it comes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use futures_util::future::try_join_all;
use reqwest::{Response, StatusCode, Url, header};

use super::http::{Access, Ask, FIRST_WAIT, Failure, Http, bad_answer, host_of, wait_after};
use super::network::version_of;
use super::partial::{PIECE_BYTES, Partial};
use super::rate::Rate;
use super::{PullError, PullResult};
use crate::config::HubConfig;
use crate::digest::Digest;

/// 32 MiB: long enough that the time between two requests does not count.
const SPAN_PIECES: usize = 8;
/// Bytes that are written at once, and that each connection holds; a piece is a multiple.
const WRITE_BYTES: usize = 512 << 10;
/// Time between two reports.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// A file somewhere else.
#[derive(Clone)]
pub(super) struct Remote {
    pub(super) url: Url,
    pub(super) access: Arc<Access>,
    /// Of its content; of its address and version, if only those are known.
    pub(super) digest: Digest,
    pub(super) bytes: u64,
    /// What every answer must say, if it stands for a digest that is not known.
    pub(super) version: Option<String>,
}

/// Fetches files into one store.
pub(super) struct Fetcher {
    pub(super) http: Http,
    rate: Rate,
    connections: usize,
    /// Pieces that one request asks for.
    span_pieces: usize,
    retries: u32,
    /// First wait before another try.
    backoff: Duration,
    blobs: PathBuf,
    partials: PathBuf,
    /// One at a time fetches a file; others then find it.
    busy: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

/// One file on its way.
struct Transfer<'a> {
    fetcher: &'a Fetcher,
    remote: &'a Remote,
    partial: Arc<Partial>,
    /// Pieces that nobody fetches, the last first.
    unclaimed: Mutex<Vec<usize>>,
    /// Where the last redirect led; signed addresses live long enough for many requests.
    direct: Mutex<Option<Url>>,
    /// Bytes that came, of pieces that are not finished too.
    completed: AtomicU64,
    /// Held by the one that reads the file from its start, from a server that cannot do ranges.
    whole: tokio::sync::Mutex<()>,
    /// Wakes the hasher.
    news: mpsc::Sender<()>,
}

impl Fetcher {
    pub(super) fn new(config: &HubConfig, root: &std::path::Path) -> crate::Result<Fetcher> {
        Ok(Fetcher {
            http: Http::new(config)?,
            rate: Rate::new(config.bytes_per_second),
            connections: config.connections as usize,
            span_pieces: SPAN_PIECES,
            retries: config.retries,
            backoff: FIRST_WAIT,
            blobs: root.join("blobs"),
            partials: root.join("partial"),
            busy: Mutex::default(),
        })
    }

    /// Bytes of these files that are not in the store yet.
    pub(super) fn missing_bytes<'a>(&self, files: impl Iterator<Item = &'a Remote>) -> u64 {
        let missing = files.map(|file| match self.is_here(file) {
            true => 0,
            false => Partial::missing_bytes(&self.partials, &file.digest, file.bytes),
        });
        missing.fold(0, u64::saturating_add)
    }

    /// Makes the file a blob. `report` is told the bytes that are here, at last all.
    pub(super) async fn fetch(
        &self,
        remote: &Remote,
        report: &(dyn Fn(u64) + Sync),
    ) -> PullResult<()> {
        let turn = Arc::clone(lock(&self.busy).entry(remote.digest).or_default());
        let turn = turn.lock_owned().await;
        let fetched =
            if self.is_here(remote) { Ok(()) } else { self.transfer(remote, report).await };
        drop(turn);
        lock(&self.busy).retain(|_, turn| Arc::strong_count(turn) > 1);
        fetched.inspect(|()| report(remote.bytes))
    }

    /// Makes a file of an unknown digest a blob. `pin` keeps the blob; it is asked before the
    /// blob is there.
    pub(super) async fn fetch_unknown<P>(
        &self,
        remote: &Remote,
        pin: impl FnOnce(Digest) -> P,
        report: &(dyn Fn(u64) + Sync),
    ) -> PullResult<(Digest, P)> {
        let turn = Arc::clone(lock(&self.busy).entry(remote.digest).or_default());
        let turn = turn.lock_owned().await;
        if remote.version.is_none() {
            // What is left of an earlier try may be of another version.
            let (folder, digest, bytes) = (self.partials.clone(), remote.digest, remote.bytes);
            blocking(move || Partial::open(&folder, &digest, bytes)?.discard()).await?;
        }
        let (partial, digest) = self.download(remote, report).await?;
        let pinned = pin(digest);
        let blob = self.blobs.join(digest.file_name());
        blocking(move || partial.keep(&blob)).await?;
        drop(turn);
        lock(&self.busy).retain(|_, turn| Arc::strong_count(turn) > 1);
        report(remote.bytes);
        Ok((digest, pinned))
    }

    /// A small answer whole: tried until it comes, cannot come, or has not come too often.
    pub(super) async fn fetch_small(
        &self,
        ask: &Ask<'_>,
        access: &Access,
        limit: usize,
    ) -> PullResult<Vec<u8>> {
        self.try_often(|| self.small(ask, access, limit)).await
    }

    /// Does something until it is done, cannot be done, or has failed too often.
    pub(super) async fn try_often<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        mut work: impl FnMut() -> F,
    ) -> PullResult<T> {
        let mut tries = 0;
        loop {
            let failure = match work().await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            tries += 1;
            if matches!(failure, Failure::Final(_)) || tries > self.retries {
                return Err(failure.into_error(tries));
            }
            self.back_off(tries).await;
        }
    }

    async fn small(
        &self,
        ask: &Ask<'_>,
        access: &Access,
        limit: usize,
    ) -> Result<Vec<u8>, Failure> {
        let answer = self.http.get(ask, access).await?;
        self.http.read(answer, limit).await
    }

    async fn back_off(&self, failures: u32) {
        tokio::time::sleep(wait_after(failures, self.backoff)).await;
    }

    fn is_here(&self, remote: &Remote) -> bool {
        let path = self.blobs.join(remote.digest.file_name());
        path.metadata().is_ok_and(|about| about.is_file() && about.len() == remote.bytes)
    }

    async fn transfer(&self, remote: &Remote, report: &(dyn Fn(u64) + Sync)) -> PullResult<()> {
        let digest = remote.digest;
        let (partial, got) = self.download(remote, report).await?;
        let blob = self.blobs.join(digest.file_name());
        blocking(move || if got == digest { partial.keep(&blob) } else { partial.discard() })
            .await?;
        if got == digest { Ok(()) } else { Err(PullError::DigestMismatch { want: digest, got }) }
    }

    /// All bytes of a file, and their digest.
    async fn download(
        &self,
        remote: &Remote,
        report: &(dyn Fn(u64) + Sync),
    ) -> PullResult<(Arc<Partial>, Digest)> {
        let (folder, digest, bytes) = (self.partials.clone(), remote.digest, remote.bytes);
        let partial = blocking(move || Partial::open(&folder, &digest, bytes)).await?;
        let partial = Arc::new(partial);
        let (news, pieces) = mpsc::channel();
        let missing = partial.missing();
        let still: u64 = missing.iter().map(|&piece| length(partial.range(piece))).sum();
        let transfer = Transfer {
            fetcher: self,
            remote,
            partial: Arc::clone(&partial),
            unclaimed: Mutex::new(missing.into_iter().rev().collect()),
            direct: Mutex::new(None),
            completed: AtomicU64::new(bytes - still),
            whole: tokio::sync::Mutex::new(()),
            news,
        };
        let hashing = Arc::clone(&partial);
        let hashed = tokio::task::spawn_blocking(move || hashing.hash(pieces));
        let fetched = tokio::select! {
            fetched = try_join_all((0..self.connections).map(|_| transfer.work())) => fetched,
            never = transfer.report_now_and_then(report) => match never {},
        };
        if let Err(error) = fetched {
            if error == PullError::DiskFilled {
                drop(transfer);
                blocking(move || partial.discard()).await?;
            }
            return Err(error);
        }
        let got = hashed.await.map_err(|error| PullError::Local(format!("hash: {error}")))??;
        let got = got.ok_or_else(|| PullError::Local("the hash came to no end".to_owned()))?;
        Ok((partial, got))
    }
}

impl Transfer<'_> {
    /// One connection: span after span, until all pieces are taken.
    async fn work(&self) -> PullResult<()> {
        let mut failures = 0;
        while let Some(span) = self.claim() {
            let Err(failure) = self.span(&span).await else {
                failures = 0;
                continue;
            };
            let is_further = self.give_back(&span);
            failures = if is_further { 1 } else { failures + 1 };
            if matches!(failure, Failure::Final(_)) || failures > self.fetcher.retries {
                return Err(failure.into_error(failures));
            }
            self.fetcher.back_off(failures).await;
        }
        Ok(())
    }

    /// Consecutive missing pieces that are this connection's now.
    fn claim(&self) -> Option<Vec<usize>> {
        let mut unclaimed = lock(&self.unclaimed);
        // Who read the file from its start has brought pieces of others too.
        unclaimed.retain(|&piece| !self.partial.has(piece));
        let mut span = vec![unclaimed.pop()?];
        while span.len() < self.fetcher.span_pieces
            && unclaimed.last() == span.last().map(|last| last + 1).as_ref()
        {
            span.extend(unclaimed.pop());
        }
        Some(span)
    }

    /// Leaves the pieces of a span that did not come to others; whether some did come.
    fn give_back(&self, span: &[usize]) -> bool {
        let missing: Vec<usize> =
            span.iter().copied().filter(|&piece| !self.partial.has(piece)).collect();
        let mut unclaimed = lock(&self.unclaimed);
        unclaimed.extend(missing.iter().rev());
        missing.len() < span.len()
    }

    async fn span(&self, span: &[usize]) -> Result<(), Failure> {
        let (Some(&first), Some(&last)) = (span.first(), span.last()) else { return Ok(()) };
        let (start, end) = (self.partial.range(first).0, self.partial.range(last).1);
        let answer = self.get(Some((start, end - 1))).await?;
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            self.check_range(&answer, start)?;
            return self.take(answer, start, end).await;
        }
        if (start, end) == (0, self.partial.bytes()) {
            return self.take(answer, start, end).await;
        }
        // The server sends all or nothing: one reads all, and the others wait for that.
        drop(answer);
        let _whole = self.whole.lock().await;
        if span.iter().all(|&piece| self.partial.has(piece)) {
            return Ok(());
        }
        let answer = self.get(None).await?;
        self.take(answer, 0, self.partial.bytes()).await
    }

    async fn get(&self, range: Option<(u64, u64)>) -> Result<Response, Failure> {
        let direct = lock(&self.direct).clone();
        let url = direct.as_ref().unwrap_or(&self.remote.url);
        let asked = Ask { url, range, accept: None };
        match self.fetcher.http.get(&asked, &self.remote.access).await {
            Ok(answer) => {
                let wanted = &self.remote.version;
                if wanted.is_some() && version_of(answer.headers()) != *wanted {
                    return Err(bad_answer(answer.url(), "the file changed while it was fetched"));
                }
                *lock(&self.direct) = Some(answer.url().clone());
                Ok(answer)
            }
            // The signature may have run out: from the start again, as a new try.
            Err(Failure::Final(PullError::Denied { .. } | PullError::NotFound(_)))
                if direct.as_ref().is_some_and(|direct| *direct != self.remote.url) =>
            {
                *lock(&self.direct) = None;
                let host = host_of(&self.remote.url);
                Err(Failure::Broken { host, problem: "its redirect ran out".to_owned() })
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whether the part that comes is the one that was asked for, of a file of the right size.
    fn check_range(&self, answer: &Response, start: u64) -> Result<(), Failure> {
        let range = answer.headers().get(header::CONTENT_RANGE);
        let range = range.and_then(|range| range.to_str().ok()).unwrap_or_default();
        let total = self.partial.bytes();
        let is_right = range
            .strip_prefix("bytes ")
            .and_then(|range| range.split_once('/'))
            .is_some_and(|(part, size)| {
                part.split('-').next() == Some(&start.to_string())
                    && (size == "*" || size == total.to_string())
            });
        let wrong = || bad_answer(answer.url(), &format!("`{range}` of a file of {total} bytes"));
        is_right.then_some(()).ok_or_else(wrong)
    }

    /// Writes what comes to its place, and says so piece by piece.
    async fn take(&self, mut answer: Response, start: u64, end: u64) -> Result<(), Failure> {
        let host = host_of(answer.url());
        // One buffer for the whole answer: a new one for each block would leave memory lying in
        // the allocator of every thread that ever wrote one.
        let mut block = Vec::with_capacity(WRITE_BYTES);
        let mut at = start;
        // Bytes of the piece that is not finished: taken out of the sum if it never will be.
        let mut unfinished = Unfinished { sum: &self.completed, bytes: 0 };
        while let Some(mut chunk) = self.fetcher.http.chunk(&mut answer).await? {
            self.fetcher.rate.take(chunk.len()).await;
            if at + (block.len() + chunk.len()) as u64 > end {
                return Err(bad_answer(answer.url(), "more bytes than it should send"));
            }
            while !chunk.is_empty() {
                let room = WRITE_BYTES - block.len();
                block.extend_from_slice(&chunk.split_to(room.min(chunk.len())));
                if block.len() == WRITE_BYTES || at + block.len() as u64 == end {
                    (block, at) = self.write(block, at, &mut unfinished).await?;
                }
            }
        }
        if at < end {
            return Err(Failure::Broken { host, problem: "the answer broke off".to_owned() });
        }
        Ok(())
    }

    /// Writes one block, which lies in one piece; returns it emptied, and where the next begins.
    async fn write(
        &self,
        mut block: Vec<u8>,
        at: u64,
        unfinished: &mut Unfinished<'_>,
    ) -> Result<(Vec<u8>, u64), Failure> {
        let next = at + block.len() as u64;
        let piece = usize::try_from(at / PIECE_BYTES).unwrap_or(usize::MAX);
        if self.partial.has(piece) {
            block.clear();
            return Ok((block, next));
        }
        unfinished.add(block.len() as u64);
        let is_last = next == self.partial.range(piece).1;
        let partial = Arc::clone(&self.partial);
        let block = blocking(move || {
            partial.write(&block, at)?;
            if is_last {
                partial.finish(piece)?;
            }
            block.clear();
            Ok(block)
        })
        .await?;
        if is_last {
            unfinished.bytes = 0;
            // The hasher may be gone: then it has failed, and says so itself.
            let _ = self.news.send(());
        }
        Ok((block, next))
    }

    async fn report_now_and_then(&self, report: &(dyn Fn(u64) + Sync)) -> std::convert::Infallible {
        let mut most = 0;
        loop {
            let completed = self.completed.load(Ordering::Relaxed);
            // What must be fetched again is not taken back.
            if completed > most {
                most = completed;
                report(most);
            }
            tokio::time::sleep(REPORT_INTERVAL).await;
        }
    }
}

/// Bytes of a piece that may still fail; they leave the sum again if it does.
struct Unfinished<'a> {
    sum: &'a AtomicU64,
    bytes: u64,
}

impl Unfinished<'_> {
    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.sum.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Work on files, off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> crate::Result<T> + Send + 'static,
) -> PullResult<T> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| PullError::Local(format!("file work: {error}")))??)
}

fn length((start, end): (u64, u64)) -> u64 {
    end - start
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
