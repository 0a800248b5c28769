#!/usr/bin/env python3
"""A Singer tap of the tickets: each run emits what changed since the state of the run before.

    tap_tickets.py --config CONFIG.json [--state STATE.json] | TARGET

Follows docs/sync.md, "Connectors that read no headers": the state is the greatest updatedDate of the last pass, and
a pass asks for updatedSince= that. A record with a deletedDate or a movedDate says that the ticket is gone.
"""

from urllib.parse import urljoin

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.pagination import BaseHATEOASPaginator

# The dates among them are dates or times, as given.
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


class NextLink(BaseHATEOASPaginator):
    def get_next_url(self, response):
        following = response.links.get("next")
        # The link has a path, but no host.
        return urljoin(response.url, following["url"]) if following else None


class Tickets(RESTStream):
    name = "tickets"
    path = "/tickets/"
    primary_keys = ("id",)
    replication_key = "updatedDate"
    # Records ascend by id, not by date, so the state moves at the end of the pass.
    is_sorted = False
    schema = th.PropertiesList(
        th.Property("id", th.StringType, required=True),
        th.Property("customerID", th.IntegerType, required=True),
        *(th.Property(name, th.StringType) for name in TEXTS),
        th.Property("createdDate", th.DateTimeType, required=True),
        th.Property("updatedDate", th.DateTimeType, required=True),
        th.Property("deletedDate", th.DateTimeType),
        th.Property("movedDate", th.DateTimeType),
    ).to_dict()

    @property
    def url_base(self):
        return self.config["api_url"].rstrip("/")

    @property
    def authenticator(self):
        return BearerTokenAuthenticator(token=self.config["key"])

    def get_new_paginator(self):
        return NextLink()

    def backoff_wait_generator(self):
        # The SDK alone waits for some seconds, however many the API asks for.
        def wait(error):
            answer = getattr(error, "response", None)
            asked = answer.headers.get("Retry-After", "") if answer is not None else ""
            return int(asked) if asked.isdecimal() else 5

        return self.backoff_runtime(value=wait)

    def get_http_request(self, *, page):
        request = super().get_http_request(page=page)
        if page.next_page_token:
            # The link has every parameter already.
            request.url, request.params = page.next_page_token.geturl(), {}
        else:
            # Without `settled`, the greatest date seen may be later than a change not seen yet, which is then
            # lost.
            request.params = {"includeDeleted": "true", "settled": "true", "limit": 1000}
            if since := self.get_starting_replication_key_value(page.stream_context):
                request.params["updatedSince"] = since
        return request


class TapTickets(Tap):
    name = "tap-tickets"
    config_jsonschema = th.PropertiesList(
        th.Property("api_url", th.StringType, required=True, description="Base of the API's paths"),
        th.Property("key", th.StringType, required=True, secret=True, description="A key with the scope read"),
    ).to_dict()

    def discover_streams(self):
        return [Tickets(self)]


if __name__ == "__main__":
    TapTickets.cli()
