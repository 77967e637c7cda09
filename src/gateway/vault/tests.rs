//! What opens where, and what survives a change of the master key.

use hearth_store::{ChannelKey, ChannelKeyId, NewChannel, SealedPlace, Store};

use super::*;

fn place(row: &str) -> SealedPlace {
    SealedPlace { table: "channel_keys", column: "sealed", row: row.to_owned() }
}

#[test]
fn a_secret_opens_in_its_own_place_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path(), None).unwrap();
    let sealed = vault.seal(&place("a"), b"sk-1").unwrap();
    assert!(!sealed.windows(4).any(|bytes| bytes == b"sk-1"));
    assert_ne!(sealed, vault.seal(&place("a"), b"sk-1").unwrap(), "a nonce of its own");
    assert_eq!(vault.unseal(&place("a"), &sealed).unwrap(), b"sk-1");
    let elsewhere = SealedPlace { table: "totp", ..place("a") };
    let beside = SealedPlace { column: "other", ..place("a") };
    for wrong in [place("b"), elsewhere, beside] {
        assert!(vault.unseal(&wrong, &sealed).is_err(), "{wrong:?}");
    }
    for index in 0..sealed.len() {
        let mut bent = sealed.clone();
        bent[index] ^= 1;
        assert!(vault.unseal(&place("a"), &bent).is_err(), "byte {index}");
        assert!(vault.unseal(&place("a"), &sealed[..index]).is_err(), "{index} bytes");
    }
}

#[test]
fn the_key_file_is_made_once_and_only_its_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let sealed = Vault::open(dir.path(), None).unwrap().seal(&place("a"), b"x").unwrap();
    let again = Vault::open(dir.path(), None).unwrap();
    assert_eq!(again.unseal(&place("a"), &sealed).unwrap(), b"x");
    let path = dir.path().join(FILE);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let Err(error) = Vault::open(dir.path(), None) else { panic!("must be refused") };
    assert!(error.to_string().contains("chmod 600"), "{error}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "half a k").unwrap();
    assert!(Vault::open(dir.path(), None).is_err(), "damaged is not absent");
}

#[test]
fn keys_of_the_environment_make_no_file_and_the_first_one_seals() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = ("11".repeat(32), "22".repeat(32));
    let before = Vault::open(dir.path(), Some(&old)).unwrap().seal(&place("a"), b"x").unwrap();
    let both = Vault::open(dir.path(), Some(&format!("{new}, {old}"))).unwrap();
    assert_eq!(both.unseal(&place("a"), &before).unwrap(), b"x");
    let after = both.seal(&place("a"), b"x").unwrap();
    let only_new = Vault::open(dir.path(), Some(&new)).unwrap();
    assert_eq!(only_new.unseal(&place("a"), &after).unwrap(), b"x");
    let error = only_new.unseal(&place("a"), &before).unwrap_err().to_string();
    assert!(error.contains("another master key"), "{error}");
    assert!(!dir.path().join(FILE).exists());
    for bad in ["", "11", &"zz".repeat(32)] {
        assert!(Vault::open(dir.path(), Some(bad)).is_err(), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_every_secret_opens_and_the_old_key_opens_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let vault = Vault::open(dir.path(), None).unwrap();
    let keys = ["k1", "k2"].map(|id| ChannelKey {
        id: ChannelKeyId(id.to_owned()),
        sealed: vault.seal(&place(id), id.as_bytes()).unwrap(),
        hint: String::new(),
    });
    let new = NewChannel {
        name: "c".to_owned(),
        preset: "openai".to_owned(),
        base_url: String::new(),
        is_enabled: true,
        priority: 0,
        weight: 1,
        settings: "{}".to_owned(),
    };
    store.channels().create(new, keys.to_vec(), 1).await.unwrap();
    let old_file = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
    assert_eq!(vault.rotate(&store).await.unwrap(), 2);
    let new_file = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
    assert_ne!(old_file, new_file);
    assert_eq!(new_file.lines().count(), 1, "the old key is gone");
    let reopened = Vault::open(dir.path(), None).unwrap();
    let old = Vault::open(dir.path(), Some(old_file.trim())).unwrap();
    for key in &store.channels().list().await.unwrap()[0].keys {
        for vault in [&vault, &reopened] {
            assert_eq!(vault.unseal(&place(&key.id.0), &key.sealed).unwrap(), key.id.0.as_bytes());
        }
        assert!(old.unseal(&place(&key.id.0), &key.sealed).is_err());
    }
}
