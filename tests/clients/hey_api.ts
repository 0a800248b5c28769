// Drives the client that @hey-api/openapi-ts makes: create, read, list, update, delete, and a problem.
//
//     node hey_api.js API KEY CUSTOMER
import assert from "node:assert/strict";
import {
    createTicket, createTickets, deleteTicket, getTicket, listCustomerTickets, listTickets, patchTicket, putTicket,
} from "./hey-api";
import { client } from "./hey-api/client.gen";

const [baseUrl, auth, customer] = process.argv.slice(2);
const customerID = Number(customer);
client.setConfig({ baseUrl, auth });

/** The data of a successful answer. */
async function ok<T>(request: Promise<{ data: T | undefined; error?: unknown }>): Promise<T> {
    const { data, error } = await request;
    return data ?? assert.fail(JSON.stringify(error));
}

async function main() {
    // Create. A repeated request makes no second ticket.
    const body = {
        customerID, subject: "Invoice 2026-118 is wrong", ticketType: "billing", ticketFollowupDate: "2026-11-30",
    } as const;
    const headers = { "Idempotency-Key": `hey-api-${customer}` };
    const first = await ok(createTicket({ body, headers }));
    assert.deepEqual(await ok(createTicket({ body, headers })), first);
    const [result] = await ok(createTickets({ body: [{ customerID, subject: "b" }] }));
    const other = result.ticket ?? assert.fail(JSON.stringify(result.problem));

    // Read, and list with a filter, page by page.
    const path = { id: first.id };
    assert.deepEqual(await ok(getTicket({ path })), first);
    const ids: string[] = [];
    for (let idAfter = 0; ;) {
        const query = { createdSince: first.createdDate, idAfter, limit: 1 };
        const page = await ok(listCustomerTickets({ path: { id: customerID }, query }));
        if (page.length === 0) break;
        ids.push(...page.map(({ id }) => id));
        idAfter = Number(ids[ids.length - 1]);
    }
    assert.deepEqual(ids, [first.id, other.id]);

    // Update: set a preset and a time, clear a preset and another field, and send a whole ticket back.
    const changed = await ok(patchTicket({
        path,
        body: {
            status: "assigned", ticketType: null, ticketFollowupDate: null,
            ticketActionRequired: "2026-12-01T09:00+0100",
        },
    }));
    const { id, createdDate, updatedDate, subject } = changed;
    assert.deepEqual([changed.status, changed.ticketType, changed.ticketFollowupDate], ["assigned", undefined, undefined]);
    assert.equal(changed.ticketActionRequired, "2026-12-01T08:00:00.000Z");
    const filter = { open: true, actionUntil: "2026-12-31", status: ["assigned" as const, "resolved" as const] };
    const queue = await ok(listCustomerTickets({ path: { id: customerID }, query: filter }));
    assert.deepEqual(queue.map(({ id }) => id), [first.id]);
    const whole = { id, createdDate, updatedDate, subject, ticketPriority: "high" } as const;
    assert.equal((await ok(putTicket({ path, body: whole }))).ticketPriority, "high");

    // Problems: each refused field is named.
    const refused = await patchTicket({ path, body: { customerEmail: "ada@@example.com" } });
    assert.deepEqual(refused.error?.errors.map(({ field }) => field), ["customerEmail"]);

    // Delete. The ticket is then a 404, and a list can show its tombstone.
    assert.equal((await deleteTicket({ path })).error, undefined);
    assert.equal((await getTicket({ path })).error?.type, "urn:tickets:problem:not-found");
    const query = { idAfter: Number(id) - 1, limit: 1, includeDeleted: true };
    assert((await ok(listTickets({ query })))[0].deletedDate);
}

void main();
