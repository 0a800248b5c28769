"""Runs the commands of examples/duckdb on a real export, and compares what they show with what the API lists.

    duckdb_check.py TICKETS BIN DIRECTORY    (BIN: where the README's `pip install` has put duckdb)
"""

import json
import os
import pathlib
import subprocess
import sys
import time

from connector import Api

tickets, bin, directory = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
root = pathlib.Path(__file__).parent.parent
data = directory / ".tickets"
directory.mkdir(exist_ok=True)

blocks = (root / "examples/duckdb/README.md").read_text().split("```sh\n")[1:]
lines = [line for block in blocks for line in block.split("```")[0].splitlines()]
assert lines[0] == "python3 -m venv target/duckdb && target/duckdb/bin/pip install -r examples/duckdb/requirements.txt"


def run(line, before=""):
    """A command of the README, with JSON as its output, and an option before its file."""
    assert line in lines, line
    line = line.replace(" -f ", f" {before} -f ")
    line = line.replace("target/duckdb/bin/duckdb", f"{bin}/duckdb -json").replace("cargo run --", tickets)
    line = line.replace("examples/", f"{root}/examples/")
    environment = os.environ | {"TICKETS_API": base}
    shown = subprocess.run(["bash", "-euc", line], cwd=directory, env=environment, capture_output=True, text=True)
    assert shown.returncode == 0, f"{line}: {shown.stderr}"
    return shown.stdout


def query(line, before=""):
    return json.loads(run(line, before) or "[]")


DUCKDB, VIEWS = "target/duckdb/bin/duckdb", "-init examples/duckdb/tickets.sql"

with open(directory / "log", "w+") as log:
    command = [tickets, "serve", "--data", data, "--quiet", "--listen", "127.0.0.1:0", "--export-every", "1"]
    server = subprocess.Popen(command, stdout=log, env=os.environ | {"SETTLE_SECONDS": "4"})
    try:
        while "docs " not in (text := (directory / "log").read_text()):
            assert server.poll() is None, text
            time.sleep(0.1)
        said = dict(line.split(maxsplit=1) for line in text.splitlines())
        base = said["API"].removesuffix("/tickets/")
        api = Api(base, said["key"])

        ids = [api.create(subject=f"Refund {n}", ticketContent="It has not arrived") for n in range(20)]
        needle = api.create(subject="The invoice was charged twice", ticketContent="Café Zürich wants a refund")
        for id in ids[:8]:
            api.change(id, status="assigned", owner="grace")
        for id in ids[:5]:
            api.change(id, status="closed")
        api.delete(ids[10])
        until = time.time() + 60
        listed = {ticket["id"]: ticket for ticket in api.list()}
        while True:
            rows = query(f'{DUCKDB} {VIEWS} -c "FROM tickets ORDER BY id LIMIT 10"') if list(data.glob("exports/tickets/*/*")) else []
            seen = {str(row["id"]): row["status"] for row in rows}
            if seen == {id: listed[id]["status"] for id in sorted(listed, key=int)[:10]}:
                break
            assert time.time() < until, f"{rows} is not what the API lists"
            time.sleep(1)

        months = query(f"{DUCKDB} {VIEWS} -f examples/duckdb/months.sql")
        counted = {name: sum(int(row[name]) for row in months) for name in months[0] if name != "month"}
        expected = {}
        for ticket in listed.values():
            expected[ticket["status"]] = expected.get(ticket["status"], 0) + 1
        assert counted == expected, f"{counted} is not {expected}"

        search = f"{DUCKDB} {VIEWS} -f examples/duckdb/search.sql"
        found = query(search)
        assert str(found[0]["id"]) == needle and str(ids[10]) not in [str(row["id"]) for row in found], found
        found = query(search, "-cmd \"SET VARIABLE search = 'zurich CAFE'\"")
        assert [str(row["id"]) for row in found] == [needle], found

        run("cargo run -- events --json > .tickets/events.ndjson")
        closing = query(f"{DUCKDB} -f examples/duckdb/closing.sql")
        assert sum(row["tickets"] for row in closing) == 21 and sum(row["closed"] for row in closing) == 5, closing
    finally:
        server.terminate()
        server.wait()
print("what DuckDB shows is what the API lists")
