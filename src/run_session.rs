//! A conversation: what was said, how answers are wanted, and what a typed line means. It prints
//! nothing and calls nobody.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::cli::Run;
use crate::show_part::Part;

/// Parameters that a request may carry.
const PARAMETERS: [(&str, &str); 11] = [
    ("temperature", "how freely words are drawn, 0 to 2"),
    ("top_k", "words to draw from"),
    ("top_p", "share of likely words to draw from"),
    ("min_p", "least likelihood beside the likeliest word's"),
    ("seed", "a whole number for answers that can be repeated"),
    ("num_predict", "most tokens of an answer"),
    ("num_ctx", "most tokens of the conversation"),
    ("repeat_penalty", "how much repetition is held back"),
    ("presence_penalty", "how much used words are held back"),
    ("frequency_penalty", "the same, by how often they were used"),
    ("stop", "texts that end an answer, in quotes"),
];

const HELP: &str = "\
  /set parameter NAME VALUE   how answers are drawn; /set parameter lists all
  /set system TEXT            what the model is told first
  /set format json            answers in JSON; /set noformat ends it
  /set think [LEVEL]          think first; /set nothink does not
  /set wordwrap               break lines between words; /set nowordwrap does not
  /set verbose                tell how long answers take; /set quiet does not
  /set history                keep what is typed; /set nohistory does not
  /show info|license|modelfile|parameters|system|template
  /load NAME                  talk to another model
  /save NAME                  keep model, settings and conversation under a name
  /clear                      forget the conversation
  /bye                        leave, as does Ctrl+D
  \"\"\"                         begins and ends a text of several lines
Ctrl+C stops an answer; Ctrl+G opens $VISUAL or $EDITOR with the line.";

const BLOCK: &str = "\"\"\"";

/// A conversation and its settings.
pub(crate) struct Session {
    pub(crate) model: String,
    pub(crate) messages: Vec<Value>,
    pub(crate) is_verbose: bool,
    pub(crate) hides_thinking: bool,
    pub(crate) wraps_words: bool,
    system: Option<String>,
    options: Map<String, Value>,
    format: Option<Value>,
    think: Option<Value>,
    keep_alive: Option<Value>,
    /// A text of several lines that has not ended.
    block: Option<Block>,
}

/// Lines between quotes, and what they are for.
struct Block {
    lines: String,
    is_system: bool,
}

/// What a line comes to.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing is to be done.
    Nothing,
    /// More lines belong to it.
    More,
    /// A question; it is the last message now.
    Ask,
    /// Something to print.
    Say(String),
    /// A part of what is known of the model.
    Show(Part),
    Load(String),
    Save(String),
    KeepHistory(bool),
    Leave,
}

impl Session {
    /// An empty one, as the command line says.
    pub(crate) fn new(command: &Run) -> Result<Session> {
        Ok(Session {
            model: command.name.clone(),
            messages: Vec::new(),
            is_verbose: command.verbose,
            hides_thinking: command.hidethinking,
            wraps_words: !command.nowordwrap,
            system: None,
            options: Map::new(),
            format: command.format.as_deref().map(format).transpose()?,
            think: command.think.as_deref().map(think),
            keep_alive: command.keepalive.as_deref().map(keep_alive),
            block: None,
        })
    }

    /// Adds a question.
    pub(crate) fn ask(&mut self, question: String) {
        self.messages.push(json!({ "role": "user", "content": question }));
    }

    /// The last question, whose answer is to come, as a request.
    pub(crate) fn request(&self) -> Value {
        let system = self.system.iter().map(|text| json!({ "role": "system", "content": text }));
        let messages: Vec<Value> = system.chain(self.messages.iter().cloned()).collect();
        let mut body = json!({ "model": self.model, "messages": messages, "stream": true });
        if !self.options.is_empty() {
            body["options"] = json!(self.options);
        }
        let settings =
            [("format", &self.format), ("think", &self.think), ("keep_alive", &self.keep_alive)];
        for (name, value) in settings {
            if let Some(value) = value {
                body[name] = value.clone();
            }
        }
        body
    }

    /// Model, settings and conversation, to be kept under a name.
    pub(crate) fn recipe(&self, name: &str) -> Value {
        let mut body = json!({ "model": name, "from": self.model, "stream": false });
        if let Some(system) = &self.system {
            body["system"] = json!(system);
        }
        if !self.options.is_empty() {
            body["parameters"] = json!(self.options);
        }
        if !self.messages.is_empty() {
            body["messages"] = json!(self.messages);
        }
        body
    }

    /// What this session itself has set of a part, for `/show`.
    pub(crate) fn own(&self, part: Part) -> Option<String> {
        match part {
            Part::System => self.system.clone(),
            Part::Parameters if !self.options.is_empty() => {
                let lines = self.options.iter().map(|(name, value)| format!("{name:<30} {value}"));
                Some(lines.collect::<Vec<_>>().join("\n"))
            }
            _ => None,
        }
    }

    /// Whether a text of several lines has begun.
    pub(crate) fn is_in_block(&self) -> bool {
        self.block.is_some()
    }

    /// Gives up a text that has begun.
    pub(crate) fn drop_block(&mut self) {
        self.block = None;
    }

    /// Understands a line.
    pub(crate) fn take(&mut self, line: &str) -> Step {
        if self.block.is_some() {
            return self.take_block(line);
        }
        let trimmed = line.trim();
        if trimmed.is_empty() {
            return Step::Nothing;
        }
        if let Some(rest) = trimmed.strip_prefix(BLOCK) {
            return self.begin_block(rest, false);
        }
        if trimmed.starts_with('/') && !trimmed.starts_with("//") {
            let (word, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
            return self.command(word, rest.trim());
        }
        self.ask(line.trim_end().to_owned());
        Step::Ask
    }

    fn begin_block(&mut self, rest: &str, is_system: bool) -> Step {
        self.block = Some(Block { lines: String::new(), is_system });
        self.take_block(rest)
    }

    fn take_block(&mut self, line: &str) -> Step {
        let Some(mut block) = self.block.take() else { return Step::Nothing };
        let Some(last) = line.trim_end().strip_suffix(BLOCK) else {
            block.lines.push_str(line);
            block.lines.push('\n');
            self.block = Some(block);
            return Step::More;
        };
        block.lines.push_str(last);
        let text = block.lines.trim_matches('\n').to_owned();
        match block.is_system {
            true => self.set_system(text),
            false if text.trim().is_empty() => Step::Nothing,
            false => {
                self.ask(text);
                Step::Ask
            }
        }
    }

    fn set_system(&mut self, text: String) -> Step {
        let is_empty = text.is_empty();
        self.system = (!is_empty).then_some(text);
        say(if is_empty { "The model is told nothing first." } else { "Set system message." })
    }

    fn command(&mut self, word: &str, rest: &str) -> Step {
        let named = |make: fn(String) -> Step| match rest {
            "" => say(&format!("Write {word} NAME.")),
            name => make(name.to_owned()),
        };
        match word {
            "/bye" | "/exit" | "/quit" => Step::Leave,
            "/?" | "/help" => say(HELP),
            "/clear" => {
                self.messages.clear();
                say("Cleared the conversation.")
            }
            "/load" => named(Step::Load),
            "/save" => named(Step::Save),
            "/show" => match part(rest) {
                Some(part) => Step::Show(part),
                None => {
                    say("Write /show info, license, modelfile, parameters, system or template.")
                }
            },
            "/set" => self.set(rest),
            _ => say(&format!("Unknown command {word}; /? lists all.")),
        }
    }

    fn set(&mut self, rest: &str) -> Step {
        let (what, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let value = value.trim();
        match (what, value) {
            ("parameter", "") => {
                let lines = PARAMETERS.iter().map(|(name, about)| format!("  {name:<18} {about}"));
                Step::Say(lines.collect::<Vec<_>>().join("\n"))
            }
            ("parameter", value) => match self.set_parameter(value) {
                Ok(said) => Step::Say(said),
                Err(error) => Step::Say(error.to_string()),
            },
            ("system", value) => match value.strip_prefix(BLOCK) {
                Some(rest) => self.begin_block(rest, true),
                None => self.set_system(value.to_owned()),
            },
            ("format", value) => match format(value) {
                Ok(value) => {
                    self.format = Some(value);
                    say("Set the format.")
                }
                Err(error) => Step::Say(error.to_string()),
            },
            ("noformat", _) => {
                self.format = None;
                say("Answers are plain text.")
            }
            ("wordwrap", _) => self.wrap_words(true),
            ("nowordwrap", _) => self.wrap_words(false),
            ("verbose", _) => self.tell_times(true),
            ("quiet", _) => self.tell_times(false),
            ("think", "" | "true" | "low" | "medium" | "high" | "max") => {
                self.think = Some(think(if value.is_empty() { "true" } else { value }));
                say("The model thinks first.")
            }
            ("nothink", _) => {
                self.think = Some(json!(false));
                say("The model does not think first.")
            }
            ("history", _) => Step::KeepHistory(true),
            ("nohistory", _) => Step::KeepHistory(false),
            _ => say("There is no such setting; /? lists all."),
        }
    }

    fn wrap_words(&mut self, wraps: bool) -> Step {
        self.wraps_words = wraps;
        say(if wraps { "Lines break between words." } else { "Lines break at the edge." })
    }

    fn tell_times(&mut self, is_verbose: bool) -> Step {
        self.is_verbose = is_verbose;
        say(if is_verbose { "Answers tell their times." } else { "Answers tell no times." })
    }

    fn set_parameter(&mut self, text: &str) -> Result<String> {
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let is_known = PARAMETERS.iter().any(|(known, _)| *known == name);
        ensure!(is_known, "There is no parameter {name}; /set parameter lists all.");
        let rest = rest.trim();
        ensure!(!rest.is_empty(), "Write /set parameter {name} VALUE.");
        let value = match name {
            "stop" => json!(texts(rest)?),
            _ => {
                let number: Value = serde_json::from_str(rest).unwrap_or(Value::Null);
                ensure!(number.is_number(), "{rest} is no number.");
                number
            }
        };
        let said = format!("Set parameter {name} to {value}.");
        self.options.insert(name.to_owned(), value);
        Ok(said)
    }
}

fn say(text: &str) -> Step {
    Step::Say(text.to_owned())
}

fn part(word: &str) -> Option<Part> {
    Some(match word {
        "info" => Part::Info,
        "license" => Part::License,
        "modelfile" => Part::Modelfile,
        "parameters" => Part::Parameters,
        "system" => Part::System,
        "template" => Part::Template,
        _ => return None,
    })
}

/// Texts in double quotes, or a single one without.
fn texts(text: &str) -> Result<Vec<String>> {
    if !text.starts_with('"') {
        return Ok(vec![text.to_owned()]);
    }
    let texts: std::result::Result<Vec<String>, _> =
        serde_json::Deserializer::from_str(text).into_iter().collect();
    texts.ok().context("Write texts in quotes: \"one\" \"two\".")
}

fn format(text: &str) -> Result<Value> {
    if text == "json" {
        return Ok(json!("json"));
    }
    match serde_json::from_str(text) {
        Ok(schema @ Value::Object(_)) => Ok(schema),
        _ => bail!("The format is json or a JSON schema."),
    }
}

fn think(text: &str) -> Value {
    match text {
        "true" => json!(true),
        "false" => json!(false),
        level => json!(level),
    }
}

/// A number is seconds; anything else is a time with its unit.
pub(crate) fn keep_alive(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| json!(text), |seconds| json!(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(&Run {
            name: "m".to_owned(),
            prompt: Vec::new(),
            verbose: false,
            format: None,
            keepalive: Some("10m".to_owned()),
            think: None,
            hidethinking: false,
            nowordwrap: false,
        })
        .expect("sound")
    }

    #[test]
    fn a_line_is_a_question_and_settings_go_with_it() {
        let mut session = session();
        assert_eq!(session.take("  "), Step::Nothing);
        for line in [
            "/set parameter temperature 0.5",
            "/set parameter seed 7",
            "/set parameter stop \"a b\" \"c\"",
            "/set system Be short.",
            "/set format json",
            "/set think high",
            "/set nowordwrap",
        ] {
            assert!(matches!(session.take(line), Step::Say(_)), "{line}");
        }
        assert_eq!(session.take("Hello?"), Step::Ask);
        let expected = json!({
            "model": "m",
            "messages": [
                { "role": "system", "content": "Be short." },
                { "role": "user", "content": "Hello?" },
            ],
            "stream": true,
            "options": { "temperature": 0.5, "seed": 7, "stop": ["a b", "c"] },
            "format": "json",
            "think": "high",
            "keep_alive": "10m",
        });
        assert_eq!(session.request(), expected);
        let recipe = session.recipe("mine");
        assert_eq!((&recipe["from"], &recipe["system"]), (&json!("m"), &json!("Be short.")));
        assert_eq!(recipe["messages"].as_array().map(Vec::len), Some(1));
        assert!(matches!(session.take("/clear"), Step::Say(_)));
        assert_eq!(session.recipe("mine").get("messages"), None);
    }

    #[test]
    fn several_lines_between_quotes_are_one_text() {
        let mut session = session();
        assert_eq!(session.take("\"\"\"one"), Step::More);
        assert!(session.is_in_block());
        assert_eq!(session.take("/bye is text here"), Step::More);
        assert_eq!(session.take(""), Step::More);
        assert_eq!(session.take("two\"\"\""), Step::Ask);
        assert_eq!(session.messages[0]["content"], "one\n/bye is text here\n\ntwo");
        assert_eq!(session.take("\"\"\"in one\"\"\""), Step::Ask);
        assert_eq!(session.messages[1]["content"], "in one");
        assert_eq!(session.take("/set system \"\"\""), Step::More);
        assert!(matches!(session.take("Be kind.\"\"\""), Step::Say(_)));
        assert_eq!(session.own(Part::System).as_deref(), Some("Be kind."));
        assert_eq!(session.take("\"\"\"left"), Step::More);
        session.drop_block();
        assert_eq!(session.take("/bye"), Step::Leave);
    }

    #[test]
    fn what_makes_no_sense_is_said_and_changes_nothing() {
        let mut session = session();
        for line in [
            "/nonsense",
            "/show",
            "/show all",
            "/load",
            "/save",
            "/set",
            "/set colour red",
            "/set parameter colour red",
            "/set parameter temperature",
            "/set parameter temperature warm",
            "/set parameter stop \"a",
            "/set format xml",
        ] {
            let Step::Say(said) = session.take(line) else { panic!("{line} did something") };
            assert!(!said.is_empty(), "{line}");
        }
        assert_eq!(session.take("x"), Step::Ask);
        let request = session.request();
        assert_eq!((request.get("options"), request.get("format")), (None, None));
        assert_eq!(session.take("/load other"), Step::Load("other".to_owned()));
        assert_eq!(session.take("/show license"), Step::Show(Part::License));
    }

    #[test]
    fn a_number_of_seconds_needs_no_unit() {
        assert_eq!(keep_alive("-1"), json!(-1));
        assert_eq!(keep_alive("1h"), json!("1h"));
        assert_eq!(format("{\"type\":\"object\"}").ok(), Some(json!({ "type": "object" })));
        assert!(format("[]").is_err());
    }
}
