//! From every room's errors to what a client is told: the only place that knows status codes.
//!
//! A handler fails with a [`Failure`]; [`crate::edge`] gives it the shape of the path's dialect
//! and writes what the client must not see to the log.

mod gemini;
mod ollama;

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hearth_gateway::Error as GatewayError;
use hearth_gateway::clock::Clock;
use hearth_gateway::error::{Fault, Feature};
use hearth_gateway::quota::pace::Measure;
use hearth_hub::{Error as HubError, PullError};
use hearth_store::Error as StoreError;
use serde_json::{Value, json};

/// Result of a handler.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// What it is called when a wallet or a budget has too little, as by OpenAI.
const OUT_OF_QUOTA: &str = "insufficient_quota";

/// When a client that met a server which is ending should ask again.
const DRAINING_RETRY: Duration = Duration::from_secs(5);

/// When a client that met a disk which takes no more should ask again.
const STORAGE_RETRY: Duration = Duration::from_secs(30);

/// When a client that met a full queue of pulls should ask again.
const PULLS_RETRY: Duration = Duration::from_secs(60);

/// Why a request was refused, as far as the client may know, and for the log what it may not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    /// Stable; clients decide and translate by it.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) message: String,
    /// The field of the request that is wrong.
    pub(crate) param: Option<String>,
    /// When to ask again.
    pub(crate) retry_after: Option<Duration>,
    /// For the log alone.
    pub(crate) detail: Option<String>,
    /// What happened, for dialects that have words of their own for it.
    pub(crate) cause: Option<Box<GatewayError>>,
}

/// How errors look, by the path of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `/v1/…`
    OpenAi,
    /// `/v1/messages…`
    Anthropic,
    /// `/api/…`
    Ollama,
    /// `/v1beta/…`
    Gemini,
    /// Everything else.
    Hearth,
}

impl Dialect {
    /// The dialect that is spoken at this path.
    pub(crate) fn of(path: &str) -> Dialect {
        let is_below = |root: &str| {
            path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if is_below("/v1/messages") {
            Dialect::Anthropic
        } else if is_below("/v1") {
            Dialect::OpenAi
        } else if is_below("/api") {
            Dialect::Ollama
        } else if is_below("/v1beta") {
            Dialect::Gemini
        } else {
            Dialect::Hearth
        }
    }
}

impl Failure {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Failure {
        let message = message.into();
        let (param, retry_after, detail, cause) = (None, None, None, None);
        Failure { status, code, message, param, retry_after, detail, cause }
    }

    /// 400 with a sentence that says what to do.
    pub(crate) fn invalid(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// 500; `detail` goes to the log alone.
    pub(crate) fn internal(detail: impl Into<String>) -> Failure {
        let message = "The server had a fault; its log says more under this request's id.";
        let failure = Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message);
        Failure { detail: Some(detail.into()), ..failure }
    }

    fn about(self, param: Option<String>) -> Failure {
        Failure { param, ..self }
    }

    pub(crate) fn retry_after(self, after: Duration) -> Failure {
        Failure { retry_after: Some(after), ..self }
    }

    /// The body in this dialect.
    pub(crate) fn body(&self, dialect: Dialect, request_id: &str) -> Value {
        match dialect {
            Dialect::Hearth => json!({ "error": {
                "code": self.code, "message": self.message, "request_id": request_id,
            }}),
            Dialect::OpenAi => {
                let (kind, code) = self.open_ai();
                let message = self.with_id(&self.message, request_id);
                json!({ "error": {
                    "message": message, "type": kind, "param": self.param, "code": code,
                }})
            }
            Dialect::Gemini => json!({ "error": {
                "code": self.status.as_u16(),
                "message": self.with_id(&self.message, request_id),
                "status": gemini::status(self.status),
            }}),
            Dialect::Anthropic => json!({
                "type": "error",
                "error": { "type": self.anthropic(), "message": self.anthropic_message() },
                "request_id": request_id,
            }),
            Dialect::Ollama => {
                let message = match &self.cause {
                    Some(cause) => ollama::text(cause),
                    None => self.message.clone(),
                };
                json!({ "error": self.with_id(&message, request_id) })
            }
        }
    }

    /// A fault of the server names the request, so that its log line can be found.
    fn with_id(&self, message: &str, request_id: &str) -> String {
        match self.status.is_server_error() && self.retry_after.is_none() {
            true => format!("{message} (request id {request_id})"),
            false => message.to_owned(),
        }
    }

    /// The status in this dialect.
    pub(crate) fn status_in(&self, dialect: Dialect) -> StatusCode {
        match dialect {
            // Anthropic's clients take 429 for a limit that passes and ask again.
            Dialect::Anthropic if self.code == OUT_OF_QUOTA => StatusCode::BAD_REQUEST,
            _ => self.status,
        }
    }

    /// The text in the words that Anthropic's clients look for.
    fn anthropic_message(&self) -> String {
        match self.code {
            OUT_OF_QUOTA => {
                format!("Your credit balance is too low to access this API. {}", self.message)
            }
            _ => self.message.clone(),
        }
    }

    /// `type` as Anthropic's clients know it.
    fn anthropic(&self) -> &'static str {
        match self.status_in(Dialect::Anthropic) {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
            StatusCode::GATEWAY_TIMEOUT => "timeout_error",
            status if status.is_server_error() => "api_error",
            _ => "invalid_request_error",
        }
    }

    /// `type` and `code` as OpenAI's clients know them.
    fn open_ai(&self) -> (&'static str, Option<&'static str>) {
        match self.code {
            "invalid_request" => ("invalid_request_error", None),
            "context_full" => ("invalid_request_error", Some("context_length_exceeded")),
            "sign_in_required" => ("invalid_request_error", Some("invalid_api_key")),
            "busy" => ("rate_limit_error", Some("rate_limit_exceeded")),
            OUT_OF_QUOTA => (OUT_OF_QUOTA, Some(OUT_OF_QUOTA)),
            "rate_limited" => (self.measure(), Some("rate_limit_exceeded")),
            code if self.status.is_server_error() => ("server_error", Some(code)),
            code => ("invalid_request_error", Some(code)),
        }
    }
}

impl Failure {
    /// What of a rate limit was reached, as OpenAI calls it.
    fn measure(&self) -> &'static str {
        match self.cause.as_deref() {
            Some(GatewayError::TooFast { measure: Measure::Tokens, .. }) => "tokens",
            _ => "requests",
        }
    }
}

/// Leaves the body to [`crate::edge`], which knows the path and the request's id.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(after) = self.retry_after {
            let seconds = HeaderValue::from(after.as_secs().max(1));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if self.code == OUT_OF_QUOTA {
            // The client libraries of OpenAI and Anthropic would ask again at every 429.
            let name = HeaderName::from_static("x-should-retry");
            response.headers_mut().insert(name, HeaderValue::from_static("false"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Failure {
        let cause = Some(Box::new(error.clone()));
        Failure { cause, ..of_gateway(&error) }
    }
}

fn of_gateway(error: &GatewayError) -> Failure {
    use GatewayError as E;
    let failure = |status, code| Failure::new(status, code, error.to_string());
    match error {
        E::Invalid { param, .. } => {
            failure(StatusCode::BAD_REQUEST, "invalid_request").about(param.clone())
        }
        E::Unsupported { feature, .. } => {
            let param = match feature {
                Feature::Chat | Feature::Generate => "model",
                Feature::Tools => "tools",
                Feature::Thinking => "think",
                Feature::Insert => "suffix",
                Feature::Vision | Feature::Files => "messages",
            };
            failure(StatusCode::BAD_REQUEST, "invalid_request").about(Some(param.to_owned()))
        }
        E::NoModel(_) => {
            failure(StatusCode::NOT_FOUND, "model_not_found").about(Some("model".to_owned()))
        }
        // Without a param: which field holds the prompt is the route's matter.
        E::ContextFull { .. } => failure(StatusCode::BAD_REQUEST, "context_full"),
        E::TooBig { .. } => failure(StatusCode::SERVICE_UNAVAILABLE, "model_too_big"),
        E::BadModel { .. } => failure(StatusCode::UNPROCESSABLE_ENTITY, "bad_model"),
        E::Busy { retry_after } => {
            failure(StatusCode::TOO_MANY_REQUESTS, "busy").retry_after(*retry_after)
        }
        E::OutOfQuota { resets_at, .. } => {
            let failure = failure(StatusCode::TOO_MANY_REQUESTS, OUT_OF_QUOTA);
            let wait_s = resets_at.map(|at| at.saturating_sub(Clock::system().now()).max(1));
            let wait = wait_s.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
            Failure { retry_after: wait, ..failure }
        }
        E::TooFast { retry_after, .. } => {
            // In whole seconds there is room for certain.
            let seconds = Duration::from_secs(retry_after.as_millis().div_ceil(1_000) as u64);
            failure(StatusCode::TOO_MANY_REQUESTS, "rate_limited").retry_after(seconds)
        }
        E::NoStorage(_) => {
            failure(StatusCode::SERVICE_UNAVAILABLE, "no_storage").retry_after(STORAGE_RETRY)
        }
        E::Overloaded { retry_after } => {
            failure(StatusCode::SERVICE_UNAVAILABLE, "overloaded").retry_after(*retry_after)
        }
        E::NotSignedIn => failure(StatusCode::UNAUTHORIZED, "sign_in_required"),
        E::WrongCredentials => failure(StatusCode::UNAUTHORIZED, "wrong_credentials"),
        E::SecondFactorRequired => failure(StatusCode::UNAUTHORIZED, "second_factor_required"),
        E::ConfirmRequired => failure(StatusCode::FORBIDDEN, "confirm_required"),
        E::NotOffered(_) => failure(StatusCode::NOT_FOUND, "not_offered"),
        E::Provider(_) => failure(StatusCode::BAD_GATEWAY, "provider_failed"),
        E::TooManyAttempts { retry_after } => {
            failure(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts").retry_after(*retry_after)
        }
        E::WrongSetupCode => failure(StatusCode::FORBIDDEN, "wrong_setup_code"),
        E::WeakPassword(_) => failure(StatusCode::BAD_REQUEST, "weak_password"),
        E::InvalidName(_) => failure(StatusCode::BAD_REQUEST, "invalid_name"),
        E::Forbidden(_) => failure(StatusCode::FORBIDDEN, "forbidden"),
        E::NotFound => failure(StatusCode::NOT_FOUND, "not_found"),
        E::Conflict { code, .. } => failure(StatusCode::CONFLICT, code),
        E::TimedOut { .. } => failure(StatusCode::GATEWAY_TIMEOUT, "timed_out"),
        E::Upstream { fault, .. } => match fault {
            Fault::ContextFull => failure(StatusCode::BAD_REQUEST, "context_full"),
            Fault::Content => failure(StatusCode::BAD_REQUEST, "content_filter"),
            Fault::TimedOut => failure(StatusCode::GATEWAY_TIMEOUT, "upstream_timed_out"),
            Fault::Broken => failure(StatusCode::BAD_GATEWAY, "upstream_failed"),
        },
        E::Blocked(_) => failure(StatusCode::BAD_REQUEST, "content_filter"),
        E::Loop => failure(StatusCode::LOOP_DETECTED, "loop_detected"),
        E::Draining => {
            failure(StatusCode::SERVICE_UNAVAILABLE, "draining").retry_after(DRAINING_RETRY)
        }
        E::Internal(detail) => Failure::internal(detail),
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        GatewayError::from(error).into()
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Failure {
        let failure = |status, code| Failure::new(status, code, sentence(&error.to_string()));
        match &error {
            HubError::BadName { .. } => failure(StatusCode::BAD_REQUEST, "invalid_name"),
            HubError::NotFound(name) => GatewayError::NoModel(name.to_string()).into(),
            HubError::Exists(_) => failure(StatusCode::CONFLICT, "name_taken"),
            HubError::Builtin(_) => failure(StatusCode::CONFLICT, "builtin_model"),
            HubError::BadModel(_) => failure(StatusCode::UNPROCESSABLE_ENTITY, "bad_model"),
            HubError::NotAModel { .. } => failure(StatusCode::UNPROCESSABLE_ENTITY, "not_a_model"),
            HubError::CannotMake(_) => Failure::invalid(error.to_string()),
            HubError::NoBlob(_) => failure(StatusCode::BAD_REQUEST, "no_blob"),
            HubError::BadArchive(_) => failure(StatusCode::UNPROCESSABLE_ENTITY, "bad_archive"),
            HubError::NoRoom { .. } => failure(StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
            HubError::Cancelled => failure(StatusCode::CONFLICT, "cancelled"),
            HubError::Io { source, .. } if is_full(source) => {
                let message = "The disk is full; make room and try again.";
                let failure = Failure::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", message);
                Failure { detail: Some(error.to_string()), ..failure }
            }
            HubError::BadManifest(_) | HubError::Network(_) | HubError::Io { .. } => {
                Failure::internal(error.to_string())
            }
        }
    }
}

impl From<PullError> for Failure {
    fn from(error: PullError) -> Failure {
        use PullError as E;
        let failure = |status, code| Failure::new(status, code, sentence(&error.to_string()));
        match &error {
            E::BadName(_) => failure(StatusCode::BAD_REQUEST, "invalid_name"),
            E::RegistryNotAllowed(_) | E::PushNotAllowed(_) => {
                failure(StatusCode::FORBIDDEN, "registry_not_allowed")
            }
            E::PrivateAddress { .. } => failure(StatusCode::FORBIDDEN, "private_address"),
            E::NotFound(_) => failure(StatusCode::NOT_FOUND, "model_not_found"),
            E::Denied { .. } => failure(StatusCode::BAD_GATEWAY, "registry_denied"),
            E::ForeignRealm { .. } | E::ForeignUpload { .. } | E::BadAnswer { .. } => {
                failure(StatusCode::BAD_GATEWAY, "bad_registry")
            }
            E::DamagedBlob(_) => failure(StatusCode::CONFLICT, "damaged"),
            E::NameTaken(_) => failure(StatusCode::CONFLICT, "name_taken"),
            E::DigestMismatch { .. } => failure(StatusCode::BAD_GATEWAY, "digest_mismatch"),
            E::Unreachable { .. } => failure(StatusCode::BAD_GATEWAY, "registry_unreachable"),
            E::DiskFull { .. } | E::DiskFilled => {
                failure(StatusCode::INSUFFICIENT_STORAGE, "disk_full")
            }
            E::BadModel(_) => failure(StatusCode::UNPROCESSABLE_ENTITY, "bad_model"),
            E::QueueFull => {
                failure(StatusCode::SERVICE_UNAVAILABLE, "overloaded").retry_after(PULLS_RETRY)
            }
            E::Cancelled => failure(StatusCode::CONFLICT, "cancelled"),
            E::Stopping => GatewayError::Draining.into(),
            E::Local(detail) => Failure::internal(detail),
        }
    }
}

/// Whether a file could not be written for want of room.
fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}
