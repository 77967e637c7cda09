//! Real models for tests, and what an answer is collected into.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hearth_formats::ModelFile;
use hearth_text::{ChatTemplate, Tokenizer};
use serde::Deserialize;

use crate::batch::Batch;
use crate::loader::{self, Parts};
use crate::machine::Facts;
use crate::placement::{Backends, Need, Placement, place};
use crate::worker::Runner;
use crate::{EngineConfig, Error, Event, Finished, Model, Result, Sampling, Sequence};
use crate::{SequenceRequest, TokenLogprob};

/// One prompt of `golden.json`, computed in f64 by an independent implementation.
#[derive(Deserialize)]
pub(crate) struct Golden {
    pub(crate) prompt: String,
    pub(crate) prompt_ids: Vec<u32>,
    pub(crate) greedy_ids: Vec<u32>,
    pub(crate) greedy_text: String,
    pub(crate) min_margin: f64,
    pub(crate) next_top5: Vec<GoldenLogprob>,
}

#[derive(Deserialize)]
pub(crate) struct GoldenLogprob {
    pub(crate) id: u32,
    pub(crate) logprob: f32,
}

/// Everything a sequence said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) tokens: Vec<TokenLogprob>,
    pub(crate) end: Result<Finished>,
}

impl Answer {
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.id).collect()
    }
}

/// A file of the shared test data; tests cannot run without it.
pub(crate) fn shared(path: &str) -> PathBuf {
    let root = std::env::var_os("HEARTH_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let path = root.join("models/stories260k").join(path);
    assert!(path.exists(), "{} is missing; set HEARTH_SHARED", path.display());
    path
}

pub(crate) fn f32_gguf() -> PathBuf {
    shared("stories260K-f32.gguf")
}

pub(crate) fn goldens() -> Vec<Golden> {
    let text = std::fs::read_to_string(shared("golden.json")).expect("readable");
    serde_json::from_str(&text).expect("golden.json has the described form")
}

/// Settings that keep tests quick and small.
pub(crate) fn config() -> EngineConfig {
    EngineConfig { max_sequences: 8, budget_tokens: 128, ..EngineConfig::default() }
}

/// A machine with plenty of memory and no GPU.
pub(crate) fn roomy() -> Facts {
    Facts { cores: 2, memory_bytes: 64 << 30, memory_free_bytes: 32 << 30, gpus: Vec::new() }
}

pub(crate) fn placement(file: &ModelFile, config: &EngineConfig) -> Placement {
    let need = Need::of(file, config);
    place(&need, &roomy(), config, Backends { cuda: false, metal: false }).expect("fits")
}

/// Loads a model outside of any pool.
pub(crate) fn load(path: &Path, config: &EngineConfig) -> Model {
    let file = ModelFile::open(path).expect("a sound model");
    loader::load("test", &file, None, &placement(&file, config), config).expect("loads")
}

/// Loads a model with this many pages.
pub(crate) fn load_with_pages(path: &Path, config: &EngineConfig, pages: usize) -> Model {
    let file = ModelFile::open(path).expect("a sound model");
    let tokens = (pages * config.page_tokens) as u32;
    let placement = placement(&file, config);
    let context_tokens = placement.context_tokens.min(tokens);
    let placement = Placement { pages, context_tokens, ..placement };
    loader::load("test", &file, None, &placement, config).expect("loads")
}

/// Calls a closure before each step of the real decoder.
struct Watched<F> {
    decoder: Box<dyn Runner>,
    before: F,
}

impl<F: FnMut(&Batch) + Send> Runner for Watched<F> {
    fn run(&mut self, batch: &Batch) -> Result<Option<candle_core::Tensor>> {
        (self.before)(batch);
        self.decoder.run(batch)
    }
}

/// Loads the F32 model and lets `before` see (or stop) each of its steps.
pub(crate) fn load_watched(
    config: &EngineConfig,
    before: impl FnMut(&Batch) + Send + 'static,
) -> Model {
    let file = ModelFile::open(&f32_gguf()).expect("a sound model");
    let placement = placement(&file, config);
    let decoder = loader::decoder(&file, &placement, config).expect("loads");
    let tokenizer = Tokenizer::from_model(&file).expect("has a tokenizer");
    let template = ChatTemplate::from_tokenizer(&tokenizer).expect("has a template");
    let info = loader::info("watched", &file, &placement);
    let runner = Box::new(Watched { decoder, before });
    loader::start(Parts { info, tokenizer, template, runner, draft: None }, config).expect("starts")
}

/// The likeliest continuation, with the ids of its tokens.
pub(crate) fn greedy(prompt: &[u32], max_tokens: u32) -> SequenceRequest {
    SequenceRequest {
        prompt: prompt.to_vec(),
        continues_text: true,
        sampling: Sampling { temperature: 0.0, ..Sampling::default() },
        max_tokens: Some(max_tokens),
        logprobs: Some(0),
        ..SequenceRequest::default()
    }
}

/// Reads a sequence to its end.
pub(crate) fn collect(mut sequence: Sequence) -> Answer {
    let (mut text, mut tokens) = (String::new(), Vec::new());
    loop {
        match sequence.blocking_recv() {
            Some(Ok(Event::Text { text: more, tokens: new, .. })) => {
                text.push_str(&more);
                tokens.extend(new);
            }
            Some(Ok(Event::Finished(finished))) => {
                assert!(sequence.blocking_recv().is_none(), "nothing follows the end");
                return Answer { text, tokens, end: Ok(finished) };
            }
            Some(Err(error)) => {
                assert!(sequence.blocking_recv().is_none(), "nothing follows an error");
                return Answer { text, tokens, end: Err(error) };
            }
            None => panic!("a sequence ends with an event"),
        }
    }
}

pub(crate) fn answer(model: &Model, request: SequenceRequest) -> Answer {
    collect(model.submit(request).expect("accepted"))
}

/// Waits until no sequence lives and all pages are free.
pub(crate) fn assert_all_pages_free(model: &Model) {
    wait_until("all pages are free", || {
        let stats = model.stats();
        stats.pages_used == 0 && stats.running == 0 && stats.waiting == 0
    });
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The error of a submission that must fail.
pub(crate) fn refused(model: &Model, request: SequenceRequest) -> Error {
    model.submit(request).expect_err("must be refused")
}
