"""Tests `tickets delete` on a terminal: it asks, and deletes only the version that it has shown.

    terminal_check.py TICKETS
"""

import os
import pty
import subprocess
import sys

tickets = sys.argv[1]
serve = [tickets, "serve", "--quiet", "--in-memory", "--listen", "127.0.0.1:0"]
server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
lines = dict(next(server.stdout).split(maxsplit=1) for _ in range(2))
environment = os.environ | {"TICKETS_API": lines["API"].strip().removesuffix("/tickets/"), "TICKETS_KEY": lines["key"].strip()}


def run(*arguments):
    return subprocess.run([tickets, *arguments], env=environment, check=True, capture_output=True, text=True).stdout


def delete(id, answer, meanwhile=lambda: None):
    """The command's exit code, and what the terminal shows."""
    ours, its = pty.openpty()
    process = subprocess.Popen([tickets, "delete", id], stdin=its, stdout=its, stderr=its, env=environment)
    os.close(its)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 1000)
    meanwhile()
    os.write(ours, answer)
    try:
        while more := os.read(ours, 1000):
            shown += more
    except OSError:  # the command closed its end
        pass
    return process.wait(), shown.decode()


try:
    run("create", "--customer", "42", "--subject", "Invoice \u202e is wrong")
    code, shown = delete("1", b"n\n")
    assert code == 0 and "customer 42" in shown and "Invoice <U+202E> is wrong" in shown and "stays" in shown, shown
    code, shown = delete("1", b"y\n", lambda: run("update", "1", "--owner", "ada"))
    assert code == 1 and "412" in shown and "ada" in run("list"), shown
    code, shown = delete("1", b"yes\n")
    assert code == 0 and "deleted ticket 1" in shown and "Invoice" not in run("list"), shown
finally:
    server.kill()
    server.wait()
print("tickets delete asks on a terminal, and deletes what it has shown")
