//! Holds what a model writes to a grammar: JSON, a JSON schema, an expression, or calls of tools.
//!
//! A grammar is compiled for one vocabulary; then, token by token, it says which may follow. The
//! work is done by `llguidance`, behind bounds on size, time and memory. A token that ends an answer
//! may follow only where the text is complete, and a text that runs out of tokens is completed in
//! time: see [`Grammar::settle`].

mod source;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::api::TopLevelGrammar;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{
    ApproximateTokEnv, InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie,
};
use llguidance::{Matcher, ParserFactory};

use crate::error::{Error, Result};
use crate::template::on_large_stack;
use crate::tokenizer::Tokenizer;

pub use source::{CallGrammar, GrammarBody, GrammarSource, Thinking};

/// Compiled grammars that are kept for the next request.
const MAX_CACHED: usize = 32;
/// Sources that are compiled at the same time; one that never ends keeps its place.
const MAX_COMPILING: usize = 4;
/// Work for the first analysis of a grammar's expressions; a large real schema takes half of it.
const COMPILE_FUEL: u64 = 1_000_000;
/// Symbols in all rules together; a large real schema has 200,000.
const MAX_GRAMMAR_SYMBOLS: usize = 250_000;
/// States of one sequence's automaton, at 1 to 2 kB each.
const MAX_STATES: usize = 25_000;
/// Longest text that is looked for to complete one, in tokens.
const MAX_WAY_TOKENS: usize = 2048;

/// Compiles grammars for one vocabulary and keeps the latest.
pub(crate) struct Grammars {
    factory: Arc<ParserFactory>,
    vocabulary: Arc<Vocabulary>,
    cache: Mutex<VecDeque<(GrammarSource, Grammar)>>,
    compiling: Arc<AtomicUsize>,
}

/// What looking for a way to the end needs to know of the tokens.
struct Vocabulary {
    environment: TokEnv,
    /// Tokens that close a text, a list or an object, in the order in which they are tried.
    closers: Vec<u32>,
    eos_ids: Vec<u32>,
}

/// A compiled grammar, and how far a text has come in it.
pub struct Grammar {
    matcher: Matcher,
    vocabulary: Arc<Vocabulary>,
    /// From how many tokens before the limit on the end is kept within reach.
    watch_tokens: usize,
    /// Tokens that end the model's thoughts.
    silence: Arc<[u32]>,
    /// Tokens that complete the text from here, if they are known.
    way: Option<VecDeque<u32>>,
}

/// Which tokens may follow.
#[derive(Debug)]
pub struct Mask(SimpleVob);

impl Mask {
    /// Whether this token may follow; ids beyond the vocabulary may not.
    pub fn allows(&self, id: u32) -> bool {
        (id as usize) < self.0.len() && self.0.is_allowed(id)
    }

    /// The mask of one token alone.
    pub fn only(id: u32) -> Mask {
        let mut mask = SimpleVob::alloc(id as usize + 1);
        mask.allow_token(id);
        Mask(mask)
    }
}

impl Grammars {
    pub(crate) fn new(tokenizer: &Tokenizer) -> Result<Grammars> {
        let eos_ids = tokenizer.eos_ids().to_vec();
        let Some(&eos) = eos_ids.first() else {
            return Err(Error::Unsupported("a model without end token takes no grammar".into()));
        };
        let vocab = u32::try_from(tokenizer.vocab()).unwrap_or(u32::MAX);
        // Control tokens have no text, so no grammar can ask for them.
        let bytes = |id| match tokenizer.is_control(id) {
            true => Vec::new(),
            false => tokenizer.token_bytes(id).to_vec(),
        };
        let words: Vec<Vec<u8>> = (0..vocab).map(bytes).collect();
        let trie = TokTrie::from(&TokRxInfo::new(vocab, eos), &words).with_eos_tokens(&eos_ids);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new(
            &environment,
            InferenceCapabilities::default(),
            &SlicedBiasComputer::json_slices(),
        )
        .map_err(refused)?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.initial_lexer_fuel = COMPILE_FUEL;
        limits.max_grammar_size = MAX_GRAMMAR_SYMBOLS;
        limits.max_lexer_states = MAX_STATES;
        limits.precompute_large_lexemes = false;
        limits.verbose_errors = false;
        let closer = |text: &[u8]| (0..vocab).filter(|&id| words[id as usize] == text).collect();
        let closers: Vec<Vec<u32>> = [b"\"".as_slice(), b"}", b"]", b",", b"0"].map(closer).into();
        let vocabulary = Vocabulary { environment, closers: closers.concat(), eos_ids };
        Ok(Grammars {
            factory: Arc::new(factory),
            vocabulary: Arc::new(vocabulary),
            cache: Mutex::default(),
            compiling: Arc::default(),
        })
    }

    /// The grammar of a source, at its beginning.
    pub(crate) fn compile(&self, source: &GrammarSource) -> Result<Grammar> {
        if let Some(known) = self.cached(source) {
            return Ok(known);
        }
        let grammar = source.grammar()?;
        let compiled = self.compile_bounded(grammar, source.thinking.close())?;
        let fresh = compiled.fresh();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.truncate(MAX_CACHED - 1);
        cache.push_front((source.clone(), compiled));
        Ok(fresh)
    }

    fn cached(&self, source: &GrammarSource) -> Option<Grammar> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let at = cache.iter().position(|(known, _)| known == source)?;
        let entry = cache.remove(at)?;
        let grammar = entry.1.fresh();
        cache.push_front(entry);
        Some(grammar)
    }

    /// Compiles on a thread with a large stack, for a few seconds at most.
    fn compile_bounded(&self, grammar: TopLevelGrammar, close: &str) -> Result<Grammar> {
        let place = Place::take(&self.compiling)?;
        let (factory, vocabulary) = (Arc::clone(&self.factory), Arc::clone(&self.vocabulary));
        let silence = vocabulary.environment.tok_trie().greedy_tokenize(close.as_bytes()).into();
        on_large_stack(move || {
            let _place = place;
            Grammar::new(Matcher::new(factory.create_parser(grammar)), vocabulary, silence)
        })
        .unwrap_or_else(|_| Err(Error::Grammar("it takes too long to compile".into())))
    }
}

impl Grammar {
    fn new(
        mut matcher: Matcher,
        vocabulary: Arc<Vocabulary>,
        silence: Arc<[u32]>,
    ) -> Result<Grammar> {
        if let Some(problem) = matcher.get_error() {
            return Err(refused(problem));
        }
        // A grammar that admits nothing is found here, not in the middle of an answer.
        matcher.compute_mask_or_eos().map_err(refused)?;
        let mut grammar = Grammar { matcher, vocabulary, watch_tokens: 0, silence, way: None };
        let way = grammar.way_from(grammar.matcher.deep_clone(), MAX_WAY_TOKENS);
        grammar.watch_tokens = way.map_or(0, |way| 2 * way.len()) + 64;
        Ok(grammar)
    }

    /// The same grammar for another text.
    fn fresh(&self) -> Grammar {
        Grammar {
            matcher: self.matcher.deep_clone(),
            vocabulary: Arc::clone(&self.vocabulary),
            watch_tokens: self.watch_tokens,
            silence: Arc::clone(&self.silence),
            way: None,
        }
    }

    /// The tokens that may follow now. Tokens that end an answer are among them where the text is
    /// complete, and alone where nothing else may follow.
    pub fn mask(&mut self) -> Result<Mask> {
        self.matcher.compute_mask_or_eos().map(Mask).map_err(refused)
    }

    /// Takes the next token of the text; one that ends the answer changes nothing.
    pub fn accept(&mut self, id: u32) -> Result<()> {
        if self.vocabulary.eos_ids.contains(&id) || self.matcher.is_stopped() {
            return Ok(());
        }
        self.matcher.consume_token(id).map_err(refused)
    }

    /// The token to take for a drawn one, when `left` tokens may still be written, this one
    /// included: near the limit, one that leads so far away that the text could not be completed
    /// is replaced by one that completes it.
    pub fn settle(&mut self, drawn: u32, left: usize) -> Result<u32> {
        if left > self.watch_tokens || self.vocabulary.eos_ids.contains(&drawn) {
            self.way = None;
            return Ok(drawn);
        }
        let mut way = match self.way.take() {
            Some(way) => Some(way),
            None => self.way_from(self.matcher.clone(), left),
        };
        if let Some(way) = way.as_mut().filter(|way| way.front() == Some(&drawn)) {
            way.pop_front();
            self.way = Some(std::mem::take(way));
            return Ok(drawn);
        }
        let mut ahead = self.matcher.clone();
        ahead.consume_token(drawn).map_err(refused)?;
        if let Some(next) = self.way_from(ahead, left - 1) {
            self.way = Some(next);
            return Ok(drawn);
        }
        let Some(mut way) = way else { return Ok(drawn) };
        let token = way.pop_front().or(self.vocabulary.eos_ids.first().copied());
        self.way = Some(way);
        Ok(token.unwrap_or(drawn))
    }

    /// Tokens that complete a text, `limit` at most, perhaps after an end of thoughts.
    fn way_from(&self, matcher: Matcher, limit: usize) -> Option<VecDeque<u32>> {
        let mut quiet = matcher.clone();
        if let Some(way) = self.way_through(matcher, limit) {
            return Some(way);
        }
        let left = limit.checked_sub(self.silence.len()).filter(|_| !self.silence.is_empty())?;
        quiet.consume_tokens(&self.silence).ok()?;
        let rest = self.way_through(quiet, left)?;
        Some(self.silence.iter().copied().chain(rest).collect())
    }

    /// Tokens that complete a text: what closes comes first, then the longest that
    /// may follow, which goes through fixed words fastest.
    fn way_through(&self, mut matcher: Matcher, limit: usize) -> Option<VecDeque<u32>> {
        let mut way = VecDeque::new();
        loop {
            if matcher.is_stopped() || matcher.is_accepting().ok()? {
                return (!matcher.is_error()).then_some(way);
            }
            if way.len() >= limit {
                return None;
            }
            let mask = matcher.compute_mask().ok()?;
            let closer = self.vocabulary.closers.iter().find(|&&id| mask.is_allowed(id));
            let trie = self.vocabulary.environment.tok_trie();
            let longest = || mask.iter().max_by_key(|&id| trie.token_len(id));
            let token = closer.copied().or_else(longest)?;
            matcher.consume_token(token).ok()?;
            way.push_back(token);
        }
    }
}

impl Clone for Grammar {
    fn clone(&self) -> Grammar {
        Grammar { way: self.way.clone(), ..self.fresh() }
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.debug_struct("Grammar").field("way", &self.way).finish_non_exhaustive()
    }
}

impl fmt::Debug for Grammars {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.debug_struct("Grammars").finish_non_exhaustive()
    }
}

/// One of the places for compiling, given back on drop.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Result<Place> {
        let place = Place(Arc::clone(taken));
        match taken.fetch_add(1, SeqCst) < MAX_COMPILING {
            true => Ok(place),
            false => Err(Error::Grammar("too many are being compiled; try again".into())),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// A refusal in one short line: the library's texts may go on with traces and the whole grammar.
fn refused(problem: impl fmt::Display) -> Error {
    let text = problem.to_string();
    let line = match text.lines().next().unwrap_or_default() {
        // The library's word for a start from which no text can follow.
        line if line.contains("NoExtensionBias") => "it admits no text at all",
        line => line,
    };
    Error::Grammar(line.chars().take(300).collect())
}

#[cfg(test)]
mod tests;
