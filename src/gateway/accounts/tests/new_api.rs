//! A database of New API comes in whole: people sign in with their passwords, old keys work.

use std::path::PathBuf;

use hearth_store::{Holder, UserRole};
use rusqlite::Connection;

use super::{Fixture, PEER};
use crate::caller::Caller;
use crate::error::Error;

const KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL";

/// A database as New API makes it.
fn new_api(it: &Fixture) -> PathBuf {
    let path = it.dir.path().join("one-api.db");
    let hash = bcrypt::hash("their old password", 4).unwrap();
    let rows = include_str!("new_api.sql").replace("{hash}", &hash);
    Connection::open(&path).unwrap().execute_batch(&rows).unwrap();
    path
}

#[tokio::test]
async fn people_sign_in_with_old_passwords_and_old_keys_go_on_working() {
    let it = Fixture::new();
    let path = new_api(&it);
    let operator = Caller::operator();
    let import =
        async |dry| it.accounts.import_new_api(&operator, path.clone(), dry).await.unwrap();
    let trial = import(true).await;
    assert!(it.store.users().is_empty().await.unwrap(), "a dry run writes nothing");
    let report = import(false).await;
    assert_eq!(trial.brought, report.brought, "a dry run says what a real one does");
    let brought = report.brought;
    assert_eq!((brought.users, brought.groups, brought.tokens), (4, 1, 3), "{report:?}");
    assert_eq!((brought.prices, brought.usage, report.channels_left), (3, 1, 1), "{report:?}");
    for part in ["odd: without a password", "(bad) of ann", "(short) of root"] {
        assert!(report.notes.iter().any(|note| note.contains(part)), "{part}: {report:?}");
    }

    let ann = it.accounts.sign_in("ann", "their old password", PEER).await.unwrap().user;
    assert_eq!((ann.group.as_deref(), ann.email.as_deref()), (Some("vip"), Some("a@b.example")));
    let hash = it.store.users().credentials("ann").await.unwrap().unwrap().password;
    assert!(hash.starts_with("$argon2id$"), "hashed anew once it is known: {hash}");
    it.accounts.sign_in("ann", "their old password", PEER).await.unwrap();
    for (name, password) in
        [("off", "their old password"), ("gone", "their old password"), ("odd", "")]
    {
        let refused = it.accounts.sign_in(name, password, PEER).await;
        assert_eq!(refused.unwrap_err(), Error::WrongCredentials, "{name}");
    }
    let roles = ["root", "ann", "off"]
        .map(async |name| it.store.users().by_name(name).await.unwrap().unwrap().role);
    let [root, ann_role, off] = roles;
    let roles = (root.await, ann_role.await, off.await);
    assert_eq!(roles, (UserRole::Owner, UserRole::User, UserRole::Admin));

    let by = async |key: &str| it.accounts.caller_by_bearer(key, PEER).await;
    let caller = by(&format!("sk-{KEY}")).await.unwrap();
    assert_eq!(caller.user_id, Some(ann.id));
    assert!(caller.may_use_model("gpt-4o") && !caller.may_use_model("gpt-4"));
    let with = |start: &str| format!("sk-{start}{}", &KEY[start.len()..]);
    assert_eq!(by(&with("two")).await, Err(Error::NotSignedIn), "switched off there");
    assert!(matches!(by(&with("net")).await, Err(Error::Forbidden(_))), "192.0.2.1 is not named");
    assert_eq!(by(&with("bad")).await, Err(Error::NotSignedIn), "its networks cannot be read");
    assert_eq!(by(&with("gon")).await, Err(Error::NotSignedIn));

    let wallet = async |holder| it.store.ledger().wallet(holder).await.unwrap().unwrap();
    let wallet = (
        wallet(Holder::User(ann.id)).await,
        wallet(Holder::Token(caller.token_id().unwrap())).await,
    );
    assert_eq!(wallet.0.remaining.micros(), 3_000_000, "1.5 M units are 3 dollars");
    assert_eq!((wallet.1.remaining.micros(), wallet.1.is_unlimited), (500_000, false));
    let prices = it.store.prices().list().await.unwrap();
    let price = |name: &str| prices.iter().find(|row| row.model == name).unwrap().price;
    let gpt = price("gpt-4o");
    assert_eq!(gpt.input_micros_per_million.micros(), 2_500_000);
    assert_eq!(gpt.output_micros_per_million.micros(), 10_000_000);
    assert_eq!(gpt.cached_micros_per_million.micros(), 1_250_000);
    assert_eq!(price("dall-e-3").call_micros.micros(), 40_000);
    let check = it.store.ledger().check().await.unwrap();
    assert_eq!(check.problems, Vec::<String>::new());
}

#[tokio::test]
async fn a_second_import_brings_nothing_twice() {
    let it = Fixture::new();
    let path = new_api(&it);
    let operator = Caller::operator();
    it.accounts.import_new_api(&operator, path.clone(), false).await.unwrap();
    let again = it.accounts.import_new_api(&operator, path, false).await.unwrap();
    assert_eq!(again.brought, Default::default());
    assert!(again.notes.iter().any(|note| note.contains("the name is taken")));
}

#[tokio::test]
async fn what_is_no_such_database_is_refused_and_only_the_operator_may() {
    let it = Fixture::new();
    it.user("ann", UserRole::Admin).await;
    let operator = Caller::operator();
    let other = it.dir.path().join("hearth.db");
    let text = it.dir.path().join("text");
    std::fs::write(&text, "no database").unwrap();
    for path in [other, text, it.dir.path().join("absent")] {
        let refused = it.accounts.import_new_api(&operator, path.clone(), false).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{path:?}: {refused:?}");
    }
    let path = new_api(&it);
    let admin = it.caller("ann").await;
    let refused = it.accounts.import_new_api(&admin, path, true).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))));
}
