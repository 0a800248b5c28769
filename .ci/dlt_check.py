"""Runs the documented dlt pipeline against a server whose tickets change, and compares the table with the API's list.

    dlt_check.py PIPELINE_PY BASE_URL TICKETS DATA < KEY_FILE     (with the Python that has dlt)
"""

import os
import re
import subprocess
import sys
import tempfile
from datetime import datetime

import duckdb

from connector import check

pipeline, base, tickets, data = sys.argv[1:]
key = sys.stdin.read().strip()


class Dlt:
    start_over = None
    repeated = 0

    def __init__(self, key, directory):
        self.key, self.copy = key, os.path.join(directory, "copy.duckdb")

    def load(self):
        # The check sends no telemetry.
        environment = os.environ | {"RUNTIME__DLTHUB_TELEMETRY": "false"}
        command = [sys.executable, pipeline, base, self.copy]
        run = subprocess.run(command, input=self.key, text=True, env=environment, check=True, stdout=subprocess.PIPE)
        return int(run.stdout.split()[0])

    def rows(self):
        """The table's rows by id, without NULLs and dlt's own columns."""
        with duckdb.connect(self.copy, read_only=True) as database:
            table = database.execute("SELECT * FROM tickets_api.tickets")
            names = [column[0] for column in table.description]
            found = [
                {name: value for name, value in zip(names, row) if value is not None and not name.startswith("_dlt_")}
                for row in table.fetchall()
            ]
        assert len(found) == len({row["id"] for row in found}), "an id is in the table twice"
        return {row["id"]: row for row in found}

    def row(self, ticket):
        row = {re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower(): value for name, value in ticket.items()}
        times = ("created_date", "updated_date")
        return row | {name: datetime.fromisoformat(row[name].replace("Z", "+00:00")) for name in times}

    def tamper(self, id):
        with duckdb.connect(self.copy) as database:
            database.execute("UPDATE tickets_api.tickets SET subject = 'lost' WHERE id = ?", [id])


with tempfile.TemporaryDirectory() as directory:
    check("dlt", lambda key: Dlt(key, tempfile.mkdtemp(dir=directory)), base, key, tickets, data)
