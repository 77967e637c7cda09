//! Lays what a model carries besides its weights under a request: the request's own words win.

use hearth_gateway::dialect::ollama::ModelOptions;
use hearth_gateway::request::{GenerateRequest, Input, Message, Role, Sampling};
use hearth_hub::Profile;

pub(crate) fn apply(profile: Profile, request: &mut GenerateRequest) {
    if !profile.parameters.is_empty() {
        apply_options(ModelOptions::of(&profile.parameters), request);
    }
    // Whoever goes on with an earlier conversation has said all this already.
    if !request.window.before.is_empty() {
        return;
    }
    let Input::Chat(messages) = &mut request.input else { return };
    let systems = messages.iter().take_while(|message| message.role == Role::System).count();
    let carried = profile.messages.iter().filter_map(|message| {
        let role = match message.role.as_str() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => return None,
        };
        Some(Message::text(role, message.content.clone()))
    });
    messages.splice(systems..systems, carried);
    let has_system = messages.iter().any(|message| message.role == Role::System);
    if let Some(system) = profile.system.filter(|_| !has_system) {
        messages.insert(0, Message::text(Role::System, system));
    }
}

fn apply_options(options: ModelOptions, request: &mut GenerateRequest) {
    let (model, wanted) = (options.sampling, &mut request.sampling);
    *wanted = Sampling {
        temperature: wanted.temperature.or(model.temperature),
        top_k: wanted.top_k.or(model.top_k),
        top_p: wanted.top_p.or(model.top_p),
        min_p: wanted.min_p.or(model.min_p),
        repetition_penalty: wanted.repetition_penalty.or(model.repetition_penalty),
        presence_penalty: wanted.presence_penalty.or(model.presence_penalty),
        frequency_penalty: wanted.frequency_penalty.or(model.frequency_penalty),
        logit_bias: std::mem::take(&mut wanted.logit_bias),
        seed: wanted.seed.or(model.seed),
    };
    request.max_tokens = request.max_tokens.or(options.max_tokens);
    let window = &mut request.window;
    window.limit_tokens = window.limit_tokens.or(options.limit_tokens);
    if request.stop.is_empty() {
        request.stop = options.stop;
    }
}

#[cfg(test)]
mod tests {
    use hearth_gateway::request::{AnswerRules, Priority, RequestId, Window};
    use hearth_hub::ProfileMessage;
    use serde_json::json;

    use super::*;

    fn request(messages: Vec<Message>) -> GenerateRequest {
        GenerateRequest {
            id: RequestId("r".into()),
            model: "m".into(),
            input: Input::Chat(messages),
            priority: Priority::Default,
            sampling: Sampling { temperature: Some(0.1), ..Sampling::default() },
            max_tokens: None,
            stop: Vec::new(),
            choices: 1,
            logprobs: None,
            echo: false,
            rules: AnswerRules::default(),
            window: Window::default(),
            fallback: Sampling::default(),
            extras: None,
        }
    }

    fn profile() -> Profile {
        let parameters = json!({ "temperature": 1, "top_k": 3, "num_predict": 9, "stop": ["x"],
            "num_ctx": 64, "seed": "wrong" });
        let message = |role: &str, content: &str| ProfileMessage {
            role: role.into(),
            content: content.into(),
        };
        Profile {
            system: Some("Be kind.".into()),
            parameters: parameters.as_object().unwrap().clone(),
            messages: vec![message("user", "hi"), message("assistant", "hello")],
            ..Profile::default()
        }
    }

    #[test]
    fn a_models_own_words_come_first_and_the_requests_numbers_win() {
        let mut request = request(vec![Message::text(Role::User, "q")]);
        apply(profile(), &mut request);
        let Input::Chat(messages) = &request.input else { panic!("a chat") };
        let texts: Vec<String> = messages.iter().map(Message::joined_text).collect();
        assert_eq!(texts, ["Be kind.", "hi", "hello", "q"]);
        assert_eq!((request.sampling.temperature, request.sampling.top_k), (Some(0.1), Some(3)));
        assert_eq!((request.sampling.seed, request.max_tokens), (None, Some(9)));
        assert_eq!((request.stop, request.window.limit_tokens), (vec!["x".to_owned()], Some(64)));
    }

    #[test]
    fn a_requests_own_system_message_stands_alone() {
        let own = Message::text(Role::System, "Be brief.");
        let mut request = request(vec![own, Message::text(Role::User, "q")]);
        apply(profile(), &mut request);
        let Input::Chat(messages) = &request.input else { panic!("a chat") };
        let texts: Vec<String> = messages.iter().map(Message::joined_text).collect();
        assert_eq!(texts, ["Be brief.", "hi", "hello", "q"]);
    }
}
