//! Loading once, making room, letting go; with real models on written-down machines.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Keep, ModelState, Pool, Slot, Source, Sources};
use crate::tests::support::{
    answer, collect, config, f32_gguf, goldens, greedy, load_watched, roomy, shared, wait_until,
};
use crate::{EngineConfig, Error, Facts, Machine, Model};

fn pool(config: EngineConfig, memory_free_bytes: u64) -> Pool {
    let facts = Facts { memory_free_bytes, ..roomy() };
    Pool::new(config, Machine::recorded(facts)).expect("valid settings")
}

fn source() -> Source {
    Source::Path(f32_gguf())
}

fn names(pool: &Pool) -> Vec<String> {
    pool.activity().into_iter().map(|activity| activity.name).collect()
}

fn same(a: &Model, b: &Model) -> bool {
    Arc::ptr_eq(&a.inner, &b.inner)
}

#[test]
fn many_who_ask_at_once_share_one_load() {
    let pool = pool(config(), 8 << 30);
    let models: Vec<Model> = std::thread::scope(|scope| {
        let ask = || pool.get("story", &source()).expect("loads");
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(models.iter().all(|model| same(model, &models[0])));
    let activity = pool.activity();
    assert_eq!((activity.len(), activity[0].state), (1, ModelState::Loaded));
    let golden = &goldens()[0];
    assert_eq!(answer(&models[7], greedy(&golden.prompt_ids, 8)).ids(), golden.greedy_ids[..8]);
}

#[test]
fn a_failed_load_is_told_and_can_be_tried_again() {
    let pool = pool(config(), 8 << 30);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, b"GGUF, but only by name").expect("written");
    let broken = Source::Path(path.clone());
    assert!(matches!(pool.get("m", &broken), Err(Error::Format(_))));
    assert!(names(&pool).is_empty());
    std::fs::copy(f32_gguf(), &path).expect("writable");
    assert!(pool.get("m", &broken).is_ok());
}

#[test]
fn the_idle_model_used_longest_ago_makes_room() {
    let config = EngineConfig { max_loaded_models: 2, ..config() };
    let pool = pool(config, 8 << 30);
    for name in ["a", "b"] {
        pool.get(name, &source()).expect("loads");
    }
    pool.get("a", &source()).expect("is loaded");
    pool.get("c", &source()).expect("loads");
    assert_eq!(names(&pool), ["a", "c"]);
}

#[test]
fn memory_counts_what_loaded_models_may_come_to_use() {
    let need = pool(config(), 8 << 30).get("a", &source()).expect("loads").info().memory_bytes;
    // Room for one and a half, by the share that models may take.
    let config = EngineConfig { memory_share: 1.0, ..config() };
    let pool = pool(config, need * 3 / 2);
    pool.get("a", &source()).expect("loads");
    pool.get("b", &source()).expect("loads");
    let loaded: u64 =
        pool.activity().iter().filter_map(|a| a.info.as_ref()).map(|i| i.memory_bytes).sum();
    assert!(loaded <= need * 3 / 2, "{loaded} of {need}");
}

#[test]
fn a_model_with_running_sequences_is_never_made_to_go() {
    let config = EngineConfig { max_loaded_models: 1, event_buffer: 4, ..config() };
    let pool = pool(config, 8 << 30);
    let golden = &goldens()[0];
    let busy = pool.get("a", &source()).expect("loads");
    // Nobody reads yet: it stays for as long as the test likes.
    let sequence = busy.submit(greedy(&golden.prompt_ids, 64)).expect("accepted");
    drop(busy);
    let refused = pool.get("b", &source());
    assert!(matches!(refused, Err(Error::AllBusy { loaded: 1 })), "{refused:?}");
    assert_eq!(collect(sequence).ids(), golden.greedy_ids);
    wait_until("it is idle", || pool.get("b", &source()).is_ok());
    assert_eq!(names(&pool), ["b"]);
}

#[test]
fn what_never_fits_is_refused_with_the_numbers() {
    let pool = pool(config(), 1 << 20);
    let Err(Error::TooBig { need_bytes, free_bytes }) = pool.get("a", &source()) else {
        panic!("a megabyte is too little");
    };
    assert!(need_bytes > free_bytes && free_bytes <= 1 << 20);
    assert!(names(&pool).is_empty());
}

#[test]
fn an_unloaded_model_finishes_its_answers_and_takes_no_more() {
    let pool = pool(EngineConfig { event_buffer: 4, ..config() }, 8 << 30);
    let golden = &goldens()[0];
    let sequence = pool
        .get("a", &source())
        .and_then(|model| model.submit(greedy(&golden.prompt_ids, 64)))
        .expect("accepted");
    assert!(pool.unload("a") && !pool.unload("a"));
    assert!(names(&pool).is_empty());
    assert_eq!(collect(sequence).ids(), golden.greedy_ids);
}

#[test]
fn an_idle_model_goes_after_its_keep_alive() {
    let pool = pool(EngineConfig { keep_alive_s: 1, ..config() }, 8 << 30);
    let model = pool.get("a", &source()).expect("loads");
    let thread = Arc::downgrade(&model.inner);
    drop(model);
    wait_until("it is gone", || names(&pool).is_empty());
    wait_until("its memory is free", || thread.strong_count() == 0);
}

#[test]
fn a_model_stays_as_long_as_it_was_told_to() {
    let pool = pool(EngineConfig { keep_alive_s: 1, ..config() }, 8 << 30);
    drop(pool.get("kept", &source()).expect("loads"));
    drop(pool.get("gone", &source()).expect("loads"));
    assert!(pool.keep("kept", Keep::Forever));
    assert!(pool.keep("gone", Keep::For(Duration::ZERO)));
    assert!(!pool.keep("absent", Keep::Forever));
    wait_until("one is gone", || names(&pool) == ["kept"]);
    assert_eq!(pool.activity()[0].expires_in, None);
    let soon = Duration::from_secs(50);
    assert!(pool.keep("kept", Keep::For(soon)));
    assert!(pool.activity()[0].expires_in.expect("a time") <= soon);
    pool.unload("kept");
    drop(pool.get("kept", &source()).expect("loads"));
    assert!(pool.activity()[0].expires_in.expect("the default") <= Duration::from_secs(1));
}

#[test]
fn a_name_that_means_another_file_is_loaded_again() {
    let pool = pool(config(), 8 << 30);
    let first = pool.get("a", &source()).expect("loads");
    let other = Source::Path(shared("stories260K-q8_0.gguf"));
    let second = pool.get("a", &other).expect("loads");
    assert!(!same(&first, &second));
    assert_eq!(second.info().quantization, "Q8_0");
}

#[test]
fn a_model_that_failed_is_loaded_again() {
    let pool = pool(config(), 8 << 30);
    let broken = load_watched(&config(), |_| panic!("scripted"));
    let slot = Slot::Loaded {
        model: broken.clone(),
        source: Sources { model: source(), draft: None },
        last_used: std::time::Instant::now(),
        keep: Keep::Default,
    };
    pool.shared.lock().slots.insert("a".into(), slot);
    assert!(collect(broken.submit(greedy(&[1], 1)).expect("accepted")).end.is_err());
    assert_eq!(broken.inner.shared.live.load(Ordering::Relaxed), 0);
    let fresh = pool.get("a", &source()).expect("loads");
    assert!(!same(&fresh, &broken));
    assert_eq!(answer(&fresh, greedy(&[1, 403], 4)).ids().len(), 4);
}

#[test]
fn bad_settings_open_no_pool() {
    let config = EngineConfig { page_tokens: 0, ..config() };
    let refused = Pool::new(config, Machine::recorded(roomy()));
    assert!(matches!(refused, Err(Error::Config { key: "page_tokens", .. })));
}
