//! Parses the parts of a message: text, pictures, sounds, films and files.

use serde_json::{Map, Value};

use super::fields::must;
use crate::dialect::media;
use crate::error::{Error, Result};
use crate::request::{Family, Media, MediaKind, MediaSource, Part};

/// Reads one part; a mark of its own follows it.
pub(super) fn parse(path: &str, value: &Value, parts: &mut Vec<Part>) -> Result<()> {
    let part = match value["type"].as_str() {
        Some("text" | "input_text") => Part::Text(text(path, value, "text")?),
        Some("refusal") => Part::Refusal(text(path, value, "refusal")?),
        Some("image_url") => of_url(path, &value["image_url"], "image_url", MediaKind::Image)?,
        Some("video_url") => of_url(path, &value["video_url"], "video_url", MediaKind::Video)?,
        Some("input_audio") => audio(&format!("{path}.input_audio"), &value["input_audio"])?,
        Some("file") => file(&format!("{path}.file"), &value["file"])?,
        Some(kind) => {
            let kind: String = kind.chars().take(40).collect();
            let message = format!(
                "A content part of type '{kind}' is not supported by this version of Hearth."
            );
            return Err(Error::invalid(path, message));
        }
        None => return Err(Error::invalid(path, must(path, "an object with a 'type'"))),
    };
    parts.push(part);
    let cache = &value["cache_control"];
    if !cache.is_null() {
        parts.push(Part::Cache(cache.clone()));
    }
    Ok(())
}

/// `{"url": …, "detail": …}`, or the URL alone, as some write it.
fn of_url(path: &str, value: &Value, name: &str, kind: MediaKind) -> Result<Part> {
    let path = format!("{path}.{name}");
    let Some(url) = value.as_str().or(value["url"].as_str()) else {
        return Err(Error::invalid(&path, must(&path, "an object with a string 'url'")));
    };
    let mut rest = value.as_object().cloned().unwrap_or_default();
    rest.remove("url");
    rest.retain(|_, value| !value.is_null());
    let source = media::of_url(&path, url)?;
    Ok(part(kind, source, None, rest))
}

fn audio(path: &str, value: &Value) -> Result<Part> {
    let format = media::text(path, value, "format")?;
    let mime = match format {
        "wav" => "audio/wav".to_owned(),
        "mp3" => "audio/mpeg".to_owned(),
        other => format!("audio/{other}"),
    };
    let source = media::of_base64(path, &mime, media::text(path, value, "data")?)?;
    Ok(part(MediaKind::Audio, source, None, Map::new()))
}

fn file(path: &str, value: &Value) -> Result<Part> {
    let name = value["filename"].as_str().map(str::to_owned);
    let source = match (value["file_data"].as_str(), value["file_id"].as_str()) {
        (Some(data), _) if data.contains(':') => media::of_url(path, data)?,
        (Some(data), _) => media::of_base64(path, "application/pdf", data)?,
        (None, Some(id)) => MediaSource::Id(Family::OpenAi, id.to_owned()),
        (None, None) => {
            return Err(Error::invalid(
                path,
                must(path, "an object with 'file_data' or 'file_id'"),
            ));
        }
    };
    Ok(part(MediaKind::File, source, name, Map::new()))
}

fn part(
    kind: MediaKind,
    source: MediaSource,
    name: Option<String>,
    rest: Map<String, Value>,
) -> Part {
    let extras = (!rest.is_empty()).then_some((Family::OpenAi, rest));
    Part::Media(Box::new(Media { kind, source, name, extras }))
}

fn text(path: &str, value: &Value, name: &str) -> Result<String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| {
        let path = format!("{path}.{name}");
        Error::invalid(&path, must(&path, "a string"))
    })
}
