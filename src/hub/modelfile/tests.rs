//! What Modelfiles may say, and what is wrong with those that cannot be read.

use serde_json::json;

use super::*;

fn problem(text: &str) -> String {
    Modelfile::parse(text).unwrap_err().to_string()
}

#[test]
fn every_command_is_read() {
    let text = "\u{feff}# a comment\r\n\
        from ./model.gguf\r\n\
        TEMPLATE \"\"\"{{ .Prompt }}\n  \"quoted\" \"\"\"\n\
        System Be kind.\n\
        PARAMETER temperature 0.5\n\
        PARAMETER top_k 3\n\
        parameter STOP <|end|>\n\
        PARAMETER stop \" two words\"\n\
        PARAMETER stop \"\"\"\n\"\"\"\n\
        PARAMETER use_mmap true\n\
        MESSAGE user hi there\n\
        MESSAGE assistant \"\"\"a\n\nb\"\"\"\n\
        LICENSE \"\"\"\nMIT\n\"\"\"\n\
        LICENSE BSD\n\
        ADAPTER ./lora.gguf\n\
        RENDERER qwen3\nPARSER qwen3\nREQUIRES 0.14.0\nDRAFT x\n\
        # PARAMETER top_p 3";
    let modelfile = Modelfile::parse(text).unwrap();
    let parameters = json!({ "temperature": 0.5, "top_k": 3, "use_mmap": true,
        "stop": ["<|end|>", " two words", "\n"] });
    let message =
        |role: &str, content: &str| ProfileMessage { role: role.into(), content: content.into() };
    assert_eq!(modelfile.from, "./model.gguf");
    assert_eq!(modelfile.template.as_deref(), Some("{{ .Prompt }}\n  \"quoted\" "));
    assert_eq!(modelfile.system.as_deref(), Some("Be kind."));
    assert_eq!(Value::Object(modelfile.parameters), parameters);
    let messages = [message("user", "hi there"), message("assistant", "a\n\nb")];
    assert_eq!(modelfile.messages, messages);
    assert_eq!(modelfile.licenses, ["\nMIT\n", "BSD"]);
    assert_eq!(modelfile.adapters, ["./lora.gguf"]);
    assert_eq!(modelfile.ignored, ["RENDERER", "PARSER", "REQUIRES", "DRAFT"]);
}

#[test]
fn quotes_go_to_the_line_that_ends_with_them() {
    let with = |text: &str| Modelfile::parse(&format!("FROM a\nSYSTEM {text}")).map(|m| m.system);
    for (text, expected) in [
        ("plain \"text\" here", "plain \"text\" here"),
        ("\"one\"", "one"),
        ("\"two\nlines\"", "two\nlines"),
        ("\"\"\"\"quoted\" at both ends\"\"\"\"", "\"quoted\" at both ends\""),
        ("\"\"\"\"\"\"", ""),
        ("\"\"", ""),
        ("\"\"\"a\nFROM b\"\"\"", "a\nFROM b"),
    ] {
        assert_eq!(with(text).unwrap().as_deref(), Some(expected), "{text}");
    }
    for open in ["\"\"\"a", "\"a", "\"", "\"\"\""] {
        assert_eq!(problem(&format!("FROM a\nSYSTEM {open}")), "line 2: unexpected EOF");
    }
}

#[test]
fn what_cannot_be_understood_is_told_with_its_line() {
    assert_eq!(problem(""), "line 1: no FROM line");
    assert_eq!(problem("# FROM a"), "line 1: no FROM line");
    assert_eq!(problem("FROM"), "line 1: FROM needs a value");
    assert!(problem("FROM a\n\nHELLO b").starts_with("line 3: command must be one of \"from\""));
    assert!(problem("FROM a\nMESSAGE tool b").starts_with("line 2: message role must be one of"));
    assert_eq!(problem("FROM a\nPARAMETER heat 1"), "line 2: unknown parameter 'heat'");
    for (name, value, kind) in
        [("top_k", "x", "int"), ("temperature", "warm", "float"), ("use_mmap", "2", "bool")]
    {
        let expected = format!("line 2: invalid {kind} value for parameter '{name}'");
        assert_eq!(problem(&format!("FROM a\nPARAMETER {name} {value}")), expected);
    }
    assert!(problem("FROM a\nFROM b").contains("more than one FROM"));
    assert!(problem(&"LICENSE a\n".repeat(2000)).contains("commands"));
    assert!(problem(&"x".repeat(MAX_BYTES + 1)).contains("longer"));
}

#[test]
fn written_values_are_read_as_they_were() {
    for text in ["a", " a ", "a\nb\n", "say \"hi\"", "\"\"x", "<|end|>", "\n", "a\\nb"] {
        let modelfile = Modelfile::parse(&format!("FROM a\nPARAMETER stop {}", quoted(text)));
        assert_eq!(modelfile.unwrap().parameters["stop"], json!([text]), "{text:?}");
    }
}
