//! Looking after the library over HTTP and from the command line.

use axum::http::{Method, StatusCode};
use clap::Parser;
use serde_json::{Value, json};

use crate::story::{Story, models};

/// The lines of long work.
async fn lines(story: &Story, path: &str, body: Value) -> Vec<Value> {
    let text = story.text(Method::POST, path, body).await;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether progress was told up to the whole, before the result.
fn told_all(lines: &[Value]) -> bool {
    let progress = lines.iter().rfind(|line| line["total_bytes"].is_u64());
    progress.is_some_and(|last| last["done_bytes"] == last["total_bytes"])
}

#[tokio::test(flavor = "multi_thread")]
async fn models_named_like_parts_of_an_address_are_reached_by_their_whole_names() {
    let story = Story::begin().await;
    let file = models().join("stories260K-q8_0.gguf");
    for name in ["catalogue", "pulls", "import", "verify", "collect", "share", "copy"] {
        let imported = story.import(&file, name).await;
        assert!(imported.contains("event: imported"), "{name}: {imported}");
        let path = format!("/hearth/models/{name}%3Alatest");
        for act in ["load", "unload"] {
            let (status, answer) = story.call(&format!("{path}/{act}"), json!({})).await;
            assert_eq!(status, StatusCode::OK, "{name} {act}: {answer}");
        }
        assert_eq!(story.delete(&path).await, StatusCode::NO_CONTENT, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_tells_its_progress_and_names_what_is_damaged() {
    let story = Story::begin().await;
    let told = lines(&story, "/hearth/models/verify", json!({})).await;
    assert!(told_all(&told), "{told:?}");
    assert_eq!(told.last().unwrap(), &json!({ "damaged": [], "manifests": [] }));
    let library = story.folder.path().join("data/models");
    let broken = library.join("manifests/registry.ollama.ai/library/broken");
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("latest"), "{").unwrap();
    let told = lines(&story, "/hearth/models/verify", json!({})).await;
    let manifests = &told.last().unwrap()["manifests"];
    assert!(manifests[0]["path"].as_str().unwrap().ends_with("broken/latest"), "{manifests}");
    let (status, collected) = story.call("/hearth/models/collect", json!({})).await;
    assert_eq!((status, &collected["manifests"]), (StatusCode::OK, manifests));
    // A model goes although blobs cannot.
    assert_eq!(story.delete("/hearth/models/stories260k").await, StatusCode::NO_CONTENT);
    let (status, answer) = story.call("/hearth/models/verify", json!({ "name": "none" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_tells_its_progress_both_ways() {
    let story = Story::begin().await;
    let file = story.folder.path().join("model.tar");
    let body = |name: &str| json!({ "name": name, "path": file.to_str().unwrap() });
    let told = lines(&story, "/hearth/models/export", body("stories260k")).await;
    assert!(told_all(&told), "{told:?}");
    assert_eq!(told.last().unwrap()["path"], file.to_str().unwrap());
    let told = lines(&story, "/hearth/models/archive", body("again")).await;
    assert!(told_all(&told), "{told:?}");
    assert_eq!(told.last().unwrap()["model"]["name"], "again");
    let (status, answer) = story.call("/hearth/models/archive", body("again")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    let (status, answer) = story.call("/hearth/models/export", body("stories260k")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "a file is not overwritten: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_looks_after_a_library() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let run = async |words: &[&str]| {
        let start = ["hearth", "--data", data.to_str().unwrap(), "models"];
        let cli = hearth::cli::Cli::try_parse_from(start.iter().chain(words)).unwrap();
        hearth::run(cli, &Default::default()).await
    };
    let file = models().join("stories260K-q8_0.gguf");
    run(&["import", file.to_str().unwrap(), "--name", "pulls"]).await.unwrap();
    let archive = folder.path().join("pulls.tar");
    let archive = archive.to_str().unwrap();
    run(&["export", "pulls", archive]).await.unwrap();
    run(&["verify"]).await.unwrap();
    run(&["rm", "pulls"]).await.unwrap();
    run(&["import", archive, "--name", "catalogue"]).await.unwrap();
    let broken = data.join("models/manifests/registry.ollama.ai/library/broken");
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("latest"), "{").unwrap();
    let said = run(&["verify"]).await.unwrap_err().to_string();
    assert!(said.contains("1 manifests cannot be read"), "{said}");
    run(&["gc"]).await.unwrap();
    run(&["rm", "catalogue"]).await.unwrap();
}
