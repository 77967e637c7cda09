//! Routes × roles × owners: nobody reaches what is not theirs, by any door.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use hearth_store::UserRole;
use serde_json::{Value, json};

use super::{Answer, Fixture, PASSWORD};
use crate::Access;

/// One who knocks: what they are and what they show.
struct Knocker {
    what: &'static str,
    /// As high a door as they may open.
    rank: u8,
    token: Option<String>,
    cookie: Option<String>,
}

impl Knocker {
    async fn knock(
        &self,
        fixture: &Fixture,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("sec-fetch-site", "same-origin");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        fixture.send(request.unwrap()).await
    }

    fn may(&self, access: Access) -> bool {
        match access {
            Access::Anyone => true,
            Access::User => self.rank >= 1,
            Access::Person => self.cookie.is_some(),
            Access::Admin => self.rank >= 2,
            Access::Operator => self.rank >= 4,
        }
    }
}

async fn cookie(fixture: &Fixture, name: &str) -> String {
    let body = json!({ "name": name, "password": PASSWORD });
    let answer = fixture.call("", "POST", "/hearth/session", Some(body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// The owner comes first: the first admin is one.
async fn knockers(fixture: &Fixture) -> Vec<Knocker> {
    let owner = fixture.token("olga", UserRole::Admin).await;
    let admin = fixture.token("adam", UserRole::Admin).await;
    let user = fixture.token("ann", UserRole::User).await;
    let by_token = |what, rank, token| Knocker { what, rank, token, cookie: None };
    let mut all = vec![
        by_token("nobody", 0, None),
        by_token("a wrong token", 0, Some("sk-hearth-wrong".to_owned())),
        by_token("a user", 1, Some(user)),
        by_token("an admin", 2, Some(admin)),
        by_token("the owner", 3, Some(owner)),
        by_token("the operator", 4, Some(fixture.control())),
    ];
    for (what, rank, name) in [("a user's browser", 1, "ann"), ("the owner's browser", 3, "olga")] {
        let cookie = Some(cookie(fixture, name).await);
        all.push(Knocker { what, rank, token: None, cookie });
    }
    all
}

fn filled(path: &str) -> String {
    path.replace("{id}", "999999").replace("{name}", "absent").replace("{*id}", "absent")
}

#[tokio::test]
async fn every_route_is_open_to_those_its_entry_names_and_to_nobody_else() {
    let fixture = Fixture::new();
    let knockers = knockers(&fixture).await;
    for route in crate::list() {
        // These end the session with which the next route is tried.
        if route.method == "DELETE" && ["/hearth/session", "/hearth/sessions"].contains(&route.path)
        {
            continue;
        }
        for who in &knockers {
            // Without a body, nothing is changed by those who are let in.
            let answer = who.knock(&fixture, route.method, &filled(route.path), None).await;
            let context =
                format!("{} {} by {}: {}", route.method, route.path, who.what, answer.text);
            assert!(answer.status.as_u16() != 500, "{context}");
            let wanted = match (who.may(route.access), who.rank) {
                (false, 0) => Some(StatusCode::UNAUTHORIZED),
                (false, _) => Some(StatusCode::FORBIDDEN),
                (true, _) => None,
            };
            match wanted {
                Some(wanted) => assert_eq!(answer.status, wanted, "{context}"),
                None => {
                    assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{context}");
                    let is_operator = who.rank == 4;
                    assert!(is_operator || answer.status != StatusCode::FORBIDDEN, "{context}");
                }
            }
        }
    }
}

/// Ids of rows that belong to Ann, by the kind of row.
async fn anns_rows(fixture: &Fixture, ann: &Knocker) -> [(&'static str, String); 3] {
    let chat = json!({ "model": "m" });
    let chat = ann.knock(fixture, "POST", "/hearth/chats", Some(&chat)).await.json();
    let token = json!({ "name": "hers" });
    let token = ann.knock(fixture, "POST", "/hearth/tokens", Some(&token)).await.json();
    let sessions = ann.knock(fixture, "GET", "/hearth/sessions", None).await.json();
    [
        ("/hearth/chats/", chat["chat"]["id"].as_str().unwrap().to_owned()),
        ("/hearth/tokens/", token["token"]["id"].to_string()),
        ("/hearth/sessions/", sessions["current"].as_str().unwrap().to_owned()),
    ]
}

#[tokio::test]
async fn a_foreign_row_and_an_absent_one_are_the_same_404() {
    let fixture = Fixture::new();
    let knockers = knockers(&fixture).await;
    let ann = knockers.iter().find(|who| who.what == "a user's browser").unwrap();
    let bob = fixture.token("bob", UserRole::User).await;
    let bob = Knocker { what: "another user", rank: 1, token: Some(bob), cookie: None };
    for (root, id) in anns_rows(&fixture, ann).await {
        let routes = crate::list()
            .into_iter()
            .filter(|route| route.path.starts_with(root) && route.path.contains("{id}"));
        for route in routes {
            let body = match (route.method, route.path) {
                ("PATCH", "/hearth/chats/{id}") => Some(json!({ "title": "mine" })),
                ("POST", "/hearth/chats/{id}/turns") => {
                    Some(json!({ "model": "m", "content": "x" }))
                }
                ("POST", "/hearth/chats/{id}/share") => Some(json!({ "open": true })),
                ("PUT", _) => Some(json!({ "action": "set", "usd": "1" })),
                ("PATCH" | "POST", _) => Some(json!({})),
                _ => None,
            };
            let mut answers = Vec::new();
            for id in [id.as_str(), "999999"] {
                let path = route.path.replace("{id}", id);
                let answer = bob.knock(&fixture, route.method, &path, body.as_ref()).await;
                answers.push((
                    answer.status,
                    answer.code(),
                    answer.json()["error"]["message"].clone(),
                ));
            }
            assert_eq!(answers[0].0, StatusCode::NOT_FOUND, "{} {}", route.method, route.path);
            assert_eq!(answers[0], answers[1], "{} {}", route.method, route.path);
        }
        // The rows are still there, and are their owner's.
        if root == "/hearth/chats/" {
            let own = ann.knock(&fixture, "GET", &format!("{root}{id}"), None).await;
            assert_eq!(own.status, StatusCode::OK);
        }
    }
    let own = ann.knock(&fixture, "GET", "/hearth/session", None).await;
    assert_eq!(own.status, StatusCode::OK, "nobody ended her session");
}

#[tokio::test]
async fn nobody_makes_more_of_themselves_by_fields_that_are_not_theirs() {
    let fixture = Fixture::new();
    let knockers = knockers(&fixture).await;
    let owner = knockers.iter().find(|who| who.what == "the owner's browser").unwrap();
    let ann = knockers.iter().find(|who| who.what == "a user's browser").unwrap();
    for extra in ["role", "is_owner", "disabled", "group", "limits", "id", "quota", "password"] {
        let mut body = json!({ "theme": "dark" });
        body[extra] = json!("owner");
        let answer = ann.knock(&fixture, "PATCH", "/hearth/me", Some(&body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{extra}: {}", answer.text);
    }
    // Every body of our own API refuses a field that it does not know.
    let described = owner.knock(&fixture, "GET", "/hearth/openapi.json", None).await.json();
    let mut checked = 0;
    for route in crate::list().iter().filter(|route| route.path.starts_with("/hearth/")) {
        let described = &described["paths"][route.path][route.method.to_lowercase()];
        // A merge patch is read against the channel that it changes: without one it is a 404.
        let json = &described["requestBody"]["content"]["application/json"];
        if json.is_null() || route.path == "/hearth/channels/{id}" {
            continue;
        }
        let body = json!({ "no_such_field": 1 });
        let who = if owner.may(route.access) { owner } else { &knockers[5] };
        let path = filled(route.path);
        let answer = who.knock(&fixture, route.method, &path, Some(&body)).await;
        let context = format!("{} {}: {}", route.method, route.path, answer.text);
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{context}");
        assert!(answer.text.contains("no_such_field"), "{context}");
        checked += 1;
    }
    assert!(checked > 20, "{checked} bodies");
}

#[tokio::test]
async fn a_bad_credential_is_bad_whatever_header_and_dialect_it_comes_with() {
    let fixture = Fixture::new();
    let good = fixture.token("ann", UserRole::User).await;
    let disabled = fixture.token("off", UserRole::User).await;
    let users = fixture.store.users();
    let off = users.by_name("off").await.unwrap().unwrap();
    let change = hearth_store::UserChange { disabled: Some(true), ..Default::default() };
    users.update(off.id, change).await.unwrap();
    let (expired, rotated) = {
        let operator = hearth_gateway::caller::Caller::operator();
        let new = hearth_gateway::accounts::NewToken {
            name: "t".to_owned(),
            user: Some("ann".to_owned()),
            ..Default::default()
        };
        let (first, old) = fixture.accounts.create_token(&operator, new.clone()).await.unwrap();
        fixture.accounts.rotate_token(&operator, first.id, 0).await.unwrap();
        let (second, ended) = fixture.accounts.create_token(&operator, new).await.unwrap();
        let change =
            hearth_store::ApiTokenChange { expires_at: Some(Some(1)), ..Default::default() };
        fixture.store.api_tokens().update(second.id, None, change).await.unwrap();
        (ended.reveal().to_owned(), old.reveal().to_owned())
    };
    for path in ["/v1/models", "/api/tags", "/hearth/chats", "/hearth/session"] {
        for secret in [disabled.as_str(), &expired, &rotated, "sk-hearth-nobody", "x\u{e9}"] {
            for header in ["authorization", "x-api-key", "x-goog-api-key"] {
                let value = match header {
                    "authorization" => format!("Bearer {secret}"),
                    _ => secret.to_owned(),
                };
                let request = Request::get(path)
                    .header("host", "localhost")
                    .header(header, value)
                    .body(Body::empty())
                    .unwrap();
                let status = fixture.send(request).await.status;
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} {header} {secret}");
            }
        }
        let answer = fixture.call(&good, "GET", path, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
}
