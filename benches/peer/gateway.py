"""The gateway beside its peers: each is pinned to one core, mock provider and load to another.

    cargo build --release && cargo build --release -p hearth-gateway --example bench-gateway
    python3 benches/peer/gateway.py --peers target/peers --json gateway.json

`--peers DIR` installs LiteLLM (PyPI) and Portkey's gateway (npm) there, once, and measures them too.
All take turns within a round; the median of the rounds is printed, and `--json FILE` keeps every
single measurement. Hearth has its tokens, a rate limit, a price and a wallet, and so its ledger
(`synchronous=FULL`) twice for each request. `direct` is the provider itself without anybody between:
what a row adds to it is what the server costs.
"""

import argparse
import json
import os
import pathlib
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEY = "sk-bench-0123456789abcdef0123456789abcdef"
CORES = {"server": 0, "load": 1}
STREAM = ["--stream"]
MODELS = ("m", "paced", "brisk")
# Name, arguments of `load`, and what must have been reached before for it to make sense.
WORKS = {
    "requests": (["--connections=16"], None),
    "rate": (["--connections=64", "--rate=2000"], ("requests", "per_s", 2500)),
    "chunks": (["--connections=256", *STREAM], None),
    # A stream of `brisk` takes a second: about 64 are under way, and they do not begin together.
    "first": (["--connections=64", "--rate=60", "--model=brisk", *STREAM],
              ("chunks", "chunks_per_s", 8000)),
    "many": (["--connections=1000", "--model=paced", *STREAM], ("chunks", "chunks_per_s", 25000)),
}
# What is printed: its work, its figure, whether what the provider itself takes is taken off.
ROWS = [
    ("requests/s, 16 connections", "requests", "per_s", False),
    ("added p50 at 2,000 requests/s, µs", "rate", "p50_us", True),
    ("added p99 at 2,000 requests/s, µs", "rate", "p99_us", True),
    ("chunks/s, 256 streams", "chunks", "chunks_per_s", False),
    ("added until the first chunk, p99, 64 streams, µs", "first", "first_p99_us", True),
    ("chunks/s of 1,000 streams with 20 a second each", "many", "chunks_per_s", False),
    ("resident memory with 1,000 streams at most, MB", "many", "memory_mb", False),
]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def pinned(core, log, *command, **options):
    # A group of its own, so that its children end with it.
    return subprocess.Popen(
        ["taskset", "-c", str(core), *map(str, command)], stdout=log, stderr=log,
        stdin=subprocess.DEVNULL, start_new_session=True, **options)


def end(process):
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(port, process, seconds=180):
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}: {process.args}")


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

    def __init__(self, name, process, port, key="none", headers=()):
        self.name, self.process, self.port, self.key = name, process, port, key
        self.headers = [f"--header={header}" for header in headers]
        self.runs = {}
        wait_for(port, process)

    def load(self, options, work, seconds):
        """Runs one work once, and watches the server's memory meanwhile."""
        command = [
            "taskset", "-c", str(CORES["load"]), options.bench, "load", f"127.0.0.1:{self.port}",
            f"--key={self.key}", f"--seconds={seconds}", *self.headers, *WORKS[work][0],
        ]
        has_ended, sizes = threading.Event(), []
        def watch():
            while not has_ended.is_set():
                sizes.append(memory_mb(self.process))
                has_ended.wait(0.25)
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            ran = subprocess.run(list(map(str, command)), capture_output=True, text=True,
                                 timeout=20 * seconds + 60)
            said = json.loads(ran.stdout)
        except (subprocess.TimeoutExpired, json.JSONDecodeError) as error:
            said = {"failures": 1, "problem": repr(error)}
        has_ended.set()
        watcher.join()
        half = sizes[len(sizes) // 2:]
        # Without a trend both halves reach the same.
        said["memory_mb"], said["memory_halves_mb"] = max(sizes), [
            max(sizes[:len(sizes) // 2 + 1]), max(half)]
        return said

    def median(self, work, figure):
        found = [run[figure] for run in self.runs.get(work, []) if figure in run]
        return statistics.median(found) if found else None

    def can(self, work):
        """Whether what was measured before says that this work is within reach."""
        need = WORKS[work][1]
        if need is None or self.name in ("Hearth", "direct"):
            return True
        before = self.median(need[0], need[1])
        return before is None or before >= need[2]


def hearth(options, mock, folder, log):
    data, port = folder / "hearth", free_port()
    environment = {**os.environ, "INITIAL_ROOT_TOKEN": KEY,
                   "HEARTH_GATEWAY_MAX_RUNNING_PER_CALLER": "10000",
                   "HEARTH_SERVER_MAX_REQUESTS": "10000",
                   "HEARTH_SERVER_MAX_CONNECTIONS_PER_ADDRESS": "4096",
                   "HEARTH_LOG_LEVEL": "warn"}
    process = pinned(CORES["server"], log, options.hearth, "serve", "--data", data,
                     "--listen", f"127.0.0.1:{port}", env=environment)
    wait_for(port, process)

    def run(*words):
        done = subprocess.run([options.hearth, *words, "--data", data], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"hearth {' '.join(words)}: {done.stderr}")

    run("channels", "add", "mock", "--type", "openai-compatible", "--base-url",
        f"http://127.0.0.1:{mock}/v1", "--models", ",".join(MODELS), "--allow-private")
    run("quota", "set", "user:root", "100000")
    run("quota", "limit", "user:root", "--requests", "100000000", "--tokens", "1000000000")
    for model in MODELS:
        run("prices", "set", model, "--input", "1", "--output", "2")
    return Server("Hearth", process, port, KEY)


def bare(options, mock, _, log):
    port = free_port()
    process = pinned(CORES["server"], log, options.bench, "bare", f"127.0.0.1:{port}",
                     f"http://127.0.0.1:{mock}/v1")
    return Server("bare axum + reqwest", process, port)


def litellm(options, mock, folder, log):
    environment = options.peers / "litellm"
    if not (environment / "bin/litellm").exists():
        venv.create(environment, with_pip=True)
        subprocess.run([environment / "bin/pip", "install", "-q", "litellm[proxy]"], check=True)
    config = folder / "litellm.yaml"
    config.write_text(json.dumps({"model_list": [{"model_name": model, "litellm_params": {
        "model": f"openai/{model}", "api_base": f"http://127.0.0.1:{mock}/v1", "api_key": "none"}}
        for model in MODELS]}))
    port = free_port()
    process = pinned(CORES["server"], log, environment / "bin/litellm", "--config", config,
                     "--host", "127.0.0.1", "--port", port, "--num_workers", 1,
                     # Its table of prices comes with the package; nothing is fetched.
                     env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                          "LITELLM_MASTER_KEY": KEY})
    return Server("LiteLLM", process, port, KEY)


def portkey(options, mock, _, log):
    folder = options.peers / "portkey"
    package = folder / "node_modules/@portkey-ai/gateway"
    if not package.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Newer versions of its server fail on every stream.
        (folder / "package.json").write_text(json.dumps({
            "private": True, "dependencies": {"@portkey-ai/gateway": "1.15.2"},
            "overrides": {"@hono/node-server": "1.13.8"}}))
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", folder], check=True)
    port = free_port()
    process = pinned(CORES["server"], log, "node", package / "build/start-server.js",
                     f"--port={port}", "--headless", cwd=folder,
                     env={**os.environ, "NODE_ENV": "production"})
    headers = ["x-portkey-provider: openai",
               f"x-portkey-custom-host: http://127.0.0.1:{mock}/v1"]
    return Server("Portkey", process, port, headers=headers)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hearth", type=pathlib.Path, default=ROOT / "target/release/hearth")
    parser.add_argument("--bench", type=pathlib.Path,
                        default=ROOT / "target/release/examples/bench-gateway")
    parser.add_argument("--peers", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help=",".join(WORKS))
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "target",
                        help="a folder on the disk that is to take the ledger; not in memory")
    options = parser.parse_args()
    works = [work for work in WORKS if not options.only or work in options.only.split(",")]
    options.peers = options.peers and options.peers.resolve()
    with tempfile.TemporaryDirectory(dir=options.data, prefix="bench-gateway-") as folder:
        measure(options, works, pathlib.Path(folder))


def measure(options, works, folder):
    log = open(folder / "log", "w")
    mock_port = free_port()
    mock = pinned(CORES["load"], log, options.bench, "mock", f"127.0.0.1:{mock_port}")
    wait_for(mock_port, mock)
    servers = [Server("direct", mock, mock_port)]
    makers = [hearth, bare, *([portkey, litellm] if options.peers else [])]
    started = time.time()
    try:
        for maker in makers:
            servers.append(maker(options, mock_port, folder, log))
        for work in works:
            for turn in range(options.rounds):
                for server in servers:
                    if not server.can(work):
                        continue
                    said = server.load(options, work, options.seconds)
                    server.runs.setdefault(work, []).append(said)
                    print(f"{time.time() - started:5.0f} s  {work} {turn + 1}  {server.name}: "
                          f"{json.dumps(said)}", file=sys.stderr, flush=True)
        report(options, works, servers, folder)
    finally:
        for server in servers:
            end(server.process)


def report(options, works, servers, folder):
    direct, servers = servers[0], servers[1:]
    print("| | " + " | ".join(server.name for server in servers) + " |")
    print("|---|" + "---|" * len(servers))
    for title, work, figure, is_added in ROWS:
        if work not in works:
            continue
        cells = []
        for server in servers:
            found = server.median(work, figure)
            if found is not None and is_added:
                found -= direct.median(work, figure) or 0
            cells.append("too slow" if found is None else f"{found:,.0f}")
        print(f"| {title} | " + " | ".join(cells) + " |")
    for title, figure in [("failures", "failures"), ("requests", "requests")]:
        sums = [sum(run.get(figure, 0) for runs in server.runs.values() for run in runs)
                for server in servers]
        print(f"| {title} | " + " | ".join(f"{count:,}" for count in sums) + " |")
    if options.json:
        about = {"machine": machine(), "flush_us": flush_us(folder), "seconds": options.seconds,
                 "rounds": options.rounds, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        runs = {server.name: server.runs for server in [direct, *servers]}
        options.json.write_text(json.dumps({**about, "runs": runs}, indent=1) + "\n")


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "?")
    return f"{name}, {os.cpu_count()} cores, {platform.release()}"


def flush_us(folder):
    """How long the disk takes to keep a page, at the median."""
    times = []
    with open(folder / "flushed", "wb") as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            since = time.perf_counter()
            file.flush()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - since) * 1e6)
    return round(statistics.median(times))


if __name__ == "__main__":
    main()
