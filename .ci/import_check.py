"""Moves another system's tickets in, with an importer that is killed and restarted, and counts them.

    import_check.py TICKETS_BINARY ROWS

For each example: runs the commands of its README, then imports a generated export of ROWS rows with the encoding and
line ends of such files, one of them as a spreadsheet saves it. Each difference from the source is a loss, and is named.
Last, it reads small files that unpack to huge rows, and measures the memory that this takes.
"""

import csv
import gzip
import io
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

binary, rows = str(pathlib.Path(sys.argv[1]).resolve()), int(sys.argv[2])
root = pathlib.Path(__file__).resolve().parent.parent

# How each file is written: encoding, delimiter and line end.
WRITTEN = {"zendesk": ("utf-16", "\t", "\r\n"), "freshdesk": ("utf-8-sig", ";", "\r\n")}
STATUS = {
    "zendesk": {"New": "open", "Open": "open", "Pending": "assigned", "Hold": "assigned", "Solved": "resolved", "Closed": "closed"},
    "freshdesk": {"Open": "open", "Pending": "assigned", "Waiting on Customer": "assigned", "Resolved": "resolved", "Closed": "closed"},
}
PRIORITY = {
    "zendesk": {"-": None, "Low": "low", "Normal": "normal", "High": "high", "Urgent": "urgent"},
    "freshdesk": {"Low": "low", "Medium": "normal", "High": "high", "Urgent": "urgent"},
}
NAMES = {
    "zendesk": ("Id", "Requester id", "Requester email", "Subject", "Status", "Priority", "Created at", "Updated at", "Tags", "Group"),
    "freshdesk": ("Ticket ID", "Contact ID", "Email", "Subject", "Status", "Priority", "Created time", "Last update time", "Tags", "Group"),
}


def tickets(*arguments, cwd=None, check=True):
    return subprocess.run([binary, *arguments], cwd=cwd, check=check, capture_output=True, text=True)


def exported(data, cwd):
    lines = tickets("export", "--table", "--data", str(data), "--include-deleted", "--quiet", cwd=cwd).stdout.splitlines()
    return {int(record["id"]): record for record in map(json.loads, lines)}


def readme(example, work):
    """Runs the commands of the README unchanged."""
    shutil.copytree(root / "examples" / example, work / "examples" / example)
    for block in re.findall(r"```sh\n(.*?)```", (root / "examples" / example / "README.md").read_text(), re.S):
        for line in block.strip().splitlines():
            said = tickets(*line.split()[1:], cwd=work).stderr
    source = list(csv.DictReader((root / "examples" / example / "tickets.csv").open(newline="")))
    there = exported("moved", work)
    key, subject = NAMES[example][0], NAMES[example][3]
    assert [int(row[key]) for row in source] == sorted(there), there
    for row in source:
        assert there[int(row[key])]["subject"] == (" ".join(row[subject].split()) or "(no subject)")
    assert "Tags" in said, said
    return len(there)


def generate(example, path):
    """Writes a file like the example's with ROWS rows. Returns the tickets that it must become."""
    draw = random.Random(7)
    with (root / "examples" / example / "tickets.csv").open(newline="") as file:
        header = next(csv.reader(file))
    encoding, delimiter, end = WRITTEN[example]
    expected = {}
    # Excel names the delimiter, leaves out some delimiters at the end of a line, and adds lines of nothing else.
    excel = example == "freshdesk"
    with path.open("w", newline="", encoding=encoding) as file:
        row = io.StringIO()
        writer = csv.DictWriter(row, header, delimiter=delimiter, lineterminator=end)
        writer.writeheader()
        file.write((f"sep={delimiter}{end}" if excel else "") + row.getvalue())
        number = 0
        for at in range(rows):
            # Such exports leave out deleted tickets, so ids have gaps.
            number += 1 if draw.random() < 0.9 else draw.randrange(2, 30)
            status, priority = draw.choice(list(STATUS[example])), draw.choice(list(PRIORITY[example]))
            customer, month = draw.randrange(10**11, 10**11 + rows // 20 + 1), at * 120 // rows
            created = f"{2015 + month // 12}-{1 + month % 12:02}-{1 + at % 28:02} {8 + at % 12:02}:{at % 60:02}"
            email = f"c{customer}@customer.example" if draw.random() < 0.99 else "unknown"
            subject = "" if draw.random() < 0.01 else f'Größe {at}; "{draw.randrange(1000)}",{end if at % 50 == 0 else " "}x'
            group = f'"{at}",\t{"line" + end + "break" if at % 50 == 0 else "x"}' if at % 2 == 0 else ""
            values = (number, customer, email, subject, status, priority, created, created, "vip" if at % 3 == 0 else "", group)
            row.seek(row.truncate(0))
            writer.writerow(dict(zip(NAMES[example], values)))
            line = row.getvalue().removesuffix(end)
            file.write((line.rstrip(delimiter) if excel and at % 32 < 16 else line) + end)
            if excel and at % 1000 == 999:
                file.write(delimiter * (len(header) - 1) + end)
            expected[number] = (customer, email if "@" in email else None, " ".join(subject.split()) or "(no subject)", STATUS[example][status], PRIORITY[example][priority], group or None)
    return expected


def move(example, work):
    path, data = work / f"{example}.csv", work / f"{example}-data"
    expected = generate(example, path)
    arguments = ["import", str(path), "--map", str(root / "examples" / example / "map.toml"), "--table", "--keep-ids", "--data", str(data)]
    began = time.monotonic()
    checked = tickets(*arguments, "--dry-run")
    checked_in = time.monotonic() - began
    # Killed twice at arbitrary points, and restarted.
    for _ in range(2):
        process = subprocess.Popen([binary, *arguments], stderr=subprocess.DEVNULL)
        time.sleep(checked_in + max(0.3, checked_in / 2))
        process.kill()
        process.wait()
    began = time.monotonic()
    said = tickets(*arguments)
    took = time.monotonic() - began
    moved, there = (int(n) for n in re.search(r"moved in (\d+) records(?:, (\d+) were there)?", said.stderr).groups(default=0))
    assert moved + there == rows, said.stderr
    table = exported(data, work)
    assert set(table) == set(expected)
    for number, (customer, email, subject, status, priority, group) in expected.items():
        ticket = table[number]
        found = (ticket["customerID"], ticket.get("customerEmail"), ticket["subject"], ticket["status"], ticket.get("ticketPriority"), ticket.get("departments"))
        assert found == (customer, email, subject, status, priority, group), (number, ticket)
    again = tickets(*arguments)
    assert f"moved in 0 records, {rows} were there" in again.stderr, again.stderr
    encoding, delimiter, _ = WRITTEN[example]
    print(f"{example}: {rows} rows of {encoding} with {delimiter!r}: {len(table)} tickets, {there} of them there after two kills;")
    print(f"  checked in {checked_in:.1f} s, the last {moved} put, and all checked, in {took:.1f} s")
    for line in checked.stderr.splitlines():
        print("  ", line)


for example in ("zendesk", "freshdesk"):
    with tempfile.TemporaryDirectory() as directory:
        count = readme(example, pathlib.Path(directory))
        print(f"{example}: README's {count} tickets")
        move(example, pathlib.Path(directory))


def memory(path):
    """The most memory in bytes of a check of this file, which must be refused."""
    process = subprocess.Popen([binary, "import", str(path), "--dry-run"], stderr=subprocess.PIPE)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 3 and b"line " in said, said
    return usage.ru_maxrss * 1024


huge = 128 * 1024 * 1024
with tempfile.TemporaryDirectory() as directory:
    for name, begins, body in (
        ("line.ndjson.gz", b"", b"x"),
        ("array.json.gz", b'["', b"x"),
        ("quote.csv.gz", b'customerID,subject\n1,"', b"x"),
        ("lines.csv.gz", b'customerID,subject\n1,"', b"\n"),
        ("cells.csv.gz", b"customerID,subject\n1", b","),
        ("columns.csv.gz", b"customerID,subject", b","),
    ):
        path = pathlib.Path(directory) / name
        with gzip.open(path, "wb") as file:
            file.write(begins)
            for _ in range(huge // 2**20):
                file.write(body * 2**20)
            if name.startswith("array"):
                file.write(b'"]')
        peak = memory(path)
        print(f"{name}: {path.stat().st_size // 1024} KiB that unpack to {huge // 2**20} MiB: {peak // 2**20} MiB of memory")
        assert peak < huge
