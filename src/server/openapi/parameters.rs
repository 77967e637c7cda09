//! The parameters of each route: what stands in its path and behind its question mark.

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, RefOr, Required, Schema, Type};

use crate::routes::Route;

/// What a parameter is.
#[derive(Clone, Copy)]
enum Kind {
    /// A whole number, not below this one.
    Number(i64),
    Flag,
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
}

use Kind::{Flag, Number, Text, Word};

/// A name, what it is, and whether it must be there.
type Query = (&'static str, Kind, Required);

const HOLDERS: Kind = Word(&["user", "token", "group"]);
const LIMITED: Kind = Word(&["user", "token", "group", "model"]);
const OUTCOMES: Kind = Word(&["complete", "stopped", "failed"]);
const DIMENSIONS: Kind = Word(&["user", "token", "group", "model", "channel"]);
const PERIODS: Kind = Word(&["day", "week", "month"]);
const FORMATS: Kind = Word(&["json", "csv"]);
const VIEWS: Kind = Word(&["all", "loose", "pinned", "archived"]);

/// Ids under these paths are numbers; all others are texts.
const NUMBERED: [&str; 8] = [
    "/hearth/users/",
    "/hearth/groups/",
    "/hearth/tokens/",
    "/hearth/invites/",
    "/hearth/budgets/",
    "/hearth/channels/",
    "/hearth/alerts/",
    "/hearth/import/",
];

/// Every parameter of a route.
pub(super) fn of(route: &Route) -> Vec<Parameter> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{'));
    let in_path = in_path.map(|name| {
        let name = name.trim_end_matches('}');
        parameter((name, kind_in_path(route.path, name), Required::True), ParameterIn::Path)
    });
    let in_query = queries(route).into_iter().map(|query| parameter(query, ParameterIn::Query));
    in_path.chain(in_query).collect()
}

fn kind_in_path(path: &str, name: &str) -> Kind {
    match name {
        "kind" => HOLDERS,
        "id" if NUMBERED.iter().any(|root| path.starts_with(root)) => Number(1),
        _ => Text,
    }
}

/// What may stand behind the question mark.
fn queries(route: &Route) -> Vec<Query> {
    let may = |name, kind| (name, kind, Required::False);
    let must = |name, kind| (name, kind, Required::True);
    let span = [may("since", Number(0)), may("until", Number(0))];
    let whose = [
        may("user_id", Number(0)),
        may("token_id", Number(0)),
        may("group_id", Number(0)),
        may("model", Text),
        may("channel_id", Number(0)),
    ];
    match (route.method, route.path) {
        ("GET", "/hearth/models/catalogue") => {
            vec![may("q", Text), may("offset", Number(0)), may("limit", Number(1))]
        }
        ("GET", "/hearth/oidc/callback") => {
            vec![may("code", Text), may("state", Text), may("error", Text)]
        }
        ("GET", "/hearth/chats") => {
            vec![
                may("before", Text),
                may("limit", Number(1)),
                may("view", VIEWS),
                may("folder", Text),
            ]
        }
        ("GET", "/hearth/chats/search") => vec![must("q", Text)],
        ("GET", "/hearth/chats/{id}") => vec![may("before", Text), may("limit", Number(1))],
        ("GET", "/hearth/tokens") => vec![may("all", Flag)],
        ("POST", "/hearth/users/import") => vec![may("dry_run", Flag)],
        ("GET", "/hearth/audit") => {
            let more = [may("before", Number(1)), may("limit", Number(1))];
            let texts = [may("action", Text), may("actor", Text), may("target", Text)];
            [&texts[..], &span, &more].concat()
        }
        ("GET", "/hearth/audit/verify") => vec![may("sequence", Number(1)), may("hash", Text)],
        ("GET", "/hearth/alerts/sent") => vec![may("before", Number(1)), may("limit", Number(1))],
        ("GET", "/hearth/quota") => vec![may("after", Text)],
        ("DELETE", "/hearth/prices") => vec![must("model", Text), may("channel_id", Number(0))],
        ("DELETE", "/hearth/limits") => vec![must("kind", LIMITED), must("holder", Text)],
        ("GET", "/hearth/usage") => {
            let more = [
                may("outcome", OUTCOMES),
                may("request_id", Text),
                may("before", Text),
                may("limit", Number(1)),
                may("format", FORMATS),
            ];
            [&whose[..], &span, &more].concat()
        }
        ("GET", "/hearth/usage/summary") => {
            let more = [may("by", DIMENSIONS), may("period", PERIODS), may("time_zone", Text)];
            [&more[..], &span, &whose].concat()
        }
        _ => Vec::new(),
    }
}

fn parameter((name, kind, required): Query, place: ParameterIn) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(schema(kind)))
        .build()
}

fn schema(kind: Kind) -> RefOr<Schema> {
    let object = ObjectBuilder::new();
    let object = match kind {
        Number(least) => object.schema_type(Type::Integer).minimum(Some(least)),
        Flag => object.schema_type(Type::Boolean),
        Text => object.schema_type(Type::String),
        Word(words) => object.schema_type(Type::String).enum_values(Some(words.iter().copied())),
    };
    RefOr::T(Schema::Object(object.build()))
}
