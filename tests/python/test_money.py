"""Quotas, prices, rate limits, usage and `hearth doctor`, by the real binary and the real client."""

import csv
import io
import json
import os
import random
import subprocess
import threading
import time
import urllib.request

import openai
import pytest

import conftest
from conftest import BINARY, MODELS, ROOT_TOKEN, Server, hearth

MODEL = "hearth-guide"
QUESTION = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def shop(tmp_path):
    """A server on which the guide costs a dollar for a million tokens of prompts, ten for answers."""
    server = Server(tmp_path, INITIAL_ROOT_TOKEN=ROOT_TOKEN)
    hearth(tmp_path, "users", "add", "ann", "--role", "user", "--password-stdin",
           input="correct horse battery\n")
    hearth(tmp_path, "prices", "set", MODEL, "--input", "1", "--output", "10")
    yield server
    assert server.stop() == 0


def fetch(server, path, token):
    request = urllib.request.Request(
        server.url + path, headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def test_a_token_spends_its_quota_to_the_micro_dollar_and_then_the_client_raises(shop):
    token = hearth(shop.data, "tokens", "create", "--user", "ann", "--quota", "0.0015")
    # The client's own retries stay on: it must not ask again what cannot succeed.
    client = openai.OpenAI(base_url=f"{shop.url}/v1", api_key=token)
    spent = 0
    with pytest.raises(openai.RateLimitError) as refused:
        for _ in range(100):
            answer = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=20)
            used = answer.usage
            spent += used.prompt_tokens + 10 * used.completion_tokens
    assert refused.value.code == "insufficient_quota"
    assert refused.value.type == "insufficient_quota"
    assert "You exceeded your current quota" in refused.value.message
    assert 0 < spent <= 1500
    listed = [row.split() for row in hearth(shop.data, "quota", "list").splitlines()]
    row = next(row for row in listed if row[0].startswith("token:"))
    assert row[1:4] == [dollars(1500 - spent), "$0.00", dollars(spent)]
    info = json.loads(fetch(shop, "/v1/usage/token/", token))["data"]
    assert info["total_used"] == spent // 2
    bill = json.loads(fetch(shop, "/v1/dashboard/billing/subscription", token))
    assert bill["hard_limit_usd"] == 0.0015


def test_an_answer_without_a_limit_ends_where_the_money_does(shop):
    token = hearth(shop.data, "tokens", "create", "--user", "ann", "--quota", "0.0002")
    client = openai.OpenAI(base_url=f"{shop.url}/v1", api_key=token)
    chunks = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Tell me everything that you know."}],
        stream=True, stream_options={"include_usage": True}, extra_body={"ignore_eos": True})
    reasons, usage = [], None
    for chunk in chunks:
        reasons += [choice.finish_reason for choice in chunk.choices if choice.finish_reason]
        usage = chunk.usage or usage
    cost = usage.prompt_tokens + 10 * usage.completion_tokens
    assert cost <= 200
    if reasons == ["length"]:
        assert cost > 190, "not a token fewer than was paid for"


def test_a_budget_binds_a_person_and_the_operator_lifts_it(shop):
    hearth(shop.data, "quota", "budget", "user:ann", "1", "--unit", "requests", "--per", "day")
    client = shop.client(hearth(shop.data, "tokens", "create", "--user", "ann"))
    ask = lambda: client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=1)
    ask()
    with pytest.raises(openai.RateLimitError) as refused:
        ask()
    assert "0 requests left today" in refused.value.message
    assert int(refused.value.response.headers["retry-after"]) >= 1
    budget = hearth(shop.data, "quota", "budgets").splitlines()[1].split()[0]
    hearth(shop.data, "quota", "rm-budget", budget)
    ask()
    hearth(shop.data, "quota", "limit", "user:ann", "--requests", "1")
    ask()
    with pytest.raises(openai.RateLimitError) as refused:
        ask()
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.response.headers["x-ratelimit-limit-requests"] == "1"


def test_usage_is_written_as_csv_and_the_doctor_finds_all_well(shop):
    client = shop.client(hearth(shop.data, "tokens", "create", "--user", "ann"))
    for _ in range(3):
        client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=2)
    text = fetch(shop, "/hearth/usage?format=csv", ROOT_TOKEN)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 3
    assert {row["user"] for row in rows} == {"ann"}
    assert all(float(row["cost_usd"]) > 0 for row in rows)
    sums = json.loads(fetch(shop, "/hearth/usage/summary?by=user", ROOT_TOKEN))
    assert sums["spans"][0]["sums"][0]["requests"] == 3
    said = hearth(shop.data, "doctor")
    assert "3 requests settled" in said and "everything is as it should be" in said


def test_the_doctor_names_what_is_wrong(tmp_path):
    hearth(tmp_path, "users", "list")
    assert "everything is as it should be" in hearth(tmp_path, "doctor")
    os.chmod(tmp_path / "hearth.db", 0o644)
    os.chmod(tmp_path, 0o755)
    done = subprocess.run([BINARY, "doctor", "--data", str(tmp_path)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "has mode 755" in done.stdout
    assert "problem" in done.stderr


def test_a_second_server_on_one_directory_refuses_to_start(shop):
    done = subprocess.run([BINARY, "serve", "--data", str(shop.data), "--listen", "127.0.0.1:0"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "runs already on" in done.stderr


def test_a_server_killed_under_load_loses_no_payment_and_no_balance(tmp_path):
    kills = 200 if os.environ.get("HEARTH_SLOW") == "1" else 4
    random.seed(7)
    hearth(tmp_path, "users", "add", "ann", "--role", "user", "--password-stdin",
           input="correct horse battery\n")
    token = hearth(tmp_path, "tokens", "create", "--user", "ann", "--quota", "1000")
    hearth(tmp_path, "prices", "set", MODEL, "--input", "1", "--output", "10")
    acknowledged, counted = 0, threading.Lock()

    def spend(client):
        nonlocal acknowledged
        while True:
            try:
                used = client.chat.completions.create(
                    model=MODEL, messages=QUESTION, max_tokens=2).usage
            except openai.APIError:
                return
            with counted:
                acknowledged += used.prompt_tokens + 10 * used.completion_tokens

    for kill in range(kills):
        server = Server(tmp_path)
        clients = [threading.Thread(target=spend, args=(server.client(token),)) for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(random.uniform(0.05, 1.0))
        server.process.kill()
        server.process.wait()
        for client in clients:
            client.join()
        assert "everything is as it should be" in hearth(tmp_path, "doctor"), f"kill {kill}"
        listed = [row.split() for row in hearth(tmp_path, "quota", "list").splitlines()]
        left, held, used = next(row for row in listed if row[0].startswith("token:"))[1:4]
        assert held == "$0.00"
        assert micros(used) >= acknowledged, f"kill {kill}"
        assert micros(left) + micros(used) == 1_000_000_000
    assert acknowledged > 0


def micros(text):
    return round(float(text.removeprefix("$")) * 1_000_000)


def dollars(micros):
    part = f"{micros % 1_000_000:06d}".rstrip("0")
    return f"${micros // 1_000_000}.{part:0<2}"


def test_a_full_disk_takes_no_money_says_so_and_lets_free_chats_and_reading_go_on(
        tmp_path, monkeypatch):
    server = Server(tmp_path, INITIAL_ROOT_TOKEN=ROOT_TOKEN)
    hearth(tmp_path, "models", "import", str(MODELS / "stories260K-f32.gguf"), "--name", "gift")
    hearth(tmp_path, "prices", "set", MODEL, "--output", "10")
    hearth(tmp_path, "users", "add", "ann", "--role", "user", "--password-stdin",
           input="correct horse battery\n")
    token = hearth(tmp_path, "tokens", "create", "--user", "ann", "--quota", "100")
    assert server.stop() == 0
    # No file may grow beyond a megabyte: writing fails, and goes on failing.
    wrapper = tmp_path.parent / f"{tmp_path.name}-wrapper"
    wrapper.write_text(f"#!/bin/bash\ntrap '' XFSZ\nulimit -f 1024\nexec {BINARY} \"$@\"\n")
    wrapper.chmod(0o755)
    monkeypatch.setattr(conftest, "BINARY", str(wrapper))
    server = Server(tmp_path, INITIAL_ROOT_TOKEN=ROOT_TOKEN)
    client = server.client(token)
    ask = lambda model: client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=1)
    paid = 0
    with pytest.raises(openai.InternalServerError) as refused:
        for _ in range(2000):
            ask(MODEL)
            paid += 1
    assert refused.value.status_code == 503
    assert paid > 0
    assert "disk" in refused.value.message or "database" in refused.value.message
    assert refused.value.response.headers["retry-after"]
    assert ask("gift").choices[0].message.content
    sums = json.loads(fetch(server, "/hearth/usage/summary?since=0", ROOT_TOKEN))
    assert sums["spans"][0]["sums"][0]["requests"] <= paid
    server.stop()
    monkeypatch.undo()
    assert "everything is as it should be" in hearth(tmp_path, "doctor")
    listed = [row.split() for row in hearth(tmp_path, "quota", "list").splitlines()]
    row = next(row for row in listed if row[0].startswith("token:"))
    assert row[2] == "$0.00", "nothing stays held"


def test_the_command_line_shows_sums_and_exports_usage(shop):
    token = hearth(shop.data, "tokens", "create", "--user", "ann", "--name", "lap")
    for _ in range(3):
        shop.client(token).chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=2)
    shown = hearth(shop.data, "usage", "--user", "ann", "--since", "1h").splitlines()
    assert len(shown) == 4 and all("ann/lap" in line and "here" in line for line in shown[1:])
    listed = json.loads(hearth(shop.data, "usage", "--model", MODEL, "--limit", "2", "--json"))
    assert len(listed["usage"]) == 2 and listed["usage"][0]["outcome"] == "complete"
    summed = hearth(shop.data, "usage", "--by", "user").splitlines()
    assert summed[0].split()[:2] == ["USER", "REQUESTS"] and summed[1].split()[:2] == ["ann", "3"]
    by_model = json.loads(hearth(shop.data, "usage", "--by", "model", "--user", "ann", "--json"))
    assert by_model["spans"][0]["sums"][0]["requests"] == 3
    rows = list(csv.DictReader(io.StringIO(hearth(shop.data, "usage", "--csv"))))
    assert len(rows) == 3 and {row["user"] for row in rows} == {"ann"}
    assert hearth(shop.data, "usage", "--outcome", "failed", "--csv").count("\n") == 0
    assert len(hearth(shop.data, "usage", "--until", "2020-01-01").splitlines()) == 1
    for wrong in [["--since", "yesterday"], ["--csv", "--by", "user"], ["--user", "nobody"]]:
        done = subprocess.run([BINARY, "usage", *wrong, "--data", str(shop.data)],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode != 0 and done.stderr, wrong
