//! What goes over the wire to a provider, and what comes back: one [`Wire`] for each dialect that
//! providers speak.
//!
//! Bytes in, bytes out: nothing here opens a connection, knows a channel's limits or waits. Routing
//! picks a channel, writes the call with its wire, sends it, and feeds the wire's [`Reader`].

use crate::error::Result;
use crate::event::Event;
use crate::request::GenerateRequest;

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

    /// Path of the list of models, below the base URL.
    fn models_path(&self) -> &'static str;

    /// The models in that list.
    fn models(&self, body: &[u8]) -> Result<Vec<String>>;
}

/// What to ask for, as the provider knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The provider's own name of the model.
    pub model: String,
    /// Whether the answer is to come in pieces.
    pub shape: Shape,
}

/// Whether an answer comes at once or in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Whole,
    Stream,
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
    /// `x-hearth-ignored`.
    pub warnings: Vec<String>,
}

/// Turns the bytes of an answer into events. Bounded: a line or a body that is too long is an
/// error.
pub trait Reader: Send {
    /// More bytes have come, cut anywhere.
    fn feed(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<()>;

    /// No more will come. Whoever stops before the dialect's own end has broken off: an error.
    /// The last event is `Done`; its times are left at zero.
    fn end(&mut self, events: &mut Vec<Event>) -> Result<()>;
}

/// Why a provider does not answer, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// The provider's own words, cut to a bounded length.
    pub message: String,
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
