//! The answer of a turn: a task that owns it from its first row to its last, whoever reads along.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_gateway::Error as GatewayError;
use hearth_gateway::accounts::Watch;
use hearth_gateway::caller::Caller;
use hearth_gateway::event::{Aside, Event, EventStream, FinishReason};
use hearth_gateway::request::RequestId;
use hearth_store::{
    Chat, Message, MessageCall, MessageEnd, MessageError, MessageStatus, MessageUsage, NewMessage,
    TurnStart, UserId,
};
use serde_json::json;
use tokio::sync::oneshot;

use super::live::{LiveAnswer, TurnPermit};
use crate::error::{Failure, Result};
use crate::sse::Frame;
use crate::state::AppState;

/// How often what was said so far is made safe from a crash.
const KEPT_EVERY: Duration = Duration::from_secs(2);
/// Most calls of one answer.
const MAX_CALLS: usize = 128;

/// An answer that is about to be written.
pub(super) struct Answer {
    pub(super) state: AppState,
    pub(super) owner: UserId,
    /// Who asks: the answer ends when the credential is taken away.
    pub(super) caller: Caller,
    pub(super) request_id: RequestId,
    /// By its full name.
    pub(super) model: String,
    /// Held until the last row is written.
    pub(super) permit: TurnPermit,
    /// The answer as it is stored, if it goes on.
    pub(super) continued: Option<Message>,
}

/// How an answer ended.
#[derive(Default)]
struct End {
    finish_reason: Option<&'static str>,
    usage: Option<MessageUsage>,
    failure: Option<Failure>,
    reasoning_ms: Option<u64>,
}

impl Answer {
    /// Stores the beginning and goes on in a task of its own; returns when the rows stand.
    ///
    /// The client may go away at any await of its handler, so even the first write is the task's.
    pub(super) async fn begin(
        mut self,
        start: TurnStart,
        first: Event,
        events: EventStream,
    ) -> Result<Arc<LiveAnswer>> {
        let (begun, outcome) = oneshot::channel();
        let tasks = self.state.tasks().clone();
        let watch = self.state.accounts().watch(&self.caller);
        tasks.spawn(async move {
            match self.store_beginning(start).await {
                Ok(live) => {
                    let live = Arc::new(live);
                    self.permit.announce(&live);
                    let _ = begun.send(Ok(Arc::clone(&live)));
                    let end = self.listen(first, events, &live, watch).await;
                    self.store_end(&live, end).await;
                }
                Err(failure) => drop(begun.send(Err(failure))),
            }
        });
        let lost = |_| Err(Failure::internal("a turn's task ended before it began"));
        outcome.await.unwrap_or_else(lost)
    }

    async fn store_beginning(&self, start: TurnStart) -> Result<LiveAnswer> {
        let question = start.question.clone().map(as_stored);
        let answer = match &self.continued {
            Some(message) => message.clone(),
            None => as_stored(start.answer.clone()),
        };
        let chat: Chat = self.state.store().messages().start_turn(self.owner, start).await?;
        Ok(LiveAnswer::new(chat, question, answer))
    }

    /// Takes events until the last one, or until somebody stops the answer: then the events are
    /// dropped, which cancels the sequence.
    async fn listen(
        &self,
        first: Event,
        mut events: EventStream,
        live: &LiveAnswer,
        mut watch: Watch,
    ) -> End {
        let mut end = End::default();
        let mut event: Option<std::result::Result<Event, GatewayError>> = Some(Ok(first));
        let (began, mut kept, mut kept_bytes) = (Instant::now(), Instant::now(), 0);
        loop {
            match event {
                Some(Ok(event)) => {
                    let says = matches!(&event, Event::Text { text, .. } if !text.is_empty());
                    let thought = live.hear(|heard| !heard.reasoning.is_empty());
                    if says && thought && end.reasoning_ms.is_none() {
                        end.reasoning_ms = Some(began.elapsed().as_millis() as u64);
                    }
                    self.take(event, live, &mut end);
                    if end.usage.is_some() {
                        return end;
                    }
                }
                Some(Err(error)) => {
                    end.failure = Some(error.into());
                    return end;
                }
                None => {
                    let cut = GatewayError::Internal("the events ended without `Done`".to_owned());
                    end.failure = Some(cut.into());
                    return end;
                }
            }
            if kept.elapsed() >= KEPT_EVERY {
                kept_bytes = self.keep(live, kept_bytes).await;
                kept = Instant::now();
            }
            event = tokio::select! {
                event = events.recv() => event,
                () = live.stopped() => return end,
                () = watch.revoked() => Some(Err(GatewayError::NotSignedIn)),
            };
        }
    }

    /// Makes what was said safe, if there is more of it; a failure shows at the end.
    async fn keep(&self, live: &LiveAnswer, kept_bytes: usize) -> usize {
        let heard = live.heard();
        let bytes = heard.content.len() + heard.reasoning.len();
        if bytes > kept_bytes {
            let reasoning = Some(heard.reasoning).filter(|text| !text.is_empty());
            let (chat, id) = (live.chat_id(), live.message_id());
            let messages = self.state.store().messages();
            if messages.keep(self.owner, chat, id, (heard.content, reasoning)).await.is_err() {
                tracing::warn!(request.id = %self.request_id.0, "an answer was not kept so far");
            }
        }
        bytes
    }

    fn take(&self, event: Event, live: &LiveAnswer, end: &mut End) {
        match event {
            Event::Context { .. } => {}
            Event::Served { channel, .. } => live.hear(|heard| heard.channel_id = Some(channel)),
            Event::Started { prompt_tokens } => {
                live.hear(|heard| heard.prompt_tokens = prompt_tokens);
            }
            Event::Text { text, .. } if text.is_empty() => {}
            Event::Text { text, .. } => live.hear(|heard| {
                heard.pieces += 1;
                heard.content.push_str(&text);
            }),
            Event::Aside { aside, .. } => live.hear(|heard| match aside {
                Aside::Reasoning(text) => {
                    heard.pieces += 1;
                    heard.reasoning.push_str(&text);
                }
                // Declining is an answer too.
                Aside::Refusal(text) => heard.content.push_str(&text),
                Aside::CallStart { id, name, .. } if heard.calls.len() < MAX_CALLS => {
                    heard.calls.push(MessageCall { id, name, arguments: String::new() });
                }
                // What only its maker's own clients understand is not kept in chats.
                Aside::CallStart { .. }
                | Aside::Seal(_)
                | Aside::Citation(_)
                | Aside::Break
                | Aside::Foreign(_) => {}
                Aside::CallArguments { index, text } => {
                    if let Some(call) = heard.calls.get_mut(index as usize) {
                        call.arguments.push_str(&text);
                    }
                }
            }),
            Event::Finished { reason, .. } => {
                end.finish_reason = Some(match reason {
                    FinishReason::Length => "length",
                    _ => "stop",
                });
            }
            Event::Done(usage) => {
                self.state.metrics().count_generation(&self.model, &usage);
                end.usage = Some(MessageUsage {
                    prompt_tokens: usage.prompt_tokens,
                    completion_tokens: usage.completion_tokens,
                    cached_tokens: usage.cached_tokens,
                    // The store finds it in the books.
                    cost: None,
                    queue_ms: usage.queue_ms,
                    first_token_ms: usage.first_token_ms,
                    total_ms: usage.total_ms,
                });
            }
        }
    }

    async fn store_end(self, live: &LiveAnswer, end: End) {
        let heard = live.heard();
        let status = match (&end.failure, end.usage) {
            (Some(_), _) => MessageStatus::Failed,
            (None, Some(_)) => MessageStatus::Complete,
            (None, None) => MessageStatus::Stopped,
        };
        let error = end.failure.as_ref().map(|failure| {
            tracing::warn!(
                request.id = %self.request_id.0, error.code = failure.code,
                detail = failure.detail.as_deref(), "an answer failed"
            );
            MessageError { code: failure.code.to_owned(), message: failure.message.clone() }
        });
        let earlier_ms = self.continued.as_ref().and_then(|message| message.reasoning_ms);
        let end = MessageEnd {
            id: live.message_id().clone(),
            request_id: self.request_id.0.clone(),
            content: heard.content,
            reasoning: Some(heard.reasoning).filter(|text| !text.is_empty()),
            reasoning_ms: earlier_ms.or(end.reasoning_ms),
            calls: heard.calls,
            channel_id: heard.channel_id,
            status,
            finish_reason: end.finish_reason.map(str::to_owned),
            usage: end.usage,
            error: error.clone(),
            ended_at: self.state.now(),
        };
        let stored = self.state.store().messages().finish(self.owner, live.chat_id(), end).await;
        // The chat is free before its readers hear of the end and ask again.
        drop(self.permit);
        live.end(match stored {
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
        });
    }
}

/// The message as the store will show it.
fn as_stored(new: NewMessage) -> Message {
    Message {
        id: new.id,
        parent_id: new.parent_id,
        role: new.role,
        content: new.content,
        reasoning: new.reasoning,
        reasoning_ms: None,
        calls: Vec::new(),
        files: new.files,
        channel_id: None,
        model: new.model,
        status: new.status,
        finish_reason: None,
        usage: None,
        error: None,
        versions: Vec::new(),
        created_at: new.created_at,
    }
}
