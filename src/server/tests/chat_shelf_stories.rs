//! Stories of where chats are kept: folders, search, links, imports, prompts and presets.

use axum::http::StatusCode;
use hearth_store::UserRole;
use serde_json::{Value, json};

use super::scripted::whole;
use super::{Answer, Fixture};

struct Story {
    fixture: Fixture,
    token: String,
}

impl Story {
    async fn new() -> Story {
        let fixture = Fixture::new();
        let token = fixture.token("ann", UserRole::User).await;
        Story { fixture, token }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.fixture.call(&self.token, method, path, body).await
    }

    async fn chat(&self, question: &str) -> String {
        let made = self.call("POST", "/hearth/chats", Some(json!({ "model": "m" }))).await.json();
        let path = format!("/hearth/chats/{}", made["chat"]["id"].as_str().unwrap());
        self.fixture.backend.then(whole(&["So be it."]));
        let turn = Some(json!({ "content": question }));
        assert_eq!(self.call("POST", &format!("{path}/turns"), turn).await.status, StatusCode::OK);
        path
    }
}

#[tokio::test]
async fn chats_are_sorted_into_folders_pinned_put_away_and_found() {
    let story = Story::new().await;
    let path = story.chat("今天天气很好").await;
    let folder = story.call("POST", "/hearth/folders", Some(json!({ "name": " Work " }))).await;
    assert_eq!(folder.status, StatusCode::CREATED);
    let id = folder.json()["folder"]["id"].clone();
    assert_eq!(folder.json()["folder"]["name"], "Work");
    let moved = story.call("PATCH", &path, Some(json!({ "folder_id": id, "pinned": true }))).await;
    assert_eq!((&moved.json()["chat"]["folder_id"], moved.status), (&id, StatusCode::OK));
    let count = async |query: &str| {
        let listed = story.call("GET", &format!("/hearth/chats?{query}"), None).await.json();
        listed["chats"].as_array().unwrap().len()
    };
    let inside = format!("folder={}", id.as_str().unwrap());
    for (query, chats) in [("view=loose", 0), ("view=pinned", 1), (&inside, 1), ("view=all", 1)] {
        assert_eq!(count(query).await, chats, "{query}");
    }
    story.call("PATCH", &path, Some(json!({ "folder_id": null, "archived": true }))).await;
    assert_eq!((count("view=archived").await, count("view=all").await), (1, 0));
    let wrong = story.call("GET", "/hearth/chats?view=upside", None).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);

    let found = story.call("GET", "/hearth/chats/search?q=%E5%A4%A9%E6%B0%94", None).await.json();
    assert_eq!(found["hits"][0]["chat"]["archived"], true);
    assert!(found["hits"][0]["excerpt"].as_str().unwrap().contains("天气"));
    let bob = story.fixture.token("bob", UserRole::Admin).await;
    let path = "/hearth/chats/search?q=%E5%A4%A9%E6%B0%94";
    assert_eq!(story.fixture.call(&bob, "GET", path, None).await.json(), json!({ "hits": [] }));
}

#[tokio::test]
async fn a_link_lets_in_whom_it_is_for() {
    let story = Story::new().await;
    let path = story.chat("A question for all").await;
    let share = format!("{path}/share");
    assert_eq!(story.call("GET", &share, None).await.json(), json!({ "share": null }));
    let made = story.call("POST", &share, Some(json!({ "open": false }))).await.json();
    let id = made["share"]["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 32);
    let (open, shared) = (format!("/hearth/open/{id}"), format!("/hearth/shared/{id}"));
    let bob = story.fixture.token("bob", UserRole::User).await;
    assert_eq!(story.fixture.call("", "GET", &open, None).await.status, StatusCode::NOT_FOUND);
    let seen = story.fixture.call(&bob, "GET", &shared, None).await.json();
    assert_eq!(seen["messages"][0]["content"], "A question for all");
    assert!(seen["messages"][1].get("usage").is_none());
    story.call("POST", &share, Some(json!({ "open": true }))).await;
    assert_eq!(story.fixture.call("", "GET", &open, None).await.status, StatusCode::OK);
    let foreign = story.fixture.call(&bob, "DELETE", &share, None).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    story.call("DELETE", &share, None).await;
    assert_eq!(story.fixture.call(&bob, "GET", &shared, None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn foreign_chats_are_taken_in_under_new_ids_or_refused_one_by_one() {
    let story = Story::new().await;
    let message = |id: &str, parent: Value, role: &str| json!({ "id": id, "parent_id": parent, "role": role, "content": id, "created_at": 5 });
    let chat = |title: &str, messages: Value| {
        json!({
            "title": title, "created_at": 5, "updated_at": 6, "folder": "Old", "messages": messages,
        })
    };
    let good = json!([message("q", Value::Null, "user"), message("a", json!("q"), "assistant")]);
    let bad = json!([message("a", json!("q"), "assistant")]);
    let body =
        json!({ "chats": [chat("Good", good.clone()), chat("Bad", bad), chat("Two", good)] });
    let answer = story.call("POST", "/hearth/chats/import", Some(body)).await.json();
    assert_eq!((&answer["imported"], &answer["refused"][0]["title"]), (&json!(2), &json!("Bad")));
    let listed = story.call("GET", "/hearth/chats", None).await.json();
    assert_eq!(listed["chats"].as_array().unwrap().len(), 2);
    let path = format!("/hearth/chats/{}", listed["chats"][0]["id"].as_str().unwrap());
    let shown = story.call("GET", &path, None).await.json();
    assert_eq!(shown["messages"][1]["content"], "a");
    assert_ne!(shown["messages"][1]["id"], "a");
}

#[tokio::test]
async fn prompts_and_presets_are_kept_and_shared_by_admins_alone() {
    let story = Story::new().await;
    let prompt = json!({ "name": "short", "prompt": { "text": "Say it in one sentence." } });
    let made = story.call("POST", "/hearth/shelf", Some(prompt.clone())).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let again = story.call("POST", "/hearth/shelf", Some(prompt)).await;
    assert_eq!((again.status, again.code().as_str()), (StatusCode::CONFLICT, "name_taken"));
    let preset = json!({
        "name": "Careful", "audience": "all",
        "preset": { "model": "m", "settings": { "system": "Think twice." } },
    });
    let refused = story.call("POST", "/hearth/shelf", Some(preset.clone())).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let admin = story.fixture.token("root", UserRole::Admin).await;
    let kept = story.fixture.call(&admin, "POST", "/hearth/shelf", Some(preset)).await;
    assert_eq!(kept.status, StatusCode::CREATED);
    let items = story.call("GET", "/hearth/shelf", None).await.json()["items"].clone();
    let names: Vec<&str> =
        items.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Careful", "short"]);
    let path = format!("/hearth/shelf/{}", items[0]["id"].as_str().unwrap());
    assert_eq!(story.call("DELETE", &path, None).await.status, StatusCode::NOT_FOUND);
    for wrong in [
        json!({ "name": "two words", "prompt": { "text": "x" } }),
        json!({ "name": "x" }),
        json!({ "name": "x", "preset": { "settings": { "parameters": { "top_p": 2 } } } }),
    ] {
        let refused = story.call("POST", "/hearth/shelf", Some(wrong)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    }
}
