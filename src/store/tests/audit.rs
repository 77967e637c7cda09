//! The audit log tells of every change of itself.

use rusqlite::Connection;
use serde_json::json;

use super::{Fixture, new_user};
use crate::{Act, AuditFilter, AuditHash, Error, UserRole};

fn act(action: &'static str, target: &str) -> Act {
    Act {
        at: 100,
        actor_id: None,
        actor: "operator".to_owned(),
        via: "operator".to_owned(),
        address: String::new(),
        action,
        target: target.to_owned(),
        detail: json!({ "x": 1 }),
    }
}

/// A log of three acts, and a second connection to its file.
async fn three() -> (Fixture, Connection) {
    let it = Fixture::new();
    for name in ["ann", "bob", "eve"] {
        let store = it.store.audited(act("users.create", &format!("user {name}")));
        store.users().create(new_user(name, UserRole::User)).await.unwrap();
    }
    let raw = Connection::open(it.dir.path().join("hearth.db")).unwrap();
    (it, raw)
}

fn without_triggers(raw: &Connection, change: &str) {
    raw.execute_batch(&format!(
        "DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_deleted; {change}"
    ))
    .unwrap();
}

#[tokio::test]
async fn an_act_is_noted_with_what_it_does_or_neither_is() {
    let (it, _raw) = three().await;
    let store = it.store.audited(act("users.create", "user ann"));
    let taken = store.users().create(new_user("ANN", UserRole::User)).await;
    assert!(matches!(taken, Err(Error::NameTaken)));
    let rows = it.store.audit().list(AuditFilter::default(), 10).await.unwrap();
    let targets: Vec<_> = rows.iter().map(|row| row.target.as_str()).collect();
    assert_eq!(targets, ["user eve", "user bob", "user ann"], "newest first, no fourth");
    let report = it.store.audit().verify(None).await.unwrap();
    assert_eq!((report.rows, report.fault), (3, None));
}

#[tokio::test]
async fn pages_and_filters_find_acts() {
    let (it, _raw) = three().await;
    it.store.audit().note(act("tokens.delete", "token 7")).await.unwrap();
    let list = async |filter: AuditFilter| it.store.audit().list(filter, 2).await.unwrap();
    let first = list(AuditFilter::default()).await;
    let before = Some(first[1].sequence);
    assert_eq!(list(AuditFilter { before, ..AuditFilter::default() }).await[0].sequence, 2);
    for (action, count) in [("users.", 2), ("users.create", 2), ("users", 0), ("tokens.", 1)] {
        let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
        assert_eq!(list(filter).await.len(), count, "{action}");
    }
    let target = Some("user bob".to_owned());
    assert_eq!(list(AuditFilter { target, ..AuditFilter::default() }).await[0].sequence, 2);
    assert!(list(AuditFilter { since: Some(101), ..AuditFilter::default() }).await.is_empty());
    assert!(list(AuditFilter { until: Some(100), ..AuditFilter::default() }).await.is_empty());
    let actor = Some("nobody".to_owned());
    assert!(list(AuditFilter { actor, ..AuditFilter::default() }).await.is_empty());
}

#[tokio::test]
async fn rows_of_the_log_cannot_be_changed_or_deleted_by_sql() {
    let (_it, raw) = three().await;
    for statement in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"] {
        assert!(raw.execute_batch(statement).is_err(), "{statement}");
    }
}

#[tokio::test]
async fn tampering_with_any_column_is_found() {
    for change in [
        "actor = 'eve'",
        "actor_id = 7",
        "created_at = 99",
        "action = 'users.list'",
        "target = 'user x'",
        "detail = '{}'",
        "via = 'token 1'",
        "address = '::1'",
        "hash = zeroblob(32)",
    ] {
        let (it, raw) = three().await;
        without_triggers(&raw, &format!("UPDATE audit SET {change} WHERE sequence = 2"));
        let report = it.store.audit().verify(None).await.unwrap();
        assert_eq!(report.fault.as_deref(), Some("act 2 was changed"), "{change}");
        assert_eq!(report.rows, 1, "{change}");
    }
}

#[tokio::test]
async fn missing_acts_are_found_in_the_middle_and_at_the_end() {
    let (it, raw) = three().await;
    let whole = it.store.audit().verify(None).await.unwrap();
    without_triggers(&raw, "DELETE FROM audit WHERE sequence = 2");
    let report = it.store.audit().verify(None).await.unwrap();
    assert_eq!(report.fault.as_deref(), Some("act 2 is missing"));

    let (it, raw) = three().await;
    without_triggers(&raw, "DELETE FROM audit WHERE sequence = 3");
    let report = it.store.audit().verify(None).await.unwrap();
    assert_eq!(report.fault.as_deref(), Some("the acts after 2 are missing"));

    // Whoever sets the head back too is found by a head that was noted elsewhere.
    raw.execute_batch(
        "UPDATE audit_head SET sequence = 2, hash = (SELECT hash FROM audit WHERE sequence = 2)",
    )
    .unwrap();
    assert_eq!(it.store.audit().verify(None).await.unwrap().fault, None);
    let known = Some((whole.rows, whole.hash));
    assert!(it.store.audit().verify(known).await.unwrap().fault.is_some());
    let wrong = Some((1, AuditHash([7; 32])));
    assert!(it.store.audit().verify(wrong).await.unwrap().fault.is_some());
}
