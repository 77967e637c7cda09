//! What a request may ask of providers and of no model that runs here: refused before anything is
//! loaded, so that nothing of it is lost in silence.

use hearth_gateway::error::Feature;
use hearth_gateway::request::{Family, GenerateRequest, Input, Media, MediaKind, Part, ToolChoice};
use hearth_gateway::{Error, Result};

/// Refuses what no model here can do.
pub(crate) fn check(request: &GenerateRequest) -> Result<()> {
    if let Input::Chat(messages) = &request.input {
        for part in messages.iter().flat_map(|message| &message.parts) {
            check_part(&request.model, part)?;
        }
    }
    let rules = &request.rules;
    let calls = rules.tools.as_ref().is_some_and(|tools| tools.choice != ToolChoice::None);
    if calls && rules.format.is_some() && !rules.yields_format {
        let message = "A format of the answer beside tools is not supported by models that run \
                       here; set 'tool_choice' to \"none\" or leave one out.";
        return Err(Error::invalid("response_format", message));
    }
    if let Some(tool) = rules.foreign_tools.iter().find(|tool| !tool.is_wish) {
        let kind: String = tool.value["type"].to_string().chars().take(60).collect();
        let message = format!("tools: a tool of type {kind} is not supported by this server");
        return Err(Error::invalid("tools", message));
    }
    let extras = request.extras.as_ref().filter(|extras| extras.family == Family::OpenAi);
    let modalities = extras.and_then(|extras| extras.fields.get("modalities"));
    if modalities.is_some_and(|wanted| *wanted != serde_json::json!(["text"])) {
        let message = "'modalities' is not supported by models that run here; leave it out.";
        return Err(Error::invalid("modalities", message));
    }
    Ok(())
}

fn check_part(model: &str, part: &Part) -> Result<()> {
    match part {
        Part::Media(media) => Err(no_media(model, media)),
        // What others may read in its place is read.
        Part::Foreign(foreign) if foreign.text.is_none() => {
            let kind: String = foreign.value["type"].to_string().chars().take(60).collect();
            let message =
                format!("The model `{model}` does not know what a part of type {kind} is.");
            Err(Error::invalid("messages", message))
        }
        _ => Ok(()),
    }
}

fn no_media(model: &str, media: &Media) -> Error {
    let (feature, what) = match media.kind {
        MediaKind::Image => (Feature::Vision, "look at an image"),
        MediaKind::Audio => (Feature::Files, "listen to audio"),
        MediaKind::Video => (Feature::Files, "watch a video"),
        MediaKind::File => (Feature::Files, "read a file; send its text"),
    };
    let message = format!("The model `{model}` cannot {what}.");
    Error::Unsupported { model: model.to_owned(), feature, message }
}

#[cfg(test)]
mod tests {
    use hearth_gateway::dialect::{anthropic, openai};
    use hearth_gateway::request::RequestId;
    use serde_json::{Value, json};

    use super::*;

    fn refused(request: &GenerateRequest) -> String {
        check(request).unwrap_err().to_string()
    }

    fn chat(change: Value) -> GenerateRequest {
        let messages = json!([{ "role": "user", "content": "x" }]);
        let mut body = json!({ "model": "m", "messages": messages });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let call = openai::parse_chat(body.to_string().as_bytes(), RequestId("r".into()));
        call.unwrap().requests.remove(0)
    }

    #[test]
    fn pictures_and_files_are_refused_by_what_they_are() {
        let with =
            |part: Value| chat(json!({ "messages": [{ "role": "user", "content": [part] }] }));
        let image = json!({ "type": "image_url", "image_url": { "url": "https://a/b.png" } });
        let found = check(&with(image)).unwrap_err();
        assert!(matches!(found, Error::Unsupported { feature: Feature::Vision, .. }), "{found}");
        let file = json!({ "type": "file", "file": { "file_id": "f" } });
        assert!(refused(&with(file)).contains("read a file"));
        check(&with(json!({ "type": "text", "text": "a" }))).unwrap();
    }

    #[test]
    fn a_format_beside_tools_is_refused_unless_it_yields() {
        let tool = json!({ "type": "function", "function": { "name": "f" } });
        let both = json!({ "tools": [tool], "response_format": { "type": "json_object" } });
        assert!(refused(&chat(both)).contains("beside tools"));
        let body = json!({ "model": "m", "max_tokens": 1, "tools": [{ "name": "f" }],
            "messages": [{ "role": "user", "content": "x" }],
            "output_config": { "format": { "type": "json_schema", "schema": {} } } });
        let body = body.to_string();
        let call = anthropic::parse_messages(body.as_bytes(), RequestId("r".into())).unwrap();
        check(&call.request).unwrap();
        assert_eq!(call.ignored, ["output_config.format"]);
    }

    #[test]
    fn sounds_as_an_answer_and_tools_of_providers_are_refused() {
        let audio = chat(json!({ "modalities": ["text", "audio"] }));
        assert!(refused(&audio).contains("'modalities'"));
        let body = json!({ "model": "m", "max_tokens": 1,
            "messages": [{ "role": "user", "content": "x" }],
            "tools": [{ "type": "web_search_20250305", "name": "web_search" }] });
        let body = body.to_string();
        let call = anthropic::parse_messages(body.as_bytes(), RequestId("r".into())).unwrap();
        assert!(refused(&call.request).contains("web_search_20250305"));
    }
}
