//! Who may change channels, and what a change does.

use serde_json::{Value, json};

use super::*;
use crate::caller::{Scope, Via};
use hearth_store::{AuditFilter, UserId, UserRole};

async fn channels() -> (Channels, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let vault = Vault::open(dir.path(), None).unwrap();
    let channels = Channels::open(store, vault, Clock::of(|| 777), known_wire).await.unwrap();
    (channels, dir)
}

fn spec(value: Value) -> ChannelSpec {
    serde_json::from_value(value).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_see_and_change_channels() {
    let (channels, _dir) = channels().await;
    let token = Via::ApiToken { id: hearth_store::ApiTokenId(1), models: None, restricted: false };
    let user = Caller {
        user_id: Some(UserId(1)),
        name: "u".to_owned(),
        role: UserRole::User,
        via: token,
        scope: Scope::default(),
    };
    let new = || spec(json!({ "name": "c", "type": "openai", "keys": ["sk-0123456789"] }));
    let made = channels.create(&Caller::operator(), new()).await.unwrap();
    let forbidden = |error: Error| assert!(matches!(error, Error::Forbidden(_)), "{error}");
    forbidden(channels.list(&user).unwrap_err());
    forbidden(channels.show(&user, made.id).unwrap_err());
    forbidden(channels.create(&user, new()).await.unwrap_err());
    forbidden(channels.update(&user, made.id, &json!({})).await.unwrap_err());
    forbidden(channels.remove(&user, made.id).await.unwrap_err());
    forbidden(channels.add_key(&user, made.id, "k").await.unwrap_err());
    forbidden(channels.probe(&user, made.id, None).await.unwrap_err());
    forbidden(channels.routes(&user).unwrap_err());
    forbidden(channels.set_route(&user, "m", &Route::default()).await.unwrap_err());
    forbidden(channels.rotate_secrets(&user).await.unwrap_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_changes_what_it_names_and_is_checked_as_a_whole() {
    let (channels, _dir) = channels().await;
    let operator = Caller::operator();
    let new = spec(json!({
        "name": "c", "type": "openai", "keys": ["sk-0123456789abcdef"], "priority": 3,
        "settings": { "models": ["a", "b*"], "tags": ["x"] },
    }));
    let id = channels.create(&operator, new).await.unwrap().id;
    let patch = json!({ "weight": 7, "settings": { "models": ["c"], "tags": null } });
    let changed = channels.update(&operator, id, &patch).await.unwrap();
    assert_eq!((changed.spec.priority, changed.spec.weight), (3, 7));
    assert_eq!(changed.spec.settings.models, ["c"]);
    assert!(changed.spec.settings.tags.is_empty());
    assert_eq!(changed.keys.len(), 1, "keys stay");
    for bad in [
        json!({ "name": null }),
        json!({ "weight": "heavy" }),
        json!({ "unknown": 1 }),
        json!({ "settings": { "models": [""] } }),
        json!([]),
        json!(null),
    ] {
        let refused = channels.update(&operator, id, &bad).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{bad}: {refused:?}");
    }
    assert_eq!(channels.show(&operator, id).unwrap().spec, changed.spec, "nothing was changed");
    channels.remove(&operator, id).await.unwrap();
    assert!(matches!(channels.show(&operator, id), Err(Error::NotFound)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_whose_key_cannot_be_opened_is_shown_with_its_problem() {
    let (channels, dir) = channels().await;
    let operator = Caller::operator();
    let new = spec(json!({ "name": "c", "type": "openai", "keys": ["sk-0123456789"] }));
    let id = channels.create(&operator, new).await.unwrap().id;
    let store = channels.store().clone();
    let other = Vault::open(dir.path(), Some(&"33".repeat(32))).unwrap();
    let reopened = Channels::open(store, other, Clock::of(|| 777), known_wire).await.unwrap();
    let shown = reopened.show(&operator, id).unwrap();
    assert!(shown.problem.unwrap().contains("another master key"));
    let repaired = reopened.update(&operator, id, &json!({ "keys": ["sk-again-0123"] })).await;
    assert_eq!(repaired.unwrap().problem, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_in_the_audit_log_and_no_key_is() {
    let (channels, _dir) = channels().await;
    let operator = Caller::operator();
    let new = spec(json!({ "name": "c", "type": "openai", "keys": ["sk-first-0123456789"] }));
    let id = channels.create(&operator, new).await.unwrap().id;
    let keys = json!({ "keys": ["sk-second-0123456789"], "weight": 7 });
    channels.update(&operator, id, &keys).await.unwrap();
    let view = channels.add_key(&operator, id, "sk-third-0123456789").await.unwrap();
    channels.remove_key(&operator, id, view.keys[0].id.clone()).await.unwrap();
    channels.set_route(&operator, "m", &Route::default()).await.unwrap();
    channels.remove_route(&operator, "m").await.unwrap();
    channels.rotate_secrets(&operator).await.unwrap();
    channels.remove(&operator, id).await.unwrap();
    assert!(channels.remove(&operator, id).await.is_err(), "what was not done is not noted");
    let mut acts = channels.store().audit().list(AuditFilter::default(), 100).await.unwrap();
    acts.reverse();
    let told: Vec<_> = acts.iter().map(|act| (&*act.action, &*act.target)).collect();
    assert_eq!(
        told,
        [
            ("channels.create", "channel c"),
            ("channels.update", "channel c"),
            ("channels.add_key", "channel c"),
            ("channels.remove_key", "channel c"),
            ("routes.set", "route m"),
            ("routes.remove", "route m"),
            ("secrets.rotate", "secrets"),
            ("channels.remove", "channel c"),
        ]
    );
    assert_eq!(acts[1].detail["changed"], json!(["keys", "weight"]));
    assert!(!format!("{acts:?}").contains("0123456789"), "{acts:?}");
}
