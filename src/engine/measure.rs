//! Measures a loaded model the way its callers would see it: through [`Model::submit`].
//!
//! `hearth bench` and the benchmarks call it; serving does not. All answers are greedy, and none
//! ends before it has all its tokens.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::event::{Event, Finished};
use crate::handle::{Model, Sequence};
use crate::request::{Sampling, SequenceRequest};

/// What several streams together have done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecodeRate {
    /// Tokens per second after each stream's first, summed over the streams.
    pub tokens_per_s: f64,
    /// Tokens of all streams in one step; more than there are streams where steps guess ahead.
    pub tokens_per_step: f64,
}

/// A prompt of ordinary tokens that no other `seed` gives, so that nothing computed for one is of
/// use to another.
pub fn prompt(model: &Model, seed: u64, tokens: usize) -> Vec<u32> {
    // The second quarter of a vocabulary holds neither control tokens nor single bytes.
    let quarter = (model.info().shape.vocab as u64 / 4).max(1);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..tokens)
        .map(|_| {
            // Knuth's MMIX generator; its high bits are good.
            state = state.wrapping_mul(6_364_136_223_846_793_005);
            state = state.wrapping_add(1_442_695_040_888_963_407);
            (quarter + (state >> 33) % quarter) as u32
        })
        .collect()
}

/// A greedy request that goes on until it has so many tokens.
pub fn request(model: &Model, prompt: Vec<u32>, tokens: u32) -> SequenceRequest {
    let ends = model.tokenizer().eos_ids().iter().map(|&end| (end, -100.0)).collect();
    SequenceRequest {
        prompt,
        sampling: Sampling { temperature: 0.0, logit_bias: ends, ..Sampling::default() },
        max_tokens: Some(tokens),
        ..SequenceRequest::default()
    }
}

/// Runs all requests at once, each of two tokens or more.
pub fn decode(model: &Model, requests: Vec<SequenceRequest>) -> Result<DecodeRate> {
    let before = model.stats();
    let sequences = requests.into_iter().map(|request| model.submit(request));
    let sequences = sequences.collect::<Result<Vec<Sequence>>>()?;
    let ends = sequences.into_iter().map(finish).collect::<Result<Vec<Finished>>>()?;
    let after = model.stats();
    let rate = |end: &Finished| {
        f64::from(end.completion_tokens - 1) / (end.total - end.first_token).as_secs_f64()
    };
    let completed = after.completion_tokens - before.completion_tokens;
    Ok(DecodeRate {
        tokens_per_s: ends.iter().map(rate).sum(),
        tokens_per_step: completed as f64 / (after.steps - before.steps) as f64,
    })
}

/// Runs all requests at once and counts what they write while all of them do: from when the last
/// one has begun until the first one ends, so that their prompts are not part of it. `None` if
/// one had ended before all had begun.
pub fn decode_together(
    model: &Model,
    requests: Vec<SequenceRequest>,
) -> Result<Option<DecodeRate>> {
    let sequences = requests.into_iter().map(|request| model.submit(request));
    let mut sequences = sequences.collect::<Result<Vec<Sequence>>>()?;
    for sequence in &mut sequences {
        if let Some(Event::Finished(_)) = sequence.blocking_recv().transpose()? {
            return Ok(None);
        }
    }
    let (begun, before) = (Instant::now(), model.stats());
    let mut sequences = sequences.into_iter();
    let first = sequences.next().map(finish).transpose()?;
    let (time, after) = (begun.elapsed(), model.stats());
    sequences.try_for_each(|sequence| finish(sequence).map(drop))?;
    let tokens = (after.completion_tokens - before.completion_tokens) as f64;
    let steps = after.steps - before.steps;
    Ok((first.is_some() && steps > 1).then(|| DecodeRate {
        tokens_per_s: tokens / time.as_secs_f64(),
        tokens_per_step: tokens / steps as f64,
    }))
}

/// Prompt tokens per second up to the first token.
pub fn prefill(model: &Model, prompt: Vec<u32>) -> Result<f64> {
    let tokens = prompt.len() as f64;
    let end = finish(model.submit(request(model, prompt, 1))?)?;
    Ok(tokens / end.prefill.as_secs_f64())
}

/// From submission until the first token.
pub fn first_token(model: &Model, prompt: Vec<u32>) -> Result<Duration> {
    Ok(finish(model.submit(request(model, prompt, 1))?)?.first_token)
}

fn finish(mut sequence: Sequence) -> Result<Finished> {
    while let Some(event) = sequence.blocking_recv() {
        if let Event::Finished(end) = event? {
            return Ok(end);
        }
    }
    Err(Error::Unloaded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::support::{config, f32_gguf, load};

    #[test]
    fn streams_are_measured_together_and_to_their_last_token() {
        let model = load(&f32_gguf(), &config());
        let requests = (0..4).map(|seed| request(&model, prompt(&model, seed, 8), 20));
        let before = model.stats();
        let rate = decode(&model, requests.collect()).expect("runs");
        assert_eq!(model.stats().completion_tokens - before.completion_tokens, 4 * 20);
        assert!(rate.tokens_per_s > 0.0 && rate.tokens_per_s.is_finite(), "{rate:?}");
        // They may start one after the other, and then run together.
        assert!((1.0..=4.0).contains(&rate.tokens_per_step), "{rate:?}");
    }

    #[test]
    fn streams_are_measured_while_all_of_them_write() {
        let model = load(&f32_gguf(), &config());
        let requests =
            |tokens| (0..4).map(|seed| request(&model, prompt(&model, seed, 4), tokens)).collect();
        let rate = decode_together(&model, requests(200)).expect("runs").expect("all write");
        assert!(rate.tokens_per_s > 0.0, "{rate:?}");
        assert!(rate.tokens_per_step > 3.0, "four streams write in each step: {rate:?}");
    }

    #[test]
    fn prompts_of_two_seeds_have_nothing_in_common_and_no_control_token() {
        let model = load(&f32_gguf(), &config());
        let (one, other) = (prompt(&model, 1, 64), prompt(&model, 2, 64));
        assert_eq!(one, prompt(&model, 1, 64));
        assert_ne!(one[..8], other[..8]);
        assert!(one.iter().all(|&token| !model.tokenizer().is_control(token)));
        assert!(prefill(&model, one).expect("runs") > 0.0);
        assert!(first_token(&model, other).expect("runs") > Duration::ZERO);
    }
}
