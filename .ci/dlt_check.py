"""Runs the documented dlt pipeline against a server that changes, and compares the table with the API's list.

    dlt_check.py PIPELINE_PY BASE_URL < KEY_FILE     (with the Python that has dlt)
"""

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from datetime import datetime

import duckdb

pipeline, base = sys.argv[1:]
key = sys.stdin.read().strip()
url = urllib.parse.urlsplit(base)
connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection


class Api:
    def __init__(self):
        self.connection = connect(url.netloc)

    def call(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self.connection.request(method, url.path + path, None if body is None else json.dumps(body), headers)
        response = self.connection.getresponse()
        answer = response.read()
        assert response.status < 300, f"{method} {path}: {response.status} {answer.decode()}"
        return response.headers, json.loads(answer or b"null")

    def create(self, **fields):
        return self.call("POST", "/tickets/", {"customerID": 7, "subject": "s"} | fields)[1]["id"]

    def list(self, query=""):
        records, path = [], f"/tickets/?{query}"
        while True:
            headers, page = self.call("GET", path)
            records += page
            link = re.match(r'<([^>]+)>; rel="next"', headers.get("Link", ""))
            if not link:
                return records
            path = f"/tickets/{link[1]}"

    def settle(self):
        """Waits until the last change is no longer held back."""
        last = max(record["updatedDate"] for record in self.list("includeDeleted=true"))
        deadline = time.monotonic() + 120
        while self.call("GET", "/tickets/?limit=1")[0]["Sync-Until"] < last:
            assert time.monotonic() < deadline, f"Sync-Until does not reach {last}"
            time.sleep(0.1)


def load(copy):
    # No telemetry from a check.
    environment = os.environ | {"RUNTIME__DLTHUB_TELEMETRY": "false"}
    run = subprocess.run(
        [sys.executable, pipeline, base, copy], input=key, text=True, env=environment, check=True, stdout=subprocess.PIPE
    )
    return int(run.stdout.split()[0])


def rows(copy):
    """The table, by id: what is not NULL, less dlt's own columns."""
    with duckdb.connect(copy, read_only=True) as database:
        table = database.execute("SELECT * FROM tickets_api.tickets")
        names = [column[0] for column in table.description]
        found = [
            {name: value for name, value in zip(names, row) if value is not None and not name.startswith("_dlt_")}
            for row in table.fetchall()
        ]
    assert len(found) == len({row["id"] for row in found}), "an id is in the table twice"
    return {row["id"]: row for row in found}


def expected(ticket):
    """The row of a ticket."""
    row = {re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower(): value for name, value in ticket.items()}
    times = {name: datetime.fromisoformat(row[name].replace("Z", "+00:00")) for name in ("created_date", "updated_date")}
    return row | times


def compare(api, copy, when):
    has, wants = rows(copy), {ticket["id"]: expected(ticket) for ticket in api.list()}
    differ = sorted((id for id in has | wants if has.get(id) != wants.get(id)), key=int)
    for id in differ[:10]:
        row, ticket = has.get(id, {}), wants.get(id, {})
        for name in sorted(row.keys() | ticket.keys()):
            if row.get(name) != ticket.get(name):
                print(f"ticket {id}, {name}: table {row.get(name)!r}, API {ticket.get(name)!r}", file=sys.stderr)
    if differ:
        sys.exit(f"{when}, {len(differ)} of {len(wants)} tickets differ")
    return len(wants)


def change_meanwhile(ids, done):
    """In turn, changes a ticket of the first page, each once, and creates one, which is on the last page: between
    the pages there are changes that the first no longer has, older than the newest that the last would have."""
    api = Api()
    for id in ids:
        if done.wait(0.005):
            return
        api.call("PATCH", f"/tickets/{id}", {"status": "resolved"})
        api.create(subject="created meanwhile")


def main(copy):
    api = Api()
    # Texts that look like something else; a date and a time in one field; more tickets than a page holds.
    for text in ("2026-01-01T00:00:00Z", "42", 'it\'s "q" \\ \n\t ü 🎫', "[1]", "NULL"):
        notes = dict.fromkeys(("ticketContent", "owner", "users", "departments", "ticketSuppliers"), text)
        api.create(customerID=2**53 - 1, subject=text, customerEmail="ada@example.com", ticketType="billing", **notes)
    api.create(ticketFollowupDate="2026-01-01T10:00:00+02:00", ticketActionRequired="2026-01-01", users="")
    api.create(ticketFollowupDate="2026-01-01", ticketActionRequired="2026-01-01T10:00:00+02:00")
    plain = [api.create() for _ in range(1600)]
    api.call("DELETE", f"/tickets/{plain.pop()}")
    api.settle()

    done = threading.Event()
    writer = threading.Thread(target=change_meanwhile, args=(plain[10:510], done))
    writer.start()
    loaded = [load(copy)]
    done.set()
    writer.join()
    assert loaded[0] > 1000, f"the first load should be more than a page, not {loaded[0]} records"
    api.call("PATCH", f"/tickets/{plain[0]}", {"subject": "changed", "status": "closed", "owner": "grace"})
    api.call("PATCH", f"/tickets/{plain[1]}", {"ticketPriority": None})
    api.call("DELETE", f"/tickets/{plain[2]}")
    api.call("DELETE", f"/tickets/{api.create()}")  # one the table never had
    api.settle()
    loaded.append(load(copy))
    compare(api, copy, "after a load during which tickets changed, and one after")

    api.call("DELETE", f"/tickets/{plain[3]}")
    api.call("PATCH", f"/tickets/{plain[4]}", {"subject": "changed again"})
    api.create(subject="new")
    api.settle()
    loaded.append(load(copy))
    assert loaded[2] == 3, f"the third load should bring the three changes, not {loaded[2]} records"
    total = compare(api, copy, "after the third load")
    print(f"dlt's table equals the API's list: {total} tickets after loads of {', '.join(map(str, loaded))} records")


with tempfile.TemporaryDirectory() as directory:
    main(os.path.join(directory, "copy.duckdb"))
