"""Runs the documented Singer tap against a server whose tickets change, and compares a target's rows with the API's
list.

    singer_check.py TAP_PY BASE_URL TICKETS DATA < KEY_FILE     (with the Python that has singer-sdk)
"""

import json
import os
import subprocess
import sys
import tempfile

from connector import check
from upserts import Upserts

tap, base, tickets, data = sys.argv[1:]
key = sys.stdin.read().strip()


class Singer(Upserts):
    def __init__(self, key, directory):
        super().__init__()
        self.config, self.state = os.path.join(directory, "config.json"), os.path.join(directory, "state.json")
        with open(self.config, "w") as file:
            json.dump({"api_url": base, "key": key}, file)

    def load(self):
        known = ["--state", self.state] if os.path.exists(self.state) else []
        command = [sys.executable, tap, "--config", self.config, *known]
        environment = os.environ | {"TAP_TICKETS_LOGLEVEL": "ERROR"}
        run = subprocess.run(command, env=environment, text=True, check=True, stdout=subprocess.PIPE)
        brought, state = 0, None
        for message in map(json.loads, run.stdout.splitlines()):
            if message["type"] == "RECORD":
                self.upsert(message["record"])
                brought += 1
            elif message["type"] == "STATE":
                state = message["value"]
        with open(self.state, "w") as file:
            json.dump(state, file)
        return brought

    def start_over(self):
        super().start_over()
        os.remove(self.state)


with tempfile.TemporaryDirectory() as directory:
    check("Singer", lambda key: Singer(key, tempfile.mkdtemp(dir=directory)), base, key, tickets, data)
