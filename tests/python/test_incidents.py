"""What has been used against other model servers, each by its name, against the real binary. Nothing
of it is kept, the server says why, and answers as before."""

import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import pathlib
import struct
import subprocess
import tarfile
import threading
import zipfile

import ollama
import pytest

from conftest import BINARY, MODELS, ROOT_TOKEN, Server, hearth

GGUF = "application/vnd.ollama.image.model"
GOOD = "sha256:" + "0a" * 32
U32, STRING, ARRAY = 4, 8, 9


class Hostile(http.server.BaseHTTPRequestHandler):
    """A host that answers each path as the test says, and remembers who asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        status, headers, body = self.server.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET

    def log_message(self, *_):
        pass


class Host:
    def __init__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
        self.server.answers, self.server.asked = {}, []
        self.name = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def put(self, path, body=b"", status=200, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.server.answers[path] = (status, headers, body)

    def put_manifest(self, layers, config=None, name="evil"):
        config = config or {"mediaType": "c", "digest": GOOD, "size": 2}
        manifest = {"schemaVersion": 2, "mediaType": "m", "config": config, "layers": layers}
        self.put(f"/v2/me/{name}/manifests/latest", json.dumps(manifest).encode())

    def put_model(self, gguf, name="evil"):
        layers = []
        for kind, content in [(GGUF, gguf), ("c", b'{"model_format":"gguf"}')]:
            digest = "sha256:" + hashlib.sha256(content).hexdigest()
            self.put(f"/v2/me/{name}/blobs/{digest}", content)
            layers.append({"mediaType": kind, "digest": digest, "size": len(content)})
        self.put_manifest(layers[:1], layers[1], name)

    def asked(self, part=""):
        return [path for path in self.server.asked if part in path]


@pytest.fixture
def host():
    host = Host()
    yield host
    host.server.shutdown()


@pytest.fixture
def thief():
    host = Host()
    yield host
    host.server.shutdown()


@pytest.fixture
def target(tmp_path, host):
    """A server that may pull from the hostile host alone."""
    hearth(tmp_path, "models", "import", str(MODELS / "stories260K-q8_0.gguf"), "--name", "tale")
    server = Server(
        tmp_path, INITIAL_ROOT_TOKEN=ROOT_TOKEN, HEARTH_HUB_REGISTRIES=host.name,
        HEARTH_HUB_PLAIN_HTTP=host.name, HEARTH_HUB_PRIVATE_HOSTS="127.0.0.1",
        HEARTH_HUB_RETRIES="0",
    )
    before = kept(tmp_path)
    yield server
    api = client(server)
    answer = api.generate("tale", "Once", options={"temperature": 0, "num_predict": 4})
    assert answer.eval_count == 4, "it answers as before"
    assert [model.model for model in api.list().models if "evil" in model.model] == []
    assert kept(tmp_path) == before
    assert server.stop() == 0
    assert not any("panicked" in line for line in server.log)


def kept(data):
    """Every file of the model store but the unfinished ones."""
    files = [path for path in (data / "models").rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if "partial" not in path.parts)


def client(server, token=ROOT_TOKEN):
    return ollama.Client(host=server.url, headers={"Authorization": f"Bearer {token}"})


def refused(act):
    with pytest.raises(ollama.ResponseError) as caught:
        act()
    assert "No such file" not in caught.value.error and "/tmp/" not in caught.value.error
    return caught.value


def pull(server, host, name="evil"):
    return refused(lambda: list(client(server).pull(f"{host.name}/me/{name}", stream=True))).error


def user(server):
    hearth(server.data, "users", "add", "eve", "--role", "user", "--password-stdin",
           input="a long enough pass phrase\n")
    return hearth(server.data, "tokens", "create", "--user", "eve")


def raw(server, method, path, body=None, **headers):
    """Status, headers and body of a request as it is written."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def text(value):
    value = value.encode()
    return struct.pack("<Q", len(value)) + value


def pair(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


def tensor(name, dims, kind=0, offset=0):
    packed = struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
    return text(name) + packed + struct.pack("<IQ", kind, offset)


def gguf(*rest, version=3, tensors=0, pairs=1):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + b"".join(rest)


ARCHITECTURE = pair("general.architecture", STRING, text("llama"))
DATA = bytes(4096)
FILES = {
    "alignment-0": gguf(pair("general.alignment", U32, struct.pack("<I", 0))),
    "product-wraps": gguf(ARCHITECTURE, tensor("t", [32, 2**59 + 2], 2), DATA, tensors=1),
    "dims-2-32-squared": gguf(ARCHITECTURE, tensor("t", [2**32, 2**32]), DATA, tensors=1),
    "duplicate-tensors": gguf(
        ARCHITECTURE, tensor("t", [32]), tensor("t", [32], offset=128), DATA, tensors=2),
    "key-of-2-64": gguf(struct.pack("<Q", 2**64 - 1)),
    "array-of-2-62": gguf(text("k"), struct.pack("<IIQ", ARRAY, U32, 2**62)),
    "pairs-2-64": gguf(pairs=2**64 - 1),
    "tensors-2-64": gguf(tensors=2**64 - 1, pairs=0),
    "offset-past-end": gguf(ARCHITECTURE, tensor("t", [32], offset=2**40), DATA, tensors=1),
    "larger-than-file": gguf(ARCHITECTURE, tensor("t", [2**20]), DATA, tensors=1),
    "six-dimensions": gguf(ARCHITECTURE, tensor("t", [1] * 6), DATA, tensors=1),
    "version-1-empty-string": gguf(text(""), version=1),
    "depth-200": gguf(text("k"), struct.pack("<I", ARRAY), struct.pack("<IQ", ARRAY, 1) * 200),
    "string-of-2-63": gguf(text("k"), struct.pack("<IQ", STRING, 2**63)),
    "offset-and-size-wrap": gguf(
        ARCHITECTURE, tensor("t", [32], offset=2**64 - 64), DATA, tensors=1),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_kills_other_readers(target, host, tmp_path, what):
    host.put_model(FILES[what])
    assert "cannot be used" in pull(target, host)
    path = tmp_path / "evil.gguf"
    path.write_bytes(FILES[what])
    done = subprocess.run(
        [BINARY, "models", "import", str(path), "--name", "evil", "--data", str(target.data)],
        capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "cannot be used" in done.stderr


@pytest.mark.parametrize("incident, what", [
    ("CVE-2024-39720", b"GGUF"),
    ("CVE-2024-12055", gguf(ARCHITECTURE, tensor("t", [32], kind=2**31), DATA, tensors=1)),
    ("CVE-2025-0312", gguf(ARCHITECTURE, pairs=2)),
    ("CVE-2025-0315", gguf(text("k"), struct.pack("<IIQ", ARRAY, STRING, 2**40))),
    ("CVE-2025-0317", gguf(ARCHITECTURE, pair("llama.block_count", U32, bytes(4)), pairs=2)),
    ("CVE-2024-8063", gguf(ARCHITECTURE, tensor("t", [0, 32]), DATA, tensors=1)),
    ("issues 17032 17033 17042 16189 16175", gguf(text("k"), struct.pack("<IQ", STRING, 2**63))),
])
def test_crafted_model_files(target, host, incident, what):
    host.put_model(what)
    assert "cannot be used" in pull(target, host), incident


@pytest.mark.parametrize("name", ["evil.example", "evil.example:3000", "127.0.0.1.evil.example"])
def test_cve_2024_28224_another_name_leads_here(target, name):
    for path in ["/api/tags", "/api/version", "/v1/models", "/hearth/models"]:
        status, *_ = raw(target, "GET", path, Host=name, Authorization=f"Bearer {ROOT_TOKEN}")
        assert status == 403, path


def test_cve_2024_37032_a_digest_is_a_path(target, host, tmp_path):
    for bad in ["sha256:../../../../../../var/evil", "../../etc/passwd", "sha256-" + "0a" * 32]:
        layer = {"mediaType": GGUF, "digest": bad, "size": 5}
        host.put_manifest([layer])
        assert "its manifest" in pull(target, host)
        host.put_manifest([{"mediaType": GGUF, "digest": GOOD, "size": 5}], layer)
        assert "its manifest" in pull(target, host)
    assert host.asked("/blobs/") == []
    assert not pathlib.Path("/var/evil").exists()


def test_cve_2025_44779_a_hostile_manifest_deletes_nothing(tmp_path, host):
    hearth(tmp_path, "models", "import", str(MODELS / "stories260K-q8_0.gguf"), "--name", "tale")
    victim = tmp_path / "victim"
    victim.write_text("dear")
    old = 10**9
    for number, digest in enumerate([f"sha256:../../../{victim.name}", str(victim)]):
        folder = tmp_path / f"models/manifests/registry.ollama.ai/library/evil{number}"
        folder.mkdir(parents=True)
        layer = {"mediaType": GGUF, "digest": digest, "size": 4}
        (folder / "latest").write_text(json.dumps(
            {"schemaVersion": 2, "mediaType": "m", "config": layer, "layers": [layer]}))
    os.utime(victim, (old, old))
    server = Server(tmp_path, INITIAL_ROOT_TOKEN=ROOT_TOKEN)
    for number in range(2):
        refused(lambda: client(server).delete(f"evil{number}"))
    for command in ["gc", "verify"]:
        subprocess.run([BINARY, "models", command, "--data", str(tmp_path)],
                       capture_output=True, timeout=60)
    assert victim.read_text() == "dear"
    assert client(server).generate("tale", "Once", options={"num_predict": 1}).done
    assert server.stop() == 0


def test_cve_2026_7020_a_tensor_layer_is_a_path(target, host):
    kind = "application/vnd.ollama.image.tensor"
    host.put_manifest([{"mediaType": kind, "digest": "sha256:../../x", "size": 5, "name": "../../x"}])
    assert "its manifest" in pull(target, host)
    host.put_manifest([{"mediaType": kind, "digest": GOOD, "size": 5, "name": "../../x"}])
    assert "no GGUF file" in pull(target, host)
    kind = "application/vnd.hearth.folder.file"
    content = b"{}"
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    host.put(f"/v2/me/evil/blobs/{digest}", content)
    for name in ["../../../x", "/var/evil", "", ".."]:
        layer = {"mediaType": kind, "digest": digest, "size": 2, "name": name}
        host.put_manifest([layer], {"mediaType": "c", "digest": digest, "size": 2})
        assert "name that no file has" in pull(target, host)
    assert host.asked("/blobs/") == []
    # A plain name, but no model: nothing of it stays, linked or not.
    layer["name"] = "config.json"
    host.put_manifest([layer], {"mediaType": "c", "digest": digest, "size": 2})
    pull(target, host)


def test_cve_2024_45436_an_archive_is_unpacked_elsewhere(target, tmp_path):
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("../../../../tmp/evil", "x")
    digest = "sha256:" + hashlib.sha256(zipped.getvalue()).hexdigest()
    status, *_ = raw(target, "POST", f"/api/blobs/{digest}", zipped.getvalue(),
                     Host="localhost", Authorization=f"Bearer {ROOT_TOKEN}")
    assert status == 201
    refused(lambda: client(target).create(model="evil", files={"model.zip": digest}))
    refused(lambda: client(target).create(model="evil", files={"../../evil.gguf": digest}))
    # It goes with the next sweep of an hour later; here, so that the store is as it was.
    (target.data / "models/blobs" / digest.replace(":", "-")).unlink()
    for name in ["../../../evil", "/tmp/evil", "blobs/../../evil"]:
        path = tmp_path / "evil.tar"
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
        done = subprocess.run(
            [BINARY, "models", "import", str(path), "--data", str(target.data)],
            capture_output=True, text=True, timeout=60)
        assert done.returncode != 0, done.stdout
        path.unlink()
    assert not pathlib.Path("/tmp/evil").exists()


def test_cve_2024_39719_39721_39722_errors_tell_nothing_of_files_here(target):
    api = client(target)
    present, absent = refused(lambda: api.create(model="evil", from_="/etc/passwd")), refused(
        lambda: api.create(model="evil", from_="/etc/passwd-absent"))
    assert present.status_code == absent.status_code
    assert present.error.replace("/etc/passwd", "X") == absent.error.replace("/etc/passwd-absent", "X")
    assert refused(lambda: api.create(model="evil", from_="/dev/random")).status_code in (400, 404)
    for name in ["/etc/passwd", "../../../etc/passwd"]:
        for act in [api.push, api.pull, api.show, api.delete]:
            assert refused(lambda: act(name)).status_code in (400, 404)


def test_cve_2026_7482_memory_does_not_leave_by_quantizing_and_pushing(target, thief):
    leaky = gguf(ARCHITECTURE, tensor("token_embd.weight", [256, 2**12], kind=1), DATA, tensors=1)
    digest = "sha256:" + hashlib.sha256(leaky).hexdigest()
    status, *_ = raw(target, "POST", f"/api/blobs/{digest}", leaky,
                     Host="localhost", Authorization=f"Bearer {ROOT_TOKEN}")
    assert status == 201
    for quantize in [None, "q4_K_M", "q8_0"]:
        refused(lambda: client(target).create(
            model="evil", files={"a.gguf": digest}, quantize=quantize))
    (target.data / "models/blobs" / digest.replace(":", "-")).unlink()
    client(target).copy("tale", f"{thief.name}/me/tale")
    error = refused(lambda: client(target).push(f"{thief.name}/me/tale", insecure=True))
    assert error.status_code == 403 and "hub.push_registries" in error.error
    assert thief.asked() == []
    client(target).delete(f"{thief.name}/me/tale")


@pytest.mark.parametrize("digest", ["sha256:12", "sha256:", "", "sha256:" + "0a" * 31])
def test_cve_2025_1975_a_short_digest(target, host, digest):
    host.put_manifest([{"mediaType": GGUF, "digest": digest, "size": 5}])
    assert "its manifest" in pull(target, host)
    status, *_ = raw(target, "POST", f"/api/blobs/{digest}", b"x",
                     Host="localhost", Authorization=f"Bearer {ROOT_TOKEN}")
    assert status in (400, 404, 405)


def test_cve_2024_12886_a_small_answer_that_becomes_large(target, host):
    bomb = gzip.compress(bytes(200 << 20))
    for path, kind in [("/v2/me/evil/manifests/latest", "application/json")]:
        host.put(path, bomb, content_encoding="gzip", content_type=kind)
        pull(target, host)
    layer = {"mediaType": GGUF, "digest": GOOD, "size": len(bomb)}
    host.put_manifest([layer])
    host.put(f"/v2/me/evil/blobs/{GOOD}", bomb, content_encoding="gzip")
    pull(target, host)
    peak = pathlib.Path(f"/proc/{target.process.pid}/status").read_text()
    peak = int(peak.split("VmHWM:")[1].split()[0])
    assert peak < 400 << 10, f"{peak} KiB"


def test_cve_2025_51471_a_token_for_another_host(target, host, thief):
    thief.put("/token", b'{"token":"t"}')
    challenge = f'Bearer realm="http://{thief.name}/token",service="x",scope="y"'
    host.put("/v2/me/evil/manifests/latest", status=401, www_authenticate=challenge)
    assert f'ealm host "{thief.name}" does not match original host "{host.name}"' in pull(target, host)
    assert thief.asked() == []


@pytest.mark.parametrize("to", [
    "http://169.254.169.254/latest/meta-data/", "https://169.254.169.254/", "https://10.0.0.1/",
    "https://192.168.1.1/", "https://[::1]/", "https://[fd00:ec2::254]/", "https://2852039166/",
])
def test_cve_2026_5530_and_issue_17041_a_file_leads_inside(target, host, to):
    host.put_manifest([{"mediaType": GGUF, "digest": GOOD, "size": 5}])
    host.put(f"/v2/me/evil/blobs/{GOOD}", status=307, location=to)
    error = pull(target, host)
    assert "private address" in error or "insecure protocol" in error
    host.put("/evil.gguf", status=302, location=to)
    done = subprocess.run(
        [BINARY, "models", "pull", f"http://{host.name}/evil.gguf", "--data", str(target.data)],
        capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "private address" in done.stderr or "insecure protocol" in done.stderr


def test_issue_16308_a_model_that_is_another_host(target, thief):
    body = {"model": "evil", "from": "x", "remote_host": f"http://{thief.name}", "stream": False}
    status, _, _ = raw(target, "POST", "/api/create", json.dumps(body),
                       Host="localhost", Authorization=f"Bearer {ROOT_TOKEN}")
    assert status in (400, 404)
    assert thief.asked() == []


def test_cve_2025_63389_nobody_manages_models_without_being_an_admin(target, host):
    token = user(target)
    for method, path, body in [
        ("POST", "/api/pull", {"model": f"{host.name}/me/evil"}),
        ("POST", "/api/push", {"model": "tale"}),
        ("POST", "/api/create", {"model": "evil", "from": "tale"}),
        ("POST", "/api/copy", {"source": "tale", "destination": "evil"}),
        ("DELETE", "/api/delete", {"model": "tale"}),
        ("POST", f"/api/blobs/{GOOD}", {}),
        ("POST", "/hearth/models/pull", {"name": f"{host.name}/me/evil"}),
        ("POST", "/hearth/models/push", {"name": "tale"}),
        ("DELETE", "/hearth/models/tale", None),
    ]:
        headers = {"Host": "localhost", "Content-Type": "application/json"}
        body = None if body is None else json.dumps(body)
        assert raw(target, method, path, body, **headers)[0] == 401, path
        headers["Authorization"] = f"Bearer {token}"
        assert raw(target, method, path, body, **headers)[0] == 403, path
    assert host.asked() == []


@pytest.mark.parametrize("name", ["205.237.106.117/library/x", "evil.example/me/x"])
def test_issues_16236_9566_models_of_unknown_hosts(target, name):
    assert "not pulled from" in refused(lambda: client(target).pull(name)).error


def test_cve_2026_42248_42249_nothing_updates_itself():
    listed = subprocess.run([BINARY, "--help"], capture_output=True, text=True, timeout=60).stdout
    assert "serve" in listed and "upgrade" not in listed and " update " not in listed


def test_pages_of_other_origins_get_no_leave_to_read(target):
    status, headers, _ = raw(
        target, "GET", "/api/tags", Host="localhost", Origin="https://evil.example",
        Authorization=f"Bearer {ROOT_TOKEN}")
    allowed = {name.lower(): value for name, value in headers.items()}
    assert allowed.get("access-control-allow-origin") in (None, "null"), (status, allowed)


def test_a_prompt_is_shown_to_admins_alone(target):
    api = client(target, user(target))
    body = json.dumps({"model": "tale", "prompt": "x", "system": "secret", "_debug_render_only": True})
    status, _, answer = raw(target, "POST", "/api/generate", body, Host="localhost",
                            Authorization=api._client.headers["authorization"])
    assert status == 403, answer


def test_a_loop_of_equal_tokens_ends_with_the_last_word(target):
    pieces = list(client(target).generate(
        "tale", "a a a a a a a a a a", stream=True,
        options={"temperature": 0, "num_predict": 300, "repeat_penalty": 1.0}))
    assert pieces[-1].done and pieces[-1].done_reason in ("stop", "length")
