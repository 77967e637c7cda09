"""Renders every fetched chat template as Hugging Face's transformers does, with Python's jinja2.

Writes templates.json: for each template and conversation the digest of the text, or `refused` where
the template says so itself, or `failed` where it meets a value that it did not expect.
`make_templates.py TEMPLATE CONVERSATION` prints one text instead. Needs jinja2 3.1 and fetch.py.
"""

import datetime
import hashlib
import json
import pathlib
import sys

import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

HERE = pathlib.Path(__file__).resolve().parent
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)


class Generation(jinja2.ext.Extension):
    """The block that marks what the assistant says; it changes nothing in the text."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


class Refused(Exception):
    """The template's own refusal."""


def raise_exception(message):
    raise Refused(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def environment():
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = NOW.strftime
    return made


def message(written, style):
    """A message as Hugging Face documents it."""
    made = {"role": written["role"], "content": written["content"]}
    if written["content"] is None and style.get("empty_content"):
        made["content"] = ""
    for key in ["name", "reasoning_content", "tool_call_id"]:
        if key in written:
            made[key] = written[key]
    if "tool_calls" in written:
        made["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": {
                "name": call["name"],
                "arguments": call["arguments"] if style.get("text_arguments") else json.loads(call["arguments"]),
            }}
            for call in written["tool_calls"]
        ]
    return made


def render(template, conversation, tools):
    style = conversation.get("style", {})
    return template.render(
        messages=[message(written, style) for written in conversation["messages"]],
        tools=tools if conversation.get("tools") else None,
        documents=None,
        add_generation_prompt=not conversation.get("end", False),
        bos_token="<s>",
        eos_token="</s>",
        **conversation.get("options", {}),
    )


def main():
    conversations = json.loads((HERE / "conversations.json").read_text())
    tools = json.loads((HERE / "tools.json").read_text())
    templates = {path.stem: path.read_text() for path in (HERE / ".cache/models/templates").glob("*.jinja")}
    if len(sys.argv) == 3:
        [wanted] = [talk for talk in conversations if talk["name"] == sys.argv[2]]
        print(render(environment().from_string(templates[sys.argv[1]]), wanted, tools), end="")
        return
    made = {}
    for name in sorted(templates):
        template = environment().from_string(templates[name])
        made[name] = {}
        for conversation in conversations:
            try:
                text = render(template, conversation, tools)
                made[name][conversation["name"]] = hashlib.sha256(text.encode()).hexdigest()[:16]
            except Refused:
                made[name][conversation["name"]] = "refused"
            except Exception:
                made[name][conversation["name"]] = "failed"
    (HERE / "templates.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
