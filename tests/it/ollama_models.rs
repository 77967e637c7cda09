//! Models that are made, described, copied and deleted the way Ollama's clients do it.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::story::{Story, models};

async fn call(story: &Story, path: &str, body: Value) -> Value {
    let (status, answer) = story.call(path, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn tags(story: &Story) -> Vec<String> {
    let tags = story.get("/api/tags").await;
    let models = tags["models"].as_array().unwrap().iter();
    models.map(|model| model["name"].as_str().unwrap().to_owned()).collect()
}

fn asking(model: &str, change: Value) -> Value {
    let mut body = json!({
        "model": model, "messages": [{ "role": "user", "content": "Once" }], "stream": false,
    });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_model_answers_with_its_own_words_and_numbers_in_every_dialect() {
    let story = Story::begin().await;
    let made = json!({
        "model": "mine", "from": "stories260k", "system": "Be kind.", "license": ["MIT"],
        "messages": [{ "role": "user", "content": "hi" }, { "role": "assistant", "content": "yes" }],
        "parameters": { "num_predict": 5, "temperature": 0, "stop": ["@@"] }, "stream": false,
    });
    assert_eq!(call(&story, "/api/create", made).await, json!({ "status": "success" }));
    let plain = json!({ "messages": [
        { "role": "system", "content": "Be kind." }, { "role": "user", "content": "hi" },
        { "role": "assistant", "content": "yes" }, { "role": "user", "content": "Once" },
    ], "options": { "num_predict": 5, "temperature": 0 } });
    let wanted = call(&story, "/api/chat", asking("stories260k", plain)).await;
    let answer = call(&story, "/api/chat", asking("mine", json!({}))).await;
    assert_eq!(answer["message"], wanted["message"]);
    assert_eq!(answer["prompt_eval_count"], wanted["prompt_eval_count"]);
    assert_eq!(answer["eval_count"], 5);
    let answer = call(&story, "/v1/chat/completions", asking("mine", json!({}))).await;
    assert_eq!(answer["choices"][0]["message"]["content"], wanted["message"]["content"]);
    let own = json!({ "options": { "num_predict": 7 } });
    assert_eq!(call(&story, "/api/chat", asking("mine", own)).await["eval_count"], 7);
    let shown = call(&story, "/api/show", json!({ "model": "mine" })).await;
    assert_eq!((&shown["system"], &shown["license"]), (&json!("Be kind."), &json!("MIT")));
    let parameters = shown["parameters"].as_str().unwrap();
    assert!(parameters.contains("num_predict                    5\n"), "{parameters}");
    assert!(parameters.contains("stop                           \"@@\""), "{parameters}");
    assert!(
        shown["modelfile"].as_str().unwrap().contains("SYSTEM \"\"\"Be kind.\"\"\"\nPARAMETER")
    );
    assert_eq!(shown["model_info"]["llama.context_length"], 512);
    assert_eq!(shown["model_info"]["tokenizer.ggml.tokens"], json!([]));
    assert_eq!(shown["details"]["format"], "gguf");
    assert!(shown["tensors"].as_array().unwrap().iter().any(|tensor| {
        *tensor == json!({ "name": "token_embd.weight", "type": "F32", "shape": [64, 512] })
    }));
    let verbose = json!({ "name": "mine", "verbose": true });
    let verbose = call(&story, "/api/show", verbose).await;
    assert_eq!(verbose["model_info"]["tokenizer.ggml.tokens"].as_array().unwrap().len(), 512);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_copied_replaced_and_deleted() {
    let story = Story::begin().await;
    let copy = json!({ "source": "stories260k", "destination": "me/second:v1" });
    call(&story, "/api/copy", copy).await;
    assert!(tags(&story).await.contains(&"me/second:v1".to_owned()));
    // A copy over a name replaces what it meant, while that answers too.
    let made = json!({ "model": "mine", "from": "stories260k", "stream": false,
        "parameters": { "num_predict": 2 } });
    call(&story, "/api/create", made).await;
    assert_eq!(call(&story, "/api/chat", asking("mine", json!({}))).await["eval_count"], 2);
    let copy = json!({ "source": "me/second:v1", "destination": "MINE" });
    call(&story, "/api/copy", copy).await;
    let five = json!({ "options": { "num_predict": 5 } });
    assert_eq!(call(&story, "/api/chat", asking("mine", five)).await["eval_count"], 5);
    let shown = call(&story, "/api/show", json!({ "model": "mine" })).await;
    assert_eq!(shown["parameters"], "");
    let body = json!({ "model": "mine" });
    let (status, _) = story.send_json(Method::DELETE, "/api/delete", body).await;
    assert_eq!(status, StatusCode::OK);
    for body in [json!({ "model": "me/second:v1" }), json!({ "name": "stories260k" })] {
        let (status, answer) = story.send_json(Method::DELETE, "/api/delete", body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    assert_eq!(tags(&story).await, ["hearth-guide:latest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_in_ollamas_words_and_changes_nothing() {
    let story = Story::begin().await;
    let before = tags(&story).await;
    for (method, path, body, status, words) in [
        (Method::DELETE, "/api/delete", json!({ "model": "gone" }), 404, "model 'gone' not found"),
        (Method::DELETE, "/api/delete", json!({ "model": "a b" }), 400, "name \"a b\" is invalid"),
        (Method::DELETE, "/api/delete", json!({ "model": "hearth-guide" }), 409, "Model"),
        (
            Method::POST,
            "/api/copy",
            json!({ "source": "gone", "destination": "x" }),
            404,
            "model \"gone\" not found",
        ),
        (
            Method::POST,
            "/api/copy",
            json!({ "source": "../x", "destination": "x" }),
            400,
            "source \"../x\" is invalid",
        ),
        (
            Method::POST,
            "/api/create",
            json!({ "model": "x" }),
            400,
            "neither 'from' or 'files' was specified",
        ),
        (
            Method::POST,
            "/api/create",
            json!({ "model": "../x", "from": "y" }),
            400,
            "invalid model name",
        ),
        (
            Method::POST,
            "/api/create",
            json!({ "model": "x", "from": "gone" }),
            404,
            "model 'gone' not found",
        ),
        (
            Method::POST,
            "/api/create",
            json!({ "model": "x", "from": "hearth-guide", "parameters": { "num_ctx": "8" } }),
            400,
            "option \"num_ctx\" must be of type integer",
        ),
        (Method::POST, "/api/show", json!({}), 400, "model is required"),
        (
            Method::POST,
            "/api/push",
            json!({ "model": "stories260k" }),
            403,
            "Models are not pushed to `registry.ollama.ai`; an admin may add it to hub.push_registries",
        ),
    ] {
        let (found, answer) = story.send_json(method, path, body.clone()).await;
        assert_eq!(found.as_u16(), status, "{body}: {answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.starts_with(words), "{body}: {error}");
    }
    assert_eq!(tags(&story).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_sent_becomes_a_model_and_a_wrong_one_does_not() {
    let story = Story::begin().await;
    let bytes = std::fs::read(models().join("stories260K-q8_0.gguf")).unwrap();
    let digest = hearth_hub::Digest::of(&bytes).to_string();
    let path = format!("/api/blobs/{digest}");
    assert_eq!(story.send_bytes(Method::HEAD, &path, Vec::new()).await.0, StatusCode::NOT_FOUND);
    let (status, answer) = story.send_bytes(Method::POST, &path, b"something else".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let words = format!("digest mismatch, expected \"{digest}\", got \"sha256:");
    assert!(answer["error"].as_str().unwrap().starts_with(&words), "{answer}");
    assert_eq!(story.send_bytes(Method::POST, &path, bytes.clone()).await.0, StatusCode::CREATED);
    assert_eq!(story.send_bytes(Method::POST, &path, bytes).await.0, StatusCode::OK);
    assert_eq!(story.send_bytes(Method::HEAD, &path, Vec::new()).await.0, StatusCode::OK);
    for bad in ["sha256:12", "sha256:../../x", "md5:00"] {
        let path = format!("/api/blobs/{}", bad.replace('/', "%2F"));
        let (status, _) = story.send_bytes(Method::POST, &path, Vec::new()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let made =
        json!({ "model": "sent", "files": { "a.gguf": digest }, "template": "{{ .Prompt }}" });
    let lines = story.text(Method::POST, "/api/create", made).await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], json!({ "status": "parsing GGUF" }));
    assert!(lines[1]["status"].as_str().unwrap().starts_with("creating new layer"), "{lines:?}");
    assert_eq!(lines[lines.len() - 1], json!({ "status": "success" }));
    let answer =
        call(&story, "/api/chat", asking("sent", json!({ "options": { "num_predict": 3 } }))).await;
    assert_eq!(answer["eval_count"], 3);
}
