//! Scenes of the scheduler; no model needed. The random plays are in `tests/play.rs`.

mod play;
mod sharing;

use super::pace::Mix;
use super::{Arrival, Limits, Scheduler, SequenceId, Work};
use crate::config::Speculation;
use crate::prefix::Chain;
use crate::request::{CallerKey, LaneKey, Priority};

const LIMITS: Limits = Limits {
    page_tokens: 4,
    budget_tokens: 64,
    max_sequences: 4,
    speculation: Speculation::Always,
    guess_tokens: 3,
    prefix_reuse: true,
    priority_age_ms: 1000,
};

fn scheduler(total_pages: usize, budget_tokens: usize) -> Scheduler {
    unhurried(Limits { budget_tokens, ..LIMITS }, total_pages)
}

/// A scheduler that knows from earlier steps that prompts cost nothing.
fn unhurried(limits: Limits, total_pages: usize) -> Scheduler {
    let mut scheduler = Scheduler::new(limits, total_pages);
    for _ in 0..20 {
        let prompt_tokens = scheduler.pace.beside(1);
        scheduler.pace.note(Mix { writing: 1, prompt_tokens }, 1000);
    }
    scheduler.pace.note(Mix { writing: 1, prompt_tokens: 0 }, 1000);
    scheduler
}

/// Adds a sequence that has nothing in common with others.
fn add(scheduler: &mut Scheduler, id: u64, tokens: usize) {
    let first = id as u32 * 10_000;
    add_prompt(scheduler, id, &(first..first + tokens as u32).collect::<Vec<_>>());
}

fn add_prompt(scheduler: &mut Scheduler, id: u64, tokens: &[u32]) {
    scheduler.add(arrival(id, 1, tokens), 0);
}

fn arrival(id: u64, caller: u64, tokens: &[u32]) -> Arrival {
    let caller = CallerKey(caller);
    let prompt = Chain::new(caller, LIMITS.page_tokens, tokens);
    Arrival {
        id: SequenceId(id),
        caller,
        lane: LaneKey(0),
        weight: 1,
        priority: Priority::Default,
        prompt,
    }
}

/// The token that is drawn every time.
const DRAWN: u32 = 7;

/// Runs a step in which every sampling sequence gets a token.
fn step(scheduler: &mut Scheduler) -> Vec<Work> {
    step_at(scheduler, 0)
}

fn step_at(scheduler: &mut Scheduler, now_ms: u64) -> Vec<Work> {
    let work = scheduler.schedule(now_ms);
    scheduler.advance(&work);
    for work in work.iter().filter(|work| work.samples) {
        scheduler.push_token(work.sequence, DRAWN);
    }
    assert!(scheduler.check());
    work
}

fn work(id: u64, start: usize, count: usize, samples: bool) -> Work {
    Work { sequence: SequenceId(id), start, count, samples, guesses: 0 }
}

#[test]
fn decoding_goes_before_prompts_and_prompts_are_cut_to_the_budget() {
    let mut scheduler = scheduler(100, 8);
    add(&mut scheduler, 1, 3);
    assert_eq!(step(&mut scheduler), [work(1, 0, 3, true)]);
    add(&mut scheduler, 2, 20);
    assert_eq!(step(&mut scheduler), [work(1, 3, 1, true), work(2, 0, 7, false)]);
    assert_eq!(step(&mut scheduler), [work(1, 4, 1, true), work(2, 7, 7, false)]);
    assert_eq!(step(&mut scheduler), [work(1, 5, 1, true), work(2, 14, 6, true)]);
    assert_eq!(step(&mut scheduler), [work(1, 6, 1, true), work(2, 20, 1, true)]);
}

#[test]
fn short_of_pages_the_youngest_is_computed_again_later() {
    let mut scheduler = scheduler(4, 64);
    add(&mut scheduler, 1, 6);
    add(&mut scheduler, 2, 6);
    assert_eq!(step(&mut scheduler).len(), 2);
    step(&mut scheduler);
    step(&mut scheduler);
    assert_eq!(scheduler.preemptions(), 0);
    // Both have 9 tokens now and need a third page.
    step(&mut scheduler);
    assert_eq!(scheduler.preemptions(), 1);
    assert_eq!(scheduler.waiting.len(), 1);
    scheduler.remove(SequenceId(1));
    // Of its two full pages the first took the last one and left the other.
    assert_eq!(step(&mut scheduler), [work(2, 4, 5, true)]);
}

#[test]
fn a_paused_sequence_is_kept_until_another_needs_its_pages() {
    let mut scheduler = scheduler(4, 64);
    add(&mut scheduler, 1, 6);
    step(&mut scheduler);
    scheduler.set_paused(SequenceId(1), true);
    assert!(step(&mut scheduler).is_empty());
    assert_eq!(scheduler.running(), 1);
    add(&mut scheduler, 2, 10);
    assert_eq!(step(&mut scheduler), [work(2, 0, 10, true)]);
    assert_eq!((scheduler.preemptions(), scheduler.waiting.len()), (1, 1));
    scheduler.remove(SequenceId(2));
    assert!(step(&mut scheduler).is_empty(), "still paused");
    scheduler.set_paused(SequenceId(1), false);
    // Its first page is still there; the second was not yet full.
    assert_eq!(step(&mut scheduler), [work(1, 4, 3, true)]);
}

#[test]
fn a_sequence_that_nobody_reads_gives_its_place_to_one_that_waits() {
    let mut scheduler = unhurried(Limits { max_sequences: 1, ..LIMITS }, 100);
    add(&mut scheduler, 1, 6);
    step(&mut scheduler);
    scheduler.set_paused(SequenceId(1), true);
    assert!(step(&mut scheduler).is_empty(), "nobody else wants the place");
    assert_eq!(scheduler.preemptions(), 0);
    add(&mut scheduler, 2, 5);
    assert_eq!(step(&mut scheduler), [work(2, 0, 5, true)]);
    assert_eq!((scheduler.running(), scheduler.waiting.len()), (1, 1));
    scheduler.remove(SequenceId(2));
    scheduler.set_paused(SequenceId(1), false);
    assert_eq!(step(&mut scheduler), [work(1, 4, 3, true)], "its full page is still there");
}

#[test]
fn removing_frees_the_pages_of_a_half_read_prompt() {
    let mut scheduler = scheduler(16, 8);
    add(&mut scheduler, 1, 40);
    step(&mut scheduler);
    assert!(scheduler.pages_used() > 0);
    scheduler.remove(SequenceId(1));
    assert_eq!(scheduler.pages_used(), 0);
    assert!(scheduler.check());
}

#[test]
fn a_prompt_that_begins_like_an_earlier_one_computes_only_the_rest() {
    let mut scheduler = scheduler(100, 64);
    add_prompt(&mut scheduler, 1, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(step(&mut scheduler), [work(1, 0, 9, true)]);
    add_prompt(&mut scheduler, 2, &[1, 2, 3, 4, 5, 6, 7, 8, 1, 2]);
    assert_eq!(step(&mut scheduler), [work(1, 9, 1, true), work(2, 8, 2, true)]);
    assert_eq!(scheduler.pages_of(SequenceId(1))[..2], scheduler.pages_of(SequenceId(2))[..2]);
    assert_eq!(scheduler.pages_used(), 4, "two shared, one of each");
    scheduler.remove(SequenceId(1));
    scheduler.remove(SequenceId(2));
    assert_eq!((scheduler.pages_used(), scheduler.pages_cached()), (0, 2));
    // A prompt that is there as a whole still computes its last token.
    add_prompt(&mut scheduler, 3, &[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(step(&mut scheduler), [work(3, 4, 4, true)]);
}

#[test]
fn the_answer_is_part_of_what_a_next_prompt_finds() {
    let mut scheduler = scheduler(100, 64);
    add_prompt(&mut scheduler, 1, &[1, 2, 3]);
    (0..5).for_each(|_| drop(step(&mut scheduler)));
    scheduler.remove(SequenceId(1));
    add_prompt(&mut scheduler, 2, &[1, 2, 3, DRAWN, DRAWN, DRAWN]);
    assert_eq!(step(&mut scheduler), [work(2, 4, 2, true)]);
}

#[test]
fn equal_prompts_at_once_are_computed_once() {
    let mut scheduler = scheduler(100, 6);
    let prompt: Vec<u32> = (0..10).collect();
    (1..=3).for_each(|id| add_prompt(&mut scheduler, id, &prompt));
    assert_eq!(step(&mut scheduler), [work(1, 0, 6, false)]);
    assert_eq!(step(&mut scheduler), [work(1, 6, 4, true)]);
    let decode = work(1, 10, 1, true);
    assert_eq!(step(&mut scheduler), [decode, work(2, 8, 2, true), work(3, 8, 2, true)]);
}

#[test]
fn another_callers_pages_are_not_found() {
    let mut scheduler = scheduler(100, 64);
    let prompt: Vec<u32> = (0..10).collect();
    for (id, caller) in [(1, 1), (2, 2)] {
        scheduler.add(arrival(id, caller, &prompt), 0);
    }
    assert_eq!(step(&mut scheduler), [work(1, 0, 10, true), work(2, 0, 10, true)]);
    assert_eq!(scheduler.pages_used(), 6);
}

#[test]
fn what_came_to_nothing_good_is_not_found_again() {
    let mut scheduler = scheduler(100, 64);
    let prompt: Vec<u32> = (0..10).collect();
    add_prompt(&mut scheduler, 1, &prompt);
    step(&mut scheduler);
    scheduler.distrust(SequenceId(1));
    scheduler.remove(SequenceId(1));
    add_prompt(&mut scheduler, 2, &prompt);
    assert_eq!(step(&mut scheduler), [work(2, 0, 10, true)]);
}

#[test]
fn without_reuse_every_prompt_is_computed() {
    let mut scheduler = unhurried(Limits { prefix_reuse: false, ..LIMITS }, 100);
    let prompt: Vec<u32> = (0..10).collect();
    (1..=2).for_each(|id| add_prompt(&mut scheduler, id, &prompt));
    assert_eq!(step(&mut scheduler), [work(1, 0, 10, true), work(2, 0, 10, true)]);
    assert_eq!(scheduler.pages_cached(), 0);
}

#[test]
fn a_sequence_as_long_as_all_pages_runs() {
    let mut scheduler = scheduler(4, 64);
    add(&mut scheduler, 1, 16);
    assert_eq!(step(&mut scheduler), [work(1, 0, 16, true)]);
}
