//! Owners, groups, invites, files of people, rotated tokens and the log of it all.

use hearth_store::{AuditFilter, GroupId, UserRole};

use super::{Fixture, PASSWORD, PEER};
use crate::accounts::{
    AccountChange, GroupWishes, InviteWishes, Join, NewAccount, NewToken, TokenChange,
};
use crate::caller::Caller;
use crate::error::Error;

fn new_token(name: &str) -> NewToken {
    NewToken { name: name.to_owned(), ..NewToken::default() }
}

async fn group(it: &Fixture, name: &str, models: Option<&str>) -> GroupId {
    let wishes = GroupWishes {
        name: Some(name.to_owned()),
        models: models.map(|model| Some(vec![model.to_owned()])),
        weight: None,
    };
    it.accounts.create_group(&Caller::operator(), wishes).await.unwrap().id
}

#[tokio::test]
async fn an_admin_cannot_make_change_or_act_for_an_owner() {
    let it = Fixture::new();
    let owner = it.user("olga", UserRole::Admin).await;
    assert_eq!(owner.role, UserRole::Owner, "the first admin");
    it.user("adam", UserRole::Admin).await;
    let admin = it.caller("adam").await;
    let forbidden = |error: Error| assert!(matches!(error, Error::Forbidden(_)), "{error:?}");
    for change in [
        AccountChange { disabled: Some(true), ..AccountChange::default() },
        AccountChange { password: Some("another horse".to_owned()), ..AccountChange::default() },
        AccountChange { role: Some(UserRole::User), ..AccountChange::default() },
        AccountChange { email: Some(None), ..AccountChange::default() },
    ] {
        forbidden(it.accounts.update_user(&admin, owner.id, change).await.unwrap_err());
    }
    forbidden(it.accounts.remove_user(&admin, owner.id).await.unwrap_err());
    forbidden(it.accounts.end_sessions_of(&admin, owner.id).await.unwrap_err());
    forbidden(it.accounts.reset_second_factor(&admin, owner.id).await.unwrap_err());
    let for_owner = NewToken { user: Some("olga".to_owned()), ..new_token("t") };
    forbidden(it.accounts.create_token(&admin, for_owner).await.unwrap_err());
    let new =
        NewAccount { name: "eve".to_owned(), role: UserRole::Owner, password: PASSWORD.to_owned() };
    forbidden(it.accounts.create_user(&admin, new).await.unwrap_err());
    let csv = b"name,role\neve,owner\n";
    assert!(it.accounts.import_users(&admin, csv, false).await.is_err());
    let owners = it.caller("olga").await;
    let (token, _) = it.accounts.create_token(&owners, new_token("t")).await.unwrap();
    forbidden(it.accounts.delete_token(&admin, token.id).await.unwrap_err());
    forbidden(it.accounts.rotate_token(&admin, token.id, 0).await.unwrap_err());
    let itself = AccountChange { role: Some(UserRole::Owner), ..AccountChange::default() };
    let adam = admin.user_id.unwrap();
    forbidden(it.accounts.update_user(&admin, adam, itself.clone()).await.unwrap_err());
    it.accounts.update_user(&owners, adam, itself).await.unwrap();
}

#[tokio::test]
async fn a_group_bounds_the_models_and_weighs_the_share_of_its_people_at_once() {
    let it = Fixture::new();
    let user = it.user("ann", UserRole::User).await;
    let id = group(&it, "lab", Some("qwen*")).await;
    let session = it.sign_in("ann").await.session;
    let caller = async || it.accounts.caller_by_session(session.reveal(), PEER).await.unwrap();
    assert!(caller().await.may_use_model("llama3"));
    let join = AccountChange { group: Some(Some("LAB".to_owned())), ..AccountChange::default() };
    it.accounts.update_user(&Caller::operator(), user.id, join).await.unwrap();
    assert!(!caller().await.may_use_model("llama3"));
    assert!(caller().await.may_use_model("qwen3"));
    let all = GroupWishes { models: Some(None), ..GroupWishes::default() };
    it.accounts.update_group(&Caller::operator(), id, all).await.unwrap();
    assert!(caller().await.may_use_model("llama3"));
    assert_eq!(caller().await.asker().weight, 1);
    let three = GroupWishes { weight: Some(3), ..GroupWishes::default() };
    let changed = it.accounts.update_group(&Caller::operator(), id, three).await.unwrap();
    assert_eq!((changed.weight, caller().await.asker().weight), (3, 3));
    for weight in [0, 101] {
        let wrong = GroupWishes { weight: Some(weight), ..GroupWishes::default() };
        let refused = it.accounts.update_group(&Caller::operator(), id, wrong).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })));
    }
    let absent = AccountChange { group: Some(Some("none".to_owned())), ..AccountChange::default() };
    let refused = it.accounts.update_user(&Caller::operator(), user.id, absent).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn a_token_for_a_group_works_while_its_owner_is_in_it() {
    let it = Fixture::new();
    let user = it.user("ann", UserRole::User).await;
    group(&it, "lab", None).await;
    let caller = it.caller("ann").await;
    let new = NewToken { groups: Some(vec!["lab".to_owned()]), ..new_token("t") };
    let (_, secret) = it.accounts.create_token(&caller, new).await.unwrap();
    let by = async || it.accounts.caller_by_bearer(secret.reveal(), PEER).await;
    assert!(matches!(by().await, Err(Error::Forbidden(_))));
    let join = AccountChange { group: Some(Some("lab".to_owned())), ..AccountChange::default() };
    it.accounts.update_user(&Caller::operator(), user.id, join).await.unwrap();
    by().await.unwrap();
}

#[tokio::test]
async fn a_rotated_token_overlaps_as_long_as_was_wished() {
    let it = Fixture::new();
    it.user("ann", UserRole::User).await;
    it.user("eve", UserRole::User).await;
    let caller = it.caller("ann").await;
    let (token, old) = it.accounts.create_token(&caller, new_token("t")).await.unwrap();
    let stranger = it.caller("eve").await;
    let foreign = it.accounts.rotate_token(&stranger, token.id, 0).await;
    assert_eq!(foreign.unwrap_err(), Error::NotFound, "as if it were not there");
    let (_, new) = it.accounts.rotate_token(&caller, token.id, 60).await.unwrap();
    let by = async |secret: &str| it.accounts.caller_by_bearer(secret, PEER).await;
    by(old.reveal()).await.unwrap();
    by(new.reveal()).await.unwrap();
    it.wait(60);
    assert_eq!(by(old.reveal()).await, Err(Error::NotSignedIn));
    by(new.reveal()).await.unwrap();
    let disable = TokenChange { disabled: Some(true), ..TokenChange::default() };
    it.accounts.update_token(&caller, token.id, disable).await.unwrap();
    assert_eq!(by(new.reveal()).await, Err(Error::NotSignedIn));
}

fn invite(uses: u32) -> InviteWishes {
    InviteWishes {
        note: "new people".to_owned(),
        role: UserRole::User,
        group: None,
        uses,
        lifetime_s: 3_600,
    }
}

fn join(secret: &str, name: &str) -> Join {
    Join { secret: secret.to_owned(), name: name.to_owned(), password: PASSWORD.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_follow_an_invite_for_two_at_once_two_get_in() {
    let it = Fixture::new();
    let (_, secret) = it.accounts.create_invite(&Caller::operator(), invite(2)).await.unwrap();
    let tasks: Vec<_> = ["a1", "b2", "c3", "d4", "e5"]
        .into_iter()
        .map(|name| {
            let (accounts, join) = (it.accounts.clone(), join(secret.reveal(), name));
            tokio::spawn(async move { accounts.join(join, PEER.into()).await })
        })
        .collect();
    let mut joined = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => joined += 1,
            Err(Error::NotFound) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(joined, 2);
}

#[tokio::test]
async fn an_invite_ends_by_time_and_guesses_at_one_run_out() {
    let it = Fixture::new();
    let operator = Caller::operator();
    let (made, secret) = it.accounts.create_invite(&operator, invite(1)).await.unwrap();
    it.wait(3_600);
    let late = it.accounts.join(join(secret.reveal(), "ann"), PEER.into()).await;
    assert_eq!(late.unwrap_err(), Error::NotFound);
    it.accounts.delete_invite(&operator, made.id).await.unwrap();
    let owner = InviteWishes { role: UserRole::Owner, ..invite(1) };
    assert!(it.accounts.create_invite(&operator, owner).await.is_err());
    for wrong in
        [InviteWishes { uses: 0, ..invite(1) }, InviteWishes { lifetime_s: 1, ..invite(1) }]
    {
        assert!(it.accounts.create_invite(&operator, wrong).await.is_err());
    }
    let mut last = Ok(());
    for _ in 0..20 {
        last = it.accounts.join(join("wrong", "ann"), PEER.into()).await.map(drop);
    }
    assert!(matches!(last, Err(Error::TooManyAttempts { .. })));
}

#[tokio::test]
async fn people_come_from_a_file_all_or_none_and_go_back_into_one_without_formulas() {
    let it = Fixture::new();
    let operator = Caller::operator();
    group(&it, "lab", None).await;
    let import =
        async |text: &str, dry| it.accounts.import_users(&operator, text.as_bytes(), dry).await;
    let good = "name,role,group,email,disabled,password\n\
                '=cmd()|x,user,lab,a@b.example,no,correct horse\n\
                root,admin,,,,\n\
                \"Doe, Jane\",user,,,yes,\n";
    assert_eq!(import(good, true).await.unwrap().users, 3);
    assert!(it.store.users().is_empty().await.unwrap(), "only looked at");
    for bad in [
        "name,role\nann,king\n",
        "name,group\nann,none\n",
        "name,email\nann,nonsense\n",
        "name,password\nann,short\n",
        "name,colour\nann,red\n",
        "role\nuser\n",
        "name\nann\nbob\nANN\n",
        "name,disabled\nann,perhaps\n",
    ] {
        assert!(matches!(import(bad, false).await, Err(Error::Invalid { .. })), "{bad}");
    }
    assert!(it.store.users().is_empty().await.unwrap(), "none of them");
    import(good, false).await.unwrap();
    let again = import(good, false).await.unwrap_err().to_string();
    assert!(again.contains("Row 1"), "{again}");
    it.accounts.sign_in("=cmd()|x", PASSWORD, PEER).await.unwrap();
    let empty = it.accounts.sign_in("root", "", PEER).await;
    assert_eq!(empty.unwrap_err(), Error::WrongCredentials, "no password is no open door");
    let table = it.accounts.export_users(&operator).await.unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "name,role,group,email,disabled,created_at");
    assert!(lines[1].starts_with("'=cmd()|x,user,lab,a@b.example,false,"), "{table}");
    assert!(lines[2].starts_with("root,owner,"), "{table}");
    assert!(lines[3].starts_with("\"Doe, Jane\",user,,,true,"), "{table}");
}

#[tokio::test]
async fn every_administrative_act_stands_in_the_log_without_its_secrets() {
    let it = Fixture::new();
    it.user("olga", UserRole::Admin).await;
    let caller = it.caller("olga").await;
    let user = it.user("ann", UserRole::User).await;
    let change =
        AccountChange { password: Some("another horse".to_owned()), ..AccountChange::default() };
    it.accounts.update_user(&caller, user.id, change).await.unwrap();
    let (token, secret) = it.accounts.create_token(&caller, new_token("t")).await.unwrap();
    it.accounts.delete_token(&caller, token.id).await.unwrap();
    let id = group(&it, "lab", None).await;
    it.accounts.delete_group(&caller, id).await.unwrap();
    let (_, invite) = it.accounts.create_invite(&caller, invite(1)).await.unwrap();
    it.accounts.join(join(invite.reveal(), "joe"), PEER.into()).await.unwrap();
    it.accounts.change_password(&caller, PASSWORD, "a third horse").await.unwrap();
    it.accounts.remove_user(&caller, user.id).await.unwrap();
    let acts = it.accounts.list_audit(&caller, AuditFilter::default(), 100).await.unwrap();
    let mut actions: Vec<&str> = acts.iter().map(|act| act.action.as_str()).collect();
    actions.reverse();
    assert_eq!(
        actions,
        [
            "users.create",
            "session.start",
            "users.create",
            "users.update",
            "tokens.create",
            "tokens.delete",
            "groups.create",
            "groups.delete",
            "invites.create",
            "users.join",
            "session.start",
            "me.password",
            "users.remove",
        ]
    );
    let text = serde_json::to_string(&acts).unwrap();
    for hidden in ["horse", secret.reveal(), invite.reveal(), "argon2"] {
        assert!(!text.contains(hidden), "{hidden}");
    }
    let mine = acts.iter().find(|act| act.action == "users.update").unwrap();
    assert_eq!((mine.actor.as_str(), mine.via.as_str()), ("olga", "session"));
    assert_eq!((mine.address.as_str(), mine.target.as_str()), ("192.0.2.1", "user ann"));
    assert_eq!(it.accounts.verify_audit(&caller, None).await.unwrap().fault, None);
    let joe = it.caller("joe").await;
    let refused = it.accounts.list_audit(&joe, AuditFilter::default(), 1).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))));
}

#[tokio::test]
async fn a_refused_act_leaves_no_trace_in_the_log() {
    let it = Fixture::new();
    it.user("olga", UserRole::Admin).await;
    let caller = it.caller("olga").await;
    let before = it.accounts.list_audit(&caller, AuditFilter::default(), 100).await.unwrap().len();
    let twice =
        NewAccount { name: "OLGA".to_owned(), role: UserRole::User, password: PASSWORD.to_owned() };
    it.accounts.create_user(&caller, twice).await.unwrap_err();
    let itself = AccountChange { disabled: Some(true), ..AccountChange::default() };
    let last = it.accounts.update_user(&caller, caller.user_id.unwrap(), itself).await;
    assert!(matches!(last, Err(Error::Conflict { code: "last_admin", .. })));
    let after = it.accounts.list_audit(&caller, AuditFilter::default(), 100).await.unwrap().len();
    assert_eq!(before, after);
}

#[tokio::test]
async fn what_is_taken_away_is_told_to_those_who_wait() {
    let it = Fixture::new();
    let ann = it.user("ann", UserRole::User).await;
    it.user("bob", UserRole::User).await;
    let (anns, bobs) = (it.caller("ann").await, it.caller("bob").await);
    let (mut ann_waits, mut bob_waits) = (it.accounts.watch(&anns), it.accounts.watch(&bobs));
    let disable = AccountChange { disabled: Some(true), ..AccountChange::default() };
    it.accounts.update_user(&Caller::operator(), ann.id, disable).await.unwrap();
    ann_waits.revoked().await;
    let (_, id) = it.accounts.list_sessions(&bobs).await.unwrap();
    tokio::select! {
        biased;
        () = bob_waits.revoked() => panic!("bob has lost nothing"),
        () = tokio::task::yield_now() => {}
    }
    it.accounts.end_session(&bobs, &id.unwrap()).await.unwrap();
    bob_waits.revoked().await;
}
