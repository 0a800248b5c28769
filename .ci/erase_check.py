"""Runs `tickets erase` on exports in a bucket, killed and repeated, and two at once: no object holds the tickets, all other
lines remain, and manifests are correct. Then on a data directory: DuckDB reads from the export what the table has.

    erase_check.py TICKETS MOTO_SERVER COUNT KILLS    (with a Python that has boto3 and duckdb)
"""

import concurrent.futures
import gzip
import json
import os
import pathlib
import random
import shlex
import socket
import subprocess
import sys
import tempfile
import time

import boto3
import duckdb

tickets, moto_server, count, kills = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
ANY, BUCKET = "127.0.0.1:0", "exports"


class Server:
    """A running `tickets serve` or `tickets db`, with the lines that it printed."""

    def __init__(self, last, *arguments):
        command = [tickets, *arguments, "--listen", ANY]
        environment = os.environ | {"SETTLE_SECONDS": "4"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        self.lines = {}
        while last not in self.lines:
            word, rest = self.process.stdout.readline().split(maxsplit=1)
            self.lines[word] = rest.strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def until_exported(data, is_there):
    """Runs the export until `is_there` accepts its newest records."""
    bucket = pathlib.Path(data, "exports")
    with Server("exports", "serve", "--quiet", "--data", data, "--export-every", "1"):
        deadline = time.monotonic() + 60
        while not is_there({record["id"]: record for _, records in parts(bucket) for record in records}):
            assert time.monotonic() < deadline, "no export in a minute"
            time.sleep(0.3)
    return bucket


def parts(bucket):
    for path in sorted(bucket.glob("tickets/**/*.ndjson.gz")):
        with gzip.open(path, "rt") as lines:
            yield path, [json.loads(line) for line in lines]


def is_true(manifest, body_of):
    for named in manifest["objects"]:
        body = body_of(named["key"])
        lines = gzip.decompress(body).splitlines()
        assert (named["bytes"], named["records"]) == (len(body), len(lines)), named
    assert manifest["records"] == sum(named["records"] for named in manifest["objects"])


def erase(id, *arguments, environment=None, kill_after=None):
    process = subprocess.Popen([tickets, "erase", id, "--yes", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        output, errors = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    assert process.returncode == 0, errors
    return output


def in_a_bucket(work, bucket, id):
    port = (probe := socket.create_server(("127.0.0.1", 0))).getsockname()[1]
    probe.close()
    url = f"http://127.0.0.1:{port}"
    store = subprocess.Popen([moto_server, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        for _ in range(100):
            try:
                client.create_bucket(Bucket=BUCKET)
                break
            except Exception:
                time.sleep(0.2)
        keys = [path.relative_to(bucket).as_posix() for path in sorted(bucket.rglob("*")) if path.is_file()]
        folder = "before-restore/"
        for key in keys:
            for name in (key, folder + key):  # Also as after a restore, when objects are put aside
                client.put_object(Bucket=BUCKET, Key=name, Body=(bucket / key).read_bytes())

        def objects():
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
            for key in (listed["Key"] for page in pages for listed in page["Contents"]):
                yield key, client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

        def lines(body):
            return [json.loads(line) for line in gzip.decompress(body).splitlines()]

        before = {key: lines(body) for key, body in objects() if key.endswith(".gz")}
        holders = sum(any(r["id"] == id for r in records) for records in before.values())
        assert holders >= 2, "an object, and one put aside"
        with Server("use", "db", "--data", f"{work}/data") as database:
            environment = os.environ | dict(pair.split("=", 1) for pair in shlex.split(database.lines["use"])[1:])
            environment["AWS_ENDPOINT_URL_S3"] = url
            arguments = ["--export-bucket", BUCKET]
            killed, output = 0, None
            while killed < kills and output is None:
                output = erase(id, *arguments, environment=environment, kill_after=random.uniform(0.02, 0.6))
                killed += output is None
            output = output or erase(id, *arguments, environment=environment)
            again = erase(id, *arguments, environment=environment)
            assert "rewrote 0 of" in again and "corrected 0 manifests" in again, again
            # Both read the same object, and each must leave what the other has removed.
            others = [str(int(id) + 1), str(int(id) + 2)]
            with concurrent.futures.ThreadPoolExecutor() as pool:
                list(pool.map(lambda other: erase(other, *arguments, environment=environment), others))
        current = dict(objects())
        for key, records in before.items():
            assert lines(current[key]) == [record for record in records if record["id"] not in (id, *others)], key
        for key, body in current.items():
            if key.endswith(".json"):
                start = folder if key.startswith(folder) else ""
                is_true(json.loads(body), lambda name: current[start + name])
        print(f"{holders} objects held it; killed {killed} times: none does, and {len(current)} objects are true")
    finally:
        store.terminate()
        store.wait()


def in_a_directory(work, data, bucket, id):
    erase(id, "--data", data)
    assert not any(r["id"] == id and "deletedDate" not in r for _, records in parts(bucket) for r in records)
    for path in bucket.glob("manifests/**/*.json"):
        is_true(json.loads(path.read_text()), lambda key: (bucket / key).read_bytes())
    until_exported(data, lambda found: "deletedDate" in found.get(id, {}))
    table = f"{work}/table.ndjson"
    subprocess.run([tickets, "export", "--table", "--data", data, "--include-deleted", "--quiet", "-o", table], check=True)
    read = "SELECT * FROM read_json('{}', union_by_name = true)"
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE wanted AS {read.format(table)}")
    # The query of docs/export.md.
    connection.execute(
        f"""CREATE TABLE stored AS {read.format(f"{bucket}/tickets/**/*.ndjson.gz")}
        QUALIFY row_number() OVER (PARTITION BY id ORDER BY "updatedDate" DESC) = 1"""
    )
    columns = [name for name, *_ in connection.execute("DESCRIBE wanted").fetchall()]
    names = ", ".join(f'"{name}"::VARCHAR' for name in columns)
    differ = connection.execute(
        f"SELECT count(*) FROM ((SELECT {names} FROM wanted EXCEPT SELECT {names} FROM stored) UNION ALL (SELECT {names} FROM stored EXCEPT SELECT {names} FROM wanted))"
    ).fetchone()[0]
    total = connection.execute("SELECT count(*) FROM wanted").fetchone()[0]
    assert (differ, total) == (0, count), (differ, total)
    print(f"erased in a directory: DuckDB reads {total} tickets as the table has them")


with tempfile.TemporaryDirectory() as work:
    data = f"{work}/data"
    subprocess.run([tickets, "seed", str(count), "--data", data, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    time.sleep(5)  # Until the last tickets have settled
    bucket = until_exported(data, lambda found: len(found) == count)
    in_a_bucket(work, bucket, str(count // 2))
    in_a_directory(work, data, bucket, str(count // 3))
