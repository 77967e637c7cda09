//! What a channel may be made of, and what is refused.

use serde_json::{Value, json};

use super::*;

fn check(change: Value) -> Result<(&'static Preset, String)> {
    let mut spec = json!({ "name": "c", "type": "openai", "keys": ["sk-1"] });
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value::<ChannelSpec>(spec)
        .map_err(|error| Error::invalid("", error.to_string()))?
        .check()
}

fn allowing(base_url: &str, allow_private: &str) -> Value {
    json!({
        "type": "openai-compatible",
        "base_url": base_url,
        "settings": { "network": { "allow_private": [allow_private] } },
    })
}

#[test]
fn addresses_of_this_machine_and_its_network_need_an_admins_word() {
    for base_url in [
        "http://127.0.0.1:8000/v1",
        "https://localhost/v1",
        "https://10.1.2.3/v1",
        "https://169.254.169.254/v1",
        "https://[::1]/v1",
        "https://[::ffff:127.0.0.1]/v1",
        "https://[64:ff9b::a9fe:a9fe]/v1",
        "https://0.0.0.0/v1",
        "https://2130706433/v1",
        "https://0x7f.1/v1",
        "https://0177.0.0.1/v1",
        "https://user@example.com/v1",
        "https://example.com@127.0.0.1/v1",
        "https://example.com/v1?x=1",
        "https://example.com/v1#x",
        "http://example.com/v1",
        "ftp://example.com/v1",
        "file:///etc/passwd",
        "data:text/plain,x",
        "nonsense",
    ] {
        let refused = check(json!({ "type": "openai-compatible", "base_url": base_url }));
        assert!(refused.is_err(), "{base_url}");
    }
    for (base_url, allowed) in [
        ("http://127.0.0.1:8000/v1", "127.0.0.1"),
        ("http://127.0.0.1:8000/v1", "127.0.0.0/8"),
        ("http://vllm.lan:8000/v1/", "vllm.lan"),
        ("https://[::1]/v1", "::1"),
    ] {
        let (_, url) = check(allowing(base_url, allowed)).unwrap();
        assert_eq!(url, base_url.trim_end_matches('/'));
    }
    assert!(check(allowing("http://10.0.0.1/v1", "127.0.0.0/8")).is_err());
}

#[test]
fn a_preset_brings_its_address_or_asks_for_one() {
    assert_eq!(check(json!({})).unwrap().1, "https://api.openai.com/v1");
    let Err(error) = check(json!({ "type": "azure" })) else { panic!("must be refused") };
    assert!(error.to_string().contains("RESOURCE.openai.azure.com"), "{error}");
    let Err(error) = check(json!({ "type": "opnai" })) else { panic!("must be refused") };
    assert!(error.to_string().contains("openrouter"), "{error}");
}

#[test]
fn what_could_end_a_header_or_stand_for_another_is_refused() {
    let header = |name: &str, value: &str| {
        check(json!({ "settings": { "network": { "headers": { name: value } } } }))
    };
    header("X-Team", "blue").unwrap();
    for (name, value) in [
        ("x-team", "a\r\nhost: evil"),
        ("x team", "a"),
        ("x-team\r\n", "a"),
        ("Authorization", "Bearer x"),
        ("Host", "evil"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
    ] {
        assert!(header(name, value).is_err(), "{name:?}");
    }
    for key in ["", " k", "a\nb", "a\r\nhost: evil"] {
        let Err(error) = check(json!({ "keys": [key] })) else { panic!("{key:?}") };
        assert!(key.trim().is_empty() || !error.to_string().contains(key), "{error}");
    }
    for model in ["", "a\nb", &"x".repeat(300)] {
        assert!(check(json!({ "settings": { "models": [model] } })).is_err(), "{model:?}");
    }
}

#[test]
fn numbers_are_bounded_and_unknown_fields_are_named() {
    for bad in [
        json!({ "weight": 2_000_000 }),
        json!({ "weight": -1 }),
        json!({ "settings": { "drain_s": 601 } }),
        json!({ "settings": { "timeouts": { "idle_ms": 0 } } }),
        json!({ "settings": { "limits": { "concurrent": 0 } } }),
        json!({ "settings": { "network": { "proxy": "http://me:pw@proxy:3128" } } }),
        json!({ "settings": { "network": { "proxy": "socks5://proxy:3128" } } }),
        json!({ "settings": { "request": { "system_prompt": { "text": "" } } } }),
    ] {
        assert!(check(bad.clone()).is_err(), "{bad}");
    }
    let Err(error) = check(json!({ "priorty": 1 })) else { panic!("must be refused") };
    assert!(error.to_string().contains("priorty"), "{error}");
}

#[test]
fn keys_are_read_but_never_written() {
    let spec: ChannelSpec =
        serde_json::from_value(json!({ "name": "c", "type": "openai", "keys": ["sk-1"] })).unwrap();
    assert!(!serde_json::to_string(&spec).unwrap().contains("sk-1"));
}
