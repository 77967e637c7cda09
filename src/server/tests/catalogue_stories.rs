//! The catalogue as its searchers see it.

use axum::http::StatusCode;
use hearth_store::UserRole;
use serde_json::{Value, json};

use super::Fixture;

#[tokio::test]
async fn a_search_tells_what_fits_and_where_it_comes_from() {
    let fixture = Fixture::new();
    let admin = fixture.token("root", UserRole::Admin).await;
    let answer = fixture.call(&admin, "GET", "/hearth/models/catalogue?q=gemma3", None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let answer = answer.json();
    assert_eq!((&answer["total"], &answer["next"]), (&json!(1), &Value::Null));
    let variants = answer["models"][0]["variants"].as_array().unwrap();
    let find = |name: &str| variants.iter().find(|variant| variant["name"] == name).unwrap();
    let (small, large) = (find("gemma3:4b"), find("gemma3:27b"));
    assert_eq!(small["source"], "hf.co/ggml-org/gemma-3-4b-it-GGUF:Q4_K_M");
    assert_eq!((&small["installed"], &small["fit"]["verdict"]), (&json!(false), &json!("fits")));
    assert_eq!(large["fit"]["verdict"], "too_large");
    assert_eq!(large["fit"]["need_bytes"], large["file_bytes"]);
}

#[tokio::test]
async fn pages_of_the_catalogue_are_bounded_and_join_up() {
    let fixture = Fixture::new();
    let admin = fixture.token("root", UserRole::Admin).await;
    let mut names = Vec::new();
    let mut offset = json!(0);
    while let Some(start) = offset.as_u64() {
        let path = format!("/hearth/models/catalogue?limit=7&offset={start}");
        let page = fixture.call(&admin, "GET", &path, None).await.json();
        let models = page["models"].as_array().unwrap();
        assert!((1..=7).contains(&models.len()), "{page}");
        names.extend(models.iter().map(|model| model["name"].as_str().unwrap().to_owned()));
        offset = page["next"].clone();
    }
    let whole = fixture.call(&admin, "GET", "/hearth/models/catalogue", None).await.json();
    let all = whole["models"].as_array().unwrap();
    assert_eq!(names.len(), all.len());
    assert!(all.iter().zip(&names).all(|(model, name)| model["name"] == *name));
    let long = "x".repeat(201);
    for bad in ["limit=0", "limit=101", "limit=x", "offset=-1", "colour=red", &format!("q={long}")]
    {
        let path = format!("/hearth/models/catalogue?{bad}");
        let answer = fixture.call(&admin, "GET", &path, None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let far = "/hearth/models/catalogue?offset=18446744073709551615";
    let page = fixture.call(&admin, "GET", far, None).await.json();
    assert_eq!((&page["models"], &page["next"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn the_description_names_what_may_be_asked() {
    let fixture = Fixture::new();
    let user = fixture.token("ann", UserRole::User).await;
    let document = fixture.call(&user, "GET", "/hearth/openapi.json", None).await.json();
    let parameters = &document["paths"]["/hearth/models/catalogue"]["get"]["parameters"];
    let names: Vec<&Value> = parameters.as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["q", "offset", "limit"]);
}
