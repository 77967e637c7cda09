//! Carries the rest of an answer from its provider to the gateway: no faster than it is read, no
//! longer than somebody reads it, and never without an end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::attempt::Begun;
use super::failure::told;
use crate::channels::exchange::{Trouble, TroubleKind};
use crate::channels::health::{InFlight, Used};
use crate::channels::live::Live;
use crate::error::Result;
use crate::event::{Aside, Event, EventStream, Usage};

/// Letters of a token, more or less, where nobody has counted.
const LETTERS_PER_TOKEN: usize = 4;

/// An answer under way.
pub(super) struct Relay {
    begun: Begun,
    sender: mpsc::Sender<Result<Event>>,
    origin: Origin,
    tally: Tally,
}

/// Where an answer comes from.
pub(super) struct Origin {
    pub(super) live: Arc<Live>,
    /// The model's public name.
    pub(super) model: String,
    /// When the request came.
    pub(super) since: Instant,
    /// Kept until the end, for it counts the answers under way.
    pub(super) _flight: InFlight,
}

/// What has passed.
struct Tally {
    /// When the request came.
    since: Instant,
    /// When its answer began.
    first: Instant,
    /// Whether all of it came at once.
    is_whole: bool,
    prompt_tokens: u32,
    answer_bytes: usize,
}

/// How an answer ended.
enum End {
    Complete,
    /// Nobody reads it any more.
    Left,
}

impl Relay {
    pub(super) fn new(begun: Begun, sender: mpsc::Sender<Result<Event>>, origin: Origin) -> Relay {
        let (since, first) = (origin.since, Instant::now());
        let is_whole = begun.has_ended;
        let tally = Tally { since, first, is_whole, prompt_tokens: 0, answer_bytes: 0 };
        Relay { begun, sender, origin, tally }
    }

    /// An answer that has come whole already.
    pub(super) fn hand_over(mut begun: Begun, origin: Origin) -> EventStream {
        let events = std::mem::take(&mut begun.events);
        let (sender, stream) = mpsc::channel(events.len().max(1));
        let mut relay = Relay::new(begun, sender, origin);
        for event in events {
            let event = relay.dressed(event);
            // There is room for all of them, and the receiver stands above.
            let _ = relay.sender.try_send(Ok(event));
        }
        stream
    }

    /// Runs until the answer has ended, however it ends.
    pub(super) async fn run(mut self) {
        let total_ms = self.origin.live.settings.timeouts.total_ms;
        let limit = Duration::from_millis(total_ms.into());
        let ended = match tokio::time::timeout(limit, self.carry()).await {
            Ok(ended) => ended,
            Err(_) => Err(Trouble::timed_out("its answer did not end", total_ms)),
        };
        match ended {
            Ok(End::Complete) => {}
            Ok(End::Left) => self.drain().await,
            Err(trouble) => self.fail(trouble).await,
        }
    }

    async fn carry(&mut self) -> std::result::Result<End, Trouble> {
        let idle_ms = self.origin.live.settings.timeouts.idle_ms;
        let idle = Duration::from_millis(idle_ms.into());
        let mut events = Vec::new();
        // Waited for once and not anew for each piece; the timer is set anew when it has run out.
        let sender = self.sender.clone();
        let (closed, timer) = (sender.closed(), tokio::time::sleep(idle));
        tokio::pin!(closed, timer);
        loop {
            while let Some(event) = self.begun.events.pop_front() {
                let event = self.dressed(event);
                // Waits while nobody reads: so does the provider, whose bytes stay where they are.
                if self.sender.send(Ok(event)).await.is_err() {
                    return Ok(End::Left);
                }
            }
            if self.begun.has_ended {
                return Ok(End::Complete);
            }
            // What waited for its reader was not silent meanwhile.
            let asked = tokio::time::Instant::now();
            let chunk = loop {
                tokio::select! {
                    biased;
                    () = &mut closed => return Ok(End::Left),
                    chunk = self.begun.response.chunk() => break chunk,
                    () = &mut timer => {
                        let due = asked + idle;
                        if due <= tokio::time::Instant::now() {
                            return Err(Trouble::timed_out("it said nothing more", idle_ms));
                        }
                        timer.as_mut().reset(due);
                    }
                }
            };
            let fed = match chunk.map_err(Trouble::of_network)? {
                Some(bytes) => self.begun.reader.feed(&bytes, &mut events),
                None => {
                    self.begun.has_ended = true;
                    self.begun.reader.end(&mut events)
                }
            };
            // What was read before an error is told before it.
            self.begun.events.extend(events.drain(..));
            if let Err(error) = fed {
                while let Some(event) = self.begun.events.pop_front() {
                    if !matches!(event, Event::Done(_)) {
                        let event = self.dressed(event);
                        let _ = self.sender.send(Ok(event)).await;
                    }
                }
                return Err(Trouble::from(error));
            }
        }
    }

    /// Reads on for a while after the reader has gone, for what the provider bills anyway; by
    /// default the connection is closed at once, which ends the answer there too.
    async fn drain(&mut self) {
        let limit = Duration::from_secs(self.origin.live.settings.drain_s.into());
        if limit.is_zero() || self.begun.has_ended {
            return self.note_used(None);
        }
        let usage = tokio::time::timeout(limit, self.read_to_the_end()).await.ok().flatten();
        self.note_used(usage);
    }

    async fn read_to_the_end(&mut self) -> Option<Usage> {
        let mut events = Vec::new();
        while let Some(bytes) = self.begun.response.chunk().await.ok()? {
            self.begun.reader.feed(&bytes, &mut events).ok()?;
            events.drain(..).for_each(|event| self.tally.note(&event));
        }
        self.begun.reader.end(&mut events).ok()?;
        events.into_iter().find_map(|event| match event {
            Event::Done(usage) => Some(usage),
            _ => None,
        })
    }

    async fn fail(&mut self, trouble: Trouble) {
        let now = Instant::now();
        tracing::warn!(
            channel.id = self.origin.live.id().0,
            channel.name = %self.origin.live.row.row.name,
            model.name = %self.origin.model,
            problem = %trouble.message,
            "an answer broke off"
        );
        self.origin.live.health.note_failure(&self.origin.model, &trouble.message, now);
        self.note_used(None);
        let error = match trouble.kind {
            TroubleKind::TimedOut => told(&self.origin.model, trouble),
            _ => crate::error::Error::Upstream {
                fault: crate::error::Fault::Broken,
                message: "The provider broke its answer off.".to_owned(),
            },
        };
        // Whoever does not read has gone, or will find the stream ended.
        let limit = Duration::from_secs(10);
        let _ = self.sender.send_timeout(Err(error), limit).await;
    }

    /// Counts an event, and tells the times that only we know.
    fn dressed(&mut self, event: Event) -> Event {
        self.tally.note(&event);
        let Event::Done(usage) = event else { return event };
        let usage = self.tally.completed(usage);
        self.note_used(Some(usage));
        Event::Done(usage)
    }

    fn note_used(&self, usage: Option<Usage>) {
        let usage = usage.unwrap_or_else(|| self.tally.completed(Usage::default()));
        let used = Used {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            // What comes whole does not show how fast it was written.
            took: (!self.tally.is_whole).then(|| self.tally.first.elapsed()),
        };
        let (limits, now) = (self.origin.live.limits(), Instant::now());
        self.origin.live.health.note_end(&self.origin.model, used, limits, now);
    }
}

impl Tally {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Started { prompt_tokens } => self.prompt_tokens = *prompt_tokens,
            Event::Text { text, .. } => self.answer_bytes += text.len(),
            Event::Aside { aside: Aside::Reasoning(text), .. }
            | Event::Aside { aside: Aside::CallArguments { text, .. }, .. } => {
                self.answer_bytes += text.len();
            }
            _ => {}
        }
    }

    /// The usage with its times, and with a guess of what the provider does not tell.
    fn completed(&self, usage: Usage) -> Usage {
        let mut usage = usage;
        if usage.prompt_tokens == 0 && usage.completion_tokens == 0 {
            usage.is_estimated = true;
            usage.prompt_tokens = self.prompt_tokens;
            usage.completion_tokens = tokens_of(self.answer_bytes);
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        usage.first_token_ms = millis(self.first.saturating_duration_since(self.since));
        usage.total_ms = millis(self.since.elapsed());
        usage
    }
}

fn tokens_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(LETTERS_PER_TOKEN)).unwrap_or(u32::MAX)
}
