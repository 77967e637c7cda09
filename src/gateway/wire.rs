//! What goes over the wire to a provider, and what comes back: one [`Wire`] for each dialect that
//! providers speak. [`of`] gives the one of a [`Provider`].
//!
//! Bytes in, bytes out: nothing here opens a connection, knows a channel's limits or waits. Routing
//! picks a channel, writes the call with its wire, sends it, and feeds the wire's [`Reader`].

mod answer;
mod anthropic;
mod bedrock;
mod cohere;
mod embedding;
mod estimate;
mod gemini;
mod lines;
mod logprobs;
mod ollama;
mod open_ai;
pub(crate) mod passage;
mod provider;
mod refusals;
mod responses;
mod stream;
#[cfg(test)]
mod tests;
mod writing;

pub use bedrock::Frames;
#[cfg(test)]
pub(crate) use bedrock::frame;
pub use estimate::estimate;
pub use provider::{Provider, of};

pub use crate::request::Shape;

use crate::embedding::{EmbedRequest, Embedded};
use crate::error::Result;
use crate::event::Event;
use crate::passage::PassRoute;
use crate::request::GenerateRequest;

/// Longest line of a streamed answer, in bytes; a longer one is an error. Pictures in an answer
/// come as one line.
pub const MAX_LINE_BYTES: usize = 4 << 20;
/// Longest answer that is read whole, in bytes. Who collects bodies for [`Wire::embedded`],
/// [`Wire::counted`] and [`Wire::models`] holds to it too.
pub const MAX_BODY_BYTES: usize = 64 << 20;

/// What a refusal of this status says, whoever writes it.
pub(crate) fn refused(status: u16, body: &[u8]) -> Refusal {
    refusals::read(status, body)
}

/// How one family of providers wants to be asked.
pub trait Wire: Send + Sync {
    /// Writes a request that asks the provider for `target`. What the dialect cannot carry is an
    /// error if it changes what the answer means, else one of [`Call::warnings`].
    fn call(&self, request: &GenerateRequest, target: &Target) -> Result<Call>;

    /// Reads the answer to such a call: one reader for each answer.
    fn reader(&self, request: &GenerateRequest, shape: Shape) -> Box<dyn Reader>;

    /// What an answer with a status other than 2xx says.
    fn refusal(&self, status: u16, body: &[u8]) -> Refusal;

    /// The header that carries a key.
    fn credential(&self, key: &str) -> (&'static str, String);

    /// How the provider wants to be shown a key that is more than one header.
    fn scheme(&self) -> Scheme {
        Scheme::Plain
    }

    /// Path of the list of models, below the base URL.
    fn models_path(&self) -> &'static str;

    /// The models in that list.
    fn models(&self, body: &[u8]) -> Read<Vec<String>>;

    /// Whether the provider fetches pictures and files by their URL. Where it does not, whoever
    /// sends fetches each of [`GenerateRequest::urls`] through the guarded client before the call
    /// and puts the bytes in with [`GenerateRequest::inline`]; [`Wire::call`] refuses a request
    /// that still has some.
    fn takes_urls(&self) -> bool {
        true
    }

    /// Writes the calls that ask for vectors or scores: several where the provider takes fewer
    /// texts at once. [`Wire::embedded`] reads their answers, and [`Embedded::append`] joins them
    /// in this order.
    fn embed(&self, request: &EmbedRequest, target: &Target) -> Result<Vec<EmbedCall>>;

    /// Reads the answer to one of the calls for vectors: as many as it asked for, in its order.
    fn embedded(&self, call: &EmbedCall, body: &[u8]) -> Read<Embedded>;

    /// Whether the provider has a route of this name, in OpenAI's dialect.
    fn passes(&self, _route: PassRoute) -> bool {
        false
    }

    /// Writes a call that counts a prompt's tokens; `None` where the provider does not count, and
    /// [`estimate`] has to do.
    fn count(&self, _request: &GenerateRequest, _target: &Target) -> Result<Option<Call>> {
        Ok(None)
    }

    /// The number in the answer to such a call.
    fn counted(&self, _body: &[u8]) -> Read<u32> {
        Err(Refusal::broken("The provider counts no tokens."))
    }
}

/// What to ask for, as the provider knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The provider's own name of the model.
    pub model: String,
    /// Whether the answer is to come in pieces.
    pub shape: Shape,
}

/// What keys a provider takes beside those that are a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Plain,
    /// `ACCESS_KEY_ID|SECRET_ACCESS_KEY|REGION`, with which each request is signed.
    Aws,
    /// A service account as JSON, which gets access tokens.
    Google,
}

/// A call that is ready to be sent with POST.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Below the channel's base URL, with its query; begins with `/`.
    pub path: String,
    /// Besides the credential and `content-type: application/json`.
    pub headers: Vec<(&'static str, String)>,
    pub body: serde_json::Map<String, serde_json::Value>,
    /// What the provider will not be told, by the fields' names; the client hears of it in
    /// `x-hearth-ignored`, by [`Event::Served`].
    pub warnings: Vec<String>,
}

/// A call for the vectors or scores of some of a request's texts.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbedCall {
    pub call: Call,
    /// How many texts it is for.
    pub texts: usize,
}

/// Turns the bytes of an answer into events. Bounded: a line or a body that is too long is an
/// error, and nothing of the text is kept.
pub trait Reader: Send {
    /// More bytes have come, cut anywhere. The events are those of one answer in their order, from
    /// `Started` on; `Served` is the sender's to say. An error that the provider tells inside an
    /// answer of status 200 is a refusal here; after one nothing more is to be fed.
    fn feed(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Read<()>;

    /// No more will come. Whoever stops before the dialect's own end has broken off: an error.
    /// The last event is `Done`; its times are left at zero. It comes here and not in
    /// [`Reader::feed`], since some providers tell the usage after the end.
    fn end(&mut self, events: &mut Vec<Event>) -> Read<()>;
}

/// What was read, or why the provider gives no such answer.
pub type Read<T> = std::result::Result<T, Refusal>;

/// Why a provider does not answer, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub kind: RefusalKind,
    /// The provider's own words, cut to a bounded length.
    pub message: String,
}

impl Refusal {
    /// The answer is not what it should be.
    pub fn broken(message: impl Into<String>) -> Refusal {
        Refusal { kind: RefusalKind::Broken, message: message.into() }
    }
}

/// What can be done about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request itself is wrong: nobody else would take it either.
    Request,
    /// The prompt is too long for this model; one with a longer context may take it.
    ContextFull,
    /// The provider's rules forbid the content.
    Content,
    /// The key is not valid or has no money left; another key may do.
    Key,
    /// The provider does not have this model.
    NoModel,
    /// Too many requests, for now.
    Busy,
    /// The provider itself has failed.
    Broken,
}
