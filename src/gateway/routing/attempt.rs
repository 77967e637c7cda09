//! One attempt: asks one channel with one of its keys, and looks at how the answer begins before
//! anybody is told that there is one.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::relay::{Origin, Relay};
use crate::call::PATH_HEADER;
use crate::channels::exchange::{self, Trouble, TroubleKind};
use crate::channels::fetch::Fetcher;
use crate::channels::health::InFlight;
use crate::channels::live::Live;
use crate::channels::spec::{SystemPrompt, SystemPromptMode};
use crate::event::{Event, EventStream};
use crate::request::{GenerateRequest, Input, Message, Role};
use crate::wire::{Call, Reader, RefusalKind, Shape, Target, estimate};

/// Events that may wait for the gateway; then the provider waits.
const EVENT_BUFFER: usize = 32;
/// How long an answer that has begun may take to say its first word before it is given on: its
/// provider may still think better of it.
const PEEK_LIMIT: Duration = Duration::from_secs(10);

/// Whom to ask for what.
pub(super) struct Ask<'a> {
    pub(super) live: &'a Arc<Live>,
    /// Which of its keys.
    pub(super) key: usize,
    /// The model's public name.
    pub(super) model: &'a str,
    pub(super) request: &'a GenerateRequest,
    /// When the request came.
    pub(super) since: Instant,
    pub(super) fetcher: &'a Fetcher,
    /// Whether how soon channels begin is measured, which whole answers do not show.
    pub(super) is_timed: bool,
}

/// An answer that has begun.
pub(super) struct Begun {
    pub(super) response: Response,
    pub(super) reader: Box<dyn Reader>,
    /// What it has said, in order.
    pub(super) events: VecDeque<Event>,
    /// Whether all of it has come.
    pub(super) has_ended: bool,
}

impl Ask<'_> {
    /// The answer's events, once it is sure that there is an answer.
    pub(super) async fn run(&self, tasks: &TaskTracker) -> Result<EventStream, Trouble> {
        let (live, started) = (self.live, Instant::now());
        let mut request = with_system_prompt(self.request, live);
        if !live.wire.takes_urls() && request.urls().next().is_some() {
            self.fetcher.inline(request.to_mut()).await.map_err(Trouble::cannot_carry)?;
        }
        let shape = self.shape();
        let target = Target { model: live.own_name(self.model).to_owned(), shape };
        let mut call = live.wire.call(&request, &target).map_err(Trouble::cannot_carry)?;
        for change in &live.settings.request.overrides {
            change.apply(&mut call.body);
        }
        tell_path(&mut call, live, &request.rules.delivery.path);
        let flight = live.health.begin(live.limits(), started);
        let begun = self.begin(&request, &call, shape).await;
        let now = Instant::now();
        match begun {
            Ok(mut begun) => {
                live.keys[self.key].health.note_success();
                let first = (!begun.has_ended).then_some(now - started);
                live.health.note_first(self.model, first, now);
                introduce(&mut begun.events, live, &request, call.warnings);
                Ok(self.relay(begun, flight, tasks))
            }
            Err(trouble) => {
                note_trouble(live, self.key, self.model, &trouble, now);
                Err(trouble)
            }
        }
    }

    /// How the provider is asked: whole where the client wants it whole, for that costs least and
    /// some providers tell more so.
    fn shape(&self) -> Shape {
        match self.is_timed || self.live.settings.request.always_streams {
            true => Shape::Stream,
            false => self.request.rules.delivery.shape,
        }
    }

    async fn begin(
        &self,
        request: &GenerateRequest,
        call: &Call,
        shape: Shape,
    ) -> Result<Begun, Trouble> {
        let (live, timeouts) = (self.live, &self.live.settings.timeouts);
        let wait_ms = match shape {
            Shape::Whole => timeouts.whole_ms,
            Shape::Stream => timeouts.first_byte_ms,
        };
        let limit = tokio::time::Instant::now() + Duration::from_millis(wait_ms.into());
        let mut response = exchange::post_within(live, &live.keys[self.key], call, wait_ms).await?;
        let mut reader = live.wire.reader(request, shape_of(&response));
        let (mut events, mut until) = (Vec::new(), limit);
        let mut has_ended = false;
        while !has_ended && !events.iter().any(is_answer) {
            let Ok(chunk) = tokio::time::timeout_at(until, response.chunk()).await else {
                if events.is_empty() {
                    return Err(Trouble::timed_out("it did not begin to answer", wait_ms));
                }
                break;
            };
            match chunk.map_err(Trouble::of_network)? {
                Some(bytes) => reader.feed(&bytes, &mut events).map_err(Trouble::from)?,
                None => {
                    reader.end(&mut events).map_err(Trouble::from)?;
                    has_ended = true;
                }
            }
            if !events.is_empty() {
                until = limit.min(tokio::time::Instant::now() + PEEK_LIMIT);
            }
        }
        Ok(Begun { response, reader, events: events.into(), has_ended })
    }

    fn relay(&self, begun: Begun, flight: InFlight, tasks: &TaskTracker) -> EventStream {
        let origin = Origin {
            live: Arc::clone(self.live),
            model: self.model.to_owned(),
            since: self.since,
            _flight: flight,
        };
        if begun.has_ended {
            return Relay::hand_over(begun, origin);
        }
        let (sender, stream) = mpsc::channel(EVENT_BUFFER);
        tasks.spawn(Relay::new(begun, sender, origin).run());
        stream
    }
}

/// Tells whoever may be a Hearth which ones the request has come through.
pub(super) fn tell_path(call: &mut Call, live: &Live, path: &[String]) {
    if live.preset.provider.may_be_hearth() && !path.is_empty() {
        call.headers.push((PATH_HEADER, path.join(",")));
    }
}

/// Notes what a trouble says of a channel and of the key that was used.
pub(super) fn note_trouble(live: &Live, key: usize, model: &str, trouble: &Trouble, now: Instant) {
    let (health, key) = (&live.health, &live.keys[key].health);
    match &trouble.kind {
        TroubleKind::Refused(RefusalKind::Key) => {
            key.note_refusal(now);
            health.note_failure(model, &trouble.message, now);
        }
        TroubleKind::Refused(RefusalKind::Busy) => {
            key.rest(trouble.retry_after, now);
            health.note_refusal(model, now);
        }
        TroubleKind::Refused(RefusalKind::Broken) => {
            // Whoever is overloaded says when to come again, as one with too many requests.
            if trouble.retry_after.is_some() {
                key.rest(trouble.retry_after, now);
            }
            health.note_failure(model, &trouble.message, now);
        }
        TroubleKind::Unreachable | TroubleKind::TimedOut => {
            health.note_failure(model, &trouble.message, now);
        }
        TroubleKind::Refused(_) | TroubleKind::CannotCarry(_) => health.note_refusal(model, now),
    }
}

/// Whether an event is part of an answer, after which no error can be taken back.
fn is_answer(event: &Event) -> bool {
    match event {
        Event::Text { text, .. } => !text.is_empty(),
        Event::Served { .. } | Event::Started { .. } | Event::Context { .. } => false,
        Event::Aside { .. } | Event::Finished { .. } | Event::Done(_) => true,
    }
}

/// Some providers answer whole though they were asked for pieces.
fn shape_of(response: &Response) -> Shape {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    match kind.is_some_and(|kind| kind.trim_start().starts_with("application/json")) {
        true => Shape::Whole,
        false => Shape::Stream,
    }
}

/// Says who answers, and that it has begun where the provider says nothing of it.
fn introduce(
    events: &mut VecDeque<Event>,
    live: &Live,
    request: &GenerateRequest,
    warnings: Vec<String>,
) {
    if !matches!(events.front(), Some(Event::Started { .. })) {
        events.push_front(Event::Started { prompt_tokens: estimate(request) });
    }
    let drain_s = live.settings.drain_s;
    events.push_front(Event::Served { channel: live.id(), ignored: warnings, drain_s });
}

fn with_system_prompt<'a>(request: &'a GenerateRequest, live: &Live) -> Cow<'a, GenerateRequest> {
    let Some(SystemPrompt { text, mode }) = &live.settings.request.system_prompt else {
        return Cow::Borrowed(request);
    };
    let mut request = request.clone();
    if let Input::Chat(messages) = &mut request.input {
        let is_system = |message: &Message| message.role == Role::System;
        match mode {
            SystemPromptMode::Default if messages.iter().any(is_system) => {}
            SystemPromptMode::Prepend | SystemPromptMode::Default => {
                messages.insert(0, Message::text(Role::System, text.as_str()));
            }
            SystemPromptMode::Replace => {
                messages.retain(|message| !is_system(message));
                messages.insert(0, Message::text(Role::System, text.as_str()));
            }
        }
    }
    Cow::Owned(request)
}
