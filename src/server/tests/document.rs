//! The document of the API, from which the web app's client is generated.

use hearth_store::UserRole;
use serde_json::Value;

use super::Fixture;

/// What `npm run api` in web/ reads.
const COPY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/openapi.json");

#[tokio::test]
async fn the_web_app_is_generated_from_the_document_as_it_is() {
    let fixture = Fixture::new();
    let user = fixture.token("bo", UserRole::User).await;
    let mut document = fixture.call(&user, "GET", "/hearth/openapi.json", None).await.json();
    // A new version alone changes no shape.
    document["info"]["version"] = Value::from("as the server");
    let text = format!("{document:#}\n");
    if std::env::var_os("HEARTH_UPDATE").is_some() {
        std::fs::write(COPY, &text).unwrap();
    }
    let copy = std::fs::read_to_string(COPY).unwrap_or_default();
    assert!(
        copy == text,
        "web/openapi.json is out of date; run `HEARTH_UPDATE=1 cargo test -p hearth-server \
         the_web_app_is_generated`, then `npm run api` in web/"
    );
}
