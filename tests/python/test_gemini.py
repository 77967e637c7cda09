"""The real `google-genai` package against the real binary."""

import pytest
from google import genai
from google.genai import errors, types

from conftest import ROOT_TOKEN

MODEL = "stories260k"
ONCE = "Once upon a time"


def client(server, key):
    # Under /v1 stands OpenAI's dialect, whose list of models has the same path.
    options = {"base_url": server.url, "api_version": "v1beta"}
    return genai.Client(api_key=key, http_options=options)


@pytest.fixture(scope="module")
def api(server):
    return client(server, ROOT_TOKEN)


def config(**change):
    return types.GenerateContentConfig(temperature=0, max_output_tokens=16, **change)


def test_content_streams_what_it_says_whole_and_is_counted(api):
    whole = api.models.generate_content(model=MODEL, contents=ONCE, config=config())
    assert whole.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert whole.usage_metadata.candidates_token_count == 16
    counted = api.models.count_tokens(model=MODEL, contents=ONCE)
    assert counted.total_tokens == whole.usage_metadata.prompt_token_count
    pieces = list(api.models.generate_content_stream(model=MODEL, contents=ONCE, config=config()))
    assert len(pieces) > 4
    assert "".join(piece.text or "" for piece in pieces) == whole.text
    assert pieces[-1].candidates[0].finish_reason == types.FinishReason.MAX_TOKENS


def test_a_function_is_called_and_its_result_goes_back(api, caller):
    add = types.FunctionDeclaration(
        name="add", description="adds",
        parameters=types.Schema(type="OBJECT", required=["value"], properties={
            "value": types.Schema(type="INTEGER", minimum=0, maximum=9)}))
    asked = types.GenerateContentConfig(
        temperature=0, max_output_tokens=120,
        tools=[types.Tool(function_declarations=[add])],
        # This model would never end its thoughts.
        thinking_config=types.ThinkingConfig(thinking_budget=0),
        tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(
            mode="ANY", allowed_function_names=["add"])),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True))
    answer = api.models.generate_content(model=caller, contents=ONCE, config=asked)
    call = answer.function_calls[0]
    assert call.name == "add" and 0 <= call.args["value"] <= 9
    back = [
        types.Content(role="user", parts=[types.Part(text=ONCE)]),
        answer.candidates[0].content,
        types.Content(role="user", parts=[
            types.Part.from_function_response(name="add", response={"result": 7})]),
    ]
    again = api.models.generate_content(model=caller, contents=back, config=config())
    assert again.candidates


def test_json_is_held_to_its_schema(api):
    schema = {"type": "object", "required": ["a"], "additionalProperties": False,
              "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}}}
    answer = api.models.generate_content(model=MODEL, contents=ONCE, config=types.GenerateContentConfig(
        temperature=0, max_output_tokens=60, response_mime_type="application/json",
        response_json_schema=schema))
    assert 0 <= answer.parsed["a"] <= 9


def test_models_are_listed_and_errors_have_googles_words(api, server):
    names = [model.name for model in api.models.list()]
    assert f"models/{MODEL}" in names or f"models/{MODEL}:latest" in names
    with pytest.raises(errors.ClientError) as failed:
        api.models.generate_content(model="nope", contents=ONCE)
    assert (failed.value.code, failed.value.status) == (404, "NOT_FOUND")
    stranger = client(server, "sk-hearth-wrong")
    with pytest.raises(errors.ClientError) as failed:
        stranger.models.generate_content(model=MODEL, contents=ONCE)
    assert (failed.value.code, failed.value.status) == (401, "UNAUTHENTICATED")
    with pytest.raises(errors.ClientError) as failed:
        image = types.Part.from_bytes(data=b"x", mime_type="image/png")
        api.models.generate_content(model=MODEL, contents=[image])
    assert (failed.value.code, failed.value.status) == (400, "INVALID_ARGUMENT")
