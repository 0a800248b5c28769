#!/usr/bin/env python3
"""A receiver of webhooks: verifies each message, and prints what it tells. Needs `pip install standardwebhooks`.

    python3 webhook.py SECRET [PORT]
"""
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

webhook = Webhook(sys.argv[1])
seen = set()  # A program that is to survive a restart keeps these ids where it keeps its data.


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            message = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError as error:
            return self.answer(401, error)
        event = message["data"]
        if self.headers["webhook-id"] not in seen:
            seen.add(self.headers["webhook-id"])
            print(message["type"], *(f"{name}={event[name]}" for name in ("ticket", "version") if name in event), flush=True)
        self.answer(204)

    def answer(self, status, why=""):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()
        if why:
            print("refused:", why, file=sys.stderr, flush=True)

    def log_message(self, *_):
        pass


port = int(sys.argv[2]) if len(sys.argv) > 2 else 9999
ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
