//! What requests cost, who is refused, and that no money is lost however a request ends.

use std::time::Duration;

use hearth_store::{
    Amounts, ChannelId, Grant, Holder, MicroDollars, NewUser, Outcome, Period, Price, PriceRow,
    RateLimit, RateLimitRow, Reservation, Unit, UserId, UserRole,
};

use super::scripted::Script;
use super::{Fixture, caller, done, finished, read_all, request, started, text};
use crate::caller::Caller;
use crate::error::Error;
use crate::event::{Event, FinishReason, Usage};
use crate::gateway::{GatewayConfig, WhenUsedUp};
use crate::quota::BudgetWish;
use crate::quota::pace::Measure;
use crate::request::GenerateRequest;

const ANN: Holder = Holder::User(UserId(1));

fn money(micros: u64) -> MicroDollars {
    MicroDollars::new(micros).unwrap()
}

/// A micro-dollar for each token of the prompt, ten for each of the answer, five for the call.
fn price() -> Price {
    Price {
        input_micros_per_million: money(1_000_000),
        cached_micros_per_million: money(500_000),
        output_micros_per_million: money(10_000_000),
        call_micros: money(5),
    }
}

fn bounded(id: &str, max_tokens: u32) -> GenerateRequest {
    GenerateRequest { max_tokens: Some(max_tokens), ..request(id) }
}

impl Fixture {
    /// Ann has this much, and the model `m` has its price. The backend counts 3 tokens in each
    /// prompt.
    async fn with_money(config: GatewayConfig, micros: u64) -> Fixture {
        let it = Fixture::new(config);
        let new = NewUser {
            name: "ann".to_owned(),
            password: "x".to_owned(),
            role: UserRole::User,
            created_at: 1,
        };
        assert_eq!(it.store.users().create(new).await.unwrap().id, UserId(1));
        let quota = it.gateway.quota();
        let row = PriceRow { model: "m".to_owned(), channel_id: None, price: price() };
        quota.set_price(&Caller::operator(), row).await.unwrap();
        let grant = Grant::Set(money(micros));
        quota.grant(&Caller::operator(), ANN, grant, "a test").await.unwrap();
        it
    }

    /// Remaining, held and used.
    async fn sums(&self) -> (u64, u64, u64) {
        let wallet = self.store.ledger().wallet(ANN).await.unwrap().unwrap();
        (wallet.remaining.micros(), wallet.held.micros(), wallet.used.micros())
    }

    async fn assert_sound(&self) {
        let report = self.store.ledger().check().await.unwrap();
        assert!(report.problems.is_empty(), "{:#?}", report.problems);
    }

    /// Waits until nothing is held.
    async fn let_go(&self) {
        let free = async {
            while self.sums().await.1 > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), free).await.unwrap();
    }
}

#[tokio::test]
async fn the_worst_case_is_held_while_it_runs_and_the_exact_cost_is_taken() {
    let it = Fixture::with_money(GatewayConfig::default(), 1_000).await;
    let usage =
        Usage { prompt_tokens: 3, cached_tokens: 2, completion_tokens: 4, ..Usage::default() };
    it.backend.then(Script::Say(vec![
        started(3),
        text(0, "hi"),
        finished(0),
        Ok(Event::Done(usage)),
    ]));
    let mut stream = it.gateway.generate(&caller(), bounded("r", 20)).await.unwrap();
    assert_eq!(it.sums().await, (1_000 - 208, 208, 0), "3 + 20 × 10 + 5");
    while let Some(event) = stream.recv().await {
        event.unwrap();
    }
    // 1 token new, 2 known at half the price, 4 of the answer, the call.
    assert_eq!(it.sums().await, (1_000 - 47, 0, 47));
    let row = it.rows().await.remove(0);
    assert_eq!((row.cost, row.reason), (money(47), None));
    it.assert_sound().await;
}

#[tokio::test]
async fn who_has_too_little_is_refused_in_the_words_that_clients_know_and_nothing_runs() {
    let it = Fixture::with_money(GatewayConfig::default(), 100).await;
    let refused = it.gateway.generate(&caller(), bounded("r", 20)).await.unwrap_err();
    let Error::OutOfQuota { message, resets_at: None } = &refused else { panic!("{refused}") };
    assert!(message.starts_with("You exceeded your current quota"), "{message}");
    assert!(message.contains("$0.0001 left") && message.contains("$0.000208"), "{message}");
    assert_eq!((it.sums().await, it.gateway.running()), ((100, 0, 0), 0));
    assert!(it.backend.asked.lock().unwrap().is_empty());
    assert!(it.rows().await.is_empty());
    assert_eq!(it.gateway.stats().refused, 1);
}

#[tokio::test]
async fn a_limit_on_tokens_is_lowered_to_what_the_balance_allows_where_that_is_set() {
    let config = GatewayConfig { lower_max_tokens: true, ..GatewayConfig::default() };
    let it = Fixture::with_money(config, 100).await;
    it.backend.then(Script::Say(vec![started(3), finished(0), done(3, 9)]));
    read_all(it.gateway.generate(&caller(), bounded("r", 20)).await.unwrap()).await;
    // 100 − 3 − 5 pays for nine tokens.
    assert_eq!(*it.backend.limits.lock().unwrap(), [Some(9)]);
    assert_eq!(it.sums().await, (2, 0, 98));
    let refused = it.gateway.generate(&caller(), bounded("r", 20)).await.unwrap_err();
    assert!(matches!(refused, Error::OutOfQuota { .. }));
    it.assert_sound().await;
}

#[tokio::test]
async fn an_answer_of_open_length_holds_more_as_it_grows_and_ends_when_nothing_is_left() {
    let config = GatewayConfig { reserve_tokens: 2, ..GatewayConfig::default() };
    let it = Fixture::with_money(config, 68).await;
    it.backend.then(Script::SayForEver);
    let mut stream = it.gateway.generate(&caller(), request("r")).await.unwrap();
    // The prompt, the call and two tokens; by the time it is read the answer may hold more.
    let (left, held, used) = it.sums().await;
    assert!(held >= 28 && left + held == 68 && used == 0, "{left} {held} {used}");
    let mut heard = Vec::new();
    while let Some(event) = stream.recv().await {
        heard.push(event.unwrap());
    }
    it.backend.wait_for_cancelled(1).await;
    let said = heard.iter().filter(|event| matches!(event, Event::Text { .. })).count();
    // The scripted backend says nothing of the prompt: 5 for the call, 63 for tokens of 10.
    assert_eq!(said, 6);
    let [.., last, Event::Done(usage)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(*last, Event::Finished { choice: 0, reason: FinishReason::Length });
    assert_eq!(usage.completion_tokens, 6);
    assert_eq!(it.sums().await, (3, 0, 65));
    let row = it.rows().await.remove(0);
    assert_eq!((row.outcome, row.reason.as_deref()), (Outcome::Complete, Some("quota")));
    it.assert_sound().await;
}

#[tokio::test]
async fn what_is_used_up_can_also_be_an_error() {
    let config = GatewayConfig {
        reserve_tokens: 2,
        when_used_up: WhenUsedUp::Error,
        ..GatewayConfig::default()
    };
    let it = Fixture::with_money(config, 40).await;
    it.backend.then(Script::SayForEver);
    let heard = read_all(it.gateway.generate(&caller(), request("r")).await.unwrap()).await;
    assert!(matches!(heard.last(), Some(Err(Error::OutOfQuota { .. }))), "{heard:?}");
    assert_eq!(it.sums().await, (5, 0, 35), "what was said is paid for");
    it.assert_sound().await;
}

#[tokio::test]
async fn a_client_that_leaves_pays_for_what_was_generated_and_no_more() {
    let it = Fixture::with_money(GatewayConfig::default(), 1_000).await;
    // Before its prompt was looked at.
    it.backend.then(Script::SayAndHang(Vec::new()));
    drop(it.gateway.generate(&caller(), bounded("a", 20)).await.unwrap());
    assert_eq!(it.recorded(1).await[0].cost, MicroDollars::ZERO);
    // Before the first token: its prompt was computed.
    it.backend.then(Script::SayAndHang(vec![started(3)]));
    let mut stream = it.gateway.generate(&caller(), bounded("b", 20)).await.unwrap();
    stream.recv().await.unwrap().unwrap();
    drop(stream);
    assert_eq!(it.recorded(2).await[1].cost, money(8));
    // After two tokens.
    let said = vec![started(3), text(0, "on"), text(0, "ce")];
    it.backend.then(Script::SayAndHang(said));
    let mut stream = it.gateway.generate(&caller(), bounded("c", 20)).await.unwrap();
    for _ in 0..3 {
        stream.recv().await.unwrap().unwrap();
    }
    drop(stream);
    let row = it.recorded(3).await.remove(2);
    assert_eq!((row.cost, row.reason.as_deref()), (money(28), Some("client_gone")));
    assert_eq!(it.sums().await, (1_000 - 36, 0, 36));
    it.assert_sound().await;
}

#[tokio::test]
async fn what_fails_before_any_work_costs_nothing_and_what_was_said_is_paid() {
    let it = Fixture::with_money(GatewayConfig::default(), 1_000).await;
    let broken = || Err(Error::Internal("broken".to_owned()));
    it.backend.then(Script::Refuse(Error::Internal("broken".to_owned())));
    it.gateway.generate(&caller(), bounded("refused", 20)).await.unwrap_err();
    it.let_go().await;
    it.backend.then(Script::Say(vec![started(3), broken()]));
    read_all(it.gateway.generate(&caller(), bounded("early", 20)).await.unwrap()).await;
    assert_eq!(it.sums().await, (1_000, 0, 0));
    it.backend.then(Script::Say(vec![started(3), text(0, "x"), broken()]));
    read_all(it.gateway.generate(&caller(), bounded("late", 20)).await.unwrap()).await;
    assert_eq!(it.sums().await, (1_000 - 18, 0, 18));
    it.assert_sound().await;
}

#[tokio::test]
async fn whoever_stops_waiting_for_a_model_gets_back_what_was_held() {
    let it = Fixture::with_money(GatewayConfig::default(), 1_000).await;
    it.backend.then(Script::Never);
    let gateway = it.gateway.clone();
    let waiting =
        tokio::spawn(async move { gateway.generate(&caller(), bounded("r", 20)).await.map(drop) });
    while it.sums().await.1 == 0 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    it.let_go().await;
    assert_eq!(it.sums().await, (1_000, 0, 0));
    it.assert_sound().await;
}

#[tokio::test]
async fn an_id_that_a_client_repeats_is_paid_each_time() {
    let it = Fixture::with_money(GatewayConfig::default(), 1_000).await;
    for _ in 0..3 {
        it.backend.then(Script::Say(vec![started(3), finished(0), done(3, 1)]));
        read_all(it.gateway.generate(&caller(), bounded("same", 20)).await.unwrap()).await;
    }
    assert_eq!(it.sums().await, (1_000 - 54, 0, 54));
    it.assert_sound().await;
}

#[tokio::test]
async fn the_channel_that_answers_has_its_own_price() {
    let it = Fixture::with_money(GatewayConfig::default(), 10_000).await;
    let channel = ChannelId(7);
    let dear = Price { output_micros_per_million: money(100_000_000), ..price() };
    let row = PriceRow { model: "m".to_owned(), channel_id: Some(channel), price: dear };
    it.gateway.quota().set_price(&Caller::operator(), row).await.unwrap();
    it.backend.then(Script::Say(vec![
        Ok(Event::Served { channel, ignored: Vec::new(), drain_s: 0 }),
        started(3),
        finished(0),
        done(3, 2),
    ]));
    let stream = it.gateway.generate(&caller(), bounded("r", 20)).await.unwrap();
    assert_eq!(it.sums().await.1, 3 + 2_000 + 5, "the dearest that may answer");
    read_all(stream).await;
    assert_eq!(it.sums().await, (10_000 - 208, 0, 208));
    it.backend.then(Script::Say(vec![started(3), finished(0), done(3, 2)]));
    read_all(it.gateway.generate(&caller(), bounded("s", 20)).await.unwrap()).await;
    assert_eq!(it.sums().await, (10_000 - 208 - 28, 0, 236));
    let rows = it.rows().await;
    let channels: Vec<_> = rows.iter().map(|row| row.channel_id).collect();
    assert!(channels.contains(&Some(channel)) && channels.contains(&None));
    it.assert_sound().await;
}

#[tokio::test]
async fn a_budget_of_tokens_binds_models_that_are_free() {
    let it = Fixture::with_money(GatewayConfig::default(), 1_000).await;
    let operator = Caller::operator();
    it.gateway.quota().remove_price(&operator, "m".to_owned(), None).await.unwrap();
    let wish = BudgetWish {
        holder: ANN,
        period: Period::Day,
        unit: Unit::Tokens,
        most: 30,
        time_zone: "UTC".to_owned(),
    };
    it.gateway.quota().set_budget(&operator, wish).await.unwrap();
    it.backend.then(Script::Say(vec![started(3), finished(0), done(3, 20)]));
    read_all(it.gateway.generate(&caller(), bounded("a", 20)).await.unwrap()).await;
    let refused = it.gateway.generate(&caller(), bounded("b", 20)).await.unwrap_err();
    let Error::OutOfQuota { message, resets_at } = refused else { panic!("{refused}") };
    assert!(message.contains("7 tokens left today"), "{message}");
    assert_eq!(resets_at, Some(86_400));
    let left = it.gateway.quota().remaining(&caller()).await.unwrap();
    assert_eq!((left.tokens, left.money_micros, left.requests), (Some(7), Some(1_000), None));
    it.assert_sound().await;
}

#[tokio::test]
async fn a_price_beyond_all_money_is_refused_and_not_wrapped() {
    let it = Fixture::with_money(GatewayConfig::default(), 1_000).await;
    let price = Price { output_micros_per_million: MicroDollars::MAX, ..Price::default() };
    let row = PriceRow { model: "m".to_owned(), channel_id: None, price };
    it.gateway.quota().set_price(&Caller::operator(), row).await.unwrap();
    let refused = it.gateway.generate(&caller(), bounded("r", u32::MAX)).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
    assert_eq!(it.sums().await, (1_000, 0, 0));
    // A provider that counts absurdly takes what there is, and never more.
    it.backend.then(Script::Say(vec![started(3), finished(0), done(u32::MAX, u32::MAX)]));
    let row = PriceRow { model: "m".to_owned(), channel_id: None, price: super::money::price() };
    it.gateway.quota().set_price(&Caller::operator(), row).await.unwrap();
    read_all(it.gateway.generate(&caller(), bounded("r", 1)).await.unwrap()).await;
    assert_eq!(it.sums().await, (0, 0, 1_000));
    it.assert_sound().await;
}

#[tokio::test]
async fn what_was_held_for_too_long_comes_back_with_the_next_look_at_the_books() {
    let it = Fixture::with_money(GatewayConfig::default(), 1_000).await;
    let amounts = Amounts { money: money(400), tokens: 1 };
    // The clock shows 777.
    for (id, expires_at) in [("old", 776), ("new", 778)] {
        let reservation = Reservation {
            request_id: id.to_owned(),
            user_id: Some(UserId(1)),
            token_id: None,
            least: amounts,
            most: amounts,
            now: 700,
            expires_at,
            calendar: crate::quota::calendar::span,
        };
        it.store.ledger().reserve(reservation).await.unwrap();
    }
    assert_eq!(it.sums().await, (200, 800, 0));
    it.gateway.keep_books().await.unwrap();
    assert_eq!(it.sums().await, (600, 400, 0));
    it.assert_sound().await;
}

#[tokio::test]
async fn a_free_model_sets_nothing_aside() {
    let it = Fixture::with_money(GatewayConfig::default(), 0).await;
    it.gateway.quota().remove_price(&Caller::operator(), "m".to_owned(), None).await.unwrap();
    it.backend.then(Script::Say(vec![started(3), finished(0), done(3, 1)]));
    read_all(it.gateway.generate(&caller(), bounded("r", 20)).await.unwrap()).await;
    assert_eq!(it.sums().await, (0, 0, 0));
    assert_eq!(it.store.ledger().check().await.unwrap().holds, 0);
    assert_eq!(it.rows().await.len(), 1);
}

#[tokio::test]
async fn rate_limits_refuse_with_the_time_to_wait_and_tell_what_is_left() {
    let it = Fixture::with_money(GatewayConfig::default(), 1_000).await;
    let limit = RateLimit { requests_per_minute: Some(2), ..RateLimit::default() };
    let row = RateLimitRow { kind: hearth_store::LimitKind::User, holder: "*".to_owned(), limit };
    it.gateway.quota().set_rate_limit(&Caller::operator(), row).await.unwrap();
    for _ in 0..2 {
        it.backend.then(Script::Say(vec![started(3), finished(0), done(3, 1)]));
        read_all(it.gateway.generate(&caller(), bounded("r", 1)).await.unwrap()).await;
    }
    let refused = it.gateway.generate(&caller(), bounded("r", 1)).await.unwrap_err();
    let Error::TooFast { message, measure, retry_after } = refused else { panic!("{refused}") };
    assert!(message.contains("requests per min (RPM): Limit 2, Used 2"), "{message}");
    assert_eq!(measure, Measure::Requests);
    assert!(retry_after > Duration::from_secs(20) && retry_after <= Duration::from_secs(30));
    let left = it.gateway.rate_limits(&caller()).await;
    assert_eq!(left.requests.map(|left| (left.limit, left.remaining)), Some((2, 0)));
    assert_eq!(it.gateway.running(), 0);
    let other = Caller { user_id: Some(UserId(2)), ..caller() };
    it.backend.then(Script::Say(vec![started(3), finished(0), done(3, 1)]));
    read_all(it.gateway.generate(&other, bounded("r", 1)).await.unwrap()).await;
}
