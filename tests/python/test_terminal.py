"""`hearth models run` on a real pseudo-terminal, as a person types."""

import json
import re
import stat
import subprocess

import pexpect
import pytest

from conftest import BINARY, MODELS, ROOT_TOKEN, Server, hearth

PROMPT = ">>> "
# Of this model every greedy answer to the end of its context is the same.
LONG = "Once upon a time, there was a little girl named Lily. She loved to play outside"


@pytest.fixture(scope="module")
def terminal_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("terminal")
    hearth(folder, "models", "import", str(MODELS / "stories260K-f32.gguf"), "--name", "tale")
    hearth(folder, "models", "import", str(MODELS / "stories260K-q8_0.gguf"), "--name", "other")
    server = Server(folder, INITIAL_ROOT_TOKEN=ROOT_TOKEN)
    yield server
    assert server.stop() == 0
    assert not any("panicked" in line for line in server.log)


class Talk:
    """A conversation on a terminal."""

    def __init__(self, data, *arguments, model="tale", columns=100, **environment):
        self.child = pexpect.spawn(
            BINARY, ["models", "run", model, *arguments, "--data", str(data)],
            encoding="utf-8", timeout=60, dimensions=(40, columns), echo=False,
            env={"TERM": "xterm", "PATH": "/usr/bin:/bin", "HOME": str(data), **environment},
        )
        self.child.expect_exact("/? for help")
        self.ready()

    def ready(self):
        self.child.expect_exact(PROMPT)

    def type(self, line):
        self.child.send(line + "\r")

    def ask(self, line):
        """Types a line; returns what is printed until the next prompt."""
        self.type(line)
        # The first prompt is that of the line itself, drawn anew at each key.
        text = ""
        self.child.expect(r"\r\n")
        self.ready()
        text = self.child.before
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)

    def leave(self):
        self.type("/bye")
        self.child.expect(pexpect.EOF)
        self.child.close()
        assert self.child.exitstatus == 0


@pytest.fixture
def talk(terminal_server):
    talk = Talk(terminal_server.data)
    yield talk
    talk.child.close(force=True)


def test_questions_settings_and_parts_of_the_model(talk):
    assert "Set parameter temperature" in talk.ask("/set parameter temperature 0")
    assert "Set parameter num_predict" in talk.ask("/set parameter num_predict 12")
    first = talk.ask("Once upon a time")
    assert first.strip()
    assert "Cleared" in talk.ask("/clear")
    assert talk.ask("Once upon a time") == first
    assert "no parameter" in talk.ask("/set parameter colour 1")
    assert "num_predict" in talk.ask("/show parameters")
    assert "Set system message" in talk.ask("/set system You tell tales.")
    assert "You tell tales." in talk.ask("/show system")
    assert "llama" in talk.ask("/show info")
    assert "FROM" in talk.ask("/show modelfile")
    for part in ["license", "template"]:
        talk.ask(f"/show {part}")
    assert "between words" in talk.ask("/set wordwrap")
    assert "at the edge" in talk.ask("/set nowordwrap")
    assert "tell their times" in talk.ask("/set verbose")
    assert "eval rate" in talk.ask("Hello")
    assert "no times" in talk.ask("/set quiet")
    assert "Unknown command" in talk.ask("/nonsense")
    assert "/set parameter" in talk.ask("/?")
    talk.leave()


def test_several_lines_are_one_question(talk, terminal_server):
    talk.ask("/set parameter num_predict 4")
    talk.type('"""first line')
    talk.child.expect_exact("... ")
    talk.type("/bye is no command here")
    talk.child.expect_exact("... ")
    talk.ask('last line"""')
    assert "Kept as lines" in talk.ask("/save lines")
    talk.leave()
    shown = json.loads(hearth(terminal_server.data, "models", "show", "lines", "--json"))
    question = shown["messages"][0]
    assert question == {
        "role": "user", "content": "first line\n/bye is no command here\nlast line"}


def test_a_conversation_is_saved_and_loaded(talk, terminal_server):
    talk.ask("/set parameter num_predict 3")
    talk.ask("/set parameter stop \"@@\" \"##\"")
    talk.ask("/set system Be kind.")
    talk.ask("Hello there")
    assert "Kept as mine" in talk.ask("/save mine")
    assert "other listens" in talk.ask("/load other")
    assert "mine listens" in talk.ask("/load mine")
    assert "Be kind." in talk.ask("/show system")
    assert "num_predict" in talk.ask("/show parameters")
    talk.leave()
    shown = json.loads(hearth(terminal_server.data, "models", "show", "mine", "--json"))
    assert shown["system"] == "Be kind."
    assert [message["role"] for message in shown["messages"]] == ["user", "assistant"]


def test_control_c_ends_an_answer_and_control_d_the_conversation(talk):
    talk.ask("/set parameter num_predict 100000")
    talk.type(LONG)
    talk.child.expect(r"\r\n[^\r\n]{10,}")
    talk.child.sendintr()
    talk.ready()
    # At the prompt it leaves nothing, and a text that has begun is given up.
    talk.child.sendintr()
    talk.child.expect_exact("Ctrl+D to leave")
    talk.ready()
    talk.type('"""begun')
    talk.child.expect_exact("... ")
    talk.child.sendintr()
    talk.ready()
    assert "num_predict" in talk.ask("/show parameters")
    talk.child.sendeof()
    talk.child.expect(pexpect.EOF)
    talk.child.close()
    assert talk.child.exitstatus == 0


def test_what_is_typed_ahead_is_not_lost(talk, terminal_server):
    talk.ask("/set parameter num_predict 8")
    # At once, while the first is still answered.
    for line in ["one", "two", "three", "/save ahead"]:
        talk.type(line)
    talk.child.expect_exact("Kept as ahead")
    talk.ready()
    talk.leave()
    shown = json.loads(hearth(terminal_server.data, "models", "show", "ahead", "--json"))
    asked = [message["content"] for message in shown["messages"] if message["role"] == "user"]
    assert asked == ["one", "two", "three"]


def test_what_is_typed_during_an_answer_is_not_lost(talk, terminal_server):
    talk.ask("/set parameter num_predict 150")
    talk.type(LONG)
    talk.child.expect(r"\r\n[^\r\n]{10,}")
    for line in ["two", "three", "/save during"]:
        talk.type(line)
    talk.child.expect_exact("Kept as during")
    talk.ready()
    talk.leave()
    shown = json.loads(hearth(terminal_server.data, "models", "show", "during", "--json"))
    asked = [message["content"] for message in shown["messages"] if message["role"] == "user"]
    assert asked == [LONG, "two", "three"]


def test_what_was_typed_comes_back_with_the_up_key(terminal_server):
    talk = Talk(terminal_server.data)
    talk.ask("/set parameter num_predict 2")
    talk.ask("a question of yesterday")
    talk.ask("/set nohistory")
    talk.ask("a secret question")
    talk.leave()
    history = terminal_server.data / "run_history"
    assert stat.S_IMODE(history.stat().st_mode) & 0o077 == 0
    text = history.read_text()
    assert "yesterday" in text and "secret" not in text
    talk = Talk(terminal_server.data)
    talk.ask("/set parameter num_predict 2")
    talk.child.send("\x1b[A\x1b[A\x1b[A\r")
    talk.child.expect_exact("a question of yesterday")
    talk.ready()
    talk.leave()


def test_control_g_opens_the_editor_with_the_line(terminal_server, tmp_path):
    editor, seen = tmp_path / "my editor", tmp_path / "seen"
    editor.write_text(
        f"#!/bin/sh\ncp \"$2\" '{seen}'; test \"$1\" = --wait || exit 3\n"
        "grep -q broken \"$2\" && exit 1\nprintf 'a question of\\ntwo lines\\n' > \"$2\"\n")
    editor.chmod(0o755)
    talk = Talk(terminal_server.data, EDITOR="false", VISUAL=f"'{editor}' --wait")
    talk.ask("/set parameter num_predict 2")
    talk.child.send("half a line\x07")
    talk.child.expect_exact("two lines")
    assert seen.read_text() == "half a line"
    # It is a line that is being typed: nothing was asked yet, and more can be typed.
    talk.child.send(" and more")
    talk.ask("")
    talk.child.send("broken\x07")
    talk.child.expect_exact("the line is as it was")
    talk.child.send("\x03")
    talk.child.expect_exact("to leave")
    talk.ready()
    assert "Kept as edited" in talk.ask("/save edited")
    talk.leave()
    shown = json.loads(hearth(terminal_server.data, "models", "show", "edited", "--json"))
    assert shown["messages"][0]["content"] == "a question of\ntwo lines and more"


def test_lines_break_between_words(terminal_server):
    talk = Talk(terminal_server.data, columns=40)
    talk.ask("/set parameter temperature 0")
    talk.ask("/set parameter num_predict 60")
    talk.type("Once upon a time")
    talk.child.expect(r"\r\n")
    talk.ready()
    wrapped = talk.child.before
    talk.ask("/clear")
    talk.ask("/set nowordwrap")
    plain = talk.ask("Once upon a time")

    def screen(text):
        lines = [""]
        for part in re.findall(r"\x1b\[\d+D|\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]", text):
            back = re.fullmatch(r"\x1b\[(\d+)D", part)
            if back:
                lines[-1] = lines[-1][:-int(back[1])]
            elif part == "\n":
                lines.append("")
            elif len(part) == 1 and part != "\r":
                lines[-1] += part
        return lines

    lines = screen(wrapped)
    assert all(len(line) <= 35 for line in lines), lines
    words = " ".join(lines).split()
    assert words == " ".join(screen(plain)).split()
    talk.leave()


@pytest.mark.parametrize("command", [
    ["routes"], ["models", "list"], ["models", "search"], ["models", "run", "tale", "Once"],
])
def test_whoever_reads_only_the_beginning_makes_no_error(terminal_server, command):
    words = " ".join([BINARY, *command, "--data", str(terminal_server.data)])
    # The reader is gone before the first line.
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words} | true"],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "roken pipe" not in done.stderr and "panicked" not in done.stderr
