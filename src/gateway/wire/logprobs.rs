//! Tokens with their log probabilities, as OpenAI, Ollama and Cohere write them.

use serde::Deserialize;

use crate::event::TokenLogprob;

/// One token.
#[derive(Deserialize)]
pub(super) struct Token {
    token: String,
    logprob: f32,
    bytes: Option<Vec<u8>>,
    top_logprobs: Option<Vec<Token>>,
}

impl Token {
    pub(super) fn neutral(self) -> TokenLogprob {
        let bytes_of =
            |text: &str, bytes: Option<Vec<u8>>| bytes.unwrap_or_else(|| text.as_bytes().to_vec());
        let top = self.top_logprobs.unwrap_or_default().into_iter().map(|token| {
            let bytes = bytes_of(&token.token, token.bytes);
            (0, token.token, bytes, token.logprob)
        });
        TokenLogprob {
            id: 0,
            bytes: bytes_of(&self.token, self.bytes),
            logprob: self.logprob,
            top: top.collect(),
            text: self.token,
        }
    }
}
