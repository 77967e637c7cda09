//! Asks random questions of the corpus, each in a random wording, with the answer that belongs to it.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use rand::RngExt;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::corpus::{Corpus, ExamQuestion, Fact, Language};
use crate::wording;

/// A question and its answer.
pub struct Turn {
    pub question: String,
    pub answer: String,
}

/// Draws conversations from a corpus, but never a question of the examination.
pub struct Questions<'a> {
    corpus: &'a Corpus,
    exam: BTreeSet<String>,
    by_weight: WeightedIndex<f32>,
}

impl<'a> Questions<'a> {
    /// Questions over all of `corpus`; the wordings of `exam` are left out.
    pub fn new(corpus: &'a Corpus, exam: &[ExamQuestion]) -> Result<Self> {
        let wordings = exam.iter().flat_map(|question| &question.wordings);
        Ok(Self {
            corpus,
            exam: wordings.map(|wording| wording::key(wording)).collect(),
            by_weight: WeightedIndex::new(corpus.facts.iter().map(Fact::weight))?,
        })
    }

    /// One question with its answer.
    pub fn turn(&self, rng: &mut StdRng) -> Result<Turn> {
        self.ask(self.fact(rng), rng)
    }

    /// One to three turns: mostly unrelated, sometimes leaning on the answer before.
    pub fn conversation(&self, rng: &mut StdRng) -> Result<Vec<Turn>> {
        let turns = *[1, 1, 1, 1, 2, 2, 3].choose(rng).context("no number of turns")?;
        let first = self.fact(rng);
        let mut conversation = vec![self.ask(first, rng)?];
        let mut last = first;
        let mut leaned = false;
        while conversation.len() < turns {
            if let Some(follow_up) = last.follow_up.choose(rng).filter(|_| !leaned) {
                let question = self.word(&follow_up.questions, last, rng)?;
                conversation.push(Turn { question, answer: follow_up.answer.clone() });
                leaned = true;
                continue;
            }
            last = self.next_fact(last.language, rng);
            leaned = false;
            conversation.push(self.ask(last, rng)?);
        }
        Ok(conversation)
    }

    /// Follow-ups are few questions among many: this asks one of them with what comes before.
    pub fn leaning_conversation(&self, rng: &mut StdRng) -> Result<Vec<Turn>> {
        let leaned_on: Vec<&Fact> =
            self.corpus.facts.iter().filter(|fact| !fact.follow_up.is_empty()).collect();
        let fact = leaned_on.choose(rng).context("no fact has a follow-up")?;
        let follow_up = fact.follow_up.choose(rng).context("no follow-up")?;
        let question = self.word(&follow_up.questions, fact, rng)?;
        let follow_up = Turn { question, answer: follow_up.answer.clone() };
        Ok(vec![self.ask(fact, rng)?, follow_up])
    }

    fn fact(&self, rng: &mut StdRng) -> &'a Fact {
        &self.corpus.facts[self.by_weight.sample(rng)]
    }

    /// People rarely change the language in the middle.
    fn next_fact(&self, language: Language, rng: &mut StdRng) -> &'a Fact {
        let any_language = rng.random_bool(0.1);
        loop {
            let fact = self.fact(rng);
            if any_language || fact.language == language {
                return fact;
            }
        }
    }

    fn ask(&self, fact: &Fact, rng: &mut StdRng) -> Result<Turn> {
        let question = self.word(&fact.questions, fact, rng)?;
        Ok(Turn { question, answer: fact.answer.clone() })
    }

    fn word(&self, patterns: &[String], fact: &Fact, rng: &mut StdRng) -> Result<String> {
        // Bounded, so that a fact whose every wording is in the examination is an error and no hang.
        for _ in 0..100 {
            let pattern = patterns.choose(rng).with_context(|| format!("{}: empty", fact.name))?;
            let question = wording::expand(pattern, &self.corpus.wordings, rng)
                .with_context(|| format!("fact {}", fact.name))?;
            let question = wording::disturb(question, fact.language, fact.plain, rng);
            if !question.is_empty() && !self.exam.contains(&wording::key(&question)) {
                return Ok(question);
            }
        }
        anyhow::bail!("{}: every wording is in the examination", fact.name)
    }
}
