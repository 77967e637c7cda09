//! Packs conversations into rows of equal length, so that no step is spent on padding.

use std::collections::VecDeque;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::answers::Answers;
use crate::questions::{Questions, Turn};
use crate::sight::Sight;
use crate::vocabulary::{ASSISTANT, BEGIN, END, USER, Vocabulary};

/// Share of chats that stop once the choice of the answer is made. Which answer a question wants is
/// what takes long to learn; the answers themselves are soon known by heart.
const GLIMPSES: f64 = 0.85;
/// Share of whole chats drawn for a follow-up question.
const LEANING: f64 = 0.1;

/// What one training step sees.
pub struct Batch {
    /// [rows, length]
    pub tokens: Tensor,
    /// Each token sees the earlier ones of its own conversation.
    pub sight: Sight,
    /// Places in the flattened rows after which a token of an answer comes.
    pub places: Tensor,
    /// The token that comes there.
    pub targets: Tensor,
}

/// A conversation in tokens; `learned[i]` says whether token i is part of an answer.
struct Chat {
    tokens: Vec<u32>,
    learned: Vec<bool>,
}

/// Makes batches without end.
pub struct Packer<'a> {
    questions: &'a Questions<'a>,
    vocabulary: &'a Vocabulary,
    answers: &'a Answers,
    rows: usize,
    length: usize,
    /// A conversation that did not fit into the row before.
    waiting: VecDeque<Chat>,
}

impl<'a> Packer<'a> {
    /// Batches of `rows` × `length` tokens.
    pub fn new(
        questions: &'a Questions<'a>,
        vocabulary: &'a Vocabulary,
        answers: &'a Answers,
        (rows, length): (usize, usize),
    ) -> Self {
        Self { questions, vocabulary, answers, rows, length, waiting: VecDeque::new() }
    }

    /// The next batch.
    pub fn next(&mut self, rng: &mut StdRng) -> Result<Batch> {
        let (mut tokens, mut owners) = (Vec::new(), Vec::new());
        let (mut places, mut targets) = (Vec::new(), Vec::new());
        for row in 0..self.rows {
            let chats = self.fill_row(rng)?;
            let mut owner = Vec::new();
            for (number, chat) in chats.iter().enumerate() {
                let start = row * self.length + owner.len();
                for at in (1..chat.tokens.len()).filter(|at| chat.learned[*at]) {
                    places.push((start + at - 1) as u32);
                    targets.push(chat.tokens[at]);
                }
                tokens.extend(&chat.tokens);
                owner.resize(owner.len() + chat.tokens.len(), number);
            }
            owner.resize(self.length, chats.len());
            tokens.resize((row + 1) * self.length, END);
            owners.extend(owner);
        }
        let (rows, length, count) = (self.rows, self.length, places.len());
        Ok(Batch {
            tokens: Tensor::from_vec(tokens, (rows, length), &Device::Cpu)?,
            sight: Sight::of_conversations(&owners, length),
            places: Tensor::from_vec(places, count, &Device::Cpu)?,
            targets: Tensor::from_vec(targets, count, &Device::Cpu)?,
        })
    }

    fn fill_row(&mut self, rng: &mut StdRng) -> Result<Vec<Chat>> {
        let (mut chats, mut filled) = (Vec::new(), 0);
        loop {
            let chat = match self.waiting.pop_front() {
                Some(chat) => chat,
                None => self.chat(rng)?,
            };
            if filled + chat.tokens.len() > self.length {
                self.waiting.push_back(chat);
                return Ok(chats);
            }
            filled += chat.tokens.len();
            chats.push(chat);
        }
    }

    /// A chat that fits into one row.
    fn chat(&self, rng: &mut StdRng) -> Result<Chat> {
        for _ in 0..100 {
            let chat = if rng.random_bool(GLIMPSES) {
                self.encode(&[self.questions.turn(rng)?], true)?
            } else if rng.random_bool(LEANING) {
                self.encode(&self.questions.leaning_conversation(rng)?, false)?
            } else {
                self.encode(&self.questions.conversation(rng)?, false)?
            };
            if chat.tokens.len() <= self.length {
                return Ok(chat);
            }
        }
        bail!("conversations are longer than a row")
    }

    fn encode(&self, turns: &[Turn], glimpse: bool) -> Result<Chat> {
        let mut chat = Chat { tokens: vec![BEGIN], learned: vec![false] };
        let mut push = |tokens: &[u32], learned: bool| {
            chat.tokens.extend(tokens);
            chat.learned.resize(chat.tokens.len(), learned);
        };
        for turn in turns {
            push(&[USER], false);
            push(&self.vocabulary.encode(&turn.question)?, false);
            push(&[END, ASSISTANT], false);
            let answer = self.answers.get(&turn.answer)?;
            if glimpse {
                push(&answer.tokens[..answer.deciding], true);
            } else {
                push(&answer.tokens, true);
                push(&[END], true);
            }
        }
        Ok(chat)
    }
}
