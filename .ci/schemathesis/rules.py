"""Rules that OpenAPI cannot express. The contract tests send the requests that break them."""

import json
import pathlib
import re
import uuid

import schemathesis

HIGHEST_ID = 2**53 - 1
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
DATES = ["createdDate", "updatedDate"]
# Parameters that a list answers alone. Any other filter needs `updatedSince` or another one of them beside it.
ALONE = {
    "id", "idAfter", "createdSince", "updatedSince", "updatedUntil", "limit", "includeDeleted", "settled", "open", "status",
    "continuation",
}
DESCRIPTION = json.loads((pathlib.Path(__file__).parents[2] / "openapi.json").read_text())


def parameters(path):
    """The query parameters of a path's GET, by name."""
    operation = DESCRIPTION["paths"].get(path, {}).get("get", {})
    return {one["name"]: one["schema"] for one in operation.get("parameters", []) if one["in"] == "query"}


def is_time(schema):
    """Whether a schema is that of a date or time: its pattern knows months but not how long each is."""
    return "(0[1-9]|1[0-2])" in schema.get("pattern", "")


# The names of parameters and fields with a date or time.
TIMES = {name for path in DESCRIPTION["paths"] for name, schema in parameters(path).items() if is_time(schema)}
TIMES |= {name for name, schema in DESCRIPTION["components"]["schemas"]["TicketUpdate"]["properties"].items() if is_time(schema)}


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta and case.meta.generation.mode.is_positive:
        make_valid(case.path, case.path_parameters or {}, case.query or {}, case.headers or {}, case.body)
        return
    for name in ["idAfter", "versionAfter"]:
        if re.fullmatch("-?[0-9]+", str((case.query or {}).get(name))):
            # The API also reads integers of more than 64 bits, though the type promises none.
            case.query[name] = "many"
    # The dates in an update are ignored, whatever they are.
    for name in DATES:
        if case.method in ["PUT", "PATCH"] and isinstance(case.body, dict) and name in case.body:
            del case.body[name]
            case.body["id"] = 0
    # New tickets and batches of them are each described at one form of the path, but accepted at both.
    if case.method == "POST" and (case.path, type(case.body)) in [("/tickets/", list), ("/tickets", dict)]:
        case.body = "neither"


def make_valid(template, path, query, headers, body):
    body = body if isinstance(body, dict) else {}
    # Rules between parameters: a settled list after an id needs the horizon of its first page.
    if "settled" in query and "idAfter" in query and "updatedUntil" not in query:
        query["updatedUntil"] = "2026-11-23T17:45:00Z"
    # A filter that no index can answer alone needs another one.
    if "updatedSince" in parameters(template) and query.keys() - ALONE:
        query["updatedSince"] = "2026-11-01"
    # An empty list of tags does not match the pattern, but the generator makes it.
    for name in ["If-Match", "If-None-Match"]:
        if name in headers and not headers[name]:
            del headers[name]
    # Rules between requests: a key is for one request.
    if "Idempotency-Key" in headers:
        headers["Idempotency-Key"] = headers["Idempotency-Key"][:200].rstrip() + uuid.uuid4().hex
    # Numbers as text: a pattern has no maximum.
    if str(path.get("id")).isdigit() and int(path["id"]) > HIGHEST_ID:
        path["id"] = str(HIGHEST_ID)
    # What an address is, and that a text has no control characters and can be seen.
    for name, value in body.items():
        if isinstance(value, str) and name not in TIMES:
            body[name] = CONTROL.sub("-", value)
    if isinstance(query.get("owner"), list):
        query["owner"] = [CONTROL.sub("-", str(owner)) for owner in query["owner"]]
    if isinstance(body.get("customerEmail"), str):
        body["customerEmail"] = "ada@example.com"
    if isinstance(body.get("subject"), str):
        body["subject"] = "a" + body["subject"][1:]
    if isinstance(query.get("after"), str):
        query["after"] = "019ab697e8000000000000002b" + query["after"][26:]  # A time that there is, and a ticket
    if "id" in query:
        query["id"] = ",".join(str(min(int(id), HIGHEST_ID)) for id in query["id"].split(","))
    # The calendar: months differ in length, and an offset must not leave the years of four digits.
    for values in query, body:
        for name in TIMES:
            if isinstance(values.get(name), str):
                values[name] = re.sub("^(?:1000|9999)", "2000", values[name])
                values[name] = re.sub("^(.{8})(?:29|3.)", r"\g<1>28", values[name])
    # A rule between a body and a ticket: the id must be the ticket's.
    body.pop("id", None)
