//! Google's dialect: `/v1beta/…`. The wire format itself is the gateway's.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hearth_gateway::backend::ServedModel;
use hearth_gateway::caller::Caller;
use hearth_gateway::dialect::gemini::{self, Action, Call, Heading, Printer};
use hearth_gateway::event::Event;
use hearth_gateway::request::RequestId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::{JsonBytes, parse, tell_ignored};
use crate::error::{Dialect, Failure, Result};
use crate::guard::Signed;
use crate::running::{Print, Running, ignored};
use crate::sse::{self, Frame};
use crate::state::AppState;
use crate::{ndjson, openai};

/// How a stream is framed.
#[derive(Deserialize)]
pub(crate) struct Asked {
    alt: Option<String>,
}

pub(crate) async fn models(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> axum::Json<Value> {
    let models: Vec<Value> = state.gateway().models(&caller).iter().map(show).collect();
    axum::Json(json!({ "models": models }))
}

pub(crate) async fn model(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>> {
    Ok(axum::Json(show(&state.gateway().model(&caller, &id)?)))
}

/// All that a model can be asked for: the word behind its name says what.
pub(crate) async fn ask(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    (Path(path), Query(asked)): (Path<String>, Query<Asked>),
    JsonBytes(body): JsonBytes,
) -> Result<Response> {
    let Some((model, action)) = Action::of_path(&path) else {
        return Err(Failure::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "A model is asked with generateContent, streamGenerateContent, countTokens, \
             embedContent or batchEmbedContents behind its name and a colon.",
        ));
    };
    let name = model.to_owned();
    match action {
        Action::Generate | Action::Stream => {
            let parse_body =
                move |body: &[u8], id: RequestId| gemini::parse_generate(&name, body, id);
            let call = parse(&state, body, id, parse_body).await?;
            let framing = match (action, asked.alt.as_deref()) {
                (Action::Stream, Some("sse")) => Framing::Sse,
                (Action::Stream, _) => Framing::List,
                _ => Framing::Whole,
            };
            generate(state, &caller, call, framing).await
        }
        Action::Count => {
            let parse_body = move |body: &[u8], id: RequestId| gemini::parse_count(&name, body, id);
            let call = parse(&state, body, id, parse_body).await?;
            let tokens = state.gateway().count_tokens(&caller, call.request).await?;
            Ok(axum::Json(json!({ "totalTokens": tokens })).into_response())
        }
        Action::Embed | Action::EmbedBatch => {
            let parse_body = move |body: &[u8], id: RequestId| match action {
                Action::Embed => gemini::parse_embed(&name, body, id),
                _ => gemini::parse_embed_batch(&name, body, id),
            };
            let call = parse(&state, body, id, parse_body).await?;
            let embedded = openai::embed(&state, &caller, call.request.clone()).await?;
            let mut response = axum::Json(call.print(&embedded)).into_response();
            tell_ignored(response.headers_mut(), &call.ignored);
            Ok(response)
        }
    }
}

enum Framing {
    Whole,
    Sse,
    /// One JSON list.
    List,
}

async fn generate(
    state: AppState,
    caller: &Caller,
    call: Call,
    framing: Framing,
) -> Result<Response> {
    let Call { request, shows_thoughts, ignored: locally } = call;
    let printer = Printer::new(Heading {
        id: request.id.0.clone(),
        model: request.model.clone(),
        shows_thoughts,
        has_logprobs: request.logprobs.is_some(),
    });
    let request = request.streamed(!matches!(framing, Framing::Whole));
    let (running, first) = Running::begin(state, caller, request).await?;
    let told = ignored(&first, locally);
    let mut response = match framing {
        Framing::Whole => axum::Json(printer.answer(running.all(first).await?)).into_response(),
        Framing::Sse => sse::answer(running.stream(first, Frames(printer))),
        Framing::List => {
            let list = List { printer, has_begun: false };
            let mut response = ndjson::answer(running.stream(first, list));
            let kind = HeaderValue::from_static("application/json; charset=UTF-8");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
    };
    tell_ignored(response.headers_mut(), &told);
    Ok(response)
}

fn show(model: &ServedModel) -> Value {
    json!({
        "name": format!("models/{}", model.name), "baseModelId": model.name, "version": "1",
        "displayName": model.name,
        "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
    })
}

/// Pieces, each an event; the end of the connection is the end.
struct Frames(Printer);

impl Print for Frames {
    type Piece = Frame;

    fn print(&mut self, event: Event) -> Vec<Frame> {
        self.0.pieces(event).into_iter().map(|piece| Frame::data(piece.to_string())).collect()
    }

    fn fail(&mut self, failure: &Failure, id: &RequestId) -> Vec<Frame> {
        vec![Frame::data(failure.body(Dialect::Gemini, &id.0).to_string())]
    }
}

/// Pieces as the entries of one list.
struct List {
    printer: Printer,
    has_begun: bool,
}

impl List {
    fn entry(&mut self, piece: &Value) -> String {
        let before = if std::mem::replace(&mut self.has_begun, true) { ",\n" } else { "[" };
        format!("{before}{piece}")
    }
}

impl Print for List {
    type Piece = String;

    fn print(&mut self, event: Event) -> Vec<String> {
        let is_last = matches!(event, Event::Done(_));
        let pieces = self.printer.pieces(event);
        let mut entries: Vec<String> = pieces.iter().map(|piece| self.entry(piece)).collect();
        if is_last {
            entries.push("]\n".to_owned());
        }
        entries
    }

    fn fail(&mut self, failure: &Failure, id: &RequestId) -> Vec<String> {
        let error = self.entry(&failure.body(Dialect::Gemini, &id.0));
        vec![error, "]\n".to_owned()]
    }
}
