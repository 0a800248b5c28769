#!/usr/bin/env python3
"""Keeps a copy of the tickets in a DuckDB file with dlt: one pass each time it runs.

    tickets_pipeline.py BASE_URL COPY.duckdb < KEY_FILE

Follows docs/sync.md, "Connectors that read no headers": dlt remembers the greatest updatedDate it
saw, in the file and together with the tickets, and asks for updatedSince= that. Where Sync-Epoch is another one
than in the run before, the table was restored from an earlier state, and the copy starts over.
"""

import sys
import tempfile
import urllib.request

import dlt
import duckdb
from dlt.sources.rest_api import rest_api_source

TEXTS = (
    "id ticketType status ticketPriority customerEmail subject ticketContent owner users departments ticketSuppliers"
    # Each of these is a date or a time, as it was given: a column of either type would make one of the other.
    " ticketFollowupDate ticketActionRequired"
).split()

# Declared, as dlt would take the type from the first value it sees, and a subject may look like a time.
COLUMNS = {name: {"data_type": "text"} for name in TEXTS} | {
    "customerID": {"data_type": "bigint"},
    "createdDate": {"data_type": "timestamp"},
    "updatedDate": {"data_type": "timestamp"},
    # Whose row has this date is removed. Kept, it would be a ticket of NULLs that every query has to leave out;
    # and as the API shows deletions for a limited time, a copy made later would not have it.
    "deletedDate": {"data_type": "timestamp", "hard_delete": True},
}


def gone(record):
    """To a key for one customer, a ticket that has moved to another is gone like a deleted one."""
    if "movedDate" in record:
        record["deletedDate"] = record.pop("movedDate")
    return record


def tickets(base, key):
    endpoint = {
        "path": "tickets/",
        # Without `settled` the greatest date seen may lie beyond a change that was not, which is then lost.
        "params": {"includeDeleted": "true", "settled": "true", "limit": 1000},
        # Both count the date itself in. Of what comes again dlt drops what it has by id, and rightly:
        # the same ticket with the same updatedDate is unchanged.
        "incremental": {"cursor_path": "updatedDate", "start_param": "updatedSince"},
        # Resolves the link against the list's URL, and adds none of the parameters above to it.
        "paginator": "header_link",
        "data_selector": "$",
    }
    resource = {
        "name": "tickets",
        "endpoint": endpoint,
        "processing_steps": [{"map": gone}],
        # Never replaces a newer row by an older one: a pass has a ticket once, and nothing that is older
        # than the newest of the pass before.
        "write_disposition": "merge",
        "primary_key": "id",
        "columns": COLUMNS,
    }
    client = {"base_url": base, "auth": {"type": "bearer", "token": key}}
    return rest_api_source({"client": client, "resources": [resource]}, name="tickets_api")


def sync_epoch(base, key):
    request = urllib.request.Request(f"{base}/tickets/?limit=1", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.headers["Sync-Epoch"]


def load(base, key, copy):
    """One pass. Returns how many records were new or newer."""
    # The file is open, and so locked, from first to last: two passes at once could overtake each other.
    # dlt's working directory does not outlive the pass, so what dlt remembers is in the file alone: a pass
    # that dies is repeated, and a file restored from a backup goes on where it was.
    with duckdb.connect(copy) as database, tempfile.TemporaryDirectory() as work:
        pipeline = dlt.pipeline(
            "tickets", pipelines_dir=work, destination=dlt.destinations.duckdb(database), dataset_name="tickets_api"
        )
        database.execute("CREATE TABLE IF NOT EXISTS sync_epoch (epoch TEXT)")
        epoch, known = sync_epoch(base, key), database.execute("SELECT epoch FROM sync_epoch").fetchone()
        # `drop_sources` also forgets the greatest date. The epoch is noted last: a pass that dies is repeated.
        pipeline.run(tickets(base, key), refresh="drop_sources" if known and known[0] != epoch else None)
        database.execute("DELETE FROM sync_epoch")
        database.execute("INSERT INTO sync_epoch VALUES (?)", [epoch])
        return pipeline.last_trace.last_normalize_info.row_counts.get("tickets", 0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(load(sys.argv[1], sys.stdin.read().strip(), sys.argv[2]), "records new or newer")
