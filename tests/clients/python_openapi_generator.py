"""Drives the client that openapi-generator makes for Python: create, read, list, update, delete, and a problem.

    python_openapi_generator.py API KEY CUSTOMER
"""

import sys
from datetime import datetime, timedelta, timezone

import openapi_client as tickets

host, key, customer = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = tickets.ApiClient(tickets.Configuration(host=host, access_token=key))
api = tickets.TicketsApi(client)

# Create. A repeated request makes no second ticket.
draft = tickets.TicketCreate(
    customer_id=customer,
    subject="Invoice 2026-118 is wrong",
    ticket_type="billing",
    ticket_followup_date="2026-11-30",
)
first = api.create_ticket(draft, idempotency_key=f"python-{customer}")
assert api.create_ticket(draft, idempotency_key=f"python-{customer}") == first
rows = [tickets.TicketCreate(customer_id=customer, subject=text) for text in ("b", "c")]
results = api.create_tickets([*rows, tickets.TicketCreate(customer_id=customer, subject="d", customer_email="ada@@example.com")])
assert [result.status for result in results] == [201, 201, 422] and results[2].problem.errors
others = [result.ticket for result in results[:2]]
assert (first.customer_id, first.status, first.ticket_followup_date) == (customer, "open", "2026-11-30")
assert isinstance(first.created_date, datetime)

# Read, and list with a filter, page by page. `strftime` writes offsets without a colon.
assert api.get_ticket(first.id) == first
since = first.created_date.astimezone(timezone(timedelta(hours=1))).strftime("%Y-%m-%dT%H:%M:%S.%f%z")
listed, after = [], None
while page := api.list_customer_tickets(customer, created_since=since, id_after=after, limit=2):
    listed += page
    after = int(page[-1].id)
assert [ticket.id for ticket in listed] == [first.id, *(ticket.id for ticket in others)]
assert listed[0].subject == first.subject and listed[0].updated_date == first.updated_date

# Update: set a preset and a time, clear a preset and another field, and send a whole ticket back.
change = tickets.TicketUpdate(
    status="assigned", ticket_type=None, ticket_followup_date=None, ticket_action_required="2026-12-01T09:00+01:00"
)
changed = api.patch_ticket_with_http_info(first.id, change)
assert (changed.data.status, changed.data.ticket_type, changed.data.ticket_followup_date) == ("assigned", None, None)
assert changed.data.ticket_action_required == "2026-12-01T08:00:00.000Z"
queue = api.list_customer_tickets(customer, open=True, status=["assigned", "resolved"], action_until="2026-12-31")
assert [ticket.id for ticket in queue] == [first.id]
whole = tickets.TicketUpdate.from_dict(changed.data.to_dict() | {"ticketPriority": "high"})
sent_back = api.put_ticket(first.id, whole, if_match=changed.headers["etag"])
assert (sent_back.ticket_priority, sent_back.created_date) == ("high", first.created_date)

# Problems: each refused field is named.
try:
    api.patch_ticket(first.id, tickets.TicketUpdate(customer_email="ada@@example.com"))
    raise AssertionError("a bad address was taken")
except tickets.exceptions.ApiException as error:
    problem = error.data
    assert isinstance(problem, tickets.Problem) and (error.status, problem.status) == (422, 422)
    assert [error.var_field for error in problem.errors] == ["customerEmail"]

# Delete. The ticket is then a 404, and a list can show its tombstone.
api.delete_ticket(first.id)
try:
    api.get_ticket(first.id)
    raise AssertionError("a deleted ticket was found")
except tickets.exceptions.NotFoundException as error:
    assert error.data.type == "urn:tickets:problem:not-found"
assert api.list_tickets(id_after=int(first.id) - 1, limit=1, include_deleted=True)[0].deleted_date
