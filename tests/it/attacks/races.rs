//! Several at once: two who pull one model, a model that goes or changes while it answers.

use axum::http::{Method, StatusCode};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{is_well, pull};
use crate::registry::Registry;
use crate::story::{Story, models};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(models().join(name)).unwrap()
}

/// A long answer, begun: its first line is there.
struct LongAnswer<'a> {
    lines: Box<dyn futures_util::Stream<Item = bytes::Bytes> + Unpin + 'a>,
    first: String,
}

impl<'a> LongAnswer<'a> {
    async fn begin(story: &'a Story, model: &'a str) -> LongAnswer<'a> {
        let body = json!({
            "model": model, "prompt": "Once upon a time", "raw": true,
            "options": { "num_predict": 300, "temperature": 0 },
        });
        let mut lines = Box::new(story.stream("/api/generate", body).await);
        let first = lines.next().await.unwrap();
        LongAnswer { lines, first: String::from_utf8(first.to_vec()).unwrap() }
    }

    /// The rest; returns the text and the last line.
    async fn end(mut self) -> (String, Value) {
        let mut text = self.first;
        while let Some(bytes) = self.lines.next().await {
            text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let said = lines.iter().filter_map(|line| line["response"].as_str()).collect();
        (said, lines.last().unwrap().clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_pull_one_model_share_one_download() {
    let registry = Registry::start().await;
    let story = registry.story().await;
    let digest = registry.put_model("m", &file("stories260K-q8_0.gguf"));
    let name = registry.name("me/m");
    let upper = registry.name("ME/M");
    let pulls = [pull(&story, &name), pull(&story, &name), pull(&story, &upper)];
    for lines in futures_util::future::join_all(pulls).await {
        assert_eq!(lines.last().unwrap()["status"], "success", "{lines:?}");
    }
    assert_eq!(registry.asked_for(&digest.to_string()).len(), 1, "the file came once");
    let tags = story.get("/api/tags").await;
    let named = tags["models"].as_array().unwrap().iter();
    assert_eq!(named.filter(|model| model["name"] == json!(format!("{name}:latest"))).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_deleted_while_it_answers_ends_its_answer() {
    let story = Story::begin().await;
    let whole = LongAnswer::begin(&story, "stories260k").await.end().await.0;
    let answer = LongAnswer::begin(&story, "stories260k").await;
    let body = json!({ "model": "stories260k" });
    let (status, _) = story.send_json(Method::DELETE, "/api/delete", body.clone()).await;
    assert_eq!(status, StatusCode::OK);
    let (said, last) = answer.end().await;
    assert_eq!((said, &last["done"]), (whole, &json!(true)), "{last}");
    let (status, answer) =
        story.call("/api/generate", json!({ "model": "stories260k", "prompt": "x" })).await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::NOT_FOUND, &json!("model 'stories260k' not found"))
    );
    let (status, _) = story.send_json(Method::DELETE, "/api/delete", body).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(story.get("/api/ps").await["models"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_comes_while_the_old_one_answers() {
    let registry = Registry::start().await;
    let story = registry.story().await;
    let name = registry.name("me/m");
    let sizes = |tags: Value| {
        let models = tags["models"].as_array().unwrap().clone();
        models.iter().find(|model| model["name"] == json!(format!("{name}:latest"))).unwrap()["size"].clone()
    };
    registry.put_model("m", &file("stories260K-f32.gguf"));
    pull(&story, &name).await;
    let whole = LongAnswer::begin(&story, &name).await.end().await.0;
    let old = sizes(story.get("/api/tags").await);
    let answer = LongAnswer::begin(&story, &name).await;
    registry.put_model("m", &file("stories260K-q8_0.gguf"));
    let lines = pull(&story, &name).await;
    assert_eq!(lines.last().unwrap()["status"], "success", "{lines:?}");
    let (said, last) = answer.end().await;
    assert_eq!((said, &last["done"]), (whole, &json!(true)), "{last}");
    assert!(sizes(story.get("/api/tags").await).as_u64() < old.as_u64());
    let (said, last) = LongAnswer::begin(&story, &name).await.end().await;
    assert!(!said.is_empty() && last["done_reason"] == "length", "{last}");
    is_well(&story).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_cancels_a_pull_and_who_stays_does_not_notice() {
    let registry = Registry::start().await;
    let story = registry.story().await;
    registry.put_model("m", &file("stories260K-q8_0.gguf"));
    let name = registry.name("me/m");
    let mut left = story.stream("/api/pull", json!({ "model": name })).await;
    left.next().await.unwrap();
    let stays = pull(&story, &name);
    drop(left);
    let lines = stays.await;
    assert_eq!(lines.last().unwrap()["status"], "success", "{lines:?}");
}
