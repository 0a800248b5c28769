"""Runs the documented sync client against a server whose tickets change, and compares the copy with the table.

    sync_check.py SYNC_PY BASE_URL TICKETS       (in a directory with the server's .tickets)

For a deployment, the environment names the database (AWS_ENDPOINT_URL_DYNAMODB, TICKETS_TABLE), and .tickets has a key.
"""

import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import urllib.request

sync, base, tickets = sys.argv[1:]
where = [] if "AWS_ENDPOINT_URL_DYNAMODB" in os.environ else ["--data", ".tickets"]
key = pathlib.Path(".tickets/dev-key").read_text().strip()


def call(method, path, body=None):
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(base + path, data, headers, method=method)) as response:
        return json.loads(response.read() or b"null")


def copy():
    with open(".tickets/dev-key") as stdin:
        subprocess.run([sys.executable, sync, base, "copy.db"], stdin=stdin, check=True)
    with sqlite3.connect("copy.db") as database:
        return {row[0]: json.loads(row[1]) for row in database.execute("SELECT id, ticket FROM tickets")}


def table():
    return {int(ticket["id"]): ticket for ticket in call("GET", "/tickets/?includeDeleted=true")}


assert copy() == table(), "the first pass"
some = sorted(id for id, ticket in table().items() if "deletedDate" not in ticket)
call("PATCH", f"/tickets/{some[0]}", {"status": "resolved"})
call("DELETE", f"/tickets/{some[1]}")
call("POST", "/tickets/", {"customerID": 7, "subject": "new"})
assert copy() == table(), "the second pass"

# Sample tickets have dates in the past, which no later pass asks for: a new epoch tells the copy to start over.
subprocess.run([tickets, "seed", "150", "--quiet", *where], check=True, stdout=subprocess.DEVNULL)
assert copy() == table(), "the pass after a seed"

# As if the copy had a ticket that the table, restored from an earlier state, does not have.
with sqlite3.connect("copy.db") as database:
    lost = {"id": "999999", "updatedDate": "2999-01-01T00:00:00.000Z"}
    database.execute("INSERT INTO tickets VALUES (999999, ?, ?)", (lost["updatedDate"], json.dumps(lost)))
assert 999999 in copy(), "a copy keeps what it has while the epoch lasts"
subprocess.run([tickets, "restored", *where, "--ahead", "5000"], check=True)
call("POST", "/tickets/", {"customerID": 7, "subject": "after the restore"})
assert copy() == table(), "a copy starts over in a new epoch"
assert max(table()) > 5000, "no id is given twice"
print("the copy equals the table:", len(table()), "tickets")
