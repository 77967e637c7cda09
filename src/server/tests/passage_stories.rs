//! Pictures, sound and moderation over HTTP: through a channel, paid for once, refused in OpenAI's
//! words.

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;

use super::*;

/// A provider that draws, listens, speaks and judges.
async fn upstream() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/v1/images/generations", post(draw))
        .route("/v1/audio/transcriptions", post(listen))
        .route("/v1/audio/speech", post(speak))
        .route("/v1/moderations", post(judge));
    tokio::spawn(async move { axum::serve(listener, router).await });
    base_url
}

async fn draw(Json(body): Json<Value>) -> Response {
    if body["prompt"] == "rude" {
        let error = json!({ "message": "Not that.", "code": "content_policy_violation" });
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    }
    Json(json!({ "created": 1, "data": [{ "b64_json": "AA==" }, { "b64_json": "AB==" }] }))
        .into_response()
}

/// Says how long the recording was, if it came as a form; a model named `half` breaks off.
async fn listen(headers: HeaderMap, body: Bytes) -> Response {
    assert!(headers["content-type"].to_str().unwrap().starts_with("multipart/form-data"));
    let text = String::from_utf8_lossy(&body);
    if !text.contains("name=\"stream\"") {
        return Json(json!({ "text": format!("{} bytes", body.len()) })).into_response();
    }
    let event = |event: Value| format!("data: {event}\n\n");
    let half = event(json!({ "type": "transcript.text.delta", "delta": "hal" }));
    let usage = json!({ "input_tokens": 14, "output_tokens": 45, "total_tokens": 59 });
    let end = event(json!({ "type": "transcript.text.done", "text": "half", "usage": usage }));
    let whole = if text.contains("half") { half } else { format!("{half}{end}") };
    ([("content-type", "text/event-stream")], whole).into_response()
}

async fn speak(Json(body): Json<Value>) -> Response {
    assert_eq!(body["model"], "tts-own");
    ([("content-type", "audio/mpeg")], vec![255_u8; 100_000]).into_response()
}

async fn judge(Json(body): Json<Value>) -> Response {
    Json(json!({ "id": "j", "model": body["model"], "results": [{ "flagged": false }] }))
        .into_response()
}

async fn channel(it: &Fixture) -> String {
    let root = it.token("root", UserRole::Admin).await;
    let spec = json!({
        "name": "cloud", "type": "openai-compatible", "base_url": upstream().await,
        "keys": ["sk-upstream-0123456789"],
        "settings": {
            "models": ["draw", "listen", "half", "omni-moderation-latest"],
            "model_mapping": { "say": "tts-own" },
            "network": { "allow_private": ["127.0.0.1"] },
        },
    });
    let made = it.call(&root, "POST", "/hearth/channels", Some(spec)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    root
}

fn recording(token: &str, model: &str, is_stream: bool) -> Request<Body> {
    let mut body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
         Content-Type: audio/wav\r\n\r\nRIFF0000\r\n"
    );
    if is_stream {
        body += "--b\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n";
    }
    Request::builder()
        .method("POST")
        .uri("/v1/audio/transcriptions")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "multipart/form-data; boundary=b")
        .body(Body::from(format!("{body}--b--\r\n")))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_paid_for_by_the_piece_and_once() {
    let it = Fixture::new();
    let root = channel(&it).await;
    let ann = it.token("ann", UserRole::User).await;
    let price = json!({ "model": "draw", "call_micros": 40_000 });
    let set = it.call(&root, "PUT", "/hearth/prices", Some(price)).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    let grant = json!({ "action": "set", "usd": "0.10", "reason": "a test" });
    it.call(&root, "PUT", "/hearth/quota/user/ann", Some(grant)).await;

    let rude = json!({ "model": "draw", "prompt": "rude", "n": 2 });
    let refused = it.call(&ann, "POST", "/v1/images/generations", Some(rude)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
    assert_eq!(refused.json()["error"]["type"], "invalid_request_error");
    // What was set aside comes back right behind the refusal.
    let holds = async || {
        it.call(&root, "GET", "/hearth/doctor", None).await.json()["ledger"]["holds"].clone()
    };
    while holds().await != json!(0) {}
    let asked = json!({ "model": "draw", "prompt": "a cat", "n": 2 });
    let drawn = it.call(&ann, "POST", "/v1/images/generations", Some(asked.clone())).await;
    assert_eq!(drawn.status, StatusCode::OK, "{}", drawn.text);
    assert_eq!(drawn.json()["data"][1]["b64_json"], "AB==");
    let short = it.call(&ann, "POST", "/v1/images/generations", Some(asked)).await;
    assert_eq!(short.json()["error"]["code"], "insufficient_quota", "{}", short.text);

    let usage = it.call(&ann, "GET", "/hearth/usage", None).await.json();
    let rows = usage["usage"].as_array().unwrap_or_else(|| panic!("{usage}"));
    assert_eq!(rows.len(), 1, "what was refused costs nothing: {usage}");
    assert_eq!((&rows[0]["model"], &rows[0]["outcome"]), (&json!("draw"), &json!("complete")));
    let doctor = it.call(&root, "GET", "/hearth/doctor", None).await.json();
    assert_eq!(doctor["ledger"]["problems"], json!([]), "{doctor}");
    assert_eq!(doctor["ledger"]["holds"], 0, "{doctor}");
    let left = it.call(&root, "GET", "/hearth/quota/user/ann", None).await.json();
    assert_eq!(left["wallet"]["used_micros"], 80_000, "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_judgements_pass_both_ways() {
    let it = Fixture::new();
    let root = channel(&it).await;
    let heard = it.send(recording(&root, "listen", false)).await;
    assert_eq!(heard.status, StatusCode::OK, "{}", heard.text);
    assert!(heard.json()["text"].as_str().unwrap().ends_with(" bytes"), "{}", heard.text);
    let heard = it.send(recording(&root, "listen", true)).await;
    assert_eq!(heard.headers["content-type"], "text/event-stream");
    assert!(heard.text.contains("event: transcript.text.done\ndata: {"), "{}", heard.text);
    let broken = it.send(recording(&root, "half", true)).await;
    assert!(broken.text.contains("hal"), "{}", broken.text);
    assert!(broken.text.contains("event: error\ndata: {\"error\":{"), "{}", broken.text);

    let ask = json!({ "model": "say", "input": "hello", "voice": "alloy" });
    let response = request(&root, "POST", "/v1/audio/speech", Some(ask));
    let said = it.router.clone().oneshot(response).await.unwrap();
    assert_eq!(said.headers()["content-type"], "audio/mpeg");
    let sound = said.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(sound.len(), 100_000);
    let judged = it.call(&root, "POST", "/v1/moderations", Some(json!({ "input": "hi" }))).await;
    assert_eq!(judged.json()["results"][0]["flagged"], false, "{}", judged.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_pass_is_refused_in_openais_words() {
    let it = Fixture::new();
    let root = channel(&it).await;
    let ask = |model: &str| Some(json!({ "model": model, "prompt": "x", "input": "x" }));
    let absent = it.call(&root, "POST", "/v1/images/generations", ask("nothing")).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND, "{}", absent.text);
    assert_eq!(absent.json()["error"]["code"], "model_not_found");
    // It runs here, and draws nothing.
    let local = it.call(&root, "POST", "/v1/images/generations", ask("m")).await;
    assert_eq!(local.status, StatusCode::BAD_REQUEST, "{}", local.text);
    assert_eq!(local.json()["error"]["param"], "model");
    for path in ["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/variations"] {
        let refused = it.call(&root, "POST", path, ask("listen")).await;
        assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
    }
    let odd = it.call(&root, "POST", "/v1/audio/speech", Some(json!({ "input": "x" }))).await;
    assert_eq!(odd.json()["error"]["param"], "model", "{}", odd.text);
    assert_eq!(it.send(recording("", "listen", false)).await.status, StatusCode::UNAUTHORIZED);
}
