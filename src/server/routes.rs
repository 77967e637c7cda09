//! Every route in one list: what it is, who may call it and which handler answers.

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use serde::Serialize;
use tower_http::catch_panic::CatchPanicLayer;

use crate::body::BodyLimit;
use crate::error::{Dialect, Failure};
use crate::guard::{self, Guard};
use crate::state::AppState;
use crate::{
    accounts, alerts, anthropic, billing, cache, channels, chats, doctor, edge, gemini, guards,
    models, ollama, openai, openapi, ops, passage, quota, responses, shelf, usage, web,
};

pub use crate::guard::Access;

/// A route, as `hearth routes` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// HTTP method.
    pub method: &'static str,
    /// Path with its parameters in braces.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What it does, for people.
    pub summary: &'static str,
}

struct Entry {
    route: Route,
    handler: MethodRouter<AppState>,
}

/// An HTTP method, by its name and as axum matches it.
struct Verb(&'static str, MethodFilter);

const GET: Verb = Verb("GET", MethodFilter::GET);
const POST: Verb = Verb("POST", MethodFilter::POST);
const PUT: Verb = Verb("PUT", MethodFilter::PUT);
const PATCH: Verb = Verb("PATCH", MethodFilter::PATCH);
const DELETE: Verb = Verb("DELETE", MethodFilter::DELETE);

/// Every route of the server.
pub fn list() -> Vec<Route> {
    entries().into_iter().map(|entry| entry.route).collect()
}

/// All routes over this state, with everything that surrounds them; usable without a listener.
pub fn router(state: AppState) -> Router {
    let mut router = Router::new();
    for Entry { route, handler } in entries() {
        let is_open = route.path == "/metrics" && state.config().public_metrics;
        let access = if is_open { Access::Anyone } else { route.access };
        let body_limit = BodyLimit::of(route.path, access, state.config());
        let guard = Guard { state: state.clone(), access, body_limit };
        router =
            router.route(route.path, handler.route_layer(from_fn_with_state(guard, guard::check)));
    }
    router
        .fallback(unrouted)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(edge::caught))
        .layer(map_response(own_failure))
        .layer(from_fn_with_state(state.clone(), edge::wrap))
        .with_state(state)
}

fn entries() -> Vec<Entry> {
    [
        open_ai(),
        gemini_api(),
        ollama_api(),
        hearth_accounts(),
        hearth_passkeys(),
        hearth_people(),
        hearth_money(),
        hearth_models(),
        hearth_channels(),
        hearth_chats(),
        operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn open_ai() -> Vec<Entry> {
    use Access::User;
    vec![
        route(POST, User, "/v1/chat/completions", "Answer a chat", openai::chat),
        route(POST, User, "/v1/completions", "Continue a text", openai::completion),
        route(POST, User, "/v1/embeddings", "Make vectors of texts", openai::embeddings),
        route(POST, User, "/v1/rerank", "Rank documents by a question", openai::rerank),
        route(POST, User, "/v1/images/generations", "Draw pictures", passage::pass),
        route(POST, User, "/v1/images/edits", "Change pictures", passage::pass),
        route(POST, User, "/v1/images/variations", "Vary a picture", passage::pass),
        route(POST, User, "/v1/audio/transcriptions", "Write down what is said", passage::pass),
        route(POST, User, "/v1/audio/translations", "Write it down in English", passage::pass),
        route(POST, User, "/v1/audio/speech", "Say a text", passage::pass),
        route(POST, User, "/v1/moderations", "Judge texts and pictures", passage::pass),
        route(POST, User, "/v1/responses", "Answer a conversation", responses::create),
        route(POST, User, "/v1/messages", "Answer a chat, Anthropic's way", anthropic::messages),
        route(
            POST,
            User,
            "/v1/messages/count_tokens",
            "Count a prompt's tokens",
            anthropic::count_tokens,
        ),
        route(GET, User, "/v1/models", "List models", openai::models),
        route(GET, User, "/v1/models/{*id}", "Show a model", openai::model),
    ]
}

fn gemini_api() -> Vec<Entry> {
    use Access::User;
    vec![
        route(GET, User, "/v1beta/models", "List models", gemini::models),
        route(GET, User, "/v1beta/models/{*id}", "Show a model", gemini::model),
        route(POST, User, "/v1beta/models/{*id}", "Ask a model, Google's way", gemini::ask),
    ]
}

fn ollama_api() -> Vec<Entry> {
    use Access::{Admin, Anyone, User};
    vec![
        route(GET, Anyone, "/", "The web app, or a sign of life", ollama::root),
        route(GET, Anyone, "/api/version", "The version of Ollama's API", ollama::version),
        route(GET, User, "/api/status", "Whether Ollama's cloud is on offer", ollama::status),
        route(GET, User, "/api/tags", "List models", ollama::tags),
        route(GET, User, "/api/ps", "List loaded models", ollama::running),
        route(POST, User, "/api/chat", "Answer a chat", ollama::chat),
        route(POST, User, "/api/generate", "Continue a prompt", ollama::generate),
        route(POST, User, "/api/embed", "Make vectors of texts", ollama::embed),
        route(POST, User, "/api/embeddings", "Make a vector of a text", ollama::embeddings),
        route(POST, User, "/api/show", "Describe a model", ollama::show),
        route(POST, Admin, "/api/copy", "Give a model a second name", ollama::copy),
        route(DELETE, Admin, "/api/delete", "Remove a model", ollama::delete),
        route(POST, Admin, "/api/create", "Make a model of another", ollama::create),
        route(GET, Admin, "/api/blobs/{digest}", "Whether a file was sent", ollama::has_blob),
        route(POST, Admin, "/api/blobs/{digest}", "Send a file", ollama::send_blob),
        route(POST, Admin, "/api/pull", "Bring a model in", ollama::pull),
        route(POST, Admin, "/api/push", "Send a model to a registry", ollama::push),
    ]
}

fn hearth_accounts() -> Vec<Entry> {
    use Access::{Anyone, Person, User};
    use accounts::{me, oidc, passkeys, second_factor, session, sessions, tokens};
    vec![
        route(GET, Anyone, "/hearth/status", "Version and whether setup is open", session::status),
        route(POST, Anyone, "/hearth/setup", "Create the first admin", session::setup),
        route(POST, Anyone, "/hearth/session", "Sign in", session::sign_in),
        route(POST, Anyone, "/hearth/session/proxy", "Sign in by the proxy", oidc::by_proxy),
        route(
            POST,
            Anyone,
            "/hearth/session/passkey/begin",
            "What to ask a passkey",
            passkeys::begin_proof,
        ),
        route(POST, Anyone, "/hearth/session/passkey", "Sign in by a passkey", passkeys::sign_in),
        route(GET, Anyone, "/hearth/oidc/start", "Sign in at the OpenID provider", oidc::begin),
        route(GET, Anyone, "/hearth/oidc/callback", "Come back from there", oidc::end),
        route(GET, User, "/hearth/session", "Who is signed in", session::show),
        route(DELETE, User, "/hearth/session", "Sign out", session::sign_out),
        route(PATCH, User, "/hearth/me", "Change one's preferences", me::update),
        route(POST, User, "/hearth/me/password", "Change one's password", me::change_password),
        route(POST, Person, "/hearth/session/confirm", "Prove again who one is", session::confirm),
        route(GET, User, "/hearth/sessions", "List one's sessions", sessions::list),
        route(DELETE, User, "/hearth/sessions", "End one's other sessions", sessions::end_others),
        route(DELETE, User, "/hearth/sessions/{id}", "End one of one's sessions", sessions::end),
        route(
            GET,
            User,
            "/hearth/me/second-factor",
            "Whether codes are asked for",
            second_factor::show,
        ),
        route(
            POST,
            Person,
            "/hearth/me/second-factor",
            "Begin a second factor",
            second_factor::begin,
        ),
        route(
            POST,
            Person,
            "/hearth/me/second-factor/confirm",
            "Turn it on with its first code",
            second_factor::confirm,
        ),
        route(DELETE, Person, "/hearth/me/second-factor", "Turn it off", second_factor::end),
        route(
            POST,
            Person,
            "/hearth/me/recovery-codes",
            "Make new recovery codes",
            second_factor::renew_codes,
        ),
        route(GET, User, "/hearth/tokens", "List API tokens", tokens::list),
        route(POST, User, "/hearth/tokens", "Create an API token", tokens::create),
        route(PATCH, User, "/hearth/tokens/{id}", "Change an API token", tokens::update),
        route(DELETE, User, "/hearth/tokens/{id}", "Delete an API token", tokens::delete),
        route(POST, User, "/hearth/tokens/{id}/rotate", "Give it a new secret", tokens::rotate),
    ]
}

fn hearth_passkeys() -> Vec<Entry> {
    use Access::{Person, User};
    use accounts::passkeys;
    vec![
        route(GET, User, "/hearth/me/passkeys", "List one's passkeys", passkeys::list),
        route(
            POST,
            Person,
            "/hearth/me/passkeys/begin",
            "What to make a passkey of",
            passkeys::begin,
        ),
        route(POST, Person, "/hearth/me/passkeys", "Add a passkey", passkeys::add),
        route(
            PUT,
            Person,
            "/hearth/me/passkeys/asked",
            "Ask for one with the password, or no longer",
            passkeys::ask,
        ),
        route(PATCH, Person, "/hearth/me/passkeys/{id}", "Rename a passkey", passkeys::rename),
        route(DELETE, Person, "/hearth/me/passkeys/{id}", "Remove a passkey", passkeys::remove),
    ]
}

fn hearth_people() -> Vec<Entry> {
    use Access::{Admin, Anyone, Operator, User};
    use accounts::{audit, groups, import, invites, users};
    vec![
        route(GET, User, "/hearth/roles", "What each role may do", users::roles),
        route(GET, Admin, "/hearth/users", "List users", users::list),
        route(POST, Admin, "/hearth/users", "Create a user", users::create),
        route(GET, Admin, "/hearth/users/export", "All users as CSV", users::export),
        route(POST, Admin, "/hearth/users/import", "Create users from CSV", users::import),
        route(PATCH, Admin, "/hearth/users/{id}", "Change a user", users::update),
        route(DELETE, Admin, "/hearth/users/{id}", "Remove a user", users::remove),
        route(
            DELETE,
            Admin,
            "/hearth/users/{id}/sessions",
            "End a user's sessions",
            users::end_sessions,
        ),
        route(
            DELETE,
            Admin,
            "/hearth/users/{id}/second-factor",
            "Turn a lost second factor off",
            users::end_second_factor,
        ),
        route(GET, Admin, "/hearth/groups", "List groups", groups::list),
        route(POST, Admin, "/hearth/groups", "Create a group", groups::create),
        route(PATCH, Admin, "/hearth/groups/{id}", "Change a group", groups::update),
        route(DELETE, Admin, "/hearth/groups/{id}", "Delete a group", groups::delete),
        route(GET, Admin, "/hearth/invites", "List invites", invites::list),
        route(POST, Admin, "/hearth/invites", "Create an invite", invites::create),
        route(DELETE, Admin, "/hearth/invites/{id}", "Delete an invite", invites::delete),
        route(POST, Anyone, "/hearth/join", "Make one's account by an invite", invites::join),
        route(POST, Operator, "/hearth/import/new-api", "Import New API's data", import::new_api),
        route(GET, Admin, "/hearth/audit", "Who did what", audit::list),
        route(GET, Admin, "/hearth/audit/verify", "Whether that log is whole", audit::verify),
    ]
}

fn hearth_money() -> Vec<Entry> {
    use Access::{Admin, User};
    use quota::{budgets, limits, prices, wallets};
    let subscription = "What the credential may spend, New API's way";
    vec![
        route(GET, User, "/v1/dashboard/billing/subscription", subscription, billing::subscription),
        route(GET, User, "/dashboard/billing/subscription", subscription, billing::subscription),
        route(GET, User, "/v1/dashboard/billing/usage", "What it has spent", billing::usage),
        route(GET, User, "/dashboard/billing/usage", "What it has spent", billing::usage),
        route(GET, User, "/v1/usage/token", "About one's API token", billing::token),
        route(GET, User, "/v1/usage/token/", "About one's API token", billing::token),
        route(GET, User, "/hearth/me/budget", "What one may still spend", wallets::mine),
        route(GET, Admin, "/hearth/quota", "List wallets", wallets::list),
        route(GET, Admin, "/hearth/quota/{kind}/{holder}", "Show a wallet", wallets::show),
        route(PUT, Admin, "/hearth/quota/{kind}/{holder}", "Change a wallet", wallets::update),
        route(GET, User, "/hearth/tokens/{id}/quota", "Show a token's wallet", wallets::of_token),
        route(PUT, User, "/hearth/tokens/{id}/quota", "Change it", wallets::update_token),
        route(GET, Admin, "/hearth/budgets", "List budgets", budgets::list),
        route(PUT, Admin, "/hearth/budgets", "Set a budget", budgets::set),
        route(DELETE, Admin, "/hearth/budgets/{id}", "Remove a budget", budgets::delete),
        route(GET, User, "/hearth/prices", "List prices", prices::list),
        route(PUT, Admin, "/hearth/prices", "Set a price", prices::set),
        route(DELETE, Admin, "/hearth/prices", "Remove a price", prices::delete),
        route(GET, Admin, "/hearth/limits", "List rate limits", limits::list),
        route(PUT, Admin, "/hearth/limits", "Set a rate limit", limits::set),
        route(DELETE, Admin, "/hearth/limits", "Remove a rate limit", limits::delete),
        route(GET, User, "/hearth/usage", "List what was used", usage::list),
        route(GET, User, "/hearth/usage/summary", "Sum up what was used", usage::summary::show),
        route(GET, Admin, "/hearth/alerts", "Rules of alerts, and where they go", alerts::show),
        route(PUT, Admin, "/hearth/alerts/rules", "Change a rule", alerts::set_rule),
        route(POST, Admin, "/hearth/alerts/targets", "Add where alerts go", alerts::add_target),
        route(
            DELETE,
            Admin,
            "/hearth/alerts/targets/{id}",
            "Remove where alerts go",
            alerts::remove_target,
        ),
        route(POST, Admin, "/hearth/alerts/targets/{id}/test", "Send a test", alerts::test),
        route(GET, Admin, "/hearth/alerts/sent", "List what was sent", alerts::sent),
        route(GET, Admin, "/hearth/doctor", "Check database and ledger", doctor::show),
    ]
}

fn hearth_models() -> Vec<Entry> {
    use Access::{Admin, Operator, User};
    vec![
        route(GET, User, "/hearth/models", "List models with their facts", models::list),
        route(POST, Operator, "/hearth/models/import", "Import local files", models::import),
        route(POST, Admin, "/hearth/models/pull", "Get a model from elsewhere", models::pull),
        route(POST, Admin, "/hearth/models/push", "Send a model to a registry", models::push),
        route(GET, Admin, "/hearth/models/catalogue", "Search known models", models::search),
        route(GET, Admin, "/hearth/models/pulls", "List pulls that have not ended", models::pulls),
        route(DELETE, Admin, "/hearth/models/pulls/{name}", "Cancel a pull", models::cancel_pull),
        route(POST, Admin, "/hearth/models/verify", "Hash model files anew", models::verify),
        route(POST, Admin, "/hearth/models/collect", "Delete unused files", models::collect),
        route(POST, Operator, "/hearth/models/export", "Write a model to a file", models::export),
        route(POST, Operator, "/hearth/models/archive", "Read such a file", models::import_archive),
        route(POST, Operator, "/hearth/models/share", "Share Ollama's models", models::share),
        route(POST, Admin, "/hearth/models/copy", "Give a model a second name", models::copy),
        route(DELETE, Admin, "/hearth/models/{name}", "Remove a model", models::remove),
        route(POST, Admin, "/hearth/models/{name}/load", "Load a model", models::load),
        route(POST, Admin, "/hearth/models/{name}/unload", "Unload a model", models::unload),
    ]
}

fn hearth_channels() -> Vec<Entry> {
    use Access::{Admin, Operator};
    vec![
        route(GET, Admin, "/hearth/channels", "List channels", channels::list),
        route(POST, Admin, "/hearth/channels", "Create a channel", channels::create),
        route(GET, Admin, "/hearth/channels/types", "Known providers", channels::types),
        route(GET, Admin, "/hearth/channels/{id}", "Show a channel", channels::show),
        route(PATCH, Admin, "/hearth/channels/{id}", "Change a channel", channels::update),
        route(DELETE, Admin, "/hearth/channels/{id}", "Remove a channel", channels::remove),
        route(POST, Admin, "/hearth/channels/{id}/keys", "Add a key", channels::add_key),
        route(
            DELETE,
            Admin,
            "/hearth/channels/{id}/keys/{key}",
            "Remove a key",
            channels::remove_key,
        ),
        route(POST, Admin, "/hearth/channels/{id}/test", "Test a channel", channels::test),
        route(
            GET,
            Admin,
            "/hearth/channels/{id}/models",
            "List a provider's models",
            channels::models,
        ),
        route(GET, Admin, "/hearth/cache", "Which answers are kept", cache::show),
        route(PUT, Admin, "/hearth/cache", "Say which answers are kept", cache::set),
        route(DELETE, Admin, "/hearth/cache", "Forget the kept answers", cache::clear),
        route(GET, Admin, "/hearth/guards", "Rules for what goes in and out", guards::show),
        route(PUT, Admin, "/hearth/guards", "Set those rules", guards::set),
        route(GET, Admin, "/hearth/routes", "List routes and groups' policies", channels::routes),
        route(POST, Admin, "/hearth/routes", "Set the route of a model", channels::set_route),
        route(
            DELETE,
            Admin,
            "/hearth/routes/{model}",
            "Remove the route of a model",
            channels::remove_route,
        ),
        route(
            POST,
            Admin,
            "/hearth/routes/groups",
            "Set where a group's requests may go",
            channels::set_group_policy,
        ),
        route(
            POST,
            Operator,
            "/hearth/secrets/rotate",
            "Seal all secrets under a new master key",
            channels::rotate_secrets,
        ),
    ]
}

fn hearth_chats() -> Vec<Entry> {
    use Access::{Anyone, User};
    vec![
        route(GET, User, "/hearth/chats", "List one's chats", chats::list),
        route(POST, User, "/hearth/chats", "Begin a chat", chats::create),
        route(GET, User, "/hearth/chats/search", "Find words in one's chats", chats::search),
        route(POST, User, "/hearth/chats/import", "Bring chats in from elsewhere", chats::import),
        route(GET, User, "/hearth/chats/{id}", "Show a chat's last messages", chats::show),
        route(PATCH, User, "/hearth/chats/{id}", "Change a chat", chats::update),
        route(DELETE, User, "/hearth/chats/{id}", "Delete a chat", chats::delete),
        route(GET, User, "/hearth/chats/{id}/export", "Show all of a chat", chats::export),
        route(
            GET,
            User,
            "/hearth/chats/{id}/messages/{message}",
            "Show one message",
            chats::message,
        ),
        route(
            DELETE,
            User,
            "/hearth/chats/{id}/messages/{message}",
            "Delete one message",
            chats::delete_message,
        ),
        route(POST, User, "/hearth/chats/{id}/turns", "Say something and be answered", chats::turn),
        route(DELETE, User, "/hearth/chats/{id}/turns", "Stop running answers", chats::stop),
        route(
            GET,
            User,
            "/hearth/chats/{id}/turns/{message}",
            "Read along with a running answer",
            chats::follow,
        ),
        route(GET, User, "/hearth/chats/{id}/share", "Show a chat's link", chats::share_of),
        route(POST, User, "/hearth/chats/{id}/share", "Make a link to a chat", chats::share),
        route(DELETE, User, "/hearth/chats/{id}/share", "Take a link back", chats::unshare),
        route(GET, User, "/hearth/shared/{id}", "Read what a link shows", chats::shared),
        route(GET, Anyone, "/hearth/open/{id}", "Read what an open link shows", chats::open),
        route(GET, User, "/hearth/folders", "List one's folders", chats::folders),
        route(POST, User, "/hearth/folders", "Make a folder", chats::add_folder),
        route(PATCH, User, "/hearth/folders/{id}", "Rename a folder", chats::rename_folder),
        route(DELETE, User, "/hearth/folders/{id}", "Delete a folder", chats::delete_folder),
        route(GET, User, "/hearth/shelf", "List prompts and presets", shelf::list),
        route(POST, User, "/hearth/shelf", "Keep a prompt or preset", shelf::add),
        route(PATCH, User, "/hearth/shelf/{id}", "Change a prompt or preset", shelf::update),
        route(DELETE, User, "/hearth/shelf/{id}", "Delete a prompt or preset", shelf::delete),
    ]
}

fn operations() -> Vec<Entry> {
    use Access::{Admin, Anyone, User};
    vec![
        route(GET, Admin, "/hearth/machine", "What the machine has and does", ops::machine),
        route(GET, User, "/hearth/openapi.json", "This API, described", openapi::show),
        route(GET, Anyone, "/healthz", "Whether the process lives", ops::healthz),
        route(GET, Anyone, "/readyz", "Whether new work is welcome", ops::readyz),
        route(GET, Admin, "/metrics", "Figures for Prometheus", ops::metrics),
    ]
}

fn route<H: Handler<T, AppState>, T: 'static>(
    Verb(method, filter): Verb,
    access: Access,
    path: &'static str,
    summary: &'static str,
    handler: H,
) -> Entry {
    Entry { route: Route { method, path, access, summary }, handler: on(filter, handler) }
}

/// The web app, for paths that are nobody else's.
async fn unrouted(request: Request) -> Response {
    let path = request.uri().path();
    let is_api = Dialect::of(path) != Dialect::Hearth || path.starts_with("/hearth/");
    if is_api {
        return nothing_there().into_response();
    }
    web::serve(&request).unwrap_or_else(|| nothing_there().into_response())
}

async fn wrong_method() -> Failure {
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This path does not take that method.",
    )
}

fn nothing_there() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this path.")
}

/// Axum's own refusals (a path that is no number, a query that cannot be read) become ours.
async fn own_failure(response: Response) -> Response {
    let status = response.status();
    if !status.is_client_error() || response.extensions().get::<Failure>().is_some() {
        return response;
    }
    let failure = match status {
        StatusCode::NOT_FOUND => nothing_there(),
        _ => Failure { status, ..Failure::invalid("The path or the query is not as expected.") },
    };
    failure.into_response()
}
