//! A database of New API comes in whole: people sign in with their passwords, old keys work.

use std::path::PathBuf;

use hearth_store::{Holder, UserRole};
use rusqlite::Connection;

use super::{Fixture, PEER};
use crate::caller::Caller;
use crate::error::Error;

const KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL";

/// The core tables as New API makes them, with people, tokens, prices and a log.
fn new_api(it: &Fixture) -> PathBuf {
    let path = it.dir.path().join("one-api.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "CREATE TABLE users (id integer PRIMARY KEY AUTOINCREMENT, username text UNIQUE,
             password text NOT NULL, display_name text, role integer DEFAULT 1,
             status integer DEFAULT 1, email text, quota integer DEFAULT 0,
             used_quota integer DEFAULT 0, `group` varchar(64) DEFAULT 'default',
             deleted_at datetime);
         CREATE TABLE tokens (id integer PRIMARY KEY AUTOINCREMENT, user_id integer,
             `key` char(48) UNIQUE, status integer DEFAULT 1, name text, created_time integer,
             accessed_time integer, expired_time integer DEFAULT -1, remain_quota integer,
             unlimited_quota numeric DEFAULT false, model_limits_enabled numeric,
             model_limits varchar(1024) DEFAULT '', allow_ips text DEFAULT '',
             used_quota integer DEFAULT 0, `group` text, deleted_at datetime);
         CREATE TABLE channels (id integer PRIMARY KEY, type integer, `key` text, name text);
         CREATE TABLE options (`key` text PRIMARY KEY, value text);
         CREATE TABLE logs (id integer PRIMARY KEY, user_id integer, created_at bigint,
             type integer, content text, username text, token_name text, model_name text,
             quota integer, prompt_tokens integer, completion_tokens integer, use_time integer,
             is_stream numeric, channel_id integer, token_id integer);
         INSERT INTO channels VALUES (1, 1, 'sk-secret', 'openai');
         INSERT INTO options VALUES ('ModelRatio', '{\"gpt-4o\": 1.25, \"llama\": 0}'),
             ('CompletionRatio', '{\"gpt-4o\": 4}'), ('CacheRatio', '{\"gpt-4o\": 0.5}'),
             ('ModelPrice', '{\"dall-e-3\": 0.04}'), ('SystemName', 'x');",
    )
    .unwrap();
    let hash = bcrypt::hash("their old password", 4).unwrap();
    let user =
        "INSERT INTO users (username, password, role, status, email, quota, `group`, deleted_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let none: Option<String> = None;
    old.execute(user, ("root", &hash, 100, 1, "", 0, "default", &none)).unwrap();
    old.execute(user, ("ann", &hash, 1, 1, "a@b.example", 1_500_000, "vip", &none)).unwrap();
    old.execute(user, ("off", &hash, 10, 2, "", -5, "vip", &none)).unwrap();
    old.execute(user, ("gone", &hash, 1, 1, "", 0, "default", &Some("2025-01-01"))).unwrap();
    old.execute(user, ("odd", "plain text!", 1, 1, "", 0, "default", &none)).unwrap();
    let token = "INSERT INTO tokens (user_id, `key`, status, name, created_time, expired_time,
                     remain_quota, unlimited_quota, model_limits_enabled, model_limits, allow_ips)
                 VALUES (?1, ?2, ?3, ?4, 5, ?5, ?6, ?7, ?8, ?9, ?10)";
    let key = |start: &str| format!("{start}{}", &KEY[start.len()..]);
    old.execute(token, (2, KEY, 1, "mine", -1, 250_000, 0, 1, "gpt-4o,llama", "")).unwrap();
    old.execute(token, (2, key("two"), 2, "off", -1, 0, 1, 0, "", "")).unwrap();
    old.execute(token, (2, key("net"), 1, "net", -1, 0, 1, 0, "", "10.0.0.0/8\n192.0.2.9"))
        .unwrap();
    old.execute(token, (2, key("bad"), 1, "bad", -1, 0, 1, 0, "", "the office")).unwrap();
    old.execute(token, (4, key("gon"), 1, "gone", -1, 0, 1, 0, "", "")).unwrap();
    old.execute(token, (1, "short", 1, "short", -1, 0, 1, 0, "", "")).unwrap();
    old.execute_batch(
        "INSERT INTO logs (id, user_id, created_at, type, model_name, quota, prompt_tokens,
                           completion_tokens, use_time, token_id)
         VALUES (1, 2, 1000, 2, 'gpt-4o', 500000, 10, 20, 3, 1), (2, 2, 1001, 1, '', 9, 0, 0, 0, 0),
                (3, 4, 1002, 2, 'gpt-4o', 5, 1, 1, 1, 5);",
    )
    .unwrap();
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
