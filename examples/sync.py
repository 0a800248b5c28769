#!/usr/bin/env python3
"""Keeps a copy of the tickets in a SQLite file: runs one pass.

    sync.py BASE_URL COPY.db < KEY_FILE

Follows docs/sync.md: ask for what changed since the Sync-Until of the last pass, follow the links, apply what is newer,
and store the new Sync-Until together with the last page. If Sync-Epoch has changed, the table was restored from an
earlier state: start over.
"""

import json
import re
import sqlite3
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ATTEMPTS = 5
LONGEST_WAIT = 3600  # seconds: the longest window of a key's limit


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: `urllib` would send the key to wherever it points."""

    def redirect_request(self, *_):
        return None


api = urllib.request.build_opener(NoRedirects)


def retry_after(error, attempt):
    """Seconds to wait before the next attempt: as many as the API asks for."""
    asked = error.headers.get("Retry-After", "")
    return max(int(asked) if asked.isdecimal() else 0, 2**attempt)


def get(url, key):
    """Gets one page: its tickets, Sync-Until and Sync-Epoch, and the URL of the next page or None."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with api.open(request, timeout=60) as response:
                link = re.match(r'<([^>]+)>; rel="next"', response.headers.get("Link", ""))
                following = urllib.parse.urljoin(url, link[1]) if link else None
                return json.load(response), response.headers["Sync-Until"], response.headers["Sync-Epoch"], following
        except urllib.error.HTTPError as error:
            wait = retry_after(error, attempt)
            if error.code not in (429, 500, 502, 503, 504) or attempt == ATTEMPTS or wait > LONGEST_WAIT:
                raise
            time.sleep(wait)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            if attempt == ATTEMPTS:
                raise
            time.sleep(2**attempt)


def sync(base, key, copy):
    """Runs one pass. Returns how many records were new or newer."""
    copy.execute("CREATE TABLE IF NOT EXISTS tickets (id INTEGER PRIMARY KEY, updated TEXT, ticket TEXT)")
    copy.execute("CREATE TABLE IF NOT EXISTS state (only INTEGER PRIMARY KEY CHECK (only = 1), since TEXT, epoch TEXT)")
    since, epoch = copy.execute("SELECT since, epoch FROM state").fetchone() or (None, None)
    query = {"includeDeleted": "true"} | ({"updatedSince": since} if since else {})
    url = f"{base.rstrip('/')}/tickets/?{urllib.parse.urlencode(query)}"
    first_until, applied = None, 0
    while url:
        tickets, until, page_epoch, url = get(url, key)
        epoch = epoch or page_epoch
        if page_epoch != epoch:
            copy.execute("DELETE FROM tickets")
            copy.execute("DELETE FROM state")
            return sync(base, key, copy)
        first_until = first_until or until
        for ticket in tickets:
            # Times are RFC 3339 in UTC with milliseconds, so they can be compared as text.
            cursor = copy.execute(
                "INSERT INTO tickets VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE"
                " SET updated = excluded.updated, ticket = excluded.ticket WHERE excluded.updated > updated",
                (int(ticket["id"]), ticket["updatedDate"], json.dumps(ticket)),
            )
            applied += cursor.rowcount
    copy.execute("INSERT OR REPLACE INTO state VALUES (1, ?, ?)", (first_until, epoch))
    copy.commit()  # tickets and Sync-Until together, so a pass that dies is repeated
    return applied


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with sqlite3.connect(sys.argv[2]) as database:
        print(sync(sys.argv[1], sys.stdin.read().strip(), database), "records new or newer")
