"""Drives the client that openapi-python-client makes: create, read, list, update, delete, and a problem.

    python_openapi_python_client.py API KEY CUSTOMER
"""

import sys
from datetime import datetime

from tickets_client import AuthenticatedClient
from tickets_client.api.tickets import (
    create_ticket,
    create_tickets,
    delete_ticket,
    get_ticket,
    list_customer_tickets,
    list_tickets,
    patch_ticket,
    put_ticket,
)
from tickets_client.models import ListCustomerTicketsStatusItem as Filter
from tickets_client.models import Problem, Ticket, TicketCreate, TicketUpdate
from tickets_client.models.ticket_create_ticket_type_type_1 import TicketCreateTicketTypeType1 as TicketType
from tickets_client.models.ticket_update_status_type_1 import TicketUpdateStatusType1 as Status
from tickets_client.types import UNSET

host, key, customer = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = AuthenticatedClient(base_url=host, token=key, raise_on_unexpected_status=True)


def answer(response, status):
    assert response.status_code == status, response
    return response.parsed


def create(subject, **fields):
    body = TicketCreate(customer_id=customer, subject=subject, **fields)
    return answer(create_ticket.sync_detailed(client=client, body=body), 201)


# Create.
first = create("Invoice 2026-118 is wrong", ticket_type=TicketType.BILLING, ticket_followup_date="2026-11-30")
rows = [TicketCreate(customer_id=customer, subject=subject) for subject in ("b", "c")]
results = answer(create_tickets.sync_detailed(client=client, body=rows), 207)
others = [result.ticket for result in results if result.status == 201]
assert isinstance(first, Ticket) and isinstance(first.created_date, datetime)
assert (first.customer_id, first.status, first.ticket_followup_date) == (customer, "open", "2026-11-30")

# Read, and list with a filter, page by page.
assert answer(get_ticket.sync_detailed(first.id, client=client), 200) == first
listed, after = [], UNSET
while page := answer(
    list_customer_tickets.sync_detailed(
        customer, client=client, created_since=first.created_date.isoformat(), id_after=after, limit=2
    ),
    200,
):
    listed += page
    after = int(page[-1].id)
assert [ticket.id for ticket in listed] == [first.id, *(ticket.id for ticket in others)]

# Update: set a preset and a time, clear a preset and another field, and send a whole ticket back.
change = TicketUpdate(
    status=Status.ASSIGNED, ticket_type=None, ticket_followup_date=None, ticket_action_required="2026-12-01"
)
response = patch_ticket.sync_detailed(first.id, client=client, body=change)
changed = answer(response, 200)
assert (changed.status, changed.ticket_type, changed.ticket_followup_date) == ("assigned", UNSET, UNSET)
assert changed.ticket_action_required == "2026-12-01"
queue = list_customer_tickets.sync_detailed(
    customer, client=client, open_=True, status=[Filter.ASSIGNED, Filter.RESOLVED], action_until="2026-12-31"
)
assert [ticket.id for ticket in answer(queue, 200)] == [first.id]
whole = TicketUpdate.from_dict(changed.to_dict() | {"ticketPriority": "high"})
etag = response.headers["ETag"]
sent_back = answer(put_ticket.sync_detailed(first.id, client=client, body=whole, if_match=etag), 200)
assert (sent_back.ticket_priority, sent_back.created_date) == ("high", first.created_date)

# Problems: each refused field is named.
refused = TicketUpdate(customer_email="ada@@example.com")
problem = answer(patch_ticket.sync_detailed(first.id, client=client, body=refused), 422)
assert isinstance(problem, Problem) and [error.field for error in problem.errors] == ["customerEmail"]

# Delete. The ticket is then a 404, and a list can show its tombstone.
answer(delete_ticket.sync_detailed(first.id, client=client), 204)
problem = answer(get_ticket.sync_detailed(first.id, client=client), 404)
assert problem.type_ == "urn:tickets:problem:not-found"
deleted = list_tickets.sync(client=client, id_after=int(first.id) - 1, limit=1, include_deleted=True)
assert isinstance(deleted[0].deleted_date, datetime)
