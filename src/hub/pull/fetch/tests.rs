//! Files from a loopback server that breaks off, stalls, redirects and lies.

use std::sync::atomic::AtomicUsize;

use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::*;
use crate::pull::testing::{Asked, Server, cut, noise, part, redirect};

/// Five and a half pieces.
const BYTES: usize = (PIECE_BYTES as usize * 11) / 2;

/// What a server still had to send is lost when it breaks off.
const SLACK: usize = 3 << 20;

struct Fixture {
    server: Server,
    fetcher: Fetcher,
    content: Arc<Vec<u8>>,
    remote: Remote,
    root: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Fixture {
        Fixture::over(Server::start().await, tempfile::tempdir().unwrap())
    }

    fn over(server: Server, root: tempfile::TempDir) -> Fixture {
        let content = Arc::new(noise(BYTES));
        let digest = server.put_blob("a/b", &content);
        let config = HubConfig { connections: 3, retries: 4, ..server.config() };
        let mut fetcher = Fetcher::new(&config, root.path()).unwrap();
        fetcher.backoff = Duration::from_millis(1);
        fetcher.http.stall = Duration::from_millis(300);
        std::fs::create_dir_all(root.path().join("blobs")).unwrap();
        let url = format!("http://{}/v2/a/b/blobs/{digest}", server.address);
        let url = Url::parse(&url).unwrap();
        let access = Arc::new(Access::registry(&url));
        let remote = Remote { url, access, digest, bytes: BYTES as u64, version: None };
        Fixture { server, fetcher, content, remote, root }
    }

    async fn fetch(&self) -> PullResult<()> {
        self.fetcher.fetch(&self.remote, &|_| {}).await
    }

    fn blob(&self) -> PathBuf {
        self.root.path().join("blobs").join(self.remote.digest.file_name())
    }

    fn assert_whole(&self) {
        assert!(std::fs::read(self.blob()).unwrap() == *self.content);
        let left = std::fs::read_dir(self.root.path().join("partial")).unwrap().count();
        assert_eq!(left, 0, "nothing unfinished is left");
    }

    /// Bytes that were asked for.
    fn asked_bytes(&self) -> u64 {
        let range =
            |asked: &Asked| asked.range.map_or(BYTES as u64, |(first, last)| last - first + 1);
        self.server.asked().iter().map(range).sum()
    }
}

#[tokio::test]
async fn a_file_comes_in_ranges_and_is_told_of_as_it_grows() {
    let mut fixture = Fixture::new().await;
    fixture.fetcher.span_pieces = 1;
    let told = Mutex::new(Vec::new());
    let report = |completed| told.lock().unwrap().push(completed);
    fixture.fetcher.fetch(&fixture.remote, &report).await.unwrap();
    fixture.assert_whole();
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted(), "{told:?}");
    assert_eq!(told.last(), Some(&(BYTES as u64)));
    assert!(fixture.server.asked().iter().all(|asked| asked.range.is_some()));
    assert_eq!(fixture.asked_bytes(), BYTES as u64, "no byte was asked for twice");
    // What is here is not asked for again.
    fixture.fetch().await.unwrap();
    assert_eq!(fixture.asked_bytes(), BYTES as u64);
}

#[tokio::test]
async fn connections_that_break_or_stall_go_on_where_they_were() {
    let fixture = Fixture::new().await;
    let content = Arc::clone(&fixture.content);
    let sent = PIECE_BYTES as usize * 2 + SLACK;
    fixture.server.play(move |asked, before| match before {
        0 => Some(cut(&content, asked.range, sent, false)),
        1 => Some(cut(&content, asked.range, 5, true)),
        2 => Some(StatusCode::BAD_GATEWAY.into_response()),
        3 => Some(StatusCode::TOO_MANY_REQUESTS.into_response()),
        _ => None,
    });
    fixture.fetch().await.unwrap();
    fixture.assert_whole();
    let kept = fixture.server.asked().last().unwrap().range.unwrap().0;
    assert_eq!(kept, PIECE_BYTES * 2, "the two pieces that came were not asked for again");
}

#[tokio::test]
async fn a_server_that_stays_broken_is_given_up_and_what_came_is_kept() {
    let fixture = Fixture::new().await;
    let content = Arc::clone(&fixture.content);
    let sent = PIECE_BYTES as usize + SLACK;
    fixture.server.play(move |asked, before| match before {
        0 => Some(cut(&content, asked.range, sent, false)),
        _ => Some(StatusCode::SERVICE_UNAVAILABLE.into_response()),
    });
    let failed = fixture.fetch().await;
    assert!(matches!(failed, Err(PullError::Unreachable { tries: 5, .. })), "{failed:?}");
    let digest = fixture.remote.digest;
    let missing =
        Partial::missing_bytes(&fixture.root.path().join("partial"), &digest, BYTES as u64);
    assert_eq!(missing, BYTES as u64 - PIECE_BYTES);
    // Another process, the server well again.
    let Fixture { server, root, .. } = fixture;
    server.play(|_, _| None);
    let before = server.asked().len();
    let fixture = Fixture::over(server, root);
    fixture.fetch().await.unwrap();
    fixture.assert_whole();
    let first = fixture.server.asked()[before].range.unwrap().0;
    assert_eq!(first, PIECE_BYTES);
}

#[tokio::test]
async fn a_cancelled_fetch_leaves_pieces_for_the_next() {
    let fixture = Fixture::new().await;
    let content = Arc::clone(&fixture.content);
    let sent = PIECE_BYTES as usize * 3 + 9;
    fixture.server.play(move |asked, _| Some(cut(&content, asked.range, sent, true)));
    let (sender, mut grown) = tokio::sync::mpsc::unbounded_channel();
    let report = move |completed| sender.send(completed).unwrap_or_default();
    {
        let mut fetch = std::pin::pin!(fixture.fetcher.fetch(&fixture.remote, &report));
        loop {
            tokio::select! {
                ended = &mut fetch => panic!("it cannot end: {ended:?}"),
                Some(completed) = grown.recv() => if completed >= PIECE_BYTES * 3 { break },
            }
        }
    }
    fixture.server.play(|_, _| None);
    let before = fixture.asked_bytes();
    fixture.fetch().await.unwrap();
    fixture.assert_whole();
    assert_eq!(fixture.asked_bytes() - before, BYTES as u64 - PIECE_BYTES * 3);
}

#[tokio::test]
async fn wrong_bytes_are_refused_and_deleted() {
    let fixture = Fixture::new().await;
    let mut wrong = fixture.content.to_vec();
    wrong[BYTES - 1] ^= 1;
    let got = Digest::of(&wrong);
    fixture.server.put(fixture.remote.url.path(), wrong);
    let want = fixture.remote.digest;
    assert_eq!(fixture.fetch().await, Err(PullError::DigestMismatch { want, got }));
    assert!(!fixture.blob().exists());
    assert_eq!(std::fs::read_dir(fixture.root.path().join("partial")).unwrap().count(), 0);
    // The right bytes are welcome afterwards.
    fixture.server.put(fixture.remote.url.path(), fixture.content.to_vec());
    fixture.fetch().await.unwrap();
    fixture.assert_whole();
}

#[tokio::test]
async fn files_that_are_shorter_or_longer_than_they_should_be_are_refused() {
    for wrong in [BYTES / 2, BYTES - 1, BYTES + 1] {
        let fixture = Fixture::new().await;
        let mut content = fixture.content.to_vec();
        content.resize(wrong, 0);
        fixture.server.put(fixture.remote.url.path(), content.clone());
        let failed = fixture.fetch().await;
        assert!(matches!(failed, Err(PullError::BadAnswer { .. })), "{wrong}: {failed:?}");
        // The same from a server that says nothing of the size.
        fixture.server.play(move |_, _| Some(content.clone().into_response()));
        let failed = fixture.fetch().await;
        let is_refused = match wrong > BYTES {
            true => matches!(failed, Err(PullError::BadAnswer { .. })),
            false => matches!(failed, Err(PullError::Unreachable { .. })),
        };
        assert!(is_refused, "{wrong}: {failed:?}");
        assert!(!fixture.blob().exists());
    }
}

#[tokio::test]
async fn a_server_without_ranges_is_read_from_the_start() {
    let mut fixture = Fixture::new().await;
    fixture.fetcher.span_pieces = 1;
    let content = Arc::clone(&fixture.content);
    let wholes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&wholes);
    fixture.server.play(move |asked, _| {
        if asked.range.is_none() && counted.fetch_add(1, Ordering::SeqCst) == 0 {
            return Some(cut(&content, None, PIECE_BYTES as usize + 1, false));
        }
        Some(part(&content, None))
    });
    fixture.fetch().await.unwrap();
    fixture.assert_whole();
}

#[tokio::test]
async fn a_redirect_is_followed_once_and_renewed_when_it_runs_out() {
    let fixture = Fixture::new().await;
    fixture.server.put("/cdn", fixture.content.to_vec());
    let path = fixture.remote.url.path().to_owned();
    let cdn_asked = AtomicUsize::new(0);
    fixture.server.play(move |asked, _| {
        if asked.path == path {
            return Some(redirect("/cdn"));
        }
        (cdn_asked.fetch_add(1, Ordering::SeqCst) == 1)
            .then(|| StatusCode::FORBIDDEN.into_response())
    });
    // One after the other, so that which request meets the 403 is certain.
    let fetcher = Fetcher { connections: 1, ..fixture.fetcher };
    let fetcher = Fetcher { span_pieces: 2, ..fetcher };
    let halves = Fixture { fetcher, ..fixture };
    let content = Arc::clone(&halves.content);
    halves.fetch().await.unwrap();
    assert!(std::fs::read(halves.blob()).unwrap() == *content);
}

#[tokio::test]
async fn redirects_to_private_addresses_and_in_circles_are_refused() {
    let fixture = Fixture::new().await;
    for target in ["http://169.254.169.254/latest", "https://10.0.0.1/x", "https://[fd00::1]/"] {
        fixture.server.play(move |_, _| Some(redirect(target)));
        let failed = fixture.fetch().await;
        let is_refused = match target.starts_with("https") {
            true => matches!(failed, Err(PullError::PrivateAddress { .. })),
            // Plain HTTP is refused before that.
            false => matches!(failed, Err(PullError::BadAnswer { .. })),
        };
        assert!(is_refused, "{target}: {failed:?}");
    }
    fixture.server.play(|asked, _| Some(redirect(&asked.path)));
    let failed = fixture.fetch().await;
    assert!(matches!(failed, Err(PullError::BadAnswer { .. })), "{failed:?}");
}

#[tokio::test]
async fn two_who_want_one_file_fetch_it_once() {
    let mut fixture = Fixture::new().await;
    fixture.fetcher.span_pieces = 2;
    let (first, second) = tokio::join!(fixture.fetch(), fixture.fetch());
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(fixture.asked_bytes(), BYTES as u64);
    assert!(lock(&fixture.fetcher.busy).is_empty());
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused_before_a_connection() {
    let fixture = Fixture::new().await;
    let port = fixture.server.address.port();
    let plain_http = vec![format!("localhost:{port}")];
    let config = HubConfig { plain_http, ..HubConfig::default() };
    let http = Http::new(&config).unwrap();
    let url = Url::parse(&format!("http://localhost:{port}/")).unwrap();
    let ask = Ask { url: &url, range: None, accept: None };
    let failed = http.get(&ask, &Access::with(&url, None)).await.unwrap_err().into_error(1);
    assert_eq!(failed, PullError::PrivateAddress { host: format!("localhost:{port}") });
    // The client that is lent to libraries has the same eyes.
    let failed = Http::library_client(&config).unwrap().get(url).send().await.unwrap_err();
    let mut cause: Option<&dyn std::error::Error> = Some(&failed);
    let mut is_private = false;
    while let Some(current) = cause {
        is_private |= crate::pull::guard::is_private(current);
        cause = current.source();
    }
    assert!(is_private, "{failed:?}");
    assert!(fixture.server.asked().is_empty());
}
