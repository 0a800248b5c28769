"""Runs each program of docs/recipes.md as it stands there, in an empty directory, against a local server.

    recipes_check.py TICKETS DIRECTORY NODE_MODULES

Also draws each diagram of the documents with Mermaid, as GitHub does.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

from playwright.sync_api import expect, sync_playwright

program, directory, modules = (pathlib.Path(argument).absolute() for argument in sys.argv[1:])
root = pathlib.Path(__file__).parent.parent
text = (root / "docs/recipes.md").read_text()
directory.mkdir()
os.chdir(directory)
pathlib.Path("node_modules").symlink_to(modules)

# A block whose paragraph ends in "`NAME`:" is the file NAME; the others are commands.
files = dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", text, re.S))
for name, content in files.items():
    pathlib.Path(name).write_text(content)
address, serving, exporting = (block.replace("cargo run --", str(program)).replace("cargo run", str(program))
                               for block in re.findall(r"```sh\n(.*?)```", text, re.S))
[crontab] = re.findall(r"```crontab\n(.*?)```", text, re.S)
checked = {"tickets.py", "upsert.py", "tickets.mjs", "page.html", "with_pandas.py", "with_polars.py", "with_duckdb.py"}
assert set(files) == checked and text.count("```") == 2 * (len(files) + 4), sorted(files)

servers = [subprocess.Popen(["sh", "-c", f"exec env {line}"], start_new_session=True) for line in serving.splitlines()]


def run(command, key=None):
    """Runs a command with the documented address and key, or with another key, and returns what it prints."""
    other = f"export TICKETS_KEY={key}\n" if key else ""
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", address + other + command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def make_key(*options):
    make = [program, "keys", "create", "--scopes", "read,write", "--data", ".tickets", *options]
    return subprocess.run(make, capture_output=True, text=True, check=True).stdout.strip()


def open_page(page, key):
    page.goto("http://127.0.0.1:8080/page.html")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button").click()
    return page.get_by_role("status")


try:
    for url in ("http://127.0.0.1:3000/backend/api/v1/openapi.json", "http://127.0.0.1:8080/page.html"):
        for _ in range(100):
            try:
                urllib.request.urlopen(url)
                break
            except OSError:
                time.sleep(0.1)
    subprocess.run([program, "seed", "200", "--quiet"], check=True, stdout=subprocess.DEVNULL)

    # With the second key, which may send one request a second, nothing works that does not wait.
    slow = make_key("--limit", "1/s", "--note", "slow")
    first, opened = map(int, run("python tickets.py").split()[1:4:2])
    assert run("python tickets.py") == f"made {first} of {opened}\n", "a repeated create makes no second ticket"
    assert run("python tickets.py", slow) == f"made {first + 1} of {opened + 1}\n", "but it does for another key"
    assert run("python upsert.py") == f"saved resolved {first + 2}\n"
    assert run("node tickets.mjs") == f"made {first + 3} of {opened + 2}\n"
    assert run("node tickets.mjs", slow) == f"made {first + 4} of {opened + 3}\n"
    run(exporting)
    assert len(pathlib.Path("tickets.ndjson").read_text().splitlines()) == first + 4
    for library in ("pandas", "polars", "duckdb"):
        output = run(f"python with_{library}.py")
        assert output.startswith(f"{first + 4} tickets\n") and "resolved" in output, output

    # The crontab, as cron runs it.
    home = directory / "home"
    (home / "tickets").mkdir(parents=True)
    shutil.copy(root / "examples/sync.py", home / "tickets")
    shutil.copy(".tickets/dev-key", home / "tickets/key")
    *variables, job = crontab.strip().splitlines()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]} | dict(line.split("=", 1) for line in variables)
    subprocess.run(["sh", "-c", job.split(None, 5)[5]], env=environment, check=True)
    assert (home / "tickets/copy.db").exists()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        expected = f"{opened + 3} open tickets"
        expect(open_page(page, pathlib.Path(".tickets/dev-key").read_text().strip())).to_have_text(expected, timeout=30000)
        expect(open_page(page, slow)).to_have_text(expected, timeout=30000)
        expect(open_page(page, "tk_unknown_0")).to_contain_text("key")

        diagrams = 0
        page.set_content("<div></div>")
        page.add_script_tag(path=modules / "mermaid/dist/mermaid.min.js")
        for document in [*root.glob("*.md"), *root.glob("docs/**/*.md")]:
            for diagram in re.findall(r"```mermaid\n(.*?)```", document.read_text(), re.S):
                diagrams += 1
                page.evaluate("([name, text]) => mermaid.render(name, text)", [f"diagram{diagrams}", diagram])
        assert diagrams >= 5, diagrams
        browser.close()
finally:
    for server in servers:
        os.killpg(server.pid, signal.SIGTERM)
print(f"{len(files)} programs, the crontab and {diagrams} diagrams work")
