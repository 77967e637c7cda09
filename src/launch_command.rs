//! `hearth launch`: points a coding tool at this server by its own settings file, and puts the
//! file back that was there before.

use anyhow::{Context, Result, bail, ensure};
use axum::http::Method;
use serde_json::{Value, json};

use crate::accounts_commands::{rows, text};
use crate::cli::{Launch, Target};
use crate::client::Client;
use crate::config::{Config, Environment};
use crate::launch_file::SettingsFile;
use crate::launch_tools::{self as tools, Point};
use crate::terminal;

/// Stands for a token that was not made, because nothing is written.
const NO_TOKEN: &str = "YOUR-API-TOKEN";

/// Writes, shows or restores the settings of one tool.
pub(crate) async fn launch(
    target: &Target,
    config: &Config,
    command: &Launch,
    environment: &Environment,
) -> Result<()> {
    let file = SettingsFile::new(tools::path(command.tool, environment)?);
    if command.restore {
        return terminal::line(&file.restore()?);
    }
    let client = Client::connect(target, config).await?;
    let mut point = point(&client, command).await?;
    let former = file.read()?;
    // Before a token is made, so that a file that cannot be read leaves none behind.
    let settings = tools::merged(command.tool, &former, &point)
        .with_context(|| format!("{} is left as it is", file.path().display()))?;
    if command.print {
        terminal::line(&format!("# {}", file.path().display()))?;
        terminal::print(&settings)?;
        return terminal::line(&tools::advice(command.tool, &point));
    }
    if command.api_token.is_none() {
        point.token = token(&client, command).await?;
    }
    let settings = tools::merged(command.tool, &former, &point)?;
    file.write(&settings, tools::holds_token(command.tool))?;
    terminal::line(&format!("wrote {}", file.path().display()))?;
    terminal::line(&format!("--restore puts back what was there; {}", file.backup_note()))?;
    terminal::line(&tools::advice(command.tool, &point))
}

/// What the tool is to be told.
async fn point(client: &Client, command: &Launch) -> Result<Point> {
    let url = match (&command.url, client.server_url()) {
        (Some(url), _) => url.clone(),
        (None, Some(url)) => url.to_owned(),
        (None, None) => bail!("no server runs on this data directory; start hearth serve"),
    };
    let url = url.trim_end_matches('/').trim_end_matches("/v1").to_owned();
    ensure!(
        url.starts_with("http://") || url.starts_with("https://"),
        "--url is an address such as http://127.0.0.1:3000"
    );
    let answer = client.call(Method::GET, "/hearth/models", None).await?;
    let models = rows(&answer, "models");
    let model = match &command.model {
        Some(name) => models
            .iter()
            .find(|model| text(model, "name").eq_ignore_ascii_case(name))
            .with_context(|| format!("there is no model `{name}`; see hearth models list"))?,
        None => usual(models, &answer["default_model"]).context("there is no model that chats")?,
    };
    Ok(Point {
        url,
        token: command.api_token.clone().unwrap_or_else(|| NO_TOKEN.to_owned()),
        model: text(model, "name"),
        context_tokens: model["context_tokens"].as_u64().unwrap_or(0),
    })
}

/// The default model, unless that is the built-in guide and there is another.
fn usual<'a>(models: &'a [Value], default_model: &Value) -> Option<&'a Value> {
    let chats = || models.iter().filter(|model| model["chat"] == true);
    let is_own = |model: &&Value| model["source"] != "builtin";
    let default = chats().find(|model| model["name"] == *default_model);
    default.filter(is_own).or_else(|| chats().find(is_own)).or(default)
}

/// A new token for the tool.
async fn token(client: &Client, command: &Launch) -> Result<String> {
    let Some(user) = &command.user else {
        bail!("give --user NAME, for whom a token is made, or --api-token TOKEN");
    };
    let name = format!("launch {}", tools::name(command.tool));
    let body = json!({ "user": user, "name": name });
    let answer = client.call(Method::POST, "/hearth/tokens", Some(body)).await?;
    Ok(text(&answer, "secret"))
}

#[cfg(test)]
#[path = "launch_tests.rs"]
mod tests;
