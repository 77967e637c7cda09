//! A turn: a question is stored, answered and the answer is stored, however the client behaves.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use hearth_gateway::caller::Caller;
use hearth_gateway::request::{
    AnswerRules, GenerateRequest, Input, Message as PromptMessage, Priority, RequestId, Role,
    Sampling, Window,
};
use hearth_store::{
    Chat, ChatId, MessageFile, MessageId, MessageRole, MessageStatus, NewMessage, TurnStart, UserId,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::history::{self, Place};
use super::live;
use super::parameters::{Parameters, Settings};
use super::{new_id, title};
use crate::body::{Json, present};
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::models::default_model;
use crate::sse;
use crate::state::AppState;

/// Most files of one question.
const MAX_FILES: usize = 20;
/// Longest name of a file, in bytes.
const MAX_FILE_NAME_BYTES: usize = 255;

/// A question, or an answer to be given again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    model: Option<String>,
    content: Option<String>,
    /// The message that the question follows; null begins a new branch.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    parent_id: Option<Option<String>>,
    /// The answer to be given again.
    regenerate: Option<String>,
    /// The question to be answered once more, beside answers that run.
    answer: Option<String>,
    /// The answer to go on with.
    #[serde(rename = "continue")]
    onward: Option<String>,
    /// Texts that the model reads with the question.
    #[serde(default)]
    files: Vec<TurnFile>,
    /// A question of this chat whose files go with this one too.
    files_of: Option<String>,
    #[serde(default)]
    sampling: Parameters,
}

/// A file that was read as text.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TurnFile {
    name: String,
    text: String,
}

pub(crate) async fn turn(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(request_id): Extension<RequestId>,
    Path(id): Path<String>,
    Json(mut body): Json<Turn>,
) -> Result<Response> {
    let owner = caller.owner()?;
    body.sampling.check()?;
    let chat = state.store().chats().get(owner, &ChatId(id)).await?;
    let permit = state.live().begin(&chat.id, body.answer.is_some()).ok_or_else(|| {
        Failure::new(
            StatusCode::CONFLICT,
            "turn_running",
            "An answer is still running in this chat; wait for it or stop it.",
        )
    })?;
    let Place { parent, mut prompt, continued } = place(&state, owner, &chat, &body).await?;
    let files = files(&state, owner, &chat, &mut body).await?;
    if let Some(content) = &body.content {
        let text = history::with_files(content, &files);
        prompt.push(PromptMessage::text(Role::User, text));
    }
    let settings: Settings = serde_json::from_value(chat.settings.clone()).unwrap_or_default();
    if !settings.system.trim().is_empty() {
        prompt.insert(0, PromptMessage::text(Role::System, settings.system));
    }
    let model = model(&state, &caller, &chat, body.model.as_deref()).await?;
    let mut request = generate_request(&request_id, &model, prompt);
    body.sampling.over(settings.parameters).apply(&mut request);
    let mut events = state.gateway().generate(&caller, request).await?;
    // An error now is an ordinary answer, and nothing has been stored.
    let first = events.recv().await;
    let first = first.ok_or_else(|| Failure::internal("the events ended at once"))??;
    let question = body.content.map(|content| (content, files));
    let mut start = start(&state, &chat, parent, question, &model);
    start.is_beside = body.answer.is_some();
    if let Some(message) = &continued {
        start.answer.id = message.id.clone();
        start.continues = true;
    }
    let answer =
        Answer { state: state.clone(), owner, caller, request_id, model, permit, continued };
    let live = answer.begin(start, first, events).await?;
    Ok(sse::answer(live::follow(state, live)))
}

/// Reads along with an answer that is being written.
pub(crate) async fn follow(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path((id, message)): Path<(String, String)>,
) -> Result<Response> {
    let chat = state.store().chats().get(caller.owner()?, &ChatId(id)).await?;
    let answers = state.live().of(&chat.id);
    let live = answers.into_iter().find(|answer| answer.message_id().0 == message);
    let live = live.ok_or(hearth_gateway::Error::NotFound)?;
    Ok(sse::answer(live::follow(state, live)))
}

/// Ends the answers of a chat that are being written; what was said stays.
pub(crate) async fn stop(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let chat = state.store().chats().get(caller.owner()?, &ChatId(id)).await?;
    for answer in state.live().of(&chat.id) {
        answer.stop();
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn place(state: &AppState, owner: UserId, chat: &Chat, body: &Turn) -> Result<Place> {
    let (store, id) = (state.store(), &chat.id);
    let places = [&body.content, &body.regenerate, &body.answer, &body.onward];
    let is_one = places.iter().filter(|place| place.is_some()).count() == 1;
    if !is_one || (body.parent_id.is_some() && body.content.is_none()) {
        return Err(Failure::invalid(
            "Send 'content' with or without 'parent_id', or 'regenerate', 'answer' or 'continue' \
             alone.",
        ));
    }
    if let Some(answer) = &body.regenerate {
        return history::beside(store, owner, id, &MessageId(answer.clone())).await;
    }
    if let Some(question) = &body.answer {
        return history::answering(store, owner, id, MessageId(question.clone())).await;
    }
    if let Some(answer) = &body.onward {
        return history::onward(store, owner, id, &MessageId(answer.clone())).await;
    }
    let is_empty = body.content.as_deref().is_none_or(|content| content.trim().is_empty());
    if is_empty && body.files.is_empty() && body.files_of.is_none() {
        return Err(Failure::invalid("'content' is empty; write something."));
    }
    let parent = match &body.parent_id {
        Some(parent) => parent.clone().map(MessageId),
        None => chat.current_message_id.clone(),
    };
    history::after(store, owner, id, parent).await
}

/// The files of the question: those sent with it, and those of an earlier version of it.
async fn files(
    state: &AppState,
    owner: UserId,
    chat: &Chat,
    body: &mut Turn,
) -> Result<Vec<MessageFile>> {
    let mut files: Vec<MessageFile> = Vec::new();
    if let Some(earlier) = body.files_of.take() {
        files = state.store().messages().get(owner, &chat.id, &MessageId(earlier)).await?.files;
    }
    for TurnFile { name, text } in body.files.drain(..) {
        if !(1..=MAX_FILE_NAME_BYTES).contains(&name.len()) {
            return Err(Failure::invalid("A file's 'name' must have 1 to 255 bytes."));
        }
        files.push(MessageFile { name, bytes: text.len() as u64, text });
    }
    if files.len() > MAX_FILES {
        return Err(Failure::invalid(format!("A question takes at most {MAX_FILES} files.")));
    }
    Ok(files)
}

/// The model by its full name: the one asked for, the chat's or the user's.
async fn model(
    state: &AppState,
    caller: &Caller,
    chat: &Chat,
    wanted: Option<&str>,
) -> Result<String> {
    let name = match wanted.map(str::to_owned).or_else(|| chat.model.clone()) {
        Some(name) => Some(name),
        None => default_model(state, caller).await?,
    };
    let name = name.ok_or_else(|| {
        Failure::invalid("This server has no model yet; import one with hearth models import.")
    })?;
    Ok(state.gateway().model(caller, &name)?.name)
}

fn generate_request(id: &RequestId, model: &str, prompt: Vec<PromptMessage>) -> GenerateRequest {
    GenerateRequest {
        id: id.clone(),
        model: model.to_owned(),
        input: Input::Chat(prompt),
        priority: Priority::Interactive,
        sampling: Sampling::default(),
        max_tokens: None,
        stop: Vec::new(),
        choices: 1,
        logprobs: None,
        echo: false,
        rules: AnswerRules::default(),
        window: Window::default(),
        fallback: Sampling::default(),
        extras: None,
    }
}

/// The rows that begin the turn. The answer counts as stopped until it ends: so it reads rightly
/// if the process ends before it does.
fn start(
    state: &AppState,
    chat: &Chat,
    parent: Option<MessageId>,
    question: Option<(String, Vec<MessageFile>)>,
    model: &str,
) -> TurnStart {
    let created_at = state.now();
    let title_if_empty = question.as_ref().map(|(content, files)| {
        let title = title::from_message(content);
        let file = files.first().map(|file| file.name.clone());
        if title.is_empty() { file.unwrap_or_default() } else { title }
    });
    let new = |parent_id, role, content, status| NewMessage {
        id: MessageId(new_id()),
        parent_id,
        role,
        content,
        reasoning: None,
        files: Vec::new(),
        model: None,
        status,
        created_at,
    };
    let question = question.map(|(content, files)| NewMessage {
        files,
        ..new(parent.clone(), MessageRole::User, content, MessageStatus::Complete)
    });
    let asked = question.as_ref().map(|question| question.id.clone()).or(parent);
    let answer = NewMessage {
        model: Some(model.to_owned()),
        ..new(asked, MessageRole::Assistant, String::new(), MessageStatus::Stopped)
    };
    TurnStart {
        chat_id: chat.id.clone(),
        question,
        answer,
        continues: false,
        is_beside: false,
        title_if_empty,
    }
}
