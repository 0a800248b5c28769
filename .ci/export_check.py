"""Runs the export's binary as Lambda does, over a table of sample tickets: once undisturbed, and once killed at random
moments and restarted. Reads the exported files with DuckDB and compares it with the table.

    export_check.py TICKETS EXPORT_TICKETS COUNT KILLS    (with a Python that has duckdb)
"""

import http.server
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import duckdb

tickets, binary, count, kills = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
ANY, LAMBDA_SECONDS = "127.0.0.1:0", 290


class Runtime(http.server.ThreadingHTTPServer):
    """Lambda's runtime API, for one invocation at a time."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.waiting, self.answered, self.answer = threading.Event(), threading.Event(), None
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.server.waiting.is_set():  # There is no second invocation
            time.sleep(3600)
        self.server.waiting.set()
        self.send_response(200)
        deadline = int(time.time() * 1000) + LAMBDA_SECONDS * 1000
        for name, value in (
            ("Lambda-Runtime-Aws-Request-Id", "request"),
            ("Lambda-Runtime-Deadline-Ms", str(deadline)),
            ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:export-tickets"),
            ("Content-Length", "2"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if not self.path.endswith("/response"):
            body = f"failed: {body}"
        self.server.answer = body
        self.server.answered.set()

    def log_message(self, *_):
        pass


class Database:
    """A running `tickets db` on a directory."""

    def __init__(self, directory):
        self.directory = directory
        command = [tickets, "db", "--data", directory, "--listen", ANY]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines = {}
        while "use" not in lines:
            word, rest = self.process.stdout.readline().split(maxsplit=1)
            lines[word] = rest.strip()
        self.exports = lines["exports"]
        # `export NAME=VALUE ...`: the endpoint, the access key, and the directory of exports.
        self.environment = dict(pair.split("=", 1) for pair in shlex.split(lines["use"])[1:])

    def close(self):
        self.process.terminate()
        self.process.wait()


def run(database, kill_after=None):
    """Runs one invocation. Returns its answer (None if killed), its seconds, and its peak memory in MB."""
    runtime = Runtime()
    environment = {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runtime.server_port}",
        "AWS_LAMBDA_FUNCTION_NAME": "export-tickets",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        **database.environment,
        "SETTLE_SECONDS": "4",
    }
    began = time.monotonic()
    process = subprocess.Popen([binary], env=environment, stdout=subprocess.DEVNULL)
    answered = runtime.answered.wait(kill_after or LAMBDA_SECONDS)
    seconds = time.monotonic() - began
    with open(f"/proc/{process.pid}/status") as status:
        peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    process.kill()
    process.wait()
    runtime.shutdown()
    assert answered or kill_after, "the run did not end in time"
    return (runtime.answer if answered else None), seconds, peak


def compare(database, work):
    """Checks that the newest record of each exported ticket is the table's. Returns the number of tickets."""
    table = os.path.join(work, "table.ndjson")
    export = [tickets, "export", "--table", "--data", database.directory, "--include-deleted", "--quiet", "-o", table]
    subprocess.run(export, check=True)
    connection = duckdb.connect()
    connection.execute("SET preserve_insertion_order = false")
    texts = "json_extract_string(json, '$.id') AS id, json_extract_string(json, '$.updatedDate') AS updated, json"
    read = "read_ndjson_objects('{}', maximum_object_size = 16777216)"
    connection.execute(f"CREATE TABLE wanted AS SELECT {texts} FROM {read.format(table)}")
    objects = f"{database.exports}/tickets/**/*.ndjson.gz"
    connection.execute(
        f"""CREATE TABLE stored AS SELECT {texts} FROM {read.format(objects)}
        QUALIFY row_number() OVER (PARTITION BY id ORDER BY updated DESC) = 1"""
    )
    differ = connection.execute(
        "SELECT count(*) FROM wanted FULL JOIN stored USING (id) WHERE wanted.json::VARCHAR IS DISTINCT FROM stored.json::VARCHAR"
    ).fetchone()[0]
    wanted = connection.execute("SELECT count(*) FROM wanted").fetchone()[0]
    assert differ == 0, f"{differ} of {wanted} tickets differ"
    os.remove(table)
    return wanted


def objects(database):
    found = [file for _, _, files in os.walk(f"{database.exports}/tickets") for file in files]
    return sum(file.endswith(".gz") for file in found)  # Not what a killed run has left half-written


with tempfile.TemporaryDirectory() as work:
    first, second = os.path.join(work, "first"), os.path.join(work, "second")
    subprocess.run([tickets, "seed", str(count), "--data", first, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    time.sleep(5)  # Until the last tickets have settled
    shutil.copytree(first, second)

    database = Database(first)
    seconds, peak, runs = 0.0, 0.0, 0
    answer = ""
    while '"complete":true' not in answer:
        answer, took, memory = run(database)
        assert answer.startswith("{"), answer
        seconds, peak, runs = seconds + took, max(peak, memory), runs + 1
    equal = compare(database, work)
    assert equal == count
    print(f"{equal} tickets in {objects(database)} objects, in {seconds:.1f} s of {runs} runs and {peak:.0f} MB: equal")
    database.close()
    shutil.rmtree(first)

    database = Database(second)
    killed, answer = 0, None
    while killed < kills:
        answer, _, memory = run(database, kill_after=random.uniform(0.01, 1.5 * seconds / kills))
        killed += answer is None
        peak = max(peak, memory)
        if answer and '"complete":true' in answer:
            break
    while not (answer and '"complete":true' in answer):
        answer, _, memory = run(database)
        assert answer.startswith("{"), answer
        peak = max(peak, memory)
    equal = compare(database, work)
    assert equal == count
    print(f"killed {killed} times: {equal} tickets in {objects(database)} objects, at most {peak:.0f} MB: equal")
    database.close()
