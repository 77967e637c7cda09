//! API tokens, the control secret and `INITIAL_ROOT_TOKEN`.

use std::net::IpAddr;

use hearth_store::{ApiToken, UserRole};

use super::{Fixture, PASSWORD, PEER};
use crate::accounts::{AccountChange, NewToken, Secret, read_control_secret};
use crate::caller::{Caller, Via};
use crate::error::Error;

fn named(name: &str) -> NewToken {
    NewToken { name: name.to_owned(), ..NewToken::default() }
}

fn texts(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|&text| text.to_owned()).collect())
}

impl Fixture {
    async fn token(&self, caller: &Caller, new: NewToken) -> (ApiToken, Secret) {
        self.accounts.create_token(caller, new).await.unwrap()
    }

    async fn bearer(&self, secret: &Secret) -> crate::Result<Caller> {
        self.accounts.caller_by_bearer(secret.reveal(), PEER).await
    }
}

#[tokio::test]
async fn an_api_token_acts_for_its_owner_until_it_is_deleted() {
    let it = Fixture::new();
    let ann = it.user("ann", UserRole::User).await;
    let caller = it.caller("ann").await;
    let (token, secret) = it.token(&caller, named("laptop")).await;
    assert_eq!(token.prefix, format!("{}…", &secret.reveal()[..14]));
    assert_eq!((token.user.as_str(), token.last_used_at), ("ann", None));
    let by_token = it.bearer(&secret).await.unwrap();
    assert_eq!((by_token.user_id, by_token.token_id()), (Some(ann.id), Some(token.id)));
    assert!(by_token.may_use_model("anything"));
    let used_at =
        async || it.accounts.list_tokens(&caller, false, None, 10).await.unwrap()[0].last_used_at;
    assert_eq!(used_at().await, Some(it.now()));
    it.wait(59);
    it.bearer(&secret).await.unwrap();
    assert_eq!(used_at().await, Some(it.now() - 59), "written once a minute");
    it.wait(1);
    it.bearer(&secret).await.unwrap();
    assert_eq!(used_at().await, Some(it.now()));
    it.accounts.delete_token(&caller, token.id).await.unwrap();
    assert_eq!(it.bearer(&secret).await, Err(Error::NotSignedIn));
}

#[tokio::test]
async fn an_api_token_keeps_to_its_limits() {
    let it = Fixture::new();
    it.user("boss", UserRole::Admin).await;
    let caller = it.caller("boss").await;
    let new = NewToken {
        name: "limited".to_owned(),
        user: None,
        expires_at: Some(it.now() + 100),
        models: texts(&["qwen*"]),
        allow_ips: texts(&["192.0.2.77/24", "2001:db8::1"]),
        ..NewToken::default()
    };
    let (token, secret) = it.token(&caller, new).await;
    assert_eq!(token.allow_ips, texts(&["192.0.2.0/24", "2001:db8::1/128"]));
    let from = async |peer: &str| {
        it.accounts.caller_by_bearer(secret.reveal(), peer.parse::<IpAddr>().unwrap()).await
    };
    for peer in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"] {
        from(peer).await.unwrap();
    }
    for peer in ["192.0.3.1", "2001:db8::2", "::1"] {
        assert!(matches!(from(peer).await, Err(Error::Forbidden(_))), "{peer}");
    }
    let limited = from("192.0.2.1").await.unwrap();
    assert!(limited.may_use_model("qwen3") && !limited.may_use_model("llama3"));
    // With it nobody makes a credential that can do more.
    let escapes = [
        it.accounts.create_token(&limited, named("free")).await.err(),
        it.accounts.delete_token(&limited, token.id).await.err(),
        it.accounts.change_password(&limited, PASSWORD, "battery staple").await.err(),
    ];
    for escape in escapes {
        assert!(matches!(escape, Some(Error::Forbidden(_))), "{escape:?}");
    }
    it.wait(100);
    assert_eq!(from("192.0.2.1").await, Err(Error::NotSignedIn));
}

#[tokio::test]
async fn a_disabled_user_has_no_working_api_token() {
    let it = Fixture::new();
    it.user("boss", UserRole::Admin).await;
    let ann = it.user("ann", UserRole::User).await;
    let (_, secret) = it.token(&it.caller("ann").await, named("laptop")).await;
    let set = async |disabled| {
        let change = AccountChange { disabled: Some(disabled), ..AccountChange::default() };
        it.accounts.update_user(&Caller::operator(), ann.id, change).await.unwrap();
    };
    set(true).await;
    assert_eq!(it.bearer(&secret).await, Err(Error::NotSignedIn));
    set(false).await;
    it.bearer(&secret).await.unwrap();
}

#[tokio::test]
async fn api_tokens_of_others_need_an_admin() {
    let it = Fixture::new();
    it.user("boss", UserRole::Admin).await;
    it.user("ann", UserRole::User).await;
    let (boss, ann) = (it.caller("boss").await, it.caller("ann").await);
    let (bosses, _) = it.token(&boss, named("mine")).await;
    let for_boss = NewToken { user: Some("boss".to_owned()), ..named("stolen") };
    let refused = it.accounts.create_token(&ann, for_boss).await.err();
    assert!(matches!(refused, Some(Error::Forbidden(_))));
    assert_eq!(it.accounts.delete_token(&ann, bosses.id).await, Err(Error::NotFound));
    let for_ann = NewToken { user: Some("ANN".to_owned()), ..named("gift") };
    let (gift, secret) = it.token(&boss, for_ann).await;
    assert_eq!(it.bearer(&secret).await.unwrap().name, "ann");
    let own = it.accounts.list_tokens(&ann, false, None, 10).await.unwrap();
    assert_eq!(own.iter().map(|token| token.id).collect::<Vec<_>>(), [gift.id]);
    assert_eq!(it.accounts.list_tokens(&boss, true, None, 10).await.unwrap().len(), 2);
    it.accounts.delete_token(&boss, gift.id).await.unwrap();
    // The operator owns nothing, and so names a user.
    let operator = Caller::operator();
    assert!(it.accounts.create_token(&operator, named("x")).await.is_err());
    let for_ann = NewToken { user: Some("ann".to_owned()), ..named("x") };
    it.accounts.create_token(&operator, for_ann).await.unwrap();
}

#[tokio::test]
async fn wrong_limits_are_refused_by_name() {
    let it = Fixture::new();
    it.user("ann", UserRole::User).await;
    let caller = it.caller("ann").await;
    for (new, wanted) in [
        (NewToken { expires_at: Some(it.now()), ..named("x") }, "expires_at"),
        (NewToken { models: texts(&["*a"]), ..named("x") }, "models"),
        (NewToken { models: texts(&[""]), ..named("x") }, "models"),
        (NewToken { models: texts(&["m"; 101]), ..named("x") }, "models"),
        (NewToken { allow_ips: texts(&["10.0.0.0/33"]), ..named("x") }, "allow_ips"),
        (NewToken { allow_ips: texts(&["example.com"]), ..named("x") }, "allow_ips"),
    ] {
        let Err(Error::Invalid { param, .. }) = it.accounts.create_token(&caller, new).await else {
            panic!("{wanted}")
        };
        assert_eq!(param.as_deref(), Some(wanted));
    }
    let unnamed = it.accounts.create_token(&caller, named(" ")).await.err();
    assert!(matches!(unnamed, Some(Error::InvalidName(_))));
}

#[tokio::test]
async fn the_control_secret_works_from_this_machine_alone() {
    let it = Fixture::new();
    let secret = read_control_secret(it.dir.path()).unwrap().unwrap();
    let from = async |peer: &str| {
        it.accounts.caller_by_bearer(secret.reveal(), peer.parse().unwrap()).await
    };
    for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(from(peer).await, Ok(Caller::operator()));
    }
    assert_eq!(from("192.0.2.1").await, Err(Error::NotSignedIn));
}

#[tokio::test]
async fn the_initial_root_token_signs_in_and_calls_and_can_be_given_again() {
    let it = Fixture::new();
    let secret = "my-old-root-token";
    for _ in 0..2 {
        it.accounts.bootstrap_root(secret).await.unwrap();
    }
    assert!(!it.accounts.setup_required().await.unwrap());
    let by_token = it.accounts.caller_by_bearer(secret, PEER).await.unwrap();
    by_token.require_admin().unwrap();
    assert!(matches!(by_token.via, Via::ApiToken { restricted: false, .. }));
    let tokens = it.accounts.list_tokens(&by_token, true, None, 10).await.unwrap();
    assert_eq!(tokens.len(), 1);
    assert!(!tokens[0].prefix.contains("my-"));
    let root = it.accounts.sign_in("root", secret, PEER).await.unwrap().user;
    assert_eq!((root.name.as_str(), root.role), ("root", UserRole::Owner));
    // A password that was changed since stays changed.
    let caller = it.caller_of_root(secret).await;
    it.accounts.change_password(&caller, secret, "battery staple").await.unwrap();
    it.accounts.bootstrap_root(secret).await.unwrap();
    it.accounts.sign_in("root", "battery staple", PEER).await.unwrap();
}

#[tokio::test]
async fn a_revoked_root_token_stays_revoked_and_a_changed_one_makes_no_second() {
    let it = Fixture::new();
    let secret = "my-old-root-token";
    it.accounts.bootstrap_root(secret).await.unwrap();
    it.accounts.bootstrap_root("another-root-token").await.unwrap();
    let by_token = it.accounts.caller_by_bearer(secret, PEER).await.unwrap();
    let other = it.accounts.caller_by_bearer("another-root-token", PEER).await;
    assert_eq!(other, Err(Error::NotSignedIn));
    it.accounts.delete_token(&by_token, by_token.token_id().unwrap()).await.unwrap();
    it.accounts.bootstrap_root(secret).await.unwrap();
    assert_eq!(it.accounts.caller_by_bearer(secret, PEER).await, Err(Error::NotSignedIn));
}

#[tokio::test]
async fn an_ordinary_user_called_root_gets_no_root_token() {
    let it = Fixture::new();
    it.user("boss", UserRole::Admin).await;
    it.user("Root", UserRole::User).await;
    it.accounts.bootstrap_root("my-old-root-token").await.unwrap();
    let by_token = it.accounts.caller_by_bearer("my-old-root-token", PEER).await;
    assert_eq!(by_token, Err(Error::NotSignedIn));
}

#[tokio::test]
async fn a_weak_root_token_makes_nobody() {
    let it = Fixture::new();
    for bad in ["fifteen letters", "line\nbreak in a long one", &"x".repeat(129)] {
        assert!(it.accounts.bootstrap_root(bad).await.is_err(), "{bad}");
    }
    assert!(it.accounts.setup_required().await.unwrap());
}

#[tokio::test]
async fn what_is_no_credential_is_not_signed_in() {
    let it = Fixture::new();
    for secret in ["", "x", "sk-hearth-", "hearth-control-", &"x".repeat(10_000)] {
        let refused = it.accounts.caller_by_bearer(secret, PEER).await;
        assert_eq!(refused, Err(Error::NotSignedIn));
    }
}

impl Fixture {
    async fn caller_of_root(&self, password: &str) -> Caller {
        let session = self.accounts.sign_in("root", password, PEER).await.unwrap().session;
        self.accounts.caller_by_session(session.reveal(), PEER).await.unwrap()
    }
}
