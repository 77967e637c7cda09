//! Parses the bodies of `/api/chat` and `/api/generate`.

use serde_json::Value;

use super::messages::{parse_images, parse_messages};
use super::shared::{Shared, model, parse_body};
use super::{Call, Shape, Task};
use crate::dialect::fields::Fields;
use crate::dialect::tools;
use crate::error::{Error, Result};
use crate::request::{
    AnswerRules, GenerateRequest, Input, Message, RequestId, Role, ToolChoice, Tools,
};

/// Parses a chat. Every number of the result is in the range that [`GenerateRequest`] states.
pub fn parse_chat(body: &[u8], id: RequestId) -> Result<Call> {
    let mut fields = parse_body(body)?;
    let model = model(&fields)?;
    if model.is_empty() {
        return Err(Error::invalid("model", "model is required"));
    }
    let messages = parse_messages(fields.take("messages"))?;
    let list = tools::parse_list(fields.take("tools"))?;
    let shared = Shared::parse(model, &mut fields)?;
    if messages.is_empty() {
        return Ok(shared.load(Shape::Chat));
    }
    let tools =
        (!list.is_empty()).then_some(Tools { list, choice: ToolChoice::Auto, is_parallel: true });
    let rules = AnswerRules { tools, ..AnswerRules::default() };
    Ok(shared.generate(Shape::Chat, id, Input::Chat(messages), rules))
}

/// Parses a prompt.
pub fn parse_generate(body: &[u8], id: RequestId) -> Result<Call> {
    let mut fields = parse_body(body)?;
    let model = model(&fields)?;
    if model.is_empty() {
        return Err(Error::NoModel(String::new()));
    }
    let images = parse_images(fields.get("images"))?;
    let is_raw = fields.flag("raw")?;
    let text = |fields: &Fields, name: &str| {
        Ok::<_, Error>(fields.text(name)?.unwrap_or_default().to_owned())
    };
    let (prompt, suffix) = (text(&fields, "prompt")?, text(&fields, "suffix")?);
    let (system, template) = (text(&fields, "system")?, text(&fields, "template")?);
    let before = parse_context(fields.take("context"))?;
    if is_raw && !(system.is_empty() && template.is_empty() && before.is_empty()) {
        let message = "raw mode does not support template, system, or context";
        return Err(Error::invalid("raw", message));
    }
    if is_raw && !suffix.is_empty() {
        return Err(Error::invalid("raw", "raw mode does not support suffix"));
    }
    let shared = Shared::parse(model, &mut fields)?;
    if !images.is_empty() && (is_raw || !suffix.is_empty()) {
        return Err(Error::invalid("images", "raw mode and suffix do not support images"));
    }
    if prompt.is_empty() && images.is_empty() {
        return Ok(shared.load(Shape::Generate));
    }
    let input = if is_raw {
        Input::Text(prompt)
    } else if !suffix.is_empty() {
        Input::Infill { prompt, suffix }
    } else {
        let system = (!system.is_empty()).then(|| Message::text(Role::System, system));
        let mut user = Message::text(Role::User, prompt);
        user.parts.extend(images);
        Input::Chat(system.into_iter().chain([user]).collect())
    };
    let template = (!template.is_empty()).then_some(template);
    let rules = AnswerRules { template, ..AnswerRules::default() };
    let mut call = shared.generate(Shape::Generate, id, input, rules);
    if let Task::Generate(request) = &mut call.task {
        request.window.before = before;
        request.window.tells_context = !is_raw;
    }
    Ok(call)
}

/// Tokens that an earlier answer gave.
fn parse_context(value: Option<Value>) -> Result<Vec<u32>> {
    let wrong = || Error::invalid("context", "context must be a list of token ids");
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(ids)) => ids
            .iter()
            .map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

impl Shared {
    fn load(self, shape: Shape) -> Call {
        Call {
            model: self.model,
            task: Task::Load,
            shape,
            is_streamed: self.is_streamed,
            keep_alive: self.keep_alive,
            ignored: Vec::new(),
        }
    }

    fn generate(self, shape: Shape, id: RequestId, input: Input, rules: AnswerRules) -> Call {
        let (model, is_streamed) = (self.model.clone(), self.is_streamed);
        let (keep_alive, is_rendered_only) = (self.keep_alive, self.is_rendered_only);
        let (request, ignored): (GenerateRequest, _) = self.request(id, input, rules);
        let request = Box::new(request);
        let task = if is_rendered_only { Task::Render(request) } else { Task::Generate(request) };
        Call { model, task, shape, is_streamed, keep_alive, ignored }
    }
}
