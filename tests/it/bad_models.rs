//! Damaged and hostile models are refused by name, and everything else goes on.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::story::{Story, models};

/// The Hugging Face folder with another chat template.
fn folder_with_template(parent: &Path, template: &str) -> std::path::PathBuf {
    let folder = parent.join("template");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(models().join("hf")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let path = folder.join("tokenizer_config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["chat_template"] = json!(template);
    fs::remove_file(&path).unwrap();
    fs::write(&path, config.to_string()).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_never_ends_costs_one_request_and_nothing_more() {
    let story = Story::begin().await;
    let endless =
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}";
    let folder = folder_with_template(story.folder.path(), endless);
    let imported = story.import(&folder, "endless").await;
    assert!(imported.contains("event: imported"), "{imported}");
    let chat = |model: &str| json!({ "model": model, "max_tokens": 2, "messages": [{ "role": "user", "content": "x" }] });
    let (status, answer) = story.call("/v1/chat/completions", chat("endless")).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("template"), "{answer}");
    let (status, _) = story.call("/v1/chat/completions", chat("stories260k")).await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tensor_past_the_end_of_the_file_is_named() {
    let story = Story::begin().await;
    let whole = fs::read(models().join("stories260K-f32.gguf")).unwrap();
    let short = story.folder.path().join("short.gguf");
    fs::write(&short, &whole[..whole.len() - 4096]).unwrap();
    let answer = story.import(&short, "short").await;
    assert!(answer.contains("event: failed") && answer.contains("tensor"), "{answer}");
    let (status, _) =
        story.call("/v1/completions", json!({ "model": "short", "prompt": "x" })).await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_file_that_is_damaged_after_its_import_fails_alone() {
    let story = Story::begin().await;
    story.import(&models().join("stories260K-q8_0.gguf"), "later").await;
    let blobs = story.folder.path().join("data/models/blobs");
    let bytes = fs::read(models().join("stories260K-q8_0.gguf")).unwrap();
    let blob = fs::read_dir(blobs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| fs::read(path).unwrap() == bytes)
        .expect("the blob is there");
    fs::write(&blob, &bytes[..bytes.len() / 2]).unwrap();
    let (status, answer) =
        story.call("/v1/completions", json!({ "model": "later", "prompt": "x" })).await;
    assert_eq!(answer["error"]["code"], "bad_model", "{status} {answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("tensor"), "{answer}");
    assert_eq!(story.complete("stories260k", json!("Once"), 1).await.len(), 5);
}
