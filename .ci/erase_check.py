"""Runs `tickets erase` on exports in a versioned bucket, undisturbed and killed: no version holds the ticket, all
other lines remain, and manifests are correct. Then on a data directory: DuckDB reads from the export what the table has.

    erase_check.py TICKETS MOTO_SERVER COUNT KILLS    (with a Python that has boto3 and duckdb)
"""

import gzip
import json
import os
import pathlib
import random
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
    bucket = pathlib.Path(data, "s3/tickets-export")
    with Server("s3", "serve", "--quiet", "--data", data, "--export-every", "1"):
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
        for status in (None, "Enabled"):  # Two versions of each object, as when a killed and continued run stores a range again
            if status:
                client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": status})
            for key in keys:
                # Objects put aside have only the version from before versioning.
                for name in (key,) if status else (key, folder + key):
                    client.put_object(Bucket=BUCKET, Key=name, Body=(bucket / key).read_bytes())

        def versions():
            pages = client.get_paginator("list_object_versions").paginate(Bucket=BUCKET)
            for version in (version for page in pages for version in page.get("Versions", [])):
                body = client.get_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])["Body"].read()
                yield version, body

        def lines(body):
            return [json.loads(line) for line in gzip.decompress(body).splitlines()]

        before = {v["Key"]: lines(body) for v, body in versions() if v["IsLatest"] and v["Key"].endswith(".gz")}
        holders = sum(any(r["id"] == id for r in lines(body)) for v, body in versions() if v["Key"].endswith(".gz"))
        assert holders >= 3, "an object in two versions, and one put aside"
        with Server("use", "db", "--data", f"{work}/data", "--listen-s3", ANY) as database:
            environment = os.environ | dict(pair.split("=", 1) for pair in database.lines["use"].split()[1:])
            environment["AWS_ENDPOINT_URL_S3"] = url
            arguments = ["--export-bucket", BUCKET]
            killed, output = 0, None
            while killed < kills and output is None:
                output = erase(id, *arguments, environment=environment, kill_after=random.uniform(0.02, 0.6))
                killed += output is None
            output = output or erase(id, *arguments, environment=environment)
            again = erase(id, *arguments, environment=environment)
            assert "0 are rewritten; 0 earlier versions are removed, 0 manifests corrected" in again, again
        current = {}
        for version, body in versions():
            if version["Key"].endswith(".gz"):
                records = lines(body)
                assert not any(r["id"] == id and "deletedDate" not in r for r in records), version
            if version["IsLatest"]:
                current[version["Key"]] = body
        for key, records in before.items():
            assert lines(current[key]) == [record for record in records if record["id"] != id], key
        for key, body in current.items():
            if key.endswith(".json"):
                start = folder if key.startswith(folder) else ""
                is_true(json.loads(body), lambda name: current[start + name])
        print(f"{holders} versions of objects held it; killed {killed} times: none does, and {len(current)} objects are true")
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
