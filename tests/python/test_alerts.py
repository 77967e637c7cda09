"""Alerts by a real mail server and a real webhook, from the real binary."""

import asyncio
import email
import hashlib
import hmac
import http.server
import json
import queue
import threading
import urllib.request

import pytest
from aiosmtpd.smtp import SMTP

from conftest import ROOT_TOKEN, Server, hearth
from test_people import call

PASSWORD = "correct horse battery"


class Letters:
    """What the mail server took."""

    def __init__(self):
        self.taken = queue.Queue()
        self.refuses = 0

    async def handle_DATA(self, server, session, envelope):
        if self.refuses:
            self.refuses -= 1
            return "451 come again"
        self.taken.put((envelope.rcpt_tos, email.message_from_bytes(envelope.content)))
        return "250 taken"


@pytest.fixture
def mail():
    letters, loop = Letters(), asyncio.new_event_loop()
    starting = loop.create_server(lambda: SMTP(letters), "127.0.0.1", 0)
    server = loop.run_until_complete(starting)
    letters.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield letters
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture
def webhook():
    calls = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            calls.put((dict(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", calls
    server.shutdown()


def start(folder, mail):
    return Server(folder, INITIAL_ROOT_TOKEN=ROOT_TOKEN,
                  HEARTH_ALERTS_SMTP_URL=f"smtp://127.0.0.1:{mail.port}",
                  HEARTH_ALERTS_SMTP_FROM="Hearth <hearth@b.example>",
                  HEARTH_ALERTS_ALLOW_PRIVATE="127.0.0.1",
                  HEARTH_SERVER_TRUSTED_PROXIES="127.0.0.1")


def test_alerts_are_mailed_and_called_and_outlive_a_kill(tmp_path, mail, webhook):
    url, calls = webhook
    server = start(tmp_path, mail)
    try:
        made = call(server, "POST", "/hearth/users", {
            "name": "ann", "role": "user", "password": PASSWORD, "email": "ann@b.example"})
        assert made[0] == 201, made
        status, hook = call(server, "POST", "/hearth/alerts/targets", {"way": "webhook", "address": url})
        assert status == 201 and hook["secret"].startswith("hearth-whsec-")
        status, post = call(server, "POST", "/hearth/alerts/targets",
                            {"way": "email", "address": "admins@b.example"})
        assert (status, post["secret"]) == (201, None)
        shown = call(server, "GET", "/hearth/alerts")[1]
        assert shown["mail"] is True and len(shown["targets"]) == 2
        assert {rule["rule"] for rule in shown["rules"]} == {"budget", "spend", "failures", "sign_in"}
        assert "whsec" not in json.dumps(shown)

        for target in (hook, post):
            status, tried = call(server, "POST", f"/hearth/alerts/targets/{target['target']['id']}/test")
            assert status == 200 and tried["sent"]["state"] == "sent", tried
        to, letter = mail.taken.get(timeout=10)
        assert to == ["admins@b.example"] and letter["subject"] == "Hearth: a test"
        headers, body = calls.get(timeout=10)
        signature = dict(part.split("=") for part in headers["x-hearth-signature"].split(","))
        signed = f"{signature['t']}.".encode() + body
        wanted = hmac.new(hook["secret"].encode(), signed, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(signature["v1"], wanted)

        def sign_in(address):
            request = urllib.request.Request(
                server.url + "/hearth/session", method="POST",
                data=json.dumps({"name": "ann", "password": PASSWORD}).encode(),
                headers={"content-type": "application/json", "x-forwarded-for": address})
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert answer.status == 200

        sign_in("192.0.2.1")
        sign_in("192.0.2.9")
        # The mail server takes nothing until the process is dead: what waits outlives it.
        mail.refuses = 100
        sign_in("198.51.100.1")
        server.process.kill()
        server.process.wait()
        mail.refuses = 0
        server = start(tmp_path, mail)
        told = json.loads(calls.get(timeout=30)[1])
        assert told["rule"] == "sign_in" and told["detail"]["address"] == "198.51.100.1"
        letters = [mail.taken.get(timeout=90) for _ in range(2)]
        assert sorted(to[0] for to, _ in letters) == ["admins@b.example", "ann@b.example"]
        assert all("198.51.100.1" in letter.get_payload() for _, letter in letters)
        assert mail.taken.empty() and calls.empty(), "each once"
        listed = call(server, "GET", "/hearth/alerts/sent?limit=2")[1]
        assert len(listed["sent"]) == 2 and listed["next"]
        audit = hearth(tmp_path, "audit", "list")
        assert "alerts.target.add" in audit and "whsec" not in audit
    finally:
        server.stop()
