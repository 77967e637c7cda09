//! The one tokenizer type, whatever the model's vocabulary came from.
//!
//! Control tokens are found here and nowhere else. The algorithms below this file see ordinary text
//! only, and their vocabularies hold no control token, so no text can turn into one by accident.

mod added;
mod byte_level;
mod charsmap;
mod gguf;
mod hugging_face;
mod infill;
mod pairs;
mod scored;
mod unigram;
mod words;

use std::ops::Range;
use std::sync::OnceLock;

use hearth_formats::{ModelFile, TokenizerSource};

use crate::error::{Error, Result};
use crate::grammar::{Grammar, GrammarSource, Grammars};
use added::AddedTokens;
use infill::Infill;
use pairs::PairModel;
use scored::ScoredModel;
use unigram::UnigramModel;
use words::WordModel;

/// Longest text that is encoded at once; a context of a million tokens has about half of this.
pub const MAX_TEXT_BYTES: usize = 8 << 20;

/// What the text of a control token, such as `<s>`, means inside a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// The control token: for text from a template.
    Parse,
    /// Only letters: for text from people.
    AsText,
}

/// Turns text into token ids and ids into bytes.
#[derive(Debug)]
pub struct Tokenizer {
    model: Model,
    tokens: Vec<Token>,
    added: AddedTokens,
    ends: Ends,
    /// What marks the texts around a gap, in models that were trained to fill one.
    infill: Option<Infill>,
    /// The maker's chat template, if the model came with one.
    chat_template: Option<String>,
    /// Built when the first grammar is asked for.
    pub(crate) grammars: OnceLock<std::result::Result<Grammars, String>>,
}

/// How ordinary text is cut into tokens.
#[derive(Debug)]
enum Model {
    Scored(ScoredModel),
    Pairs(Box<PairModel>),
    Words(Box<WordModel>),
    Unigram(Box<UnigramModel>),
}

/// One row of the vocabulary.
#[derive(Clone, Debug, Default)]
struct Token {
    /// The bytes it stands for in text.
    bytes: Vec<u8>,
    control: bool,
}

/// The tokens that begin and end things.
#[derive(Clone, Debug, Default)]
struct Ends {
    bos: Option<u32>,
    /// What a template's `eos_token` prints.
    eos: Option<u32>,
    /// Every id that ends an answer, ascending.
    stop_ids: Vec<u32>,
    add_bos: bool,
    /// What encoder models have behind a text.
    separator: Option<u32>,
    /// Two of them part the texts of a pair.
    doubles_separator: bool,
}

/// Control tokens that end an answer in the models of these families, whatever their metadata say.
const END_TEXTS: [&str; 7] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end|>",
    "<end_of_turn>",
];

impl Tokenizer {
    /// The tokenizer that belongs to a model.
    pub fn from_model(model: &ModelFile) -> Result<Tokenizer> {
        let tokenizer = Tokenizer::from_source(&model.tokenizer)?;
        let (tokens, vocab) = (tokenizer.tokens.len(), model.shape.vocab);
        if tokens > vocab {
            let problem = format!("it has {tokens} tokens, the model has room for {vocab}");
            return Err(Error::BrokenTokenizer(problem));
        }
        Ok(tokenizer)
    }

    /// A tokenizer without a model to hold it against.
    pub fn from_source(source: &TokenizerSource) -> Result<Tokenizer> {
        match source {
            TokenizerSource::Gguf(metadata) => gguf::build(metadata),
            TokenizerSource::HuggingFace(texts) => hugging_face::build(texts),
        }
    }

    /// The ids of a text, without any token added before or after it.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.encode_into(text, &mut ids, |_, _| specials == Specials::Parse)?;
        Ok(ids)
    }

    /// The ids of a plain text prompt: [`Tokenizer::encode`], after the token that begins a text
    /// if the model was trained to see one. Chat templates print that token themselves.
    pub fn encode_prompt(&self, text: &str, specials: Specials) -> Result<Vec<u32>> {
        let mut ids: Vec<u32> = self.bos_id().filter(|_| self.add_bos()).into_iter().collect();
        self.encode_into(text, &mut ids, |_, _| specials == Specials::Parse)?;
        Ok(ids)
    }

    /// The ids of a text for an encoder model: between the tokens that begin and end one.
    pub fn encode_framed(&self, text: &str, specials: Specials) -> Result<Vec<u32>> {
        let mut ids = self.encode_prompt(text, specials)?;
        ids.extend(self.ends.separator);
        Ok(ids)
    }

    /// The ids of the first text of a pair, up to where the second begins.
    pub fn encode_first(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.encode_framed(text, Specials::AsText)?;
        ids.extend(self.ends.separator.filter(|_| self.ends.doubles_separator));
        Ok(ids)
    }

    /// The ids of a pair of texts for an encoder model; `first` is [`Tokenizer::encode_first`]'s.
    pub fn encode_pair(&self, first: &[u32], second: &str) -> Result<Vec<u32>> {
        let mut ids = first.to_vec();
        self.encode_into(second, &mut ids, |_, _| false)?;
        ids.extend(self.ends.separator);
        Ok(ids)
    }

    /// The bytes that an id stands for; none for ids beyond the vocabulary. A control token gives
    /// its name, such as `</s>`.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.token(id).map_or(&[], |token| token.bytes.as_slice())
    }

    /// Whether an id steers the model and is never part of its text.
    pub fn is_control(&self, id: u32) -> bool {
        self.token(id).is_some_and(|token| token.control)
    }

    /// The control token of this text.
    pub fn control_id(&self, text: &str) -> Option<u32> {
        self.added.control_id(text)
    }

    /// Tokens in the vocabulary; the model's embedding table may have more rows.
    pub fn vocab(&self) -> usize {
        self.tokens.len()
    }

    /// The token that begins a text.
    pub fn bos_id(&self) -> Option<u32> {
        self.ends.bos
    }

    /// Whether plain text prompts start with [`Tokenizer::bos_id`].
    pub fn add_bos(&self) -> bool {
        self.ends.add_bos
    }

    /// The token behind each text that an encoder model reads.
    pub fn separator_id(&self) -> Option<u32> {
        self.ends.separator
    }

    /// Every id that ends an answer, ascending.
    pub fn eos_ids(&self) -> &[u32] {
        &self.ends.stop_ids
    }

    /// The template that the model's maker wrote for chats.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// What holds an answer to a grammar. A new one is compiled, which may take seconds.
    pub fn grammar(&self, source: &GrammarSource) -> Result<Grammar> {
        let make = || Grammars::new(self).map_err(|problem| problem.to_string());
        match self.grammars.get_or_init(make) {
            Ok(grammars) => grammars.compile(source),
            Err(problem) => Err(Error::Unsupported(problem.clone())),
        }
    }

    /// What `bos_token` prints in a template; empty without such a token.
    pub(crate) fn bos_text(&self) -> String {
        self.text_of(self.ends.bos)
    }

    /// What `eos_token` prints in a template; empty without such a token.
    pub(crate) fn eos_text(&self) -> String {
        self.text_of(self.ends.eos)
    }

    /// Whether a text is encoded with a space before its first word.
    pub(crate) fn prefixes_space(&self) -> bool {
        match &self.model {
            Model::Scored(model) => model.prefixes_space(),
            Model::Pairs(model) => model.prefixes_space(),
            Model::Words(_) => false,
            Model::Unigram(model) => model.prefixes_space(),
        }
    }

    /// The texts of all control tokens.
    pub(crate) fn control_texts(&self) -> impl Iterator<Item = &str> {
        self.added.control_texts()
    }

    /// Where the texts of control tokens stand in a text, from left to right.
    pub(crate) fn control_spans(&self, text: &str) -> Vec<Range<usize>> {
        self.added.control_spans(text)
    }

    /// Appends the ids of a text, where `may_steer(start, end)` says whether a control token
    /// written at these bytes is meant as one.
    pub(crate) fn encode_into(
        &self,
        text: &str,
        ids: &mut Vec<u32>,
        may_steer: impl Fn(usize, usize) -> bool,
    ) -> Result<()> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::TextTooLong { bytes: text.len(), limit_bytes: MAX_TEXT_BYTES });
        }
        let mut from = 0;
        for found in self.added.find(text, may_steer) {
            self.encode_plain(&text[from..found.start], from == 0, ids)?;
            ids.push(found.id);
            from = found.end;
        }
        self.encode_plain(&text[from..], from == 0, ids)
    }

    /// `first`: nothing comes before this piece of text.
    fn encode_plain(&self, text: &str, first: bool, ids: &mut Vec<u32>) -> Result<()> {
        match &self.model {
            Model::Scored(model) => {
                model.encode(text, ids);
                Ok(())
            }
            Model::Pairs(model) => model.encode(text, first, ids),
            Model::Words(model) => model.encode(text, ids),
            Model::Unigram(model) => model.encode(text, first, ids),
        }
    }

    fn token(&self, id: u32) -> Option<&Token> {
        self.tokens.get(usize::try_from(id).ok()?)
    }

    fn text_of(&self, id: Option<u32>) -> String {
        id.map_or_else(String::new, |id| String::from_utf8_lossy(self.token_bytes(id)).into_owned())
    }
}

impl Ends {
    /// Completes the list of ids that end an answer and makes all of `Ends` control tokens.
    fn settle(&mut self, tokens: &mut [Token]) {
        self.stop_ids.extend(self.eos);
        let known = |token: &Token| END_TEXTS.iter().any(|text| text.as_bytes() == token.bytes);
        let named = (0u32..).zip(&*tokens).filter(|(_, token)| token.control && known(token));
        self.stop_ids.extend(named.map(|(id, _)| id));
        self.stop_ids.retain(|&id| (id as usize) < tokens.len());
        self.stop_ids.sort_unstable();
        self.stop_ids.dedup();
        for id in self.stop_ids.iter().copied().chain(self.bos).chain(self.separator) {
            if let Some(token) = tokens.get_mut(id as usize) {
                token.control = true;
            }
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
