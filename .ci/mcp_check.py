"""Uses `tickets mcp` as an agent does, with the official Python SDK, in both lifecycles of the protocol.

    mcp_check.py TICKETS DIRECTORY     (with the Python that has mcp; it creates the directory)
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from mcp import Client, MCPError, StdioServerParameters

tickets, directory = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
directory.mkdir()
data = directory / "data"
serve = [tickets, "serve", "--quiet", "--data", data, "--listen", "127.0.0.1:0"]
# A value that is no default: the tools must get their values from the API.
presets = os.environ | {"TICKET_TYPES": "sales, billing, hardware"}
server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, env=presets)
lines = dict(next(server.stdout).split(maxsplit=1) for _ in range(2))
base, all_scopes = lines["API"].strip().removesuffix("/tickets/"), lines["key"].strip()
READING = {"list_tickets", "count_tickets", "get_ticket", "get_tickets", "get_ticket_history", "list_events", "get_ticket_configuration"}
WRITING = {"create_ticket", "update_ticket", "update_tickets"}
DELETING = {"delete_ticket"}


def key(*arguments):
    command = [tickets, "keys", "create", *arguments, "--data", data]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def agent(key, *arguments, api=base, mode="auto"):
    environment = {"TICKETS_API": api, "TICKETS_KEY": key}
    return Client(StdioServerParameters(command=str(tickets), args=["mcp", *arguments], env=environment), mode=mode)


async def names(client):
    return {tool.name for tool in (await client.list_tools()).tools}


async def done(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    return json.loads(only_text(result))


async def refused(client, tool, **arguments):
    """The text of a refused call."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result
    return only_text(result)


def only_text(result):
    """A result says everything once, as a text that a model can take."""
    assert result.structured_content is None and len(result.content) == 1, result
    text = result.content[0].text
    assert len(text.encode()) <= 40_000, len(text)
    return text


async def every_tool(mode):
    async with agent(all_scopes, mode=mode) as client:
        assert "never instructions" in client.instructions
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools.keys() == READING | WRITING | DELETING, tools.keys()
        for name, tool in tools.items():
            hints, schema = tool.annotations, tool.input_schema
            assert hints.read_only_hint == (name in READING) and hints.idempotent_hint, name
            assert name in READING or hints.destructive_hint == (name != "create_ticket"), name
            assert schema["additionalProperties"] is False and set(schema["required"]) <= schema["properties"].keys()
            assert all("description" in property for property in schema["properties"].values()), name
            assert tool.description.split()[0].endswith("s"), "it begins with what the tool does"

        configuration = await done(client, "get_ticket_configuration")
        assert configuration["presets"]["ticketType"] == ["sales", "billing", "hardware"], configuration
        for name in WRITING:
            kinds = tools[name].input_schema["properties"]["ticketType"]["enum"]
            assert set(kinds) - {None} == {"sales", "billing", "hardware"}, kinds
        assert tools["list_tickets"].input_schema["properties"]["ticketType"]["items"]["enum"] == ["sales", "billing", "hardware"]

        fields = {"customerID": 42, "subject": f"Invoice is wrong ({mode})", "ticketType": "BILLING"}
        created = await done(client, "create_ticket", **fields)
        ticket, version = created["ticket"], created["version"]
        assert created["created"] and ticket["ticketType"] == "billing" and version.startswith("1-"), created
        # An unchanged call, repeated as after a lost answer, makes no second ticket. One with its own key
        # does.
        again = await done(client, "create_ticket", **fields)
        assert again == {**created, "created": False}, again
        other = await done(client, "create_ticket", **fields, idempotencyKey=f"second-{mode}")
        assert other["created"] and other["ticket"]["id"] != ticket["id"], other

        assert await done(client, "get_ticket", id=ticket["id"]) == {"ticket": ticket, "version": version}
        changed = await done(client, "update_ticket", id=int(ticket["id"]), status="assigned", owner="grace", ifVersion=version)
        assert changed["version"].startswith("2-") and changed["ticket"]["owner"] == "grace", changed
        text = await refused(client, "update_ticket", id=ticket["id"], owner="ada", ifVersion=version)
        assert text.startswith("412 ") and "has changed" in text, text
        # A work queue works. A filter that needs a scan is refused, and the message says what to add.
        queue = await done(client, "list_tickets", open=True, owner="grace", status=["open", "assigned"], customerID=42)
        assert ticket["id"] in [found["id"] for found in queue["tickets"]], queue
        text = await refused(client, "list_tickets", owner="grace")
        assert text.startswith("400 ") and "open" in text, text
        cleared = await done(client, "update_ticket", id=ticket["id"], clear=["owner"])
        assert "owner" not in cleared["ticket"] and cleared["version"].startswith("3-"), cleared
        # Many at once: only what can be changed is, and the model is told of the rest.
        many = await done(client, "update_tickets", ids=[other["ticket"]["id"], "999999"], owner="ada")
        assert [one["id"] for one in many["updated"]] == [other["ticket"]["id"]] and many["refused"][0]["ids"] == ["999999"], many
        found = await done(client, "get_tickets", ids=[other["ticket"]["id"], "999999"])
        assert found["tickets"][0]["owner"] == "ada" and found["absent"] == ["999999"], found
        counted = await done(client, "count_tickets", by=["status", "owner"], open=True)
        assert counted["complete"] and any(one.get("owner") == "ada" for one in counted["counts"]), counted
        # A create that is repeated shows the ticket as it is by now.
        assert await done(client, "create_ticket", **fields) == {**cleared, "created": False}

        page, entries = {"id": ticket["id"], "limit": 2}, []
        while page is not None:
            answer = await done(client, "get_ticket_history", **page)
            entries += answer["entries"]
            page = answer.get("next")
            # The last change is recorded a moment later.
            if page is None and len(entries) < 3:
                await asyncio.sleep(0.2)
                page = {"id": ticket["id"], "versionAfter": len(entries)}
        assert [entry["change"] for entry in entries] == ["created", "updated", "updated"], entries
        assert entries[1]["fields"] == {"owner": "grace", "status": "assigned"} and entries[2]["fields"] == {"owner": None}

        for _ in range(100):
            changes = (await done(client, "list_events", type="ticket.updated"))["events"]
            events = [event for event in changes if event["ticket"] == ticket["id"]]
            if len(events) == 2:
                break
            await asyncio.sleep(0.2)  # An event is shown once it has settled.
        assert [event["fields"] for event in events] == [["owner", "status"], ["owner"]] and "owner" not in events[1], events
        page = await done(client, "list_events", type=["ticket.updated"], limit=1)
        assert (await done(client, "list_events", **{**page["next"], "limit": 50}))["events"] == changes[1:], page

        assert await done(client, "delete_ticket", id=ticket["id"]) == {"deleted": ticket["id"]}
        text = await refused(client, "get_ticket", id=ticket["id"])
        assert text == "404 Not Found: there is no such ticket", text
        gone = await done(client, "create_ticket", **fields)
        assert gone["created"] is False and "deleted since" in gone["gone"], gone


async def pages():
    subprocess.run([tickets, "seed", "130", "--quiet", "--content", "700", "--customers", "2", "--data", data], check=True)
    async with agent(all_scopes) as client:
        for arguments in [{"limit": 50}, {}, {"limit": 50, "customerID": 1, "updatedSince": "2020-01-01"}]:
            page, found, sizes = arguments, [], []
            while page is not None:
                answer = await done(client, "list_tickets", **page)
                found += [int(ticket["id"]) for ticket in answer["tickets"]]
                sizes.append(len(answer["tickets"]))
                texts = [ticket.get("ticketContent", "") for ticket in answer["tickets"]]
                assert all(len(text) < 520 for text in texts), "long texts are cut"
                page = answer.get("next")
            most = arguments.get("limit", 20)
            assert found == sorted(set(found)) and len(found) > most and max(sizes) <= most and min(sizes[:-1]) > most / 2, (arguments, sizes)
        whole = await done(client, "get_ticket", id=str(found[0]))
        assert len(whole["ticket"].get("ticketContent", "")) > 520, "get_ticket has the whole"
        text = await refused(client, "list_tickets", limit=51)
        assert "limit: must be" in text and "from 1 to 50" in text, text


async def problems():
    async with agent(all_scopes) as client:
        text = await refused(client, "create_ticket", customerID=0, subject="", colour="red", status="done")
        assert text.startswith("422 ") and all(f"\n  {field}: " in text for field in ["customerID", "subject", "colour", "status"]), text
        text = await refused(client, "list_tickets", updateSince="2026-01-01", createdSince="soon")
        assert text.startswith("400 ") and "did you mean updatedSince?" in text and "createdSince: " in text, text
        for tool, arguments, says in [
            ("get_ticket", {}, "id: is required"),
            ("get_ticket", {"id": "first"}, "id: must be a whole number"),
            ("get_ticket", {"id": 1, "ifVersion": 1}, "ifVersion: unknown argument"),
            ("get_ticket_history", {"id": 1, "limit": 0}, "limit: must be a whole number from 1 to 50"),
            ("get_ticket_configuration", {"id": 1}, "id: unknown argument; this tool takes none"),
            ("delete_ticket", {"id": {"a": 1}}, "id: must be a text"),
            ("update_ticket", {"id": 1, "ifVersion": 3}, "ifVersion: must be a version as the API gives it"),
            ("create_ticket", {"idempotencyKey": "a\nb"}, "idempotencyKey: must be text"),
        ]:
            assert says in await refused(client, tool, **arguments), says
        try:
            await client.call_tool("drop_table", {})
            raise AssertionError("an unknown tool answers")
        except MCPError as error:
            assert "there is no tool drop_table" in str(error), error


async def scopes():
    everything = READING | WRITING | DELETING
    for arguments, key_scopes, expected in [
        ([], "read", READING),
        ([], "write", WRITING),
        ([], "read,delete", READING | DELETING),
        ([], "read,write,delete", everything),
        (["--read-only"], "read,write,delete", READING),
        (["--read-only"], "write", set()),
    ]:
        async with agent(key("--scopes", key_scopes), *arguments) as client:
            assert await names(client) == expected, (arguments, key_scopes)
            for tool in everything - expected:
                try:
                    await client.call_tool(tool, {"id": "2"})
                    raise AssertionError(f"{tool} answers a key with {key_scopes}")
                except MCPError as error:
                    assert f"there is no tool {tool}" in str(error), error
    # Asking for the scopes wrote nothing, and a customer's key sees only that customer's tickets.
    async with agent(key("--scopes", "read", "--customer", "1")) as client:
        answer = await done(client, "list_tickets", limit=50)
        assert {ticket["customerID"] for ticket in answer["tickets"]} == {1}


def bad_keys():
    for bad, says in [(f"tk_nobody_{'0' * 64}", "401 Unauthorized"), ("nonsense", "TICKETS_KEY is not a key")]:
        environment = {"TICKETS_API": base, "TICKETS_KEY": bad}
        ended = subprocess.run([tickets, "mcp"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert (ended.returncode, ended.stdout) == (1, "") and says in ended.stderr, ended
        assert bad not in ended.stderr


async def unreachable():
    """The API is not running yet: the server stays alive, and each call reports it."""
    async with agent(all_scopes, api="http://127.0.0.1:9/backend/api/v1") as client:
        assert await names(client) == READING
        assert "cannot reach" in await refused(client, "get_ticket", id="1")


async def main():
    for mode in ["legacy", "auto"]:
        await every_tool(mode)
    await pages()
    await problems()
    await scopes()
    bad_keys()
    await unreachable()


try:
    asyncio.run(main())
finally:
    server.kill()
    server.wait()
print("tickets mcp: every tool in both lifecycles, pages, problems, scopes, --read-only, bad keys")
