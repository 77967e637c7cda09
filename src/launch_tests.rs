//! Settings of tools in a home that is thrown away.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::ValueEnum;

use super::*;
use crate::cli::Tool;

fn point() -> Point {
    Point {
        url: "http://127.0.0.1:3000".to_owned(),
        token: "sk-hearth-secret".to_owned(),
        model: "qwen3:8b".to_owned(),
        context_tokens: 40_960,
    }
}

fn environment(home: &Path) -> Environment {
    [("HOME".to_owned(), home.to_str().expect("Unicode").to_owned())].into()
}

fn file(tool: Tool, home: &Path) -> SettingsFile {
    SettingsFile::new(tools::path(tool, &environment(home)).expect("known"))
}

fn merged(tool: Tool, former: &str) -> String {
    tools::merged(tool, former, &point()).expect("can be merged")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("is there").permissions().mode() & 0o777
}

#[test]
fn every_tool_is_pointed_at_the_server_in_an_empty_home_and_back() {
    let home = tempfile::tempdir().expect("a temporary folder");
    for tool in Tool::value_variants() {
        let file = file(*tool, home.path());
        assert!(file.path().starts_with(home.path()), "{tool:?}");
        assert!(file.restore().is_err(), "{tool:?}: nothing is there");
        let text = merged(*tool, &file.read().expect("readable"));
        file.write(&text, tools::holds_token(*tool)).expect("written");
        let written = fs::read_to_string(file.path()).expect("is there");
        assert!(written.contains("http://127.0.0.1:3000"), "{tool:?}: {written}");
        assert!(written.contains("qwen3:8b"), "{tool:?}: {written}");
        assert_eq!(written.contains("sk-hearth-secret"), tools::holds_token(*tool), "{tool:?}");
        let expected = if tools::holds_token(*tool) { 0o600 } else { 0o644 };
        assert_eq!(mode(file.path()), expected, "{tool:?}");
        // The same again changes nothing.
        assert_eq!(merged(*tool, &written), written, "{tool:?}");
        file.restore().expect("restored");
        assert!(!file.path().exists(), "{tool:?}");
    }
}

#[test]
fn a_backup_is_what_the_owner_wrote_and_comes_back_whole() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let file = file(Tool::Claude, home.path());
    fs::create_dir_all(file.path().parent().expect("a folder")).expect("made");
    let own =
        "{ \"theme\": \"dark\",\n  \"env\": { \"FOO\": \"1\", \"ANTHROPIC_API_KEY\": \"k\" } }";
    fs::write(file.path(), own).expect("written");
    for _ in 0..2 {
        let text = merged(Tool::Claude, &file.read().expect("readable"));
        file.write(&text, true).expect("written");
    }
    let now: Value = serde_json::from_str(&file.read().expect("readable")).expect("JSON");
    assert_eq!((&now["theme"], &now["env"]["FOO"]), (&json!("dark"), &json!("1")));
    assert_eq!(now["env"]["ANTHROPIC_BASE_URL"], "http://127.0.0.1:3000");
    assert_eq!(now["env"]["ANTHROPIC_AUTH_TOKEN"], "sk-hearth-secret");
    assert_eq!(now["env"]["ANTHROPIC_API_KEY"], "");
    let said = file.restore().expect("restored");
    assert_eq!(fs::read_to_string(file.path()).expect("is there"), own);
    // What had been written meanwhile is kept, for its owner alone.
    let replaced = said.rsplit(' ').next().map(Path::new).expect("a path");
    assert!(fs::read_to_string(replaced).expect("is there").contains("sk-hearth-secret"));
    assert_eq!(mode(replaced), 0o600);
    assert!(file.restore().is_err(), "only once");
}

#[test]
fn settings_behind_a_link_are_written_where_they_are() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let dotfiles = home.path().join("dotfiles.toml");
    fs::write(&dotfiles, "approval_policy = \"never\"\n").expect("written");
    fs::create_dir(home.path().join(".codex")).expect("made");
    let link = home.path().join(".codex/config.toml");
    std::os::unix::fs::symlink(&dotfiles, &link).expect("linked");
    let file = file(Tool::Codex, home.path());
    let text = merged(Tool::Codex, &file.read().expect("readable"));
    file.write(&text, true).expect("written");
    assert!(fs::symlink_metadata(&link).expect("is there").is_symlink());
    let text = fs::read_to_string(&dotfiles).expect("is there");
    assert!(text.contains("hearth") && text.contains("approval_policy = \"never\""), "{text}");
}

#[test]
fn codex_keeps_comments_and_other_providers() {
    let former = "# mine\nmodel = \"gpt-5\" # fast\n\n[model_providers.azure]\nname = \"Azure\"\n\n\
                  [mcp_servers.docs]\ncommand = \"docs\"\n";
    let text = merged(Tool::Codex, former);
    assert!(text.starts_with("# mine\n"), "{text}");
    let table: toml::Table = text.parse().expect("TOML");
    assert_eq!(table["model"].as_str(), Some("qwen3:8b"));
    assert_eq!(table["model_provider"].as_str(), Some("hearth"));
    assert_eq!(table["model_providers"]["azure"]["name"].as_str(), Some("Azure"));
    let hearth = &table["model_providers"]["hearth"];
    assert_eq!(hearth["base_url"].as_str(), Some("http://127.0.0.1:3000/v1"));
    assert_eq!(hearth["wire_api"].as_str(), Some("responses"));
    assert_eq!(table["mcp_servers"]["docs"]["command"].as_str(), Some("docs"));
}

#[test]
fn opencode_and_zed_keep_their_other_models() {
    let former = json!({
        "theme": "x",
        "provider": { "hearth": { "models": { "old": { "name": "Old" } } }, "other": {} },
    });
    let now: Value =
        serde_json::from_str(&merged(Tool::Opencode, &former.to_string())).expect("JSON");
    assert_eq!(now["model"], "hearth/qwen3:8b");
    assert_eq!(now["provider"]["hearth"]["models"]["old"]["name"], "Old");
    assert_eq!(now["provider"]["hearth"]["options"]["baseURL"], "http://127.0.0.1:3000/v1");
    assert_eq!((&now["theme"], &now["provider"]["other"]), (&json!("x"), &json!({})));
    let former = json!({ "language_models": { "openai_compatible": { "local-hearth": {
        "available_models": [{ "name": "qwen3:8b", "max_tokens": 1 }, { "name": "b" }] } } } });
    let now: Value = serde_json::from_str(&merged(Tool::Zed, &former.to_string())).expect("JSON");
    let provider = &now["language_models"]["openai_compatible"]["local-hearth"];
    let models = provider["available_models"].as_array().expect("a list");
    assert_eq!(models.len(), 2, "{now}");
    assert_eq!((&models[0]["name"], &models[1]["max_tokens"]), (&json!("b"), &json!(40_960)));
}

#[test]
fn comments_in_json_settings_stay() {
    let zed = "// Zed settings\n{\n  \"theme\": \"One Dark\", // at night\n}\n";
    let now = merged(Tool::Zed, zed);
    assert!(now.starts_with("// Zed settings\n") && now.contains("// at night"), "{now}");
    assert!(now.contains("local-hearth"), "{now}");
    assert_eq!(merged(Tool::Zed, &now), now);
    let claude = "{ // a comment\n \"env\": { \"FOO\": \"1\" } }";
    let now = merged(Tool::Claude, claude);
    assert!(now.contains("// a comment") && now.contains("ANTHROPIC_BASE_URL"), "{now}");
    let opencode = "{ /* mine */ \"theme\": \"x\" }";
    assert!(merged(Tool::Opencode, opencode).contains("/* mine */"));
}

#[test]
fn yaml_is_changed_line_by_line() {
    let former = "# my aider\nmodel: gpt-4o # old\ndark-mode: true\nread:\n  - a.md\n";
    assert_eq!(
        merged(Tool::Aider, former),
        "# my aider\nmodel: \"openai/qwen3:8b\"\ndark-mode: true\nread:\n  - a.md\n\
         openai-api-base: \"http://127.0.0.1:3000/v1\"\nopenai-api-key: \"sk-hearth-secret\"\n"
    );
    let goose =
        merged(Tool::Goose, "GOOSE_MODEL: old\nextensions:\n  developer:\n    enabled: true\n");
    assert!(goose.starts_with("GOOSE_MODEL: \"qwen3:8b\"\nextensions:\n  developer:\n"), "{goose}");
    let former = "name: Mine\nmodels:\n- name: Other # kept\n  provider: x\nrules: []\n";
    let once = merged(Tool::Continue, former);
    assert!(
        once.starts_with("name: Mine\nmodels:\n- name: \"Hearth qwen3:8b\"\n  provider: openai\n"),
        "{once}"
    );
    assert!(once.ends_with("- name: Other # kept\n  provider: x\nrules: []\n"), "{once}");
    assert_eq!(merged(Tool::Continue, &once), once);
}

#[test]
fn what_is_not_understood_is_left_alone() {
    for (tool, former) in [
        (Tool::Claude, "{ env: {} }"),
        (Tool::Claude, "[]"),
        (Tool::Claude, "{ \"env\": 7 }"),
        (Tool::Opencode, "{ \"provider\": [] }"),
        (Tool::Zed, "{ \"language_models\": null }"),
        (Tool::Codex, "model = "),
        (Tool::Codex, "model_providers = 7"),
        (Tool::Aider, "{ model: x }"),
        (Tool::Aider, "model: >\n  gpt\n"),
        (Tool::Aider, "model: a\nmodel: b\n"),
        (Tool::Aider, "a: 1\n---\nb: 2\n"),
        (Tool::Continue, "models: [{ name: a }]\n"),
    ] {
        assert!(tools::merged(tool, former, &point()).is_err(), "{tool:?}: {former}");
    }
}

#[test]
fn the_usual_model_is_not_the_guide_if_there_is_another() {
    let model = |name: &str, source: &str, chat: bool| json!({ "name": name, "source": source, "chat": chat });
    let guide = model("hearth-guide", "builtin", true);
    let both = [guide.clone(), model("vectors", "imported", false), model("q", "imported", true)];
    assert_eq!(usual(&both, &json!("hearth-guide")), Some(&both[2]));
    assert_eq!(usual(&both[..2], &json!("hearth-guide")), Some(&guide));
    assert_eq!(usual(&[], &Value::Null), None);
}
