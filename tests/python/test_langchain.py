"""The real `langchain-ollama` package against the real binary."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM

from conftest import ROOT_TOKEN

SCHEMA = {
    "title": "Number", "type": "object", "required": ["n"], "additionalProperties": False,
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
}


def add(value: int) -> int:
    """Adds a digit."""
    return value


@pytest.fixture(scope="module")
def access(server):
    headers = {"Authorization": f"Bearer {ROOT_TOKEN}"}
    return {"base_url": server.url, "client_kwargs": {"headers": headers}}


@pytest.fixture(scope="module")
def chat(access):
    return lambda model, **options: ChatOllama(model=model, temperature=0, num_predict=16, **access, **options)


def test_a_chat_streams_what_it_says_whole(chat):
    model = chat("stories260k", validate_model_on_init=True)
    whole = model.invoke("Once upon a time")
    pieces = list(model.stream("Once upon a time"))
    assert "".join(piece.content for piece in pieces) == whole.content != ""
    assert len(pieces) > 8
    assert whole.usage_metadata["output_tokens"] == 16
    assert whole.response_metadata["done_reason"] == "length"


def test_prompts_are_continued(access):
    model = OllamaLLM(model="stories260k", temperature=0, num_predict=8, **access)
    assert "".join(model.stream("Once upon a time")) == model.invoke("Once upon a time") != ""


def test_tools_are_offered_and_their_results_taken(chat, caller):
    model = chat(caller, reasoning=False).bind_tools([add])
    assert isinstance(model.invoke("Once"), AIMessage)
    call = {"name": "add", "args": {"value": 3}, "id": "call_1"}
    turns = [HumanMessage("Once"), AIMessage("", tool_calls=[call]), ToolMessage("7", tool_call_id="call_1")]
    assert model.invoke(turns).usage_metadata["output_tokens"] > 0


def test_thoughts_are_told_apart(chat, caller):
    thought = chat(caller, reasoning=True).invoke("Once")
    assert thought.additional_kwargs["reasoning_content"] and not thought.content
    assert "reasoning_content" not in chat(caller, reasoning=False).invoke("Once").additional_kwargs


def test_an_answer_is_held_to_a_schema(access):
    model = ChatOllama(model="stories260k", num_predict=200, seed=1, **access)
    answer = model.with_structured_output(SCHEMA, method="json_schema").invoke("Once")
    assert 0 <= answer["n"] <= 9


def test_texts_become_vectors(access):
    model = OllamaEmbeddings(model="all-minilm", **access)
    cat, law = model.embed_documents(["a cat", "tax law"])
    assert len(cat) == len(law) == 384
    assert model.embed_query("a cat") == pytest.approx(cat, abs=1e-5)
