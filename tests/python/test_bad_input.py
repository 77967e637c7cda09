"""Bad input gets a clear 4xx in the OpenAI error shape and leaves the server as it was."""

import http.client
import json
import urllib.parse

import openai
import pytest

from conftest import ROOT_TOKEN

QUESTION = [{"role": "user", "content": "Hello"}]


def post(server, body, path="/v1/chat/completions", token=ROOT_TOKEN, headers=()):
    """Sends raw bytes; returns status and parsed answer."""
    address = urllib.parse.urlparse(server.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request("POST", path, body, {
        "authorization": f"Bearer {token}", "content-type": "application/json", **dict(headers)})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text)


@pytest.mark.parametrize(("change", "word"), [
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "role"),
    ({"messages": [{"role": "user", "content": 7}]}, "content"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "image"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": -1}, "temperature"),
    ({"temperature": 99}, "temperature"),
    ({"top_p": 2}, "top_p"),
    ({"n": 0}, "n"),
    ({"n": 10**9}, "n"),
    ({"n": 10**30}, "n"),
    ({"max_tokens": -5}, "max_tokens"),
    ({"max_tokens": 10**30}, "max_tokens"),
    ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ({"stop": ["x"] * 10_000}, "stop"),
    ({"logit_bias": {"abc": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 1000}}, "logit_bias"),
    ({"top_logprobs": 50, "logprobs": True}, "top_logprobs"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ({"response_format": {"type": "xml"}}, "response_format"),
    ({"stream": "yes"}, "stream"),
])
def test_a_wrong_field_is_named(server, change, word):
    body = {"model": "stories260k", "messages": QUESTION, "max_tokens": 1, **change}
    status, answer = post(server, json.dumps(body))
    assert status == 400, answer
    assert answer["error"]["type"] == "invalid_request_error"
    assert word in answer["error"]["message"] + str(answer["error"]["param"])


@pytest.mark.parametrize("number", ["NaN", "1e999", "-1e999", "Infinity"])
def test_numbers_that_are_none_are_refused(server, number):
    body = '{"model":"stories260k","messages":[{"role":"user","content":"x"}],"temperature":%s}'
    status, answer = post(server, body % number)
    assert status == 400 and answer["error"]["type"] == "invalid_request_error"


def test_an_unknown_model_is_named(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-none", messages=QUESTION)
    assert caught.value.code == "model_not_found" and "gpt-none" in caught.value.message


def test_a_prompt_over_the_context_names_both_numbers(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="stories260k", prompt=[5] * 600, max_tokens=1)
    assert "600" in caught.value.message and "512" in caught.value.message
    assert caught.value.code == "context_length_exceeded"


def test_a_missing_or_wrong_credential_is_401(server):
    for token in ["", "sk-hearth-wrong", "x" * 10_000]:
        status, answer = post(server, json.dumps({"model": "m", "messages": QUESTION}), token=token)
        assert status == 401 and answer["error"]["code"] == "invalid_api_key"


def test_deep_json_and_broken_json_are_400(server):
    for body in ["[" * 10_000, '{"a":' * 10_000, "{", "", "\x00", '"text"', '{"model":1}']:
        status, answer = post(server, body)
        assert status == 400, (body[:20], answer)


def test_a_huge_body_is_refused_before_it_is_read(server):
    address = urllib.parse.urlparse(server.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.putrequest("POST", "/v1/chat/completions")
    for name, value in [("authorization", f"Bearer {ROOT_TOKEN}"),
                        ("content-type", "application/json"), ("content-length", str(1 << 30))]:
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert "error" in json.loads(answer.read())


def test_the_server_answers_as_before(client, golden):
    done = client.completions.create(
        model="stories260k", prompt=golden[0]["prompt"], max_tokens=64, temperature=0)
    assert done.choices[0].text == golden[0]["greedy_text"]
