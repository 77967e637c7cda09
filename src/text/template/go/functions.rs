//! The functions that templates may call: Go's own where they make no text, else ours, which pay
//! for what they make.

use std::sync::Arc;

use gotmpl::{FuncMap, Template, TemplateError, Value, ValueFunc};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::Meter;
use super::json::{self, STRUCTURE};

/// Makes text of whatever is printed. The name has a space, so that no template can write it.
pub(super) const AS_TEXT: &str = "as text";

/// Go's own that make no text.
const PURE: [&str; 13] =
    ["and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "call", "break"];
/// Go's own that make texts of texts.
const TEXTS: [&str; 6] = ["print", "printf", "println", "html", "js", "urlquery"];
/// The others, ours and Ollama's.
const OURS: [&str; 5] = ["json", "slice", "currentDate", "yesterdayDate", "toTypeScriptType"];
/// Widest field that a `%` of `printf` makes, as gotmpl clamps it.
const MAX_FIELD_BYTES: usize = 1 << 16;
/// How much longer than its arguments an escaped text may be, at the most: `\u003c` for `<`.
const ESCAPED_BYTES: usize = 6;
/// Most arguments of one call.
const MAX_ARGUMENTS: usize = 32;

/// Whether a template may call this function.
pub(super) fn is_known(name: &str) -> bool {
    PURE.contains(&name) || TEXTS.contains(&name) || OURS.contains(&name)
}

/// The functions of one render.
pub(super) fn all(meter: &Arc<Meter>, now: Timestamp) -> FuncMap {
    let mut functions = FuncMap::new();
    for name in TEXTS {
        let meter = Arc::clone(meter);
        let function = move |args: &[Value]| made_text(&meter, name, args);
        functions.insert(name.to_owned(), Arc::new(function));
    }
    let mut add = |name: &str, function: fn(&Meter, &[Value]) -> gotmpl::Result<Value>| {
        let meter = Arc::clone(meter);
        let function: ValueFunc = Arc::new(move |args: &[Value]| function(&meter, args));
        functions.insert(name.to_owned(), function);
    };
    add(AS_TEXT, |meter, args| printed(meter, first(args)?));
    add("json", |meter, args| {
        let text = json::print(first(args)?);
        meter.spend(text.len())?;
        Ok(Value::String(Arc::from(text)))
    });
    add("slice", slice);
    add("toTypeScriptType", |meter, args| {
        let text = type_script(first(args)?);
        meter.spend(text.len())?;
        Ok(Value::String(Arc::from(text)))
    });
    for (name, days) in [("currentDate", 0), ("yesterdayDate", 1)] {
        let today = now.to_zoned(TimeZone::UTC).date();
        let date = today.checked_sub(Span::new().days(days)).unwrap_or(today).to_string();
        let date = Value::String(Arc::from(date));
        functions.insert(name.to_owned(), Arc::new(move |_: &[Value]| Ok(date.clone())));
    }
    functions
}

fn first(args: &[Value]) -> gotmpl::Result<&Value> {
    args.first().ok_or_else(|| TemplateError::Exec("a function lacks its argument".to_owned()))
}

/// What is printed: structures and lists as JSON, nothing for what is not there.
fn printed(meter: &Meter, value: &Value) -> gotmpl::Result<Value> {
    match value {
        Value::Nil => Ok(Value::String(Arc::from(""))),
        Value::Map(_) | Value::List(_) => {
            let text = json::print(value);
            meter.spend(text.len())?;
            Ok(Value::String(Arc::from(text)))
        }
        other => Ok(other.clone()),
    }
}

/// Calls the crate's own function of this name, once it is paid for.
fn made_text(meter: &Meter, name: &str, args: &[Value]) -> gotmpl::Result<Value> {
    if args.len() > MAX_ARGUMENTS {
        return Err(TemplateError::Exec(format!("{name} takes at most {MAX_ARGUMENTS} arguments")));
    }
    let args: Vec<Value> =
        args.iter().map(|value| printed(meter, value)).collect::<gotmpl::Result<_>>()?;
    let bytes: usize = args.iter().map(|value| value.as_str().map_or(32, str::len)).sum();
    let format = args.first().and_then(Value::as_str).filter(|_| name == "printf");
    let fields = format.map_or(0, |format| {
        match format.contains(|c: char| c.is_ascii_digit() || c == '*') {
            true => format.matches('%').count(),
            false => 0,
        }
    });
    meter.spend(bytes * ESCAPED_BYTES + fields * MAX_FIELD_BYTES)?;
    let mut source = format!("{{{{{name}");
    let mut values = std::collections::BTreeMap::new();
    for (at, value) in args.into_iter().enumerate() {
        source.push_str(&format!(" .a{at}"));
        values.insert(Arc::from(format!("a{at}")), value);
    }
    source.push_str("}}");
    let text =
        Template::new("").parse(&source)?.execute_to_string(&Value::Map(Arc::new(values)))?;
    Ok(Value::String(Arc::from(text)))
}

fn slice(meter: &Meter, args: &[Value]) -> gotmpl::Result<Value> {
    let whole = first(args)?;
    if args.len() > 3 {
        return Err(TemplateError::Exec("slice takes at most three arguments".to_owned()));
    }
    let bound = |at: usize| match args.get(at) {
        None => Ok(None),
        Some(value) => value
            .as_int()
            .map(Some)
            .ok_or(TemplateError::TypeMismatch { expected: "int", got: value.type_name() }),
    };
    // A value of a list takes 24 bytes.
    let bytes = whole.len().unwrap_or(0) * if matches!(whole, Value::List(_)) { 24 } else { 1 };
    meter.spend(bytes)?;
    whole.slice(bound(1)?, bound(2)?)
}

/// A property's type in the words of TypeScript.
fn type_script(property: &Value) -> String {
    let member = |name: &str| match property {
        Value::Map(members) if members.contains_key(STRUCTURE) => members.get(name),
        _ => None,
    };
    let joined = |types: Vec<String>| types.join(" | ");
    match (member("AnyOf"), member("Type")) {
        (Some(Value::List(any)), _) if !any.is_empty() => {
            joined(any.iter().map(type_script).collect())
        }
        (_, Some(Value::List(kinds))) => {
            joined(kinds.iter().map(|kind| word(kind).to_owned()).collect())
        }
        (_, Some(kind)) => word(kind).to_owned(),
        _ => "any".to_owned(),
    }
}

fn word(kind: &Value) -> &'static str {
    match kind.as_str().unwrap_or_default() {
        "string" => "string",
        "number" | "integer" => "number",
        "boolean" => "boolean",
        "array" => "any[]",
        "object" => "Record<string, any>",
        "null" => "null",
        _ => "any",
    }
}
