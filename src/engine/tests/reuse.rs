//! Prompts that begin alike are computed once, and nobody can tell but by the time.

use super::support::{
    answer, assert_all_pages_free, collect, config, f32_gguf, goldens, greedy, load,
    load_with_pages,
};
use crate::{CallerKey, EngineConfig, Model, Sampling, SequenceRequest};

/// 64 tokens of a story and more, so that several pages are full.
fn story() -> Vec<u32> {
    let golden = &goldens()[0];
    [&golden.prompt_ids[..], &golden.greedy_ids[..]].concat()
}

fn cached(model: &Model, request: SequenceRequest) -> u32 {
    answer(model, request).end.expect("ends well").cached_tokens
}

#[test]
fn a_prompt_asked_again_says_the_same_and_computes_only_its_end() {
    let model = load(&f32_gguf(), &config());
    let story = story();
    let request = || SequenceRequest { logprobs: Some(3), ..greedy(&story, 40) };
    let first = answer(&model, request());
    let before = model.stats().computed_tokens;
    let again = answer(&model, request());
    assert_eq!(again.tokens, first.tokens, "to the last bit of each log probability");
    let full = (story.len() - 1) / 16 * 16;
    assert_eq!(first.end.expect("ends well").cached_tokens, 0);
    assert_eq!(again.end.expect("ends well").cached_tokens as usize, full);
    let computed = model.stats().computed_tokens - before;
    assert_eq!(computed as usize, story.len() - full + 39, "the end of the prompt, 39 tokens");
    assert_eq!(model.stats().reused_tokens as usize, full);
    assert_all_pages_free(&model);
    assert!(model.stats().pages_cached >= full / 16);
}

#[test]
fn a_chat_that_goes_on_finds_its_own_answers() {
    let model = load(&f32_gguf(), &config());
    let mut chat = story();
    let first = answer(&model, greedy(&chat, 48));
    chat.extend(first.ids());
    let known = chat.len() - 1;
    chat.extend([403, 407, 261]);
    let whole = answer(&load(&f32_gguf(), &config()), greedy(&chat, 24)).ids();
    let next = answer(&model, greedy(&chat, 24));
    assert_eq!(next.ids(), whole);
    assert_eq!(next.end.expect("ends well").cached_tokens as usize, known / 16 * 16);
}

#[test]
fn what_one_caller_asked_another_cannot_find() {
    let model = load(&f32_gguf(), &config());
    let of = |key| SequenceRequest { caller: CallerKey(key), ..greedy(&story(), 4) };
    assert_eq!(cached(&model, of(1)), 0);
    assert_eq!(cached(&model, of(2)), 0);
    assert!(cached(&model, of(1)) > 0);
}

#[test]
fn pages_in_need_are_taken_from_what_was_used_longest_ago() {
    // Each prompt and its answer fill five of twelve pages.
    let model = load_with_pages(&f32_gguf(), &config(), 12);
    let other = |shift: u32| (0..70).map(|i| 260 + (i * 7 + shift * 31) % 250).collect::<Vec<_>>();
    let ask = |shift| cached(&model, greedy(&other(shift), 8));
    assert_eq!((ask(0), ask(1)), (0, 0));
    assert_eq!(ask(0), 64);
    assert_eq!(ask(2), 0, "room was made");
    assert_eq!(ask(0), 64, "used lately");
    assert!(ask(1) < 64, "used longest ago");
    assert_all_pages_free(&model);
}

#[test]
fn the_same_seed_says_the_same_whatever_runs_beside_it() {
    let alone = load(&f32_gguf(), &EngineConfig { prefix_reuse: false, ..config() });
    let story = story();
    let request = |seed: u64| SequenceRequest {
        sampling: Sampling { seed: Some(seed), ..Sampling::default() },
        ..greedy(&story[..20 + seed as usize * 5], 40)
    };
    let wanted: Vec<_> = (0..8).map(|seed| answer(&alone, request(seed)).ids()).collect();
    // Few pages and small steps: prompts in pieces, preemption, and prompts found half-way.
    let crowded = EngineConfig { budget_tokens: 24, ..config() };
    let crowded = load_with_pages(&f32_gguf(), &crowded, 14);
    for round in 0..3 {
        let sequences: Vec<_> =
            (0..8).map(|seed| crowded.submit(request(seed)).expect("accepted")).collect();
        let got: Vec<_> = sequences.into_iter().map(|one| collect(one).ids()).collect();
        assert_eq!(got, wanted, "round {round}");
    }
    let stats = crowded.stats();
    assert!(stats.preemptions > 0 && stats.reused_tokens > 0, "{stats:?}");
    assert_all_pages_free(&crowded);
}
