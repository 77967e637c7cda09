//! Hostile registries, models and names: each is refused in words, nothing of it is kept, and the
//! server answers as before.

mod files;
mod manifests;
mod names;
mod network;
mod races;

use std::path::Path;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::registry::Registry;
use crate::story::Story;

/// The lines of a pull over Ollama's API.
async fn pull(story: &Story, name: &str) -> Vec<Value> {
    let mut stream = story.stream("/api/pull", json!({ "model": name })).await;
    let mut text = Vec::new();
    while let Some(bytes) = stream.next().await {
        text.extend_from_slice(&bytes);
    }
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// Pulls `me/MODEL`, which must fail without a trace; returns what was said.
async fn refused(story: &Story, registry: &Registry, model: &str) -> String {
    let before = kept(story);
    let lines = pull(story, &registry.name(&format!("me/{model}"))).await;
    let last = lines.last().unwrap();
    let error = last["error"].as_str().unwrap_or_else(|| panic!("{model} was taken: {last}"));
    assert_eq!(kept(story), before, "{model}: {error}");
    let folder = story.folder.path().to_str().unwrap();
    assert!(!error.contains(folder), "no paths of this machine: {error}");
    error.to_owned()
}

/// Every file of the model store but the unfinished ones, which a next pull goes on with.
fn kept(story: &Story) -> Vec<String> {
    fn walk(folder: &Path, files: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.ends_with("partial") => {}
                true => walk(&path, files),
                false => files.push(path.display().to_string()),
            }
        }
    }
    let mut files = Vec::new();
    walk(&story.folder.path().join("data/models"), &mut files);
    files.sort();
    files
}

/// Holds that the server answers as before.
async fn is_well(story: &Story) {
    assert_eq!(story.complete("stories260k", json!("Once"), 1).await.len(), 5);
}
