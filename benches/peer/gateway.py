"""The gateway beside its peers: each is pinned to one core, mock provider and load to another.

    cargo build --release && cargo build --release -p hearth-gateway --example bench-gateway
    python3 benches/peer/gateway.py [--seconds 5] [--rounds 3] [--peers DIR] [--only NAME,NAME]

`--peers DIR` installs LiteLLM there, once, and measures it too. All take
turns within a round; the median of the rounds is printed. Hearth has its tokens, limits and ledger
on, as always.
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEY = "sk-hearth-bench-0123456789abcdef"
# name, arguments of `load`, the figure that counts, and what it is called
WORKS = [
    ("requests", ["--connections=16"], "per_s", "requests/s, 16 connections"),
    ("rate", ["--connections=64", "--rate=2000"], "p99_us", "p99 at 2,000 requests/s, µs"),
    ("rate50", ["--connections=64", "--rate=2000"], "p50_us", "p50 at 2,000 requests/s, µs"),
    ("chunks", ["--connections=256", "--stream"], "chunks_per_s", "chunks/s, 256 streams"),
    ("first", ["--connections=64", "--stream", "--rate=200"], "first_p99_us",
     "first chunk p99, 64 connections at 200 streams/s, µs"),
    ("many", ["--connections=1000", "--stream"], "per_s", "streams/s, 1,000 at once"),
]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def pinned(core, *command, **options):
    return subprocess.Popen(
        ["taskset", "-c", str(core), *map(str, command)],
        stdout=options.pop("stdout", subprocess.DEVNULL), stderr=subprocess.DEVNULL, **options)


def wait_for(port, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def memory_mb(process):
    """Resident memory of a process and its children."""
    total, pids = 0, [process.pid]
    for pid in pids:
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            continue
        total += next((int(l.split()[1]) for l in status.splitlines() if l.startswith("VmRSS")), 0)
        pids += map(int, children.split())
    return total / 1024


class Server:
    """One that is measured: its process, its port, and what a request to it needs."""

    def __init__(self, name, process, port, key="none", model="m"):
        self.name, self.process, self.port, self.key, self.model = name, process, port, key, model
        wait_for(port)

    def load(self, bench, core, seconds, arguments):
        command = [
            "taskset", "-c", str(core), bench, "load", f"127.0.0.1:{self.port}", f"--key={self.key}",
            f"--model={self.model}", f"--seconds={seconds}", *arguments,
        ]
        return json.loads(subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=True).stdout)


def hearth(binary, core, mock, folder):
    data, port = folder / "data", free_port()
    environment = {**os.environ, "INITIAL_ROOT_TOKEN": KEY,
                   "HEARTH_GATEWAY_MAX_RUNNING_PER_CALLER": "10000",
                   "HEARTH_SERVER_MAX_REQUESTS": "10000",
                   "HEARTH_SERVER_MAX_CONNECTIONS_PER_ADDRESS": "4096",
                   "HEARTH_LOG_LEVEL": "warn"}
    process = pinned(core, binary, "serve", "--data", data, "--listen", f"127.0.0.1:{port}",
                     env=environment)
    wait_for(port)
    subprocess.run(
        [binary, "channels", "add", "mock", "--type", "openai-compatible", "--base-url",
         f"http://127.0.0.1:{mock}/v1", "--models", "m", "--allow-private", "--data", data],
        check=True, stdout=subprocess.DEVNULL)
    return Server("Hearth", process, port, KEY)


def bare(bench, core, mock, _):
    port = free_port()
    process = pinned(core, bench, "bare", f"127.0.0.1:{port}", f"http://127.0.0.1:{mock}/v1")
    return Server("bare axum + reqwest", process, port)


def litellm(peers, core, mock, folder):
    environment = peers / "litellm"
    if not (environment / "bin/litellm").exists():
        venv.create(environment, with_pip=True)
        subprocess.run([environment / "bin/pip", "install", "-q", "litellm[proxy]"], check=True)
    config = folder / "litellm.yaml"
    config.write_text(json.dumps({"model_list": [{"model_name": "m", "litellm_params": {
        "model": "openai/m", "api_base": f"http://127.0.0.1:{mock}/v1", "api_key": "none"}}]}))
    port = free_port()
    process = pinned(core, environment / "bin/litellm", "--config", config, "--port", port,
                     "--num_workers", 1)
    return Server("LiteLLM", process, port)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hearth", default=ROOT / "target/release/hearth")
    parser.add_argument("--bench", default=ROOT / "target/release/examples/bench-gateway")
    parser.add_argument("--peers", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    wanted = [work for work in WORKS if not options.only or work[0] in options.only.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        measure(options, wanted, pathlib.Path(folder))


def measure(options, works, folder):
    mock_port = free_port()
    mock = pinned(1, options.bench, "mock", f"127.0.0.1:{mock_port}")
    wait_for(mock_port)
    servers = [hearth(options.hearth, 0, mock_port, folder),
               bare(options.bench, 0, mock_port, folder)]
    if options.peers:
        servers.append(litellm(options.peers, 0, mock_port, folder))
    try:
        table(options, works, servers)
    finally:
        for process in [mock, *(server.process for server in servers)]:
            process.terminate()
            process.wait()


def table(options, works, servers):
    print("| work | " + " | ".join(server.name for server in servers) + " |")
    print("|---|" + "---|" * len(servers))
    failures = {server.name: 0 for server in servers}
    for _, arguments, figure, title in works:
        found = {server.name: [] for server in servers}
        for _ in range(options.rounds):
            for server in servers:
                said = server.load(options.bench, 1, options.seconds, arguments)
                found[server.name].append(said[figure])
                failures[server.name] += said["failures"]
        medians = [f"{statistics.median(found[server.name]):,.0f}" for server in servers]
        print(f"| {title} | " + " | ".join(medians) + " |", flush=True)
    print("| failures | " + " | ".join(str(failures[server.name]) for server in servers) + " |")
    sizes = [f"{memory_mb(server.process):.0f}" for server in servers]
    print("| resident memory afterwards, MB | " + " | ".join(sizes) + " |")


if __name__ == "__main__":
    main()
