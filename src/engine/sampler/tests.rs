//! What each setting does to the draw, on logits small enough to reckon by hand.

use super::*;

fn draws(sampling: Sampling, logits: &[f32], count: usize) -> Vec<u32> {
    let mut sampler = Sampler::new(Sampling { seed: Some(7), ..sampling }, None, &[]);
    (0..count).map(|_| sampler.sample(logits, None).expect("numbers").0).collect()
}

fn logs(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|probability| probability.ln()).collect()
}

#[test]
fn greedy_takes_the_highest_and_the_lowest_id_of_equals() {
    let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    assert_eq!(draws(sampling, &[1.0, 3.0, 3.0, -1.0], 3), [1, 1, 1]);
}

#[test]
fn draws_follow_the_distribution() {
    let drawn = draws(Sampling::default(), &logs(&[0.1, 0.2, 0.7]), 20_000);
    for (id, expected) in [(0, 0.1), (1, 0.2), (2, 0.7)] {
        let share = drawn.iter().filter(|&&token| token == id).count() as f64 / 20_000.0;
        // Five standard deviations of a share of 20,000 draws are at most 0.018.
        assert!((share - expected).abs() < 0.018, "token {id}: {share}");
    }
}

#[test]
fn temperature_sharpens_and_flattens() {
    let share = |temperature| {
        let sampling = Sampling { temperature, ..Sampling::default() };
        let drawn = draws(sampling, &logs(&[0.2, 0.8]), 10_000);
        drawn.iter().filter(|&&token| token == 1).count() as f64 / 10_000.0
    };
    // Odds of 4 to 1 become 4^(1/t) to 1.
    assert!((share(0.5) - 16.0 / 17.0).abs() < 0.02);
    assert!((share(2.0) - 2.0 / 3.0).abs() < 0.03);
}

#[test]
fn cuts_keep_exactly_the_tokens_they_say() {
    let logits = logs(&[0.05, 0.4, 0.3, 0.15, 0.1]);
    let kept = |sampling| {
        let mut kept = draws(sampling, &logits, 2_000);
        kept.sort_unstable();
        kept.dedup();
        kept
    };
    assert_eq!(kept(Sampling { top_k: 2, ..Sampling::default() }), [1, 2]);
    assert_eq!(kept(Sampling { top_p: 0.69, ..Sampling::default() }), [1, 2]);
    assert_eq!(kept(Sampling { top_p: 0.71, ..Sampling::default() }), [1, 2, 3]);
    assert_eq!(kept(Sampling { top_p: 0.0, ..Sampling::default() }), [1]);
    assert_eq!(kept(Sampling { min_p: 0.3, ..Sampling::default() }), [1, 2, 3]);
    assert_eq!(kept(Sampling { min_p: 1.0, ..Sampling::default() }), [1]);
    assert_eq!(kept(Sampling { top_k: 3, top_p: 0.8, ..Sampling::default() }), [1, 2]);
}

#[test]
fn a_mass_is_reached_over_many_candidates_as_by_a_full_sort() {
    let weights = hearth_kernels::reference::noise(3, 1000);
    let weights: Vec<f32> = weights.iter().map(|weight| weight.abs() + 0.01).collect();
    for share in [0.1, 0.5, 0.9, 0.999] {
        let mut sorted: Vec<u32> = (0..1000).collect();
        sorted.sort_by(|a, b| weights[*b as usize].total_cmp(&weights[*a as usize]).then(a.cmp(b)));
        let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        let mut mass = 0.0;
        let expected = sorted.iter().position(|&id| {
            mass += f64::from(weights[id as usize]);
            mass >= f64::from(share) * total
        });
        let mut candidates: Vec<u32> = (0..1000).collect();
        let kept = reach_mass(&mut candidates, &weights, share);
        assert_eq!(Some(kept - 1), expected);
        assert_eq!(candidates[..kept], sorted[..kept]);
    }
}

#[test]
fn penalties_and_bias_change_the_choice() {
    let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
    let presence = Sampling { presence_penalty: 1.5, ..greedy.clone() };
    assert_eq!(draws(presence, &[2.0, 1.0], 3), [0, 1, 0]);
    let frequency = Sampling { frequency_penalty: 0.4, ..greedy.clone() };
    assert_eq!(draws(frequency, &[2.0, 1.0], 5), [0, 0, 0, 1, 0]);
    let bias = Sampling { logit_bias: vec![(0, -100.0)], ..greedy.clone() };
    assert_eq!(draws(bias, &[2.0, 1.0], 2), [1, 1]);
    // The prompt counts for repetition, and for nothing else.
    let repetition = Sampling { repetition_penalty: 3.0, ..greedy.clone() };
    let mut sampler = Sampler::new(repetition, None, &[0]);
    assert_eq!(sampler.sample(&[2.0, 1.0], None).expect("numbers").0, 1);
    let presence = Sampling { presence_penalty: 2.0, ..greedy };
    let mut sampler = Sampler::new(presence, None, &[0]);
    assert_eq!(sampler.sample(&[2.0, 1.0], None).expect("numbers").0, 0);
}

#[test]
fn the_same_seed_draws_the_same() {
    let logits = hearth_kernels::reference::noise(5, 512);
    let first = draws(Sampling::default(), &logits, 100);
    assert_eq!(first, draws(Sampling::default(), &logits, 100));
    let other = Sampling { seed: Some(8), ..Sampling::default() };
    let mut sampler = Sampler::new(other, None, &[]);
    let second: Vec<u32> =
        (0..100).map(|_| sampler.sample(&logits, None).expect("numbers").0).collect();
    assert_ne!(first, second);
}

#[test]
fn logprobs_are_the_models_own_whatever_the_sampling_does() {
    let sampling =
        Sampling { temperature: 0.0, logit_bias: vec![(2, 100.0)], ..Sampling::default() };
    let mut sampler = Sampler::new(sampling, Some(2), &[]);
    let (token, report) = sampler.sample(&logs(&[0.5, 0.2, 0.3]), None).expect("numbers");
    let report = report.expect("asked for");
    assert_eq!((token, report.id), (2, 2));
    assert!((report.logprob - 0.3f32.ln()).abs() < 1e-6);
    assert_eq!(report.top.iter().map(|top| top.0).collect::<Vec<_>>(), [0, 2]);
    assert!((report.top[0].1 - 0.5f32.ln()).abs() < 1e-6);
}

#[test]
fn what_is_not_a_number_is_an_error() {
    let mut sampler = Sampler::new(Sampling::default(), None, &[]);
    for bad in [f32::NAN, f32::INFINITY] {
        assert!(matches!(sampler.sample(&[0.0, bad, 1.0], None), Err(Error::NotANumber)));
    }
    let nothing = [f32::NEG_INFINITY; 3];
    assert!(matches!(sampler.sample(&nothing, None), Err(Error::NotANumber)));
    assert_eq!(sampler.sample(&[f32::NEG_INFINITY, 0.0], None).expect("one token").0, 1);
}

#[test]
fn a_mask_leaves_only_what_it_allows() {
    for temperature in [0.0, 1.0] {
        let sampling = Sampling { temperature, top_k: 1, seed: Some(1), ..Sampling::default() };
        let mut sampler = Sampler::new(sampling, Some(1), &[1]);
        let (token, report) = sampler.sample(&[1.0, 2.0, 3.0], Some(&Mask::only(0))).expect("one");
        assert_eq!(token, 0);
        // What is reported is the model's own distribution.
        assert_eq!(report.expect("asked for").top[0].0, 2);
        let stuck = sampler.sample(&[f32::NEG_INFINITY, 1.0], Some(&Mask::only(0)));
        assert!(matches!(stuck, Err(Error::GrammarStuck)));
    }
}
