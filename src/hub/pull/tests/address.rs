//! Models at plain addresses.

use axum::http::HeaderMap;

use super::*;
use crate::merge::tests::split;
use crate::pull::testing::{Asked, cut, noise, part};

impl Fixture {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }

    async fn pull_from(&self, url: &str, name: &str) -> PullResult<Entry> {
        self.pull_checked(url, None, name).await
    }

    async fn pull_checked(&self, url: &str, sha256: Option<&str>, name: &str) -> PullResult<Entry> {
        let from = Some(Address::parse(url, sha256)?);
        let request = PullRequest { name: name.to_owned(), from, is_detached: false };
        self.pulls.start(request).await?.end().await
    }
}

/// An answer of a server that says which version of the file it has.
fn versioned(bytes: &[u8], asked: &Asked, version: &str) -> axum::response::Response {
    let mut answer = part(bytes, asked.range);
    let headers: &mut HeaderMap = answer.headers_mut();
    headers.insert(header::ETAG, version.parse().unwrap());
    answer
}

#[tokio::test]
async fn a_file_at_an_address_becomes_a_model_of_its_name() {
    let fixture = Fixture::new().await;
    let gguf = real_model("stories260K-q8_0.gguf");
    fixture.server.put("/models/Stories-Q8_0.gguf", gguf.clone());
    let url = fixture.url("/models/Stories-Q8_0.gguf");
    let name = Address::parse(&url, None).unwrap().default_name().unwrap();
    let entry = fixture.pull_from(&url, &name.to_string()).await.unwrap();
    assert_eq!(entry.name.to_string(), "stories-q8_0");
    assert_eq!(entry.description.file_type, "Q8_0");
    assert!(std::fs::read(fixture.path(&entry)).unwrap() == gguf);
    assert!(fixture.path(&entry).ends_with(Digest::of(&gguf).file_name()), "by its own digest");
    let left = std::fs::read_dir(fixture.root.path().join("partial")).unwrap().count();
    assert_eq!(left, 0);
    // No credential of another place is shown to this one.
    assert!(fixture.server.asked().iter().all(|asked| asked.token.is_none()));
}

#[tokio::test]
async fn a_digest_that_is_told_is_held_to() {
    let fixture = Fixture::new().await;
    let gguf = real_model("stories260K-q8_0.gguf");
    fixture.server.put("/m.gguf", gguf.clone());
    let (right, wrong) = (Digest::of(&gguf), Digest::of(b"another"));
    let url = fixture.url("/m.gguf");
    let failed = fixture.pull_checked(&url, Some(&wrong.hex()), "m").await;
    assert_eq!(failed, Err(PullError::DigestMismatch { want: wrong, got: right }));
    assert!(fixture.library.list().is_empty());
    assert_eq!(fixture.blobs(), 0);
    fixture.pull_from(&format!("{url}#sha256={}", right.hex()), "m").await.unwrap();
}

#[tokio::test]
async fn what_is_no_model_is_refused_after_four_bytes() {
    let fixture = Fixture::new().await;
    fixture.server.put("/page.gguf", b"<!doctype html>".to_vec());
    fixture.server.put("/empty.gguf", Vec::new());
    fixture.server.put("/junk.gguf", b"GGUFjunk".to_vec());
    let failed = fixture.pull_from(&fixture.url("/page.gguf"), "m").await;
    assert!(matches!(failed, Err(PullError::BadModel(_))), "{failed:?}");
    assert_eq!(fixture.server.asked_for("/page.gguf").len(), 1);
    for path in ["/junk.gguf", "/empty.gguf"] {
        let failed = fixture.pull_from(&fixture.url(path), "m").await;
        let is_refused =
            matches!(failed, Err(PullError::BadModel(_) | PullError::BadAnswer { .. }));
        assert!(is_refused, "{path} {failed:?}");
    }
    let failed = fixture.pull_from(&fixture.url("/none.gguf"), "m").await;
    assert!(matches!(failed, Err(PullError::NotFound(_))), "{failed:?}");
    assert!(fixture.library.list().is_empty());
    assert_eq!(fixture.blobs(), 0, "nothing of it is kept");
}

#[tokio::test]
async fn an_address_is_asked_only_where_an_admin_allows_it() {
    let fixture = Fixture::new().await;
    let failed = fixture.pull_from("https://elsewhere.example/m.gguf", "m").await;
    let host = "elsewhere.example".to_owned();
    assert_eq!(failed, Err(PullError::RegistryNotAllowed(host)));
    // Allowed, but spoken to in the clear.
    let plain = Fixture::with(|config| config.plain_http.clear()).await;
    plain.server.put("/m.gguf", real_model("stories260K-q8_0.gguf"));
    let failed = plain.pull_from(&plain.url("/m.gguf"), "m").await.unwrap_err();
    assert!(failed.to_string().contains("insecure protocol http"), "{failed}");
    assert!(plain.server.asked().is_empty());
    let private = Fixture::with(|config| config.private_hosts.clear()).await;
    let failed = private.pull_from(&private.url("/m.gguf"), "m").await;
    assert!(matches!(failed, Err(PullError::PrivateAddress { .. })), "{failed:?}");
}

#[tokio::test]
async fn a_redirect_of_an_address_is_followed_to_public_hosts_only() {
    let fixture = Fixture::new().await;
    let cdn = Server::start().await;
    cdn.put("/cdn/m.gguf", real_model("stories260K-q8_0.gguf"));
    let elsewhere = format!("http://{}/cdn/m.gguf", cdn.address);
    let metadata = "https://169.254.169.254/latest/meta-data".to_owned();
    fixture.server.play(move |asked, _| match asked.path.as_str() {
        "/good.gguf" => Some(redirect(&elsewhere)),
        "/metadata.gguf" => Some(redirect(&metadata)),
        "/round.gguf" => Some(redirect("/round.gguf")),
        _ => None,
    });
    let config = HubConfig {
        plain_http: vec![fixture.server.address.to_string(), cdn.address.to_string()],
        ..fixture.server.config()
    };
    let pulls = Pulls::open(Arc::clone(&fixture.library), &config).unwrap();
    let start = |path: &str| {
        let from = Some(Address::parse(&fixture.url(path), None).unwrap());
        let request = PullRequest { name: "m".to_owned(), from, is_detached: false };
        let pulls = pulls.clone();
        async move { pulls.start(request).await.unwrap().end().await }
    };
    let failed = start("/metadata.gguf").await;
    assert!(matches!(failed, Err(PullError::PrivateAddress { .. })), "{failed:?}");
    let failed = start("/round.gguf").await;
    assert!(matches!(failed, Err(PullError::BadAnswer { .. })), "{failed:?}");
    assert_eq!(start("/good.gguf").await.unwrap().name.to_string(), "m");
}

#[tokio::test]
async fn a_newer_file_at_the_same_address_replaces_the_model_and_no_other_does() {
    let fixture = Fixture::new().await;
    let (old, new) = (real_model("stories260K-f32.gguf"), real_model("stories260K-q8_0.gguf"));
    let files = [old, new.clone()];
    let current = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let serving = Arc::clone(&current);
    fixture.server.play(move |asked, _| {
        let number = serving.load(std::sync::atomic::Ordering::SeqCst);
        let version = format!("\"v{number}\"");
        asked.path.ends_with("m.gguf").then(|| versioned(&files[number], asked, &version))
    });
    let url = fixture.url("/m.gguf");
    let first = fixture.pull_from(&url, "m").await.unwrap();
    let before = fixture.server.asked().len();
    assert_eq!(fixture.pull_from(&url, "m").await, Ok(first.clone()));
    assert_eq!(fixture.server.asked().len() - before, 1, "one look is enough");
    current.store(1, std::sync::atomic::Ordering::SeqCst);
    let second = fixture.pull_from(&url, "m").await.unwrap();
    assert_ne!(first.digest, second.digest);
    assert!(std::fs::read(fixture.path(&second)).unwrap() == new);
    assert_eq!(fixture.blobs(), 2, "the old file went");
    let other = fixture.pull_from(&fixture.url("/other/m.gguf"), "m").await;
    assert_eq!(other, Err(PullError::NameTaken("m".parse().unwrap())));
    let config = String::from_utf8(all_bytes(fixture.root.path())).unwrap_or_default();
    assert!(!config.contains("m.gguf"), "the address itself is not kept");
}

/// What the small files of the store hold.
fn all_bytes(root: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(root.join("blobs")).unwrap();
    let small = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    small.filter(|bytes| bytes.len() < 4096).flatten().collect()
}

#[tokio::test]
async fn a_file_that_changes_under_way_is_no_mixture_of_two() {
    let fixture = Fixture::new().await;
    let gguf = real_model("stories260K-f32.gguf");
    fixture.server.play(move |asked, before| {
        let version = if before == 0 { "\"one\"" } else { "\"two\"" };
        Some(versioned(&gguf, asked, version))
    });
    let failed = fixture.pull_from(&fixture.url("/m.gguf"), "m").await.unwrap_err();
    assert!(failed.to_string().contains("changed while it was fetched"), "{failed}");
    assert!(fixture.library.list().is_empty());
}

#[tokio::test]
async fn a_broken_off_file_goes_on_where_it_was_if_it_is_the_same_version() {
    for (version, goes_on) in [(Some("\"one\""), true), (None, false)] {
        let fixture = Fixture::new().await;
        let mut served = noise(9 << 20);
        served[..4].copy_from_slice(b"GGUF");
        let is_broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let breaking = Arc::clone(&is_broken);
        fixture.server.play(move |asked, _| {
            let is_look = asked.range == Some((0, 3));
            let mut answer = match !is_look && breaking.load(std::sync::atomic::Ordering::SeqCst) {
                true => cut(&served, asked.range, 6 << 20, false),
                false => part(&served, asked.range),
            };
            if let Some(version) = version {
                answer.headers_mut().insert(header::ETAG, version.parse().unwrap());
            }
            Some(answer)
        });
        let url = fixture.url("/m.gguf");
        let failed = fixture.pull_from(&url, "m").await;
        assert!(matches!(failed, Err(PullError::Unreachable { .. })), "{failed:?}");
        is_broken.store(false, std::sync::atomic::Ordering::SeqCst);
        let before = fixture.server.asked().len();
        // Whole now; that it is no model is found afterwards.
        let failed = fixture.pull_from(&url, "m").await;
        assert!(matches!(failed, Err(PullError::BadModel(_))), "{failed:?}");
        let asked = fixture.server.asked()[before + 1..].to_vec();
        let first = asked.iter().filter_map(|asked| asked.range).map(|(first, _)| first).min();
        assert_eq!(first.unwrap() > 0, goes_on, "{asked:?}");
    }
}

#[tokio::test]
async fn the_parts_of_a_split_file_become_one_model() {
    let fixture = Fixture::new().await;
    let whole = real_model("stories260K-q8_0.gguf");
    for (number, bytes) in split(&whole, 3).into_iter().enumerate() {
        fixture.server.put(&format!("/big-{:05}-of-00003.gguf", number + 1), bytes);
    }
    let url = fixture.url("/big-00001-of-00003.gguf");
    let entry = fixture.pull_from(&url, "big").await.unwrap();
    assert_eq!((entry.description.parameters, fixture.blobs()), (292_800, 2));
}

#[tokio::test]
async fn a_detached_pull_of_an_address_goes_on_after_a_restart() {
    let fixture = Fixture::new().await;
    let gguf = real_model("stories260K-q8_0.gguf");
    fixture.server.put("/m.gguf", gguf.clone());
    let is_stalled = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let stalling = Arc::clone(&is_stalled);
    fixture.server.play(move |asked, _| {
        let stalls = stalling.load(std::sync::atomic::Ordering::SeqCst);
        stalls.then(|| cut(&gguf, asked.range, 4, true))
    });
    let from = Some(Address::parse(&fixture.url("/m.gguf"), None).unwrap());
    let request = PullRequest { name: "mine".to_owned(), from, is_detached: true };
    drop(fixture.pulls.start(request).await.unwrap());
    // Another file for the same name has to wait.
    let other = fixture.pull_from(&fixture.url("/other.gguf"), "mine").await;
    assert_eq!(other, Err(PullError::NameTaken("mine".parse().unwrap())));
    fixture.pulls.close().await;
    is_stalled.store(false, std::sync::atomic::Ordering::SeqCst);
    let config = HubConfig { retries: 0, ..fixture.server.config() };
    let again = Pulls::open(Arc::clone(&fixture.library), &config).unwrap();
    again.resume().await;
    let end = again.subscribe("mine").unwrap().end().await;
    assert_eq!(end.unwrap().name.to_string(), "mine");
}
