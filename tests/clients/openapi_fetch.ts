// Drives openapi-fetch with the types that openapi-typescript makes: create, read, list, update, delete, and a
// problem.
//
//     node openapi_fetch.js API KEY CUSTOMER
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./openapi-typescript/tickets";

const [baseUrl, key, customer] = process.argv.slice(2);
const customerID = Number(customer);
const api = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });

/** The data of a successful answer. */
async function ok<T>(request: Promise<{ data?: T; error?: unknown }>): Promise<T> {
    const { data, error } = await request;
    return data ?? assert.fail(JSON.stringify(error));
}

async function main() {
    // Create. A repeated request makes no second ticket.
    const create = (body: components["schemas"]["TicketCreate"], header = {}) =>
        ok(api.POST("/tickets/", { body, params: { header } }));
    const body = {
        customerID, subject: "Invoice 2026-118 is wrong", ticketType: "billing", ticketFollowupDate: "2026-11-30",
    } as const;
    const once = { "Idempotency-Key": `openapi-fetch-${customer}` };
    const first = await create(body, once);
    assert.deepEqual(await create(body, once), first);
    const rows = ["b", "c"].map(subject => ({ customerID, subject }));
    const others = (await ok(api.POST("/tickets", { body: rows }))).map(({ ticket }) => ticket ?? assert.fail());
    assert.equal(first.ticketFollowupDate, "2026-11-30");

    // Read, and list with a filter, page by page.
    const path = { id: first.id };
    assert.deepEqual(await ok(api.GET("/tickets/{id}", { params: { path } })), first);
    const ids: string[] = [];
    for (let idAfter = 0; ;) {
        const query = { createdSince: first.createdDate, idAfter, limit: 2 };
        const page = await ok(api.GET("/customers/{id}/tickets/", { params: { path: { id: customerID }, query } }));
        if (page.length === 0) break;
        ids.push(...page.map(({ id }) => id));
        idAfter = Number(ids[ids.length - 1]);
    }
    assert.deepEqual(ids, [first, ...others].map(({ id }) => id));

    // Update: set a preset and a time, clear a preset and another field, and send a whole ticket back.
    const changed = await api.PATCH("/tickets/{id}", {
        params: { path },
        body: {
            status: "assigned", ticketType: null, ticketFollowupDate: null,
            ticketActionRequired: "2026-12-01T09:00+0100",
        },
    });
    const ticket = changed.data ?? assert.fail(JSON.stringify(changed.error));
    assert.deepEqual([ticket.status, ticket.ticketType, ticket.ticketFollowupDate], ["assigned", undefined, undefined]);
    assert.equal(ticket.ticketActionRequired, "2026-12-01T08:00:00.000Z");
    const filter = { open: true, actionUntil: "2026-12-31", status: ["assigned" as const, "resolved" as const] };
    const queue = await ok(api.GET("/customers/{id}/tickets/", {
        params: { path: { id: customerID }, query: filter },
        querySerializer: { array: { style: "form", explode: false } },
    }));
    assert.deepEqual(queue.map(({ id }) => id), [first.id]);
    const { id, createdDate, updatedDate, subject } = ticket;
    const header = { "If-Match": changed.response.headers.get("ETag") ?? assert.fail("no ETag") };
    const whole = { id, createdDate, updatedDate, subject, ticketPriority: "high" } as const;
    const sentBack = await ok(api.PUT("/tickets/{id}", { params: { path, header }, body: whole }));
    assert.deepEqual([sentBack.ticketPriority, sentBack.createdDate], ["high", first.createdDate]);

    // Problems: each refused field is named.
    const refused = await api.PATCH("/tickets/{id}", { params: { path }, body: { customerEmail: "ada@@example.com" } });
    assert.equal(refused.response.status, 422);
    assert.deepEqual(refused.error?.errors.map(({ field }) => field), ["customerEmail"]);

    // Delete. The ticket is then a 404, and a list can show its tombstone.
    assert.equal((await api.DELETE("/tickets/{id}", { params: { path } })).response.status, 204);
    const gone = await api.GET("/tickets/{id}", { params: { path } });
    assert.equal(gone.error?.type, "urn:tickets:problem:not-found");
    const query = { idAfter: Number(id) - 1, limit: 1, includeDeleted: true };
    assert((await ok(api.GET("/tickets/", { params: { query } })))[0].deletedDate);
}

void main();
