"""Sign-in by real providers, and every route of Hearth's own API under generated requests."""

import http.cookiejar
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import oidc_provider_mock as mock
import pytest

from conftest import ROOT_TOKEN, Server, hearth

PASSWORD = "correct horse"


def call(server, method, path, body=None, token=ROOT_TOKEN, opener=None):
    """One call of Hearth's own API: status and JSON."""
    request = urllib.request.Request(server.url + path, method=method)
    if token:
        request.add_header("authorization", f"Bearer {token}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("content-type", "application/json")
    try:
        with (opener or urllib.request.build_opener()).open(request, timeout=30) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text.startswith(b"{") else text
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read() or b"{}")


@pytest.fixture
def provider():
    """A real provider of OpenID Connect, on a free port."""
    user = mock.User(
        sub="1234",
        claims={"preferred_username": "olga", "email": "olga@b.example", "groups": ["Lab", "bosses"]},
    )
    with mock.run_server_in_thread(user_claims=[user]) as server:
        yield f"http://localhost:{server.server_port}"


def test_people_sign_in_at_a_provider_of_openid_connect(tmp_path, provider):
    server = Server(
        tmp_path / "data",
        INITIAL_ROOT_TOKEN=ROOT_TOKEN,
        HEARTH_OIDC_ISSUER=provider,
        HEARTH_OIDC_CLIENT_ID="hearth",
        HEARTH_OIDC_CLIENT_SECRET="secret",
        HEARTH_OIDC_PUBLIC_URL="http://hearth.example",
        HEARTH_OIDC_ADMIN_GROUPS="bosses",
        HEARTH_SERVER_HOSTS="hearth.example",
    )
    try:
        assert call(server, "POST", "/hearth/groups", {"name": "lab"})[0] == 201

        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_):
                return None

        def browser():
            jar = http.cookiejar.CookieJar()
            return urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar), Stay()), jar

        def leave(opener):
            try:
                opener.open(server.url + "/hearth/oidc/start", timeout=30)
            except urllib.error.HTTPError as redirect:
                assert redirect.code == 303, redirect.read()
                return redirect.headers["location"]
            raise AssertionError("no redirect")

        def consent(location):
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)
            assert query["code_challenge_method"] == ["S256"] and query["nonce"] and query["state"]
            data = urllib.parse.urlencode({"sub": "1234"}).encode()
            try:
                urllib.request.build_opener(Stay()).open(location, data, timeout=30)
            except urllib.error.HTTPError as redirect:
                assert redirect.code in (302, 303), redirect.read()
                back = urllib.parse.urlsplit(redirect.headers["location"])
                assert back.netloc == "hearth.example"
                return f"{server.url}{back.path}?{back.query}"
            raise AssertionError("no redirect")

        def arrive(opener, url):
            try:
                with opener.open(url, timeout=30) as answer:
                    return answer.status
            except urllib.error.HTTPError as refusal:
                return refusal.code

        ann, jar = browser()
        back = consent(leave(ann))
        stranger, _ = browser()
        leave(stranger)
        assert arrive(stranger, back) == 403, "another browser cannot end a sign-in"
        assert arrive(ann, back.replace("state=", "state=x")) == 403, "another state"
        assert arrive(ann, back) == 200
        assert arrive(ann, back) == 403, "a flow ends once"
        user = call(server, "GET", "/hearth/session", token=None, opener=ann)[1]["user"]
        assert (user["name"], user["role"], user["group"]) == ("olga", "admin", "lab"), user
        assert "hearth_session" in {cookie.name for cookie in jar}

        again, _ = browser()
        assert arrive(again, consent(leave(again))) == 200
        users = call(server, "GET", "/hearth/users")[1]["users"]
        assert sorted(user["name"] for user in users) == ["olga", "root"], "one account"
        forged, _ = browser()
        back = consent(leave(forged))
        assert arrive(forged, re.sub("code=[^&]*", "code=forged", back)) == 502
    finally:
        server.stop()


SLAPD = shutil.which("slapd") or "/usr/sbin/slapd"


@pytest.fixture
def directory(tmp_path):
    """Debian's LDAP server on a socket of its own."""
    if not pathlib.Path(SLAPD).exists():
        pytest.skip("not tested: sign-in by a directory, for want of slapd")
    folder = tmp_path / "ldap"
    (folder / "db").mkdir(parents=True)
    config, entries = folder / "slapd.conf", folder / "entries.ldif"
    config.write_text(
        "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n"
        "include /etc/ldap/schema/inetorgperson.schema\nmodulepath /usr/lib/ldap\n"
        f"moduleload back_mdb\ndatabase mdb\nsuffix \"dc=b,dc=example\"\nrootdn \"cn=root,dc=b,dc=example\"\n"
        f"rootpw secret\ndirectory {folder}/db\n"
    )
    entries.write_text(
        "dn: dc=b,dc=example\nobjectClass: dcObject\nobjectClass: organization\no: b\ndc: b\n\n"
        + "".join(
            f"dn: uid={name},dc=b,dc=example\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\n"
            f"sn: {name}\nmail: {name}@b.example\nemployeeType: {group}\nuserPassword: {PASSWORD}\n\n"
            for name, group in [("ann", "lab"), ("bob", "bosses"), ("eve", "others")]
        )
    )
    subprocess.run(["slapadd", "-f", config, "-l", entries], check=True, capture_output=True)
    socket = urllib.parse.quote(str(folder / "socket"), safe="")
    process = subprocess.Popen(
        [SLAPD, "-d", "0", "-f", str(config), "-h", f"ldapi://{socket}/"],
        stderr=subprocess.PIPE,
    )
    try:
        while not (folder / "socket").exists():
            assert process.poll() is None, process.stderr.read()
        yield f"ldapi://{socket}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_people_sign_in_by_a_directory(tmp_path, directory):
    server = Server(
        tmp_path / "data",
        INITIAL_ROOT_TOKEN=ROOT_TOKEN,
        HEARTH_LDAP_URL=directory,
        HEARTH_LDAP_BIND_DN="cn=root,dc=b,dc=example",
        HEARTH_LDAP_BIND_PASSWORD="secret",
        HEARTH_LDAP_BASE_DN="dc=b,dc=example",
        HEARTH_LDAP_GROUPS_ATTRIBUTE="employeeType",
        HEARTH_LDAP_ADMIN_GROUPS="bosses",
        HEARTH_LDAP_ALLOWED_GROUPS="lab,bosses",
    )
    try:
        call(server, "POST", "/hearth/groups", {"name": "lab"})

        def sign_in(name, password=PASSWORD):
            body = {"name": name, "password": password}
            return call(server, "POST", "/hearth/session", body, token=None)

        for name, role, group in [("ann", "user", "lab"), ("bob", "admin", None)]:
            for _ in range(2):
                status, answer = sign_in(name)
                assert status == 200, answer
                user = answer["user"]
                assert (user["name"], user["role"], user["group"]) == (name, role, group)
        assert sign_in("eve")[0] == 403, "in no allowed group"
        for name, password in [
            ("ann", "wrong horse"), ("ann", ""), ("*", PASSWORD), ("a*", PASSWORD),
            ("ann)(uid=*", PASSWORD), ("*)(uid=ann", PASSWORD), ("nobody", PASSWORD), ("ann\x00", PASSWORD),
        ]:
            status, answer = sign_in(name, password)
            assert status in (401, 429), (name, answer)
        assert len(call(server, "GET", "/hearth/users")[1]["users"]) == 3
        assert call(server, "POST", "/hearth/session", {"name": "root", "password": ROOT_TOKEN}, token=None)[0] in (200, 429)
    finally:
        server.stop()


@pytest.mark.skipif(os.environ.get("HEARTH_SLOW") != "1", reason="minutes; HEARTH_SLOW=1 runs it")
def test_generated_requests_find_no_fault_of_the_server(tmp_path):
    server = Server(tmp_path / "data", INITIAL_ROOT_TOKEN=ROOT_TOKEN)
    try:
        found = subprocess.run(
            [
                str(pathlib.Path(sys.executable).parent / "schemathesis"), "run",
                f"{server.url}/hearth/openapi.json",
                "--header", f"Authorization: Bearer {ROOT_TOKEN}",
                "--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing",
                "--max-time", os.environ.get("HEARTH_FUZZ_S", "40"), "--max-examples", os.environ.get("HEARTH_EXAMPLES", "10"),
                "--exclude-path-regex", "models/(pull|verify)", "--workers", "1",
                "--generation-deterministic", "--no-color",
            ],
            capture_output=True, text=True, timeout=300, cwd=tmp_path,
        )
        assert not re.search("schema error|errored", found.stdout, re.IGNORECASE), found.stdout[:6000]
        assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
        assert "error" not in "".join(server.log).lower() or "panic" not in "".join(server.log).lower()
    finally:
        server.stop()
