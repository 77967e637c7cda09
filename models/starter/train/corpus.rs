//! The committed text: facts about Hearth with the ways to ask for them, read from TOML and checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Lists of wordings that questions name in braces.
pub type Wordings = BTreeMap<String, Vec<String>>;

/// The language of a fact; it decides how a question may be disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

/// One thing to know: patterns of the question and the answer to all of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    pub name: String,
    /// Complete as it is: no "please", no "in Hearth" is put around the question.
    #[serde(default)]
    pub plain: bool,
    /// How often it is asked; without it, by the number of its questions.
    weight: Option<f32>,
    pub questions: Vec<String>,
    pub answer: String,
    /// Questions that make sense only after this answer.
    #[serde(default)]
    pub follow_up: Vec<FollowUp>,
    #[serde(skip, default = "english")]
    pub language: Language,
}

/// A question that leans on the answer before it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowUp {
    pub questions: Vec<String>,
    pub answer: String,
}

/// Everything the model learns from.
pub struct Corpus {
    pub wordings: Wordings,
    pub facts: Vec<Fact>,
}

/// A question of the examination in wordings that are kept out of the training.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExamQuestion {
    pub name: String,
    /// Words that a right answer holds, all of them.
    pub expect: Vec<String>,
    pub wordings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FactFile {
    fact: Vec<Fact>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExamFile {
    question: Vec<ExamQuestion>,
}

impl Fact {
    /// Share of this fact among all questions asked.
    pub fn weight(&self) -> f32 {
        self.weight.unwrap_or((self.questions.len() as f32 / 12.0).clamp(0.6, 2.0))
    }
}

impl Corpus {
    /// Reads `corpus/` below `folder`, the files of each language in the order of their names.
    pub fn load(folder: &Path) -> Result<Self> {
        let folder = folder.join("corpus");
        let wordings = read(&folder.join("wordings.toml"))?;
        let mut facts = Vec::new();
        for (name, language) in [("english", Language::English), ("chinese", Language::Chinese)] {
            for path in toml_files(&folder.join(name))? {
                let mut file: FactFile = read(&path)?;
                file.fact.iter_mut().for_each(|fact| fact.language = language);
                facts.append(&mut file.fact);
            }
        }
        ensure!(!facts.is_empty(), "the corpus in {} holds no fact", folder.display());
        Ok(Self { wordings, facts })
    }

    /// Every answer, those of follow-up questions too.
    pub fn answers(&self) -> impl Iterator<Item = &str> {
        self.facts.iter().flat_map(|fact| {
            let leaning = fact.follow_up.iter().map(|follow_up| follow_up.answer.as_str());
            std::iter::once(fact.answer.as_str()).chain(leaning)
        })
    }
}

/// Reads the examination below `folder`.
pub fn load_exam(folder: &Path) -> Result<Vec<ExamQuestion>> {
    read::<ExamFile>(&folder.join("evaluation.toml")).map(|file| file.question)
}

fn toml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>().context("listing facts")?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    Ok(paths)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}

fn english() -> Language {
    Language::English
}
