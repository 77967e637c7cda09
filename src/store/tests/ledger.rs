//! Money on a real file: who may spend what, what comes back, and what can happen only once.

use super::Fixture;
use super::writing::usage;
use crate::{
    Amounts, ApiTokenId, Error, Grant, Holder, MicroDollars, NewBudget, Outcome, Period,
    Reservation, Settled, Shortage, Span, Store, Unit, UsageFilter, UsageRow, UserId, UserRole,
    Wallet,
};

pub(super) const ANN: Holder = Holder::User(UserId(1));
pub(super) const KEY: Holder = Holder::Token(ApiTokenId(1));
/// Length of every period in these stories.
pub(super) const PERIOD_S: i64 = 1_000;

pub(super) fn money(micros: u64) -> MicroDollars {
    MicroDollars::new(micros).unwrap()
}

/// Periods of a thousand seconds, everywhere.
pub(super) fn thousands(_zone: &str, _period: Period, now: i64) -> Option<Span> {
    let start = now - now.rem_euclid(PERIOD_S);
    Some(Span { start, end: start + PERIOD_S })
}

/// A wish of user 1 with API token 1 for exactly this much.
pub(super) fn wish(id: &str, micros: u64) -> Reservation {
    let amounts = Amounts { money: money(micros), tokens: 10 };
    Reservation {
        request_id: id.to_owned(),
        user_id: Some(UserId(1)),
        token_id: Some(ApiTokenId(1)),
        least: amounts,
        most: amounts,
        now: 50,
        expires_at: 150,
        calendar: thousands,
    }
}

/// What request `id` of user 1 with API token 1 used.
pub(super) fn used(id: &str, micros: u64) -> UsageRow {
    UsageRow { token_id: Some(ApiTokenId(1)), cost: money(micros), ..usage(id) }
}

pub(super) async fn grant(store: &Store, holder: Holder, micros: u64) -> Wallet {
    let grant = Grant::Add(money(micros));
    store.ledger().grant(holder, grant, "a test".to_owned(), 1).await.unwrap()
}

/// Remaining, held and used of a wallet.
pub(super) async fn sums(store: &Store, holder: Holder) -> (u64, u64, u64) {
    let wallet = store.ledger().wallet(holder).await.unwrap().expect("a wallet");
    (wallet.remaining.micros(), wallet.held.micros(), wallet.used.micros())
}

pub(super) async fn assert_sound(store: &Store) {
    let report = store.ledger().check().await.unwrap();
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
}

fn budget(holder: Holder, unit: Unit, most: u64) -> NewBudget {
    let window = Span { start: 0, end: PERIOD_S };
    let time_zone = "UTC".to_owned();
    NewBudget { holder, period: Period::Day, unit, time_zone, most, window }
}

fn shortage(refused: Result<Amounts, Error>) -> Shortage {
    match refused {
        Err(Error::Short(shortage)) => *shortage,
        other => panic!("not short: {other:?}"),
    }
}

#[tokio::test]
async fn a_request_is_paid_by_each_of_its_wallets_and_the_rest_comes_back() {
    let it = Fixture::new();
    let ann = it.user("ann", UserRole::User).await;
    let group = it.store.groups().create("lab".to_owned(), 1).await.unwrap();
    it.store.groups().put(ann.id, Some(group.id)).await.unwrap();
    let lab = Holder::Group(group.id);
    let ledger = it.store.ledger();
    for (holder, micros) in [(ANN, 100), (KEY, 50), (lab, 80)] {
        grant(&it.store, holder, micros).await;
    }
    ledger.reserve(wish("r", 40)).await.unwrap();
    for (holder, left) in [(ANN, 60), (KEY, 10), (lab, 40)] {
        assert_eq!(sums(&it.store, holder).await, (left, 40, 0), "{holder:?}");
    }
    assert_sound(&it.store).await;
    let settled = ledger.settle(used("r", 15)).await.unwrap();
    assert_eq!(settled, Settled::Now { unpaid: MicroDollars::ZERO });
    for (holder, left) in [(ANN, 85), (KEY, 35), (lab, 65)] {
        assert_eq!(sums(&it.store, holder).await, (left, 0, 15), "{holder:?}");
    }
    let totals = it.store.usage().totals(UsageFilter::default()).await.unwrap();
    assert_eq!((totals.requests, totals.cost_micros), (1, 15));
    assert_sound(&it.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_requests_at_once_a_balance_for_ten_pays_exactly_ten() {
    let it = Fixture::new();
    grant(&it.store, ANN, 10 * 7 + 6).await;
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let store = it.store.clone();
            tokio::spawn(async move {
                let id = format!("r{number}");
                match store.ledger().reserve(wish(&id, 7)).await {
                    Ok(_) => store.ledger().settle(used(&id, 7)).await.map(|_| true),
                    Err(Error::Short(_)) => Ok(false),
                    Err(other) => Err(other),
                }
            })
        })
        .collect();
    let mut paid = 0;
    for task in tasks {
        paid += u32::from(task.await.unwrap().unwrap());
    }
    assert_eq!(paid, 10);
    assert_eq!(sums(&it.store, ANN).await, (6, 0, 70));
    assert_sound(&it.store).await;
}

#[tokio::test]
async fn a_request_is_settled_once_and_never_after_it_was_taken_back() {
    let it = Fixture::new();
    let ledger = it.store.ledger();
    grant(&it.store, ANN, 100).await;
    ledger.reserve(wish("r", 40)).await.unwrap();
    assert!(matches!(ledger.reserve(wish("r", 1)).await, Err(Error::RequestTaken)));
    ledger.settle(used("r", 30)).await.unwrap();
    assert_eq!(ledger.settle(used("r", 30)).await.unwrap(), Settled::Before);
    assert!(!ledger.void("r".to_owned()).await.unwrap(), "settled");
    assert!(matches!(ledger.reserve(wish("r", 1)).await, Err(Error::RequestTaken)));
    assert_eq!(sums(&it.store, ANN).await, (70, 0, 30));

    ledger.reserve(wish("v", 40)).await.unwrap();
    assert!(ledger.void("v".to_owned()).await.unwrap());
    assert!(!ledger.void("v".to_owned()).await.unwrap(), "only once");
    assert_eq!(ledger.settle(used("v", 30)).await.unwrap(), Settled::Void);
    assert_eq!(sums(&it.store, ANN).await, (70, 0, 30));
    assert!(!ledger.void("unknown".to_owned()).await.unwrap());
    assert_sound(&it.store).await;
}

#[tokio::test]
async fn what_costs_more_than_reserved_takes_what_remains_and_never_more() {
    let it = Fixture::new();
    let ledger = it.store.ledger();
    grant(&it.store, ANN, 100).await;
    ledger.reserve(wish("over", 40)).await.unwrap();
    let settled = ledger.settle(used("over", 60)).await.unwrap();
    assert_eq!(settled, Settled::Now { unpaid: MicroDollars::ZERO });
    ledger.reserve(wish("far", 10)).await.unwrap();
    let settled = ledger.settle(used("far", 1_000)).await.unwrap();
    assert_eq!(settled, Settled::Now { unpaid: money(960) });
    assert_eq!(sums(&it.store, ANN).await, (0, 0, 100));
    assert_eq!(sums(&it.store, KEY).await, (0, 0, 1_060), "an unlimited wallet pays all");
    assert_sound(&it.store).await;
}

#[tokio::test]
async fn a_short_balance_says_whose_and_gives_what_there_is_where_that_is_enough() {
    let it = Fixture::new();
    let ledger = it.store.ledger();
    grant(&it.store, KEY, 30).await;
    let refused = shortage(ledger.reserve(wish("r", 31)).await);
    assert_eq!((refused.holder, refused.left, refused.needed), (KEY, 30, 31));
    assert_eq!((refused.period, refused.unit), (None, Unit::Money));
    assert_eq!(ledger.wallet(ANN).await.unwrap(), None, "a refusal leaves nothing behind");
    let most = Amounts { money: money(1_000), tokens: 500 };
    let given = ledger.reserve(Reservation { most, ..wish("r", 10) }).await.unwrap();
    assert_eq!(given, Amounts { money: money(30), tokens: 500 });
    assert_eq!(sums(&it.store, KEY).await, (0, 30, 0));
    assert_sound(&it.store).await;
}

#[tokio::test]
async fn a_request_that_runs_may_hold_more_until_a_payer_has_no_more() {
    let it = Fixture::new();
    let ledger = it.store.ledger();
    let more = |micros, tokens| Amounts { money: money(micros), tokens };
    grant(&it.store, ANN, 100).await;
    ledger.set_budget(budget(ANN, Unit::Tokens, 60)).await.unwrap();
    ledger.set_budget(budget(ANN, Unit::Requests, 1)).await.unwrap();
    ledger.reserve(wish("r", 40)).await.unwrap();
    let given = ledger.extend("r".to_owned(), more(10, 5), more(50, 30)).await.unwrap();
    assert_eq!(given, more(50, 30));
    assert_eq!(sums(&it.store, ANN).await, (10, 90, 0));
    assert_sound(&it.store).await;
    let given = ledger.extend("r".to_owned(), more(10, 5), more(50, 30)).await.unwrap();
    assert_eq!(given, more(10, 20), "what is left of each");
    let refused = shortage(ledger.extend("r".to_owned(), more(1, 0), more(1, 0)).await);
    assert_eq!((refused.unit, refused.left, refused.needed), (Unit::Money, 0, 1));
    let refused = shortage(ledger.extend("r".to_owned(), more(0, 1), more(0, 1)).await);
    assert_eq!((refused.unit, refused.left), (Unit::Tokens, 0));
    assert_eq!(sums(&it.store, ANN).await, (0, 100, 0), "a refusal changes nothing");
    assert_sound(&it.store).await;
    ledger.settle(used("r", 70)).await.unwrap();
    assert_eq!(sums(&it.store, ANN).await, (30, 0, 70));
    assert_eq!(sums(&it.store, KEY).await, (0, 0, 70), "the unlimited one held as much");
    let budgets = ledger.budgets(ANN).await.unwrap();
    let held: Vec<_> = budgets.iter().map(|budget| (budget.held, budget.used)).collect();
    assert_eq!(held, [(0, 7), (0, 1)]);
    let late = ledger.extend("r".to_owned(), more(1, 0), more(1, 0)).await;
    assert!(matches!(late, Err(Error::NotFound)), "settled");
    assert_sound(&it.store).await;
}

#[tokio::test]
async fn a_wallet_may_change_its_limit_while_requests_hold_parts_of_it() {
    let it = Fixture::new();
    let ledger = it.store.ledger();
    let change = async |grant| {
        ledger.grant(ANN, grant, "an admin".to_owned(), 2).await.map(|wallet| wallet.remaining)
    };
    change(Grant::Unlimited).await.unwrap();
    ledger.reserve(wish("credit", 500)).await.unwrap();
    assert_eq!(change(Grant::Set(money(20))).await.unwrap(), money(20));
    // What was never there does not come back.
    ledger.void("credit".to_owned()).await.unwrap();
    assert_eq!(sums(&it.store, ANN).await, (20, 0, 0));
    ledger.reserve(wish("paid", 15)).await.unwrap();
    change(Grant::Unlimited).await.unwrap();
    ledger.settle(used("paid", 5)).await.unwrap();
    assert_eq!(sums(&it.store, ANN).await, (15, 0, 5));
    change(Grant::Set(MicroDollars::ZERO)).await.unwrap();
    shortage(ledger.reserve(wish("late", 1)).await);
    assert!(matches!(change(Grant::Add(MicroDollars::MAX)).await, Err(Error::TooMuchMoney)));
    assert_eq!(sums(&it.store, ANN).await, (0, 0, 5));
    assert_sound(&it.store).await;
}

#[tokio::test]
async fn what_an_ended_process_held_is_given_back_at_the_next_start() {
    let it = Fixture::new();
    grant(&it.store, ANN, 100).await;
    it.store.ledger().set_budget(budget(ANN, Unit::Tokens, 100)).await.unwrap();
    it.store.ledger().reserve(wish("lost", 40)).await.unwrap();
    let Fixture { store, dir } = it;
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(sums(&store, ANN).await, (100, 0, 0));
    assert_eq!(store.ledger().budgets(ANN).await.unwrap()[0].held, 0);
    assert_eq!(store.ledger().check().await.unwrap().holds, 0);
    assert_sound(&store).await;
}

#[tokio::test]
async fn a_hold_expires_and_who_settles_late_still_pays_once() {
    let it = Fixture::new();
    let ledger = it.store.ledger();
    grant(&it.store, ANN, 100).await;
    ledger.reserve(wish("slow", 40)).await.unwrap();
    assert_eq!(ledger.expire(149).await.unwrap(), 0);
    assert_eq!(ledger.expire(-1_000).await.unwrap(), 0, "a clock that went back frees nothing");
    assert_eq!(ledger.expire(150).await.unwrap(), 1);
    assert_eq!(sums(&it.store, ANN).await, (100, 0, 0));
    assert_sound(&it.store).await;
    ledger.settle(used("slow", 30)).await.unwrap();
    assert_eq!(ledger.settle(used("slow", 30)).await.unwrap(), Settled::Before);
    assert_eq!(sums(&it.store, ANN).await, (70, 0, 30));
    assert_sound(&it.store).await;
}

#[tokio::test]
async fn budgets_count_money_tokens_and_requests_and_begin_anew() {
    let it = Fixture::new();
    let ledger = it.store.ledger();
    ledger.set_budget(budget(ANN, Unit::Requests, 2)).await.unwrap();
    ledger.set_budget(budget(KEY, Unit::Tokens, 25)).await.unwrap();
    ledger.set_budget(budget(KEY, Unit::Money, 100)).await.unwrap();
    ledger.reserve(wish("a", 60)).await.unwrap();
    let refused = shortage(ledger.reserve(wish("b", 60)).await);
    assert_eq!((refused.holder, refused.unit), (KEY, Unit::Money));
    assert_eq!((refused.period, refused.resets_at), (Some(Period::Day), Some(PERIOD_S)));
    // Three tokens of the prompt and four of the answer.
    ledger.settle(used("a", 5)).await.unwrap();
    ledger.reserve(wish("b", 60)).await.unwrap();
    let refused = shortage(ledger.reserve(wish("c", 1)).await);
    assert_eq!((refused.holder, refused.unit, refused.left), (ANN, Unit::Requests, 0));
    ledger.void("b".to_owned()).await.unwrap();
    let used_now = async || -> Vec<u64> {
        let budgets = it.store.ledger().budgets(KEY).await.unwrap();
        budgets.iter().map(|budget| budget.used).collect()
    };
    assert_eq!(used_now().await, [7, 5], "what is taken back is not counted");
    let later = |id: &str| Reservation { now: 1_050, expires_at: 1_150, ..wish(id, 60) };
    ledger.reserve(later("d")).await.unwrap();
    assert_eq!(used_now().await, [0, 0], "a new period");
    assert_sound(&it.store).await;
}

#[tokio::test]
async fn what_is_settled_after_its_period_changes_nothing_of_the_next() {
    let it = Fixture::new();
    let ledger = it.store.ledger();
    ledger.set_budget(budget(ANN, Unit::Money, 100)).await.unwrap();
    ledger.reserve(wish("old", 90)).await.unwrap();
    let next = Reservation { now: PERIOD_S, expires_at: 9_999, ..wish("new", 95) };
    ledger.reserve(next).await.unwrap();
    ledger.settle(used("old", 90)).await.unwrap();
    let now = ledger.budgets(ANN).await.unwrap().remove(0);
    assert_eq!((now.window_start, now.held, now.used), (PERIOD_S, 95, 0));
    assert_sound(&it.store).await;
}

#[tokio::test]
async fn a_clock_that_jumps_back_opens_no_period_twice() {
    let it = Fixture::new();
    let ledger = it.store.ledger();
    ledger.set_budget(budget(ANN, Unit::Money, 100)).await.unwrap();
    let at = |id: &str, now, micros| Reservation { now, expires_at: 9_999, ..wish(id, micros) };
    ledger.reserve(at("a", 5_500, 70)).await.unwrap();
    let refused = shortage(ledger.reserve(at("b", 50, 40)).await);
    assert_eq!((refused.left, refused.resets_at), (30, Some(PERIOD_S)));
    ledger.reserve(at("c", 50, 30)).await.unwrap();
    ledger.settle(used("a", 70)).await.unwrap();
    let now = ledger.budgets(ANN).await.unwrap().remove(0);
    assert_eq!((now.window_start, now.held, now.used), (0, 30, 70));
    shortage(ledger.reserve(at("d", 999, 1)).await);
    ledger.reserve(at("e", 1_000, 100)).await.unwrap();
    assert_sound(&it.store).await;
}

#[tokio::test]
async fn a_lower_limit_counts_at_once_and_gives_nothing_for_free() {
    let it = Fixture::new();
    let ledger = it.store.ledger();
    ledger.set_budget(budget(ANN, Unit::Money, 100)).await.unwrap();
    ledger.reserve(wish("a", 60)).await.unwrap();
    ledger.set_budget(budget(ANN, Unit::Money, 50)).await.unwrap();
    assert_eq!(shortage(ledger.reserve(wish("b", 1)).await).left, 0);
    ledger.set_budget(budget(ANN, Unit::Money, 70)).await.unwrap();
    ledger.reserve(wish("b", 10)).await.unwrap();
    let id = ledger.budgets(ANN).await.unwrap()[0].id;
    ledger.remove_budget(id).await.unwrap();
    assert!(matches!(ledger.remove_budget(id).await, Err(Error::NotFound)));
    ledger.settle(used("a", 60)).await.unwrap();
    assert_sound(&it.store).await;
}

#[tokio::test]
async fn the_largest_numbers_are_counted_or_refused() {
    let it = Fixture::new();
    let ledger = it.store.ledger();
    let most = MicroDollars::MAX.micros();
    grant(&it.store, ANN, most).await;
    let tokens = u64::MAX;
    let huge = Amounts { money: MicroDollars::MAX, tokens };
    ledger.reserve(Reservation { least: huge, most: huge, ..wish("r", 0) }).await.unwrap();
    let row = UsageRow {
        prompt_tokens: u32::MAX,
        completion_tokens: u32::MAX,
        outcome: Outcome::Complete,
        ..used("r", most)
    };
    ledger.settle(row).await.unwrap();
    assert_eq!(sums(&it.store, ANN).await, (0, 0, most));
    // The API token's wallet is unlimited, but no wallet counts beyond a billion dollars.
    let other = Reservation { user_id: None, ..wish("s", 1) };
    assert!(matches!(ledger.reserve(other).await, Err(Error::TooMuchMoney)));
    assert!(matches!(ledger.settle(used("s", 1)).await, Err(Error::TooMuchMoney)));
    assert_eq!(sums(&it.store, KEY).await, (0, 0, most));
    assert_sound(&it.store).await;
}

#[tokio::test]
async fn the_check_finds_money_that_nobody_can_explain() {
    let it = Fixture::new();
    grant(&it.store, ANN, 100).await;
    it.store.ledger().reserve(wish("r", 40)).await.unwrap();
    it.store.ledger().settle(used("r", 15)).await.unwrap();
    let refused = it
        .store
        .write(|connection| {
            Ok(connection.execute("UPDATE wallets SET remaining_micros = 1000", [])?)
        })
        .await;
    assert!(matches!(refused, Err(Error::Sql(_))), "the table itself does not take it");
    for forgery in [
        "UPDATE wallets SET remaining_micros = 1000, granted_micros = 1015 WHERE kind = 'user'",
        "UPDATE usage SET cost_micros = 14",
        "DELETE FROM usage_hours",
        "DELETE FROM usage_days",
        "UPDATE usage_days SET cost_micros = cost_micros + 1",
        "DELETE FROM ledger_entries WHERE entry = 'grant'",
    ] {
        let it = Fixture::new();
        grant(&it.store, ANN, 100).await;
        it.store.ledger().reserve(wish("r", 40)).await.unwrap();
        it.store.ledger().settle(used("r", 15)).await.unwrap();
        assert_sound(&it.store).await;
        it.store.write(|connection| Ok(connection.execute_batch(forgery)?)).await.unwrap();
        let report = it.store.ledger().check().await.unwrap();
        assert!(!report.problems.is_empty(), "{forgery}");
    }
}
