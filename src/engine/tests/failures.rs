//! What breaks must break alone.

use std::io::{Seek, SeekFrom, Write};

use hearth_formats::{ModelFile, TensorRole};

use super::support::{
    answer, assert_all_pages_free, collect, config, f32_gguf, goldens, greedy, load, load_watched,
    refused, wait_until,
};
use crate::{Error, SequenceRequest};

/// The token that the damaged models below stumble over.
const BAD_TOKEN: u32 = 300;

#[test]
fn a_sequence_that_computes_nan_ends_and_others_go_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("nan.gguf");
    std::fs::copy(f32_gguf(), &path).expect("copied");
    let file = ModelFile::open(&path).expect("sound");
    let table = file.tensor(TensorRole::TokenEmbedding).expect("has a table");
    let mut permissions = std::fs::metadata(&path).expect("there").permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a copy of a read-only test file")]
    permissions.set_readonly(false);
    std::fs::set_permissions(&path, permissions).expect("ours");
    let mut raw = std::fs::File::options().write(true).open(&path).expect("writable");
    raw.seek(SeekFrom::Start(table.offset + u64::from(BAD_TOKEN) * 64 * 4)).expect("in the file");
    raw.write_all(&f32::NAN.to_le_bytes()).expect("written");
    let model = load(&path, &config());
    let golden = &goldens()[0];
    let good = model.submit(greedy(&golden.prompt_ids, 64)).expect("accepted");
    let bad = model.submit(greedy(&[1, BAD_TOKEN, 403], 64)).expect("accepted");
    assert!(matches!(collect(bad).end, Err(Error::NotANumber)));
    // The answer stays clear of the bad token, or the test would prove nothing.
    assert!(!golden.greedy_ids.contains(&BAD_TOKEN));
    assert_eq!(collect(good).ids(), golden.greedy_ids);
    // Pages hold NaN keys now; neither who leases them next nor who asks the same sees these.
    assert_eq!(model.stats().reused_tokens, 0);
    let again = answer(&model, greedy(&[1, BAD_TOKEN, 403], 64));
    assert!(matches!(again.end, Err(Error::NotANumber)));
    assert_eq!(model.stats().reused_tokens, 0);
    assert_eq!(answer(&model, greedy(&golden.prompt_ids, 64)).ids(), golden.greedy_ids);
    assert_all_pages_free(&model);
}

#[test]
fn a_panic_ends_the_models_sequences_and_nothing_else() {
    let broken = load_watched(&config(), |batch| {
        assert!(!batch.tokens.contains(&BAD_TOKEN), "stumbled");
    });
    let other = load(&f32_gguf(), &config());
    let golden = &goldens()[0];
    assert_eq!(answer(&broken, greedy(&golden.prompt_ids, 8)).ids(), golden.greedy_ids[..8]);
    let beside = SequenceRequest { max_tokens: None, ..greedy(&golden.prompt_ids, 1) };
    let beside = broken.submit(beside).expect("accepted");
    let bad = broken.submit(greedy(&[1, BAD_TOKEN], 8)).expect("accepted");
    assert!(matches!(collect(bad).end, Err(Error::ModelFailed(_))));
    // It may have reached its end before the panic on a quick machine; else it fails with it.
    if let Err(error) = collect(beside).end {
        assert!(matches!(error, Error::ModelFailed(_)), "{error}");
    }
    wait_until("the thread is gone", || !broken.is_alive());
    let error = refused(&broken, greedy(&golden.prompt_ids, 8));
    assert!(matches!(&error, Error::ModelFailed(why) if why.contains("stumbled")), "{error}");
    assert_eq!(answer(&other, greedy(&golden.prompt_ids, 64)).ids(), golden.greedy_ids);
}
