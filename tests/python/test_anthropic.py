"""The real `anthropic` package, and `/v1/responses` through `openai`, against the real binary."""

import anthropic
import pytest

from conftest import ROOT_TOKEN

ONCE = [{"role": "user", "content": "Once upon a time"}]
# The package has no field for it any more; the API has.
GREEDY = {"temperature": 0}
TOOL = {
    "name": "add", "description": "adds",
    "input_schema": {
        "type": "object", "required": ["value"], "additionalProperties": False,
        "properties": {"value": {"type": "integer", "minimum": 0, "maximum": 9}},
    },
}


@pytest.fixture(scope="module")
def api(server):
    return anthropic.Anthropic(base_url=server.url, api_key=ROOT_TOKEN, max_retries=0)


def ask(api, **change):
    return api.messages.create(**{
        "model": "stories260k", "max_tokens": 16, "extra_body": GREEDY, "messages": ONCE, **change})


def test_a_message_streams_what_it_says_whole_and_is_counted(api):
    whole = ask(api)
    assert (whole.stop_reason, whole.usage.output_tokens) == ("max_tokens", 16)
    counted = api.messages.count_tokens(model="stories260k", messages=ONCE)
    cached = whole.usage.cache_read_input_tokens
    assert whole.usage.input_tokens + cached == counted.input_tokens
    with api.messages.stream(model="stories260k", max_tokens=16, extra_body=GREEDY, messages=ONCE) as stream:
        pieces = list(stream.text_stream)
        last = stream.get_final_message()
    assert len(pieces) > 4 and "".join(pieces) == whole.content[0].text
    assert (last.stop_reason, last.usage.output_tokens) == ("max_tokens", 16)


def test_a_stop_sequence_is_named(api):
    stop = ask(api).content[0].text[8:12]
    stopped = ask(api, stop_sequences=[stop])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", stop)


def test_a_tool_is_used_and_its_result_goes_back(api, caller):
    choice = {"type": "tool", "name": "add"}
    asked = {"model": caller, "max_tokens": 120, "tools": [TOOL], "tool_choice": choice}
    answer = ask(api, **asked)
    assert answer.stop_reason == "tool_use"
    use = answer.content[0]
    assert (use.type, use.name) == ("tool_use", "add") and 0 <= use.input["value"] <= 9
    with api.messages.stream(messages=ONCE, extra_body=GREEDY, **asked) as stream:
        assert stream.get_final_message().content[0].input == use.input
    turns = [
        *ONCE, {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "7"}]},
    ]
    told = ask(api, model=caller, messages=turns, tools=[TOOL], tool_choice={"type": "none"})
    assert told.content[0].type == "text"


def test_thoughts_are_blocks_of_their_own(api, caller):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = ask(api, model=caller, thinking=thinking)
    assert answer.content[0].type == "thinking" and answer.content[0].thinking
    with api.messages.stream(model=caller, max_tokens=16, extra_body=GREEDY, messages=ONCE,
                             thinking=thinking) as stream:
        assert stream.get_final_message().content[0].thinking == answer.content[0].thinking
    assert ask(api, thinking=thinking).content[0].type == "text", "who cannot think answers"


def test_errors_are_the_packages_own(api, server):
    with pytest.raises(anthropic.NotFoundError) as caught:
        ask(api, model="absent")
    assert caught.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError):
        ask(api, messages=[{"role": "user", "content": [{"type": "image", "source": {}}]}])
    with pytest.raises(anthropic.AuthenticationError):
        ask(anthropic.Anthropic(base_url=server.url, api_key="wrong", max_retries=0))


def test_a_response_streams_what_it_says_whole(client):
    asked = {"model": "stories260k", "input": "Once upon a time", "max_output_tokens": 16,
             "temperature": 0}
    whole = client.responses.create(**asked)
    assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    with client.responses.stream(**asked) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
    assert len(pieces) > 4 and "".join(pieces) == whole.output_text


def test_a_response_calls_a_function_and_takes_its_output(client, caller):
    tool = {"type": "function", "name": "add", "parameters": TOOL["input_schema"], "strict": True}
    asked = {"model": caller, "tools": [tool], "max_output_tokens": 120, "temperature": 0,
             "parallel_tool_calls": False, "reasoning": {"effort": "none"}}
    answer = client.responses.create(input="Once", tool_choice="required", **asked)
    call = answer.output[0]
    assert (call.type, call.name) == ("function_call", "add")
    turns = [{"role": "user", "content": "Once"}, call.model_dump(exclude_none=True),
             {"type": "function_call_output", "call_id": call.call_id, "output": "7"}]
    assert client.responses.create(input=turns, tool_choice="none", **asked).output_text
