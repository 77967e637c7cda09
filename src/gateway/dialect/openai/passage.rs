//! `/v1/images/…`, `/v1/audio/…` and `/v1/moderations`: bodies of which only the model is read, as
//! JSON or as a form.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use multer::Multipart;
use serde_json::Value;

use super::fields::Fields;
use crate::error::{Error, Result};
use crate::passage::{FormPart, PassBody, PassRequest, PassRoute};
use crate::request::RequestId;

/// Most parts of a form; OpenAI takes sixteen pictures and a dozen fields.
const MAX_PARTS: usize = 64;
/// Longest name of a part or a file, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Parses a JSON body.
pub fn parse_passage(route: PassRoute, body: &[u8], id: RequestId) -> Result<PassRequest> {
    let fields = Fields::parse(body)?;
    let model = match (fields.get("model"), route.default_model()) {
        (None, Some(default)) => default.to_owned(),
        _ => fields.model()?,
    };
    let body = PassBody::Json(Arc::new(fields.into_members()));
    Ok(PassRequest { id, model, route, body })
}

/// Parses a form, whose parts stay as they are.
pub async fn parse_form(
    route: PassRoute,
    content_type: &str,
    body: Bytes,
    id: RequestId,
) -> Result<PassRequest> {
    let boundary = multer::parse_boundary(content_type).map_err(unreadable)?;
    let whole = stream::once(async move { Ok::<_, std::convert::Infallible>(body) });
    let mut form = Multipart::new(whole, boundary);
    let (mut parts, mut model) = (Vec::new(), None);
    while let Some(field) = form.next_field().await.map_err(unreadable)? {
        if parts.len() == MAX_PARTS {
            let message = format!("The form has more than {MAX_PARTS} parts.");
            return Err(Error::Invalid { param: None, message });
        }
        let name = plain("part", field.name().unwrap_or_default())?;
        let file_name = field.file_name().map(|name| plain("file", name)).transpose()?;
        let mime = field.content_type().map(|mime| mime.essence_str().to_owned());
        let bytes = field.bytes().await.map_err(unreadable)?;
        if name == "model" && file_name.is_none() {
            model = Some(model_of(&bytes)?);
            continue;
        }
        parts.push(FormPart { name, file_name, mime, bytes });
    }
    let model = match model.or_else(|| route.default_model().map(str::to_owned)) {
        Some(model) => model,
        None => return Err(Error::invalid("model", "You must provide a 'model'.")),
    };
    Ok(PassRequest { id, model, route, body: PassBody::Form(parts.into()) })
}

/// The model's name, by the rules of every other body.
fn model_of(bytes: &[u8]) -> Result<String> {
    let name = String::from_utf8_lossy(bytes).trim().to_owned();
    let members = [("model".to_owned(), Value::String(name))].into_iter().collect();
    Fields::of(members).model()
}

/// A name that can stand between quotes in a head.
fn plain(what: &str, name: &str) -> Result<String> {
    let is_odd = |letter: char| letter.is_control() || letter == '"' || letter == '\\';
    let is_fine = name.len() <= MAX_NAME_BYTES && !name.chars().any(is_odd);
    if is_fine && (what == "file" || !name.is_empty()) {
        return Ok(name.to_owned());
    }
    let message = format!(
        "A {what} of the form has no name, or one that is longer than {MAX_NAME_BYTES} bytes or \
         has quotes, backslashes or control characters."
    );
    Err(Error::Invalid { param: None, message })
}

fn unreadable(error: multer::Error) -> Error {
    let message = format!("The body is no multipart/form-data that can be read: {error}.");
    Error::Invalid { param: None, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=b";

    fn id() -> RequestId {
        RequestId("r".to_owned())
    }

    async fn form(text: &str) -> Result<PassRequest> {
        let body = Bytes::from(text.replace('\n', "\r\n"));
        parse_form(PassRoute::Transcriptions, KIND, body, id()).await
    }

    #[tokio::test]
    async fn a_forms_model_is_read_and_its_other_parts_stay_as_they_are() {
        let text = "--b\nContent-Disposition: form-data; name=\"model\"\n\nwhisper-1\n--b\n\
                    Content-Disposition: form-data; name=\"file\"; filename=\"ä.wav\"\n\
                    Content-Type: audio/wav\n\n\u{0}\u{1}\n\n--b\n\
                    Content-Disposition: form-data; name=\"timestamp_granularities[]\"\n\nword\n\
                    --b--\n";
        let request = form(text).await.unwrap();
        assert_eq!(request.model, "whisper-1");
        let PassBody::Form(parts) = request.body else { panic!("a form") };
        let file = FormPart {
            name: "file".to_owned(),
            file_name: Some("ä.wav".to_owned()),
            mime: Some("audio/wav".to_owned()),
            bytes: Bytes::from_static(b"\0\x01\r\n"),
        };
        assert_eq!(parts[0], file);
        assert_eq!(parts[1].name, "timestamp_granularities[]");
        assert_eq!((parts[1].bytes.as_ref(), parts.len()), (b"word".as_slice(), 2));
    }

    #[tokio::test]
    async fn forms_that_are_none_have_no_model_or_hostile_names_are_refused() {
        let part = |name: &str, value: &str| {
            format!("--b\nContent-Disposition: form-data; name={name}\n\n{value}\n")
        };
        let many = part("\"x\"", "1").repeat(MAX_PARTS + 1);
        for text in [
            String::new(),
            "nothing".to_owned(),
            "--b\nContent-Disposition: form-data; name=\"file\"\n\nx\n--b--\n".to_owned(),
            format!("{}--b--\n", part("\"model\"", "")),
            format!("{}--b--\n", part("\"model\"", &"x".repeat(300))),
            format!("{}{}--b--\n", part("\"model\"", "m"), part("\"a\\\"b\"", "1")),
            format!("{}{}--b--\n", part("\"model\"", "m"), part("\"\"", "1")),
            format!("{many}--b--\n"),
            part("\"model\"", "m"),
        ] {
            let refused = form(&text).await.unwrap_err();
            assert!(matches!(refused, Error::Invalid { .. }), "{text:?}: {refused:?}");
        }
        let body = Bytes::from_static(b"--b--");
        for kind in ["multipart/form-data", "application/json", "", "multipart/mixed; boundary=b"] {
            let route = PassRoute::ImageEdits;
            assert!(parse_form(route, kind, body.clone(), id()).await.is_err(), "{kind}");
        }
    }

    #[test]
    fn a_json_body_without_a_model_asks_for_openais_default_where_there_is_one() {
        let parse = |route| parse_passage(route, br#"{"input":"x"}"#, id());
        assert_eq!(parse(PassRoute::Moderations).unwrap().model, "omni-moderation-latest");
        assert_eq!(parse(PassRoute::Images).unwrap().model, "dall-e-2");
        assert!(parse(PassRoute::Speech).is_err());
        assert!(parse_passage(PassRoute::Images, br#"{"model":7}"#, id()).is_err());
    }
}
