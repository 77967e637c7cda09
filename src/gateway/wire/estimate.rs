//! Guesses numbers of tokens where a provider does not tell them.

use crate::request::{GenerateRequest, Input, Message, Part};

/// Letters of the Latin alphabet that a token holds, more or less, in most vocabularies.
const LETTERS_PER_TOKEN: u64 = 4;
/// Tokens that a picture takes with most providers; few say it before.
const MEDIA_TOKENS: u64 = 1000;
/// Tokens around each message.
const MESSAGE_TOKENS: u64 = 4;

/// A guess of the tokens of a request's prompt.
pub fn estimate(request: &GenerateRequest) -> u32 {
    let mut guess = Guess::default();
    match &request.input {
        Input::Chat(messages) => messages.iter().for_each(|message| guess.message(message)),
        Input::Text(text) => guess.text(text),
        Input::Tokens(tokens) => guess.tokens += tokens.len() as u64,
        Input::Infill { prompt, suffix } => {
            guess.text(prompt);
            guess.text(suffix);
        }
    }
    for tool in request.rules.tools.iter().flat_map(|tools| &tools.list) {
        guess.text(&tool.description.to_string());
    }
    guess.total().max(1)
}

/// A guess of a text's tokens, piece by piece.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Guess {
    letters: u64,
    tokens: u64,
}

impl Guess {
    pub(super) fn text(&mut self, text: &str) {
        let ascii = text.bytes().filter(u8::is_ascii).count() as u64;
        self.letters += ascii;
        // Three bytes of UTF-8 are a sign of Chinese or Japanese, about a token each.
        self.tokens += (text.len() as u64 - ascii) / 3;
    }

    pub(super) fn total(self) -> u32 {
        let tokens = self.tokens.saturating_add(self.letters.div_ceil(LETTERS_PER_TOKEN));
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    fn message(&mut self, message: &Message) {
        self.tokens += MESSAGE_TOKENS;
        message.texts().for_each(|text| self.text(text));
        for part in &message.parts {
            match part {
                Part::Thought(thought) => self.text(&thought.text),
                Part::Call(call) => {
                    self.text(&call.name);
                    self.text(&call.arguments);
                }
                Part::Media(_) => self.tokens += MEDIA_TOKENS,
                _ => {}
            }
        }
    }
}
