//! What a client sees of the engine through the whole program.

use futures_util::StreamExt;
use futures_util::future::join_all;
use hearth_store::UsageFilter;
use serde_json::{Value, json};

use crate::story::{Story, golden, models};

#[tokio::test(flavor = "multi_thread")]
async fn gguf_and_safetensors_follow_the_golden_file() {
    let story = Story::begin().await;
    story.import(&models().join("hf"), "folder").await;
    for model in ["stories260k", "folder"] {
        for case in golden() {
            let wanted = case["greedy_text"].as_str().unwrap();
            assert_eq!(story.complete(model, case["prompt"].clone(), 64).await, wanted, "{model}");
            assert_eq!(story.complete(model, case["prompt_ids"].clone(), 64).await, wanted);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_together_say_what_each_says_alone() {
    let story = Story::begin().await;
    let cases = golden();
    let together = join_all(
        (0..20).map(|i| story.complete("stories260k", cases[i % 5]["prompt"].clone(), 64)),
    );
    for (i, text) in together.await.into_iter().enumerate() {
        assert_eq!(text, cases[i % 5]["greedy_text"].as_str().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_frees_its_pages() {
    let story = Story::begin().await;
    let body = json!({
        "model": "stories260k", "prompt": "Once", "max_tokens": 500, "temperature": 1, "n": 8,
        "stream": true, "logit_bias": { "2": -100 },
    });
    for _ in 0..5 {
        let mut stream = story.stream("/v1/completions", body.clone()).await;
        stream.next().await.expect("the answer begins");
        drop(stream);
    }
    // A later request is served by the same thread, after it has seen the others go.
    story.complete("stories260k", json!("Once"), 400).await;
    let activity = story.activity("stories260k").await;
    assert_eq!(activity["running"], 0, "{activity}");
    assert_eq!(activity["waiting"], 0, "{activity}");
    assert_eq!(activity["kv_pages_used"], 0, "{activity}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_was_asked_before_is_reported_as_cached() {
    let story = Story::begin().await;
    let body = json!({
        "model": "stories260k", "prompt": (300..400).collect::<Vec<_>>(), "max_tokens": 2, "n": 3,
    });
    let cached = |usage: &Value| usage["prompt_tokens_details"]["cached_tokens"].clone();
    let (_, first) = story.call("/v1/completions", body.clone()).await;
    assert_eq!(cached(&first["usage"]), 0, "one of the three computed it");
    let (_, again) = story.call("/v1/completions", body.clone()).await;
    assert_eq!(cached(&again["usage"]), 96, "{again}");
    let mut streamed = body;
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({ "include_usage": true });
    let chunks = story.stream("/v1/completions", streamed).await.collect::<Vec<_>>().await;
    let text = String::from_utf8(chunks.concat()).unwrap();
    let last = text.split("data: ").find(|chunk| chunk.contains("cached_tokens")).unwrap();
    assert_eq!(cached(&serde_json::from_str::<Value>(last.trim()).unwrap()["usage"]), 96);
    let rows = story.app.store().usage();
    let everything = UsageFilter::default();
    let counts: Vec<u32> =
        rows.latest(everything, 9).await.unwrap().iter().map(|row| row.cached_tokens).collect();
    assert_eq!(counts, [96, 96, 0], "the books say the same, the newest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn look_alikes_of_control_tokens_stay_text() {
    let story = Story::begin().await;
    let count = async |content: &str| {
        let body = json!({
            "model": "stories260k", "max_tokens": 1,
            "messages": [{ "role": "user", "content": content }],
        });
        let (_, answer) = story.call("/v1/chat/completions", body).await;
        answer["usage"]["prompt_tokens"].as_u64().expect("a count")
    };
    // As text, `</s>` takes a token for each of its characters at the least for `<`, `/` and `>`.
    assert!(count("a</s>b").await >= count("ab").await + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_leaves_one_usage_row_with_exact_counts() {
    let story = Story::begin().await;
    let case = &golden()[0];
    story.complete("stories260k", case["prompt"].clone(), 64).await;
    let body = json!({ "model": "stories260k", "prompt": ["a", "b"], "max_tokens": 3 });
    story.call("/v1/completions", body).await;
    let everything = UsageFilter::default();
    let rows = story.app.store().usage().latest(everything, 10).await.unwrap();
    let counts: Vec<(u32, u32)> =
        rows.iter().map(|row| (row.prompt_tokens, row.completion_tokens)).collect();
    assert_eq!(rows.len(), 3);
    let prompt = u32::try_from(case["prompt_ids"].as_array().unwrap().len()).unwrap();
    assert!(counts.contains(&(prompt, 64)), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_over_the_context_is_refused_with_both_numbers() {
    let story = Story::begin().await;
    let body = json!({ "model": "stories260k", "prompt": vec![5; 600], "max_tokens": 1 });
    let (status, answer) = story.call("/v1/completions", body).await;
    assert_eq!(status, 400);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("600") && message.contains("512"), "{message}");
    let body = json!({ "model": "stories260k", "prompt": [99_999], "max_tokens": 1 });
    let (status, answer): (_, Value) = story.call("/v1/completions", body).await;
    assert_eq!(status, 400, "{answer}");
}
