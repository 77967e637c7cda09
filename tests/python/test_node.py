"""The real `ollama` and `openai` packages of npm against the real binary; the tests themselves are in tests/node."""

import os
import pathlib
import subprocess

from conftest import ROOT_TOKEN

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "node"


def test_every_call_of_the_npm_packages_is_taken(server, caller, registry):
    assert (FOLDER / "node_modules").is_dir(), "run make client-test, which installs it"
    where = {"HEARTH_URL": server.url, "HEARTH_TOKEN": ROOT_TOKEN, "HEARTH_REGISTRY": registry}
    done = subprocess.run(
        ["node", "--test", "--test-reporter", "spec"], cwd=FOLDER, env={**os.environ, **where},
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
