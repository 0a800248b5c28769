#!/usr/bin/env python3
"""Makes webhooks with the command, receives what a local server sends, and verifies it with the published libraries
of Standard Webhooks: the one of PyPI in this process, the one of npm by webhooks_check.mjs. Also while a secret is
rotated, after the old one has ended, and with messages that were changed on their way.

    webhooks_check.py API TICKETS DATA FOLDER_OF_THE_NPM_PACKAGE <KEY
"""
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

api, tickets, data, npm = sys.argv[1:5]
key = sys.stdin.readline().strip()
key = key.split()[-1]
received = []
status = 204


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        received.append((dict(self.headers), body, status))
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"


def command(*arguments, fails=False):
    run = subprocess.run([tickets, "webhooks", *arguments, "--data", data], capture_output=True, text=True)
    assert (run.returncode != 0) == fails, run
    return run.stdout + run.stderr


def request(method, path, body=None):
    request = urllib.request.Request(api + path, method=method, data=body and json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {key}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as response:
        text = response.read()
    return json.loads(text) if text else None


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"nothing after {seconds} s: {received}"
        time.sleep(0.1)


def python_accepts(secret, headers, body):
    try:
        Webhook(secret).verify(body, headers)
        return True
    except WebhookVerificationError:
        return False


def npm_accepts(secret, headers, body):
    message = json.dumps({"secret": secret, "headers": headers, "body": body})
    run = subprocess.run(["node", ".ci/webhooks_check.mjs", npm], input=message, capture_output=True, text=True)
    return run.stdout.strip() == "verified"


def accepted(secret, message):
    headers, body, _ = message
    both = python_accepts(secret, headers, body), npm_accepts(secret, headers, body)
    assert both[0] == both[1], (both, message)
    return both[0]


def secret_of(output):
    return re.search(r"^secret +(whsec_\S+)$", output, re.M).group(1)


created = command("create", url, "--note", "the check")
webhook, secret = re.search(r"^webhook +(wh_\S+)$", created, re.M).group(1), secret_of(created)

# A test message, and the events of a ticket.
assert "204 after" in command("test", webhook)
assert accepted(secret, received[0]) and json.loads(received[0][1])["type"] == "webhook.test"
ticket = request("POST", "/tickets/", {"customerID": 42, "subject": "s"})["id"]
request("PATCH", f"/tickets/{ticket}", {"status": "assigned"})
wait_for(lambda: len(received) == 3)
for message in received:
    headers, body, _ = message
    assert accepted(secret, message), message
    assert not accepted(secret, (headers, body + " ", 0)) and not accepted(secret, ({**headers, "webhook-id": "x"}, body, 0))
    assert headers["content-type"] == "application/json" and headers["user-agent"].startswith("tickets-webhooks/")
events = [json.loads(body) for _, body, _ in received[1:]]
assert [event["type"] for event in events] == ["ticket.created", "ticket.updated"], events
assert [event["data"]["version"] for event in events] == [1, 2]
assert all(event["data"]["id"] == headers["webhook-id"] for event, (headers, _, _) in zip(events, received[1:]))

# While the secret is rotated, both are valid; then only the new one.
new = secret_of(command("rotate", webhook))
request("PATCH", f"/tickets/{ticket}", {"status": "open"})
wait_for(lambda: len(received) == 4)
assert accepted(secret, received[3]) and accepted(new, received[3])
newest = secret_of(command("rotate", webhook, "--old-lasts", "0m"))
request("PATCH", f"/tickets/{ticket}", {"status": "assigned"})
wait_for(lambda: len(received) == 5)
assert accepted(newest, received[4]) and not accepted(new, received[4]) and not accepted(secret, received[4])

# A paused webhook gets what happened meanwhile; one that fails is shown as failing, and goes on when it is resumed.
command("pause", webhook)
request("DELETE", f"/tickets/{ticket}")
time.sleep(3)
assert len(received) == 5 and "paused" in command("list")
status = 500
command("resume", webhook)
wait_for(lambda: len(received) == 6)
wait_for(lambda: "failing" in command("list"))
assert "500" in command("show", webhook) and newest not in command("show", webhook)
assert "the receiver answered: 500" in command("test", webhook, fails=True)
status = 204
command("resume", webhook)
wait_for(lambda: received[-1][2] == 204 and json.loads(received[-1][1])["type"] == "ticket.deleted")

# Only this machine's receivers, and public ones.
for inner in ("http://10.0.0.1/", "https://169.254.169.254/", "https://0x7f.1/", "https://ada:pw@example.com/"):
    command("create", inner, fails=True)
command("delete", webhook)
assert webhook not in command("list")
print(f"{len(received)} messages verified by PyPI's and npm's standardwebhooks, during a rotation too")
