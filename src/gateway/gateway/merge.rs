//! Makes one stream of the streams of a call with several prompts.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::event::{Event, EventStream, Usage};

/// The streams of one call.
pub(super) struct Merge {
    /// `None` where a stream has ended.
    streams: Vec<Option<EventStream>>,
    /// Choices of each request.
    choices: u16,
    /// The stream that is asked first, so that none is starved.
    next: usize,
    usage: Usage,
}

impl Merge {
    pub(super) fn new(streams: Vec<EventStream>, choices: u16) -> Merge {
        Merge {
            streams: streams.into_iter().map(Some).collect(),
            choices,
            next: 0,
            usage: Usage::default(),
        }
    }

    /// Runs until all streams have ended, one has failed, or the client has gone. Whatever
    /// happens, the streams that are left are dropped, which cancels their requests.
    pub(super) async fn run(mut self, outer: mpsc::Sender<Result<Event>>) {
        tokio::select! {
            biased;
            () = outer.closed() => {}
            ended = self.carry(&outer) => {
                drop(self);
                // A client that has gone misses nothing but the end.
                let _ = outer.send(ended.map(Event::Done)).await;
            }
        }
    }

    async fn carry(&mut self, outer: &mpsc::Sender<Result<Event>>) -> Result<Usage> {
        let prompt_tokens = self.start().await?;
        send(outer, Event::Started { prompt_tokens }).await?;
        while self.streams.iter().any(Option::is_some) {
            let (index, event) = poll_fn(|context| self.poll(context)).await;
            let event = event.ok_or_else(broken)??;
            match event {
                Event::Started { .. } | Event::Served { .. } => return Err(broken()),
                // Of several conversations none is the one to go on with.
                Event::Context { .. } => {}
                Event::Text { choice, text, tokens } => {
                    let choice = self.choice(index, choice)?;
                    send(outer, Event::Text { choice, text, tokens }).await?;
                }
                Event::Aside { choice, aside, tokens } => {
                    let choice = self.choice(index, choice)?;
                    send(outer, Event::Aside { choice, aside, tokens }).await?;
                }
                Event::Finished { choice, reason } => {
                    let choice = self.choice(index, choice)?;
                    send(outer, Event::Finished { choice, reason }).await?;
                }
                Event::Done(usage) => {
                    self.add(usage);
                    self.streams[index] = None;
                }
            }
        }
        Ok(self.usage)
    }

    /// Waits until every request has started; the sum of their prompts.
    async fn start(&mut self) -> Result<u32> {
        let mut prompt_tokens: u32 = 0;
        for stream in self.streams.iter_mut().flatten() {
            let mut event = stream.recv().await.ok_or_else(broken)??;
            if matches!(event, Event::Served { .. }) {
                // Each request's own books know its channel.
                event = stream.recv().await.ok_or_else(broken)??;
            }
            match event {
                Event::Started { prompt_tokens: more } => {
                    prompt_tokens = prompt_tokens.saturating_add(more);
                }
                _ => return Err(broken()),
            }
        }
        Ok(prompt_tokens)
    }

    /// The next event of any stream and which stream it is from.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<(usize, Option<Result<Event>>)> {
        let count = self.streams.len();
        for offset in 0..count {
            let index = (self.next + offset) % count;
            if let Some(stream) = &mut self.streams[index]
                && let Poll::Ready(event) = stream.poll_recv(context)
            {
                self.next = index + 1;
                return Poll::Ready((index, event));
            }
        }
        Poll::Pending
    }

    fn choice(&self, index: usize, choice: u16) -> Result<u16> {
        let first = index * usize::from(self.choices);
        u16::try_from(first + usize::from(choice)).map_err(|_| broken())
    }

    fn add(&mut self, usage: Usage) {
        let sum = &mut self.usage;
        sum.prompt_tokens = sum.prompt_tokens.saturating_add(usage.prompt_tokens);
        sum.reasoning_tokens = sum.reasoning_tokens.saturating_add(usage.reasoning_tokens);
        sum.completion_tokens = sum.completion_tokens.saturating_add(usage.completion_tokens);
        sum.cached_tokens = sum.cached_tokens.saturating_add(usage.cached_tokens);
        sum.cache_write_tokens = sum.cache_write_tokens.saturating_add(usage.cache_write_tokens);
        sum.queue_ms = sum.queue_ms.max(usage.queue_ms);
        sum.first_token_ms = sum.first_token_ms.max(usage.first_token_ms);
        sum.total_ms = sum.total_ms.max(usage.total_ms);
        sum.dropped_tokens = sum.dropped_tokens.saturating_add(usage.dropped_tokens);
        sum.is_estimated |= usage.is_estimated;
        sum.load_ns = sum.load_ns.max(usage.load_ns);
        sum.prompt_ns = sum.prompt_ns.max(usage.prompt_ns);
        sum.answer_ns = sum.answer_ns.max(usage.answer_ns);
    }
}

async fn send(outer: &mpsc::Sender<Result<Event>>, event: Event) -> Result<()> {
    // The error reaches nobody: it only ends the loop.
    outer.send(Ok(event)).await.map_err(|_| broken())
}

fn broken() -> Error {
    Error::Internal("a stream of a merged call is out of order".to_owned())
}
