//! Answers under way, in any dialect: events are printed as they come, what was used is told to the
//! metrics, and whatever happens the dialect's last word is said.

use std::collections::VecDeque;

use futures_util::stream::{self, Stream};
use hearth_gateway::Error as GatewayError;
use hearth_gateway::accounts::Watch;
use hearth_gateway::caller::Caller;
use hearth_gateway::event::{Event, EventStream};
use hearth_gateway::request::{GenerateRequest, RequestId};

use crate::error::Failure;
use crate::state::AppState;

/// How a dialect writes a stream.
pub(crate) trait Print: Send + 'static {
    /// A line or a frame.
    type Piece: Send + 'static;

    /// The pieces that this event adds.
    fn print(&mut self, event: Event) -> Vec<Self::Piece>;

    /// The end of a stream that broke off.
    fn fail(&mut self, failure: &Failure, id: &RequestId) -> Vec<Self::Piece>;
}

/// The fields that changed nothing: what a channel was not told, if one answers; else what models
/// that run here do not know.
pub(crate) fn ignored(first: &Event, locally: Vec<String>) -> Vec<String> {
    match first {
        Event::Served { ignored, .. } => ignored.clone(),
        _ => locally,
    }
}

/// An answer that has begun. Dropping it drops the events, which cancels the generation.
pub(crate) struct Running {
    pub(crate) state: AppState,
    pub(crate) id: RequestId,
    /// By its full name, for the metrics.
    pub(crate) model: String,
    pub(crate) events: EventStream,
    /// Ends the answer when the caller's credential is taken away.
    pub(crate) watch: Watch,
}

impl Running {
    /// Starts a request; returns when its first event is there, so that a refusal has a status.
    pub(crate) async fn begin(
        state: AppState,
        caller: &Caller,
        request: GenerateRequest,
    ) -> std::result::Result<(Running, Event), GatewayError> {
        let model = state.gateway().model(caller, &request.model)?.name;
        let id = request.id.clone();
        let watch = state.accounts().watch(caller);
        let events = state.gateway().generate(caller, request).await?;
        let mut running = Running { state, id, model, events, watch };
        let first = running.next().await?;
        Ok((running, first))
    }

    /// The next event; a stream that ends without `Done` is a fault.
    pub(crate) async fn next(&mut self) -> std::result::Result<Event, GatewayError> {
        let cut = || Err(GatewayError::Internal("the events ended without `Done`".to_owned()));
        let event = match self.events.try_recv() {
            // What is there already needs no look at the bell.
            Ok(event) => event?,
            Err(_) => tokio::select! {
                biased;
                event = self.events.recv() => event.unwrap_or_else(cut)?,
                () = self.watch.revoked() => return Err(GatewayError::NotSignedIn),
            },
        };
        if let Event::Done(usage) = &event {
            self.state.metrics().count_generation(&self.model, usage);
        }
        Ok(event)
    }

    /// All events, for an answer in one piece.
    pub(crate) async fn all(
        mut self,
        first: Event,
    ) -> std::result::Result<Vec<Event>, GatewayError> {
        let mut events = vec![first];
        while !matches!(events.last(), Some(Event::Done(_))) {
            events.push(self.next().await?);
        }
        Ok(events)
    }

    /// The pieces of a stream, up to the dialect's last word.
    pub(crate) fn stream<P: Print>(
        self,
        first: Event,
        printer: P,
    ) -> impl Stream<Item = P::Piece> + Send + 'static {
        let mut printing =
            Printing { running: self, printer, ready: VecDeque::new(), has_ended: false };
        printing.take(Ok(first));
        stream::unfold(printing, |mut printing| async move {
            loop {
                if let Some(piece) = printing.ready.pop_front() {
                    return Some((piece, printing));
                }
                if printing.has_ended {
                    return None;
                }
                let event = printing.running.next().await;
                printing.take(event);
            }
        })
    }
}

struct Printing<P: Print> {
    running: Running,
    printer: P,
    ready: VecDeque<P::Piece>,
    has_ended: bool,
}

impl<P: Print> Printing<P> {
    fn take(&mut self, event: std::result::Result<Event, GatewayError>) {
        match event {
            Ok(event) => {
                self.has_ended = matches!(event, Event::Done(_));
                self.ready.extend(self.printer.print(event));
            }
            Err(error) => {
                let failure = Failure::from(error);
                // The status is sent already, so the access log cannot tell.
                tracing::warn!(
                    request.id = %self.running.id.0, error.code = failure.code,
                    detail = failure.detail.as_deref(), "a stream ended with an error"
                );
                self.ready.extend(self.printer.fail(&failure, &self.running.id));
                self.has_ended = true;
            }
        }
    }
}
