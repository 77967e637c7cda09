//! The answer of a turn: a task that owns it from its first row to its last, client or not.

use std::time::Duration;

use hearth_gateway::Error as GatewayError;
use hearth_gateway::event::{Event, EventStream, FinishReason};
use hearth_gateway::request::RequestId;
use hearth_store::{
    Chat, ChatId, Message, MessageEnd, MessageError, MessageId, MessageStatus, MessageUsage,
    NewMessage, TurnStart, UserId,
};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Failure, Result};
use crate::sse::Frame;
use crate::state::{AppState, TurnPermit};

/// Frames that may wait for a client that reads slowly; then the generation waits.
const WAITING_FRAMES: usize = 64;
/// How long one frame waits for a client that does not read; then the client counts as gone, or
/// it would hold its chat and its generation for ever.
const READING_LIMIT: Duration = Duration::from_secs(60);

/// An answer that is about to be written.
pub(super) struct Answer {
    pub(super) state: AppState,
    pub(super) owner: UserId,
    pub(super) request_id: RequestId,
    /// By its full name.
    pub(super) model: String,
    /// Held until the last row is written.
    pub(super) permit: TurnPermit,
}

/// What has been said and how it ended.
#[derive(Default)]
struct Said {
    content: String,
    finish_reason: Option<&'static str>,
    usage: Option<MessageUsage>,
    failure: Option<Failure>,
}

impl Answer {
    /// Stores the beginning and goes on in a task of its own; returns when the rows stand.
    ///
    /// The client may go away at any await of its handler, so even the first write is the task's.
    pub(super) async fn begin(
        self,
        start: TurnStart,
        first: Event,
        events: EventStream,
    ) -> Result<mpsc::Receiver<Frame>> {
        let (begun, outcome) = oneshot::channel();
        let (sender, frames) = mpsc::channel(WAITING_FRAMES);
        let tasks = self.state.tasks().clone();
        tasks.spawn(async move {
            let (chat, answer) = (start.chat_id.clone(), start.answer.id.clone());
            match self.store_beginning(start).await {
                Ok(started) => {
                    // The channel is new and empty: it takes one frame.
                    let _ = sender.try_send(started);
                    let _ = begun.send(Ok(()));
                    let said = self.listen(first, events, &sender).await;
                    self.store_end(&chat, answer, said, &sender).await;
                }
                Err(failure) => drop(begun.send(Err(failure))),
            }
        });
        let lost = |_| Err(Failure::internal("a turn's task ended before it began"));
        outcome.await.unwrap_or_else(lost)?;
        Ok(frames)
    }

    async fn store_beginning(&self, start: TurnStart) -> Result<Frame> {
        let question = start.question.clone().map(as_stored);
        let answer = as_stored(start.answer.clone());
        let chat: Chat = self.state.store().messages().start_turn(self.owner, start).await?;
        Ok(Frame::named(
            "started",
            &json!({ "chat": chat, "user_message": question, "assistant_message": answer }),
        ))
    }

    /// Passes events on until the last one, or until the client is gone: then the events are
    /// dropped, which cancels the sequence.
    async fn listen(
        &self,
        first: Event,
        mut events: EventStream,
        sender: &mpsc::Sender<Frame>,
    ) -> Said {
        let mut said = Said::default();
        let mut event: Option<std::result::Result<Event, GatewayError>> = Some(Ok(first));
        loop {
            match event {
                Some(Ok(event)) => {
                    let delta = self.take(event, &mut said);
                    if said.usage.is_some() {
                        return said;
                    }
                    if let Some(delta) = delta
                        && sender.send_timeout(delta, READING_LIMIT).await.is_err()
                    {
                        return said;
                    }
                }
                Some(Err(error)) => {
                    said.failure = Some(error.into());
                    return said;
                }
                None => {
                    let cut = GatewayError::Internal("the events ended without `Done`".to_owned());
                    said.failure = Some(cut.into());
                    return said;
                }
            }
            event = tokio::select! {
                event = events.recv() => event,
                () = sender.closed() => return said,
            };
        }
    }

    fn take(&self, event: Event, said: &mut Said) -> Option<Frame> {
        match event {
            Event::Served { .. } | Event::Started { .. } | Event::Context { .. } => None,
            Event::Text { text, .. } if text.is_empty() => None,
            Event::Text { text, .. } => {
                said.content.push_str(&text);
                Some(Frame::named("delta", &json!({ "text": text })))
            }
            // A chat offers no tools, and shows what is said, not what is thought.
            Event::Aside { .. } => None,
            Event::Finished { reason, .. } => {
                said.finish_reason = Some(match reason {
                    FinishReason::Length => "length",
                    _ => "stop",
                });
                None
            }
            Event::Done(usage) => {
                self.state.metrics().count_generation(&self.model, &usage);
                said.usage = Some(MessageUsage {
                    prompt_tokens: usage.prompt_tokens,
                    completion_tokens: usage.completion_tokens,
                    first_token_ms: usage.first_token_ms,
                    total_ms: usage.total_ms,
                });
                None
            }
        }
    }

    async fn store_end(
        self,
        chat: &ChatId,
        id: MessageId,
        said: Said,
        sender: &mpsc::Sender<Frame>,
    ) {
        let status = match (&said.failure, said.usage) {
            (Some(_), _) => MessageStatus::Failed,
            (None, Some(_)) => MessageStatus::Complete,
            (None, None) => MessageStatus::Stopped,
        };
        let error = said.failure.as_ref().map(|failure| {
            tracing::warn!(
                request.id = %self.request_id.0, error.code = failure.code,
                detail = failure.detail.as_deref(), "an answer failed"
            );
            MessageError { code: failure.code.to_owned(), message: failure.message.clone() }
        });
        let end = MessageEnd {
            id,
            content: said.content,
            status,
            finish_reason: said.finish_reason.map(str::to_owned),
            usage: said.usage,
            error: error.clone(),
            ended_at: self.state.now(),
        };
        let stored = self.state.store().messages().finish(self.owner, chat, end).await;
        // The chat is free before its client hears of the end and asks again.
        drop(self.permit);
        let last = match stored {
            Ok((message, _)) if error.is_some() => {
                Frame::named("failed", &json!({ "assistant_message": message, "error": error }))
            }
            Ok((message, chat)) => {
                Frame::named("finished", &json!({ "assistant_message": message, "chat": chat }))
            }
            Err(error) => {
                let failure = Failure::from(error);
                tracing::error!(
                    request.id = %self.request_id.0, error.code = failure.code,
                    detail = failure.detail.as_deref(), "an answer could not be stored"
                );
                let error = json!({ "code": failure.code, "message": failure.message });
                Frame::named("failed", &json!({ "assistant_message": null, "error": error }))
            }
        };
        // Whoever is gone or does not read does not hear the end.
        let _ = sender.send_timeout(last, READING_LIMIT).await;
    }
}

/// The message as the store will show it.
fn as_stored(new: NewMessage) -> Message {
    Message {
        id: new.id,
        parent_id: new.parent_id,
        role: new.role,
        content: new.content,
        model: new.model,
        status: new.status,
        finish_reason: None,
        usage: None,
        error: None,
        created_at: new.created_at,
    }
}
