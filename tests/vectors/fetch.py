"""Fetches llama.cpp's vocabularies and chat templates into tests/vectors/.cache.

They come with the source package of llama-cpp-python: real vocabularies of many makers and the
chat templates of real models, megabytes that do not belong into this repository.
"""

import hashlib
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

PACKAGE = "llama-cpp-python==0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
WANTED = re.compile(r"^[^/]+/vendor/llama\.cpp/models/(ggml-vocab-[\w.-]+\.gguf|templates/[\w.-]+\.jinja)$")
CACHE = pathlib.Path(__file__).resolve().parent / ".cache"


def main():
    done = CACHE / "done"
    if done.exists() and done.read_text() == SHA256:
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
             "--no-binary", "llama-cpp-python", "--dest", folder, PACKAGE],
            check=True,
        )
        [package] = pathlib.Path(folder).glob("*.tar.gz")
        found = hashlib.sha256(package.read_bytes()).hexdigest()
        assert found == SHA256, f"{package.name} has the digest {found}, not {SHA256}"
        with tarfile.open(package) as archive:
            for member in archive:
                wanted = WANTED.match(member.name)
                if wanted and member.isfile():
                    target = CACHE / "models" / wanted[1]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.extractfile(member).read())
    done.write_text(SHA256)


if __name__ == "__main__":
    main()
