//! Money through the front door: quotas, budgets, prices, rate limits, usage and billing.

use axum::http::StatusCode;
use hearth_store::{Holder, UserRole};
use serde_json::{Value, json};

use super::scripted::{Script, text, whole};
use super::{Answer, Fixture};

/// A micro-dollar for each token of the prompt, ten for each of the answer.
const PRICE: [(&str, u64); 2] =
    [("input_micros_per_million", 1_000_000), ("output_micros_per_million", 10_000_000)];

/// Ann's API token, an admin's, and the model `m` with a price.
async fn priced() -> (Fixture, String, String) {
    let it = Fixture::new();
    let root = it.token("root", UserRole::Admin).await;
    let ann = it.token("ann", UserRole::User).await;
    let mut price = json!({ "model": "m" });
    for (key, value) in PRICE {
        price[key] = value.into();
    }
    let answer = it.call(&root, "PUT", "/hearth/prices", Some(price)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    (it, root, ann)
}

async fn set(it: &Fixture, root: &str, holder: &str, usd: &str) {
    let body = json!({ "action": "set", "usd": usd, "reason": "a test" });
    let answer = it.call(root, "PUT", &format!("/hearth/quota/{holder}"), Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

fn question(max_tokens: u32) -> Value {
    json!({
        "model": "m", "max_tokens": max_tokens,
        "messages": [{ "role": "user", "content": "x" }],
    })
}

async fn ask(it: &Fixture, token: &str, max_tokens: u32) -> Answer {
    it.call(token, "POST", "/v1/chat/completions", Some(question(max_tokens))).await
}

async fn assert_sound(it: &Fixture, root: &str) {
    let answer = it.call(root, "GET", "/hearth/doctor", None).await.json();
    assert_eq!(answer["ledger"]["problems"], json!([]), "{answer}");
    assert_eq!(answer["database"]["problems"], json!([]), "{answer}");
    assert_eq!(answer["ledger"]["holds"], 0);
}

#[tokio::test]
async fn every_dialect_says_in_its_own_words_that_the_quota_is_used_up() {
    let (it, root, ann) = priced().await;
    set(&it, &root, "user/ann", "0.00001").await;
    let answer = ask(&it, &ann, 20).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    let error = &answer.json()["error"];
    assert_eq!(error["type"], "insufficient_quota");
    assert_eq!(error["code"], "insufficient_quota");
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("You exceeded your current quota, please check"), "{message}");
    assert_eq!(answer.headers["x-should-retry"], "false");
    assert!(!answer.headers.contains_key("retry-after"));

    let answer = it.call(&ann, "POST", "/v1/messages", Some(question(20))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let error = &answer.json()["error"];
    assert_eq!(error["type"], "invalid_request_error");
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("Your credit balance is too low"), "{message}");

    let body = json!({ "model": "m", "input": "x", "max_output_tokens": 20 });
    let answer = it.call(&ann, "POST", "/v1/responses", Some(body)).await;
    assert_eq!(answer.json()["error"]["code"], "insufficient_quota");

    let body = json!({ "model": "m", "prompt": "x", "options": { "num_predict": 20 } });
    let answer = it.call(&ann, "POST", "/api/generate", Some(body)).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.json()["error"].as_str().unwrap().starts_with("You exceeded your current"));
    assert_sound(&it, &root).await;
}

#[tokio::test]
async fn of_two_hundred_calls_at_once_a_balance_for_ten_pays_exactly_ten() {
    let (it, root, ann) = priced().await;
    // 3 + 2 × 10 for each, and not quite enough for an eleventh.
    set(&it, &root, "user/ann", "0.000252").await;
    for _ in 0..10 {
        it.backend.then(whole(&["a", "b"]));
    }
    let it = std::sync::Arc::new(it);
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let (it, ann) = (std::sync::Arc::clone(&it), ann.clone());
            tokio::spawn(async move { ask(&it, &ann, 2).await })
        })
        .collect();
    let (mut paid, mut short) = (0, 0);
    for call in calls {
        let answer = call.await.unwrap();
        match answer.status {
            StatusCode::OK => paid += 1,
            StatusCode::TOO_MANY_REQUESTS => {
                let code = answer.json()["error"]["code"].as_str().unwrap().to_owned();
                short += u32::from(code == "insufficient_quota");
                assert!(["insufficient_quota", "rate_limit_exceeded"].contains(&code.as_str()));
            }
            other => panic!("{other}: {}", answer.text),
        }
    }
    assert_eq!(paid, 10);
    assert!(short > 0);
    let wallet = it.call(&root, "GET", "/hearth/quota/user/ann", None).await.json();
    assert_eq!(wallet["wallet"]["remaining_micros"], 22);
    assert_eq!(wallet["wallet"]["used_micros"], 230);
    assert_sound(&it, &root).await;
}

#[tokio::test]
async fn a_token_with_a_quota_spends_it_and_its_owner_pays_too() {
    let (it, root, ann) = priced().await;
    let body = json!({ "name": "small", "quota_usd": "0.00005" });
    let made = it.call(&ann, "POST", "/hearth/tokens", Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let small = made.json()["secret"].as_str().unwrap().to_owned();
    it.backend.then(whole(&["a", "b"]));
    assert_eq!(ask(&it, &small, 2).await.status, 200);
    it.backend.then(whole(&["a", "b"]));
    assert_eq!(ask(&it, &small, 2).await.status, 200);
    let refused = ask(&it, &small, 2).await;
    assert_eq!(refused.json()["error"]["code"], "insufficient_quota");
    assert!(refused.text.contains("this API token has $0.000004 left"), "{}", refused.text);
    it.backend.then(whole(&["a", "b"]));
    assert_eq!(ask(&it, &ann, 2).await.status, 200, "the owner's other token is not bound");

    let info = it.call(&small, "GET", "/v1/usage/token/", None).await.json();
    let data = &info["data"];
    assert_eq!((&info["code"], &data["name"]), (&json!(true), &json!("small")));
    assert_eq!((&data["total_granted"], &data["total_used"]), (&json!(25), &json!(23)));
    assert_eq!((&data["total_available"], &data["unlimited_quota"]), (&json!(2), &json!(false)));
    let path = "/v1/dashboard/billing/subscription";
    let bill = it.call(&small, "GET", path, None).await.json();
    assert_eq!(bill["object"], "billing_subscription");
    assert_eq!(bill["hard_limit_usd"], 0.00005);
    let bill = it.call(&ann, "GET", path, None).await.json();
    assert_eq!(bill["hard_limit_usd"], 100_000_000.0);
    let used = it.call(&small, "GET", "/v1/dashboard/billing/usage", None).await.json();
    assert_eq!((&used["object"], &used["total_usage"]), (&json!("list"), &json!(0.0046)));
    let never = "/dashboard/billing/usage?start_date=2026-01-01&end_date=2026-01-31";
    assert_eq!(it.call(&small, "GET", never, None).await.json()["total_usage"], 0.0);

    let bad = json!({ "name": "bad", "quota_usd": "-1" });
    let refused = it.call(&ann, "POST", "/hearth/tokens", Some(bad)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_sound(&it, &root).await;
}

#[tokio::test]
async fn nobody_changes_what_others_or_they_themselves_may_spend_but_admins() {
    let (it, root, ann) = priced().await;
    let bob = it.token("bob", UserRole::User).await;
    let body = || Some(json!({ "action": "set", "usd": "1000000" }));
    for holder in ["user/ann", "user/bob", "user/nobody", "group/1", "user/1"] {
        let path = format!("/hearth/quota/{holder}");
        for (method, body) in [("PUT", body()), ("GET", None)] {
            let answer = it.call(&bob, method, &path, body).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {holder}");
        }
    }
    // Of API tokens the own ones can be held down, foreign and absent ones are not found.
    let tokens = it.store.api_tokens().list_all(None, 10).await.unwrap();
    let id = |user: &str| tokens.iter().find(|token| token.user == user).unwrap().id.0;
    for (token, status) in [(id("bob"), 200), (id("ann"), 404), (9_999, 404)] {
        let path = format!("/hearth/tokens/{token}/quota");
        let answer = it.call(&bob, "PUT", &path, body()).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(it.call(&bob, "GET", &path, None).await.status, status);
    }
    // A token with limits does not lift its own.
    let new = json!({ "name": "held", "quota_usd": "0", "models": ["m"] });
    let held = it.call(&bob, "POST", "/hearth/tokens", Some(new)).await.json();
    let path = format!("/hearth/tokens/{}/quota", held["token"]["id"]);
    let secret = held["secret"].as_str().unwrap();
    assert_eq!(it.call(secret, "PUT", &path, body()).await.status, StatusCode::FORBIDDEN);
    for (method, path) in [
        ("GET", "/hearth/quota"),
        ("GET", "/hearth/budgets"),
        ("GET", "/hearth/limits"),
        ("GET", "/hearth/doctor"),
        ("DELETE", "/hearth/prices?model=m"),
        ("DELETE", "/hearth/budgets/1"),
    ] {
        assert_eq!(it.call(&ann, method, path, None).await.status, 403, "{method} {path}");
        assert_eq!(it.call("", method, path, None).await.status, 401, "{method} {path}");
    }
    let wallet = it.store.ledger().wallet(Holder::User(hearth_store::UserId(2))).await.unwrap();
    assert_eq!(wallet, None);
    let _ = root;
}

#[tokio::test]
async fn what_is_no_amount_no_holder_and_no_zone_is_refused_with_a_sentence() {
    let (it, root, _) = priced().await;
    let change = |usd: &str| json!({ "action": "set", "usd": usd });
    let budget = |holder: &str, most: Value, zone: &str| {
        json!({
            "kind": "user", "holder": holder, "period": "day", "unit": "money", "most": most,
            "time_zone": zone,
        })
    };
    let limit = |holder: &str| json!({ "kind": "user", "holder": holder, "concurrent": 1 });
    let price =
        |model: &str, micros: Value| json!({ "model": model, "input_micros_per_million": micros });
    for (path, body, status) in [
        ("/hearth/quota/user/ann", change("1e3"), 400),
        ("/hearth/quota/user/ann", change("0.0000001"), 400),
        ("/hearth/quota/user/ann", change("1000000001"), 400),
        ("/hearth/quota/user/ann", json!({ "action": "add" }), 400),
        ("/hearth/quota/user/ann", json!({ "action": "unlimited", "usd": "1" }), 400),
        ("/hearth/quota/user/ann", json!({ "action": "set", "usd": "1", "more": 1 }), 400),
        ("/hearth/quota/user/nobody", change("1"), 404),
        ("/hearth/quota/user/999", change("1"), 404),
        ("/hearth/quota/moon/1", change("1"), 400),
        ("/hearth/quota/token/x", change("1"), 404),
        ("/hearth/budgets", budget("ann", json!(1), "Mars/Olympus"), 400),
        ("/hearth/budgets", budget("ann", json!(-1), "UTC"), 400),
        ("/hearth/budgets", budget("ann", json!(u64::MAX), "UTC"), 400),
        ("/hearth/budgets", budget("nobody", json!(1), "UTC"), 404),
        ("/hearth/limits", limit("ann"), 400),
        ("/hearth/limits", json!({ "kind": "user", "holder": "1" }), 400),
        ("/hearth/prices", price("", json!(1)), 400),
        ("/hearth/prices", price("m\r\nx", json!(1)), 400),
        ("/hearth/prices", price("m", json!(-1)), 400),
        ("/hearth/prices", price("m", json!(1_000_000_000_000_001_u64)), 400),
    ] {
        let answer = it.call(&root, "PUT", path, Some(body.clone())).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text);
        assert!(answer.json()["error"]["message"].as_str().unwrap().ends_with('.'));
    }
    for path in [
        "/hearth/usage?since=x",
        "/hearth/usage?before=x",
        "/hearth/usage?unknown=1",
        "/hearth/usage/summary?by=moon",
        "/hearth/usage/summary?time_zone=Mars",
        "/hearth/usage/summary?since=5&until=5",
        "/hearth/usage/summary?since=-9223372036854775808&until=9223372036854775807",
        "/hearth/usage/summary?period=day&since=0&until=1000000000",
        "/hearth/quota?after=x",
    ] {
        assert_eq!(it.call(&root, "GET", path, None).await.status, 400, "{path}");
    }
}

#[tokio::test]
async fn budgets_and_limits_bind_as_they_are_set_and_are_told() {
    let (it, root, ann) = priced().await;
    let body = json!({
        "kind": "user", "holder": "ann", "period": "month", "unit": "money", "most": 30,
        "time_zone": "europe/berlin",
    });
    let set = it.call(&root, "PUT", "/hearth/budgets", Some(body)).await.json();
    assert_eq!(set["budget"]["time_zone"], "Europe/Berlin");
    let limit = json!({ "kind": "user", "holder": "*", "requests_per_minute": 3 });
    it.call(&root, "PUT", "/hearth/limits", Some(limit)).await;
    it.backend.then(whole(&["a", "b"]));
    let answer = ask(&it, &ann, 2).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["x-ratelimit-limit-requests"], "3");
    assert_eq!(answer.headers["x-ratelimit-remaining-requests"], "2");
    let mine = it.call(&ann, "GET", "/hearth/me/budget", None).await.json();
    assert_eq!(mine["budget"]["money_micros"], 7);
    assert_eq!(mine["budget"]["budgets"][0]["used"], 23);
    let refused = ask(&it, &ann, 2).await;
    assert!(refused.text.contains("your account has $0.000007 left this month"));
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(wait >= 1);
    let id = set["budget"]["id"].clone();
    let path = format!("/hearth/budgets/{id}");
    assert_eq!(it.call(&root, "DELETE", &path, None).await.status, 204);
    assert_eq!(it.call(&root, "DELETE", &path, None).await.status, 404);
    it.backend.then(whole(&["a", "b"]));
    assert_eq!(ask(&it, &ann, 2).await.status, 200);
    let refused = ask(&it, &ann, 2).await;
    assert_eq!(refused.status, 429);
    let error = &refused.json()["error"];
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("requests"), &json!("rate_limit_exceeded"))
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("(RPM): Limit 3, Used 3, Requested 1"), "{message}");
    assert_eq!(refused.headers["x-ratelimit-remaining-requests"], "0");
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    let refused = it.call(&ann, "POST", "/v1/messages", Some(question(2))).await;
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
    assert_eq!(refused.headers["anthropic-ratelimit-requests-remaining"], "0");
}

#[tokio::test]
async fn usage_is_listed_summed_and_written_as_csv_and_nobody_sees_anothers() {
    let (it, root, ann) = priced().await;
    let bob = it.token("bob", UserRole::User).await;
    for (token, count) in [(&ann, 3), (&bob, 1)] {
        for _ in 0..count {
            it.backend.then(whole(&["a", "b"]));
            assert_eq!(ask(&it, token, 2).await.status, 200);
        }
    }
    let first = it.call(&ann, "GET", "/hearth/usage?limit=2", None).await.json();
    assert_eq!(first["usage"].as_array().unwrap().len(), 2);
    let row = &first["usage"][0];
    assert_eq!((&row["user"], &row["model"]), (&json!("ann"), &json!("m")));
    assert_eq!((&row["cost_micros"], &row["outcome"]), (&json!(23), &json!("complete")));
    let next = format!("/hearth/usage?limit=2&before={}", first["next"].as_str().unwrap());
    let second = it.call(&ann, "GET", &next, None).await.json();
    assert_eq!(second["usage"].as_array().unwrap().len(), 1);
    assert_eq!(second["next"], Value::Null);
    let of_bob = it.store.users().by_name("bob").await.unwrap().unwrap().id.0;
    let others = format!("/hearth/usage?user_id={of_bob}");
    assert_eq!(it.call(&ann, "GET", &others, None).await.status, 404);
    let all = it.call(&root, "GET", "/hearth/usage", None).await.json();
    assert_eq!(all["usage"].as_array().unwrap().len(), 4);
    let path = format!("/hearth/usage?request_id={}", row["request_id"].as_str().unwrap());
    let one = it.call(&ann, "GET", &path, None).await.json();
    assert_eq!(one["usage"], json!([row]));

    let csv = it.call(&ann, "GET", "/hearth/usage?format=csv", None).await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    let lines: Vec<&str> = csv.text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("time,id,request_id,user_id,user,"), "{}", lines[0]);
    assert!(lines[1].contains(",ann,") && lines[1].contains(",0.000023,"), "{}", lines[1]);
    assert!(!csv.text.contains("bob"));

    let path = "/hearth/usage/summary?by=user&period=day&since=900000&until=1100000";
    let sums = it.call(&root, "GET", path, None).await.json();
    let day = sums["spans"].as_array().unwrap().iter().find(|span| span["sums"] != json!([]));
    let day = day.unwrap();
    assert_eq!(day["start"], 950_400, "the day of the clock's 1,000,000");
    let names: Vec<_> = day["sums"].as_array().unwrap().iter().map(|sum| &sum["name"]).collect();
    assert_eq!(names, [&json!("ann"), &json!("bob")], "the one who spent most comes first");
    assert_eq!(day["sums"][0]["cost_micros"], 69);
    assert_eq!(day["sums"][0]["requests"], 3);
    let own = it.call(&ann, "GET", "/hearth/usage/summary?since=0", None).await.json();
    assert_eq!(own["spans"][0]["sums"][0]["requests"], 3);
    for by in ["token", "group", "model", "channel"] {
        let path = format!("/hearth/usage/summary?since=0&by={by}&time_zone=Asia/Kolkata");
        let sums = it.call(&root, "GET", &path, None).await.json();
        let total: u64 = sums["spans"][0]["sums"]
            .as_array()
            .unwrap()
            .iter()
            .map(|sum| sum["requests"].as_u64().unwrap())
            .sum();
        assert_eq!(total, 4, "{by}: {sums}");
    }
}

#[tokio::test]
async fn a_stream_whose_payer_has_nothing_left_ends_as_at_a_limit() {
    let (it, root, ann) = priced().await;
    set(&it, &root, "user/ann", "0.000035").await;
    let mut said = vec![super::scripted::started()];
    said.extend((0..100).map(|_| text("word ")));
    it.backend.then(Script::SayAndHang(said));
    let body = json!({
        "model": "m", "stream": true, "messages": [{ "role": "user", "content": "x" }],
    });
    let answer = it.call(&ann, "POST", "/v1/chat/completions", Some(body)).await;
    assert_eq!(answer.text.matches("word ").count(), 3, "3 + 3 × 10 of 35");
    assert!(answer.text.contains("\"finish_reason\":\"length\""), "{}", answer.text);
    assert!(answer.text.trim_end().ends_with("[DONE]"));
    it.backend.wait_for_cancelled(1).await;
    let mine = it.call(&ann, "GET", "/hearth/me/budget", None).await.json();
    assert_eq!(mine["budget"]["money_micros"], 2);
    assert_sound(&it, &root).await;
}
