//! Company must not change an answer: batches, chunks, preemption, cancels, slow readers.

use std::sync::mpsc;

use super::support::{
    answer, assert_all_pages_free, collect, config, f32_gguf, goldens, greedy, load, load_watched,
    load_with_pages, shared, wait_until,
};
use crate::{EngineConfig, Error, Event, Model, Sampling, Sequence, SequenceRequest};

/// Prompts of many lengths, half of them drawn with a seed and without log probabilities.
fn requests() -> Vec<SequenceRequest> {
    let story = &goldens()[0];
    let text: Vec<u32> = [&story.prompt_ids[..], &story.greedy_ids[..]].concat();
    (0..12)
        .map(|index| {
            let request = greedy(&text[..1 + index * 5], 24 + index as u32);
            let seed = Some(index as u64);
            match index % 2 {
                0 => request,
                _ => SequenceRequest {
                    sampling: Sampling { seed, ..Sampling::default() },
                    ..request
                },
            }
        })
        .collect()
}

fn singles(config: &EngineConfig) -> Vec<Vec<u32>> {
    let model = load(&f32_gguf(), &EngineConfig { prefix_reuse: false, ..config.clone() });
    requests().into_iter().map(|request| answer(&model, request).ids()).collect()
}

fn together(model: &Model) -> Vec<Vec<u32>> {
    let submit = |request| model.submit(request).expect("accepted");
    let sequences: Vec<Sequence> = requests().into_iter().map(submit).collect();
    let answers = sequences.into_iter().map(|sequence| collect(sequence).ids()).collect();
    assert_all_pages_free(model);
    answers
}

#[test]
fn a_batch_of_mixed_lengths_equals_its_singles() {
    let model = load(&f32_gguf(), &config());
    assert_eq!(together(&model), singles(&config()));
}

#[test]
fn chunked_prompts_among_running_answers_equal_whole_ones() {
    let chunked = EngineConfig { budget_tokens: 9, page_tokens: 3, ..config() };
    let model = load(&f32_gguf(), &chunked);
    assert_eq!(together(&model), singles(&config()));
}

#[test]
fn preempted_sequences_go_on_with_the_same_tokens() {
    let model = load_with_pages(&f32_gguf(), &config(), 12);
    assert_eq!(together(&model), singles(&config()));
    assert!(model.stats().preemptions > 0, "12 pages are too few for 8 sequences");
}

#[test]
fn quantised_batches_equal_their_singles() {
    let path = shared("stories260K-q8_0.gguf");
    let alone = load(&path, &config());
    let alone: Vec<_> =
        requests().into_iter().map(|request| answer(&alone, request).ids()).collect();
    assert_eq!(together(&load(&path, &config())), alone);
}

#[test]
fn a_dropped_reader_frees_its_pages_while_the_answer_is_written() {
    let model = load(&f32_gguf(), &config());
    let mut kept = model.submit(greedy(&[1, 403, 407], 200)).expect("accepted");
    let mut dropped = model.submit(greedy(&[1, 403], 400)).expect("accepted");
    assert!(matches!(dropped.blocking_recv(), Some(Ok(Event::Text { .. }))));
    assert!(model.stats().pages_used > 0);
    drop(dropped);
    assert!(matches!(kept.blocking_recv(), Some(Ok(Event::Text { .. }))));
    assert!(collect(kept).end.is_ok());
    assert_all_pages_free(&model);
}

#[test]
fn a_dropped_reader_stops_its_prompt_within_one_step() {
    let (stepped, steps) = mpsc::channel();
    let (permit, permits) = mpsc::channel::<()>();
    let config = EngineConfig { budget_tokens: 32, ..config() };
    let model = load_watched(&config, move |batch| {
        stepped.send(batch.rows()).expect("the test listens");
        let _ = permits.recv();
    });
    let sequence = model.submit(greedy(&[5; 400], 4)).expect("accepted");
    assert_eq!(steps.recv(), Ok(32));
    permit.send(()).expect("the model waits");
    assert_eq!(steps.recv(), Ok(32));
    drop(sequence);
    // From here on no step is held up: had the prompt gone on, there would be eleven more.
    drop(permit);
    assert_all_pages_free(&model);
    assert!(steps.try_recv().is_err(), "no step after the one that ran");
    assert_eq!(model.stats().computed_tokens, 64);
}

#[test]
fn a_slow_reader_is_paused_and_nobody_else() {
    let config = EngineConfig { event_buffer: 4, ..config() };
    let model = load(&f32_gguf(), &config);
    let golden = &goldens()[0];
    let slow = model.submit(greedy(&golden.prompt_ids, 64)).expect("accepted");
    let quick = answer(&model, greedy(&goldens()[1].prompt_ids, 64));
    assert_eq!(quick.ids(), goldens()[1].greedy_ids);
    assert_eq!(model.stats().running, 1, "the slow one is still there");
    assert_eq!(collect(slow).ids(), golden.greedy_ids);
    assert_all_pages_free(&model);
}

#[test]
fn a_reader_that_never_reads_is_given_up() {
    let config = EngineConfig { event_buffer: 4, reader_timeout_s: 1, ..config() };
    let model = load(&f32_gguf(), &config);
    let silent = model.submit(greedy(&[1, 403], 64)).expect("accepted");
    assert_all_pages_free_later(&model);
    assert!(matches!(collect(silent).end, Err(Error::ReaderStalled { seconds: 1 })));
}

fn assert_all_pages_free_later(model: &Model) {
    wait_until("the sequence runs", || model.stats().pages_used > 0);
    assert_all_pages_free(model);
}

#[test]
fn a_full_queue_says_busy_and_works_again_later() {
    let (permit, permits) = mpsc::channel::<()>();
    let config = EngineConfig { queue_sequences: 2, max_sequences: 1, ..config() };
    let model = load_watched(&config, move |_| {
        let _ = permits.recv();
    });
    let first = model.submit(greedy(&[1, 403], 3)).expect("accepted");
    wait_until("the first one runs", || model.stats().pages_used > 0 || model.stats().waiting == 1);
    let mut accepted = vec![first];
    let refused = (0..5).find_map(|_| match model.submit(greedy(&[1, 403], 3)) {
        Ok(sequence) => {
            accepted.push(sequence);
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(refused, Some(Error::Busy { .. })), "{refused:?}");
    assert!((2..=4).contains(&accepted.len()), "{}", accepted.len());
    drop(permit);
    for sequence in accepted {
        assert!(collect(sequence).end.is_ok());
    }
    assert_all_pages_free(&model);
    assert!(answer(&model, greedy(&[1, 403], 3)).end.is_ok());
}
