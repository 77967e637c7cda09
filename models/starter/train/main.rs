//! Trains hearth-guide, the starter model inside Hearth, from the text in `models/starter/`.
//!
//! `cargo run --release --example train-starter` writes `models/starter/hearth-guide-q8_0.gguf` and
//! examines it. Everything is drawn from one seed, so the same program makes the same model.
#![expect(clippy::print_stdout, reason = "a command-line program that reports to its user")]

pub mod answers;
pub mod batch;
pub mod corpus;
pub mod evaluate;
pub mod network;
pub mod optimise;
pub mod package;
pub mod questions;
pub mod rotation;
pub mod sight;
pub mod vocabulary;
pub mod wording;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;
use rand::SeedableRng;
use rand::rngs::StdRng;

use answers::Answers;
use batch::Packer;
use corpus::{Corpus, ExamQuestion};
use evaluate::{Choice, Guide};
use network::{Network, Shape};
use optimise::Plan;
use questions::Questions;
use vocabulary::Vocabulary;

/// Largest file that may stand in the repository and in the binary.
const LARGEST_FILE_BYTES: u64 = 4_000_000;
/// Conversations that the vocabulary is learned from.
const VOCABULARY_CONVERSATIONS: usize = 12_000;

/// Train Hearth's starter model.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with `corpus/` and `evaluation.toml`.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/models/starter"))]
    folder: PathBuf,
    /// File to write [default: hearth-guide-q8_0.gguf in the folder].
    #[arg(long)]
    output: Option<PathBuf>,
    /// Training steps.
    #[arg(long, default_value_t = 1000)]
    steps: usize,
    /// Rows of 256 tokens in a step.
    #[arg(long, default_value_t = 4)]
    rows: usize,
    /// Everything random is drawn from this.
    #[arg(long, default_value_t = 20_261_123)]
    seed: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let corpus = Corpus::load(&arguments.folder)?;
    let exam = corpus::load_exam(&arguments.folder)?;
    let questions = Questions::new(&corpus, &exam)?;
    let mut rng = StdRng::seed_from_u64(arguments.seed);

    let vocabulary = learn_vocabulary(&questions, &mut rng)?;
    let shape = Shape::with_vocabulary(vocabulary.tokens.len());
    println!("{} facts, {} weights", corpus.facts.len(), shape.parameters());

    let weights = network::initial_weights(&shape, &mut rng)?;
    let answers = Answers::new(&corpus, &vocabulary)?;
    let mut packer = Packer::new(&questions, &vocabulary, &answers, (arguments.rows, 256));
    let plan = Plan::with_steps(arguments.steps);
    optimise::train(&shape, &weights, (&mut packer, &mut rng), &plan, |line| println!("{line}"))?;

    let output =
        arguments.output.unwrap_or_else(|| arguments.folder.join("hearth-guide-q8_0.gguf"));
    let bytes = package::write(&output, &shape, &vocabulary, &weights)?;
    ensure!(bytes <= LARGEST_FILE_BYTES, "{bytes} B are more than {LARGEST_FILE_BYTES} B");
    println!("wrote {} ({bytes} B)", output.display());

    let network = Network::new(shape.clone(), package::read_weights(&output, &shape)?);
    examine(&Guide { network, vocabulary: &vocabulary }, &exam, &mut rng)
}

fn learn_vocabulary(questions: &Questions<'_>, rng: &mut StdRng) -> Result<Vocabulary> {
    let mut texts = Vec::new();
    for _ in 0..VOCABULARY_CONVERSATIONS {
        let turns = questions.conversation(rng)?;
        texts.extend(turns.into_iter().flat_map(|turn| [turn.question, turn.answer]));
    }
    Vocabulary::learn(&texts, Shape::VOCABULARY)
}

fn examine(guide: &Guide<'_>, exam: &[ExamQuestion], rng: &mut StdRng) -> Result<()> {
    for question in exam {
        let Some(wording) = question.wordings.first() else { continue };
        let (answer, _) = guide.answer(&[], wording, Choice::Greedy, rng)?;
        println!("\n> {wording}\n{answer}");
    }
    for choice in [Choice::Greedy, Choice::Temperature(0.7)] {
        let marks = guide.examine(exam, choice, rng)?;
        println!("\n{choice:?}: {} of {} unseen wordings answered", marks.passed, marks.asked);
        for (question, answer) in marks.failures {
            println!("  missed: {question} → {}", answer.replace('\n', " "));
        }
    }
    Ok(())
}
