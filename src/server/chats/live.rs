//! Answers that are being written, and those who read along.
//!
//! An answer belongs to the server: it goes on whoever reads it, and whoever comes later is told
//! what was said so far and then the rest. A slow reader holds nobody up, because what it missed is
//! read from the answer itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use hearth_store::{ChannelId, Chat, ChatId, Message, MessageCall, MessageId};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::parameters::MAX_SIDE_BY_SIDE;
use crate::sse::Frame;
use crate::state::AppState;

/// How often readers are told of the queue while nothing is said.
const QUEUE_NEWS: Duration = Duration::from_secs(1);

/// All answers that are being written.
#[derive(Default)]
pub(crate) struct Live {
    chats: Mutex<HashMap<ChatId, Lanes>>,
}

/// The answers of one chat.
#[derive(Default)]
struct Lanes {
    permits: usize,
    answers: Vec<Arc<LiveAnswer>>,
}

impl Live {
    /// The right to write an answer in this chat: one at a time, or a few beside each other.
    pub(crate) fn begin(self: &Arc<Live>, chat: &ChatId, is_beside: bool) -> Option<TurnPermit> {
        let mut chats = self.lock();
        let lanes = chats.entry(chat.clone()).or_default();
        let most = if is_beside { MAX_SIDE_BY_SIDE } else { 1 };
        if lanes.permits >= most {
            return None;
        }
        lanes.permits += 1;
        Some(TurnPermit { live: Arc::clone(self), chat: chat.clone(), answer: None })
    }

    /// The answers of a chat that are being written.
    pub(crate) fn of(&self, chat: &ChatId) -> Vec<Arc<LiveAnswer>> {
        self.lock().get(chat).map(|lanes| lanes.answers.clone()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChatId, Lanes>> {
        self.chats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write one answer; given back on drop.
pub(crate) struct TurnPermit {
    live: Arc<Live>,
    chat: ChatId,
    answer: Option<Arc<LiveAnswer>>,
}

impl TurnPermit {
    /// Lets readers find the answer.
    pub(super) fn announce(&mut self, answer: &Arc<LiveAnswer>) {
        self.answer = Some(Arc::clone(answer));
        let mut chats = self.live.lock();
        chats.entry(self.chat.clone()).or_default().answers.push(Arc::clone(answer));
    }
}

impl Drop for TurnPermit {
    fn drop(&mut self) {
        let mut chats = self.live.lock();
        let Some(lanes) = chats.get_mut(&self.chat) else { return };
        lanes.permits -= 1;
        if let Some(answer) = &self.answer {
            lanes.answers.retain(|other| !Arc::ptr_eq(other, answer));
        }
        if lanes.permits == 0 {
            chats.remove(&self.chat);
        }
    }
}

/// What has been said, thought and called so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) content: String,
    pub(super) reasoning: String,
    pub(super) calls: Vec<MessageCall>,
    pub(super) channel_id: Option<ChannelId>,
    pub(super) prompt_tokens: u32,
    /// Pieces of text and thought; most backends send one for each token.
    pub(super) pieces: u32,
    /// The last frame, once all is over.
    last: Option<Frame>,
}

/// One answer that is being written.
pub(crate) struct LiveAnswer {
    chat: Chat,
    question: Option<Message>,
    answer: Message,
    heard: Mutex<Heard>,
    news: watch::Sender<u64>,
    stop: CancellationToken,
}

impl LiveAnswer {
    /// An answer of which nothing is said beyond what `answer` holds.
    pub(super) fn new(chat: Chat, question: Option<Message>, answer: Message) -> LiveAnswer {
        let heard = Heard {
            content: answer.content.clone(),
            reasoning: answer.reasoning.clone().unwrap_or_default(),
            ..Heard::default()
        };
        LiveAnswer {
            chat,
            question,
            answer,
            heard: Mutex::new(heard),
            news: watch::Sender::new(0),
            stop: CancellationToken::new(),
        }
    }

    pub(super) fn chat_id(&self) -> &ChatId {
        &self.chat.id
    }

    pub(crate) fn message_id(&self) -> &MessageId {
        &self.answer.id
    }

    /// Ends the answer; what was said stays.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Changes what was heard, and wakes the readers.
    pub(super) fn hear<T>(&self, change: impl FnOnce(&mut Heard) -> T) -> T {
        let changed = change(&mut self.lock());
        self.news.send_modify(|count| *count += 1);
        changed
    }

    pub(super) fn heard(&self) -> Heard {
        self.lock().clone()
    }

    /// The end, as readers are told of it.
    pub(super) fn end(&self, last: Frame) {
        self.hear(|heard| heard.last = Some(last));
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer as frames, from what is there already to its end.
pub(super) fn follow(
    state: AppState,
    answer: Arc<LiveAnswer>,
) -> impl Stream<Item = Frame> + Send + 'static {
    let reader = Reader {
        news: answer.news.subscribe(),
        state,
        answer,
        has_begun: false,
        has_ended: false,
        content: 0,
        reasoning: 0,
        calls: 0,
    };
    stream::unfold(reader, |mut reader| async move {
        let frame = reader.next().await?;
        Some((frame, reader))
    })
}

/// One who reads along, and how far.
struct Reader {
    state: AppState,
    answer: Arc<LiveAnswer>,
    news: watch::Receiver<u64>,
    has_begun: bool,
    has_ended: bool,
    /// Bytes told.
    content: usize,
    /// Bytes told.
    reasoning: usize,
    /// Bytes of names and arguments told.
    calls: usize,
}

impl Reader {
    async fn next(&mut self) -> Option<Frame> {
        if self.has_ended {
            return None;
        }
        loop {
            self.news.mark_unchanged();
            if let Some(frame) = self.ready() {
                return Some(frame);
            }
            let is_silent = self.content + self.reasoning + self.calls == 0;
            tokio::select! {
                _ = self.news.changed() => {}
                () = tokio::time::sleep(QUEUE_NEWS), if is_silent => {
                    if let Some(frame) = self.queue() {
                        return Some(frame);
                    }
                }
            }
        }
    }

    /// What is there and not told yet.
    fn ready(&mut self) -> Option<Frame> {
        let heard = self.answer.lock();
        if !self.has_begun {
            self.has_begun = true;
            (self.content, self.reasoning) = (heard.content.len(), heard.reasoning.len());
            let mut answer = self.answer.answer.clone();
            answer.content.clone_from(&heard.content);
            answer.reasoning = Some(heard.reasoning.clone()).filter(|text| !text.is_empty());
            let data = json!({
                "chat": self.answer.chat, "user_message": self.answer.question,
                "assistant_message": answer,
            });
            return Some(Frame::named("started", &data));
        }
        if heard.reasoning.len() > self.reasoning {
            let text = &heard.reasoning[self.reasoning..];
            self.reasoning = heard.reasoning.len();
            return Some(Frame::named(
                "thinking",
                &json!({ "text": text, "pieces": heard.pieces }),
            ));
        }
        let calls = heard.calls.iter().map(|call| call.name.len() + call.arguments.len() + 1).sum();
        if calls > self.calls {
            self.calls = calls;
            return Some(Frame::named("calls", &json!({ "calls": heard.calls })));
        }
        if heard.content.len() > self.content {
            let text = &heard.content[self.content..];
            self.content = heard.content.len();
            return Some(Frame::named("delta", &json!({ "text": text, "pieces": heard.pieces })));
        }
        let last = heard.last.clone()?;
        self.has_ended = true;
        Some(last)
    }

    /// Who else wants the model now, if it runs here.
    fn queue(&self) -> Option<Frame> {
        let model = self.answer.answer.model.as_deref()?;
        let activity = self.state.gateway().activity();
        let now = activity.iter().find(|activity| activity.model == model)?;
        let prompt_tokens = self.answer.lock().prompt_tokens;
        let data: Value = json!({
            "running": now.running, "waiting": now.waiting, "wait_ms": now.queue_wait_ms,
            "prompt_tokens": prompt_tokens,
        });
        Some(Frame::named("queue", &data))
    }
}
