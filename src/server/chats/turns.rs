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
    Chat, ChatId, MessageId, MessageRole, MessageStatus, NewMessage, TurnStart, UserId,
};
use serde::Deserialize;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

use super::answer::Answer;
use super::history::{self, Place};
use super::{new_id, title};
use crate::body::{Json, present};
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::models::default_model;
use crate::sse;
use crate::state::AppState;

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
    #[serde(default)]
    sampling: TurnSampling,
}

/// How the next token is drawn; what is absent is the model's own choice.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TurnSampling {
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<u32>,
    min_p: Option<f32>,
    seed: Option<u64>,
    max_tokens: Option<u32>,
}

impl TurnSampling {
    /// Within the bounds that the gateway's types name.
    fn check(&self) -> Result<()> {
        let within = |name: &str, value: Option<f32>, most: f32| match value {
            Some(value) if !(0.0..=most).contains(&value) => {
                Err(Failure::invalid(format!("'{name}' must be 0 to {most}.")))
            }
            _ => Ok(()),
        };
        within("temperature", self.temperature, 2.0)?;
        within("top_p", self.top_p, 1.0)?;
        within("min_p", self.min_p, 1.0)?;
        if self.top_k.is_some_and(|k| !(1..=1_000_000).contains(&k)) {
            return Err(Failure::invalid("'top_k' must be 1 to 1000000."));
        }
        if self.max_tokens == Some(0) {
            return Err(Failure::invalid("'max_tokens' must be at least 1."));
        }
        Ok(())
    }
}

pub(crate) async fn turn(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(request_id): Extension<RequestId>,
    Path(id): Path<String>,
    Json(body): Json<Turn>,
) -> Result<Response> {
    let owner = caller.owner()?;
    body.sampling.check()?;
    let chat = state.store().chats().get(owner, &ChatId(id)).await?;
    let permit = state.begin_turn(&chat.id).ok_or_else(|| {
        Failure::new(
            StatusCode::CONFLICT,
            "turn_running",
            "An answer is still running in this chat; wait for it or stop it.",
        )
    })?;
    let Place { parent, mut prompt } = place(&state, owner, &chat, &body).await?;
    if let Some(content) = &body.content {
        prompt.push(PromptMessage::text(Role::User, content.clone()));
    }
    let model = model(&state, &caller, &chat, body.model.as_deref()).await?;
    let request = generate_request(&request_id, &model, prompt, &body.sampling);
    let mut events = state.gateway().generate(&caller, request).await?;
    // An error now is an ordinary answer, and nothing has been stored.
    let first = events.recv().await;
    let first = first.ok_or_else(|| Failure::internal("the events ended at once"))??;
    let start = start(&state, &chat, parent, body.content, &model);
    let answer = Answer { state, owner, request_id, model, permit };
    let frames = answer.begin(start, first, events).await?;
    Ok(sse::answer(ReceiverStream::new(frames)))
}

async fn place(state: &AppState, owner: UserId, chat: &Chat, body: &Turn) -> Result<Place> {
    match (&body.content, &body.regenerate) {
        (Some(content), None) => {
            if content.trim().is_empty() {
                return Err(Failure::invalid("'content' is empty; write something."));
            }
            let parent = match &body.parent_id {
                Some(parent) => parent.clone().map(MessageId),
                None => chat.current_message_id.clone(),
            };
            history::after(state.store(), owner, &chat.id, parent).await
        }
        (None, Some(answer)) if body.parent_id.is_none() => {
            history::beside(state.store(), owner, &chat.id, &MessageId(answer.clone())).await
        }
        _ => Err(Failure::invalid(
            "Send 'content' with or without 'parent_id', or 'regenerate' alone.",
        )),
    }
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

fn generate_request(
    id: &RequestId,
    model: &str,
    prompt: Vec<PromptMessage>,
    sampling: &TurnSampling,
) -> GenerateRequest {
    GenerateRequest {
        id: id.clone(),
        model: model.to_owned(),
        input: Input::Chat(prompt),
        priority: Priority::Interactive,
        sampling: Sampling {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            min_p: sampling.min_p,
            seed: sampling.seed,
            ..Sampling::default()
        },
        max_tokens: sampling.max_tokens,
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
    content: Option<String>,
    model: &str,
) -> TurnStart {
    let created_at = state.now();
    let title_if_empty = content.as_deref().map(title::from_message);
    let question = content.map(|content| NewMessage {
        id: MessageId(new_id()),
        parent_id: parent.clone(),
        role: MessageRole::User,
        content,
        model: None,
        status: MessageStatus::Complete,
        created_at,
    });
    let answer = NewMessage {
        id: MessageId(new_id()),
        parent_id: question.as_ref().map(|question| question.id.clone()).or(parent),
        role: MessageRole::Assistant,
        content: String::new(),
        model: Some(model.to_owned()),
        status: MessageStatus::Stopped,
        created_at,
    };
    TurnStart { chat_id: chat.id.clone(), question, answer, title_if_empty }
}
