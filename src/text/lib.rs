//! Turns messages into tokens and tokens into text.
//!
//! The way in: [`ChatTemplate`] and [`Tokenizer`] from a checked model file, then [`render_tokens`]
//! for a chat or [`Tokenizer::encode_prompt`] for plain text. The way out: [`Detokenizer`], then
//! [`StopMatcher`]. This crate runs no model and knows no HTTP.

mod answer;
mod detokenizer;
mod error;
mod grammar;
mod message;
mod render;
mod stop;
mod template;
mod tokenizer;

pub use answer::{AnswerFormat, AnswerParser, AnswerPiece, AnswerStart, CallSyntax};
pub use detokenizer::{Detokenizer, decode};
pub use error::{Error, Result};
pub use grammar::{CallGrammar, Grammar, GrammarBody, GrammarSource, Mask, Thinking};
pub use message::{ChatMessage, ToolCall};
pub use render::{Chat, Prompt, infill_tokens, render_tokens};
pub use stop::{StopMatcher, StopStep};
pub use template::{Abilities, CallStyle, ChatTemplate, RenderInput};
pub use tokenizer::{MAX_TEXT_BYTES, Specials, Tokenizer};

#[cfg(test)]
mod testing;
