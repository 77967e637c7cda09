//! Who waits knows how far it is, and who may not wait hears when to come again.

use std::sync::mpsc;
use std::time::Duration;

use super::support::{
    answer, assert_all_pages_free, collect, config, greedy, load_watched, refused, wait_until,
};
use crate::{CallerKey, EngineConfig, Error, Model, SequenceRequest};

/// A model of one place whose steps wait for a permit each.
fn held_up(config: EngineConfig) -> (Model, mpsc::Sender<()>) {
    let (permit, permits) = mpsc::channel::<()>();
    let config = EngineConfig { max_sequences: 1, ..config };
    let model = load_watched(&config, move |_| {
        let _ = permits.recv();
    });
    (model, permit)
}

fn of(caller: u64) -> SequenceRequest {
    SequenceRequest { caller: CallerKey(caller), ..greedy(&[1, 403], 3) }
}

#[test]
fn who_waits_knows_its_place_and_for_how_long() {
    let (model, permit) = held_up(config());
    let running = model.submit(of(1)).expect("accepted");
    wait_until("it runs", || model.stats().pages_used > 0);
    let second = model.submit(of(1)).expect("accepted");
    let third = model.submit(of(1)).expect("accepted");
    let others = model.submit(of(2)).expect("accepted");
    // The step that is held up began without them.
    permit.send(()).expect("the model waits");
    let position = |sequence: &crate::Sequence| sequence.place().map(|place| place.position);
    wait_until("all are seen", || position(&third).is_some());
    assert_eq!(position(&running), None);
    assert_eq!(position(&second), Some(1));
    assert_eq!(position(&others), Some(2), "everyone's first goes before anyone's second");
    assert_eq!(position(&third), Some(3));
    let wait = |sequence: &crate::Sequence| sequence.place().map(|place| place.wait);
    assert!(wait(&second) > Some(Duration::ZERO), "the one that runs has run for a while");
    assert!(wait(&second) < wait(&others) && wait(&others) < wait(&third));
    assert!(model.stats().queue_wait > Duration::ZERO);
    drop(permit);
    for sequence in [running, second, third, others] {
        assert!(collect(sequence).end.is_ok());
    }
    assert_all_pages_free(&model);
    let stats = model.stats();
    assert_eq!(stats.queue_wait, Duration::ZERO, "nobody waits");
    assert!(stats.mean_run > Duration::ZERO);
}

#[test]
fn a_caller_has_its_part_of_the_queue_and_no_more() {
    let limits = EngineConfig { queue_sequences: 3, queue_sequences_per_caller: 2, ..config() };
    let (model, permit) = held_up(limits);
    let mut accepted = vec![model.submit(of(1)).expect("accepted")];
    wait_until("it runs", || model.stats().pages_used > 0);
    accepted.extend((0..2).map(|_| model.submit(of(1)).expect("accepted")));
    let Error::CallerBusy { retry_after } = refused(&model, of(1)) else { panic!("its part") };
    assert!((1..=600).contains(&retry_after.as_secs()), "{retry_after:?}");
    accepted.push(model.submit(of(2)).expect("has its own part"));
    let Error::Busy { retry_after } = refused(&model, of(2)) else { panic!("the whole queue") };
    assert!((1..=600).contains(&retry_after.as_secs()), "{retry_after:?}");
    drop(permit);
    for sequence in accepted {
        assert!(collect(sequence).end.is_ok());
    }
    assert!(answer(&model, of(1)).end.is_ok(), "there is room again");
    assert_all_pages_free(&model);
}

#[test]
fn who_leaves_the_queue_gives_its_place_back() {
    let (model, permit) = held_up(EngineConfig { queue_sequences_per_caller: 1, ..config() });
    let running = model.submit(of(1)).expect("accepted");
    wait_until("it runs", || model.stats().pages_used > 0);
    drop(model.submit(of(1)).expect("accepted"));
    drop(permit);
    wait_until("it was seen to have left", || model.submit(of(1)).is_ok());
    assert!(collect(running).end.is_ok());
    assert_all_pages_free(&model);
}
