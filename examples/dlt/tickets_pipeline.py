#!/usr/bin/env python3
"""Keeps a copy of the tickets in a DuckDB file with dlt: one pass each time it runs.

    tickets_pipeline.py BASE_URL COPY.duckdb < KEY_FILE

Follows docs/sync.md, "Connectors that read no headers": dlt stores the greatest updatedDate it has seen in the file,
together with the tickets, and asks for updatedSince= that date. If Sync-Epoch differs from that of the run before, the
table was restored from an earlier state, and the copy starts over.
"""

import sys
import tempfile

import dlt
import duckdb
from dlt.sources.helpers import requests
from dlt.sources.rest_api import rest_api_source

# The dates among them are dates or times, as given. A column of either type would convert the other.
TEXTS = [
    "ticketType",
    "status",
    "ticketPriority",
    "customerEmail",
    "subject",
    "ticketContent",
    "owner",
    "users",
    "departments",
    "ticketSuppliers",
    "ticketFollowupDate",
    "ticketActionRequired",
]

# Declared, because dlt takes the type from the first value it sees, and a subject may look like a time.
COLUMNS = {name: {"data_type": "text"} for name in ["id", *TEXTS]} | {
    "customerID": {"data_type": "bigint"},
    "createdDate": {"data_type": "timestamp"},
    "updatedDate": {"data_type": "timestamp"},
    # A row with this date is removed. Kept, it would be a ticket of NULLs that every query must leave out.
    # And the API shows deletions only for a limited time, so a copy made later would not have it.
    "deletedDate": {"data_type": "timestamp", "hard_delete": True},
}


def gone(record):
    """Marks a moved ticket as deleted: a key for one customer no longer sees a ticket that moved to another."""
    if "movedDate" in record:
        record["deletedDate"] = record.pop("movedDate")
    return record


def tickets(base, key):
    endpoint = {
        "path": "tickets/",
        # Without `settled`, the greatest date seen may be later than a change not seen yet, which is then
        # lost.
        "params": {"includeDeleted": "true", "settled": "true", "limit": 1000},
        # Both include the date itself. dlt drops repeated records by id, which is right: a ticket with the
        # same updatedDate is unchanged.
        "incremental": {"cursor_path": "updatedDate", "start_param": "updatedSince"},
        # Resolves the link against the list's URL, and adds none of the parameters above.
        "paginator": "header_link",
        "data_selector": "$",
    }
    resource = {
        "name": "tickets",
        "endpoint": endpoint,
        "processing_steps": [{"map": gone}],
        # Never replaces a newer row by an older one: a pass has each ticket once, and no record is older than
        # the newest one of the pass before.
        "write_disposition": "merge",
        "primary_key": "id",
        "columns": COLUMNS,
    }
    client = {"base_url": base, "auth": {"type": "bearer", "token": key}}
    return rest_api_source({"client": client, "resources": [resource]}, name="tickets_api")


def sync_epoch(base, key):
    # It waits and repeats as dlt's source does, and sends the key to no other host.
    response = requests.get(f"{base}/tickets/?limit=1", headers={"Authorization": f"Bearer {key}"}, timeout=60)
    return response.headers["Sync-Epoch"]


def load(base, key, copy):
    """Runs one pass. Returns how many records were new or newer."""
    # The file stays open, and so locked, during the pass: two passes at once could overtake each other. dlt's
    # working directory is deleted after the pass, so its state is in the file alone. A pass that dies is
    # repeated, and a file restored from a backup continues where it was.
    with duckdb.connect(copy) as database, tempfile.TemporaryDirectory() as work:
        pipeline = dlt.pipeline(
            "tickets", pipelines_dir=work, destination=dlt.destinations.duckdb(database), dataset_name="tickets_api"
        )
        database.execute("CREATE TABLE IF NOT EXISTS sync_epoch (epoch TEXT)")
        epoch, known = sync_epoch(base, key), database.execute("SELECT epoch FROM sync_epoch").fetchone()
        # `drop_sources` also forgets the greatest date. The epoch is stored last, so a pass that dies is
        # repeated.
        pipeline.run(tickets(base, key), refresh="drop_sources" if known and known[0] != epoch else None)
        database.execute("DELETE FROM sync_epoch")
        database.execute("INSERT INTO sync_epoch VALUES (?)", [epoch])
        return pipeline.last_trace.last_normalize_info.row_counts.get("tickets", 0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(load(sys.argv[1], sys.stdin.read().strip(), sys.argv[2]), "records new or newer")
