//! Builds a tokenizer from `tokenizer.json` and `tokenizer_config.json`.
//!
//! The file is taken apart here instead of being handed to the library whole: only known parts are
//! let in, the library's panics on broken files are met by checks, and control tokens stay out of
//! the vocabulary that ordinary text can reach.

mod pipeline;
mod unigram;

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use hearth_formats::{ChatFamily, HuggingFaceTexts};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::tokenizer::added::{AddedToken, AddedTokens};
use crate::tokenizer::byte_level;
use crate::tokenizer::gguf::byte_value;
use crate::tokenizer::infill::Infill;
use crate::tokenizer::pairs::{PairModel, PairParts};
use crate::tokenizer::scored::SPACE_MARK;
use crate::tokenizer::unigram::UnigramModel;
use crate::tokenizer::words::{WordModel, WordParts};
use crate::tokenizer::{Ends, Model, Token, Tokenizer};
use pipeline::{after_first, check_types, expansion, find_type, marks_first_word, mentions, part};

/// Highest id that is accepted: the table of tokens has that many rows.
const MAX_ID: u32 = 1 << 21;
/// How many times longer all normalisers together may make a text.
const MAX_EXPANSION: usize = 64;

const NORMALIZERS: [&str; 12] = [
    "Sequence",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Prepend",
    "Replace",
    "Lowercase",
    "Strip",
    "StripAccents",
    "BertNormalizer",
    "Precompiled",
];
const PRE_TOKENIZERS: [&str; 9] = [
    "Sequence",
    "BertPreTokenizer",
    "ByteLevel",
    "Split",
    "Metaspace",
    "Digits",
    "Punctuation",
    "Whitespace",
    "WhitespaceSplit",
];

#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<AddedRow>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: ModelPart,
}

#[derive(Deserialize)]
struct AddedRow {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct ModelPart {
    /// Absent in files from before 2020, which are BPE when they have merges.
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    vocab: Value,
    #[serde(default)]
    merges: Vec<Merge>,
    unk_token: Option<String>,
    unk_id: Option<usize>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    dropout: Option<f32>,
    continuing_subword_prefix: Option<String>,
    max_input_chars_per_word: Option<usize>,
    end_of_word_suffix: Option<String>,
}

/// A merge, in the newer or the older spelling.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair((String, String)),
    Line(String),
}

pub(super) fn build(texts: &HuggingFaceTexts) -> Result<Tokenizer> {
    let file: TokenizerFile = serde_json::from_str(&texts.tokenizer)
        .map_err(|problem| Error::BrokenTokenizer(format!("tokenizer.json: {problem}")))?;
    file.model.check()?;
    let config = &texts.tokenizer_config;
    let vocab = file.model.vocabulary()?;
    let mut tokens = file.tokens(&vocab)?;
    let mut ends = file.ends(texts, &tokens)?;
    ends.settle(&mut tokens);
    let added = file.added_tokens.iter().map(|row| AddedToken {
        id: row.id,
        text: row.content.clone(),
        control: tokens[row.id as usize].control,
        strip_before: row.lstrip,
        strip_after: row.rstrip,
        whole_word: row.single_word,
    });
    let added = AddedTokens::new(added.collect())?;
    let control: HashSet<String> = added.control_texts().map(str::to_string).collect();
    Ok(Tokenizer {
        infill: Infill::find([None; 3], &added),
        added,
        tokens,
        ends,
        chat_template: chat_template(texts.chat_template.as_deref(), config)?
            .or_else(|| ChatFamily::of_folder(texts).map(|family| family.template.to_string())),
        grammars: OnceLock::new(),
        model: file.model(vocab, &control)?,
    })
}

impl ModelPart {
    fn check(&self) -> Result<()> {
        let kind = self.kind.as_deref().unwrap_or("BPE");
        if kind == "WordPiece" || kind == "Unigram" {
            return Ok(());
        }
        if kind != "BPE" {
            let kind = kind.escape_debug();
            let problem = format!(
                "the tokenizer kind `{kind}` is not supported, only BPE, WordPiece and Unigram"
            );
            return Err(Error::Unsupported(problem));
        }
        let affix = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if affix(&self.continuing_subword_prefix) || affix(&self.end_of_word_suffix) {
            return Err(Error::Unsupported("BPE with subword affixes is not supported".into()));
        }
        if self.dropout.is_some_and(|dropout| dropout != 0.0) {
            return Err(Error::Unsupported("BPE with dropout is not supported".into()));
        }
        Ok(())
    }

    /// The ids of all texts.
    fn vocabulary(&self) -> Result<HashMap<String, u32>> {
        if self.kind.as_deref() == Some("Unigram") {
            return Ok((0..).zip(self.scored()?).map(|(id, (text, _))| (text, id)).collect());
        }
        serde_json::from_value(self.vocab.clone()).map_err(|problem| broken_vocabulary(&problem))
    }
}

fn broken_vocabulary(problem: &serde_json::Error) -> Error {
    Error::BrokenTokenizer(format!("the vocabulary: {problem}"))
}

impl TokenizerFile {
    /// The table of tokens, with holes where the file skips an id.
    fn tokens(&self, vocab: &HashMap<String, u32>) -> Result<Vec<Token>> {
        let added_ids = self.added_tokens.iter().map(|row| row.id);
        let highest = vocab.values().copied().chain(added_ids).max().unwrap_or(0);
        if highest > MAX_ID {
            return Err(Error::BrokenTokenizer(format!("the id {highest} is too high")));
        }
        let mut tokens = vec![Token::default(); highest as usize + 1];
        let byte_level =
            mentions(&self.decoder, "ByteLevel") || mentions(&self.pre_tokenizer, "ByteLevel");
        for (text, &id) in vocab {
            let bytes = if byte_level {
                byte_level::bytes(text).unwrap_or_else(|| text.clone().into_bytes())
            } else if let (true, Ok(byte)) = (self.model.byte_fallback, byte_value(text)) {
                vec![byte]
            } else {
                text.replace(SPACE_MARK, " ").into_bytes()
            };
            tokens[id as usize] = Token { bytes, control: false };
        }
        for row in &self.added_tokens {
            tokens[row.id as usize] =
                Token { bytes: row.content.clone().into_bytes(), control: row.special };
        }
        Ok(tokens)
    }

    fn ends(&self, texts: &HuggingFaceTexts, tokens: &[Token]) -> Result<Ends> {
        let config = &texts.tokenizer_config;
        let id = |key: &str| {
            let text = token_text(config, key)?;
            let row = self.added_tokens.iter().find(|row| row.content == text)?;
            Some(row.id)
        };
        let (begin, separator) = self.frame();
        let bos = id("bos_token").or(begin);
        let eos = id("eos_token").or(texts.eos_ids.first().copied());
        if let Some(id) = texts.eos_ids.iter().find(|&&id| id as usize >= tokens.len()) {
            let problem = format!("the end token {id} is beyond the vocabulary");
            return Err(Error::BrokenTokenizer(problem));
        }
        let stated = config.get("add_bos_token").and_then(Value::as_bool);
        let add_bos = stated.unwrap_or(begin.is_some() && begin == bos);
        let doubles_separator = self.doubles_separator();
        let stop_ids = texts.eos_ids.clone();
        Ok(Ends { bos, eos, stop_ids, add_bos, separator, doubles_separator })
    }

    /// The tokens that the post-processor puts before and behind a single text.
    fn frame(&self) -> (Option<u32>, Option<u32>) {
        let id = |text: &str| {
            let row = self.added_tokens.iter().find(|row| row.content == text)?;
            Some(row.id)
        };
        for kind in ["BertProcessing", "RobertaProcessing"] {
            if let Some(processor) = find_type(&self.post_processor, kind) {
                let token = |name: &str| processor.pointer(name)?.as_str().and_then(id);
                return (token("/cls/0"), token("/sep/0"));
            }
        }
        let single = find_type(&self.post_processor, "TemplateProcessing")
            .and_then(|processor| processor.get("single")?.as_array());
        let token = |part: Option<&Value>| part?.pointer("/SpecialToken/id")?.as_str().and_then(id);
        (
            token(single.and_then(|parts| parts.first())),
            token(single.and_then(|parts| parts.last())),
        )
    }

    /// Whether the two texts of a pair are parted by two separators, as RoBERTa does it.
    fn doubles_separator(&self) -> bool {
        if find_type(&self.post_processor, "RobertaProcessing").is_some() {
            return true;
        }
        let pair = find_type(&self.post_processor, "TemplateProcessing")
            .and_then(|processor| processor.get("pair")?.as_array());
        let parts = pair.into_iter().flatten();
        let between = parts
            .skip_while(|part| part.get("Sequence").is_none())
            .skip(1)
            .take_while(|part| part.get("SpecialToken").is_some());
        between.count() == 2
    }

    fn model(self, vocab: HashMap<String, u32>, control: &HashSet<String>) -> Result<Model> {
        check_types(&self.normalizer, &NORMALIZERS, "normaliser")?;
        check_types(&self.pre_tokenizer, &PRE_TOKENIZERS, "pre-tokenizer")?;
        if expansion(&self.normalizer) > MAX_EXPANSION {
            return Err(Error::BrokenTokenizer("the normaliser multiplies the text".into()));
        }
        unigram::check_charsmaps(&self.normalizer)?;
        match self.model.kind.as_deref() {
            Some("Unigram") => {
                Ok(Model::Unigram(UnigramModel::new(self.unigram_parts(vocab, control)?)?))
            }
            Some("WordPiece") => {
                Ok(Model::Words(WordModel::new(self.word_parts(vocab, control)?)?))
            }
            _ => Ok(Model::Pairs(PairModel::new(self.pair_parts(vocab, control)?)?)),
        }
    }

    fn word_parts(
        self,
        mut vocab: HashMap<String, u32>,
        control: &HashSet<String>,
    ) -> Result<WordParts> {
        let unknown = self.model.unk_token.unwrap_or_else(|| "[UNK]".into());
        vocab.retain(|text, _| *text == unknown || !control.contains(text));
        Ok(WordParts {
            vocab,
            prefix: self.model.continuing_subword_prefix.unwrap_or_else(|| "##".into()),
            unknown,
            max_word_chars: self.model.max_input_chars_per_word.unwrap_or(100),
            normalizer: part(self.normalizer, "normaliser")?,
            pre_tokenizer: part(self.pre_tokenizer, "pre-tokenizer")?,
        })
    }

    fn pair_parts(
        self,
        mut vocab: HashMap<String, u32>,
        control: &HashSet<String>,
    ) -> Result<PairParts> {
        let unknown = self.model.unk_token;
        vocab.retain(|text, _| Some(text) == unknown.as_ref() || !control.contains(text));
        let merges = self.model.merges.into_iter().map(Merge::pair).collect::<Result<_>>()?;
        let later = after_first(&self.pre_tokenizer);
        let prefixes_space = find_type(&self.normalizer, "Prepend").is_some()
            || marks_first_word(&self.pre_tokenizer);
        Ok(PairParts {
            vocab,
            merges,
            normalizer: part(self.normalizer, "normaliser")?,
            pre_tokenizer: part(self.pre_tokenizer, "pre-tokenizer")?,
            later_pre_tokenizer: later
                .map(|later| part(later, "pre-tokenizer"))
                .transpose()?
                .flatten(),
            unknown,
            fuse_unknown: self.model.fuse_unk,
            byte_fallback: self.model.byte_fallback,
            ignore_merges: self.model.ignore_merges,
            prefixes_space,
        })
    }
}

impl Merge {
    fn pair(self) -> Result<(String, String)> {
        match self {
            Merge::Pair(pair) => Ok(pair),
            Merge::Line(line) => line
                .split_once(' ')
                .map(|(left, right)| (left.to_string(), right.to_string()))
                .ok_or_else(|| Error::BrokenTokenizer("a merge is not two tokens".into())),
        }
    }
}

/// A special token of `tokenizer_config.json`: a string, or an object with `content`.
fn token_text<'a>(config: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    let value = config.get(key)?;
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// The template: its own file, or a string, or the one named `default` of a list.
fn chat_template(file: Option<&str>, config: &Map<String, Value>) -> Result<Option<String>> {
    if let Some(text) = file {
        return Ok(Some(text.to_string()));
    }
    match config.get("chat_template") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Array(named)) => named
            .iter()
            .find(|entry| entry["name"] == "default")
            .and_then(|entry| entry["template"].as_str())
            .map(|text| Some(text.to_string()))
            .ok_or_else(|| {
                Error::BrokenTemplate("the list of templates has none named `default`".into())
            }),
        Some(_) => Err(Error::BrokenTemplate("it is neither a text nor a list".into())),
    }
}
