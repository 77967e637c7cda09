//! The functions that Hugging Face adds to Jinja, which chat templates count on.

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

/// Longest JSON text that a template may ask for.
const MAX_JSON_BYTES: usize = 1 << 20;
/// Most values in it.
const MAX_JSON_VALUES: usize = 50_000;
/// Deepest nesting of it.
const MAX_JSON_DEPTH: usize = 64;
/// Longest pattern for a date.
const MAX_PATTERN_BYTES: usize = 256;
/// Deepest indentation of JSON.
const MAX_INDENT: usize = 16;

/// Ends the render with the template's own words.
pub(super) fn raise_exception(words: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, words))
}

/// A time (UTC) by a pattern of C's `strftime`.
pub(super) fn strftime(pattern: &str, now: Timestamp) -> Result<String, Error> {
    let wrong = |problem: &str| Error::new(ErrorKind::InvalidOperation, problem.to_string());
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(wrong("the date pattern is too long"));
    }
    strtime::format(pattern, &now.to_zoned(TimeZone::UTC))
        .map_err(|_| wrong("the date pattern is not valid"))
}

/// JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it, which is what models saw in
/// training: a space after commas and colons, and nothing escaped for HTML.
pub(super) fn tojson(state: &State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let is_ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    options.assert_all_used()?;
    check_size(value, &mut { MAX_JSON_VALUES }, MAX_JSON_DEPTH)?;
    let mut output = BoundedJson { bytes: Vec::new() };
    let done = match indent {
        None => {
            let mut writer = serde_json::Serializer::with_formatter(&mut output, PythonSpacing);
            value.serialize(&mut writer)
        }
        Some(indent) => {
            let spaces = " ".repeat(indent.min(MAX_INDENT));
            let formatter = PrettyFormatter::with_indent(spaces.as_bytes());
            let mut writer = serde_json::Serializer::with_formatter(&mut output, formatter);
            value.serialize(&mut writer)
        }
    };
    state.consume_fuel(output.bytes.len() as u64 / 16)?;
    done.map_err(|_| Error::new(ErrorKind::BadSerialization, "the value is no JSON or too long"))?;
    let text = String::from_utf8(output.bytes)
        .map_err(|_| Error::new(ErrorKind::BadSerialization, "the JSON is not UTF-8"))?;
    Ok(if is_ascii { ascii(&text) } else { text })
}

/// JSON with every other letter written as an escape.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() {
            text.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    text
}

/// Lists may be lazy and stand for more values than any machine holds: counts before walking.
fn check_size(value: &Value, left: &mut usize, depth: usize) -> Result<(), Error> {
    let too_large = || Error::new(ErrorKind::BadSerialization, "the value is too large for JSON");
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
        return Ok(());
    }
    let values = value.len().ok_or_else(too_large)?;
    *left = left.checked_sub(values).ok_or_else(too_large)?;
    let depth = depth.checked_sub(1).ok_or_else(too_large)?;
    for inner in value.try_iter()? {
        let inner = if value.kind() == ValueKind::Map { value.get_item(&inner)? } else { inner };
        check_size(&inner, left, depth)?;
    }
    Ok(())
}

struct BoundedJson {
    bytes: Vec<u8>,
}

impl Write for BoundedJson {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_JSON_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `{"a": 1, "b": [2, 3]}`
struct PythonSpacing;

impl Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}
