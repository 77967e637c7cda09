//! Sign-in at real providers: Debian's LDAP server and PyPI's `oidc-provider-mock`, which runs a
//! whole provider of OpenID Connect. Where they are not installed, that is said and nothing tested.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use hearth_store::{Store, UserRole};

use super::{Fixture, PASSWORD, PEER};
use crate::accounts::{
    AccountChange, Accounts, AccountsConfig, Arrival, GroupWishes, Hidden, LdapConfig, OidcConfig,
    SignInConfig,
};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::error::Error;
use crate::vault::Vault;

const SLAPD: &str = "/usr/sbin/slapd";
/// A Python with the package `oidc-provider-mock`.
const PYTHON: &str = "HEARTH_OIDC_PYTHON";
/// Runs the provider on a free port, which it prints, until its input ends.
const PROVIDER: &str = "
import sys, oidc_provider_mock as mock
olga = {'preferred_username': 'olga', 'email': 'olga@b.example', 'groups': ['Lab', 'bosses']}
with mock.run_server_in_thread(user_claims=[mock.User(sub='1234', claims=olga)]) as server:
    print(server.server_port, flush=True)
    sys.stdin.read()
";

/// A process that ends with its test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says it past the harness, which shows nothing that a passing test prints.
fn not_tested(why: &str) {
    let _ = writeln!(std::io::stderr(), "not tested: {why}");
}

/// Accounts with these ways to sign in, by the system's clock.
async fn accounts(ways: SignInConfig) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let vault = Vault::open(dir.path(), None).unwrap();
    let clock = Clock::system();
    let accounts = Accounts::open(store.clone(), dir.path(), ways, clock, vault).unwrap();
    let it = Fixture { accounts, store, dir, time: Arc::new(AtomicI64::new(0)) };
    let lab = GroupWishes { name: Some("lab".to_owned()), ..GroupWishes::default() };
    it.accounts.create_group(&Caller::operator(), lab).await.unwrap();
    it.user("root", UserRole::Admin).await;
    it
}

/// Debian's LDAP server on a socket of its own, with three people.
fn directory(folder: &Path) -> (Server, LdapConfig) {
    let (config, entries, socket) =
        (folder.join("slapd.conf"), folder.join("entries.ldif"), folder.join("socket"));
    std::fs::create_dir(folder.join("db")).unwrap();
    let schema = |name: &str| format!("include /etc/ldap/schema/{name}.schema\n");
    let text = ["core", "cosine", "inetorgperson"].map(schema).concat()
        + "modulepath /usr/lib/ldap\nmoduleload back_mdb\ndatabase mdb\n\
           suffix \"dc=b,dc=example\"\nrootdn \"cn=root,dc=b,dc=example\"\nrootpw secret\n"
        + &format!("directory {}\n", folder.join("db").display());
    std::fs::write(&config, text).unwrap();
    let person = |(name, group): (&str, &str)| {
        format!(
            "dn: uid={name},dc=b,dc=example\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\n\
             sn: {name}\nmail: {name}@b.example\nemployeeType: {group}\nuserPassword: {PASSWORD}\n\n"
        )
    };
    let people = [("ann", "lab"), ("bob", "cn=bosses,dc=b"), ("eve", "others")].map(person);
    let root =
        "dn: dc=b,dc=example\nobjectClass: dcObject\nobjectClass: organization\no: b\ndc: b\n\n";
    std::fs::write(&entries, root.to_owned() + &people.concat()).unwrap();
    let filled = Command::new("/usr/sbin/slapadd")
        .args(["-f".as_ref(), config.as_os_str(), "-l".as_ref(), entries.as_os_str()])
        .output()
        .unwrap();
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    let url = format!("ldapi://{}", socket.display().to_string().replace('/', "%2F"));
    let server = Command::new(SLAPD)
        .args(["-d", "0", "-h", &url, "-f"])
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server(server);
    while !socket.exists() {
        std::thread::yield_now();
    }
    let config = LdapConfig {
        url,
        bind_dn: "cn=root,dc=b,dc=example".to_owned(),
        bind_password: Hidden("secret".to_owned()),
        base_dn: "dc=b,dc=example".to_owned(),
        groups_attribute: "employeeType".to_owned(),
        admin_groups: vec!["bosses".to_owned()],
        allowed_groups: vec!["lab".to_owned(), "bosses".to_owned()],
        ..LdapConfig::default()
    };
    (server, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_by_a_directory_and_no_filter_is_injected() {
    if !Path::new(SLAPD).exists() {
        return not_tested(&format!("{SLAPD} is not installed"));
    }
    let folder = tempfile::tempdir().unwrap();
    let (_server, ldap) = directory(folder.path());
    let it = accounts(SignInConfig { ldap, ..SignInConfig::default() }).await;
    let sign_in = async |name: &str, password: &str, from: u8| {
        let peer = std::net::IpAddr::from([198, 51, 100 + from, from]);
        it.accounts.sign_in(name, password, peer).await.map(|signed_in| signed_in.user)
    };
    for (name, role, group) in
        [("ann", UserRole::User, Some("lab")), ("bob", UserRole::Admin, None)]
    {
        let first = sign_in(name, PASSWORD, 1).await.unwrap();
        assert_eq!((first.role, first.group.as_deref()), (role, group), "{name}");
        assert_eq!(first.email, Some(format!("{name}@b.example")));
        assert_eq!(sign_in(name, PASSWORD, 2).await.unwrap().id, first.id, "one account");
    }
    assert!(matches!(sign_in("eve", PASSWORD, 3).await, Err(Error::Forbidden(_))), "no group");
    for (name, password) in [
        ("ann", "wrong horse"),
        ("ann", ""),
        ("*", PASSWORD),
        ("a*", PASSWORD),
        ("ann)(uid=*", PASSWORD),
        ("*)(uid=ann", PASSWORD),
        ("ann\0", PASSWORD),
        ("\\61nn", PASSWORD),
        ("nobody", PASSWORD),
        ("root", "wrong horse"),
    ] {
        let refused = sign_in(name, password, 4 + name.len() as u8).await;
        assert_eq!(refused.unwrap_err(), Error::WrongCredentials, "{name:?}");
    }
    assert_eq!(it.store.users().list(None, 10).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_no_way_into_an_account_with_a_password_of_its_own() {
    if !Path::new(SLAPD).exists() {
        return not_tested(&format!("{SLAPD} is not installed"));
    }
    let folder = tempfile::tempdir().unwrap();
    let (_server, ldap) = directory(folder.path());
    let it = accounts(SignInConfig { ldap, ..SignInConfig::default() }).await;
    let new = crate::accounts::NewAccount {
        name: "ann".to_owned(),
        role: UserRole::Admin,
        password: "a third horse".to_owned(),
    };
    it.accounts.create_user(&Caller::operator(), new).await.unwrap();
    let refused = it.accounts.sign_in("ann", PASSWORD, PEER).await;
    assert_eq!(refused.unwrap_err(), Error::WrongCredentials);
    // An account that an admin made for somebody who signs in elsewhere is theirs.
    it.accounts.import_users(&Caller::operator(), b"name,role\nbob,user\n", false).await.unwrap();
    let bob = it.accounts.sign_in("bob", PASSWORD, PEER).await.unwrap().user;
    assert_eq!(bob.role, UserRole::Admin);
    assert_eq!(it.store.users().list(None, 10).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_fails_costs_the_same_work_whoever_is_where() {
    if !Path::new(SLAPD).exists() {
        return not_tested(&format!("{SLAPD} is not installed"));
    }
    let folder = tempfile::tempdir().unwrap();
    let (_server, ldap) = directory(folder.path());
    let it = accounts(SignInConfig { ldap, ..SignInConfig::default() }).await;
    // Ann is here and there, gone is here and disabled, bob is there alone, imported is here
    // without a password.
    it.user("ann", UserRole::User).await;
    let gone = it.user("gone", UserRole::User).await;
    let change = AccountChange { disabled: Some(true), ..AccountChange::default() };
    it.accounts.update_user(&Caller::operator(), gone.id, change).await.unwrap();
    let file = b"name,role\nimported,user\n";
    it.accounts.import_users(&Caller::operator(), file, false).await.unwrap();
    let work = || {
        let inner = &it.accounts.inner;
        (inner.passwords.worked(), inner.directory.asked())
    };
    let names = [
        ("nobody", "wrong horse", (1, 2)),
        ("root", "wrong horse", (1, 2)),
        ("ann", "wrong horse", (1, 2)),
        ("bob", "wrong horse", (1, 2)),
        ("imported", "wrong horse", (1, 2)),
        ("gone", "wrong horse", (1, 2)),
        ("gone", PASSWORD, (1, 2)),
        ("nobody", "", (1, 0)),
        ("root", "", (1, 0)),
        ("bob", "", (1, 0)),
    ];
    for (at, (name, password, expected)) in names.into_iter().enumerate() {
        let peer = std::net::IpAddr::from([198, 51, 100 + at as u8, 1]);
        let before = work();
        let refused = it.accounts.sign_in(name, password, peer).await;
        assert_eq!(refused.unwrap_err(), Error::WrongCredentials, "{name}");
        let after = work();
        assert_eq!((after.0 - before.0, after.1 - before.1), expected, "{name}, {password:?}");
    }
}

#[tokio::test]
async fn a_directory_that_does_not_answer_is_told_apart_from_a_wrong_password() {
    let ldap =
        LdapConfig { url: "ldapi://%2Fnowhere%2Fsocket".to_owned(), ..LdapConfig::default() };
    let it = accounts(SignInConfig { ldap, ..SignInConfig::default() }).await;
    let refused = it.accounts.sign_in("ann", PASSWORD, PEER).await;
    assert!(matches!(refused, Err(Error::Provider(_))), "{refused:?}");
    let refused = it.accounts.sign_in("root", "wrong horse", PEER).await;
    assert!(matches!(refused, Err(Error::Provider(_))), "told to everybody: {refused:?}");
    it.accounts.sign_in("root", PASSWORD, PEER).await.unwrap();
}

/// The person at the provider says yes; where their browser is sent back to.
async fn consent(page: &str) -> Arrival {
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    for part in ["code_challenge_method=S256", "nonce=", "state="] {
        assert!(page.contains(part), "{page}");
    }
    let form = http
        .post(page)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("sub=1234");
    let answer = form.send().await.unwrap();
    let location = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
    let location = location.unwrap_or_else(|| panic!("{}", answer.status()));
    assert!(location.starts_with("http://hearth.example/hearth/oidc/callback?"), "{location}");
    let part = |name: &str| {
        let query = location.split_once('?').unwrap().1;
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        pair.unwrap_or_default().to_owned()
    };
    Arrival { code: part("code"), state: part("state"), binding: String::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_at_a_provider_of_openid_connect() {
    let Ok(python) = std::env::var(PYTHON) else {
        return not_tested(&format!("{PYTHON} names no Python with oidc-provider-mock"));
    };
    let mut child = Command::new(python)
        .args(["-W", "ignore", "-c", PROVIDER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _server = Server(child);
    let oidc = OidcConfig {
        issuer: format!("http://localhost:{}", line.trim()),
        client_id: "hearth".to_owned(),
        client_secret: Hidden("secret".to_owned()),
        public_url: "http://hearth.example".to_owned(),
        admin_groups: vec!["bosses".to_owned()],
        ..OidcConfig::default()
    };
    let it = accounts(SignInConfig {
        accounts: AccountsConfig::default(),
        oidc,
        ldap: LdapConfig::default(),
    })
    .await;
    let begin = async || it.accounts.begin_oidc(&PEER.into()).await.unwrap();
    let end = async |arrival: &Arrival| it.accounts.end_oidc(arrival.clone(), PEER.into()).await;

    let departure = begin().await;
    let back = Arrival { binding: departure.binding, ..consent(&departure.url).await };
    let stranger = Arrival { binding: begin().await.binding, ..back.clone() };
    assert!(matches!(end(&stranger).await, Err(Error::Forbidden(_))), "another browser");
    let other_state = Arrival { state: "x".to_owned(), ..back.clone() };
    assert!(matches!(end(&other_state).await, Err(Error::Forbidden(_))), "another state");
    let user = end(&back).await.unwrap().user;
    assert_eq!((user.name.as_str(), user.role), ("olga", UserRole::Admin));
    assert_eq!(user.group.as_deref(), Some("lab"), "our group of the same name");
    assert!(matches!(end(&back).await, Err(Error::Forbidden(_))), "a flow ends once");

    let departure = begin().await;
    let again = Arrival { binding: departure.binding, ..consent(&departure.url).await };
    assert_eq!(end(&again).await.unwrap().user.id, user.id, "one account");

    let departure = begin().await;
    let forged = Arrival {
        binding: departure.binding,
        code: "forged".to_owned(),
        ..consent(&departure.url).await
    };
    assert!(matches!(end(&forged).await, Err(Error::Provider(_))), "another code");

    // A code of one flow ends no other: the proof key is the other flow's.
    let (one, two) = (begin().await, begin().await);
    let (first, second) = (consent(&one.url).await, consent(&two.url).await);
    let swapped = Arrival { code: first.code, state: second.state, binding: two.binding };
    assert!(matches!(end(&swapped).await, Err(Error::Provider(_))), "a code from elsewhere");
}

#[tokio::test]
async fn ways_that_are_not_configured_are_not_offered() {
    let it = accounts(SignInConfig::default()).await;
    assert!(!it.accounts.offers_oidc());
    let begun = it.accounts.begin_oidc(&PEER.into()).await.map(drop);
    assert!(matches!(begun, Err(Error::NotOffered(_))));
    let proxy = it.accounts.sign_in_by_proxy(Some("root"), PEER.into()).await;
    assert!(matches!(proxy, Err(Error::NotOffered(_))));
}

#[tokio::test]
async fn a_proxy_names_people_but_no_account_with_a_password() {
    let config = AccountsConfig {
        proxy_user_header: "x-remote-user".to_owned(),
        ..AccountsConfig::default()
    };
    let it = accounts(config.into()).await;
    let by = async |name| it.accounts.sign_in_by_proxy(name, PEER.into()).await;
    let ann = by(Some("ann")).await.unwrap().user;
    assert_eq!(by(Some("Ann")).await.unwrap().user.id, ann.id);
    assert_eq!(by(None).await.unwrap_err(), Error::WrongCredentials);
    assert_eq!(by(Some("  ")).await.unwrap_err(), Error::WrongCredentials);
    assert!(matches!(by(Some("root")).await, Err(Error::Conflict { .. })));
    assert!(matches!(by(Some("a\r\nb")).await, Err(Error::InvalidName(_))));
}
