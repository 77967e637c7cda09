//! Users, sessions and API tokens.

use super::{Fixture, new_user};
use crate::{
    ApiTokenId, Error, NewApiToken, NewSession, SessionHash, Theme, UserChange, UserId, UserRole,
};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_first_users_at_once_one_is_made() {
    let it = Fixture::new();
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let store = it.store.clone();
            tokio::spawn(async move {
                store.users().create_first(new_user(&format!("u{number}"), UserRole::Admin)).await
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(error) => assert!(matches!(error, Error::SetupDone)),
        }
    }
    assert_eq!(made, 1);
    assert_eq!(it.store.users().list(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn names_are_unique_without_case_in_every_script() {
    let it = Fixture::new();
    it.user("Ólafur", UserRole::Admin).await;
    let taken = it.store.users().create(new_user("óLAFUR", UserRole::User)).await;
    assert!(matches!(taken, Err(Error::NameTaken)));
}

#[tokio::test]
async fn the_last_active_admin_stays() {
    let it = Fixture::new();
    let users = it.store.users();
    let first = it.user("first", UserRole::Admin).await;
    let second = it.user("second", UserRole::Admin).await;
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    let demote = UserChange { role: Some(UserRole::User), ..UserChange::default() };
    users.update(second.id, disable.clone()).await.unwrap();
    for change in [disable, demote] {
        assert!(matches!(users.update(first.id, change).await, Err(Error::LastAdmin)));
    }
    let unchanged = users.by_id(first.id).await.unwrap().unwrap();
    assert_eq!(unchanged, first);
    let absent = users.update(UserId(99), UserChange::default()).await;
    assert!(matches!(absent, Err(Error::NotFound)));
}

#[tokio::test]
async fn preferences_can_be_set_and_unset() {
    let it = Fixture::new();
    let user = it.user("u", UserRole::User).await;
    let change = UserChange {
        language: Some(Some("zh".to_owned())),
        theme: Some(Theme::Dark),
        default_model: Some(Some("m".to_owned())),
        ..UserChange::default()
    };
    let changed = it.store.users().update(user.id, change).await.unwrap();
    assert_eq!(changed.language.as_deref(), Some("zh"));
    assert_eq!((changed.theme, changed.default_model.as_deref()), (Theme::Dark, Some("m")));
    let change = UserChange { language: Some(None), ..UserChange::default() };
    let changed = it.store.users().update(user.id, change).await.unwrap();
    assert_eq!((changed.language, changed.default_model.as_deref()), (None, Some("m")));
}

fn session(number: u8, user_id: UserId) -> NewSession {
    NewSession {
        hash: SessionHash([number; 32]),
        user_id,
        created_at: 100 + i64::from(number),
        expires_at: 1_000,
    }
}

#[tokio::test]
async fn a_new_password_ends_all_sessions_but_the_one_kept() {
    let it = Fixture::new();
    let sessions = it.store.sessions();
    let other = it.user("o", UserRole::Admin).await;
    let user = it.user("u", UserRole::Admin).await;
    for number in 1..=3 {
        sessions.create(session(number, user.id)).await.unwrap();
    }
    sessions.create(session(9, other.id)).await.unwrap();
    let change = UserChange {
        password: Some("$new".to_owned()),
        keep: Some(SessionHash([2; 32])),
        ..UserChange::default()
    };
    it.store.users().update(user.id, change).await.unwrap();
    for (number, alive) in [(1, false), (2, true), (3, false), (9, true)] {
        let found = sessions.find(SessionHash([number; 32])).await.unwrap();
        assert_eq!(found.is_some(), alive, "session {number}");
    }
    let credentials = it.store.users().credentials("U").await.unwrap().unwrap();
    assert_eq!(credentials.password, "$new");
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    it.store.users().update(user.id, disable).await.unwrap();
    assert!(sessions.find(SessionHash([2; 32])).await.unwrap().is_none());
}

#[tokio::test]
async fn sessions_are_swept_and_bounded() {
    let it = Fixture::new();
    let sessions = it.store.sessions();
    let user = it.user("u", UserRole::User).await;
    for number in 0..60 {
        sessions.create(session(number, user.id)).await.unwrap();
    }
    assert!(sessions.find(SessionHash([9; 32])).await.unwrap().is_none(), "60 − 50 oldest end");
    assert!(sessions.find(SessionHash([10; 32])).await.unwrap().is_some());
    sessions.touch(SessionHash([10; 32]), 500).await.unwrap();
    assert_eq!(sessions.sweep(0, 400).await.unwrap(), 49);
    assert!(sessions.find(SessionHash([10; 32])).await.unwrap().is_some());
    assert_eq!(sessions.sweep(1_000, 0).await.unwrap(), 1, "expired");
}

fn token(number: u8, user_id: UserId) -> NewApiToken {
    NewApiToken {
        user_id,
        name: format!("token {number}"),
        prefix: "sk-hearth-ab12".to_owned(),
        hash: [number; 32],
        created_at: 100,
        expires_at: None,
        models: Some(vec!["llama*".to_owned()]),
        allow_ips: None,
    }
}

#[tokio::test]
async fn api_tokens_are_found_by_hash_and_deleted_by_their_owner_alone() {
    let it = Fixture::new();
    let tokens = it.store.api_tokens();
    let user = it.user("u", UserRole::User).await;
    let other = it.user("o", UserRole::User).await;
    let made = tokens.create(token(1, user.id)).await.unwrap();
    assert_eq!(made.models, Some(vec!["llama*".to_owned()]));
    assert!(matches!(tokens.create(token(1, other.id)).await, Err(Error::TokenTaken)));
    let (found, owner) = tokens.by_hash([1; 32]).await.unwrap().unwrap();
    assert_eq!((found, owner), (made.clone(), user.clone()));
    assert!(matches!(tokens.delete_of(other.id, made.id).await, Err(Error::NotFound)));
    tokens.touch(made.id, 200).await.unwrap();
    assert_eq!(tokens.list_of(user.id, None, 9).await.unwrap()[0].last_used_at, Some(200));
    assert!(tokens.list_of(other.id, None, 9).await.unwrap().is_empty());
    tokens.delete_of(user.id, made.id).await.unwrap();
    assert!(tokens.by_hash([1; 32]).await.unwrap().is_none());
    let next = tokens.create(token(1, other.id)).await.unwrap();
    assert_ne!(next.id, made.id, "ids are never used again");
    tokens.delete_any(next.id).await.unwrap();
    assert!(matches!(tokens.delete_any(next.id).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn lists_are_paged() {
    let it = Fixture::new();
    let user = it.user("u", UserRole::User).await;
    for number in 0..7 {
        it.store.api_tokens().create(token(number, user.id)).await.unwrap();
        it.user(&format!("u{number}"), UserRole::User).await;
    }
    let mut seen = Vec::new();
    let mut after: Option<ApiTokenId> = None;
    loop {
        let page = it.store.api_tokens().list_all(after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.iter().map(|token| token.id.0));
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
    let users = it.store.users();
    assert_eq!(users.list(None, 3).await.unwrap().len(), 3);
    assert_eq!(users.list(Some(UserId(6)), u32::MAX).await.unwrap().len(), 2);
    assert_eq!(users.list(None, 0).await.unwrap().len(), 1, "a page has at least one row");
}
