"""llama.cpp as a peer of the benchmarks: builds it, and measures it on request.

    llamacpp.py prepare DIR             builds the pinned version in DIR, for this machine
    DIR/bin/python llamacpp.py serve DIR MODEL.gguf THREADS

`serve` reads one JSON object a line on standard input and answers each with one on standard
output; `library.py` and `server.py` say which. Nothing runs between an answer and the next line,
so that whoever asks can measure something else meanwhile.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

VERSION = "0.3.36"
# What `GGML_NATIVE` and the default build type do is the best that llama.cpp can on this machine.
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "GGML_NATIVE": "ON",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
}


def prepare(folder: Path) -> None:
    """Builds llama.cpp's library and server from the sources that the Python package carries."""
    folder = folder.resolve()
    if (folder / "ready").exists() and (folder / "ready").read_text() == VERSION:
        return
    venv.create(folder, with_pip=True)
    binaries = folder / "bin"
    environment = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}

    def run(*command: str, **extra: str) -> None:
        # Standard output belongs to the answers.
        subprocess.run(command, check=True, env=environment | extra, stdout=sys.stderr)

    pip = [str(binaries / "pip"), "--quiet", "--disable-pip-version-check"]
    run(*pip, "install", "cmake", "ninja", "scikit-build-core[pyproject]", "numpy")
    sources = folder / "sources"
    package = f"llama-cpp-python=={VERSION}"
    run(*pip, "download", "--no-deps", "--no-binary=:all:", "--no-build-isolation",
        "--dest", str(sources), package)
    run("tar", "-xzf", str(sources / f"llama_cpp_python-{VERSION}.tar.gz"), "-C", str(sources))
    unpacked = sources / f"llama_cpp_python-{VERSION}"
    options = [f"-D{key}={value}" for key, value in OPTIONS.items()]
    build = str(folder / "llama.cpp")
    run("cmake", "-G", "Ninja", "-S", str(unpacked / "vendor/llama.cpp"), "-B", build, *options)
    run("cmake", "--build", build, "--target", "llama", "llama-server")
    # The package is wanted for its declarations only.
    run(*pip, "install", "--no-build-isolation", str(unpacked), CMAKE_ARGS="-DLLAMA_BUILD=OFF")
    (folder / "ready").write_text(VERSION)


def serve(folder: Path, model: str, threads: int) -> None:
    """Answers measurements until standard input ends."""
    os.environ["LLAMA_CPP_LIB_PATH"] = str(folder / "llama.cpp/bin")
    from library import Library
    from server import Server

    library = Library(model, threads)
    server = Server(folder / "llama.cpp/bin/llama-server", model, threads)
    works = {
        "decode": library.decode,
        "prefill": library.prefill,
        "logits": library.logits,
        "start_server": server.start,
        "stop_server": server.stop,
        "streams": server.streams,
        "first_token": server.first_token,
    }
    try:
        for line in sys.stdin:
            order = json.loads(line)
            answer = works[order.pop("work")](**order)
            print(json.dumps(answer), flush=True)
    finally:
        server.stop()


def main() -> None:
    match sys.argv[1:]:
        case ["prepare", folder]:
            prepare(Path(folder))
        case ["serve", folder, model, threads]:
            serve(Path(folder).resolve(), model, int(threads))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
