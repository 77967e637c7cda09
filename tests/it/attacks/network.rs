//! Registries that send the server elsewhere, or send what was not asked for.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};

use super::{is_well, refused};
use crate::registry::{Registry, redirect};
use crate::story::models;

fn real_model() -> Vec<u8> {
    std::fs::read(models().join("stories260K-q8_0.gguf")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_into_private_networks_are_not_followed() {
    let registry = Registry::start().await;
    // Another port of an address that is allowed: what listens there was not named.
    let neighbour = Registry::start().await;
    let story = registry.story().await;
    registry.put_model("m", &real_model());
    for (to, words) in [
        ("https://169.254.169.254/latest/meta-data/", "private address"),
        ("https://[::ffff:169.254.169.254]/", "private address"),
        ("https://2852039166/", "private address"),
        ("https://0xa9fea9fe/", "private address"),
        ("https://10.0.0.1/", "private address"),
        ("https://192.168.1.1/admin", "private address"),
        ("https://172.16.0.1/", "private address"),
        ("https://100.64.0.1/", "private address"),
        ("https://[fd00::1]/", "private address"),
        ("https://[fe80::1]/", "private address"),
        ("https://[::1]/", "private address"),
        ("https://0.0.0.0/", "private address"),
        ("http://169.254.169.254/latest/meta-data/", "insecure protocol http"),
        ("http://example.com/", "insecure protocol http"),
        (&format!("http://{}/x", neighbour.address), "insecure protocol http"),
        ("file:///etc/passwd", "insecure protocol file"),
        ("ftp://example.com/", "insecure protocol ftp"),
    ] {
        for part in ["/manifests/", "/blobs/"] {
            let to = to.to_owned();
            registry.play(move |path| path.contains(part).then(|| redirect(&to)));
            let error = refused(&story, &registry, "m").await;
            assert!(error.contains(words), "{part}: {error}");
        }
    }
    registry.play(|path| Some(redirect(path)));
    let error = refused(&story, &registry, "m").await;
    assert!(error.contains("too many redirects"), "{error}");
    assert!(neighbour.asked_for("").is_empty());
    is_well(&story).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_on_another_host_gets_no_question() {
    let registry = Registry::start().await;
    let thief = Registry::start().await;
    thief.put("/token", r#"{"token":"t"}"#);
    let story = registry.story().await;
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"r\"", thief.address);
    registry.play(move |_| {
        let challenge = [(header::WWW_AUTHENTICATE, realm.clone())];
        Some((StatusCode::UNAUTHORIZED, challenge).into_response())
    });
    let error = refused(&story, &registry, "m").await;
    let words = format!(
        "ealm host \"{}\" does not match original host \"{}\"",
        thief.address, registry.address
    );
    assert!(error.contains(&words), "{error}");
    assert!(thief.asked_for("").is_empty());
    registry.play(|_| Some(StatusCode::FORBIDDEN.into_response()));
    let error = refused(&story, &registry, "m").await;
    assert!(error.starts_with("unauthorized: access denied"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_bytes_that_were_named_become_a_file() {
    let registry = Registry::start().await;
    let story = registry.story().await;
    let whole = real_model();
    let digest = registry.put_model("m", &whole);
    let path = format!("/v2/me/m/blobs/{digest}");
    let mut changed = whole.clone();
    changed[100_000] ^= 1;
    registry.put(&path, changed);
    let error = refused(&story, &registry, "m").await;
    let words =
        format!("igest mismatch, file must be downloaded again: want {digest}, got sha256:");
    assert!(error.contains(&words), "{error}");
    registry.put(&path, &whole[..whole.len() / 2]);
    let error = refused(&story, &registry, "m").await;
    assert!(error.contains("of a file of"), "a truncated layer: {error}");
    registry.put(&path, [whole.clone(), vec![0; 4096]].concat());
    let error = refused(&story, &registry, "m").await;
    assert!(error.contains("of a file of"), "a layer that is longer: {error}");
    // The connection breaks in the middle, again and again.
    let half = whole[..whole.len() / 2].to_vec();
    registry.play(move |asked| {
        asked.ends_with(&digest.to_string()).then(|| {
            let broken = stream::once(async { Err(std::io::Error::other("cut")) });
            let half = half.clone();
            let body = stream::once(async { Ok(half) }).chain(broken);
            Response::new(Body::from_stream(body))
        })
    });
    let error = refused(&story, &registry, "m").await;
    assert!(error.starts_with("max retries exceeded: "), "{error}");
    // And yet the right bytes are taken.
    registry.play(|_| None);
    registry.put(&path, whole);
    let lines = super::pull(&story, &registry.name("me/m")).await;
    assert_eq!(lines.last().unwrap()["status"], "success", "{lines:?}");
    is_well(&story).await;
}
