"""Accounts, command line and operation of the real binary."""

import json
import os
import stat
import subprocess
import urllib.error
import urllib.request

import openai
import pytest

from conftest import BINARY, MODELS, ROOT_TOKEN, Server, hearth


def fetch(url, token=None):
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("running", [False, True])
def test_users_and_tokens_are_made_with_and_without_a_server(tmp_path, running):
    server = Server(tmp_path, INITIAL_ROOT_TOKEN=ROOT_TOKEN) if running else None
    try:
        hearth(tmp_path, "users", "add", "ann", "--role", "user", "--password-stdin",
               input="correct horse battery\n")
        token = hearth(tmp_path, "tokens", "create", "--user", "ann", "--models", "hearth-*")
        assert token.startswith("sk-hearth-") and "\n" not in token
        assert "ann" in hearth(tmp_path, "users", "list")
        hearth(tmp_path, "models", "import", str(MODELS / "stories260K-f32.gguf"), "--name", "tale")
        assert "tale" in hearth(tmp_path, "models", "list")
        server = server or Server(tmp_path)
        names = [model.id for model in server.client(token).models.list()]
        assert names == ["hearth-guide"]
        with pytest.raises(openai.NotFoundError):
            server.client(token).completions.create(model="tale", prompt="x", max_tokens=1)
        hearth(tmp_path, "users", "disable", "ann")
        with pytest.raises(openai.AuthenticationError):
            server.client(token).models.list()
    finally:
        if server:
            assert server.stop() == 0


def test_a_remote_server_is_reached_by_url_and_token(server):
    def users(token):
        return subprocess.run(
            [BINARY, "users", "list", "--server", server.url, "--token", token],
            capture_output=True, text=True, timeout=60)

    assert "root" in users(ROOT_TOKEN).stdout
    refused = users("sk-hearth-wrong")
    assert refused.returncode != 0 and "credential" in refused.stderr


def test_a_damaged_file_is_refused_with_its_reason(tmp_path):
    whole = (MODELS / "stories260K-f32.gguf").read_bytes()
    short = tmp_path / "short.gguf"
    short.write_bytes(whole[:-1000])
    done = subprocess.run(
        [BINARY, "models", "import", str(short), "--name", "short", "--data", str(tmp_path / "data")],
        capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "tensor" in done.stderr and "panicked" not in done.stderr


def test_a_second_server_on_one_data_directory_is_refused(server):
    done = subprocess.run(
        [BINARY, "serve", "--data", str(server.data), "--listen", "127.0.0.1:0"],
        capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "already" in done.stderr


def test_health_readiness_and_metrics(server, client):
    client.completions.create(model="stories260k", prompt="Once", max_tokens=3)
    assert fetch(f"{server.url}/healthz")[0] == 200
    assert fetch(f"{server.url}/readyz")[0] == 200
    assert fetch(f"{server.url}/metrics")[0] == 401
    status, text = fetch(f"{server.url}/metrics", ROOT_TOKEN)
    assert status == 200 and "hearth_" in text


def test_routes_say_who_may_call_them(tmp_path):
    routes = json.loads(hearth(tmp_path, "routes", "--json"))
    by_path = {(route["method"], route["path"]): route["access"] for route in routes}
    assert by_path["POST", "/v1/chat/completions"] == "user"
    assert by_path["GET", "/healthz"] == "anyone"
    assert all(who in {"anyone", "user", "person", "admin", "operator"} for who in by_path.values())


def test_secrets_and_database_are_for_the_owner_alone(server):
    for name in os.listdir(server.data):
        path = server.data / name
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, name
