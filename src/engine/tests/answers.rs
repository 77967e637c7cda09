//! One sequence at a time: goldens, log probabilities, ends, requests that make no sense.

use super::support::{
    Golden, answer, assert_all_pages_free, config, f32_gguf, goldens, greedy, load, refused, shared,
};
use crate::{Error, FinishReason, Sampling, SequenceRequest};

fn follows_the_goldens(path: &str) {
    let model = load(&shared(path), &config());
    for golden in goldens() {
        let request = SequenceRequest { logprobs: Some(5), ..greedy(&golden.prompt_ids, 64) };
        let answer = answer(&model, request);
        assert_eq!(answer.ids(), golden.greedy_ids, "{}", golden.prompt);
        assert_eq!(answer.text, golden.greedy_text, "{}", golden.prompt);
        let finished = answer.end.expect("ends well");
        assert_eq!(finished.reason, FinishReason::Length);
        assert_eq!(finished.prompt_tokens as usize, golden.prompt_ids.len());
        assert_eq!(finished.completion_tokens, 64);
        assert!(finished.queue <= finished.first_token && finished.first_token <= finished.total);
        for (got, want) in answer.tokens[0].top.iter().zip(&golden.next_top5) {
            assert_eq!(got.0, want.id);
            assert!((got.1 - want.logprob).abs() < 1e-4, "{} against {}", got.1, want.logprob);
        }
        assert_eq!(answer.tokens[0].top.len(), 5);
        let encoded =
            model.tokenizer().encode_prompt(&golden.prompt, hearth_text::Specials::AsText);
        assert_eq!(encoded.expect("encodes"), golden.prompt_ids);
    }
    assert_all_pages_free(&model);
}

#[test]
fn f32_gguf_follows_the_goldens_token_for_token() {
    follows_the_goldens("stories260K-f32.gguf");
}

#[test]
fn safetensors_follow_the_goldens_token_for_token() {
    follows_the_goldens("hf");
}

#[test]
fn q8_0_says_the_same_where_the_margin_is_clear() {
    let model = load(&shared("stories260K-q8_0.gguf"), &config());
    let clear: Vec<Golden> =
        goldens().into_iter().filter(|golden| golden.min_margin > 0.05).collect();
    assert_eq!(clear.len(), 3);
    for golden in clear {
        let answer = answer(&model, greedy(&golden.prompt_ids, 16));
        assert_eq!(answer.ids(), golden.greedy_ids[..16], "{}", golden.prompt);
    }
}

#[test]
fn info_says_what_the_model_is() {
    let model = load(&f32_gguf(), &config());
    let info = model.info();
    assert_eq!((info.context_tokens, info.shape.vocab), (512, 512));
    assert_eq!(info.quantization, "F32");
    assert!((250_000..300_000).contains(&info.parameters), "{}", info.parameters);
    assert!(info.memory_bytes > 4 * info.parameters);
}

#[test]
fn a_stop_text_across_tokens_ends_the_answer_before_it() {
    let model = load(&f32_gguf(), &config());
    let golden = &goldens()[0];
    let stop = vec!["named Lily".to_string(), "xyz".to_string()];
    let answer = answer(&model, SequenceRequest { stop, ..greedy(&golden.prompt_ids, 64) });
    assert_eq!(answer.text, ", there was a little girl ");
    assert_eq!(answer.end.expect("ends well").reason, FinishReason::StopText(0));
    assert_all_pages_free(&model);
}

#[test]
fn an_end_token_ends_the_answer() {
    let model = load(&f32_gguf(), &config());
    let end = model.tokenizer().eos_ids()[0];
    let mut request = greedy(&goldens()[0].prompt_ids, 64);
    request.sampling.logit_bias = vec![(end, 100.0)];
    let answer = answer(&model, request);
    let finished = answer.end.expect("ends well");
    assert_eq!((finished.reason, finished.completion_tokens), (FinishReason::Stop, 1));
    assert_eq!((answer.text.as_str(), answer.tokens.len()), ("", 0));
}

#[test]
fn without_a_limit_the_context_ends_the_answer() {
    let model = load(&f32_gguf(), &config());
    let end = model.tokenizer().eos_ids()[0];
    let mut request = SequenceRequest { max_tokens: None, ..greedy(&[1, 403, 407], 1) };
    request.sampling.logit_bias = vec![(end, -100.0)];
    let finished = answer(&model, request).end.expect("ends well");
    assert_eq!((finished.reason, finished.completion_tokens), (FinishReason::Length, 509));
    assert_all_pages_free(&model);
}

#[test]
fn the_same_seed_gives_the_same_text() {
    let model = load(&f32_gguf(), &config());
    let say = |seed| {
        let sampling = Sampling { seed: Some(seed), ..Sampling::default() };
        answer(&model, SequenceRequest { sampling, ..greedy(&[1, 403, 407, 261, 378], 48) }).text
    };
    assert_eq!(say(5), say(5));
    assert_ne!(say(5), say(6));
}

#[test]
fn requests_that_make_no_sense_are_refused_with_the_reason() {
    let model = load(&f32_gguf(), &config());
    assert!(matches!(refused(&model, greedy(&[], 1)), Error::InvalidRequest(_)));
    assert!(matches!(refused(&model, greedy(&[512], 1)), Error::InvalidRequest(_)));
    assert!(matches!(refused(&model, greedy(&[1], 0)), Error::InvalidRequest(_)));
    let full = refused(&model, greedy(&[1; 512], 1));
    let Error::ContextFull { prompt_tokens: 512, context_tokens: 512 } = full else {
        panic!("{full}");
    };
    for sampling in [
        Sampling { temperature: f32::NAN, ..Sampling::default() },
        Sampling { temperature: -1.0, ..Sampling::default() },
        Sampling { top_p: 1.5, ..Sampling::default() },
        Sampling { repetition_penalty: 0.0, ..Sampling::default() },
        Sampling { logit_bias: vec![(512, 1.0)], ..Sampling::default() },
        Sampling { logit_bias: vec![(1, f32::INFINITY)], ..Sampling::default() },
    ] {
        let request = SequenceRequest { sampling, ..greedy(&[1], 1) };
        assert!(matches!(refused(&model, request), Error::InvalidRequest(_)));
    }
    let stop = vec!["x".to_string(); 10_000];
    let request = SequenceRequest { stop, ..greedy(&[1], 1) };
    assert!(matches!(refused(&model, request), Error::InvalidRequest(_)));
    assert_all_pages_free(&model);
}
