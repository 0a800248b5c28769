"""What the connectors' checks share: a server whose tickets are changed, deleted and moved while they are loaded, and a
comparison of the connector's rows with the API's list.

Each check passes `check` a function that makes a connector for a key: an object with

    load()      runs once; returns the number of records
    rows()      the connector's rows by id
    row(ticket) the row that a ticket must have
    repeated    how many records of the last run each run loads again
    tamper(id)  changes a row to what no ticket ever was
    start_over() starts over after the table was restored from an earlier state; None if `load` does so by itself
"""

import http.client
import json
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.parse


ROOT = pathlib.Path(__file__).parent.parent
ONE_LINE = {"subject", "owner"}


def free_texts():
    """The fields that take any text, as the API describes them."""
    description = json.loads((ROOT / "openapi.json").read_text())
    properties = description["components"]["schemas"]["TicketCreate"]["properties"]
    special = {"enum", "format", "pattern"}
    return [name for name, one in properties.items() if "string" in one["type"] and not special & one.keys()]


class Api:
    def __init__(self, base, key):
        self.url = urllib.parse.urlsplit(base)
        self.key = key
        kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
        self.connection = kind(self.url.netloc)

    def call(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        self.connection.request(method, self.url.path + path, None if body is None else json.dumps(body), headers)
        response = self.connection.getresponse()
        answer = response.read()
        assert response.status < 300, f"{method} {path}: {response.status} {answer.decode()}"
        return response.headers, json.loads(answer or b"null")

    def create(self, **fields):
        return self.call("POST", "/tickets/", {"customerID": 7, "subject": "s"} | fields)[1]["id"]

    def change(self, id, **fields):
        self.call("PATCH", f"/tickets/{id}", fields)

    def delete(self, id):
        self.call("DELETE", f"/tickets/{id}")

    def list(self, query=""):
        records, path = [], f"/tickets/?{query}"
        while True:
            headers, page = self.call("GET", path)
            records += page
            link = re.match(r'<([^>]+)>; rel="next"', headers.get("Link", ""))
            if not link:
                return records
            path = link[1].removeprefix(self.url.path)

    def settle(self):
        """Waits until the last change has settled, so that lists show it."""
        last = max(record["updatedDate"] for record in self.list("includeDeleted=true"))
        deadline = time.monotonic() + 120
        while self.call("GET", "/tickets/?limit=1")[0]["Sync-Until"] < last:
            assert time.monotonic() < deadline, f"Sync-Until does not reach {last}"
            time.sleep(0.1)


def compare(api, connector, when):
    has, wants = connector.rows(), {ticket["id"]: connector.row(ticket) for ticket in api.list()}
    differ = sorted((id for id in has | wants if has.get(id) != wants.get(id)), key=int)
    for id in differ[:10]:
        row, ticket = has.get(id, {}), wants.get(id, {})
        for name in sorted(row.keys() | ticket.keys()):
            if row.get(name) != ticket.get(name):
                print(f"ticket {id}, {name}: has {row.get(name)!r}, API {ticket.get(name)!r}", file=sys.stderr)
    if differ:
        sys.exit(f"{when}, {len(differ)} of {len(wants)} tickets differ")
    return len(wants)


def load_meanwhile(base, key, write, load):
    """Runs `load` while a thread calls write(api, 0), write(api, 1), and so on."""
    done = threading.Event()

    def writer():
        api, step = Api(base, key), 0
        while not done.wait(0.005):
            write(api, step)
            step += 1

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        return load()
    finally:
        done.set()
        thread.join()


def check(name, make, base, key, tickets, data):
    api, connector = Api(base, key), make(key)
    # Texts that look like other types, a date and a time in one field, and more tickets than a page holds.
    for text in ("2026-01-01T00:00:00Z", "42", 'it\'s "q" \\ \n\t ü 🎫', "[1]", "NULL"):
        texts = {name: " ".join(text.split()) if name in ONE_LINE else text for name in free_texts()}
        api.create(customerID=2**53 - 1, customerEmail="ada@example.com", ticketType="billing", **texts)
    api.create(ticketFollowupDate="2026-01-01T10:00:00+02:00", ticketActionRequired="2026-01-01", users="")
    api.create(ticketFollowupDate="2026-01-01", ticketActionRequired="2026-01-01T10:00:00+02:00")
    plain = [api.create() for _ in range(1600)]
    api.delete(plain.pop())
    api.settle()

    def change_and_create(api, step):
        """Changes a ticket of the first page, each once, and creates one, which comes on the last page. So between two
        pages there are changes that the first page no longer has, older than the newest one of the last page."""
        api.change(plain[10 + step % 500], status="resolved")
        api.create(subject="created meanwhile")

    loaded = [load_meanwhile(base, key, change_and_create, connector.load)]
    assert loaded[0] > 1000, f"the first load should be more than a page, not {loaded[0]} records"
    api.change(plain[0], subject="changed", status="closed", owner="grace")
    api.change(plain[1], ticketPriority=None)
    api.delete(plain[2])
    api.delete(api.create())  # a ticket that the copy never had
    api.change(plain[6], customerID=8)  # a move to another customer
    api.settle()
    loaded.append(connector.load())
    compare(api, connector, "after a load during which tickets changed, and one after")

    api.delete(plain[3])
    api.change(plain[4], subject="changed again")
    api.create(subject="new")
    api.settle()
    loaded.append(connector.load())
    changes = loaded[2] - connector.repeated
    assert changes == 3, f"the third load should bring the three changes, not {changes} records"
    compare(api, connector, "after the third load")

    # Recent changes must be held back and not skipped: with `settled`, the state is no later than the last
    # record seen.
    def refresh(api, step):
        api.change(plain[7], subject=f"fresh {step}")

    refresh(api, -1)
    fresh = load_meanwhile(base, key, refresh, connector.load) - connector.repeated
    assert fresh == 0, f"a change that has not settled should be held back, not bring {fresh} records"
    api.settle()
    connector.load()
    compare(api, connector, "after a change was held back")

    # As if the copy had a change that the table, restored from an earlier state, does not have.
    connector.tamper(plain[5])
    subprocess.run([tickets, "restored", "--data", data], check=True)
    api.create(subject="after the restore")
    api.settle()
    if connector.start_over:
        connector.start_over()
    connector.load()
    total = compare(api, connector, "in a new epoch")

    # With a key for one customer: a ticket that moves to another one is gone.
    command = [tickets, "keys", "create", "--scopes", "read", "--customer", "7", "--data", data]
    restricted = subprocess.run(command, check=True, text=True, capture_output=True).stdout.strip()
    own, connector = Api(base, restricted), make(restricted)
    connector.load()
    compare(own, connector, "one customer's tickets")
    api.change(plain[7], customerID=8)
    api.change(plain[8], subject="stays")
    api.delete(plain[9])
    api.settle()
    connector.load()
    compare(own, connector, "one customer's tickets after a move")
    print(f"{name}'s copy equals the API's list: {total} tickets after loads of {', '.join(map(str, loaded))} records")
