//! What had come when a process is killed is not fetched again.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use reqwest::Url;

use super::*;
use crate::digest::Digest;
use crate::pull::fetch::{Fetcher, Remote};
use crate::pull::http::Access;
use crate::pull::testing::noise;

/// Tells the child what to fetch, and where to.
const URL: &str = "HEARTH_HUB_CRASH_URL";
const ROOT: &str = "HEARTH_HUB_CRASH_ROOT";
const BYTES: usize = 128 << 20;
/// What may be fetched again.
const MOST_AGAIN_BYTES: u64 = 64 << 20;

fn fetcher(url: &Url, root: &Path, bytes_per_second: u64) -> (Fetcher, Remote) {
    let config = HubConfig {
        plain_http: vec![format!("127.0.0.1:{}", url.port().unwrap())],
        private_hosts: vec!["127.0.0.1".to_owned()],
        bytes_per_second,
        ..HubConfig::default()
    };
    let hex = url.path().rsplit('/').next().unwrap();
    let remote = Remote {
        url: url.clone(),
        access: Arc::new(Access::registry(url)),
        digest: Digest::parse(hex).unwrap(),
        bytes: BYTES as u64,
        version: None,
    };
    (Fetcher::new(&config, root).unwrap(), remote)
}

/// Not a test by itself: the process that the test below starts and kills.
#[test]
fn child_that_fetches_until_it_is_killed() {
    let (Some(url), Some(root)) = (std::env::var_os(URL), std::env::var_os(ROOT)) else { return };
    let url = Url::parse(url.to_str().unwrap()).unwrap();
    // Slow enough to be killed in the middle.
    let (fetcher, remote) = fetcher(&url, Path::new(&root), 64 << 20);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let report = |completed| println!("at {completed}");
    runtime.block_on(fetcher.fetch(&remote, &report)).unwrap();
}

#[tokio::test]
async fn a_killed_process_costs_no_more_than_a_piece_for_each_connection() {
    let server = Server::start().await;
    let content = noise(BYTES);
    let digest = server.put_blob("a/b", &content);
    let url = format!("http://{}/v2/a/b/blobs/{digest}", server.address);
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("blobs")).unwrap();
    let name = "pull::tests::crash::child_that_fetches_until_it_is_killed";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(URL, &url)
        .env(ROOT, root.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let killed = tokio::task::spawn_blocking(move || {
        let at = |line: std::io::Result<String>| line.unwrap().strip_prefix("at ")?.parse().ok();
        let come = lines.filter_map(at).find(|&come: &u64| come >= BYTES as u64 / 2);
        // On Unix this is SIGKILL: nothing is put in order.
        child.kill().unwrap();
        child.wait().unwrap();
        come
    });
    let come = killed.await.unwrap().expect("the child gets half of the file");
    assert!(come < BYTES as u64, "it was killed in the middle");
    let before = server.asked().len();
    let (fetcher, remote) = fetcher(&Url::parse(&url).unwrap(), root.path(), 0);
    fetcher.fetch(&remote, &|_| {}).await.unwrap();
    let asked = server.asked();
    let ranges = asked[before..].iter().map(|asked| asked.range.unwrap());
    let again: u64 = ranges.map(|(first, last)| last - first + 1).sum();
    let needed = BYTES as u64 - come;
    assert!(
        again <= needed + MOST_AGAIN_BYTES,
        "{again} bytes came for {needed} that were missing"
    );
    let blob = root.path().join("blobs").join(digest.file_name());
    assert!(std::fs::read(blob).unwrap() == content);
}
