//! Who goes first: fair share between callers, priorities, and the order of the queue.

use super::{
    Arrival, LIMITS, Limits, Scheduler, SequenceId, Work, arrival, step, step_at, unhurried,
};
use crate::request::{LaneKey, Priority};

/// A prompt of so many tokens that has nothing in common with others.
fn prompt(id: u64, tokens: usize) -> Vec<u32> {
    let first = id as u32 * 10_000;
    (first..first + tokens as u32).collect()
}

fn add(scheduler: &mut Scheduler, id: u64, caller: u64, tokens: usize) {
    scheduler.add(arrival(id, caller, &prompt(id, tokens)), 0);
}

fn add_as(scheduler: &mut Scheduler, id: u64, priority: Priority, now_ms: u64) {
    let arrival = Arrival { priority, ..arrival(id, id, &prompt(id, 5)) };
    scheduler.add(arrival, now_ms);
}

/// Ids and token counts of a step's work.
fn counts(scheduler: &mut Scheduler) -> Vec<(u64, usize)> {
    step(scheduler).iter().map(|work| (work.sequence.0, work.count)).collect()
}

fn ids(scheduler: &mut Scheduler, now_ms: u64) -> Vec<u64> {
    step_at(scheduler, now_ms).iter().map(|work| work.sequence.0).collect()
}

#[test]
fn callers_share_a_step_by_weight_however_much_each_asks() {
    let limits = Limits { budget_tokens: 512, max_sequences: 8, ..LIMITS };
    let mut scheduler = unhurried(limits, 2000);
    for id in 1..=3 {
        add(&mut scheduler, id, 1, 1000);
    }
    scheduler.add(Arrival { weight: 3, ..arrival(4, 2, &prompt(4, 1000)) }, 0);
    assert_eq!(counts(&mut scheduler), [(1, 128), (4, 384)]);
    assert_eq!(counts(&mut scheduler), [(1, 128), (4, 384)]);
    scheduler.remove(SequenceId(4));
    assert_eq!(counts(&mut scheduler), [(1, 512)], "alone it gets everything");
}

#[test]
fn the_lanes_of_a_caller_take_turns_within_its_share() {
    let limits = Limits { budget_tokens: 128, max_sequences: 8, ..LIMITS };
    let mut scheduler = unhurried(limits, 2000);
    for id in 1..=3 {
        add(&mut scheduler, id, 1, 1000);
    }
    assert_eq!(counts(&mut scheduler), [(1, 128)]);
    scheduler.add(Arrival { lane: LaneKey(1), ..arrival(4, 1, &prompt(4, 1000)) }, 0);
    let turns: Vec<u64> = (0..6).map(|_| counts(&mut scheduler)[0].0).collect();
    assert_eq!(turns, [1, 4, 1, 4, 1, 4]);
    assert_eq!(scheduler.queue(), [SequenceId(2), SequenceId(3)]);
    scheduler.add(Arrival { lane: LaneKey(2), ..arrival(5, 1, &prompt(5, 10)) }, 0);
    let queue = [SequenceId(2), SequenceId(5), SequenceId(3)];
    assert_eq!(scheduler.queue(), queue, "every lane's first before anybody's second");
}

#[test]
fn a_short_prompt_does_not_wait_for_another_callers_long_one() {
    let mut scheduler = unhurried(Limits { budget_tokens: 256, ..LIMITS }, 2000);
    add(&mut scheduler, 1, 1, 4000);
    assert_eq!(counts(&mut scheduler), [(1, 256)]);
    add(&mut scheduler, 2, 2, 20);
    assert_eq!(counts(&mut scheduler), [(1, 236), (2, 20)]);
}

#[test]
fn the_next_free_place_is_for_whoever_has_had_least() {
    let mut scheduler = unhurried(Limits { max_sequences: 2, ..LIMITS }, 100);
    for id in 1..=5 {
        add(&mut scheduler, id, 1, 40);
    }
    step(&mut scheduler);
    add(&mut scheduler, 6, 2, 5);
    scheduler.remove(SequenceId(1));
    (0..2).for_each(|_| drop(step(&mut scheduler)));
    assert!(!scheduler.pages_of(SequenceId(6)).is_empty(), "before the others of the first");
}

#[test]
fn who_holds_every_place_gives_one_up_after_a_steps_worth_of_tokens() {
    let limits = Limits { budget_tokens: 16, max_sequences: 2, ..LIMITS };
    let mut scheduler = unhurried(limits, 100);
    add(&mut scheduler, 1, 1, 3);
    add(&mut scheduler, 2, 1, 3);
    (0..100).for_each(|_| drop(step(&mut scheduler)));
    add(&mut scheduler, 3, 2, 3);
    let steps = (0..100).position(|_| step(&mut scheduler).iter().any(|w| w.sequence.0 == 3));
    assert!(steps.is_some_and(|steps| steps <= 8), "{steps:?}");
    assert_eq!(scheduler.preemptions(), 1);
    // Each of two callers has one place now, and nobody is ahead any more.
    (0..100).for_each(|_| drop(step(&mut scheduler)));
    assert_eq!(scheduler.preemptions(), 1);
}

#[test]
fn one_place_goes_round_among_callers_that_never_end() {
    let limits = Limits { budget_tokens: 16, max_sequences: 1, ..LIMITS };
    let mut scheduler = unhurried(limits, 100);
    (1..=3).for_each(|id| add(&mut scheduler, id, id, 3));
    let mut drawn = [0; 3];
    for _ in 0..100 {
        for work in step(&mut scheduler).iter().filter(|work| work.samples) {
            drawn[work.sequence.0 as usize - 1] += 1;
        }
    }
    let (least, most) = (drawn.iter().min(), drawn.iter().max());
    assert!(least.is_some_and(|least| *least > 20), "{drawn:?}");
    assert!(most.is_some_and(|most| *most < 50), "{drawn:?}");
}

#[test]
fn the_more_urgent_goes_first_and_takes_the_place_of_the_less_urgent() {
    let mut scheduler = unhurried(Limits { max_sequences: 1, ..LIMITS }, 100);
    add_as(&mut scheduler, 1, Priority::Background, 0);
    assert_eq!(ids(&mut scheduler, 0), [1]);
    add_as(&mut scheduler, 2, Priority::Default, 0);
    assert_eq!(ids(&mut scheduler, 0), [2]);
    add_as(&mut scheduler, 3, Priority::Default, 0);
    assert_eq!(ids(&mut scheduler, 0), [2], "no more urgent than the one that runs");
    add_as(&mut scheduler, 4, Priority::Interactive, 0);
    assert_eq!(ids(&mut scheduler, 0), [4]);
    // Of equals the one that has had nothing yet.
    for next in [3, 2, 1] {
        let gone = scheduler.running[0].id;
        scheduler.remove(gone);
        assert_eq!(ids(&mut scheduler, 0), [next]);
    }
}

#[test]
fn who_has_waited_long_is_as_urgent_as_those_that_come_now() {
    let mut scheduler = unhurried(Limits { max_sequences: 1, ..LIMITS }, 100);
    add_as(&mut scheduler, 1, Priority::Interactive, 0);
    add_as(&mut scheduler, 2, Priority::Background, 0);
    ids(&mut scheduler, 0);
    scheduler.remove(SequenceId(1));
    add_as(&mut scheduler, 3, Priority::Interactive, 1500);
    assert_eq!(ids(&mut scheduler, 1500), [3], "it counts as default by now");
    scheduler.remove(SequenceId(3));
    add_as(&mut scheduler, 4, Priority::Interactive, 2000);
    assert_eq!(ids(&mut scheduler, 2000), [2], "as urgent, and first");
    assert_eq!(ids(&mut scheduler, 2001), [2], "nobody pushes it out again");
}

#[test]
fn many_who_wait_begin_sooner_and_one_prompt_alone_stalls_nobody() {
    let most_us = |prompts: u64| {
        let step_us =
            |work: &[Work]| 25_000 + 5_000 * work.iter().map(|w| w.count as u64).sum::<u64>();
        let limits = Limits { budget_tokens: 512, max_sequences: 2, ..LIMITS };
        let mut scheduler = Scheduler::new(limits, 2000);
        add(&mut scheduler, 1, 1, 3);
        for _ in 0..10 {
            let work = step(&mut scheduler);
            scheduler.note_cost(step_us(&work));
        }
        (2..2 + prompts).for_each(|id| add(&mut scheduler, id, id, 400));
        (0..60).fold(0, |most, _| {
            let work = step(&mut scheduler);
            scheduler.note_cost(step_us(&work));
            most.max(step_us(&work))
        })
    };
    assert!(most_us(1) <= 50_000, "{} us of 30,000 alone", most_us(1));
    assert!((55_000..=75_000).contains(&most_us(8)), "{} us", most_us(8));
}

#[test]
fn a_long_prompt_does_not_stall_a_sequence_that_writes() {
    // Reading the weights takes 30 ms, each token of a prompt 5 ms more.
    let step_us = |work: &[Work]| 25_000 + 5_000 * work.iter().map(|w| w.count as u64).sum::<u64>();
    let mut scheduler = Scheduler::new(Limits { budget_tokens: 512, ..LIMITS }, 2000);
    add(&mut scheduler, 1, 1, 3);
    let run = |scheduler: &mut Scheduler| {
        let work = step(scheduler);
        scheduler.note_cost(step_us(&work));
        work
    };
    (0..10).for_each(|_| drop(run(&mut scheduler)));
    add(&mut scheduler, 2, 2, 4000);
    let mut steps = 0;
    loop {
        let work = run(&mut scheduler);
        assert!(work.iter().any(|work| work.sequence.0 == 1), "it writes in every step");
        assert!(step_us(&work) <= 50_000, "{work:?}: 30 ms a step alone, and 18 ms more");
        steps += 1;
        if work.iter().any(|work| work.sequence.0 == 2 && work.samples) {
            break;
        }
    }
    assert!(steps < 1500, "the prompt goes on all the while: {steps} steps");
    scheduler.remove(SequenceId(1));
    add(&mut scheduler, 3, 3, 4000);
    scheduler.remove(SequenceId(2));
    assert_eq!(counts(&mut scheduler), [(3, 512)], "alone it is given whole steps");
}

#[test]
fn the_queue_is_told_by_urgency_and_then_by_turns() {
    let mut scheduler = Scheduler::new(Limits { max_sequences: 1, ..LIMITS }, 100);
    for (id, caller) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)] {
        add(&mut scheduler, id, caller, 5);
    }
    scheduler.add(Arrival { priority: Priority::Interactive, ..arrival(6, 1, &[1]) }, 0);
    let order: Vec<u64> = scheduler.queue().iter().map(|id| id.0).collect();
    assert_eq!(order, [6, 1, 4, 2, 5, 3]);
}
