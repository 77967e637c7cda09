//! Describes Hearth's own API, from the list of routes and the shapes of bodies.

mod parameters;

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::path::{HttpMethod, OperationBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder,
    PathItem, PathsBuilder, Ref, RefOr, Required, ResponseBuilder, Schema, Type,
};
use utoipa::{PartialSchema, ToSchema};

use crate::error::{Failure, Result};
use crate::guard::{Access, COOKIE};
use crate::routes::{self, Route};
use crate::{accounts, alerts, cache, channels, chats, guards, models, quota, shelf};

pub(crate) async fn show() -> Result<impl IntoResponse> {
    let text = document().to_json();
    let text = text.map_err(|error| Failure::internal(format!("openapi: {error}")))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text))
}

/// A body's route and shape.
struct Body {
    method: &'static str,
    path: &'static str,
    name: &'static str,
    schema: RefOr<Schema>,
    /// Shapes that it refers to.
    nested: Vec<(String, RefOr<Schema>)>,
}

fn body<T: ToSchema>(method: &'static str, path: &'static str, name: &'static str) -> Body {
    let mut nested = Vec::new();
    T::schemas(&mut nested);
    Body { method, path, name, schema: <T as PartialSchema>::schema(), nested }
}

fn bodies() -> Vec<Body> {
    use accounts::{groups, import, invites, me, passkeys, second_factor, session, tokens, users};
    vec![
        body::<session::Setup>("POST", "/hearth/setup", "Setup"),
        body::<session::SignIn>("POST", "/hearth/session", "SignIn"),
        body::<me::Change>("PATCH", "/hearth/me", "Preferences"),
        body::<me::Passwords>("POST", "/hearth/me/password", "Passwords"),
        body::<users::New>("POST", "/hearth/users", "NewUser"),
        body::<users::Change>("PATCH", "/hearth/users/{id}", "UserChange"),
        body::<tokens::New>("POST", "/hearth/tokens", "NewToken"),
        body::<tokens::Change>("PATCH", "/hearth/tokens/{id}", "TokenChange"),
        body::<tokens::Rotate>("POST", "/hearth/tokens/{id}/rotate", "TokenRotation"),
        body::<session::Proof>("POST", "/hearth/session/confirm", "Proof"),
        body::<second_factor::Code>("POST", "/hearth/me/second-factor/confirm", "FirstCode"),
        body::<passkeys::New>("POST", "/hearth/me/passkeys", "NewPasskey"),
        body::<passkeys::Named>("PATCH", "/hearth/me/passkeys/{id}", "PasskeyName"),
        body::<passkeys::Asked>("PUT", "/hearth/me/passkeys/asked", "PasskeyAsked"),
        body::<passkeys::Shown>("POST", "/hearth/session/passkey", "ShownPasskey"),
        body::<groups::New>("POST", "/hearth/groups", "NewGroup"),
        body::<groups::Change>("PATCH", "/hearth/groups/{id}", "GroupChange"),
        body::<import::Import>("POST", "/hearth/import/new-api", "NewApiImport"),
        body::<invites::New>("POST", "/hearth/invites", "NewInvite"),
        body::<invites::Newcomer>("POST", "/hearth/join", "Newcomer"),
        body::<quota::wallets::Change>("PUT", "/hearth/quota/{kind}/{holder}", "WalletChange"),
        body::<quota::wallets::Change>("PUT", "/hearth/tokens/{id}/quota", "TokenWalletChange"),
        body::<quota::budgets::New>("PUT", "/hearth/budgets", "NewBudget"),
        body::<quota::prices::New>("PUT", "/hearth/prices", "NewPrice"),
        body::<quota::limits::New>("PUT", "/hearth/limits", "NewRateLimit"),
        body::<alerts::Rule>("PUT", "/hearth/alerts/rules", "AlertRule"),
        body::<alerts::New>("POST", "/hearth/alerts/targets", "NewAlertTarget"),
        body::<models::Import>("POST", "/hearth/models/import", "Import"),
        body::<models::Pull>("POST", "/hearth/models/pull", "ModelPull"),
        body::<models::Push>("POST", "/hearth/models/push", "ModelPush"),
        body::<models::Verify>("POST", "/hearth/models/verify", "ModelVerify"),
        body::<models::Archive>("POST", "/hearth/models/export", "ModelExport"),
        body::<models::Archive>("POST", "/hearth/models/archive", "ModelArchive"),
        body::<models::Share>("POST", "/hearth/models/share", "ModelShare"),
        body::<models::Copy>("POST", "/hearth/models/copy", "ModelCopy"),
        body::<channels::Channel>("POST", "/hearth/channels", "NewChannel"),
        body::<channels::Channel>("PATCH", "/hearth/channels/{id}", "ChannelChange"),
        body::<channels::Key>("POST", "/hearth/channels/{id}/keys", "ChannelKey"),
        body::<channels::Test>("POST", "/hearth/channels/{id}/test", "ChannelTest"),
        body::<channels::NewRoute>("POST", "/hearth/routes", "NewRoute"),
        body::<channels::GroupPolicy>("POST", "/hearth/routes/groups", "GroupPolicy"),
        body::<cache::Rules>("PUT", "/hearth/cache", "CacheRules"),
        body::<guards::Rules>("PUT", "/hearth/guards", "GuardRules"),
        body::<chats::New>("POST", "/hearth/chats", "NewChat"),
        body::<chats::Change>("PATCH", "/hearth/chats/{id}", "ChatChange"),
        body::<chats::Turn>("POST", "/hearth/chats/{id}/turns", "Turn"),
        body::<chats::Import>("POST", "/hearth/chats/import", "ChatImport"),
        body::<chats::Link>("POST", "/hearth/chats/{id}/share", "ChatLink"),
        body::<chats::Named>("POST", "/hearth/folders", "NewFolder"),
        body::<chats::Named>("PATCH", "/hearth/folders/{id}", "FolderName"),
        body::<shelf::Item>("POST", "/hearth/shelf", "NewShelfItem"),
        body::<shelf::Item>("PATCH", "/hearth/shelf/{id}", "ShelfItem"),
    ]
}

fn document() -> OpenApi {
    let bodies = bodies();
    let mut components = ComponentsBuilder::new()
        .security_scheme(
            "session",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE))),
        )
        .security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let mut paths = PathsBuilder::new();
    for route in routes::list().iter().filter(|route| route.path.starts_with("/hearth/")) {
        let body =
            bodies.iter().find(|body| body.method == route.method && body.path == route.path);
        let (method, operation) = operation(route, body);
        paths = paths.path(route.path, PathItem::new(method, operation));
    }
    for body in bodies {
        components = components.schema(body.name, body.schema);
        for (name, schema) in body.nested {
            components = components.schema(name, schema);
        }
    }
    let info = InfoBuilder::new().title("Hearth").version(env!("CARGO_PKG_VERSION")).build();
    OpenApiBuilder::new()
        .info(info)
        .paths(paths.build())
        .components(Some(components.build()))
        .build()
}

fn operation(route: &Route, body: Option<&Body>) -> (HttpMethod, OperationBuilder) {
    let method = match route.method {
        "POST" => HttpMethod::Post,
        "PATCH" => HttpMethod::Patch,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    };
    let who = match route.access {
        Access::Anyone => "Anyone may call it.",
        Access::User => "Users and the operator may call it; rows of others are not found.",
        Access::Person => "Users who are signed in may call it; no API token may.",
        Access::Admin => "Admins and the operator may call it.",
        Access::Operator => "Only the command line on the server's own machine may call it.",
    };
    let mut operation = OperationBuilder::new()
        .summary(Some(route.summary))
        .description(Some(who))
        .response("2XX", ResponseBuilder::new().description("Done").build())
        .response("default", ResponseBuilder::new().description("Refused: {error}").build());
    for parameter in parameters::of(route) {
        operation = operation.parameter(parameter);
    }
    if let Some(body) = body {
        let schema = Ref::from_schema_name(body.name);
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let body = RequestBodyBuilder::new().content("application/json", content);
        operation = operation.request_body(Some(body.required(Some(Required::True)).build()));
    } else if (route.method, route.path) == ("POST", "/hearth/users/import") {
        let table = ObjectBuilder::new().schema_type(Type::String).build();
        let content = ContentBuilder::new().schema(Some(Schema::Object(table))).build();
        let body = RequestBodyBuilder::new().content("text/csv", content);
        operation = operation.request_body(Some(body.required(Some(Required::True)).build()));
    }
    (method, operation)
}
