"""Open WebUI, unchanged, in front of a running Hearth: it lists models and chats over both of its
connections. See README.md."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv

HERE = pathlib.Path(__file__).resolve().parent
VENV = HERE / ".venv"
PACKAGE = "open-webui==0.12.4"
START_SECONDS = 300
ASK = [{"role": "user", "content": "Once upon a time"}]
GREEDY = {"temperature": 0}

sys.path.insert(0, str(HERE.parent / "python"))


def install():
    """The package with what its own slim list asks for: without torch, and with half of the rest."""
    if (VENV / "done").exists():
        return
    venv.create(VENV, with_pip=True)
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", PACKAGE], check=True)
    [wanted] = VENV.glob("lib/python*/site-packages/requirements-slim.txt")
    subprocess.run([*pip, "--requirement", str(wanted)], check=True)
    (VENV / "done").touch()


class OpenWebUI:
    def __init__(self, hearth_url, token, data):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.token = None
        self.log = data / "log"
        self.process = subprocess.Popen(
            [str(VENV / "bin/open-webui"), "serve", "--host", "127.0.0.1", "--port", str(port)],
            stdout=self.log.open("w"), stderr=subprocess.STDOUT, cwd=data,
            env={
                **os.environ, "DATA_DIR": str(data), "OFFLINE_MODE": "true", "USE_SLIM_DOCKER": "true",
                "WEBUI_SECRET_KEY": "a key of thirty-two bytes or more",
                "OLLAMA_BASE_URLS": hearth_url,
                "OLLAMA_API_CONFIGS": json.dumps({"0": {"enable": True, "key": token}}),
                "OPENAI_API_BASE_URLS": f"{hearth_url}/v1", "OPENAI_API_KEYS": token,
                "RAG_EMBEDDING_ENGINE": "ollama", "HF_HUB_OFFLINE": "1",
            },
        )

    def wait(self):
        for _ in range(START_SECONDS):
            assert self.process.poll() is None, "it ended early:\n" + self.log.read_text()[-3000:]
            try:
                return self.call("GET", "/health")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(1)
        raise TimeoutError(f"open-webui is not there after {START_SECONDS} s")

    def call(self, method, path, body=None):
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            text = answer.read().decode()
        return json.loads(text) if text.startswith(("{", "[")) else text


def check(webui):
    """Yields what was tried and what came of it."""
    person = {"name": "Ann", "email": "ann@example.com", "password": "correct horse battery"}
    signed = webui.call("POST", "/api/v1/auths/signup", person)
    webui.token = signed["token"]
    yield "sign up the first user", signed["role"]
    models = {model["id"]: model["owned_by"] for model in webui.call("GET", "/api/models")["data"]}
    assert models.get("stories260k:latest") == "ollama" and models.get("stories260k") == "openai", models
    yield "list models of both connections", ", ".join(models)
    tags = webui.call("GET", "/ollama/api/tags")["models"]
    yield "list over the Ollama connection", f"{len(tags)} models"
    listed = webui.call("GET", "/openai/models")["data"]
    yield "list over the OpenAI connection", f"{len(listed)} models"
    said = {}
    for model in ["stories260k:latest", "stories260k"]:
        # The Ollama connection sends what stands in `options` alone.
        body = {"model": model, "messages": ASK, "stream": False, "max_tokens": 16, **GREEDY,
                "options": GREEDY}
        answer = webui.call("POST", "/api/chat/completions", body)
        said[model] = answer["choices"][0]["message"]["content"]
        yield f"chat with {model}, {models[model]} connection", repr(said[model])
        text = webui.call("POST", "/api/chat/completions", {**body, "stream": True})
        data = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        chunks = [json.loads(line) for line in data if line != "[DONE]"]
        pieces = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", [])]
        assert "".join(pieces) == said[model], pieces
        yield "the same, streamed", f"{len(chunks)} chunks"
    assert len(set(said.values())) == 1, said
    vectors = webui.call("POST", "/ollama/api/embed", {"model": "all-minilm:latest", "input": ["a", "b"]})
    yield "vectors over the Ollama connection", f"{len(vectors['embeddings'])} of {len(vectors['embeddings'][0])}"
    running = webui.call("GET", "/ollama/api/ps")
    yield "loaded models", str([model["model"] for model in running["models"]] if "models" in running else running)


def main():
    import conftest

    install()
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / "hearth"
        for name, source in [("stories260k", conftest.MODELS / "stories260K-f32.gguf"),
                             ("all-minilm", conftest.embedding_model())]:
            conftest.hearth(data, "models", "import", str(source), "--name", name)
        server = conftest.Server(data, INITIAL_ROOT_TOKEN=conftest.ROOT_TOKEN)
        of_webui = pathlib.Path(folder) / "open-webui"
        of_webui.mkdir()
        webui = OpenWebUI(server.url, conftest.ROOT_TOKEN, of_webui)
        try:
            started = time.monotonic()
            webui.wait()
            print(f"open-webui is up after {time.monotonic() - started:.0f} s")
            for what, outcome in check(webui):
                print(f"{what}: {outcome}")
        finally:
            webui.process.terminate()
            webui.process.wait(timeout=60)
            server.stop()


if __name__ == "__main__":
    main()
