//! Owners, groups, invites, second factors: who may be changed and what is used up.

use super::{Fixture, new_user};
use crate::{
    ApiTokenChange, Error, GroupChange, NewApiToken, NewInvite, NewSession, Rotation, SessionHash,
    SessionOrigin, UserChange, UserRole,
};

fn role(role: UserRole, by: Option<UserRole>) -> UserChange {
    UserChange { role: Some(role), by, ..UserChange::default() }
}

#[tokio::test]
async fn the_first_admin_is_the_owner_and_admins_leave_owners_alone() {
    let it = Fixture::new();
    let user = it.user("first", UserRole::User).await;
    let owner = it.user("ann", UserRole::Admin).await;
    let admin = it.user("bob", UserRole::Admin).await;
    assert_eq!(
        (user.role, owner.role, admin.role),
        (UserRole::User, UserRole::Owner, UserRole::Admin)
    );
    let users = it.store.users();
    let by_admin = Some(UserRole::Admin);
    let refused = users.update(owner.id, role(UserRole::User, by_admin)).await;
    assert!(matches!(refused, Err(Error::Higher)));
    assert!(matches!(users.remove(owner.id, by_admin).await, Err(Error::Higher)));
    let last = users.update(owner.id, role(UserRole::Admin, None)).await;
    assert!(matches!(last, Err(Error::LastOwner)));
    let promoted = users.update(admin.id, role(UserRole::Owner, None)).await.unwrap();
    assert_eq!(promoted.role, UserRole::Owner);
    users.update(owner.id, role(UserRole::User, Some(UserRole::Owner))).await.unwrap();
    assert!(matches!(users.remove(admin.id, None).await, Err(Error::LastAdmin)));
    users.remove(owner.id, None).await.unwrap();
    assert!(matches!(users.remove(owner.id, None).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_group_names_models_and_its_end_leaves_its_people() {
    let it = Fixture::new();
    let user = it.user("ann", UserRole::User).await;
    let groups = it.store.groups();
    let group = groups.create("lab".to_owned(), 1).await.unwrap();
    let change =
        GroupChange { models: Some(Some(vec!["qwen*".to_owned()])), ..GroupChange::default() };
    let group = groups.update(group.id, change).await.unwrap();
    groups.put(user.id, Some(group.id)).await.unwrap();
    let member = it.store.users().by_id(user.id).await.unwrap().unwrap();
    assert_eq!(member.group.as_deref(), Some("lab"));
    assert_eq!(member.group_models, Some(vec!["qwen*".to_owned()]));
    groups.delete(group.id).await.unwrap();
    assert_eq!(it.store.users().by_id(user.id).await.unwrap().unwrap().group_id, None);
    assert!(matches!(groups.delete(group.id).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn an_invite_makes_as_many_users_as_it_says_and_none_when_it_has_ended() {
    let it = Fixture::new();
    let group = it.store.groups().create("lab".to_owned(), 1).await.unwrap();
    let new = |hash: u8, expires_at| NewInvite {
        hash: [hash; 32],
        note: String::new(),
        role: UserRole::User,
        group_id: Some(group.id),
        max_uses: 2,
        expires_at,
        created_by: "ann".to_owned(),
        created_at: 50,
    };
    let invites = it.store.invites();
    invites.create(new(1, 1_000)).await.unwrap();
    invites.create(new(2, 90)).await.unwrap();
    // Whatever role the newcomer names, the invite's is theirs.
    let newcomer = |name: &str| new_user(name, UserRole::Admin);
    let first = invites.accept([1; 32], newcomer("a")).await.unwrap();
    assert_eq!((first.role, first.group_id), (UserRole::User, Some(group.id)));
    assert!(matches!(invites.accept([1; 32], newcomer("A")).await, Err(Error::NameTaken)));
    invites.accept([1; 32], newcomer("b")).await.unwrap();
    for hash in [1, 2, 3] {
        let refused = invites.accept([hash; 32], newcomer("c")).await;
        assert!(matches!(refused, Err(Error::NotFound)), "{hash}");
    }
    assert_eq!(invites.by_hash([1; 32]).await.unwrap().unwrap().uses_left, 0);
}

#[tokio::test]
async fn a_code_and_a_step_are_used_once() {
    let it = Fixture::new();
    let user = it.user("ann", UserRole::User).await.id;
    let factors = it.store.factors();
    factors.begin(user, vec![1], 1).await.unwrap();
    assert!(!factors.use_step(user, 5).await.unwrap(), "not confirmed");
    factors.confirm(user, 5, vec![[1; 32], [2; 32]]).await.unwrap();
    assert!(matches!(factors.begin(user, vec![2], 2).await, Err(Error::FactorExists)));
    for (step, taken) in [(5, false), (4, false), (6, true), (6, false)] {
        assert_eq!(factors.use_step(user, step).await.unwrap(), taken, "{step}");
    }
    for (hash, taken) in [(1, true), (1, false), (3, false), (2, true)] {
        assert_eq!(factors.use_code(user, [hash; 32]).await.unwrap(), taken, "{hash}");
    }
    assert_eq!(factors.codes_left(user).await.unwrap(), 0);
}

#[tokio::test]
async fn a_rotated_token_is_found_by_both_secrets_and_the_next_rotation_voids_the_first() {
    let it = Fixture::new();
    let user = it.user("ann", UserRole::User).await;
    let new = NewApiToken {
        user_id: user.id,
        name: "t".to_owned(),
        prefix: "p".to_owned(),
        hash: [1; 32],
        created_at: 1,
        expires_at: None,
        models: None,
        allow_ips: None,
    };
    let tokens = it.store.api_tokens();
    let token = tokens.create(new).await.unwrap();
    let rotation =
        |hash: u8| Rotation { prefix: format!("p{hash}"), hash: [hash; 32], old_expires_at: 60 };
    tokens.rotate(token.id, Some(user.id), rotation(2)).await.unwrap();
    assert!(tokens.by_secret([1; 32]).await.unwrap().unwrap().is_old);
    assert!(!tokens.by_secret([2; 32]).await.unwrap().unwrap().is_old);
    let rotated = tokens.rotate(token.id, None, rotation(3)).await.unwrap();
    assert_eq!((rotated.prefix.as_str(), rotated.old_expires_at), ("p3", Some(60)));
    assert_eq!(tokens.by_secret([1; 32]).await.unwrap(), None);
    let other = it.user("bob", UserRole::User).await;
    let refused = tokens.update(token.id, Some(other.id), ApiTokenChange::default()).await;
    assert!(matches!(refused, Err(Error::NotFound)), "a foreign token is not found");
}

#[tokio::test]
async fn sessions_are_listed_without_their_secrets_and_new_networks_are_told() {
    let it = Fixture::new();
    let user = it.user("ann", UserRole::User).await.id;
    let sessions = it.store.sessions();
    let sign_in = async |hash: u8, network: &str| {
        let new = NewSession {
            hash: SessionHash([hash; 32]),
            user_id: user,
            created_at: i64::from(hash),
            expires_at: 1_000,
        };
        let origin = SessionOrigin {
            method: "password",
            network: Some(network.to_owned()),
            ..SessionOrigin::default()
        };
        sessions.create_from(new, origin).await.unwrap()
    };
    assert!(!sign_in(1, "a").await, "the first is no surprise");
    assert!(sign_in(2, "b").await);
    assert!(!sign_in(3, "a").await);
    let rows = sessions.list_of(user).await.unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0].id, "0303030303030303");
    let stranger = it.user("bob", UserRole::User).await.id;
    assert!(matches!(sessions.end_of(stranger, rows[0].id.clone()).await, Err(Error::NotFound)));
    sessions.end_of(user, rows[0].id.clone()).await.unwrap();
    assert_eq!(sessions.end_all_of(user, Some(SessionHash([1; 32]))).await.unwrap(), 1);
}
