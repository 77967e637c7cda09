"""Another Hearth as a channel, with real clients in front of both."""

import http.server
import json
import os
import pathlib
import subprocess
import threading

import anthropic
import litellm
import ollama
import openai
import pytest
from langchain_openai import ChatOpenAI

from conftest import ROOT_TOKEN, Server, hearth

KEY = "sk-only-for-this-test-0123456789"
NODE = pathlib.Path(__file__).resolve().parents[1] / "node"


@pytest.fixture(scope="module")
def front(server, tmp_path_factory):
    """A Hearth without models of its own, whose channel is the one of all other tests."""
    data = tmp_path_factory.mktemp("front")
    running = Server(data, INITIAL_ROOT_TOKEN=ROOT_TOKEN)
    added = hearth(
        data, "channels", "add", "back", "--type", "hearth", "--base-url", f"{server.url}/v1",
        "--key-stdin", "--allow-private", input=ROOT_TOKEN + "\n",
    )
    assert "added back" in added and "offers" in added
    hearth(data, "channels", "set", "back", json.dumps({
        "settings": {"model_mapping": {"far": "stories260k"}},
    }))
    yield running
    assert running.stop() == 0


def test_a_channel_is_listed_and_tested_without_its_key(front):
    shown = hearth(front.data, "channels", "show", "back")
    assert ROOT_TOKEN not in shown and json.loads(shown)["type"] == "hearth"
    tested = hearth(front.data, "channels", "test", "back", "--model", "far")
    assert "models:" in tested and "far:" in tested
    assert "back" in hearth(front.data, "channels", "list")


def test_the_same_words_come_through_a_channel_as_from_its_model(front, server):
    question = [{"role": "user", "content": "Once upon a time"}]
    asked = {"messages": question, "max_tokens": 24, "temperature": 0}
    near = server.client().chat.completions.create(model="stories260k", **asked)
    far = front.client().chat.completions.create(model="far", **asked)
    assert far.choices[0].message.content == near.choices[0].message.content
    assert far.choices[0].finish_reason == near.choices[0].finish_reason
    assert far.usage.prompt_tokens == near.usage.prompt_tokens
    assert far.usage.completion_tokens == near.usage.completion_tokens
    assert far.model == "far"
    stream = front.client().chat.completions.create(
        model="far", stream=True, stream_options={"include_usage": True}, **asked)
    text, usage = "", None
    for chunk in stream:
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    assert text == near.choices[0].message.content
    assert usage.completion_tokens == near.usage.completion_tokens


def test_models_of_channels_are_on_offer(front):
    names = {model.id for model in front.client().models.list()}
    assert {"far", "stories260k", "hearth-guide"} <= names


def test_anthropics_client_reaches_a_channel(front, server):
    asked = {
        "max_tokens": 16, "extra_body": {"temperature": 0},
        "messages": [{"role": "user", "content": "Once upon a time"}],
    }
    client = anthropic.Anthropic(base_url=front.url, api_key=ROOT_TOKEN, max_retries=0)
    near = anthropic.Anthropic(base_url=server.url, api_key=ROOT_TOKEN).messages.create(
        model="stories260k", **asked)
    far = client.messages.create(model="far", **asked)
    assert far.content[0].text == near.content[0].text
    with client.messages.stream(model="far", **asked) as stream:
        assert "".join(stream.text_stream) == near.content[0].text


def test_langchain_reaches_a_channel(front):
    chat = ChatOpenAI(
        model="far", base_url=f"{front.url}/v1", api_key=ROOT_TOKEN, max_tokens=16, temperature=0)
    whole = chat.invoke("Once upon a time").content
    assert whole and "".join(piece.content for piece in chat.stream("Once upon a time")) == whole


class Broken(http.server.BaseHTTPRequestHandler):
    """Refuses every key with its own words."""

    asked = 0

    def do_POST(self):
        type(self).asked += 1
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"error": {"message": f"no credit on {KEY}", "code": "billing"}}).encode()
        self.send_response(402)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.fixture
def broken(front):
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    hearth(
        front.data, "channels", "add", "broken", "--type", "openai-compatible",
        "--base-url", f"http://127.0.0.1:{upstream.server_port}/v1", "--key-stdin",
        "--models", "far,only-broken", "--priority", "9", "--allow-private", input=KEY + "\n",
    )
    yield
    hearth(front.data, "channels", "rm", "broken")
    upstream.shutdown()


def test_nobody_notices_a_channel_that_is_broken_while_another_is_well(front, broken):
    for _ in range(10):
        answer = front.client().chat.completions.create(
            model="far", max_tokens=4, messages=[{"role": "user", "content": "hi"}])
        assert answer.choices[0].finish_reason in ("stop", "length")
    assert Broken.asked > 0
    with pytest.raises(openai.InternalServerError) as caught:
        front.client().chat.completions.create(
            model="only-broken", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.status_code == 503 and KEY not in caught.value.message
    assert not any(KEY in line for line in front.log)


def test_an_alias_and_a_policy(front):
    hearth(front.data, "channels", "route", "nice", "--policy", "prefer-remote", "--to", "back=far")
    assert "nice" in hearth(front.data, "channels", "routes")
    answer = front.client().chat.completions.create(
        model="nice", max_tokens=4, messages=[{"role": "user", "content": "hi"}])
    assert answer.model == "nice" and answer.usage.completion_tokens > 0
    hearth(front.data, "channels", "unroute", "nice")
    with pytest.raises(openai.NotFoundError):
        front.client().chat.completions.create(
            model="nice", messages=[{"role": "user", "content": "hi"}])


def test_secrets_are_sealed_anew_while_the_server_runs(front):
    before = (front.data / "master.key").read_text()
    assert "sealed 1 secrets" in hearth(front.data, "secrets", "rotate")
    assert (front.data / "master.key").read_text() != before
    answer = front.client().chat.completions.create(
        model="far", max_tokens=4, messages=[{"role": "user", "content": "hi"}])
    assert answer.usage.completion_tokens > 0


def test_litellm_reaches_a_channel(front):
    asked = {
        "model": "openai/far", "api_base": f"{front.url}/v1", "api_key": ROOT_TOKEN,
        "messages": [{"role": "user", "content": "Once upon a time"}],
        "max_tokens": 16, "temperature": 0,
    }
    whole = litellm.completion(**asked)
    pieces = litellm.completion(stream=True, **asked)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert whole.choices[0].message.content and text == whole.choices[0].message.content
    assert whole.usage.completion_tokens > 0
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(**{**asked, "model": "openai/nothing"})


def test_ollamas_client_reaches_a_channel(front, server):
    options = {"temperature": 0, "num_predict": 16}
    headers = {"Authorization": f"Bearer {ROOT_TOKEN}"}
    question = [{"role": "user", "content": "Once upon a time"}]
    near = ollama.Client(server.url, headers=headers).chat(
        "stories260k", messages=question, options=options)
    client = ollama.Client(front.url, headers=headers)
    far = client.chat("far", messages=question, options=options)
    assert far.message.content == near.message.content and far.eval_count == near.eval_count
    pieces = client.chat("far", messages=question, options=options, stream=True)
    assert "".join(piece.message.content for piece in pieces) == near.message.content


def test_the_npm_package_of_openai_reaches_a_channel(front):
    where = {"HEARTH_URL": front.url, "HEARTH_TOKEN": ROOT_TOKEN, "HEARTH_FAR": "far"}
    done = subprocess.run(
        ["node", "--test", "openai.test.js"], cwd=NODE, env={**os.environ, **where},
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Studio(http.server.BaseHTTPRequestHandler):
    """Draws, listens, speaks and judges, as OpenAI does."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        kind, answer = "application/json", None
        if self.path == "/v1/images/generations":
            answer = {"created": 1, "data": [{"b64_json": "AA=="}] * json.loads(body)["n"]}
        elif self.path == "/v1/audio/transcriptions":
            assert b'name="file"; filename="a.wav"' in body and b"studio-own" in body
            answer = {"text": f"{body.count(b'RIFF')} file"}
        elif self.path == "/v1/audio/speech":
            kind, answer = "audio/mpeg", bytes(range(256)) * 1000
        elif self.path == "/v1/moderations":
            results = [{"flagged": False, "categories": {}, "category_scores": {}}]
            answer = {"id": "m", "model": json.loads(body)["model"], "results": results}
        sent = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(200 if answer else 404)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_):
        pass


@pytest.fixture
def studio(front):
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Studio)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    hearth(
        front.data, "channels", "add", "studio", "--type", "openai-compatible",
        "--base-url", f"http://127.0.0.1:{upstream.server_port}/v1", "--key-stdin",
        "--models", "studio", "--allow-private", input=KEY + "\n",
    )
    hearth(front.data, "channels", "set", "studio", json.dumps({
        "settings": {"model_mapping": {"studio": "studio-own"}},
    }))
    yield
    hearth(front.data, "channels", "rm", "studio")
    upstream.shutdown()


def test_pictures_sound_and_judgements_pass_through(front, studio):
    client = front.client()
    drawn = client.images.generate(model="studio", prompt="a cat", n=2)
    assert [picture.b64_json for picture in drawn.data] == ["AA==", "AA=="]
    heard = client.audio.transcriptions.create(model="studio", file=("a.wav", b"RIFF", "audio/wav"))
    assert heard.text == "1 file"
    said = client.audio.speech.create(model="studio", voice="alloy", input="hello")
    assert said.content == bytes(range(256)) * 1000
    judged = client.moderations.create(model="studio", input="hello")
    assert judged.model == "studio" and not judged.results[0].flagged
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(model="hearth-guide", prompt="a cat")
    assert "/v1/images/generations" in caught.value.message
