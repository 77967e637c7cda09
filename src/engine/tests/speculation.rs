//! Guesses change how fast an answer comes and nothing else.

use std::sync::mpsc;

use hearth_text::{GrammarBody, GrammarSource, Thinking};

use super::support::{
    Answer, answer, assert_all_pages_free, collect, config, f32_gguf, goldens, greedy, load,
    load_watched, load_with_pages, roomy, shared,
};
use crate::{
    EngineConfig, Event, FinishReason, Machine, Model, Pool, Sampling, SequenceRequest, Source,
    Speculation,
};

/// Settings under which nothing is guessed.
fn plain() -> EngineConfig {
    EngineConfig { speculation: Speculation::Off, ..config() }
}

/// Settings under which all is guessed, whether it pays or not.
fn always() -> EngineConfig {
    EngineConfig { speculation: Speculation::Always, ..config() }
}

/// A story that is told once and begun again: its second telling can be guessed.
fn twice_told(index: usize) -> Vec<u32> {
    let golden = &goldens()[index];
    [&golden.prompt_ids[..], &golden.greedy_ids, &golden.prompt_ids].concat()
}

/// Greedy and drawn, with penalties and log probabilities, with stop texts.
fn requests() -> Vec<SequenceRequest> {
    let drawn = |seed| Sampling { seed: Some(seed), temperature: 0.7, ..Sampling::default() };
    let with = |index, sampling| SequenceRequest { sampling, ..greedy(&twice_told(index), 100) };
    let penal = Sampling { repetition_penalty: 1.1, frequency_penalty: 0.1, ..drawn(3) };
    vec![
        greedy(&twice_told(0), 100),
        SequenceRequest { logprobs: Some(5), ..greedy(&twice_told(1), 90) },
        with(2, drawn(1)),
        with(0, Sampling { top_p: 0.9, top_k: 40, ..drawn(2) }),
        with(1, penal),
        SequenceRequest { stop: vec!["the".into()], ..greedy(&twice_told(2), 100) },
    ]
}

fn same(one: &Answer, other: &Answer) -> bool {
    let end = |answer: &Answer| {
        let end = answer.end.as_ref().expect("ends well");
        (end.reason, end.prompt_tokens, end.completion_tokens)
    };
    one.text == other.text && one.tokens == other.tokens && end(one) == end(other)
}

fn confirmed(model: &Model) -> u64 {
    let stats = model.stats();
    assert!(stats.confirmed_tokens <= stats.guessed_tokens);
    stats.confirmed_tokens
}

#[test]
fn guessed_answers_equal_plain_ones_to_the_last_bit() {
    for path in [f32_gguf(), shared("stories260K-q8_0.gguf")] {
        let (guessing, plain) = (load(&path, &always()), load(&path, &plain()));
        for (index, request) in requests().into_iter().enumerate() {
            let (one, other) = (answer(&guessing, request.clone()), answer(&plain, request));
            assert!(same(&one, &other), "request {index}: {one:?}, without guesses {other:?}");
        }
        assert!(confirmed(&guessing) > 20, "{:?}", guessing.stats());
        assert_eq!(plain.stats().guessed_tokens, 0);
        assert!(guessing.stats().steps < plain.stats().steps);
        assert_all_pages_free(&guessing);
    }
}

#[test]
fn guesses_in_company_and_short_of_pages_change_nothing() {
    let plain = load(&f32_gguf(), &plain());
    let wanted: Vec<Answer> =
        requests().into_iter().map(|request| answer(&plain, request)).collect();
    for model in [load(&f32_gguf(), &always()), load_with_pages(&f32_gguf(), &always(), 40)] {
        let submit = |request| model.submit(request).expect("accepted");
        let sequences: Vec<_> = requests().into_iter().map(submit).collect();
        for (index, sequence) in sequences.into_iter().enumerate() {
            assert!(same(&collect(sequence), &wanted[index]), "request {index}");
        }
        assert!(model.stats().guessed_tokens > 0);
        assert_all_pages_free(&model);
    }
}

#[test]
fn guesses_under_a_grammar_change_nothing() {
    let schema = serde_json::json!({
        "type": "array", "items": { "const": { "name": "Lily", "age": 3 } },
        "minItems": 6, "maxItems": 6,
    });
    let body = GrammarBody::JsonSchema(schema);
    let ask = |config: &EngineConfig| {
        let model = load(&f32_gguf(), config);
        let source = GrammarSource { body: body.clone(), thinking: Thinking::default() };
        let grammar = Some(Box::new(model.tokenizer().grammar(&source).expect("compiles")));
        let said = answer(&model, SequenceRequest { grammar, ..greedy(&[1, 403], 300) });
        (said, model.stats())
    };
    let ((one, stats), (other, _)) = (ask(&always()), ask(&plain()));
    assert!(same(&one, &other), "{} {}", one.text, other.text);
    assert!(stats.confirmed_tokens > 20, "the items after the first repeat it: {stats:?}");
}

#[test]
fn an_answer_never_goes_beyond_its_limit() {
    let model = load(&f32_gguf(), &always());
    for most in 1..40 {
        let said = answer(&model, greedy(&twice_told(0), most));
        let end = said.end.expect("ends well");
        assert_eq!((end.reason, end.completion_tokens), (FinishReason::Length, most));
    }
}

#[test]
fn a_reader_with_little_room_is_not_overrun() {
    let narrow = EngineConfig { event_buffer: 4, ..always() };
    let (steps, stepped) = mpsc::channel();
    let model = load_watched(&narrow, move |batch| {
        let _ = steps.send(batch.rows());
    });
    let wanted = answer(&load(&f32_gguf(), &plain()), greedy(&twice_told(0), 100));
    let mut sequence = model.submit(greedy(&twice_told(0), 100)).expect("accepted");
    let mut said = Vec::new();
    while let Some(event) = sequence.blocking_recv() {
        if let Event::Text { tokens, .. } = event.expect("ends well") {
            said.extend(tokens.into_iter().map(|token| token.id));
        }
    }
    assert_eq!(said, wanted.ids());
    drop((sequence, model));
    // Its buffer of 4 takes what 3 tokens bring; the first step is the prompt.
    let rows: Vec<usize> = stepped.iter().skip(1).collect();
    assert!(rows.iter().all(|&rows| rows <= 3) && rows.contains(&3), "{rows:?}");
}

/// The F32 model, guided by the quantised one.
fn guided(pool: &Pool) -> Model {
    let draft = Source::Path(shared("stories260K-q8_0.gguf"));
    pool.get_guided("guided", &Source::Path(f32_gguf()), Some(&draft)).expect("loads")
}

#[test]
fn answers_with_a_draft_model_equal_plain_ones_in_company_too() {
    let plain = load(&f32_gguf(), &plain());
    let pool = Pool::new(always(), Machine::recorded(roomy())).expect("starts");
    let model = guided(&pool);
    let prompts: Vec<Vec<u32>> = goldens().into_iter().map(|golden| golden.prompt_ids).collect();
    let requests: Vec<SequenceRequest> = (0..8)
        .map(|index| {
            let request = greedy(&prompts[index % prompts.len()], 60 + index as u32);
            let sampling = Sampling { seed: Some(index as u64), ..Sampling::default() };
            if index % 2 == 0 { request } else { SequenceRequest { sampling, ..request } }
        })
        .collect();
    let submit = |request: &SequenceRequest| model.submit(request.clone()).expect("accepted");
    let together: Vec<_> = requests.iter().map(submit).collect();
    for (sequence, request) in together.into_iter().zip(&requests) {
        assert!(same(&collect(sequence), &answer(&plain, request.clone())));
    }
    let before = model.stats();
    let alone = answer(&model, requests[0].clone());
    assert!(same(&alone, &answer(&plain, requests[0].clone())));
    assert!(before.confirmed_tokens > 60, "{before:?}");
    let after = model.stats();
    let confirmed = after.confirmed_tokens - before.confirmed_tokens;
    assert!(confirmed > 30, "of 60 greedy tokens most are guessed right: {confirmed}");
    assert_all_pages_free(&model);
}

#[test]
fn a_draft_model_of_another_vocabulary_is_refused() {
    let pool = Pool::new(always(), Machine::recorded(roomy())).expect("starts");
    let starter =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/starter/hearth-guide-q8_0.gguf");
    let draft = Source::Path(starter.into());
    let refused = pool.get_guided("guided", &Source::Path(f32_gguf()), Some(&draft));
    let problem = refused.expect_err("refused").to_string();
    assert!(problem.contains("another vocabulary"), "{problem}");
}
