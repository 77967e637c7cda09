//! Reads one call letter by letter: its name, and its arguments as they come.

/// Longest name of a tool that is believed.
const MAX_NAME_BYTES: usize = 256;

/// How far reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Done,
    /// It is no call.
    Broken,
}

/// A call that is being read.
#[derive(Debug)]
pub(super) struct CallReader {
    state: State,
    /// Everything read, in case that it is no call.
    raw: String,
    /// The member that is being read.
    key: String,
    /// Its value, if that is a text or the name.
    value: String,
    depth: usize,
    in_text: bool,
    is_escaped: bool,
    name: Option<String>,
    is_name_told: bool,
    has_arguments: bool,
    /// Arguments that nobody has taken yet.
    arguments: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before `{`.
    Object,
    /// Before a key, a comma or `}`.
    Member,
    Key,
    Colon,
    /// Before a value.
    Start,
    /// In a text, number or word.
    Scalar,
    /// In a list or object.
    Nested,
    /// In a name that stands before its arguments.
    Name,
    /// Between that name and its arguments.
    Gap,
}

impl CallReader {
    /// For `{"name": …, "arguments": {…}}`.
    pub(super) fn object() -> CallReader {
        CallReader::from(State::Object)
    }

    /// For `name[ARGS]{…}`.
    pub(super) fn named() -> CallReader {
        CallReader::from(State::Name)
    }

    fn from(state: State) -> CallReader {
        CallReader {
            state,
            raw: String::new(),
            key: String::new(),
            value: String::new(),
            depth: 0,
            in_text: false,
            is_escaped: false,
            name: None,
            is_name_told: false,
            has_arguments: false,
            arguments: String::new(),
        }
    }

    pub(super) fn raw(&self) -> &str {
        &self.raw
    }

    /// Whether the call's name was taken.
    pub(super) fn has_begun(&self) -> bool {
        self.is_name_told
    }

    /// The name, once.
    pub(super) fn take_name(&mut self) -> Option<String> {
        let name = self.name.clone().filter(|_| !self.is_name_told)?;
        self.is_name_told = true;
        Some(name)
    }

    /// The arguments read since; nothing before the name is known.
    pub(super) fn take_arguments(&mut self) -> String {
        if self.is_name_told { std::mem::take(&mut self.arguments) } else { String::new() }
    }

    /// Reads on; also gives the bytes that were read.
    pub(super) fn read(&mut self, text: &str) -> (Progress, usize) {
        for (at, letter) in text.char_indices() {
            self.raw.push(letter);
            let progress = self.letter(letter);
            if progress != Progress::More {
                return (progress, at + letter.len_utf8());
            }
        }
        (Progress::More, text.len())
    }

    fn letter(&mut self, letter: char) -> Progress {
        match self.state {
            State::Object if letter == '{' => self.state = State::Member,
            State::Member if letter == '"' => {
                self.key.clear();
                self.state = State::Key;
            }
            State::Member if letter == '}' => return self.end(),
            State::Member if letter == ',' => {}
            State::Key if letter == '"' => self.state = State::Colon,
            State::Key => self.key.push(letter),
            State::Colon if letter == ':' => self.state = State::Start,
            State::Start if !letter.is_whitespace() => self.begin_value(letter),
            State::Scalar => return self.scalar(letter),
            State::Nested => return self.nested(letter),
            State::Name | State::Gap if letter == '{' => {
                let name = std::mem::take(&mut self.value);
                self.key = "arguments".into();
                self.name = Some(name.trim().to_string());
                self.begin_value(letter);
            }
            State::Name if letter == '[' => self.state = State::Gap,
            State::Name if self.value.len() < MAX_NAME_BYTES => self.value.push(letter),
            State::Gap if self.raw.len() < 2 * MAX_NAME_BYTES => {}
            State::Object | State::Member | State::Colon | State::Start
                if letter.is_whitespace() => {}
            _ => return Progress::Broken,
        }
        Progress::More
    }

    fn is_arguments(&self) -> bool {
        matches!(self.key.as_str(), "arguments" | "parameters")
    }

    fn begin_value(&mut self, letter: char) {
        self.value.clear();
        (self.depth, self.is_escaped) = (0, false);
        if letter == '{' || letter == '[' {
            self.state = State::Nested;
            self.has_arguments |= self.is_arguments();
            self.nested(letter);
        } else {
            self.in_text = letter == '"';
            self.value.push(letter);
            self.state = State::Scalar;
        }
    }

    fn scalar(&mut self, letter: char) -> Progress {
        if self.in_text {
            self.value.push(letter);
            let ends = letter == '"' && !self.is_escaped;
            self.is_escaped = letter == '\\' && !self.is_escaped;
            if !ends {
                return Progress::More;
            }
            self.in_text = false;
            self.state = State::Member;
            return self.end_text();
        }
        if letter != ',' && letter != '}' && !letter.is_whitespace() {
            self.value.push(letter);
            return Progress::More;
        }
        self.state = State::Member;
        self.letter(letter)
    }

    /// A text has ended: the name, or arguments that are JSON inside of a text.
    fn end_text(&mut self) -> Progress {
        let Ok(text) = serde_json::from_str::<String>(&self.value) else {
            return Progress::Broken;
        };
        match self.key.as_str() {
            "name" if text.is_empty() || text.len() > MAX_NAME_BYTES => return Progress::Broken,
            "name" => self.name = Some(text),
            "arguments" | "parameters" => {
                self.has_arguments = true;
                self.arguments.push_str(&text);
            }
            _ => {}
        }
        Progress::More
    }

    fn nested(&mut self, letter: char) -> Progress {
        if self.is_arguments() {
            self.arguments.push(letter);
        }
        if self.in_text {
            self.in_text = letter != '"' || self.is_escaped;
            self.is_escaped = letter == '\\' && !self.is_escaped;
            return Progress::More;
        }
        match letter {
            '"' => (self.in_text, self.is_escaped) = (true, false),
            '{' | '[' => self.depth += 1,
            '}' | ']' => self.depth -= 1,
            _ => {}
        }
        if self.depth > 0 {
            return Progress::More;
        }
        // A name before its arguments has no object around both.
        let is_whole = !self.raw.starts_with('{');
        self.state = State::Member;
        if is_whole { Progress::Done } else { Progress::More }
    }

    fn end(&mut self) -> Progress {
        if self.name.is_none() {
            return Progress::Broken;
        }
        if !self.has_arguments {
            self.arguments.push_str("{}");
        }
        Progress::Done
    }
}
