//! Channels, their keys and prices, routes, and the sealing of all secrets anew.

use super::Fixture;
use crate::{ChannelKey, ChannelKeyId, Error, GroupId, NewChannel, Price, PriceRow, RouteRow};

fn channel(name: &str) -> NewChannel {
    NewChannel {
        name: name.to_owned(),
        preset: "openai".to_owned(),
        base_url: "https://api.example/v1".to_owned(),
        is_enabled: true,
        priority: -3,
        weight: 2,
        settings: "{}".to_owned(),
    }
}

fn key(id: &str) -> ChannelKey {
    ChannelKey {
        id: ChannelKeyId(id.to_owned()),
        sealed: id.bytes().rev().collect(),
        hint: "…9".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_comes_back_as_it_was_saved_and_goes_with_all_that_is_its() {
    let it = Fixture::new();
    let channels = it.store.channels();
    let id = channels.create(channel("One"), vec![key("a"), key("b")], 100).await.unwrap();
    let taken = channels.create(channel("ONE"), Vec::new(), 100).await;
    assert!(matches!(taken, Err(Error::NameTaken)));
    let listed = channels.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].id, &listed[0].row), (id, &channel("One")));
    assert_eq!(listed[0].keys, [key("a"), key("b")]);

    channels.remove_key(id, ChannelKeyId("a".to_owned())).await.unwrap();
    channels.add_key(id, key("c"), 200).await.unwrap();
    let again = channels.remove_key(id, ChannelKeyId("a".to_owned())).await;
    assert!(matches!(again, Err(Error::NotFound)));
    let other = channel("Two");
    let price = PriceRow { model: "m".to_owned(), channel_id: Some(id), price: Price::default() };
    it.store.prices().set(price).await.unwrap();
    channels.replace(id, other.clone(), None, 300).await.unwrap();
    let listed = channels.list().await.unwrap();
    assert_eq!((&listed[0].row, listed[0].updated_at), (&other, 300));
    assert_eq!(listed[0].keys, [key("b"), key("c")], "keys stay unless there are new ones");
    channels.replace(id, other, Some(vec![key("d")]), 300).await.unwrap();
    assert_eq!(channels.list().await.unwrap()[0].keys, [key("d")]);

    channels.remove(id).await.unwrap();
    assert!(channels.list().await.unwrap().is_empty());
    assert!(it.store.prices().list().await.unwrap().is_empty());
    assert!(matches!(channels.add_key(id, key("e"), 1).await, Err(Error::NotFound)));
    assert_ne!(channels.create(channel("One"), vec![key("d")], 1).await.unwrap(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_secrets_are_sealed_anew_or_none() {
    let it = Fixture::new();
    let channels = it.store.channels();
    channels.create(channel("One"), vec![key("ab"), key("cd")], 100).await.unwrap();
    let sealed = it.store.sealed();
    let refused = sealed.replace_all(|place, _| match place.row.as_str() {
        "cd" => Err("broken".to_owned()),
        _ => Ok(b"new".to_vec()),
    });
    assert!(matches!(refused.await, Err(Error::Unsealable(reason)) if reason == "broken"));
    assert_eq!(channels.list().await.unwrap()[0].keys, [key("ab"), key("cd")]);
    let done = sealed.replace_all(|place, sealed| {
        assert_eq!((place.table, place.column), ("channel_keys", "sealed"));
        Ok(sealed.iter().rev().copied().collect())
    });
    assert_eq!(done.await.unwrap(), 2);
    assert_eq!(channels.list().await.unwrap()[0].keys[0].sealed, b"ab");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_and_policies_are_set_replaced_and_removed() {
    let it = Fixture::new();
    let routes = it.store.routes();
    let row = |settings: &str| RouteRow { model: "m".to_owned(), settings: settings.to_owned() };
    routes.set(row("1"), 100).await.unwrap();
    routes.set(row("2"), 200).await.unwrap();
    assert_eq!(routes.list().await.unwrap(), [row("2")]);
    routes.remove("m".to_owned()).await.unwrap();
    assert!(matches!(routes.remove("m".to_owned()).await, Err(Error::NotFound)));

    let group = it.store.groups().create("staff".to_owned(), 100).await.unwrap().id;
    let policy = Some("local-only".to_owned());
    routes.set_group_policy(group, policy.clone()).await.unwrap();
    assert_eq!(routes.group_policies().await.unwrap(), [(group, "local-only".to_owned())]);
    let absent = routes.set_group_policy(GroupId(99), policy).await;
    assert!(matches!(absent, Err(Error::NotFound)));
    routes.set_group_policy(group, None).await.unwrap();
    assert!(routes.group_policies().await.unwrap().is_empty());
}
