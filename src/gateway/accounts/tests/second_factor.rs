//! The second factor, and what must be confirmed first.

use hearth_store::UserRole;
use totp_rs::{Builder, Secret as Seed};

use super::{Fixture, PASSWORD, PEER};
use crate::accounts::{AccountChange, Visit};
use crate::caller::Caller;
use crate::error::Error;

/// The code of an authenticator with this seed, at this time.
fn code(seed: &str, at: i64) -> String {
    let seed = Seed::try_from_base32(seed).unwrap();
    let totp = Builder::new().with_secret(seed).with_account_name("x").build().unwrap();
    totp.generate(at.unsigned_abs()).to_string()
}

fn with(code: &str) -> Visit {
    Visit { code: Some(code.to_owned()), ..PEER.into() }
}

/// A caller whose second factor is on, its seed and its recovery codes.
async fn enrolled(it: &Fixture) -> (Caller, String, Vec<String>) {
    it.user("ann", UserRole::Admin).await;
    let caller = it.caller("ann").await;
    let enrolment = it.accounts.begin_second_factor(&caller).await.unwrap();
    let seed = enrolment.seed.reveal().to_owned();
    let address = enrolment.address.reveal();
    assert!(address.starts_with("otpauth://totp/Hearth:ann?secret="), "{address}");
    let codes = it.accounts.confirm_second_factor(&caller, &code(&seed, it.now())).await.unwrap();
    let codes: Vec<String> = codes.iter().map(|code| code.reveal().to_owned()).collect();
    assert_eq!(codes.len(), 10);
    (caller, seed, codes)
}

#[tokio::test]
async fn a_code_is_asked_for_after_the_right_password_alone() {
    let it = Fixture::new();
    it.user("bob", UserRole::Admin).await;
    let (_, seed, _) = enrolled(&it).await;
    it.wait(30);
    let missing = it.accounts.sign_in("ann", PASSWORD, PEER).await;
    assert_eq!(missing.unwrap_err(), Error::SecondFactorRequired);
    let guess = it.accounts.sign_in("ann", "wrong horse", with(&code(&seed, it.now()))).await;
    assert_eq!(guess.unwrap_err(), Error::WrongCredentials, "the password comes first");
    it.accounts.sign_in("ann", PASSWORD, with(&code(&seed, it.now()))).await.unwrap();
}

#[tokio::test]
async fn a_code_is_good_once_and_only_near_its_time() {
    let it = Fixture::new();
    let (_, seed, _) = enrolled(&it).await;
    let used = code(&seed, it.now());
    let sign_in = async |code: String| it.accounts.sign_in("ann", PASSWORD, with(&code)).await;
    assert!(sign_in(used).await.is_err(), "the code that confirmed the factor is used up");
    it.wait(60);
    let now = it.now();
    sign_in(code(&seed, now)).await.unwrap();
    assert!(sign_in(code(&seed, now)).await.is_err(), "replayed");
    assert!(sign_in(code(&seed, now - 30)).await.is_err(), "an earlier one, after a later one");
    assert!(sign_in(code(&seed, now + 300)).await.is_err(), "of the future");
    it.wait(600);
    sign_in(code(&seed, it.now())).await.unwrap();
}

#[tokio::test]
async fn of_two_sign_ins_at_once_with_one_code_one_is_let_in() {
    let it = Fixture::new();
    let (_, seed, codes) = enrolled(&it).await;
    it.wait(60);
    for code in [code(&seed, it.now()), codes[0].clone()] {
        let (one, two) = tokio::join!(
            it.accounts.sign_in("ann", PASSWORD, with(&code)),
            it.accounts.sign_in("ann", PASSWORD, with(&code))
        );
        assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1);
    }
}

#[tokio::test]
async fn a_recovery_code_works_once_however_it_is_written() {
    let it = Fixture::new();
    let (caller, _, codes) = enrolled(&it).await;
    let sloppy = codes[0].to_lowercase().replace('-', " ");
    it.accounts.sign_in("ann", PASSWORD, with(&sloppy)).await.unwrap();
    let again = it.accounts.sign_in("ann", PASSWORD, with(&codes[0])).await;
    assert_eq!(again.unwrap_err(), Error::WrongCredentials);
    assert_eq!(it.accounts.second_factor(&caller).await.unwrap().codes_left, 9);
    it.accounts.renew_recovery_codes(&caller).await.unwrap();
    let old = it.accounts.sign_in("ann", PASSWORD, with(&codes[1])).await;
    assert_eq!(old.unwrap_err(), Error::WrongCredentials, "new codes void the old ones");
}

#[tokio::test]
async fn guesses_at_codes_run_out() {
    let it = Fixture::new();
    let (_, seed, _) = enrolled(&it).await;
    it.wait(60);
    for _ in 0..5 {
        let wrong = it.accounts.sign_in("ann", PASSWORD, with("000000")).await;
        assert_eq!(wrong.unwrap_err(), Error::WrongCredentials);
    }
    let blocked = it.accounts.sign_in("ann", PASSWORD, with(&code(&seed, it.now()))).await;
    assert!(matches!(blocked, Err(Error::TooManyAttempts { .. })));
}

#[tokio::test]
async fn the_seed_is_sealed_in_the_database() {
    let it = Fixture::new();
    let (caller, seed, _) = enrolled(&it).await;
    let factor = it.store.factors().of(caller.user_id.unwrap()).await.unwrap().unwrap();
    let plain = Seed::try_from_base32(&seed).unwrap();
    let plain: &[u8] = plain.as_ref();
    assert!(!factor.seed.windows(plain.len()).any(|window| window == plain));
}

#[tokio::test]
async fn a_new_master_key_seals_the_seeds_anew_and_codes_go_on_working() {
    let it = Fixture::new();
    let (caller, seed, _) = enrolled(&it).await;
    let sealed =
        async || it.store.factors().of(caller.user_id.unwrap()).await.unwrap().unwrap().seed;
    let before = sealed().await;
    let vault = &it.accounts.inner.vault;
    assert_eq!(vault.rotate(&it.store).await.unwrap(), 1);
    assert_ne!(sealed().await, before);
    it.wait(30);
    it.accounts.sign_in("ann", PASSWORD, with(&code(&seed, it.now()))).await.unwrap();
}

#[tokio::test]
async fn dangerous_acts_need_a_session_that_was_confirmed_lately() {
    let it = Fixture::new();
    it.user("ann", UserRole::Admin).await;
    let bob = it.user("bob", UserRole::User).await;
    let session = it.sign_in("ann").await.session;
    it.wait(20 * 60 + 1);
    let by_session = async || it.accounts.caller_by_session(session.reveal(), PEER).await.unwrap();
    let caller = by_session().await;
    let disable = || AccountChange { disabled: Some(true), ..AccountChange::default() };
    let refused = it.accounts.update_user(&caller, bob.id, disable()).await;
    assert_eq!(refused.unwrap_err(), Error::ConfirmRequired);
    assert_eq!(it.accounts.remove_user(&caller, bob.id).await, Err(Error::ConfirmRequired));
    let begun = it.accounts.begin_second_factor(&caller).await;
    assert_eq!(begun.unwrap_err(), Error::ConfirmRequired);
    let wrong = it.accounts.confirm_session(&caller, "wrong horse", PEER.into()).await;
    assert_eq!(wrong, Err(Error::WrongCredentials));
    it.accounts.confirm_session(&caller, PASSWORD, PEER.into()).await.unwrap();
    it.accounts.update_user(&by_session().await, bob.id, disable()).await.unwrap();
}

#[tokio::test]
async fn no_token_and_no_operator_turns_a_persons_second_factor_on_or_off() {
    let it = Fixture::new();
    let (caller, _, _) = enrolled(&it).await;
    let operator = Caller::operator();
    assert!(matches!(it.accounts.begin_second_factor(&operator).await, Err(Error::Forbidden(_))));
    assert!(matches!(it.accounts.end_second_factor(&operator).await, Err(Error::Forbidden(_))));
    it.accounts.reset_second_factor(&operator, caller.user_id.unwrap()).await.unwrap();
    it.accounts.sign_in("ann", PASSWORD, PEER).await.unwrap();
}

#[tokio::test]
async fn every_failed_sign_in_costs_the_same_one_hash() {
    let it = Fixture::new();
    it.user("boss", UserRole::Admin).await;
    let gone = it.user("gone", UserRole::User).await;
    let change = AccountChange { disabled: Some(true), ..AccountChange::default() };
    it.accounts.update_user(&Caller::operator(), gone.id, change).await.unwrap();
    enrolled(&it).await;
    it.accounts.import_users(&Caller::operator(), b"name,role\nempty,user\n", false).await.unwrap();
    let mut texts = Vec::new();
    for (name, password) in [
        ("nobody", PASSWORD),
        ("boss", "wrong horse"),
        ("gone", PASSWORD),
        ("gone", "wrong horse"),
        ("empty", ""),
        ("empty", PASSWORD),
        ("ann", "wrong horse"),
    ] {
        let before = it.accounts.inner.passwords.worked();
        let error = it.accounts.sign_in(name, password, with("123456")).await.unwrap_err();
        let worked = it.accounts.inner.passwords.worked() - before;
        assert_eq!(worked, 1, "{name}: as many hashes as for everybody else");
        texts.push(error.to_string());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "one text for all: {texts:?}");
}

#[tokio::test]
async fn a_sign_in_from_a_new_network_is_written_as_an_alert_with_its_session() {
    let it = Fixture::new();
    let operator = Caller::operator();
    let user = it.user("ann", UserRole::User).await;
    let change =
        AccountChange { email: Some(Some("ann@b.example".to_owned())), ..AccountChange::default() };
    it.accounts.update_user(&operator, user.id, change).await.unwrap();
    let from = async |address: &str| {
        let visit = Visit::from(address.parse::<std::net::IpAddr>().unwrap());
        it.accounts.sign_in("ann", PASSWORD, visit).await.unwrap();
        it.store.alerts().list(None, 10).await.unwrap()
    };
    assert!(from("192.0.2.1").await.is_empty(), "the first is no surprise");
    assert!(from("192.0.2.77").await.is_empty(), "nor is a neighbour");
    let told = from("198.51.100.1").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].address, "ann@b.example", "she is told herself");
    assert_eq!(told[0].subject, "Hearth: ann signed in from a new place");
    assert_eq!(from("198.51.100.2").await.len(), 1);
    let off = hearth_store::AlertRule {
        rule: "sign_in".to_owned(),
        is_on: false,
        threshold: 0,
        floor: 0,
    };
    it.store.alerts().set_rule(off).await.unwrap();
    assert_eq!(from("203.0.113.1").await.len(), 1, "nobody wants to know any more");
}
