"""llama.cpp's server, in a process of its own, for everything that has several sequences."""

import http.client
import json
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

READY_S = 120
REQUEST_S = 600


class Server:
    def __init__(self, binary: Path, model: str, threads: int):
        self.command = [str(binary), "-m", model, "-t", str(threads), "-tb", str(threads)]
        self.process = None
        self.port = 0

    def start(self, slots: int, slot_tokens: int) -> dict:
        """Starts it with so many slots, each with room for so many tokens."""
        self.stop()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        room = ["-np", str(slots), "-c", str(slots * slot_tokens)]
        place = ["--host", "127.0.0.1", "--port", str(self.port)]
        silent = subprocess.DEVNULL
        self.process = subprocess.Popen(
            [*self.command, *room, *place], stdin=silent, stdout=silent, stderr=silent)
        deadline = time.monotonic() + READY_S
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("llama-server does not start")
            time.sleep(0.1)
        return {}

    def stop(self) -> dict:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None
        return {}

    def streams(self, prompts: list[list[int]], tokens: int) -> dict:
        """All prompts at once: the sum of the rates at which their tokens came after the first."""
        with ThreadPoolExecutor(len(prompts)) as threads:
            answers = list(threads.map(lambda prompt: self._complete(prompt, tokens), prompts))
        timings = [answer["timings"] for answer in answers]
        rates = [(timing["predicted_n"] - 1) / timing["predicted_ms"] * 1e3 for timing in timings]
        return {"rate": sum(rates), "tokens": [timing["predicted_n"] for timing in timings]}

    def first_token(self, prompt: list[int]) -> dict:
        """Seconds from a request to the end of an answer of one token."""
        begun = time.perf_counter()
        answer = self._complete(prompt, 1)
        seconds = time.perf_counter() - begun
        return {"seconds": seconds, "computed_tokens": answer["timings"]["prompt_n"]}

    def _complete(self, prompt: list[int], tokens: int) -> dict:
        """One greedy answer. It is not streamed: that spares the server work."""
        greedy = {"temperature": 0, "top_k": 1, "samplers": ["top_k"], "ignore_eos": True}
        body = {"prompt": prompt, "n_predict": tokens, "cache_prompt": True, **greedy}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_S)
        headers = {"content-type": "application/json"}
        connection.request("POST", "/completion", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"llama-server: {answer.status} {text[:200]!r}")
        return json.loads(text)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()
