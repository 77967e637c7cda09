//! The measurements, one function each.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use hearth_benches::candle::Candle;
use hearth_benches::hearth::Hearth;
use hearth_benches::llamacpp::LlamaCpp;
use hearth_benches::rounds::Series;
use hearth_engine::{MachineLimits, TokenCost, measure};

use crate::report::Report;

/// Short prompts, so that attention costs little and the weights are what is measured.
const PROMPT_TOKENS: usize = 32;
const ANSWER_TOKENS: u32 = 96;
/// The text that is asked for again: longer than the answer, so that it never ends early.
const QUOTED_TOKENS: u32 = 128;
const LONG_PROMPT_TOKENS: usize = 512;
const STREAMS: usize = 16;
const MANY_STREAMS: usize = 64;
const PREFIX_TOKENS: usize = 2048;
const STALL_TOKENS: usize = 4000;
/// What differs after a shared prefix.
const SUFFIX_TOKENS: usize = 16;
/// Room of a slot of llama.cpp's server: a short prompt and its answer, with as much to spare.
const SLOT_TOKENS: usize = 256;
/// Long enough for each of many streams to get some tens of tokens.
const SHARES_TIME: Duration = Duration::from_secs(20);

/// A kind of work to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// How far the two sides' log probabilities are apart.
    Agreement,
    /// One stream.
    Decode,
    /// One stream whose answer repeats most of its prompt; with a counting model only.
    Quoting,
    /// One prompt of 512 tokens.
    Prefill,
    /// 16 streams together.
    Streams,
    /// A second request with the first 2,048 tokens of the first.
    Prefix,
    /// 64 streams together, and whether they get the same.
    Fairness,
    /// What a prompt of 4,000 tokens does to the pace of a stream; without a peer.
    Stall,
}

impl Work {
    pub(crate) const ALL: [Work; 8] = [
        Work::Agreement,
        Work::Decode,
        Work::Quoting,
        Work::Prefill,
        Work::Streams,
        Work::Prefix,
        Work::Fairness,
        Work::Stall,
    ];
}

/// All sides with one model.
pub(crate) struct Bench<'a> {
    pub(crate) hearth: Hearth,
    pub(crate) llamacpp: LlamaCpp,
    pub(crate) candle: Option<Candle>,
    pub(crate) limits: &'a MachineLimits,
    pub(crate) cost: TokenCost,
    pub(crate) rounds: usize,
    pub(crate) report: &'a mut Report,
    /// Prompts made so far: none comes twice, or a cache that remembers would be measured.
    pub(crate) prompts: u64,
}

impl Bench<'_> {
    pub(crate) fn run(&mut self, work: Work) -> Result<()> {
        match work {
            Work::Agreement => self.agreement(),
            Work::Decode => self.decode(),
            Work::Quoting => self.quoting(),
            Work::Prefill => self.prefill(),
            Work::Streams => self.streams(),
            Work::Prefix => self.prefix(),
            Work::Fairness => self.fairness(),
            Work::Stall => self.stall(),
        }
    }

    /// The two sides must compute the same before their speeds mean anything.
    fn agreement(&mut self) -> Result<()> {
        let prompt = self.prompt(PROMPT_TOKENS);
        let theirs = self.llamacpp.logprobs(&prompt)?;
        let ours = self.hearth.likeliest(prompt)?;
        let other = |id: u32| theirs.get(id as usize).copied().unwrap_or(f64::NAN);
        let apart = ours.iter().map(|&(id, logprob)| (f64::from(logprob) - other(id)).abs());
        let worst = apart.fold(0.0, f64::max);
        let top = theirs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let is_same = ours.first().is_some_and(|&(id, _)| other(id) == top);
        let place = if is_same { "the same" } else { "another" };
        self.report.remark(
            "agreement with llama.cpp",
            &format!("{} likeliest tokens at most {worst:.3} apart, {place} first", ours.len()),
        );
        Ok(())
    }

    fn decode(&mut self) -> Result<()> {
        let (mut ours, mut theirs) = (Series::default(), Series::default());
        let (mut candles, mut read) = (Series::default(), Series::default());
        let mut per_step = Series::default();
        for _ in 0..self.rounds {
            let prompts = self.prompts(1, PROMPT_TOKENS);
            let rate = self.hearth.decode(&prompts, ANSWER_TOKENS)?;
            ours.push(rate.tokens_per_s);
            per_step.push(rate.tokens_per_step);
            theirs.push(self.llamacpp.decode(&prompts[0], ANSWER_TOKENS)?);
            if let Some(candle) = &mut self.candle {
                candles.push(candle.decode(&prompts, ANSWER_TOKENS)?);
            }
            read.push(self.limits.read_bytes_per_s());
        }
        let (bytes, limit) = (ours.median() * self.cost.step_bytes as f64, read.median());
        let share = 100.0 * bytes / limit;
        // More than one token per step: the text has begun to repeat itself.
        let note = format!(
            "{:.1} GB/s, {share:.0} % of {:.1}; {:.2} tokens per step",
            bytes / 1e9,
            limit / 1e9,
            per_step.median()
        );
        let peers = [("llama.cpp", theirs), ("candle", candles)];
        self.report.rate("decode, 1 stream", &ours, &peers, &note);
        Ok(())
    }

    /// A text of consecutive tokens is asked for again, with some tokens changed, as when code is
    /// edited. Only a counting model (`make-model --counting`) answers so; others are left out.
    fn quoting(&mut self) -> Result<()> {
        let first = self.quarter();
        let likeliest = self.hearth.likeliest((first..first + 8).collect())?;
        if likeliest.first().is_none_or(|&(token, _)| token != first + 8) {
            return Ok(());
        }
        let (mut ours, mut theirs) = (Series::default(), Series::default());
        let mut tokens_per_step = Series::default();
        for round in 0..self.rounds as u32 {
            let prompt = self.quoted(first + round * QUOTED_TOKENS);
            let rate = self.hearth.decode(std::slice::from_ref(&prompt), ANSWER_TOKENS)?;
            ours.push(rate.tokens_per_s);
            tokens_per_step.push(rate.tokens_per_step);
            theirs.push(self.llamacpp.decode(&prompt, ANSWER_TOKENS)?);
        }
        let note = format!("{:.2} tokens per step", tokens_per_step.median());
        let peers = [("llama.cpp", theirs)];
        self.report.rate("decode, 1 stream, quoting", &ours, &peers, &note);
        Ok(())
    }

    fn prefill(&mut self) -> Result<()> {
        let (mut ours, mut theirs) = (Series::default(), Series::default());
        let (mut candles, mut peak) = (Series::default(), Series::default());
        for _ in 0..self.rounds {
            let prompt = self.prompt(LONG_PROMPT_TOKENS);
            theirs.push(self.llamacpp.prefill(&prompt)?);
            if let Some(candle) = &mut self.candle {
                candles.push(candle.prefill(&prompt)?);
            }
            ours.push(measure::prefill(&self.hearth.model, prompt)?);
            peak.push(self.limits.multiply_ops_per_s());
        }
        let (ops, limit) = (ours.median() * self.cost.prompt_ops as f64, peak.median());
        let share = 100.0 * ops / limit;
        let note = format!("{:.0} Gop/s, {share:.0} % of {:.0}", ops / 1e9, limit / 1e9);
        let peers = [("llama.cpp", theirs), ("candle", candles)];
        self.report.rate(&format!("prefill, {LONG_PROMPT_TOKENS} tokens"), &ours, &peers, &note);
        Ok(())
    }

    fn streams(&mut self) -> Result<()> {
        self.llamacpp.start_server(STREAMS, SLOT_TOKENS)?;
        let (mut ours, mut theirs) = (Series::default(), Series::default());
        for _ in 0..self.rounds {
            let prompts = self.prompts(STREAMS, PROMPT_TOKENS);
            ours.push(self.hearth.decode(&prompts, ANSWER_TOKENS)?.tokens_per_s);
            theirs.push(self.llamacpp.streams(&prompts, ANSWER_TOKENS)?);
        }
        let peers = [("llama-server", theirs)];
        self.report.rate(&format!("decode, {STREAMS} streams"), &ours, &peers, "");
        self.llamacpp.stop_server()
    }

    fn prefix(&mut self) -> Result<()> {
        self.llamacpp.start_server(1, PREFIX_TOKENS + SLOT_TOKENS)?;
        let (mut ours, mut theirs) = (<[Series; 2]>::default(), <[Series; 2]>::default());
        for _ in 0..self.rounds {
            let shared = self.prompt(PREFIX_TOKENS);
            for turn in 0..2 {
                let prompt = [shared.as_slice(), &self.prompt(SUFFIX_TOKENS)].concat();
                theirs[turn].push(self.llamacpp.first_token(&prompt)? * 1e3);
                let ours_s = measure::first_token(&self.hearth.model, prompt)?.as_secs_f64();
                ours[turn].push(ours_s * 1e3);
            }
        }
        let share = |times: &[Series; 2]| 100.0 * times[1].median() / times[0].median();
        let note = format!(
            "{:.1} % of the first request's; llama-server's {:.1} %",
            share(&ours),
            share(&theirs)
        );
        let [their_first, their_second] = theirs.map(|series| ("llama-server", series));
        let work = format!("first token, {PREFIX_TOKENS} tokens");
        self.report.time(&work, &ours[0], their_first, "");
        self.report.time(&format!("{work} again"), &ours[1], their_second, &note);
        self.llamacpp.stop_server()
    }

    fn fairness(&mut self) -> Result<()> {
        self.llamacpp.start_server(MANY_STREAMS, SLOT_TOKENS)?;
        let prompts = self.prompts(MANY_STREAMS, PROMPT_TOKENS);
        let (wait, shares) = self.hearth.shares(&prompts, SHARES_TIME)?;
        let least = shares.iter().copied().min().unwrap_or(0);
        let most = shares.iter().copied().max().unwrap_or(0);
        let spread = most as f64 / least as f64;
        let note = format!(
            "no errors; all began within {:.1} s, then {least} to {most} tokens in {} s, {spread:.2} apart",
            wait.as_secs_f64(),
            SHARES_TIME.as_secs(),
        );
        let (mut ours, mut theirs) = (Series::default(), Series::default());
        for _ in 0..self.rounds {
            let prompts = self.prompts(MANY_STREAMS, PROMPT_TOKENS);
            ours.push(self.hearth.decode(&prompts, ANSWER_TOKENS)?.tokens_per_s);
            theirs.push(self.llamacpp.streams(&prompts, ANSWER_TOKENS)?);
        }
        let peers = [("llama-server", theirs)];
        self.report.rate(&format!("decode, {MANY_STREAMS} streams"), &ours, &peers, &note);
        self.llamacpp.stop_server()
    }

    fn stall(&mut self) -> Result<()> {
        let (mut quiet, mut beside, mut times) =
            (Series::default(), Series::default(), Series::default());
        for _ in 0..self.rounds {
            let (prompt, long) = (self.prompt(PROMPT_TOKENS), self.prompt(STALL_TOKENS));
            let [mut alone, mut stalled] = self.hearth.gaps(prompt, long)?;
            let (alone, stalled) = (percentile(&mut alone, 50), percentile(&mut stalled, 99));
            quiet.push(alone);
            beside.push(stalled);
            times.push(stalled / alone);
        }
        let note = format!(
            "a token every {:.1} ms alone (median), {:.1} ms beside it (99th percentile): {:.2} times",
            quiet.median(),
            beside.median(),
            times.median(),
        );
        self.report.remark(&format!("a stream beside a prompt of {STALL_TOKENS}"), &note);
        Ok(())
    }

    /// Consecutive tokens from `first`, every sixteenth replaced by another, then `first` again:
    /// what follows is the text without the replacements.
    fn quoted(&self, first: u32) -> Vec<u32> {
        let other = first + 2 * self.rounds as u32 * QUOTED_TOKENS;
        let text = (0..QUOTED_TOKENS).map(|index| match index % 16 {
            15 => other + index,
            _ => first + index,
        });
        text.chain([first]).collect()
    }

    /// The first of many ordinary tokens.
    fn quarter(&self) -> u32 {
        (self.hearth.model.info().shape.vocab / 4) as u32
    }

    fn prompts(&mut self, count: usize, tokens: usize) -> Vec<Vec<u32>> {
        (0..count).map(|_| self.prompt(tokens)).collect()
    }

    fn prompt(&mut self, tokens: usize) -> Vec<u32> {
        self.prompts += 1;
        measure::prompt(&self.hearth.model, self.prompts, tokens)
    }
}

/// The value that so many percent of all do not exceed.
fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last * percent).div_ceil(100)).copied().unwrap_or(f64::NAN)
}
