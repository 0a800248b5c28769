"""Two rules that OpenAPI has no words for. Requests that break them are the contract tests' matter."""

import re
import uuid

import schemathesis


@schemathesis.hook
def map_case(context, case):
    # Between parameters: a settled list after an id needs the horizon of its first page.
    query = case.query or {}
    if "settled" in query and "idAfter" in query and "updatedUntil" not in query:
        query["updatedUntil"] = "2026-11-23T17:45:00Z"
    # Between requests: a key is for one request.
    headers = case.headers or {}
    if re.fullmatch("[!-~]([ -~]{0,200}[!-~])?", str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] += uuid.uuid4().hex
    return case
