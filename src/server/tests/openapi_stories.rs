//! The description of our own API can be read by machines.

use hearth_store::UserRole;
use serde_json::Value;

use super::Fixture;

/// Every `$ref` of a document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_parameter_has_a_schema_and_every_reference_leads_somewhere() {
    let fixture = Fixture::new();
    let user = fixture.token("ann", UserRole::User).await;
    let document = fixture.call(&user, "GET", "/hearth/openapi.json", None).await.json();
    let mut parameters = 0;
    for route in crate::list().iter().filter(|route| route.path.starts_with("/hearth/")) {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        let described: Vec<&Value> =
            operation["parameters"].as_array().into_iter().flatten().collect();
        for parameter in &described {
            let context = format!("{} {}: {parameter}", route.method, route.path);
            assert!(parameter["schema"]["type"].is_string(), "{context}");
            parameters += 1;
        }
        let in_path = described.iter().filter(|parameter| parameter["in"] == "path").count();
        assert_eq!(in_path, route.path.matches('{').count(), "{} {}", route.method, route.path);
    }
    assert!(parameters > 80, "{parameters} parameters");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 40, "{} references", found.len());
    for reference in found {
        let place = reference.strip_prefix('#').unwrap_or("/nowhere");
        assert!(document.pointer(place).is_some(), "{reference} leads nowhere");
    }
}
