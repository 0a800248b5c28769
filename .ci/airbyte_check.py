"""Runs the documented Airbyte manifest against a server whose tickets change, and compares the rows of a destination
with the API's list.

    airbyte_check.py MANIFEST BASE_URL TICKETS DATA < KEY_FILE     (with the Python that has airbyte-cdk)
"""

import json
import os
import subprocess
import sys
import tempfile

from connector import check
from upserts import Upserts

manifest, base, tickets, data = sys.argv[1:]
key = sys.stdin.read().strip()
source = os.path.join(os.path.dirname(sys.executable), "source-declarative-manifest")


class Airbyte(Upserts):
    def __init__(self, key, directory):
        super().__init__()
        self.config, self.catalog, self.state = (
            os.path.join(directory, name) for name in ("config.json", "catalog.json", "state.json")
        )
        self.write(self.config, {"api_url": base, "key": key})
        self.write(self.state, [])
        status = [message["connectionStatus"] for message in self.run("check") if message["type"] == "CONNECTION_STATUS"]
        assert [answer["status"] for answer in status] == ["SUCCEEDED"], status
        catalogs = [message["catalog"] for message in self.run("discover") if message["type"] == "CATALOG"]
        modes = {"sync_mode": "incremental", "destination_sync_mode": "append_dedup"}
        self.write(self.catalog, {"streams": [{"stream": stream} | modes for stream in catalogs[0]["streams"]]})

    @staticmethod
    def write(path, value):
        with open(path, "w") as file:
            json.dump(value, file)

    def run(self, command, *more):
        command = [source, command, "--manifest-path", manifest, "--config", self.config, *more]
        run = subprocess.run(command, text=True, stdout=subprocess.PIPE)
        messages = [json.loads(line) for line in run.stdout.splitlines()]
        if run.returncode:
            sys.exit("\n".join(json.dumps(message) for message in messages if message["type"] in ("LOG", "TRACE")))
        return messages

    def load(self):
        brought, states = 0, []
        for message in self.run("read", "--catalog", self.catalog, "--state", self.state):
            if message["type"] == "RECORD":
                self.upsert(message["record"]["data"])
                brought += 1
            elif message["type"] == "STATE":
                states = [message["state"]]
        self.write(self.state, states)
        return brought

    def start_over(self):
        super().start_over()
        self.write(self.state, [])


with tempfile.TemporaryDirectory() as directory:
    check("Airbyte", lambda key: Airbyte(key, tempfile.mkdtemp(dir=directory)), base, key, tickets, data)
