//! From the branch of a chat to the prompt of its next answer.

use hearth_gateway::request::{Message as PromptMessage, Role};
use hearth_store::{ChatId, Message, MessageFile, MessageId, MessageRole, Store, UserId};

use crate::error::{Failure, Result};

/// What a model is told that shall go on with its last answer.
const GO_ON: &str = "Continue your last message exactly where it stopped. Do not repeat any of it.";

/// Where a new answer goes, and what the model is told before it.
pub(super) struct Place {
    /// The message that is answered, if it is stored already; else what the question follows.
    pub(super) parent: Option<MessageId>,
    /// The conversation so far, the oldest first.
    pub(super) prompt: Vec<PromptMessage>,
    /// The answer that goes on.
    pub(super) continued: Option<Message>,
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
    Ok(Place { parent, prompt: prompt_of(&branch), continued: None })
}

/// One more answer to this question.
pub(super) async fn answering(
    store: &Store,
    owner: UserId,
    chat: &ChatId,
    question: MessageId,
) -> Result<Place> {
    let branch = store.messages().branch(owner, chat, &question).await?;
    if branch.last().is_none_or(|last| last.role != MessageRole::User) {
        return Err(Failure::invalid("'answer' must name a question of this chat."));
    }
    Ok(Place { parent: Some(question), prompt: prompt_of(&branch), continued: None })
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
    Ok(Place { parent: last.parent_id, prompt: prompt_of(&branch), continued: None })
}

/// On with this answer.
pub(super) async fn onward(
    store: &Store,
    owner: UserId,
    chat: &ChatId,
    answer: &MessageId,
) -> Result<Place> {
    let branch = store.messages().branch(owner, chat, answer).await?;
    let last = branch.last().filter(|last| last.role == MessageRole::Assistant).cloned();
    let Some(last) = last else {
        return Err(Failure::invalid("'continue' must name an answer of this chat."));
    };
    let mut prompt = prompt_of(&branch);
    prompt.push(PromptMessage::text(Role::User, GO_ON));
    Ok(Place { parent: last.parent_id.clone(), prompt, continued: Some(last) })
}

fn prompt_of(branch: &[Message]) -> Vec<PromptMessage> {
    let mut prompt: Vec<PromptMessage> = Vec::with_capacity(branch.len());
    for message in branch {
        // An answer that failed before its first word says nothing.
        if message.role == MessageRole::Assistant && message.content.is_empty() {
            continue;
        }
        let role = match message.role {
            MessageRole::System => Role::System,
            MessageRole::User => Role::User,
            MessageRole::Assistant => Role::Assistant,
        };
        let text = with_files(&message.content, &message.files);
        match prompt.last_mut().filter(|last| last.role == role) {
            // After a deletion one side may speak twice, which many chat templates refuse.
            Some(last) => {
                *last = PromptMessage::text(role, format!("{}\n\n{text}", last.joined_text()));
            }
            None => prompt.push(PromptMessage::text(role, text)),
        }
    }
    prompt
}

/// A question as the model reads it: the files first, each between marks that name it.
pub(super) fn with_files(content: &str, files: &[MessageFile]) -> String {
    let mut text = String::new();
    for file in files {
        let name = file.name.replace(['"', '<', '>', '\n', '\r'], " ");
        text.push_str(&format!("<file name=\"{name}\">\n{}\n</file>\n\n", file.text.trim_end()));
    }
    text + content
}
