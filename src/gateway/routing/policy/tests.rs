//! What holds of every choice, whatever the facts.

use proptest::prelude::*;

use super::*;

const POLICIES: [Policy; 6] = [
    Policy::LocalOnly,
    Policy::PreferLocal,
    Policy::PreferRemote,
    Policy::Cheapest,
    Policy::Fastest,
    Policy::Weighted,
];

fn remote() -> Facts {
    Facts {
        is_local: false,
        order: 0,
        priority: 0,
        weight: 1,
        in_flight: 0,
        price_micros: 0,
        first_token_ms: None,
        wait_ms: 0,
        standing: Standing::Ready,
    }
}

fn local() -> Facts {
    Facts { is_local: true, ..remote() }
}

fn question<'a>(policy: Policy, candidates: &'a [Facts], tried: &'a [bool]) -> Question<'a> {
    Question { policy, spill_wait_ms: 1000, candidates, tried, sticky: None }
}

fn first(policy: Policy, candidates: &[Facts]) -> Option<usize> {
    choose(&question(policy, candidates, &vec![false; candidates.len()]), 0.5)
}

/// All who are asked when everybody fails, in order.
fn all(policy: Policy, candidates: &[Facts]) -> Vec<usize> {
    let (mut tried, mut asked) = (vec![false; candidates.len()], Vec::new());
    while let Some(index) = choose(&question(policy, candidates, &tried), 0.3) {
        assert!(!tried[index], "nobody is asked twice");
        tried[index] = true;
        asked.push(index);
    }
    asked
}

prop_compose! {
    fn any_facts()(
        is_local in any::<bool>(),
        order in 0..3u32,
        priority in -2..3i32,
        weight in 0..4u32,
        in_flight in 0..5u32,
        price_micros in 0..3u64,
        first_token_ms in proptest::option::of(0..500u64),
        wait_ms in 0..2000u64,
        standing in 0..3usize,
    ) -> Facts {
        let standing = [Standing::Ready, Standing::Broken, Standing::Resting][standing];
        Facts {
            is_local, order, priority, weight, in_flight, price_micros, first_token_ms, wait_ms,
            standing,
        }
    }
}

proptest! {
    #[test]
    fn everybody_who_may_be_asked_is_asked_once_and_nobody_else(
        candidates in proptest::collection::vec(any_facts(), 0..8),
        policy in 0..6usize,
    ) {
        let policy = POLICIES[policy];
        let asked = all(policy, &candidates);
        for (index, facts) in candidates.iter().enumerate() {
            let may = facts.standing != Standing::Resting
                && (facts.is_local || policy != Policy::LocalOnly);
            prop_assert_eq!(asked.contains(&index), may, "{}", index);
        }
    }

    #[test]
    fn a_tier_is_exhausted_before_the_next(
        candidates in proptest::collection::vec(any_facts(), 0..8),
        policy in 0..6usize,
    ) {
        let policy = POLICIES[policy];
        let tried = vec![false; candidates.len()];
        let asked = all(policy, &candidates);
        let question = question(policy, &candidates, &tried);
        let best_ms = fastest(&candidates);
        let ranks: Vec<Rank> =
            asked.iter().map(|&index| rank(&question, &candidates[index], best_ms)).collect();
        prop_assert!(ranks.is_sorted(), "{:?}", ranks);
    }

    #[test]
    fn local_only_never_leaves_the_machine(
        candidates in proptest::collection::vec(any_facts(), 0..8),
        sticky in proptest::option::of(0..8usize),
        random in 0.0..1.0f64,
    ) {
        let tried = vec![false; candidates.len()];
        let question = Question { sticky, ..question(Policy::LocalOnly, &candidates, &tried) };
        if let Some(index) = choose(&question, random) {
            prop_assert!(candidates[index].is_local);
        }
    }
}

#[test]
fn prefer_local_spills_over_when_the_wait_is_long_and_comes_back_at_last() {
    let busy = Facts { wait_ms: 1001, ..local() };
    assert_eq!(all(Policy::PreferLocal, &[remote(), local()]), [1, 0]);
    assert_eq!(all(Policy::PreferLocal, &[remote(), busy]), [0, 1]);
    assert_eq!(all(Policy::PreferRemote, &[local(), remote()]), [1, 0]);
}

#[test]
fn the_cheapest_and_the_fastest_come_first() {
    let price = |price_micros| Facts { price_micros, ..remote() };
    assert_eq!(all(Policy::Cheapest, &[price(3), price(1), price(2)]), [1, 2, 0]);
    let speed = |ms| Facts { first_token_ms: Some(ms), ..remote() };
    assert_eq!(all(Policy::Fastest, &[speed(900), speed(100), speed(300)]), [1, 2, 0]);
    assert_eq!(first(Policy::Fastest, &[speed(100), remote()]), Some(1), "to be measured");
    let slow_to_begin = Facts { wait_ms: 5000, ..speed(1) };
    assert_eq!(first(Policy::Fastest, &[slow_to_begin, speed(300)]), Some(1));
}

#[test]
fn who_has_less_to_do_for_its_weight_comes_first() {
    let load = |in_flight, weight| Facts { in_flight, weight, ..remote() };
    assert_eq!(first(Policy::PreferRemote, &[load(3, 1), load(2, 1)]), Some(1));
    assert_eq!(first(Policy::PreferRemote, &[load(1, 1), load(4, 3)]), Some(1), "5/3 < 2");
    assert_eq!(first(Policy::PreferRemote, &[load(0, 0), load(90, 1)]), Some(1), "0 is for last");
}

#[test]
fn shares_are_as_the_weights() {
    let candidates = [1, 3, 6].map(|weight| Facts { weight, ..remote() });
    let tried = [false; 3];
    let mut counts = [0; 3];
    for step in 0..1000 {
        let random = f64::from(step) / 1000.0;
        let question = question(Policy::Weighted, &candidates, &tried);
        counts[choose(&question, random).unwrap()] += 1;
    }
    assert_eq!(counts, [100, 300, 600]);
}

#[test]
fn a_conversation_stays_with_who_answered_it_unless_that_one_is_worse_off() {
    let tried = [false; 2];
    let ask = |candidates: &[Facts]| {
        choose(
            &Question { sticky: Some(0), ..question(Policy::PreferRemote, candidates, &tried) },
            0.9,
        )
    };
    assert_eq!(ask(&[Facts { in_flight: 9, ..remote() }, remote()]), Some(0));
    assert_eq!(ask(&[Facts { standing: Standing::Broken, ..remote() }, remote()]), Some(1));
    assert_eq!(ask(&[Facts { priority: -1, ..remote() }, remote()]), Some(1));
}
