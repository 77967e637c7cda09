"""Passkeys, by a software authenticator that is built on Yubico's own library, on the real binary."""

import base64
import hashlib
import itertools
import json
import urllib.error
import urllib.parse
import urllib.request

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.webauthn import (
    AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData)

from conftest import ROOT_TOKEN, Server, hearth

CALLS = itertools.count()
PASSWORD = "correct horse battery"


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(data):
    return base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))


class Authenticator:
    """One passkey in software; it always says that it has verified its user."""

    FLAG = AuthenticatorData.FLAG

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = hashlib.sha256(str(id(self)).encode()).digest()
        self.counter = 1
        self.handle = None

    def create(self, options, origin, verified=True):
        self.handle = raw(options["user"]["id"])
        assert -7 in [wanted["alg"] for wanted in options["pubKeyCredParams"]]
        public = ES256.from_cryptography_key(self.key.public_key())
        made = AttestedCredentialData.create(b"\0" * 16, self.id, public)
        flags = self.FLAG.UP | self.FLAG.AT | (self.FLAG.UV if verified else 0)
        rp = hashlib.sha256(options["rp"]["id"].encode()).digest()
        data = AuthenticatorData.create(rp, flags, self.counter, made)
        client = CollectedClientData.create("webauthn.create", raw(options["challenge"]), origin)
        return self.shape({
            "attestationObject": text(AttestationObject.create("none", data, {})),
            "clientDataJSON": text(client), "transports": ["internal"],
        })

    def get(self, options, origin, handle=None, verified=True, rp_id=None):
        self.counter += 1
        flags = self.FLAG.UP | (self.FLAG.UV if verified else 0)
        rp = hashlib.sha256((rp_id or options["rpId"]).encode()).digest()
        data = AuthenticatorData.create(rp, flags, self.counter)
        client = CollectedClientData.create("webauthn.get", raw(options["challenge"]), origin)
        signature = self.key.sign(data + client.hash, ec.ECDSA(hashes.SHA256()))
        return self.shape({
            "authenticatorData": text(data), "clientDataJSON": text(client),
            "signature": text(signature), "userHandle": text(handle or self.handle),
        })

    def shape(self, response):
        return {"id": text(self.id), "rawId": text(self.id), "type": "public-key",
                "response": response, "clientExtensionResults": {},
                "authenticatorAttachment": "platform"}


class Browser:
    """A page of the server, with its cookie."""

    def __init__(self, server, host="localhost"):
        port = urllib.parse.urlsplit(server.url).port
        self.url, self.host = server.url, f"{host}:{port}"
        self.origin = f"http://{self.host}"
        self.cookie = None

    def call(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("host", self.host)
        request.add_header("origin", self.origin)
        # Each call from an address of its own: how often one may try is not the matter here.
        request.add_header("x-forwarded-for", f"10.0.{next(CALLS)}.1")
        if self.cookie:
            request.add_header("cookie", self.cookie)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("content-type", "application/json")
        try:
            with urllib.request.build_opener().open(request, timeout=30) as answer:
                for value in answer.headers.get_all("set-cookie") or []:
                    self.cookie = value.split(";")[0]
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.loads(refusal.read() or b"{}")

    def sign_in(self, name, **more):
        return self.call("POST", "/hearth/session", {"name": name, "password": PASSWORD, **more})

    def enrol(self, name="laptop"):
        authenticator = Authenticator()
        status, begun = self.call("POST", "/hearth/me/passkeys/begin")
        assert status == 200, begun
        made = authenticator.create(begun["options"], self.origin)
        status, added = self.call("POST", "/hearth/me/passkeys", {"name": name, "credential": made})
        assert status == 201, added
        return authenticator, added["passkey"]

    def challenge(self):
        status, begun = self.call("POST", "/hearth/session/passkey/begin")
        assert status == 200, begun
        return begun["options"]

    def show(self, answer):
        return self.call("POST", "/hearth/session/passkey", {"credential": answer})


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "data", INITIAL_ROOT_TOKEN=ROOT_TOKEN,
                    HEARTH_SERVER_TRUSTED_PROXIES="127.0.0.1")
    for name in ["ann", "bob"]:
        hearth(tmp_path / "data", "users", "add", name, "--role", "user", "--password-stdin",
               input=PASSWORD + "\n")
    yield server
    server.stop()


def test_a_passkey_signs_in_alone_and_is_listed_renamed_and_removed(server):
    ann = Browser(server)
    assert ann.call("GET", "/hearth/status")[1]["passkeys"] is True
    assert ann.sign_in("ann")[0] == 200
    key, row = ann.enrol()
    assert (row["name"], row["host"], row["last_used_at"]) == ("laptop", "localhost", None)

    anyone = Browser(server)
    status, joined = anyone.show(key.get(anyone.challenge(), anyone.origin))
    assert status == 200 and joined["user"]["name"] == "ann", joined
    sessions = anyone.call("GET", "/hearth/sessions")[1]
    methods = {row["id"]: row["method"] for row in sessions["sessions"]}
    assert methods[sessions["current"]] == "passkey"

    path = f"/hearth/me/passkeys/{row['id']}"
    assert ann.call("PATCH", path, {"name": "phone"})[0] == 204
    listed = ann.call("GET", "/hearth/me/passkeys")[1]
    assert [row["name"] for row in listed["passkeys"]] == ["phone"]
    assert listed["passkeys"][0]["last_used_at"] is not None
    bob = Browser(server)
    bob.sign_in("bob")
    assert bob.call("DELETE", path)[0] == 404, "another's passkey"
    assert ann.call("DELETE", path)[0] == 204
    assert anyone.show(key.get(anyone.challenge(), anyone.origin))[0] == 401
    audit = hearth(server.data, "audit", "list")
    assert "me.passkeys.add" in audit and "me.passkeys.remove" in audit


def test_a_passkey_is_refused_from_elsewhere_twice_for_another_or_copied(server):
    ann, bob = Browser(server), Browser(server)
    ann.sign_in("ann")
    bob.sign_in("bob")
    key, _ = ann.enrol()
    other, _ = bob.enrol()
    page = Browser(server)

    for origin in ["http://evil.example", "https://localhost", "http://localhost:1", "null"]:
        assert page.show(key.get(page.challenge(), origin))[0] == 401, origin
    assert page.show(key.get(page.challenge(), page.origin, rp_id="evil.example"))[0] == 401
    assert page.show(key.get(page.challenge(), page.origin, verified=False))[0] == 401, "no PIN"
    assert page.show(key.get(page.challenge(), page.origin, handle=other.handle))[0] == 401

    answer = key.get(page.challenge(), page.origin)
    assert page.show(answer)[0] == 200
    assert page.show(answer)[0] == 403, "a challenge is answered once"
    wrong = key.get(page.challenge(), page.origin)
    wrong["response"]["signature"] = text(b"\x30\x06\x02\x01\x01\x02\x01\x01")
    assert page.show(wrong)[0] in (400, 401)
    invented = {"challenge": text(b"x" * 16), "rpId": "localhost"}
    assert page.show(key.get(invented, page.origin))[0] == 403, "not a challenge of ours"

    key.counter -= 5
    assert page.show(key.get(page.challenge(), page.origin))[0] == 401, "the counter went back"
    key.counter += 50
    assert page.show(key.get(page.challenge(), page.origin))[0] == 200

    # A challenge for making one is for the person who asked.
    begun = ann.call("POST", "/hearth/me/passkeys/begin")[1]["options"]
    made = Authenticator().create(begun, ann.origin)
    assert bob.call("POST", "/hearth/me/passkeys", {"name": "x", "credential": made})[0] == 403
    assert ann.call("POST", "/hearth/me/passkeys", {"name": "x", "credential": made})[0] == 403
    for change in [{"origin": "http://evil.example"}, {"origin": ann.origin, "verified": False}]:
        begun = ann.call("POST", "/hearth/me/passkeys/begin")[1]["options"]
        made = Authenticator().create(begun, **change)
        assert ann.call("POST", "/hearth/me/passkeys", {"name": "x", "credential": made})[0] == 400
    for answer in [None, {}, [], "x", {"id": "x", "response": {}}, {"response": {"a": "b" * 70_000}}]:
        assert page.show(answer)[0] in (400, 413), answer
    by_address = Browser(server, "127.0.0.1")
    assert by_address.call("GET", "/hearth/status")[1]["passkeys"] is False
    assert by_address.call("POST", "/hearth/session/passkey/begin")[0] == 404
    hearth(server.data, "users", "disable", "ann")
    assert page.show(key.get(page.challenge(), page.origin))[0] == 401
    assert page.show(other.get(page.challenge(), page.origin))[0] == 200


def test_a_passkey_goes_with_the_password_and_confirms_who_it_is(server):
    ann = Browser(server)
    ann.sign_in("ann")
    assert ann.call("PUT", "/hearth/me/passkeys/asked", {"with_password": True})[0] == 404
    key, row = ann.enrol()
    assert Browser(server).sign_in("ann")[0] == 200, "not asked for yet"
    status, asked = ann.call("PUT", "/hearth/me/passkeys/asked", {"with_password": True})
    assert status == 200 and len(asked["recovery_codes"]) == 10

    again = Browser(server)
    status, refused = again.sign_in("ann")
    assert (status, refused["error"]["code"]) == (401, "second_factor_required")
    bob = Browser(server)
    bob.sign_in("bob")
    foreign, _ = bob.enrol()
    assert again.sign_in("ann", passkey=foreign.get(again.challenge(), again.origin))[0] == 401
    assert again.sign_in("ann", passkey=key.get(again.challenge(), again.origin))[0] == 200
    code = asked["recovery_codes"][0]
    assert Browser(server).sign_in("ann", code=code)[0] == 200
    assert Browser(server).sign_in("ann", code=code)[0] == 401, "a recovery code is good once"

    confirm = "/hearth/session/confirm"
    assert again.call("POST", confirm, {})[0] == 400
    assert again.call("POST", confirm, {"passkey": key.get(again.challenge(), again.origin)})[0] == 204
    foreign = foreign.get(again.challenge(), again.origin)
    assert again.call("POST", confirm, {"passkey": foreign})[0] == 403
    assert ann.call("DELETE", f"/hearth/me/passkeys/{row['id']}")[0] == 204
    assert Browser(server).sign_in("ann")[0] == 200, "what is gone is not asked for"


def test_the_public_address_of_the_settings_is_where_passkeys_belong(tmp_path):
    server = Server(tmp_path / "data", INITIAL_ROOT_TOKEN=ROOT_TOKEN,
                    HEARTH_ACCOUNTS_PUBLIC_URL="https://llm.example.com",
                    HEARTH_SERVER_HOSTS="llm.example.com")
    try:
        hearth(tmp_path / "data", "users", "add", "ann", "--role", "user", "--password-stdin",
               input=PASSWORD + "\n")
        ann = Browser(server, "llm.example.com")
        assert ann.sign_in("ann")[0] == 200
        key = Authenticator()
        begun = ann.call("POST", "/hearth/me/passkeys/begin")[1]["options"]
        assert begun["rp"]["id"] == "llm.example.com"
        made = key.create(begun, "https://llm.example.com")
        assert ann.call("POST", "/hearth/me/passkeys", {"name": "key", "credential": made})[0] == 201
        wrong = key.get(ann.challenge(), "http://llm.example.com")
        assert ann.show(wrong)[0] == 401
        assert ann.show(key.get(ann.challenge(), "https://llm.example.com"))[0] == 200
    finally:
        server.stop()
