"""Every route of Ollama's API and every command of its CLI, one row after the other, against the
real binary: what a client that knows nothing of Hearth would see."""

import hashlib
import http.client
import json
import re
import subprocess
import urllib.request

import pytest

from conftest import BINARY, ROOT_TOKEN

NANOSECONDS = ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"]
GREEDY = {"temperature": 0, "num_predict": 4}


def call(server, method, path, body=None, token=ROOT_TOKEN, **headers):
    """Status, headers and body. There is no Content-Type: Ollama asks for none."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    headers = {"Authorization": f"Bearer {token}", **headers}
    body = json.dumps(body) if isinstance(body, (dict, list)) else body
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def asked(server, method, path, body=None, **headers):
    status, headers, answer = call(server, method, path, body, **headers)
    assert status == 200, answer
    return json.loads(answer)


def lines(server, path, body):
    status, headers, answer = call(server, "POST", path, body)
    assert status == 200 and headers["content-type"] == "application/x-ndjson", answer
    return [json.loads(line) for line in answer.splitlines()]


# §1.1 routes

@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_root_says_that_ollama_runs(server, method):
    status, headers, answer = call(server, method, "/")
    assert status == 200 and headers["content-type"].startswith("text/plain")
    assert answer == (b"" if method == "HEAD" else b"Ollama is running")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/api/version", "/api/tags"])
def test_version_and_tags_answer_get_and_head(server, method, path):
    status, _, answer = call(server, method, path)
    assert status == 200 and (method == "HEAD") == (answer == b"")


def test_version_is_ollamas_and_status_tells_of_no_cloud(server):
    assert re.fullmatch(r"\d+\.\d+\.\d+", asked(server, "GET", "/api/version")["version"])
    assert asked(server, "GET", "/api/status")["cloud"]["disabled"] is True


def test_tags_have_every_field_newest_first(server):
    models = asked(server, "GET", "/api/tags")["models"]
    assert models
    for model in models:
        assert model["name"] == model["model"] and ":" in model["name"]
        assert re.fullmatch(r"[0-9a-f]{64}", model["digest"]) and model["size"] > 0
        details = model["details"]
        assert set(details) >= {"parent_model", "format", "family", "families", "parameter_size",
                                "quantization_level", "context_length"}
        assert isinstance(details["families"], list) and model["capabilities"]
    times = [model["modified_at"] for model in models]
    assert times == sorted(times, reverse=True)


def test_show_has_every_field(server):
    about = asked(server, "POST", "/api/show", {"model": "stories260k"})
    assert set(about) >= {"modelfile", "template", "details", "model_info", "capabilities",
                          "modified_at", "tensors"}
    info = about["model_info"]
    assert info["general.architecture"] == "llama" and info["llama.context_length"] == 512
    assert not {"general.name", "tokenizer.chat_template"} & set(info)
    assert all(value == [] or len(value) <= 5 for value in info.values() if isinstance(value, list))
    assert about["tensors"] and set(about["tensors"][0]) == {"name", "type", "shape"}
    verbose = asked(server, "POST", "/api/show", {"name": "stories260k", "verbose": True})
    assert len(verbose["model_info"]["tokenizer.ggml.tokens"]) == 512
    copilot = asked(server, "POST", "/api/show", {"model": "stories260k"},
                    **{"User-Agent": "GitHubCopilotChat/1.0"})
    assert copilot["model_info"]["general.basename"] == "stories260k"


def test_blobs_are_sent_once(server):
    content = b"a file of the reference walk"
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    path = f"/api/blobs/{digest}"
    assert call(server, "HEAD", path)[0] == 404
    assert call(server, "POST", path, b"other")[0] == 400
    assert [call(server, "POST", path, content)[0] for _ in range(2)] == [201, 200]
    assert call(server, "HEAD", path)[0] == 200


def test_copy_and_delete_answer_with_an_empty_body(server):
    body = {"source": "stories260k", "destination": "walked"}
    assert call(server, "POST", "/api/copy", body)[::2] == (200, b"")
    assert call(server, "DELETE", "/api/delete", {"name": "walked"})[::2] == (200, b"")
    status, _, answer = call(server, "DELETE", "/api/delete", {"model": "walked"})
    assert status == 404 and json.loads(answer) == {"error": "model 'walked' not found"}


def test_create_tells_its_steps(server):
    told = lines(server, "/api/create", {"model": "walked", "from": "stories260k", "system": "S"})
    statuses = [line["status"] for line in told]
    assert statuses[-2:] == ["writing manifest", "success"]
    assert any(re.fullmatch(r"(creating new|using existing) layer sha256:[0-9a-f]{64}", status)
               for status in statuses)
    assert call(server, "DELETE", "/api/delete", {"model": "walked"})[0] == 200


@pytest.mark.parametrize("path", ["/api/pull", "/api/push", "/api/create"])
def test_who_wants_no_stream_gets_the_end_alone(server, registry, path):
    names = {"/api/pull": f"{registry}/me/stories", "/api/push": f"{registry}/me/walked",
             "/api/create": "walked"}
    if path == "/api/push":
        body = {"source": "stories260k", "destination": names[path]}
        assert call(server, "POST", "/api/copy", body)[0] == 200
    body = {"model": names[path], "from": "stories260k", "stream": False, "insecure": True}
    assert asked(server, "POST", path, body) == {"status": "success"}
    assert call(server, "DELETE", "/api/delete", {"model": names[path]})[0] == 200


def test_ps_shows_what_is_loaded(server):
    asked(server, "POST", "/api/generate", {"model": "stories260k", "keep_alive": "1h",
                                            "stream": False})
    models = asked(server, "GET", "/api/ps")["models"]
    model = next(model for model in models if model["name"] == "stories260k:latest")
    assert set(model) >= {"name", "model", "size", "digest", "details", "expires_at", "size_vram",
                          "context_length"}


@pytest.mark.parametrize("method, path, status, answer", [
    ("GET", "/api/nothing", 404, None), ("GET", "/api/chat", 405, None),
    ("POST", "/api/tags", 405, None), ("PUT", "/api/generate", 405, None),
])
def test_unknown_paths_and_wrong_methods(server, method, path, status, answer):
    assert call(server, method, path)[0] == status


# §1.3 and §1.4 requests and answers

def test_field_names_are_matched_in_any_case_and_unknown_ones_passed_over(server):
    body = {"MODEL": "stories260k", "Prompt": "Once", "STREAM": False, "nonsense": {"x": 1},
            "options": {**GREEDY, "mirostat": 2, "numa": True, "nonsense": 1}}
    assert asked(server, "POST", "/api/generate", body)["eval_count"] == 4
    body = {"model": "stories260k", "stream": False, "options": GREEDY,
            "messages": [{"role": "USER", "Content": "Once"}]}
    assert asked(server, "POST", "/api/chat", body)["message"]["role"] == "assistant"


@pytest.mark.parametrize("path, more", [
    ("/api/generate", {"prompt": "Once"}),
    ("/api/chat", {"messages": [{"role": "user", "content": "Once"}]}),
])
def test_the_last_piece_has_the_times_in_nanoseconds(server, path, more):
    told = lines(server, path, {"model": "stories260k", "options": GREEDY, **more})
    assert all(piece["done"] is False for piece in told[:-1])
    assert all(piece["model"] == "stories260k" and piece["created_at"].endswith("Z") for piece in told)
    last = told[-1]
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "length", 4)
    assert all(type(last[key]) is int and last[key] > 0 for key in NANOSECONDS)
    assert ("context" in last) == (path == "/api/generate")


@pytest.mark.parametrize("path, key", [("/api/generate", "response"), ("/api/chat", "message")])
def test_an_empty_question_loads_and_unloads(server, path, key):
    empty = {} if key == "response" else {"messages": []}
    body = {"model": "stories260k", "stream": False, **empty}
    loaded = asked(server, "POST", path, body)
    assert (loaded["done"], loaded["done_reason"]) == (True, "load")
    unloaded = asked(server, "POST", path, {**body, "keep_alive": 0})
    assert (unloaded["done"], unloaded["done_reason"]) == (True, "unload")


@pytest.mark.parametrize("keep_alive, is_taken", [
    (10, True), (1.5, True), (-1, True), ("5m", True), ("1h30m", True), ("300ms", True),
    ("0", True), ("-1m", True), ("10", False), ("soon", False),
])
def test_keep_alive_is_seconds_or_a_go_duration(server, keep_alive, is_taken):
    body = {"model": "stories260k", "prompt": "Once", "stream": False, "keep_alive": keep_alive,
            "options": GREEDY}
    status, _, answer = call(server, "POST", "/api/generate", body)
    assert status == (200 if is_taken else 400), answer
    if keep_alive == "10":
        assert json.loads(answer)["error"] == 'time: missing unit in duration "10"'


def test_embeddings_in_both_ways(server):
    body = {"model": "all-minilm", "input": ["one", "two"]}
    answer = asked(server, "POST", "/api/embed", body)
    assert [len(vector) for vector in answer["embeddings"]] == [384, 384]
    assert answer["prompt_eval_count"] > 0 and type(answer["total_duration"]) is int
    short = asked(server, "POST", "/api/embed", {**body, "input": "one", "dimensions": 64})
    assert [len(vector) for vector in short["embeddings"]] == [64]
    assert asked(server, "POST", "/api/embed", {**body, "input": []})["embeddings"] == []
    legacy = asked(server, "POST", "/api/embeddings", {"model": "all-minilm", "prompt": "one"})
    assert len(legacy["embedding"]) == 384
    assert asked(server, "POST", "/api/embeddings", {"model": "all-minilm"})["embedding"] == []


def test_images_that_no_model_sees_are_refused(server):
    body = {"model": "stories260k", "prompt": "x", "images": ["iVBORw0KGgo="]}
    status, _, answer = call(server, "POST", "/api/generate", body)
    assert status == 400 and "does not support vision" in json.loads(answer)["error"]


def test_pictures_are_not_drawn(server):
    body = {"model": "stories260k", "prompt": "x", "width": 512, "height": 512, "steps": 4,
            "stream": False, "options": GREEDY}
    assert call(server, "POST", "/api/generate", body)[0] in (200, 400)


# §1.7 the other dialects

def test_v1_answers_with_ids_of_their_own_and_a_last_piece(server):
    body = {"model": "stories260k", "messages": [{"role": "user", "content": "Once"}],
            "max_tokens": 4, "temperature": 0}
    ids = {asked(server, "POST", "/v1/chat/completions", body,
                 **{"Content-Type": "application/json"})["id"] for _ in range(4)}
    assert len(ids) == 4
    status, headers, answer = call(
        server, "POST", "/v1/chat/completions",
        {**body, "stream": True, "stream_options": {"include_usage": True}},
        **{"Content-Type": "application/json"})
    events = answer.decode().strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    usage = json.loads(events[-2].removeprefix("data: "))
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 4


def test_models_with_slashes_are_found_on_v1(server):
    body = {"source": "stories260k", "destination": "team/walked:v1"}
    assert call(server, "POST", "/api/copy", body)[0] == 200
    found = asked(server, "GET", "/v1/models/team/walked:v1")
    assert found["id"] == "team/walked:v1" and found["object"] == "model"
    assert call(server, "DELETE", "/api/delete", {"model": "team/walked:v1"})[0] == 200


@pytest.mark.parametrize("path, body, status, kind", [
    ("/v1/chat/completions", {"model": "gone", "messages": [{"role": "user", "content": "x"}]},
     404, "error"),
    ("/v1/chat/completions", {"model": "stories260k", "messages": []}, 400, "error"),
    ("/v1/embeddings", {"model": "all-minilm", "input": []}, 400, "error"),
    ("/v1/messages", {"model": "stories260k", "messages": [{"role": "user", "content": "x"}]},
     400, "type"),
])
def test_errors_have_the_shape_of_their_dialect(server, path, body, status, kind):
    found, _, answer = call(server, "POST", path, body, **{"Content-Type": "application/json"})
    answer = json.loads(answer)
    assert found == status and kind in answer, answer
    assert answer["error"]["message"]


# §4 commands

def hearth(server, *arguments, **options):
    done = subprocess.run([BINARY, *arguments, "--data", str(server.data)], capture_output=True,
                          text=True, timeout=120, **options)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("row, arguments, words", [
    ("list", ["models", "list"], "NAME"),
    ("list PREFIX", ["models", "list", "stories"], "stories260k"),
    ("ps", ["models", "ps"], "NAME"),
    ("show", ["models", "show", "stories260k"], "llama"),
    ("show --modelfile", ["models", "show", "stories260k", "--modelfile"], "FROM"),
    ("show --parameters", ["models", "show", "stories260k", "--parameters"], ""),
    ("show --template", ["models", "show", "stories260k", "--template"], ""),
    ("show --system", ["models", "show", "stories260k", "--system"], ""),
    ("show --license", ["models", "show", "stories260k", "--license"], ""),
    ("run PROMPT", ["models", "run", "stories260k", "Once"], ""),
    ("run --verbose", ["models", "run", "stories260k", "Once", "--verbose"], ""),
    ("run --keepalive", ["models", "run", "stories260k", "Once", "--keepalive", "1m"], ""),
    ("run of an embedding model", ["models", "run", "all-minilm", "one"], "["),
    ("cp", ["models", "cp", "stories260k", "walked:cli"], "copied stories260k to walked:cli"),
    ("stop", ["models", "stop", "walked:cli"], "unloaded walked:cli"),
    ("rm", ["models", "rm", "walked:cli"], "removed walked:cli"),
    ("search", ["models", "search", "qwen3"], "qwen3"),
    ("pulls", ["models", "pulls"], "NAME"),
    ("verify", ["models", "verify", "stories260k"], ""),
    ("gc", ["models", "gc"], ""),
    ("routes", ["routes"], "/api/push"),
])
def test_commands(server, row, arguments, words):
    code, out, error = hearth(server, *arguments)
    assert code == 0, f"{row}: {error}"
    assert words in out, f"{row}: {out}"


def test_create_pull_and_push_by_commands(server, registry, tmp_path):
    recipe = tmp_path / "Modelfile"
    recipe.write_text("FROM stories260k\nSYSTEM Be brief.\nPARAMETER num_predict 3\n")
    name = f"{registry}/me/by-hand"
    assert hearth(server, "models", "create", name, "-f", str(recipe))[0] == 0
    code, out, error = hearth(server, "models", "push", name)
    assert code == 0 and out.strip() == f"pushed {name}", error
    assert hearth(server, "models", "rm", name)[0] == 0
    code, out, error = hearth(server, "models", "pull", name)
    assert code == 0 and out.startswith(f"pulled {name}: "), error
    assert "Be brief." in hearth(server, "models", "show", name, "--system")[1]
    assert hearth(server, "models", "rm", name)[0] == 0
    code, _, error = hearth(server, "models", "push", "stories260k")
    assert code != 0 and "hub.push_registries" in error
    code, _, error = hearth(server, "models", "push", "gone")
    assert code != 0 and "gone" in error


def test_a_file_at_an_address_is_pulled_by_a_command(server, registry):
    manifest = f"http://{registry}/v2/me/stories/manifests/latest"
    code, _, error = hearth(server, "models", "pull", manifest, "--as", "walked")
    assert code != 0 and "no GGUF file" in error
    layers = json.load(urllib.request.urlopen(manifest))["layers"]
    url = f"http://{registry}/v2/me/stories/blobs/{layers[0]['digest']}"
    digest = layers[0]["digest"].removeprefix("sha256:")
    code, _, error = hearth(server, "models", "pull", url, "--as", "walked", "--sha256", "0" * 64)
    assert code != 0 and "digest mismatch" in error.lower()
    code, out, error = hearth(server, "models", "pull", url, "--as", "walked", "--sha256", digest)
    assert code == 0 and out.startswith("pulled walked: "), error
    code, _, error = hearth(server, "models", "pull", "https://evil.example/m.gguf")
    assert code != 0 and "hub.registries" in error
    assert hearth(server, "models", "rm", "walked")[0] == 0
