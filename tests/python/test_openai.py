"""The real `openai` package against the real binary."""

import concurrent.futures
import json

import openai
import pytest

EXACT = ["stories260k", "stories260k-hf"]


def test_lists_and_retrieves_models(client):
    names = {model.id for model in client.models.list()}
    assert {"hearth-guide", "stories260k", "stories260k-hf", "stories260k:q8_0"} <= names
    model = client.models.retrieve("stories260k")
    assert (model.id, model.object) == ("stories260k", "model")
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("absent")
    assert "`absent`" in caught.value.message and caught.value.code == "model_not_found"


@pytest.mark.parametrize("model", EXACT)
def test_greedy_text_and_usage_equal_the_golden_file(client, golden, model):
    for case in golden:
        done = client.completions.create(
            model=model, prompt=case["prompt"], max_tokens=len(case["greedy_ids"]), temperature=0)
        assert done.choices[0].text == case["greedy_text"]
        assert done.choices[0].finish_reason == "length"
        assert done.usage.prompt_tokens == len(case["prompt_ids"])
        assert done.usage.completion_tokens == len(case["greedy_ids"])
        assert done.usage.total_tokens == len(case["prompt_ids"]) + len(case["greedy_ids"])


@pytest.mark.parametrize("model", EXACT)
def test_a_prompt_of_token_ids_is_taken_as_it_is(client, golden, model):
    case = golden[0]
    done = client.completions.create(
        model=model, prompt=case["prompt_ids"], max_tokens=64, temperature=0)
    assert done.choices[0].text == case["greedy_text"]


@pytest.mark.parametrize("model", EXACT)
def test_logprobs_of_the_first_step_agree_to_1e_4(client, golden, model):
    for case in golden:
        done = client.completions.create(
            model=model, prompt=case["prompt"], max_tokens=1, temperature=0, logprobs=5)
        found = sorted(done.choices[0].logprobs.top_logprobs[0].values(), reverse=True)
        wanted = [entry["logprob"] for entry in case["next_top5"]]
        assert found == pytest.approx(wanted, abs=1e-4)
        assert done.choices[0].logprobs.token_logprobs[0] == pytest.approx(wanted[0], abs=1e-4)


def test_q8_0_keeps_the_first_sixteen_tokens_where_the_margin_is_wide(client, golden):
    wide = [case for case in golden if case["min_margin"] > 0.05]
    assert len(wide) == 3
    for case in wide:
        short = client.completions.create(
            model="stories260k:q8_0", prompt=case["prompt"], max_tokens=16, temperature=0)
        assert len(short.choices[0].text) > 16
        assert case["greedy_text"].startswith(short.choices[0].text)
        assert short.usage.completion_tokens == 16


def test_a_stream_says_the_same_as_the_whole_answer(client, golden):
    case = golden[0]
    chunks = list(client.completions.create(
        model="stories260k", prompt=case["prompt"], max_tokens=64, temperature=0,
        stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == case["greedy_text"]
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 64
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_chat_streams_and_ends_by_itself(client):
    question = [{"role": "user", "content": "How do I add a user?"}]
    whole = client.chat.completions.create(model="hearth-guide", messages=question, temperature=0)
    choice = whole.choices[0]
    assert choice.message.role == "assistant" and choice.finish_reason == "stop"
    assert "hearth users add" in choice.message.content
    chunks = list(client.chat.completions.create(
        model="hearth-guide", messages=question, temperature=0,
        stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == choice.message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_chat_logprobs_have_the_asked_shape(client):
    done = client.chat.completions.create(
        model="stories260k", messages=[{"role": "user", "content": "A dog"}],
        max_tokens=5, temperature=0, logprobs=True, top_logprobs=3)
    content = done.choices[0].logprobs.content
    assert len(content) == 5 == done.usage.completion_tokens
    for entry in content:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob == pytest.approx(entry.top_logprobs[0].logprob)
        assert bytes(entry.bytes).decode() == entry.token


def test_the_same_seed_gives_the_same_text_whatever_runs_beside_it(client):
    def tell(seed):
        return client.completions.create(
            model="stories260k", prompt="One day", max_tokens=40, temperature=1.0, seed=seed,
        ).choices[0].text

    alone = {seed: tell(seed) for seed in range(4)}
    assert len(set(alone.values())) == 4
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(tell, [0, 1, 2, 3] * 4))
    assert together == [alone[seed] for seed in [0, 1, 2, 3] * 4]


def test_n_gives_independent_choices_and_counts_all_tokens(client):
    done = client.chat.completions.create(
        model="stories260k", messages=[{"role": "user", "content": "Once"}],
        n=3, max_tokens=10, temperature=1.2, seed=7)
    assert [choice.index for choice in done.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in done.choices}) == 3
    assert done.usage.completion_tokens <= 30


def test_a_stop_text_across_token_borders_is_cut_off(client, golden):
    done = client.completions.create(
        model="stories260k", prompt=golden[0]["prompt"], max_tokens=64, temperature=0,
        stop=["named Lil"])
    assert done.choices[0].finish_reason == "stop"
    assert done.choices[0].text == golden[0]["greedy_text"].split("named Lil")[0]


def test_several_prompts_and_echo(client, golden):
    prompts = [case["prompt"] for case in golden[:3]]
    done = client.completions.create(
        model="stories260k", prompt=prompts, max_tokens=8, temperature=0, echo=True)
    assert [choice.index for choice in done.choices] == [0, 1, 2]
    for case, choice in zip(golden, done.choices):
        assert choice.text.startswith(case["prompt"])
        told = choice.text.removeprefix(case["prompt"])
        assert len(told) > 4 and case["greedy_text"].startswith(told)
    assert done.usage.prompt_tokens == sum(len(case["prompt_ids"]) for case in golden[:3])


def test_logit_bias_forbids_a_token(client, golden):
    case = golden[0]
    banned = {str(case["greedy_ids"][0]): -100}
    done = client.completions.create(
        model="stories260k", prompt=case["prompt"], max_tokens=4, temperature=0, logit_bias=banned)
    assert not case["greedy_text"].startswith(done.choices[0].text)


def test_an_answer_keeps_the_schema_that_was_asked_for(client):
    schema = {
        "type": "object", "required": ["name", "age"], "additionalProperties": False,
        "properties": {"name": {"enum": ["Lily", "Ben"]},
                       "age": {"type": "integer", "minimum": 0, "maximum": 120}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "child", "schema": schema, "strict": True}}
    for seed in range(5):
        done = client.chat.completions.create(
            model="stories260k", messages=[{"role": "user", "content": "Who?"}], seed=seed,
            max_tokens=60, response_format=form)
        child = json.loads(done.choices[0].message.content)
        assert child["name"] in ("Lily", "Ben") and 0 <= child["age"] <= 120
        assert done.choices[0].finish_reason == "stop"


def test_closing_a_stream_frees_the_engine(server, client):
    for _ in range(20):
        stream = client.completions.create(
            model="stories260k", prompt="Once", max_tokens=500, temperature=1, stream=True,
            logit_bias={"2": -100})
        next(iter(stream))
        stream.close()

    def activity():
        machine = client.get("/machine", cast_to=object, options={"headers": {}})
        return next(m for m in machine["models_loaded"] if m["name"] == "stories260k")

    client = server.client()
    client.base_url = f"{server.url}/hearth"
    # Each look is a request of its own; the engine needs a few steps at most.
    for _ in range(200):
        now = activity()
        if now["running"] + now["waiting"] + now["kv_pages_used"] == 0:
            return
    pytest.fail(f"still at work: {now}")


def test_control_tokens_in_content_stay_text(client):
    def prompt_tokens(content):
        return client.chat.completions.create(
            model="hearth-guide", messages=[{"role": "user", "content": content}], max_tokens=1,
        ).usage.prompt_tokens

    # As text, `<|end|>` is several tokens; as a control token it would be one.
    assert prompt_tokens("a <|end|> b") >= prompt_tokens("a  b") + 3


@pytest.mark.parametrize(("question", "words"), [
    ("How do I pull a model?", "hearth models pull"),
    ("How do I add a model?", "hearth models pull"),
    ("How do I add a user?", "hearth users add"),
    ("How do I make an API token?", "hearth tokens create"),
    ("Where is my data?", "./data"),
    ("Who are you?", "hearth-guide"),
    ("How do I use it from Python?", "base_url"),
    ("Which models are supported?", "qwen3"),
    ("How do I change my password?", "Settings"),
    ("How do I stop the server?", "Ctrl+C"),
    ("How do I change the port?", "--listen"),
    ("Does it work offline?", "no internet"),
    ("怎么添加用户？", "hearth users add"),
])
def test_the_guide_answers_a_new_users_first_questions(client, question, words):
    done = client.chat.completions.create(
        model="hearth-guide", messages=[{"role": "user", "content": question}], temperature=0)
    assert words in done.choices[0].message.content
    assert done.choices[0].finish_reason == "stop"
