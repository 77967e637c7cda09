"""The real `ollama` package against the real binary."""

import hashlib
import json
import urllib.request

import ollama
import pytest

from conftest import MODELS, ROOT_TOKEN, hearth

SCHEMA = {
    "type": "object", "required": ["n"], "additionalProperties": False,
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
}
TOOL = {
    "type": "function",
    "function": {
        "name": "add", "description": "adds",
        "parameters": {
            "type": "object", "required": ["value"],
            "properties": {"value": {"type": "integer", "description": "a digit"}},
        },
    },
}
GREEDY = {"temperature": 0, "num_predict": 16}
ONCE = [{"role": "user", "content": "Once upon a time"}]


@pytest.fixture(scope="module")
def api(server):
    return ollama.Client(host=server.url, headers={"Authorization": f"Bearer {ROOT_TOKEN}"})


def timings(answer):
    return [answer.total_duration, answer.load_duration, answer.prompt_eval_count,
            answer.prompt_eval_duration, answer.eval_count, answer.eval_duration]


def test_raw_prompts_equal_the_golden_file(api, golden):
    for case in golden:
        done = api.generate("stories260k", case["prompt"], raw=True,
                            options={"temperature": 0, "num_predict": len(case["greedy_ids"])})
        assert done.response == case["greedy_text"]
        assert (done.done, done.done_reason, done.context) == (True, "length", None)
        assert done.prompt_eval_count == len(case["prompt_ids"])
        assert all(isinstance(number, int) and number > 0 for number in timings(done))


def test_a_chat_streams_what_it_says_whole(api):
    whole = api.chat("stories260k", ONCE, options=GREEDY)
    pieces = list(api.chat("stories260k", ONCE, options=GREEDY, stream=True))
    assert "".join(piece.message.content for piece in pieces) == whole.message.content
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert len(pieces) > 8 and pieces[-1].eval_count == 16
    assert all(number > 0 for number in timings(pieces[-1]))


def test_a_context_is_gone_on_with(api):
    first = api.generate("stories260k", "Once upon a time", options=GREEDY)
    assert len(first.context) == first.prompt_eval_count + first.eval_count
    second = api.generate("stories260k", "And then", context=first.context, options=GREEDY)
    assert list(second.context[:len(first.context)]) == list(first.context)


def test_log_probabilities_come_as_asked(api, golden):
    case = golden[0]
    done = api.generate("stories260k", case["prompt"], raw=True, logprobs=True, top_logprobs=5,
                        options={"temperature": 0, "num_predict": 1})
    top = [entry.logprob for entry in done.logprobs[0].top_logprobs]
    assert top == pytest.approx([entry["logprob"] for entry in case["next_top5"]], abs=1e-4)
    assert done.logprobs[0].logprob == pytest.approx(top[0])


@pytest.mark.parametrize("format", ["json", SCHEMA])
def test_an_answer_is_held_to_json(api, format):
    done = api.chat("stories260k", ONCE, format=format, options={"num_predict": 200, "seed": 1})
    value = json.loads(done.message.content)
    assert isinstance(value, dict)
    assert format == "json" or 0 <= value["n"] <= 9


def test_tools_are_offered_and_their_results_taken(api, caller):
    answer = api.chat(caller, ONCE, tools=[TOOL], options={**GREEDY, "num_predict": 60})
    assert answer.done
    turns = [
        *ONCE,
        {"role": "assistant", "content": "",
         "tool_calls": [{"function": {"name": "add", "arguments": {"value": 3}}}]},
        {"role": "tool", "tool_name": "add", "content": "7"},
    ]
    assert api.chat(caller, turns, tools=[TOOL], options=GREEDY).done
    assert "tools" in api.show(caller).capabilities
    with pytest.raises(ollama.ResponseError) as caught:
        api.chat("stories260k", ONCE, tools=[TOOL])
    assert caught.value.error == "registry.ollama.ai/library/stories260k:latest does not support tools"


def test_thoughts_are_told_apart(api, caller):
    for think in [True, "low", "high"]:
        answer = api.chat(caller, ONCE, think=think, options=GREEDY)
        assert answer.message.thinking and not answer.message.content
    assert not api.chat(caller, ONCE, think=False, options=GREEDY).message.thinking
    assert "thinking" in api.show(caller).capabilities
    with pytest.raises(ollama.ResponseError) as caught:
        api.chat("stories260k", ONCE, think=True)
    assert (caught.value.error, caught.value.status_code) == (
        '"stories260k" does not support thinking', 400)


def test_vectors_have_length_one_and_are_counted(api):
    done = api.embed("all-minilm", ["a cat", "a feline", "tax law"])
    assert all(sum(x * x for x in vector) == pytest.approx(1, abs=1e-5) for vector in done.embeddings)
    assert done.prompt_eval_count > 6 and done.total_duration > 0 and done.load_duration > 0
    cat, feline, law = done.embeddings
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    assert dot(cat, feline) > dot(cat, law) + 0.2
    single = api.embeddings("all-minilm", "a cat")
    assert list(single.embedding) == pytest.approx(list(cat), abs=1e-5)
    short = api.embed("all-minilm", "a cat", dimensions=8)
    assert len(short.embeddings[0]) == 8


def test_long_texts_are_cut_and_said_to_be_unless_that_is_refused(api, server):
    text = "a long text " * 400
    body = json.dumps({"model": "all-minilm", "input": text}).encode()
    request = urllib.request.Request(
        f"{server.url}/api/embed", body, {"Authorization": f"Bearer {ROOT_TOKEN}"})
    answer = json.load(urllib.request.urlopen(request))
    assert answer["truncated"] and answer["prompt_tokens_dropped"] > 0
    with pytest.raises(ollama.ResponseError) as caught:
        api.embed("all-minilm", text, truncate=False)
    assert caught.value.status_code == 400


def test_models_are_listed_shown_and_seen_running(api):
    listed = {model.model: model for model in api.list().models}
    assert {"stories260k:latest", "stories260k:q8_0", "hearth-guide:latest"} <= set(listed)
    assert listed["stories260k:latest"].details.family == "llama"
    assert len(listed["stories260k:latest"].digest) == 64
    shown = api.show("stories260k")
    assert shown.modelinfo["llama.context_length"] == 512
    assert shown.capabilities == ["completion"] and shown.template
    assert api.show("all-minilm").capabilities == ["embedding"]
    assert api.generate("stories260k", keep_alive="10m").done_reason == "load"
    running = {model.model: model for model in api.ps().models}
    assert running["stories260k:latest"].context_length == 512
    assert running["stories260k:latest"].size > 0
    assert api.generate("stories260k", keep_alive=0).done_reason == "unload"
    assert "stories260k:latest" not in {model.model for model in api.ps().models}


def test_models_are_made_copied_and_deleted(api, server):
    statuses = [step.status for step in api.create(
        model="mine", from_="stories260k", system="Be kind.",
        parameters={"num_predict": 5, "temperature": 0, "stop": ["@@"]}, stream=True)]
    assert statuses[-1] == "success"
    assert api.chat("mine", ONCE).eval_count == 5
    assert "num_predict" in api.show("mine").parameters
    assert api.copy("mine", "team/mine:v2").status == "success"
    assert api.chat("team/mine:v2", ONCE).eval_count == 5
    for name in ["mine", "team/mine:v2"]:
        assert api.delete(name).status == "success"
    with pytest.raises(ollama.ResponseError) as caught:
        api.chat("mine", ONCE)
    assert (caught.value.error, caught.value.status_code) == ("model 'mine' not found", 404)


def test_a_file_is_sent_and_becomes_a_model(api):
    path = MODELS / "stories260K-q8_0.gguf"
    digest = api.create_blob(path)
    assert digest == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert api.create(model="sent", files={path.name: digest}).status == "success"
    assert api.generate("sent", "Once", options=GREEDY).eval_count == 16
    api.delete("sent")


def test_a_model_is_pulled_from_a_registry_and_answers(api, registry):
    name = f"{registry}/me/stories"
    steps = list(api.pull(name, insecure=True, stream=True))
    statuses = [step.status for step in steps]
    assert statuses[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
    bars = [step for step in steps if step.digest]
    assert bars and bars[-1].completed == bars[-1].total
    assert api.pull(name).status == "success"
    assert api.generate(name, "Once", options=GREEDY).eval_count == 16
    with pytest.raises(ollama.ResponseError) as caught:
        list(api.pull(f"{registry}/me/none", stream=True))
    assert caught.value.error == "pull model manifest: file does not exist"
    with pytest.raises(ollama.ResponseError) as caught:
        api.pull("elsewhere.example/a/b")
    assert "not pulled from" in caught.value.error
    # A copy over a name replaces what it meant.
    assert api.copy(name, "over").status == "success"
    assert api.copy("stories260k", "over").status == "success"
    digests = {model.model: model.digest for model in api.list().models}
    assert digests["over:latest"] == digests["stories260k:latest"] != digests[f"{name}:latest"]
    for name in [name, "over"]:
        api.delete(name)


def test_a_user_may_ask_but_not_change(api, server, caller):
    hearth(server.data, "users", "add", "olga", "--role", "user", "--password-stdin",
           input="correct horse battery\n")
    token = hearth(server.data, "tokens", "create", "--user", "olga")
    user = ollama.Client(host=server.url, headers={"Authorization": f"Bearer {token}"})
    assert user.chat("stories260k", ONCE, options=GREEDY).eval_count == 16
    assert user.list().models
    for act in [lambda: user.delete("stories260k"), lambda: user.copy("stories260k", "x"),
                lambda: user.create(model="x", from_="stories260k"),
                lambda: user.generate("stories260k", keep_alive=0)]:
        with pytest.raises(ollama.ResponseError) as caught:
            act()
        assert caught.value.status_code == 403
    with pytest.raises(ollama.ResponseError) as caught:
        ollama.Client(host=server.url).list()
    assert caught.value.status_code == 401


def test_a_model_is_pushed_to_a_registry_and_pulled_back_as_it_was(api, registry):
    name = f"{registry}/me/sent"
    api.copy("stories260k-hf", name)
    before = {model.model: model for model in api.list().models}[f"{name}:latest"]
    steps = list(api.push(name, insecure=True, stream=True))
    statuses = [step.status for step in steps]
    assert statuses[0] == "retrieving manifest"
    assert statuses[-2:] == ["pushing manifest", "success"]
    bars = [step for step in steps if step.digest]
    assert bars and all(step.status == f"pushing {step.digest[7:19]}" for step in bars)
    assert bars[-1].completed == bars[-1].total
    assert api.push(name).status == "success"
    said = api.generate(name, "Once", options=GREEDY).response
    api.delete(name)
    assert api.pull(name).status == "success"
    after = {model.model: model for model in api.list().models}[f"{name}:latest"]
    assert (after.digest, after.size, after.details) == (before.digest, before.size, before.details)
    assert api.generate(name, "Once", options=GREEDY).response == said
    api.delete(name)


def test_pushing_where_no_admin_allows_it_is_refused_in_words(server, api):
    for name, status, words in [
        ("stories260k", 403, "hub.push_registries"),
        ("gone", 404, "model 'gone' not found"),
        ("hearth-guide", 409, "built into Hearth"),
        ("a/../b", 400, "invalid model name"),
    ]:
        with pytest.raises(ollama.ResponseError) as caught:
            api.push(name)
        assert caught.value.status_code == status and words in caught.value.error
    token = hearth(server.data, "tokens", "create", "--user", "olga")
    user = ollama.Client(host=server.url, headers={"Authorization": f"Bearer {token}"})
    with pytest.raises(ollama.ResponseError) as caught:
        user.push("stories260k")
    assert caught.value.status_code == 403
