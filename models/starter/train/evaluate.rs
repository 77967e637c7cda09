//! Examines the finished file: questions in wordings it was never shown, greedy and with chance.

use anyhow::Result;
use candle_core::{D, Device, Tensor};
use candle_nn::ops::softmax;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;

use crate::corpus::ExamQuestion;
use crate::network::{Memory, Network};
use crate::vocabulary::{ASSISTANT, BEGIN, END, USER, Vocabulary};

/// An answer that has not ended by then does not end.
const LONGEST_ANSWER: usize = 192;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug)]
pub enum Choice {
    Greedy,
    Temperature(f64),
}

/// What came of one examination.
#[derive(Default)]
pub struct Marks {
    pub asked: usize,
    pub passed: usize,
    /// Question and answer of each failure.
    pub failures: Vec<(String, String)>,
}

/// A network that talks.
pub struct Guide<'a> {
    pub network: Network,
    pub vocabulary: &'a Vocabulary,
}

impl Guide<'_> {
    /// Asks every wording of `exam` once.
    pub fn examine(
        &self,
        exam: &[ExamQuestion],
        choice: Choice,
        rng: &mut StdRng,
    ) -> Result<Marks> {
        let mut result = Marks::default();
        for question in exam {
            for wording in &question.wordings {
                let (answer, ended) = self.answer(&[], wording, choice, rng)?;
                let right = question.expect.iter().all(|words| answer.contains(words.as_str()));
                result.asked += 1;
                if right && ended {
                    result.passed += 1;
                } else {
                    let failure = if ended { answer } else { format!("{answer} [no end]") };
                    let wording = format!("{}: {wording}", question.name);
                    result.failures.push((wording, failure));
                }
            }
        }
        Ok(result)
    }

    /// The answer to `question` after the `earlier` exchanges, and whether it ended by itself.
    pub fn answer(
        &self,
        earlier: &[(String, String)],
        question: &str,
        choice: Choice,
        rng: &mut StdRng,
    ) -> Result<(String, bool)> {
        let mut prompt = vec![BEGIN];
        for (asked, answered) in earlier {
            prompt.push(USER);
            prompt.extend(self.vocabulary.encode(asked)?);
            prompt.extend([END, ASSISTANT]);
            prompt.extend(self.vocabulary.encode(answered)?);
            prompt.push(END);
        }
        prompt.push(USER);
        prompt.extend(self.vocabulary.encode(question)?);
        prompt.extend([END, ASSISTANT]);
        let (mut memory, mut answer) = (Memory::default(), Vec::new());
        let mut unread = prompt;
        while answer.len() < LONGEST_ANSWER {
            let tokens = Tensor::new(unread.as_slice(), &Device::Cpu)?.unsqueeze(0)?;
            let next = choose(&self.network.read_next(&tokens, &mut memory)?, choice, rng)?;
            if next == END {
                return Ok((self.vocabulary.decode(&answer)?, true));
            }
            answer.push(next);
            unread = vec![next];
        }
        Ok((self.vocabulary.decode(&answer)?, false))
    }
}

fn choose(scores: &Tensor, choice: Choice, rng: &mut StdRng) -> Result<u32> {
    Ok(match choice {
        Choice::Greedy => scores.argmax(D::Minus1)?.to_scalar()?,
        Choice::Temperature(temperature) => {
            let shares = softmax(&(scores / temperature)?, D::Minus1)?.to_vec1::<f32>()?;
            WeightedIndex::new(shares)?.sample(rng) as u32
        }
    })
}
