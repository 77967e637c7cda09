//! Each tool's settings: where they are and what in them points at a server. Texts in, texts out.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use toml_edit::DocumentMut;

use crate::cli::Tool;
use crate::config::Environment;
use crate::launch_json as jsonc;
use crate::launch_yaml as yaml;

/// What a tool is told.
pub(crate) struct Point {
    /// Without a path.
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) model: String,
    pub(crate) context_tokens: u64,
}

/// The tool's name in texts.
pub(crate) fn name(tool: Tool) -> &'static str {
    match tool {
        Tool::Claude => "claude",
        Tool::Codex => "codex",
        Tool::Opencode => "opencode",
        Tool::Aider => "aider",
        Tool::Continue => "continue",
        Tool::Zed => "zed",
        Tool::Goose => "goose",
    }
}

/// The settings of who runs the command.
pub(crate) fn path(tool: Tool, environment: &Environment) -> Result<PathBuf> {
    let home = home(environment)?;
    let named = |variable: &str, usual: &str| {
        let set = environment.get(variable).filter(|value| !value.is_empty());
        set.map_or_else(|| home.join(usual), PathBuf::from)
    };
    let config = || named("XDG_CONFIG_HOME", ".config");
    Ok(match tool {
        Tool::Claude => named("CLAUDE_CONFIG_DIR", ".claude").join("settings.json"),
        Tool::Codex => named("CODEX_HOME", ".codex").join("config.toml"),
        Tool::Opencode => config().join("opencode/opencode.json"),
        Tool::Aider => home.join(".aider.conf.yml"),
        Tool::Continue => home.join(".continue/config.yaml"),
        Tool::Zed => config().join("zed/settings.json"),
        Tool::Goose => config().join("goose/config.yaml"),
    })
}

/// The home directory of who runs the command.
fn home(environment: &Environment) -> Result<PathBuf> {
    let home = environment.get("HOME").filter(|home| !home.is_empty());
    home.map(PathBuf::from).context("HOME is not set, so the tool's settings cannot be found")
}

/// Whether the token stands in the file; else the tool reads it from its environment.
pub(crate) fn holds_token(tool: Tool) -> bool {
    !matches!(tool, Tool::Zed | Tool::Goose)
}

/// What its owner does next.
pub(crate) fn advice(tool: Tool, point: &Point) -> String {
    let Point { token, model, .. } = point;
    match tool {
        Tool::Claude => "Run claude; /status shows the address.".to_owned(),
        Tool::Codex => "Run codex.".to_owned(),
        Tool::Opencode => "Run opencode.".to_owned(),
        Tool::Aider => "Run aider.".to_owned(),
        Tool::Continue => format!("Choose Hearth {model} among Continue's models."),
        Tool::Zed => format!("Start Zed with LOCAL_HEARTH_API_KEY={token} in its environment."),
        Tool::Goose => format!(
            "Goose takes its key from the environment: OPENAI_API_KEY={token} goose session"
        ),
    }
}

/// The former settings with what points at the server; everything else stays as it was.
pub(crate) fn merged(tool: Tool, former: &str, point: &Point) -> Result<String> {
    match tool {
        Tool::Claude => claude(former, point),
        Tool::Codex => codex(former, point),
        Tool::Opencode => opencode(former, point),
        Tool::Aider => yaml::with_keys(
            former,
            &[
                ("openai-api-base", &format!("{}/v1", point.url)),
                ("openai-api-key", &point.token),
                ("model", &format!("openai/{}", point.model)),
            ],
        ),
        Tool::Continue => continued(former, point),
        Tool::Zed => zed(former, point),
        Tool::Goose => yaml::with_keys(
            former,
            &[
                ("GOOSE_PROVIDER", "openai"),
                ("GOOSE_MODEL", &point.model),
                ("OPENAI_HOST", &point.url),
                ("OPENAI_BASE_PATH", "v1/chat/completions"),
            ],
        ),
    }
}

fn claude(former: &str, point: &Point) -> Result<String> {
    let mut settings = jsonc::parse(former)?;
    let env = object(&mut settings, "env")?;
    env.insert("ANTHROPIC_BASE_URL".to_owned(), json!(point.url));
    env.insert("ANTHROPIC_AUTH_TOKEN".to_owned(), json!(point.token));
    // Both credentials would be sent, and the other one is not for us.
    if env.contains_key("ANTHROPIC_API_KEY") {
        env.insert("ANTHROPIC_API_KEY".to_owned(), json!(""));
    }
    for key in ["MODEL", "DEFAULT_OPUS_MODEL", "DEFAULT_SONNET_MODEL", "DEFAULT_HAIKU_MODEL"] {
        env.insert(format!("ANTHROPIC_{key}"), json!(point.model));
    }
    jsonc::printed(former, &settings)
}

fn codex(former: &str, point: &Point) -> Result<String> {
    let mut settings: DocumentMut = former.parse().context("it is not TOML")?;
    settings["model"] = toml_edit::value(&point.model);
    settings["model_provider"] = toml_edit::value("hearth");
    let providers = settings.entry("model_providers").or_insert_with(|| {
        let mut table = toml_edit::Table::new();
        // Its tables alone are written.
        table.set_implicit(true);
        toml_edit::Item::Table(table)
    });
    let providers = providers.as_table_like_mut().context("model_providers is no table")?;
    let provider = providers.entry("hearth").or_insert(toml_edit::table());
    let provider = provider.as_table_like_mut().context("model_providers.hearth is no table")?;
    for (key, value) in [
        ("name", "Hearth"),
        ("base_url", &format!("{}/v1", point.url)),
        ("wire_api", "responses"),
        ("experimental_bearer_token", &point.token),
    ] {
        provider.insert(key, toml_edit::value(value));
    }
    Ok(settings.to_string())
}

fn opencode(former: &str, point: &Point) -> Result<String> {
    let mut settings = jsonc::parse(former)?;
    if settings.is_empty() {
        settings.insert("$schema".to_owned(), json!("https://opencode.ai/config.json"));
    }
    let hearth = object(object(&mut settings, "provider")?, "hearth")?;
    hearth.insert("npm".to_owned(), json!("@ai-sdk/openai-compatible"));
    hearth.insert("name".to_owned(), json!("Hearth"));
    let options = object(hearth, "options")?;
    options.insert("baseURL".to_owned(), json!(format!("{}/v1", point.url)));
    options.insert("apiKey".to_owned(), json!(point.token));
    let model = object(object(hearth, "models")?, &point.model)?;
    model.entry("name").or_insert_with(|| json!(point.model));
    settings.insert("model".to_owned(), json!(format!("hearth/{}", point.model)));
    jsonc::printed(former, &settings)
}

fn zed(former: &str, point: &Point) -> Result<String> {
    let mut settings = jsonc::parse(former)?;
    let models = object(&mut settings, "language_models")?;
    let provider = object(object(models, "openai_compatible")?, "local-hearth")?;
    provider.insert("api_url".to_owned(), json!(format!("{}/v1", point.url)));
    let available = provider.entry("available_models").or_insert_with(|| json!([]));
    let available = available.as_array_mut().context("available_models is no list")?;
    available.retain(|model| model["name"] != json!(point.model));
    available.push(json!({
        "name": point.model,
        "display_name": format!("Hearth {}", point.model),
        "max_tokens": point.context_tokens,
    }));
    jsonc::printed(former, &settings)
}

fn continued(former: &str, point: &Point) -> Result<String> {
    let quoted = |text: &str| json!(text).to_string();
    let item = [
        format!("name: {}", quoted(&format!("Hearth {}", point.model))),
        "provider: openai".to_owned(),
        format!("model: {}", quoted(&point.model)),
        format!("apiBase: {}", quoted(&format!("{}/v1", point.url))),
        format!("apiKey: {}", quoted(&point.token)),
    ];
    let head = "name: Hearth\nversion: 0.0.1\nschema: v1\n";
    let former = if former.trim().is_empty() { head } else { former };
    yaml::with_item(former, "models", &item)
}

/// The object under a key, made if it is absent.
fn object<'a>(parent: &'a mut Map<String, Value>, key: &str) -> Result<&'a mut Map<String, Value>> {
    let member = parent.entry(key).or_insert_with(|| json!({}));
    ensure!(member.is_object(), "`{key}` is no object there");
    member.as_object_mut().context("checked above")
}
