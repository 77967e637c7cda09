//! Usage: pages that miss and repeat nothing, filters, and sums that agree with the rows.

use super::ledger::{assert_sound, money};
use super::{Fixture, new_user};
use crate::{
    ApiTokenId, ChannelId, Dimension, ListedUsage, Outcome, Span, Store, Summary, UsageCursor,
    UsageFilter, UsageRow, UserId, UserRole,
};

const DAY_S: i64 = 86_400;

fn row(number: u32) -> UsageRow {
    let is_remote = number.is_multiple_of(3);
    UsageRow {
        request_id: format!("r{number:04}"),
        client_request_id: Some(format!("client-{}", number % 5)),
        user_id: Some(UserId(1 + i64::from(number % 2))),
        token_id: number.is_multiple_of(4).then_some(ApiTokenId(9)),
        model: if number.is_multiple_of(7) { "rare" } else { "common" }.to_owned(),
        channel_id: is_remote.then_some(ChannelId(3)),
        prompt_tokens: number,
        completion_tokens: 2,
        cost: money(u64::from(number)),
        outcome: if number.is_multiple_of(10) { Outcome::Failed } else { Outcome::Complete },
        reason: number.is_multiple_of(10).then(|| "fault".to_owned()),
        // Several of one second, over three days.
        created_at: i64::from(number / 4) * 3_000,
        ..UsageRow::default()
    }
}

async fn filled() -> Fixture {
    let it = Fixture::new();
    it.store.users().create(new_user("ann", UserRole::User)).await.unwrap();
    for number in 0..300 {
        assert!(it.store.usage().record(row(number)).await.unwrap());
    }
    it
}

async fn all_pages(store: &Store, filter: &UsageFilter, limit: u32) -> Vec<ListedUsage> {
    let mut rows: Vec<ListedUsage> = Vec::new();
    loop {
        let before = rows.last().map(|last| UsageCursor {
            created_at: last.row.created_at,
            id: last.row.request_id.clone(),
        });
        let page = store.usage().page(filter.clone(), before, limit).await.unwrap();
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
    }
}

#[tokio::test]
async fn pages_show_each_row_once_in_one_order_whatever_their_length() {
    let it = filled().await;
    let whole = all_pages(&it.store, &UsageFilter::default(), 500).await;
    assert_eq!(whole.len(), 300);
    assert_eq!(whole[0].row, row(299), "every field comes back, the newest row first");
    assert_eq!((whole[1].user.as_deref(), whole[0].user.as_deref()), (Some("ann"), None));
    assert!(whole.is_sorted_by_key(|listed| {
        (-listed.row.created_at, std::cmp::Reverse(listed.row.request_id.clone()))
    }));
    for limit in [1, 7, 299] {
        assert_eq!(all_pages(&it.store, &UsageFilter::default(), limit).await, whole);
    }
}

#[tokio::test]
async fn filters_keep_what_they_name_alone_and_together() {
    let it = filled().await;
    let numbers: Vec<u32> = (0..300).collect();
    let count = |keep: &dyn Fn(&UsageRow) -> bool| {
        numbers.iter().filter(|number| keep(&row(**number))).count()
    };
    let all = UsageFilter::default;
    let user_id = Some(UserId(2));
    let model = Some("rare".to_owned());
    for (filter, expected) in [
        (UsageFilter { user_id, ..all() }, count(&|row| row.user_id == user_id)),
        (
            UsageFilter { token_id: Some(ApiTokenId(9)), ..all() },
            count(&|row| row.token_id.is_some()),
        ),
        (UsageFilter { model: model.clone(), ..all() }, count(&|row| row.model == "rare")),
        (
            UsageFilter { channel_id: Some(ChannelId(3)), ..all() },
            count(&|row| row.channel_id.is_some()),
        ),
        (
            UsageFilter { channel_id: Some(ChannelId(0)), ..all() },
            count(&|row| row.channel_id.is_none()),
        ),
        (
            UsageFilter { outcome: Some(Outcome::Failed), ..all() },
            count(&|row| row.outcome == Outcome::Failed),
        ),
        (UsageFilter { request_id: Some("client-3".to_owned()), ..all() }, 60),
        (UsageFilter { request_id: Some("r0042".to_owned()), ..all() }, 1),
        (
            UsageFilter { since: 30_000, until: Some(60_000), ..all() },
            count(&|row| (30_000..60_000).contains(&row.created_at)),
        ),
        (
            UsageFilter { user_id, model, since: 30_000, ..all() },
            count(&|row| row.user_id == user_id && row.model == "rare" && row.created_at >= 30_000),
        ),
    ] {
        assert!(expected > 0);
        assert_eq!(all_pages(&it.store, &filter, 11).await.len(), expected, "{filter:?}");
        let totals = it.store.usage().totals(filter).await.unwrap();
        assert_eq!(totals.requests, expected as u64);
    }
}

#[tokio::test]
async fn sums_of_any_span_agree_with_its_rows() {
    let it = filled().await;
    let hour = 3_600;
    for span in [
        Span { start: 0, end: 10 * DAY_S },
        Span { start: hour, end: 2 * hour },
        Span { start: hour, end: DAY_S },
        Span { start: 5 * hour, end: DAY_S + hour },
        Span { start: 22 * hour, end: 2 * DAY_S + 22 * hour },
        Span { start: DAY_S, end: 2 * DAY_S },
        Span { start: 9 * DAY_S, end: 10 * DAY_S },
    ] {
        let inside = |number: &u32| (span.start..span.end).contains(&row(*number).created_at);
        let rows: Vec<UsageRow> = (0..300).filter(inside).map(row).collect();
        for by in [
            None,
            Some(Dimension::User),
            Some(Dimension::Token),
            Some(Dimension::Group),
            Some(Dimension::Model),
            Some(Dimension::Channel),
        ] {
            let question = Summary { span, by, filter: UsageFilter::default() };
            let sums = it.store.usage().summary(question).await.unwrap();
            let total = |of: fn(&crate::UsageSum) -> u64| sums.iter().map(of).sum::<u64>();
            assert_eq!(total(|sum| sum.requests), rows.len() as u64, "{span:?} {by:?}");
            let cost: u64 = rows.iter().map(|row| row.cost.micros()).sum();
            assert_eq!(total(|sum| sum.cost_micros), cost, "{span:?} {by:?}");
            assert!(sums.is_sorted_by_key(|sum| std::cmp::Reverse(sum.cost_micros)));
        }
        let filter = UsageFilter { model: Some("rare".to_owned()), ..UsageFilter::default() };
        let question = Summary { span, by: Some(Dimension::User), filter };
        let sums = it.store.usage().summary(question).await.unwrap();
        let rare = rows.iter().filter(|row| row.model == "rare").count() as u64;
        assert_eq!(sums.iter().map(|sum| sum.requests).sum::<u64>(), rare);
        assert!(sums.iter().all(|sum| sum.name.as_deref() != Some("") && sum.key != "0"));
    }
    assert_sound(&it.store).await;
}
