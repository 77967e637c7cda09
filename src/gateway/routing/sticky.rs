//! Remembers who answered a conversation last, so that the next turn finds its prompt cached.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hearth_store::{ChannelId, UserId};

use crate::request::{GenerateRequest, Input, Role};

/// Most conversations that are remembered.
const MAX_CONVERSATIONS: usize = 20_000;

/// Who answered which conversation.
pub(super) struct Sticky {
    hasher: RandomState,
    time: Duration,
    /// `None` is this machine.
    known: Mutex<HashMap<u64, (Option<ChannelId>, Instant)>>,
}

/// A conversation, by how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conversation {
    hash: u64,
    /// Whether anybody has answered in it.
    is_going_on: bool,
}

impl Sticky {
    pub(super) fn new(time: Duration) -> Sticky {
        Sticky { hasher: RandomState::new(), time, known: Mutex::default() }
    }

    /// The conversation that a request goes on with: the same user, model, system messages and
    /// first question. Texts have none.
    pub(super) fn conversation(
        &self,
        user: Option<UserId>,
        request: &GenerateRequest,
    ) -> Option<Conversation> {
        let Input::Chat(messages) = &request.input else { return None };
        if self.time.is_zero() {
            return None;
        }
        let first = messages.iter().position(|message| message.role == Role::User)?;
        let beginning: Vec<String> =
            messages[..=first].iter().map(|message| message.joined_text()).collect();
        let mut state = self.hasher.build_hasher();
        (user.map(|user| user.0), &request.model, beginning).hash(&mut state);
        let is_going_on = messages.iter().any(|message| message.role == Role::Assistant);
        Some(Conversation { hash: std::hash::Hasher::finish(&state), is_going_on })
    }

    /// Who answered last; `Some(None)` is this machine. Nobody for a first turn: many
    /// conversations begin alike, and shall not all go to one channel.
    pub(super) fn last(
        &self,
        conversation: Conversation,
        now: Instant,
    ) -> Option<Option<ChannelId>> {
        if !conversation.is_going_on {
            return None;
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (who, until) = known.get(&conversation.hash)?;
        (*until > now).then_some(*who)
    }

    pub(super) fn note(&self, conversation: Conversation, who: Option<ChannelId>, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_CONVERSATIONS && !known.contains_key(&conversation.hash) {
            known.retain(|_, (_, until)| *until > now);
            if known.len() >= MAX_CONVERSATIONS {
                known.clear();
            }
        }
        known.insert(conversation.hash, (who, now + self.time));
    }
}
