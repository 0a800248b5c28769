"""Tests commands on a terminal: `tickets delete` asks, and deletes only the version that it has shown; lists fit, whatever the
terminal's width.

    terminal_check.py TICKETS
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import unicodedata

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


def on_terminal(columns, *arguments, **variables):
    """What a command shows on a terminal that is so wide."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([tickets, *arguments], stdin=its, stdout=its, stderr=its, env=environment | {"TERM": "xterm"} | variables)
    os.close(its)
    text = b""
    try:
        while more := os.read(ours, 1000):
            text += more
    except OSError:
        pass
    assert process.wait() == 0, text
    return text.decode().replace("\r", "")


def width(line):
    """How many columns a line takes."""
    line = re.sub(r"\x1b\[[0-9;]*m", "", line)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in line)


def lists_fit():
    """At every width each ticket is one line, and the columns that had no room are named."""
    for columns, left_out in ((60, "TYPE, CUSTOMER, UPDATED (UTC)"), (80, "TYPE, CUSTOMER"), (200, None)):
        text = on_terminal(columns, "list", "--limit", "20")
        *lines, more = text.splitlines()
        if left_out:
            assert lines.pop() == f"no room for {left_out}", text
        assert len(lines) == 21 and max(map(width, lines)) <= columns, text
        assert (columns == 200) == ("…" not in text), text
        assert more == "20 shown; more: tickets list --limit 20 --id-after 21", text
        assert "\x1b[32mopen\x1b[0m" in text, text
    for columns in (60, 80):
        text = on_terminal(columns, "history", "3")
        assert "customerID" in text and max(map(width, text.splitlines())) <= columns, text
    for plain in (on_terminal(80, "list", NO_COLOR="1"), on_terminal(80, "list", "--color", "never")):
        assert "\x1b" not in plain, plain


try:
    run("create", "--customer", "42", "--subject", "Invoice \u202e is wrong")
    code, shown = delete("1", b"n\n")
    assert code == 0 and "customer 42" in shown and "Invoice <U+202E> is wrong" in shown and "stays" in shown, shown
    code, shown = delete("1", b"y\n", lambda: run("update", "1", "--owner", "ada"))
    assert code == 1 and "412" in shown and "ada" in run("list"), shown
    code, shown = delete("1", b"yes\n")
    assert code == 0 and "deleted ticket 1" in shown and "Invoice" not in run("list"), shown
    for number in range(25):
        subject = "Invoice 2026-118 is wrong, and nobody has answered since Monday. 請求書が間違っています。" * (1 + number % 2)
        run("create", "--customer", "42", "--subject", subject[:110], "--type", "billing", "--owner", "margaret")
    lists_fit()
finally:
    server.kill()
    server.wait()
print("tickets delete asks on a terminal, and deletes what it has shown; lists fit 60, 80 and 200 columns")
