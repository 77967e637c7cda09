//! What a grammar is made from, and its form for the library.

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// Longest source, in bytes; the largest schemas that clients send have 60 kB.
const MAX_SOURCE_BYTES: usize = 128 << 10;
/// Most choices, and most tools.
const MAX_CHOICES: usize = 1024;
/// Most calls that a grammar lets one answer make.
const MAX_CALLS: usize = 8;

/// What an answer is held to.
#[derive(Clone, Debug, PartialEq)]
pub struct GrammarSource {
    pub body: GrammarBody,
    /// What may come before it.
    pub thinking: Thinking,
}

/// The grammar itself.
#[derive(Clone, Debug, PartialEq)]
pub enum GrammarBody {
    /// Any JSON object.
    JsonObject,
    /// A JSON value that a schema admits. Members come in the order of the schema.
    JsonSchema(Value),
    /// A text that an expression matches as a whole; Rust's syntax, without look-around.
    Regex(String),
    /// A text of a grammar in llguidance's dialect of Lark; its first rule is `start`.
    Lark(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// Calls of tools.
    Calls(CallGrammar),
}

/// Calls as JSON: one object, or a list where several may be made.
#[derive(Clone, Debug, PartialEq)]
pub struct CallGrammar {
    /// Names and the schemas of their arguments.
    pub tools: Vec<(String, Value)>,
    pub is_list: bool,
}

/// Whether the model thinks before the text that a grammar is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Thinking {
    #[default]
    Never,
    /// It may, between these two texts.
    Optional { open: String, close: String },
    /// The prompt made it begin; it ends with this text.
    Begun { close: String },
}

impl Thinking {
    /// The text that ends thoughts; empty where there are none.
    pub(super) fn close(&self) -> &str {
        match self {
            Thinking::Never => "",
            Thinking::Optional { close, .. } | Thinking::Begun { close } => close,
        }
    }
}

impl GrammarSource {
    /// A grammar for an answer without thoughts.
    pub fn new(body: GrammarBody) -> GrammarSource {
        GrammarSource { body, thinking: Thinking::Never }
    }

    /// The form that the library takes: the frame, and the grammars that it refers to.
    pub(super) fn grammar(&self) -> Result<TopLevelGrammar> {
        let mut grammars = vec![GrammarWithLexer::default()];
        let body = match &self.body {
            GrammarBody::Calls(calls) => calls.rule(&mut grammars)?,
            body => {
                grammars.push(named("body", body.grammar()?));
                "@body".to_string()
            }
        };
        let text = |text: &str| Value::from(text).to_string();
        let thought = |close: &str| {
            // Ends with the first closing text, and the white space behind it.
            let close = escape(close);
            format!("thought[lazy]: /(?s:.)*{close}/\nspace: /[\\n ]*/\n")
        };
        let frame = match &self.thinking {
            Thinking::Never => format!("start: {body}\n"),
            Thinking::Begun { close } => format!("start: thought space {body}\n{}", thought(close)),
            Thinking::Optional { open, close } => {
                let open = text(open);
                format!("start: ({open} thought space)? {body}\n{}", thought(close))
            }
        };
        grammars[0] = named("frame", GrammarWithLexer::from_lark(frame));
        Ok(TopLevelGrammar { grammars, max_tokens: None })
    }
}

impl GrammarBody {
    fn grammar(&self) -> Result<GrammarWithLexer> {
        let sized = |bytes: usize| match bytes > MAX_SOURCE_BYTES {
            true => Err(Error::Grammar(format!("it has over {MAX_SOURCE_BYTES} bytes"))),
            false => Ok(()),
        };
        match self {
            GrammarBody::JsonObject => schema(&json!({ "type": "object" })),
            GrammarBody::JsonSchema(value) => schema(value),
            GrammarBody::Regex(expression) => {
                sized(expression.len())?;
                Ok(GrammarWithLexer::from_regex(expression))
            }
            GrammarBody::Lark(text) => {
                sized(text.len())?;
                Ok(GrammarWithLexer::from_lark(text.clone()))
            }
            GrammarBody::Choice(choices) => {
                sized(choices.iter().map(String::len).sum())?;
                if choices.is_empty() || choices.len() > MAX_CHOICES {
                    let problem = format!("it must have 1 to {MAX_CHOICES} choices");
                    return Err(Error::Grammar(problem));
                }
                let texts: Vec<String> =
                    choices.iter().map(|choice| Value::from(choice.as_str()).to_string()).collect();
                Ok(GrammarWithLexer::from_lark(format!("start: {}\n", texts.join(" | "))))
            }
            GrammarBody::Calls(_) => Err(Error::Grammar("calls have a frame of their own".into())),
        }
    }
}

impl CallGrammar {
    /// The rule for the calls; the grammars of their arguments are added to the list.
    fn rule(&self, grammars: &mut Vec<GrammarWithLexer>) -> Result<String> {
        if self.tools.is_empty() || self.tools.len() > MAX_CHOICES {
            return Err(Error::Grammar(format!("it must have 1 to {MAX_CHOICES} tools")));
        }
        let mut calls = Vec::new();
        for (at, (name, parameters)) in self.tools.iter().enumerate() {
            let arguments = format!("arguments-{at}");
            let start = format!("{{\"name\": {}, \"arguments\": ", Value::from(name.as_str()));
            calls.push(format!("{} @{arguments} \"}}\"", Value::from(start)));
            grammars.push(named(&arguments, schema(&object(parameters))?));
        }
        let call = format!("({})", calls.join(" | "));
        Ok(match self.is_list {
            true => format!("\"[\" {call} (\", \" {call}){{0,{}}} \"]\"", MAX_CALLS - 1),
            false => call,
        })
    }
}

fn named(name: &str, mut grammar: GrammarWithLexer) -> GrammarWithLexer {
    grammar.name = Some(name.to_string());
    grammar
}

/// A schema's grammar. White space is as Python's `json.dumps` writes it, which models have seen
/// most, and never without end.
fn schema(value: &Value) -> Result<GrammarWithLexer> {
    let bytes = value.to_string().len();
    if bytes > MAX_SOURCE_BYTES {
        return Err(Error::Grammar(format!("the schema has over {MAX_SOURCE_BYTES} bytes")));
    }
    let mut members = match value {
        Value::Object(members) => members.clone(),
        Value::Bool(true) => Map::new(),
        _ => return Err(Error::Grammar("a schema must be an object or true".into())),
    };
    let spacing =
        json!({ "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": " });
    members.insert("x-guidance".into(), spacing);
    Ok(GrammarWithLexer::from_json_schema(Value::Object(members)))
}

/// The schema of a tool's arguments, which are always an object.
fn object(parameters: &Value) -> Value {
    let mut members = parameters.as_object().cloned().unwrap_or_default();
    if !["type", "$ref", "anyOf", "oneOf", "allOf"].iter().any(|key| members.contains_key(*key)) {
        members.insert("type".into(), "object".into());
    }
    Value::Object(members)
}

/// A text as an expression that matches it alone.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$/".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}
