//! Plays random callers against the real engine for a while, then counts.
//!
//! `cargo run --release -p hearth-benches --bin soak -- [--seconds 600] [--seed 1] [MODEL.gguf]`;
//! without a name, the stories260k file of the shared test data. Prompts are long and short, some
//! begin alike, some answers are held to a schema, some are read slowly, many are left; there are
//! pages for two long sequences. The exit code is 0 if every sequence ended or was left, all pages
//! can be had again, and resident memory stayed where it was after the first fifth of the time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use hearth_benches::hearth::{Hearth, stories};
use hearth_engine::measure::prompt;
use hearth_engine::{
    CallerKey, EngineConfig, Error, Event, Model, Priority, Sampling, SequenceRequest,
    process_memory_bytes,
};
use hearth_text::{GrammarBody, GrammarSource};
use serde_json::json;

/// Threads that ask, each one request at a time.
const CLIENTS: u64 = 24;
const CALLERS: u64 = 5;
/// Pages of 16 tokens; a sequence of stories260k has up to 32.
const PAGES: u64 = 64;
/// Without any progress for so long, a sequence counts as lost.
const PATIENCE: Duration = Duration::from_secs(120);
/// Memory that the process may gain after its first fifth, whichever is more: allocators keep some.
const ALLOWED_BYTES: u64 = 16 << 20;
const ALLOWED_SHARE: f64 = 0.05;

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    model: Option<PathBuf>,
}

/// How requests ended.
#[derive(Default)]
struct Counts {
    submitted: AtomicU64,
    finished: AtomicU64,
    left: AtomicU64,
    failed: AtomicU64,
    /// Turned away at the door; nothing was submitted.
    refused: AtomicU64,
    tokens: AtomicU64,
}

/// What clients share.
struct Play<'a> {
    model: &'a Model,
    counts: Counts,
    is_over: AtomicBool,
    begun: Instant,
    /// When each client last got on, in milliseconds; the largest number once it is done.
    progress: Vec<AtomicU64>,
}

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let path = match arguments.model {
        Some(path) => path,
        None => stories().swap_remove(0),
    };
    let config = tight(&path)?;
    let hearth = Hearth::load(&path, config)?;
    let pages = hearth.model.info().pages_total;
    println!("{} s, {CLIENTS} clients, {CALLERS} callers, {pages} pages", arguments.seconds);
    let play = Play {
        model: &hearth.model,
        counts: Counts::default(),
        is_over: AtomicBool::new(false),
        begun: Instant::now(),
        progress: (0..CLIENTS).map(|_| AtomicU64::new(0)).collect(),
    };
    let memory = thread::scope(|scope| {
        for client in 0..CLIENTS {
            let play = &play;
            scope.spawn(move || play.client(client, arguments.seed));
        }
        let memory = play.watch(Duration::from_secs(arguments.seconds));
        play.is_over.store(true, Relaxed);
        // A client that hangs would keep the program from ending: say so and end.
        while !play.is_done() {
            if play.has_lost() {
                println!("LOST: a sequence made no progress for {} s", PATIENCE.as_secs());
                std::process::exit(1);
            }
            thread::sleep(Duration::from_millis(50));
        }
        memory
    });
    let problems = play.problems(&memory)?;
    for problem in &problems {
        println!("FAILED: {problem}");
    }
    println!("{}", if problems.is_empty() { "passed" } else { "failed" });
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Settings that leave a model few pages, many waiting sequences and steps of mixed prompts.
fn tight(path: &std::path::Path) -> Result<EngineConfig> {
    let config = EngineConfig {
        max_sequences: 16,
        budget_tokens: 96,
        queue_sequences: 12,
        queue_sequences_per_caller: 4,
        event_buffer: 8,
        ..EngineConfig::default()
    };
    // What a page takes is the engine's to know: two loads tell.
    let memory = |kv_cache_bytes| -> Result<(u64, u64)> {
        let hearth = Hearth::load(path, EngineConfig { kv_cache_bytes, ..config.clone() })?;
        let info = hearth.model.info();
        Ok((info.pages_total as u64, info.memory_bytes))
    };
    let ((few, small), (many, large)) = (memory(1 << 16)?, memory(1 << 40)?);
    let page_bytes = (large - small).checked_div(many - few).unwrap_or(1 << 16);
    Ok(EngineConfig { kv_cache_bytes: PAGES * page_bytes, ..config })
}

impl Play<'_> {
    fn client(&self, client: u64, seed: u64) {
        let mut random = Random::new(seed.wrapping_mul(1000) + client);
        while !self.is_over.load(Relaxed) {
            self.note(client);
            let (request, conduct) = self.request(&mut random);
            match self.model.submit(request) {
                Ok(sequence) => {
                    self.counts.submitted.fetch_add(1, Relaxed);
                    let end = self.read(client, sequence, conduct);
                    end.fetch_add(1, Relaxed);
                }
                Err(Error::Busy { .. } | Error::CallerBusy { .. }) => {
                    self.counts.refused.fetch_add(1, Relaxed);
                    thread::sleep(Duration::from_millis(random.below(20)));
                }
                Err(_) => {
                    self.counts.submitted.fetch_add(1, Relaxed);
                    self.counts.failed.fetch_add(1, Relaxed);
                }
            }
            thread::sleep(Duration::from_millis(random.below(10)));
        }
        self.progress[client as usize].store(u64::MAX, Relaxed);
    }

    fn request(&self, random: &mut Random) -> (SequenceRequest, Conduct) {
        let caller = random.below(CALLERS);
        let context = u64::from(self.model.info().context_tokens);
        let length = match random.below(4) {
            0 => 1 + random.below(context * 3 / 4),
            _ => 1 + random.below(40),
        };
        // One of three beginnings of each caller, then tokens of nobody else.
        let shared = random.below(length + 1) as usize;
        let mut tokens = prompt(self.model, 10 * caller + random.below(3), shared);
        tokens.extend(prompt(self.model, random.next(), length as usize - shared));
        let schema = GrammarSource::new(GrammarBody::JsonSchema(json!({
            "type": "object", "additionalProperties": false, "required": ["name"],
            "properties": {
                "name": {"type": "string", "maxLength": random.below(30)},
                "kind": {"enum": ["cat", "dog", random.below(40)]},
            },
        })));
        let grammar = match random.below(5) {
            0 => self.model.tokenizer().grammar(&schema).ok().map(Box::new),
            _ => None,
        };
        let request = SequenceRequest {
            caller: CallerKey(caller),
            weight: 1 + random.below(3) as u16,
            priority: match random.below(3) {
                0 => Priority::Interactive,
                1 => Priority::Default,
                _ => Priority::Background,
            },
            prompt: tokens,
            sampling: Sampling {
                temperature: random.below(3) as f32 / 2.0,
                top_k: random.below(50) as u32,
                repetition_penalty: 1.1,
                seed: Some(random.next()),
                ..Sampling::default()
            },
            max_tokens: Some(1 + random.below(120) as u32),
            stop: if random.below(4) == 0 { vec!["the end".into()] } else { Vec::new() },
            logprobs: (random.below(4) == 0).then_some(3),
            grammar,
            ..SequenceRequest::default()
        };
        let conduct = match random.below(6) {
            0 => Conduct::Leave { after_events: random.below(30) },
            1 => Conduct::Dawdle,
            _ => Conduct::Listen,
        };
        (request, conduct)
    }

    /// Reads an answer, or leaves it; says which count it belongs to.
    fn read(
        &self,
        client: u64,
        mut sequence: hearth_engine::Sequence,
        conduct: Conduct,
    ) -> &AtomicU64 {
        let mut events = 0;
        loop {
            if matches!(conduct, Conduct::Leave { after_events } if events >= after_events) {
                return &self.counts.left;
            }
            if matches!(conduct, Conduct::Dawdle) {
                thread::sleep(Duration::from_millis(15));
            }
            let event = sequence.blocking_recv();
            self.note(client);
            match event {
                Some(Ok(Event::Text { .. })) => events += 1,
                Some(Ok(Event::Finished(end))) => {
                    self.counts.tokens.fetch_add(u64::from(end.completion_tokens), Relaxed);
                    return &self.counts.finished;
                }
                Some(Err(_)) | None => return &self.counts.failed,
            }
        }
    }

    fn note(&self, client: u64) {
        let now = self.begun.elapsed().as_millis() as u64;
        self.progress[client as usize].store(now, Relaxed);
    }

    fn is_done(&self) -> bool {
        self.progress.iter().all(|last| last.load(Relaxed) == u64::MAX)
    }

    fn has_lost(&self) -> bool {
        let patience = PATIENCE.as_millis() as u64;
        let now = self.begun.elapsed().as_millis() as u64;
        self.progress.iter().any(|last| last.load(Relaxed).saturating_add(patience) < now)
    }

    /// Resident memory, second by second.
    fn watch(&self, time: Duration) -> Vec<u64> {
        let mut memory = Vec::new();
        while self.begun.elapsed() < time && !self.has_lost() {
            memory.push(process_memory_bytes());
            thread::sleep(Duration::from_secs(1).min(time));
        }
        memory
    }

    #[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
    fn problems(&self, memory: &[u64]) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        let Counts { submitted, finished, left, failed, refused, tokens } = &self.counts;
        let [submitted, finished, left, failed, refused, tokens] =
            [submitted, finished, left, failed, refused, tokens].map(|count| count.load(Relaxed));
        println!(
            "submitted {submitted}: finished {finished}, left {left}, failed {failed}; \
             refused {refused}; {tokens} tokens of answers"
        );
        if failed > 0 || submitted != finished + left + failed {
            problems.push("a sequence failed or was lost".to_owned());
        }
        let stats = self.settled()?;
        println!(
            "{} steps, {} rows, {} tokens reused, {} preemptions; pages held {}, cached {} of {}",
            stats.steps,
            stats.computed_tokens,
            stats.reused_tokens,
            stats.preemptions,
            stats.pages_used,
            stats.pages_cached,
            stats.pages_total
        );
        if stats.pages_used > 0 {
            problems.push(format!("{} pages are held by nobody", stats.pages_used));
        }
        let most = self.fill()?;
        println!("all at once: {most} of {} pages", stats.pages_total);
        if most != stats.pages_total {
            problems.push("not all pages can be had again".to_owned());
        }
        let warm = memory.get(memory.len() / 5).copied().unwrap_or(0);
        let peak = memory[memory.len() / 5..].iter().copied().max().unwrap_or(0);
        let growth = peak.saturating_sub(warm);
        let share = growth as f64 / warm.max(1) as f64;
        println!(
            "resident {:.1} MiB after the first fifth, at most {:.1} MiB later: {:+.1} MiB, {:+.1} %",
            mib(warm),
            mib(peak),
            mib(growth),
            100.0 * share
        );
        if growth > ALLOWED_BYTES && share > ALLOWED_SHARE {
            problems.push("resident memory has grown".to_owned());
        }
        Ok(problems)
    }

    /// What the model says once nothing runs or waits.
    fn settled(&self) -> Result<hearth_engine::ModelStats> {
        let begun = Instant::now();
        loop {
            let stats = self.model.stats();
            if stats.running == 0 && stats.waiting == 0 {
                return Ok(stats);
            }
            if begun.elapsed() > PATIENCE {
                bail!("{} run and {} wait although all have left", stats.running, stats.waiting);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs sequences that together need every page; the most pages that were held.
    fn fill(&self) -> Result<usize> {
        let info = self.model.info();
        let page_tokens = EngineConfig::default().page_tokens;
        let longest = info.context_tokens as usize / page_tokens;
        let mut sizes = BTreeMap::new();
        let mut left = info.pages_total;
        while left > 0 {
            let pages = longest.min(left);
            sizes.insert(sizes.len() as u64, pages);
            left -= pages;
        }
        let mut sequences = Vec::new();
        for (index, pages) in sizes {
            // Nobody reads yet: with a full buffer each one is held up in its last page.
            let tokens = prompt(self.model, 1_000_000 + index, pages * page_tokens - 12);
            let ends = self.model.tokenizer().eos_ids().iter().map(|&end| (end, -100.0));
            let sampling = Sampling { logit_bias: ends.collect(), ..Sampling::default() };
            let request = SequenceRequest {
                caller: CallerKey(index),
                prompt: tokens,
                sampling,
                max_tokens: Some(11),
                // One event per token, whatever its text.
                logprobs: Some(0),
                ..SequenceRequest::default()
            };
            sequences.push(self.model.submit(request)?);
        }
        let (mut most, begun) = (0, Instant::now());
        while most < info.pages_total && begun.elapsed() < PATIENCE {
            most = most.max(self.model.stats().pages_used);
            thread::sleep(Duration::from_millis(1));
        }
        for mut sequence in sequences {
            while !matches!(sequence.blocking_recv().transpose()?, Some(Event::Finished(_)) | None)
            {
            }
        }
        Ok(most)
    }
}

/// What a reader does.
#[derive(Clone, Copy)]
enum Conduct {
    Listen,
    Leave { after_events: u64 },
    Dawdle,
}

/// Knuth's MMIX generator; its high bits are good.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 32
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
