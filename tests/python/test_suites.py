"""The suites that OpenAI and Anthropic generate for their own SDKs, against the real binary: every
field that they know is sent, and every answer is held to their types."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from conftest import ROOT_TOKEN, Server, hearth

HERE = pathlib.Path(__file__).resolve().parent
CACHE = HERE / ".cache"
# The package, the model that it asks for, where its API begins, its file.
OPENAI = ("openai", "gpt-6-astra", "/v1", "chat/test_completions.py")
ANTHROPIC = ("anthropic", "claude-opus-5-5", "", "test_messages.py")


@pytest.mark.parametrize(("package", "model", "path", "file"), [OPENAI, ANTHROPIC])
def test_every_generated_call_is_taken(package, model, path, file, caller_folder, tmp_path):
    assert (CACHE / "done").exists(), "run make client-test, which fetches the suites"
    hearth(tmp_path, "models", "import", str(caller_folder), "--name", model)
    server = Server(tmp_path, INITIAL_ROOT_TOKEN=ROOT_TOKEN)
    where = {"TEST_API_BASE_URL": server.url + path, "TEST_API_KEY": ROOT_TOKEN, "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-o", "asyncio_mode=auto",
         "-p", "no:cacheprovider", "-p", "suite_key", "-k", "create and not aiohttp",
         f"tests/api_resources/{file}"],
        cwd=CACHE / package, capture_output=True, text=True, timeout=300, env={**os.environ, **where},
    )
    assert server.stop() == 0
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert re.search(r"^32 passed", done.stdout, re.MULTILINE), done.stdout[-400:]
