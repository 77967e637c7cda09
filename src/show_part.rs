//! The parts of `/api/show`, printed for people.

use serde_json::Value;

use crate::accounts_commands::text;
use crate::terminal::printable;

/// Lines of a licence that are shown beside the rest.
const LICENSE_LINES: usize = 2;

/// A part of what is known of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Info,
    License,
    Modelfile,
    Parameters,
    System,
    Template,
}

/// This part, without anything that could command a terminal.
pub(crate) fn part(about: &Value, part: Part) -> String {
    let (key, absent) = match part {
        Part::Info => return info(about),
        Part::License => ("license", "No license is kept with this model."),
        Part::Modelfile => ("modelfile", ""),
        Part::Parameters => ("parameters", "No parameters are kept with this model."),
        Part::System => ("system", "No system message is kept with this model."),
        Part::Template => ("template", "This model has no template."),
    };
    match text(about, key).trim_end() {
        "" => absent.to_owned(),
        found => printable(found),
    }
}

/// Sections, as Ollama has them.
fn info(about: &Value) -> String {
    let details = &about["details"];
    let known = &about["model_info"];
    let family = text(details, "family");
    let number = |key: &str| known[format!("{family}.{key}")].as_u64();
    let mut rows =
        vec![("architecture", family.clone()), ("parameters", text(details, "parameter_size"))];
    let context = number("context_length").or(details["context_length"].as_u64());
    for (name, value) in
        [("context length", context), ("embedding length", number("embedding_length"))]
    {
        rows.extend(value.map(|value| (name, value.to_string())));
    }
    rows.push(("quantization", text(details, "quantization_level")));
    let rows = rows.iter().map(|(name, value)| format!("{name:<20}{}", printable(value)));
    let mut sections = vec![section("Model", rows.collect())];
    let lines = |key: &str| -> Vec<String> {
        printable(&text(about, key)).lines().map(str::to_owned).collect()
    };
    let capabilities = about["capabilities"].as_array().into_iter().flatten();
    let capabilities: Vec<String> =
        capabilities.filter_map(Value::as_str).map(str::to_owned).collect();
    let mut license = lines("license");
    if license.len() > LICENSE_LINES {
        license.truncate(LICENSE_LINES);
        license.push("...".to_owned());
    }
    for (name, lines) in [
        ("Capabilities", capabilities),
        ("Parameters", lines("parameters")),
        ("System", lines("system")),
        ("License", license),
    ] {
        if !lines.is_empty() {
            sections.push(section(name, lines));
        }
    }
    sections.join("\n")
}

fn section(name: &str, lines: Vec<String>) -> String {
    let lines = lines.iter().map(|line| format!("    {line}\n"));
    format!("  {name}\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_model_is_shown_in_sections_and_harmlessly() {
        let about = json!({
            "details": { "family": "llama", "parameter_size": "260.03K", "quantization_level": "F32" },
            "model_info": { "llama.context_length": 512, "llama.embedding_length": 64 },
            "capabilities": ["completion"],
            "system": "Be\u{1b}[2J kind.",
            "license": "MIT\nline two\nline three",
        });
        let shown = part(&about, Part::Info);
        assert!(shown.contains("    context length      512\n"), "{shown}");
        assert!(shown.contains("  Capabilities\n    completion\n"), "{shown}");
        assert!(shown.contains("    line two\n    ...\n") && !shown.contains("three"), "{shown}");
        assert!(!shown.contains('\u{1b}') && shown.contains("Be␛[2J kind."), "{shown}");
        assert!(!shown.contains("Parameters"), "{shown}");
        assert_eq!(part(&about, Part::Parameters), "No parameters are kept with this model.");
        assert!(part(&about, Part::License).contains("three"));
    }
}
