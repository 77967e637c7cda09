//! The first setup, sign-in, sessions and the administration of users.

use std::net::IpAddr;

use hearth_store::{Theme, UserId, UserRole};

use super::{Fixture, PASSWORD, PEER};
use crate::accounts::{AccountChange, NewAccount, Preferences};
use crate::caller::Caller;
use crate::error::Error;

fn is_conflict<T>(result: crate::Result<T>, wanted: &str) -> bool {
    matches!(result, Err(Error::Conflict { code, .. }) if code == wanted)
}

#[tokio::test]
async fn the_setup_code_makes_one_admin_and_is_then_void() {
    let it = Fixture::new();
    assert!(it.accounts.setup_required().await.unwrap());
    let wrong = it.accounts.setup("0000-0000-0000-0000", "ann", PASSWORD, PEER).await;
    assert!(matches!(wrong, Err(Error::WrongSetupCode)), "no code was made yet");
    let void = it.accounts.begin_setup().await.unwrap().unwrap();
    let code = it.accounts.begin_setup().await.unwrap().unwrap();
    let wrong = it.accounts.setup(void.reveal(), "ann", PASSWORD, PEER).await;
    assert!(matches!(wrong, Err(Error::WrongSetupCode)));
    let weak = it.accounts.setup(code.reveal(), "ann", "short", PEER).await;
    assert!(matches!(weak, Err(Error::WeakPassword(_))));
    let signed_in = it.accounts.setup(code.reveal(), " ann ", PASSWORD, PEER).await.unwrap();
    assert_eq!((signed_in.user.name.as_str(), signed_in.user.role), ("ann", UserRole::Owner));
    let caller = it.accounts.caller_by_session(signed_in.session.reveal(), PEER).await.unwrap();
    caller.require_admin().unwrap();
    let again = it.accounts.setup(code.reveal(), "eve", PASSWORD, PEER).await;
    assert!(is_conflict(again, "setup_done"));
    assert_eq!(it.accounts.begin_setup().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_setups_at_once_one_wins() {
    let it = Fixture::new();
    let code = it.accounts.begin_setup().await.unwrap().unwrap();
    let tasks: Vec<_> = ["ann", "bob", "eve", "joe"]
        .into_iter()
        .map(|name| {
            let (accounts, code) = (it.accounts.clone(), code.clone());
            tokio::spawn(async move { accounts.setup(code.reveal(), name, PASSWORD, PEER).await })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => winners += 1,
            // The loser may come before or after the winner has used the code up.
            Err(Error::Conflict { code: "setup_done", .. } | Error::WrongSetupCode) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(winners, 1);
    assert_eq!(it.store.users().list(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn guesses_at_the_setup_code_run_out() {
    let it = Fixture::new();
    let code = it.accounts.begin_setup().await.unwrap().unwrap();
    for _ in 0..10 {
        let wrong = it.accounts.setup("AAAA-AAAA-AAAA-AAAA", "ann", PASSWORD, PEER).await;
        assert!(matches!(wrong, Err(Error::WrongSetupCode)));
    }
    let blocked = it.accounts.setup(code.reveal(), "ann", PASSWORD, PEER).await;
    assert!(matches!(blocked, Err(Error::TooManyAttempts { .. })));
    it.wait(6);
    it.accounts.setup(code.reveal(), "ann", PASSWORD, PEER).await.unwrap();
}

#[tokio::test]
async fn wrong_unknown_and_disabled_look_the_same() {
    let it = Fixture::new();
    it.user("boss", UserRole::Admin).await;
    let user = it.user("ann", UserRole::User).await;
    it.accounts.sign_in("ANN", PASSWORD, PEER).await.unwrap();
    let disable = AccountChange { disabled: Some(true), ..AccountChange::default() };
    it.accounts.update_user(&Caller::operator(), user.id, disable).await.unwrap();
    for (name, password) in
        [("boss", "wrong horse"), ("nobody", PASSWORD), ("ann", PASSWORD), ("boss", "")]
    {
        let refused = it.accounts.sign_in(name, password, PEER).await;
        assert!(matches!(refused, Err(Error::WrongCredentials)), "{name}");
    }
}

#[tokio::test]
async fn guesses_from_elsewhere_keep_nobody_out_until_they_are_very_many() {
    let it = Fixture::new();
    it.user("ann", UserRole::Admin).await;
    for guess in 0..100 {
        let peer = IpAddr::from([198, 51, guess / 5, 1]);
        let wrong = it.accounts.sign_in("ann", "wrong horse", peer).await;
        assert!(matches!(wrong, Err(Error::WrongCredentials)));
        if guess == 5 {
            it.accounts.sign_in("ann", PASSWORD, PEER).await.unwrap();
        }
    }
    let blocked = it.accounts.sign_in("ann", PASSWORD, PEER).await;
    assert!(matches!(blocked, Err(Error::TooManyAttempts { .. })));
    it.wait(6);
    it.accounts.sign_in("ann", PASSWORD, PEER).await.unwrap();
}

#[tokio::test]
async fn who_is_right_is_not_slowed_down() {
    let it = Fixture::new();
    it.user("ann", UserRole::Admin).await;
    for _ in 0..12 {
        it.sign_in("ann").await;
    }
    let caller = it.caller("ann").await;
    for _ in 0..6 {
        it.accounts.change_password(&caller, PASSWORD, PASSWORD).await.unwrap();
    }
    for _ in 0..5 {
        let wrong = it.accounts.change_password(&caller, "wrong horse", PASSWORD).await;
        assert_eq!(wrong, Err(Error::WrongCredentials));
    }
    let blocked = it.accounts.change_password(&caller, PASSWORD, PASSWORD).await;
    assert!(matches!(blocked, Err(Error::TooManyAttempts { .. })));
}

#[tokio::test]
async fn sign_in_is_limited_by_name_and_by_address() {
    let it = Fixture::new();
    it.user("ann", UserRole::Admin).await;
    let from = |last: u8| IpAddr::from([192, 0, 2, last]);
    for last in 0..5 {
        let wrong = it.accounts.sign_in("ann", "wrong horse", from(last)).await;
        assert!(matches!(wrong, Err(Error::WrongCredentials)));
    }
    let blocked = it.accounts.sign_in("Ann ", PASSWORD, from(9)).await;
    let Err(Error::TooManyAttempts { retry_after }) = blocked else { panic!("{blocked:?}") };
    assert_eq!(retry_after.as_secs(), 12);
    it.wait(12);
    it.accounts.sign_in("ann", PASSWORD, from(9)).await.unwrap();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        let wrong = it.accounts.sign_in(name, "wrong horse", PEER).await;
        assert!(matches!(wrong, Err(Error::WrongCredentials)), "{name}: unknown names count too");
    }
    let blocked = it.accounts.sign_in("k", PASSWORD, PEER).await;
    assert!(matches!(blocked, Err(Error::TooManyAttempts { .. })));
}

#[tokio::test]
async fn sessions_end_when_idle_when_old_and_at_sign_out() {
    let it = Fixture::new();
    it.user("ann", UserRole::Admin).await;
    let (hour, day) = (3_600, 86_400);
    let by = async |secret: &str| it.accounts.caller_by_session(secret, PEER).await;
    let idle = it.sign_in("ann").await.session;
    it.wait(12 * hour - 1);
    by(idle.reveal()).await.unwrap();
    it.wait(12 * hour);
    assert_eq!(by(idle.reveal()).await, Err(Error::NotSignedIn));
    let old = it.sign_in("ann").await.session;
    for _ in 0..13 {
        it.wait(12 * hour - 1);
        by(old.reveal()).await.unwrap();
    }
    it.wait(12 * hour);
    assert_eq!(by(old.reveal()).await, Err(Error::NotSignedIn), "seven days");
    it.wait(7 * day);
    assert_eq!(it.accounts.sweep().await.unwrap(), 2);
    let session = it.sign_in("ann").await.session;
    let caller = by(session.reveal()).await.unwrap();
    it.accounts.sign_out(&caller).await.unwrap();
    assert_eq!(by(session.reveal()).await, Err(Error::NotSignedIn));
    assert_eq!(by("not a session").await, Err(Error::NotSignedIn));
}

#[tokio::test]
async fn only_the_hash_of_a_session_is_stored() {
    let it = Fixture::new();
    it.user("ann", UserRole::Admin).await;
    let session = it.sign_in("ann").await.session;
    let dir = it.dir.path();
    let mut bytes = Vec::new();
    for name in ["hearth.db", "hearth.db-wal"] {
        bytes.extend(std::fs::read(dir.join(name)).unwrap());
    }
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("ann"));
    assert!(!holds(session.reveal()));
    assert!(!holds(PASSWORD));
}

#[tokio::test]
async fn a_new_password_needs_the_old_one_and_ends_other_sessions() {
    let it = Fixture::new();
    it.user("ann", UserRole::Admin).await;
    let other = it.sign_in("ann").await.session;
    let caller = it.caller("ann").await;
    let accounts = &it.accounts;
    let wrong = accounts.change_password(&caller, "wrong horse", "battery staple").await;
    assert_eq!(wrong, Err(Error::WrongCredentials));
    it.wait(60);
    let weak = accounts.change_password(&caller, PASSWORD, "password").await;
    assert!(matches!(weak, Err(Error::WeakPassword(_))));
    accounts.change_password(&caller, PASSWORD, "battery staple").await.unwrap();
    assert_eq!(accounts.caller_by_session(other.reveal(), PEER).await, Err(Error::NotSignedIn));
    accounts.me(&caller).await.unwrap();
    let signed_in = accounts.sign_in("ann", "battery staple", PEER).await;
    signed_in.unwrap();
}

#[tokio::test]
async fn a_change_of_rights_holds_at_the_next_request() {
    let it = Fixture::new();
    it.user("boss", UserRole::Admin).await;
    let user = it.user("ann", UserRole::Admin).await;
    let session = it.sign_in("ann").await.session;
    let operator = Caller::operator();
    let demote = AccountChange { role: Some(UserRole::User), ..AccountChange::default() };
    it.accounts.update_user(&operator, user.id, demote).await.unwrap();
    let caller = it.accounts.caller_by_session(session.reveal(), PEER).await.unwrap();
    assert!(caller.require_admin().is_err());
    let disable = AccountChange { disabled: Some(true), ..AccountChange::default() };
    it.accounts.update_user(&operator, user.id, disable).await.unwrap();
    let ended = it.accounts.caller_by_session(session.reveal(), PEER).await;
    assert_eq!(ended, Err(Error::NotSignedIn));
}

#[tokio::test]
async fn users_administer_nobody() {
    let it = Fixture::new();
    let boss = it.user("boss", UserRole::Admin).await;
    it.user("ann", UserRole::User).await;
    let caller = it.caller("ann").await;
    let account = |role| NewAccount { name: "x".to_owned(), role, password: PASSWORD.to_owned() };
    let change = AccountChange { password: Some("mine all mine".to_owned()), ..Default::default() };
    let accounts = &it.accounts;
    let refusals = [
        accounts.list_users(&caller, None, 10).await.err(),
        accounts.user_by_name(&caller, "boss").await.err(),
        accounts.create_user(&caller, account(UserRole::User)).await.err(),
        accounts.update_user(&caller, boss.id, change).await.err(),
        accounts.list_tokens(&caller, true, None, 10).await.err(),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Some(Error::Forbidden(_))), "{refusal:?}");
    }
    let admin = it.caller("boss").await;
    assert_eq!(accounts.list_users(&admin, None, 10).await.unwrap().len(), 2);
    let taken = NewAccount { name: "BOSS".to_owned(), ..account(UserRole::User) };
    assert!(is_conflict(accounts.create_user(&admin, taken).await, "name_taken"));
    let bad = NewAccount { name: "a\r\nb".to_owned(), ..account(UserRole::User) };
    assert!(matches!(accounts.create_user(&admin, bad).await, Err(Error::InvalidName(_))));
    let demote = AccountChange { role: Some(UserRole::User), ..Default::default() };
    let last = accounts.update_user(&admin, boss.id, demote).await;
    assert!(is_conflict(last, "last_admin"));
    let absent = accounts.update_user(&admin, UserId(99), AccountChange::default()).await;
    assert_eq!(absent, Err(Error::NotFound));
}

#[tokio::test]
async fn preferences_are_checked() {
    let it = Fixture::new();
    it.user("ann", UserRole::User).await;
    let caller = it.caller("ann").await;
    let zh = Preferences {
        language: Some(Some("zh".to_owned())),
        theme: Some(Theme::Dark),
        default_model: None,
        ..Preferences::default()
    };
    let user = it.accounts.update_me(&caller, zh).await.unwrap();
    assert_eq!((user.language.as_deref(), user.theme), (Some("zh"), Theme::Dark));
    let klingon = Preferences { language: Some(Some("tlh".to_owned())), ..Preferences::default() };
    let refused = it.accounts.update_me(&caller, klingon).await;
    assert!(matches!(refused, Err(Error::Invalid { param: Some(_), .. })));
}
