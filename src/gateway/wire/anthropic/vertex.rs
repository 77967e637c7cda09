//! How Vertex AI wants Anthropic's dialect: the model stands in the path, the version in the body.

use super::super::gemini::model_path;
use super::super::{Call, Shape, Target};

/// The version of the dialect there.
const VERSION: &str = "vertex-2023-10-16";

pub(super) fn call(mut call: Call, target: &Target) -> Call {
    let action = match target.shape {
        Shape::Whole => "rawPredict",
        Shape::Stream => "streamRawPredict",
    };
    call.path = model_path(&target.model, action);
    call.body.remove("model");
    versioned(call)
}

/// The count has a model of its own name in the path, and the one that is meant in the body.
pub(super) fn count(mut call: Call) -> Call {
    call.path = "/models/count-tokens:rawPredict".to_owned();
    versioned(call)
}

fn versioned(mut call: Call) -> Call {
    call.headers.retain(|(name, _)| *name != "anthropic-version");
    call.body.insert("anthropic_version".into(), VERSION.into());
    call
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::dialect::anthropic::parse_messages;
    use crate::request::RequestId;
    use crate::wire::{Provider, Shape, Target, of};

    #[test]
    fn the_model_stands_in_the_path_and_the_version_in_the_body() {
        let body = json!({
            "model": "x", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }],
        });
        let id = RequestId("r".to_owned());
        let call = parse_messages(body.to_string().as_bytes(), id).unwrap();
        let model = "claude-sonnet-4-5@20250929".to_owned();
        let target = Target { model, shape: Shape::Stream };
        let wire = of(Provider::VertexAnthropic);
        let sent = wire.call(&call.request, &target).unwrap();
        assert_eq!(sent.path, "/models/claude-sonnet-4-5@20250929:streamRawPredict");
        assert_eq!(sent.body["anthropic_version"], "vertex-2023-10-16");
        assert_eq!((sent.body.get("model"), &sent.body["stream"]), (None, &json!(true)));
        assert!(sent.headers.is_empty(), "{:?}", sent.headers);
        let counted = wire.count(&call.request, &target).unwrap().unwrap();
        assert_eq!(counted.path, "/models/count-tokens:rawPredict");
        assert_eq!(counted.body["model"], target.model);
    }
}
