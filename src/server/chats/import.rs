//! Chats that come from elsewhere, in one neutral form that the web app makes of other programs'
//! exports. Ids are given anew: those of a file could be anybody's.

use std::collections::HashMap;

use axum::extract::State;
use hearth_store::{
    ChatId, FolderId, ImportedChat, MessageId, MessageRole, MessageStatus, NewChat, NewMessage,
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::folders::MAX_NAME_CHARS;
use super::{MAX_MODEL_BYTES, MAX_TITLE_CHARS, new_id};
use crate::body::Json;
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

/// Most chats of one request.
const MAX_CHATS: usize = 200;

/// Chats to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Import {
    chats: Vec<ForeignChat>,
}

/// A chat from elsewhere.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForeignChat {
    title: String,
    model: Option<String>,
    folder: Option<String>,
    #[serde(default)]
    pinned: bool,
    #[serde(default)]
    archived: bool,
    created_at: i64,
    updated_at: i64,
    /// The end of the branch that is shown.
    current: Option<String>,
    /// Parents before their children.
    messages: Vec<ForeignMessage>,
}

/// A message from elsewhere.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForeignMessage {
    id: String,
    parent_id: Option<String>,
    #[schema(value_type = String)]
    role: MessageRole,
    content: String,
    reasoning: Option<String>,
    model: Option<String>,
    created_at: i64,
}

/// Adds each chat by itself; tells which ones were refused, and why.
pub(crate) async fn import(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<Import>,
) -> Result<axum::Json<Value>> {
    let owner = caller.owner()?;
    if body.chats.len() > MAX_CHATS {
        return Err(Failure::invalid(format!("Send at most {MAX_CHATS} chats at a time.")));
    }
    let (mut imported, mut refused) = (0, Vec::new());
    for foreign in body.chats {
        let title: String = foreign.title.chars().take(MAX_TITLE_CHARS).collect();
        let outcome = match adopt(foreign) {
            Ok(chat) => state.store().messages().import(owner, chat).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(_) => imported += 1,
            Err(failure) if failure.status.is_server_error() => return Err(failure),
            Err(failure) => refused.push(json!({ "title": title, "message": failure.message })),
        }
    }
    Ok(axum::Json(json!({ "imported": imported, "refused": refused })))
}

/// The chat with ids of its own.
fn adopt(foreign: ForeignChat) -> Result<ImportedChat> {
    let mut ids: HashMap<String, MessageId> = HashMap::new();
    let mut messages = Vec::with_capacity(foreign.messages.len());
    for message in foreign.messages {
        let parent_id = match &message.parent_id {
            Some(parent) => {
                let known = ids.get(parent).cloned();
                Some(known.ok_or_else(|| {
                    Failure::invalid("A message names a parent that does not stand before it.")
                })?)
            }
            None => None,
        };
        let id = MessageId(new_id());
        if ids.insert(message.id, id.clone()).is_some() {
            return Err(Failure::invalid("Two messages have the same id."));
        }
        messages.push(NewMessage {
            id,
            parent_id,
            role: message.role,
            content: message.content,
            reasoning: message.reasoning,
            files: Vec::new(),
            model: message.model.filter(|model| is_name(model)),
            status: MessageStatus::Complete,
            created_at: message.created_at,
        });
    }
    let current = foreign.current.and_then(|current| ids.get(&current).cloned());
    let folder = foreign.folder.map(|name| name.trim().chars().take(MAX_NAME_CHARS).collect());
    Ok(ImportedChat {
        chat: NewChat {
            id: ChatId(new_id()),
            title: foreign.title.trim().chars().take(MAX_TITLE_CHARS).collect(),
            model: foreign.model.filter(|model| is_name(model)),
            created_at: foreign.created_at,
        },
        current: current.or_else(|| messages.last().map(|message| message.id.clone())),
        messages,
        folder: folder
            .filter(|name: &String| !name.is_empty())
            .map(|name| (FolderId(new_id()), name)),
        is_pinned: foreign.pinned,
        is_archived: foreign.archived,
        updated_at: foreign.updated_at,
    })
}

fn is_name(model: &str) -> bool {
    (1..=MAX_MODEL_BYTES).contains(&model.len())
}
