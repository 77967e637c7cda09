"""Fetches the tests that OpenAI's and Anthropic's SDKs have of themselves into tests/python/.cache.

They are generated from the descriptions of the two APIs and send every field that there is. They
come with the source packages alone, so these are fetched, each of one digest (suites.txt).
"""

import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CACHE = HERE / ".cache"
WANTED = HERE / "suites.txt"


def main():
    done = CACHE / "done"
    if done.exists() and done.read_text() == WANTED.read_text():
        return
    shutil.rmtree(CACHE, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
             "--require-hashes", "--no-binary", "openai,anthropic", "--dest", folder,
             "--requirement", str(WANTED)],
            check=True,
        )
        for package in pathlib.Path(folder).glob("*.tar.gz"):
            with tarfile.open(package) as archive:
                for member in archive:
                    parts = pathlib.PurePosixPath(member.name).parts
                    if member.isfile() and ".." not in parts and is_wanted(parts[1:]):
                        target = CACHE / parts[0].split("-")[0] / pathlib.Path(*parts[1:])
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(archive.extractfile(member).read())
    done.write_text(WANTED.read_text())


def is_wanted(parts):
    return parts[0] == "tests" or parts == ("pyproject.toml",)


if __name__ == "__main__":
    main()
