//! Manifests that try to write elsewhere, to fill the memory or to confuse.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

use super::{is_well, kept, refused};
use crate::registry::{MODEL, Registry, manifest};

fn layer(digest: &str, size: Value) -> Value {
    json!({ "mediaType": MODEL, "digest": digest, "size": size })
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_that_are_none_never_become_paths() {
    let registry = Registry::start().await;
    let story = registry.story().await;
    let good = format!("sha256:{}", "0a".repeat(32));
    for bad in [
        "sha256:../../../../etc/x",
        "sha256:abc",
        "../../../../etc/passwd",
        "sha256-0a0a",
        &format!("sha512:{}", "0a".repeat(32)),
        &format!("sha256:{}", "0g".repeat(32)),
        &format!("sha256:{}/../../x", "0a".repeat(29)),
        &format!("sha256:{}", "0a".repeat(33)),
        "sha256:",
        "",
    ] {
        for text in [
            manifest(&layer(&good, json!(5)), &[layer(bad, json!(5))]),
            manifest(&layer(bad, json!(5)), &[layer(&good, json!(5))]),
        ] {
            registry.put_manifest("evil", text.to_string());
            let error = refused(&story, &registry, "evil").await;
            assert!(error.contains("its manifest"), "{bad}: {error}");
        }
    }
    assert!(registry.asked_for("/blobs/").is_empty(), "no file is asked for");
    is_well(&story).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_are_none_are_refused_before_a_file_is_asked_for() {
    let registry = Registry::start().await;
    let story = registry.story().await;
    let good = format!("sha256:{}", "0a".repeat(32));
    let sized = |size: Value| {
        manifest(&layer(&good, json!(5)), &[layer(&good, size)]).to_string().into_bytes()
    };
    let one = layer(&good, json!(5));
    for (what, text) in [
        ("empty", Vec::new()),
        ("an object", b"{}".to_vec()),
        ("a list", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        (
            "version 1",
            json!({ "schemaVersion": 1, "config": one, "layers": [one] }).to_string().into(),
        ),
        ("no layers", manifest(&one, &[]).to_string().into()),
        ("a model twice", manifest(&one, &[one.clone(), one.clone()]).to_string().into()),
        ("deep", vec![b'['; 500_000]),
        ("huge", format!("{{\"x\":\"{}\"}}", "y".repeat(2 << 20)).into_bytes()),
        ("a negative size", sized(json!(-1))),
        ("half a byte", sized(json!(1.5))),
        ("sizes that wrap", sized(json!(u64::MAX))),
        ("no number", sized(json!("5"))),
    ] {
        registry.put_manifest("evil", text);
        let error = refused(&story, &registry, "evil").await;
        assert!(error.ends_with('.'), "{what}: {error}");
    }
    assert!(registry.asked_for("/blobs/").is_empty());
    is_well(&story).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_is_read_no_further_than_a_manifest_may_be() {
    let registry = Registry::start().await;
    let story = registry.story().await;
    registry.play(|path| {
        path.contains("/manifests/").then(|| {
            let block = Bytes::from(vec![b' '; 64 << 10]);
            let endless = stream::repeat_with(move || Ok::<_, std::io::Error>(block.clone()));
            Response::new(Body::from_stream(endless))
        })
    });
    let error = refused(&story, &registry, "endless").await;
    assert!(error.contains("longer than"), "{error}");
    is_well(&story).await;
}

/// A gzip stream of so many times 258 zeros: in one block of fixed codes (RFC 1951, 3.2.6) a zero,
/// then each time the code of length 258 and distance 1, 13 bits.
fn gzip_of_zeros(times: usize) -> Vec<u8> {
    let mut bits: Vec<bool> = [1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0].map(|bit| bit == 1).to_vec();
    let more = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0].map(|bit| bit == 1);
    (0..times).for_each(|_| bits.extend(more));
    bits.extend([false; 7]);
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    stream.extend(bits.chunks(8).map(byte));
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_bomb_is_not_unpacked() {
    let registry = Registry::start().await;
    let story = registry.story().await;
    let bomb = gzip_of_zeros(500_000);
    assert!(bomb.len() < 1 << 20, "the manifest itself is within its limit: {}", bomb.len());
    let digest = registry.put_model("bomb", b"GGUF, but not really");
    let served = bomb.clone();
    registry.play(move |path| {
        let is_it = path.contains("/manifests/");
        is_it.then(|| ([(header::CONTENT_ENCODING, "gzip")], served.clone()).into_response())
    });
    let error = refused(&story, &registry, "bomb").await;
    assert!(error.contains("its manifest"), "{error}");
    // The same for a file: its bytes are those that came, whatever they say of themselves.
    registry.play(move |path| {
        let is_it = path.ends_with(&digest.to_string());
        is_it.then(|| ([(header::CONTENT_ENCODING, "gzip")], bomb.clone()).into_response())
    });
    let error = refused(&story, &registry, "bomb").await;
    assert!(error.contains("more bytes"), "{error}");
    is_well(&story).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_the_disk_is_not_believed_either() {
    let registry = Registry::start().await;
    let story = registry.story().await;
    let victim = story.folder.path().join("victim");
    std::fs::write(&victim, "mine").unwrap();
    let models = story.folder.path().join("data/models");
    let folder = models.join("manifests/registry.ollama.ai/library/evil");
    std::fs::create_dir_all(&folder).unwrap();
    let digest = "sha256:../../../../victim";
    let text = manifest(&layer(digest, json!(4)), &[layer(digest, json!(4))]);
    std::fs::write(folder.join("latest"), text.to_string()).unwrap();
    let library = hearth_hub::Library::open(&models, &[]).unwrap();
    assert!(library.find("evil").is_err(), "a damaged manifest is left out");
    assert!(library.remove("evil").is_err());
    let (removed, broken) = library.collect_unused().unwrap();
    assert_eq!(removed.files, 0, "nothing is deleted on the word of such a store");
    assert!(broken[0].path.ends_with("evil/latest"), "{broken:?}");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
    assert!(!kept(&story).is_empty());
}
