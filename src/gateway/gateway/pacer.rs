//! Keeps callers to their rate limits: the clock, the memory and the words around
//! [`crate::quota::pace`].

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hearth_store::Store;

use crate::caller::Caller;
use crate::embedding::{EmbedInput, EmbedRequest};
use crate::error::{Error, Result};
use crate::quota::Terms;
use crate::quota::pace::{Left, Measure, Paces, Scope, TooFast};
use crate::request::{GenerateRequest, Input};

/// Bytes of text that make a token, more or less; what was used in the end is counted exactly.
const TOKEN_BYTES: usize = 4;

/// Who uses how much.
pub(super) struct Pacer {
    store: Store,
    started: Instant,
    paces: Mutex<Paces>,
}

/// A call that counts against limits; it ends when this is dropped.
pub(super) struct Pace {
    pacer: Arc<Pacer>,
    terms: Arc<Terms>,
    scopes: Vec<Scope>,
    counted_tokens: u32,
    used_tokens: AtomicU32,
}

/// What is left to a caller of their rate limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    pub requests: Option<Left>,
    pub tokens: Option<Left>,
}

impl Pacer {
    pub(super) fn new(store: Store) -> Pacer {
        Pacer { store, started: Instant::now(), paces: Mutex::default() }
    }

    /// Counts a call of about so many tokens, or refuses it; `None` if nothing limits it.
    pub(super) async fn begin(
        self: &Arc<Pacer>,
        terms: Arc<Terms>,
        caller: &Caller,
        model: &str,
        tokens: u32,
    ) -> Result<Option<Pace>> {
        let mut scopes = own_scopes(caller);
        if let (true, Some(user)) = (terms.rules.has_groups(), caller.user_id) {
            let group = self.store.groups().of_user(user).await?;
            scopes.extend(group.map(|group| Scope::Group(group.id)));
        }
        scopes.push(Scope::Model(model.to_owned()));
        let begun = self.lock().begin(&terms.rules, scopes, tokens, self.now_ms());
        let scopes = begun.map_err(|refused| in_words(&refused))?;
        if scopes.is_empty() {
            return Ok(None);
        }
        let (pacer, used_tokens) = (Arc::clone(self), AtomicU32::new(0));
        Ok(Some(Pace { pacer, terms, scopes, counted_tokens: tokens, used_tokens }))
    }

    /// What is left to a caller; of their group and of models nothing is said.
    pub(super) fn left(&self, terms: &Terms, caller: &Caller) -> RateLimits {
        let left = self.lock().left(&terms.rules, &own_scopes(caller), self.now_ms());
        RateLimits { requests: left.0, tokens: left.1 }
    }

    /// Never goes back, whatever becomes of the system's clock.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Paces> {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    /// Counts tokens that were used.
    pub(super) fn used(&self, tokens: u32) {
        let add = |used: u32| Some(used.saturating_add(tokens));
        let _ = self.used_tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        let used = self.used_tokens.load(Ordering::Relaxed);
        let now_ms = self.pacer.now_ms();
        let more = i64::from(used) - i64::from(self.counted_tokens);
        self.pacer.lock().end(&self.terms.rules, &self.scopes, more, now_ms);
    }
}

/// About so many tokens a request may use.
pub(super) fn estimate(request: &GenerateRequest) -> u32 {
    let prompt = match &request.input {
        Input::Chat(messages) => {
            messages.iter().map(|message| message.joined_text().len() / TOKEN_BYTES).sum()
        }
        Input::Text(text) => text.len() / TOKEN_BYTES,
        Input::Tokens(tokens) => tokens.len(),
        Input::Infill { prompt, suffix } => (prompt.len() + suffix.len()) / TOKEN_BYTES,
    };
    let answers = request.max_tokens.unwrap_or(0).saturating_mul(u32::from(request.choices));
    narrow(prompt).saturating_add(answers)
}

/// About so many tokens a request for vectors uses, and more than so many it cannot have.
pub(super) fn estimate_of_texts(request: &EmbedRequest) -> (u32, u64) {
    let bytes = |input: &EmbedInput| match input {
        EmbedInput::Text(text) | EmbedInput::Cut(text) => text.len(),
        EmbedInput::Tokens(tokens) => tokens.len() * TOKEN_BYTES,
    };
    let bytes: usize = request.inputs.iter().map(bytes).sum();
    // No token is shorter than a byte; a text has at most a first, a middle and a last one beside.
    let most = bytes as u64 + 3 * request.inputs.len() as u64;
    (narrow(bytes / TOKEN_BYTES), most)
}

fn own_scopes(caller: &Caller) -> Vec<Scope> {
    let user = caller.user_id.map(Scope::User);
    let token = caller.token_id().map(Scope::Token);
    user.into_iter().chain(token).collect()
}

/// As OpenAI says it; clients read the numbers out of the sentence.
fn in_words(refused: &TooFast) -> Error {
    let TooFast { scope, measure, limit, used, wanted, wait_ms } = refused;
    let whose = match scope {
        Scope::User(_) => "your account".to_owned(),
        Scope::Token(_) => "this API token".to_owned(),
        Scope::Group(_) => "your group".to_owned(),
        Scope::Model(model) => format!("the model `{model}`"),
    };
    let what = match measure {
        Measure::Requests => "requests per min (RPM)",
        Measure::Tokens => "tokens per min (TPM)",
        Measure::Concurrent => "requests at once",
    };
    let retry_after = Duration::from_millis(*wait_ms);
    let seconds = retry_after.as_secs_f64();
    let message = format!(
        "Rate limit reached for {whose} on {what}: Limit {limit}, Used {used}, Requested {wanted}. \
         Please try again in {seconds:.3}s."
    );
    Error::TooFast { message, measure: *measure, retry_after }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
