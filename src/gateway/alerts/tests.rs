//! Stories of alerts, on a real store, with a loopback webhook and a clock of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use hearth_store::{
    AlertRule, AlertWay, Holder, MicroDollars, NewBudget, NewUser, Period, Span, Store, Unit,
    UsageRow, UserId, UserRole,
};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Alerts, AlertsConfig, send};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::vault::Vault;

/// A day of which ten hours have gone.
const NOW: i64 = 86_400 * 20_000 + 36_000;

struct Fixture {
    alerts: Alerts,
    store: Store,
    dir: tempfile::TempDir,
    time: Arc<AtomicI64>,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let time = Arc::new(AtomicI64::new(NOW));
        let alerts = open(&dir, &store, &time);
        Fixture { alerts, store, dir, time }
    }

    /// The same directory in a new process.
    fn restarted(self) -> Fixture {
        let Fixture { alerts, store, dir, time } = self;
        drop((alerts, store));
        let store = Store::open(dir.path()).unwrap();
        let alerts = open(&dir, &store, &time);
        Fixture { alerts, store, dir, time }
    }

    async fn spend(&self, user: UserId, id: &str, micros: u64, at: i64) {
        let cost = MicroDollars::new(micros).unwrap();
        let row = UsageRow {
            request_id: id.to_owned(),
            user_id: Some(user),
            model: "m".to_owned(),
            cost,
            created_at: at,
            ..UsageRow::default()
        };
        self.store.usage().record(row).await.unwrap();
    }

    async fn user(&self, name: &str) -> UserId {
        let new = NewUser {
            name: name.to_owned(),
            password: String::new(),
            role: UserRole::User,
            created_at: 0,
        };
        self.store.users().create(new).await.unwrap().id
    }
}

fn open(dir: &tempfile::TempDir, store: &Store, time: &Arc<AtomicI64>) -> Alerts {
    let hands = Arc::clone(time);
    let clock = Clock::of(move || hands.load(Ordering::SeqCst));
    let vault = Vault::open(dir.path(), None).unwrap();
    let config =
        AlertsConfig { allow_private: vec!["127.0.0.1".to_owned()], ..AlertsConfig::default() };
    Alerts::open(store.clone(), vault, clock, &config).unwrap()
}

/// A call that the webhook got.
type Call = (HeaderMap, String);

/// A webhook that answers with the status it is told to.
async fn webhook() -> (String, Arc<AtomicU16>, mpsc::UnboundedReceiver<Call>) {
    let status = Arc::new(AtomicU16::new(200));
    let (calls, got) = mpsc::unbounded_channel();
    let answer = Arc::clone(&status);
    let handler = move |headers: HeaderMap, body: Bytes| {
        let text = String::from_utf8(body.to_vec()).unwrap();
        calls.send((headers, text)).unwrap();
        let status = StatusCode::from_u16(answer.load(Ordering::SeqCst)).unwrap();
        async move { status }
    };
    let router = axum::Router::new().fallback(handler);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, status, got)
}

#[tokio::test]
async fn a_budget_is_told_of_at_80_and_at_100_percent_once_each_even_over_a_restart() {
    let it = Fixture::new();
    let (url, _, mut calls) = webhook().await;
    let operator = Caller::operator();
    let added = it.alerts.add_target(&operator, AlertWay::Webhook, &url).await.unwrap();
    let secret = added.1.unwrap();
    let ann = it.user("ann").await;
    let new = NewBudget {
        holder: Holder::User(ann),
        period: Period::Day,
        unit: Unit::Requests,
        time_zone: "UTC".to_owned(),
        most: 10,
        window: Span { start: NOW - 36_000, end: NOW + 50_400 },
    };
    it.store.ledger().set_budget(new).await.unwrap();
    let use_up = async |it: &Fixture, from: u32, to: u32| {
        for request in from..to {
            let wish = hearth_store::Reservation {
                request_id: format!("r{request}"),
                user_id: Some(ann),
                token_id: None,
                least: hearth_store::Amounts::default(),
                most: hearth_store::Amounts::default(),
                now: NOW,
                expires_at: NOW + 60,
                calendar: |_, _, _| None,
            };
            it.store.ledger().reserve(wish).await.unwrap();
            it.spend(ann, &format!("r{request}"), 0, NOW).await;
        }
    };
    use_up(&it, 0, 7).await;
    it.alerts.watch().await.unwrap();
    it.alerts.deliver().await.unwrap();
    assert!(calls.try_recv().is_err(), "70 percent is nothing to tell");

    use_up(&it, 7, 8).await;
    for _ in 0..3 {
        it.alerts.watch().await.unwrap();
        it.alerts.deliver().await.unwrap();
    }
    let (headers, body) = calls.try_recv().unwrap();
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["subject"], "Hearth: user ann has used 80 % of a budget");
    let sign = send::sign(secret.as_bytes(), NOW, &body);
    assert_eq!(headers["x-hearth-signature"], format!("t={NOW},v1={sign}").as_str());
    assert!(calls.try_recv().is_err(), "it is told once");

    let it = it.restarted();
    it.alerts.watch().await.unwrap();
    it.alerts.deliver().await.unwrap();
    assert!(calls.try_recv().is_err(), "and not again after a restart");
    use_up(&it, 8, 10).await;
    it.alerts.watch().await.unwrap();
    it.alerts.deliver().await.unwrap();
    let told: Value = serde_json::from_str(&calls.try_recv().unwrap().1).unwrap();
    assert_eq!(told["detail"]["reached"], 100);
    let sent = it.alerts.sent(&operator, None, 10).await.unwrap();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|sent| sent.state == "sent" && sent.attempts == 1));
}

#[tokio::test]
async fn a_webhook_that_fails_is_called_again_later_over_a_restart_and_not_for_ever() {
    let it = Fixture::new();
    let (url, status, mut calls) = webhook().await;
    let operator = Caller::operator();
    let target = it.alerts.add_target(&operator, AlertWay::Webhook, &url).await.unwrap().0;
    status.store(500, Ordering::SeqCst);
    let sent = it.alerts.test(&operator, target.id).await.unwrap();
    assert_eq!((sent.state.as_str(), sent.attempts), ("waiting", 1));
    assert!(sent.error.unwrap().contains("500"));
    assert!(calls.try_recv().is_ok());
    it.alerts.deliver().await.unwrap();
    assert!(calls.try_recv().is_err(), "not before its time");

    let it = it.restarted();
    it.time.fetch_add(30, Ordering::SeqCst);
    status.store(204, Ordering::SeqCst);
    it.alerts.deliver().await.unwrap();
    assert!(calls.try_recv().is_ok());
    let sent = it.alerts.sent(&operator, None, 10).await.unwrap();
    assert_eq!((sent[0].state.as_str(), sent[0].attempts), ("sent", 2));

    status.store(500, Ordering::SeqCst);
    it.alerts.test(&operator, target.id).await.unwrap();
    for _ in 0..20 {
        it.time.fetch_add(7_200, Ordering::SeqCst);
        it.alerts.deliver().await.unwrap();
    }
    let sent = it.alerts.sent(&operator, None, 10).await.unwrap();
    assert_eq!((sent[0].state.as_str(), sent[0].attempts), ("failed", 8));
    // A moved webhook is not followed: the signed body is for the address that was named.
    status.store(307, Ordering::SeqCst);
    let sent = it.alerts.test(&operator, target.id).await.unwrap();
    assert_eq!(sent.state, "waiting");
}

#[tokio::test]
async fn a_webhook_reaches_no_private_address_that_nobody_named() {
    let it = Fixture::new();
    let operator = Caller::operator();
    for url in [
        "http://10.0.0.1/x",
        "https://169.254.169.254/latest",
        "https://localhost/",
        "http://a.b/",
        "file:///etc/passwd",
        "https://name:secret@hooks.example/",
        "no address",
        "",
    ] {
        let added = it.alerts.add_target(&operator, AlertWay::Webhook, url).await;
        assert!(added.is_err(), "{url}");
    }
    for address in ["ann", "ann@", "a@b\r\nbcc: c@d", ""] {
        let added = it.alerts.add_target(&operator, AlertWay::Email, address).await;
        assert!(added.is_err(), "{address}");
    }
    it.alerts.add_target(&operator, AlertWay::Webhook, "https://hooks.example/a").await.unwrap();
    let twice = it.alerts.add_target(&operator, AlertWay::Webhook, "https://hooks.example/a").await;
    assert!(twice.is_err());
    assert_eq!(it.alerts.targets(&operator).await.unwrap().len(), 1);
}

#[tokio::test]
async fn sudden_spending_and_many_failures_are_told_and_what_is_usual_is_not() {
    let it = Fixture::new();
    let operator = Caller::operator();
    it.alerts.add_target(&operator, AlertWay::Webhook, "http://127.0.0.1:9/x").await.unwrap();
    let (ann, bob) = (it.user("ann").await, it.user("bob").await);
    for day in 1..=14 {
        it.spend(ann, &format!("a{day}"), 5_000_000, NOW - day * 86_400).await;
        it.spend(bob, &format!("b{day}"), 5_000_000, NOW - day * 86_400).await;
    }
    it.spend(ann, "a", 16_000_000, NOW).await;
    it.spend(bob, "b", 14_000_000, NOW).await;
    for request in 0..30 {
        let outcome = match request % 2 {
            0 => hearth_store::Outcome::Failed,
            _ => hearth_store::Outcome::Complete,
        };
        for (model, outcome) in [("bad", outcome), ("good", hearth_store::Outcome::Complete)] {
            let row = UsageRow {
                request_id: format!("{model}{request}"),
                model: model.to_owned(),
                outcome,
                created_at: NOW,
                ..UsageRow::default()
            };
            it.store.usage().record(row).await.unwrap();
        }
    }
    it.alerts.watch().await.unwrap();
    it.alerts.watch().await.unwrap();
    let sent = it.alerts.sent(&operator, None, 10).await.unwrap();
    let mut subjects: Vec<_> = sent.iter().map(|sent| sent.subject.as_str()).collect();
    subjects.sort_unstable();
    assert_eq!(
        subjects,
        ["Hearth: ann spends more than usual", "Hearth: many requests to bad fail"]
    );
    let off = AlertRule { rule: "spend".to_owned(), is_on: false, threshold: 1, floor: 1 };
    it.alerts.set_rule(&operator, off).await.unwrap();
    it.spend(bob, "b!", 900_000_000, NOW).await;
    it.alerts.watch().await.unwrap();
    assert_eq!(it.alerts.sent(&operator, None, 10).await.unwrap().len(), 2, "it is off");
    let wrong = AlertRule { rule: "weather".to_owned(), is_on: true, threshold: 1, floor: 1 };
    assert!(it.alerts.set_rule(&operator, wrong).await.is_err());
}
