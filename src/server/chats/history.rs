//! From the branch of a chat to the prompt of its next answer.

use hearth_gateway::request::{Message as PromptMessage, Role};
use hearth_store::{ChatId, Message, MessageId, MessageRole, Store, UserId};

use crate::error::{Failure, Result};

/// Where a new answer goes, and what the model is told before it.
pub(super) struct Place {
    /// The message that is answered, if it is stored already; else what the question follows.
    pub(super) parent: Option<MessageId>,
    /// The conversation so far, the oldest first.
    pub(super) prompt: Vec<PromptMessage>,
}

/// After this message, or at a new root.
pub(super) async fn after(
    store: &Store,
    owner: UserId,
    chat: &ChatId,
    parent: Option<MessageId>,
) -> Result<Place> {
    let branch = match &parent {
        Some(leaf) => store.messages().branch(owner, chat, leaf).await?,
        None => Vec::new(),
    };
    Ok(Place { parent, prompt: prompt_of(&branch) })
}

/// Beside this answer: after the same question.
pub(super) async fn beside(
    store: &Store,
    owner: UserId,
    chat: &ChatId,
    answer: &MessageId,
) -> Result<Place> {
    let mut branch = store.messages().branch(owner, chat, answer).await?;
    let last = branch.pop().filter(|last| last.role == MessageRole::Assistant);
    let Some(last) = last else {
        return Err(Failure::invalid("'regenerate' must name an answer of this chat."));
    };
    Ok(Place { parent: last.parent_id, prompt: prompt_of(&branch) })
}

fn prompt_of(branch: &[Message]) -> Vec<PromptMessage> {
    branch
        .iter()
        // An answer that failed before its first word says nothing.
        .filter(|message| message.role != MessageRole::Assistant || !message.content.is_empty())
        .map(|message| {
            let role = match message.role {
                MessageRole::System => Role::System,
                MessageRole::User => Role::User,
                MessageRole::Assistant => Role::Assistant,
            };
            PromptMessage::text(role, message.content.clone())
        })
        .collect()
}
