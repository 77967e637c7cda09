//! Limits, one at a time and together.

use super::*;

fn ann() -> Scope {
    Scope::User(UserId(1))
}

fn row(kind: LimitKind, holder: &str, limit: RateLimit) -> RateLimitRow {
    RateLimitRow { kind, holder: holder.to_owned(), limit }
}

fn per_minute(requests: Option<u32>, tokens: Option<u32>, concurrent: Option<u32>) -> RateLimit {
    RateLimit { requests_per_minute: requests, tokens_per_minute: tokens, concurrent }
}

fn ann_has(limit: RateLimit) -> Rules {
    Rules::of(&[row(LimitKind::User, "1", limit)])
}

#[test]
fn a_minute_allows_so_many_requests_and_they_come_back_evenly() {
    let rules = ann_has(per_minute(Some(3), None, None));
    let mut paces = Paces::default();
    for _ in 0..3 {
        paces.begin(&rules, vec![ann()], 0, 0).unwrap();
    }
    let refused = paces.begin(&rules, vec![ann()], 0, 0).unwrap_err();
    assert_eq!((refused.measure, refused.limit, refused.used), (Measure::Requests, 3, 3));
    assert_eq!(refused.wait_ms, 20_000);
    assert!(paces.begin(&rules, vec![ann()], 0, 19_999).is_err());
    paces.begin(&rules, vec![ann()], 0, 20_000).unwrap();
    assert!(paces.begin(&rules, vec![ann()], 0, 20_000).is_err());
    let (requests, tokens) = paces.left(&rules, &[ann()], 50_000);
    assert_eq!(requests, Some(Left { limit: 3, remaining: 1, reset_ms: 30_000 }));
    assert_eq!(tokens, None);
}

#[test]
fn tokens_are_counted_by_what_was_used_in_the_end() {
    let rules = ann_has(per_minute(None, Some(600), None));
    let mut paces = Paces::default();
    let scopes = paces.begin(&rules, vec![ann()], 500, 0).unwrap();
    assert_eq!(paces.begin(&rules, vec![ann()], 101, 0).unwrap_err().wait_ms, 100);
    paces.end(&rules, &scopes, -400, 0);
    let scopes = paces.begin(&rules, vec![ann()], 500, 0).unwrap();
    // More than was known: the debt is paid before the next.
    paces.end(&rules, &scopes, 600, 0);
    let refused = paces.begin(&rules, vec![ann()], 1, 0).unwrap_err();
    assert_eq!((refused.measure, refused.used, refused.wanted), (Measure::Tokens, 600, 1));
    assert_eq!(refused.wait_ms, 60_100);
    paces.begin(&rules, vec![ann()], 1, 60_100).unwrap();
}

#[test]
fn a_request_larger_than_the_limit_waits_for_a_full_minute_and_is_not_refused_for_ever() {
    let rules = ann_has(per_minute(None, Some(100), None));
    let mut paces = Paces::default();
    paces.begin(&rules, vec![ann()], u32::MAX, 0).unwrap();
    let refused = paces.begin(&rules, vec![ann()], 1, 0).unwrap_err();
    assert!(refused.wait_ms > 60_000);
    let later = refused.wait_ms;
    paces.begin(&rules, vec![ann()], 1, later).unwrap();
}

#[test]
fn so_many_run_at_once_and_an_end_makes_room() {
    let rules = ann_has(per_minute(None, None, Some(2)));
    let mut paces = Paces::default();
    let first = paces.begin(&rules, vec![ann()], 0, 0).unwrap();
    paces.begin(&rules, vec![ann()], 0, 0).unwrap();
    let refused = paces.begin(&rules, vec![ann()], 0, 99_999).unwrap_err();
    assert_eq!(refused.measure, Measure::Concurrent);
    paces.end(&rules, &first, 0, 99_999);
    paces.begin(&rules, vec![ann()], 0, 99_999).unwrap();
}

#[test]
fn who_is_refused_by_one_limit_uses_nothing_of_the_others() {
    let model = || Scope::Model("m".to_owned());
    let rules = Rules::of(&[
        row(LimitKind::User, "*", per_minute(Some(5), None, None)),
        row(LimitKind::Model, "m", per_minute(Some(1), None, None)),
    ]);
    let mut paces = Paces::default();
    paces.begin(&rules, vec![ann(), model()], 0, 0).unwrap();
    for _ in 0..9 {
        let refused = paces.begin(&rules, vec![ann(), model()], 0, 0).unwrap_err();
        assert_eq!(refused.scope, model());
    }
    assert_eq!(paces.left(&rules, &[ann()], 0).0.unwrap().remaining, 4);
}

#[test]
fn a_holders_own_limit_stands_before_that_of_each_and_who_has_none_is_not_remembered() {
    let rules = Rules::of(&[
        row(LimitKind::User, "*", per_minute(Some(1), None, None)),
        row(LimitKind::User, "1", per_minute(Some(2), None, None)),
        row(LimitKind::User, "not a number", per_minute(Some(1), None, None)),
    ]);
    let mut paces = Paces::default();
    let bob = || Scope::User(UserId(2));
    for scope in [ann(), ann(), bob()] {
        paces.begin(&rules, vec![scope], 0, 0).unwrap();
    }
    assert!(paces.begin(&rules, vec![ann()], 0, 0).is_err());
    assert!(paces.begin(&rules, vec![bob()], 0, 0).is_err());
    let key = Scope::Token(ApiTokenId(1));
    assert_eq!(paces.begin(&rules, vec![key], 9, 0), Ok(Vec::new()));
    assert_eq!(paces.holders(), 2);
    assert!(!rules.is_empty() && Rules::default().is_empty());
}

#[test]
fn memory_is_bounded_however_many_come() {
    let rules = Rules::of(&[row(LimitKind::Token, "*", per_minute(Some(1), None, None))]);
    let mut paces = Paces::default();
    for id in 0..200_000 {
        let scopes = paces.begin(&rules, vec![Scope::Token(ApiTokenId(id))], 0, 0).unwrap();
        paces.end(&rules, &scopes, 0, 0);
        assert!(paces.holders() <= MAX_HOLDERS);
    }
}
