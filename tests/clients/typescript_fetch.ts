// Drives the client that openapi-generator makes for TypeScript (typescript-fetch): create, read, list, update,
// delete, and a problem.
//
//     node typescript_fetch.js API KEY CUSTOMER
import assert from "node:assert/strict";
import {
    Configuration, ListCustomerTicketsStatusEnum, ProblemFromJSON, ResponseError, TicketsApi, TicketUpdateStatusEnum,
    type Problem, type TicketOrTombstone,
} from "./typescript-fetch";

const [basePath, accessToken, customer] = process.argv.slice(2);
const customerID = Number(customer);
const api = new TicketsApi(new Configuration({ basePath, accessToken }));

/** The problem in the answer to a refused request. */
async function refused(request: Promise<unknown>): Promise<Problem> {
    const error = await request.then(() => assert.fail("not refused"), (error: unknown) => error);
    assert(error instanceof ResponseError, String(error));
    return ProblemFromJSON(await error.response.json());
}

async function main() {
    // Create. A repeated request makes no second ticket.
    const ticketCreate = {
        customerID, subject: "Invoice 2026-118 is wrong", ticketType: "billing", ticketFollowupDate: "2026-11-30",
    } as const;
    const request = { ticketCreate, idempotencyKey: `typescript-${customer}` };
    const first = await api.createTicket(request);
    assert.deepEqual(await api.createTicket(request), first);
    const rows = ["b", "c"].map(subject => ({ customerID, subject }));
    const results = await api.createTickets({ ticketCreate: rows });
    const others = results.map(({ ticket }) => ticket ?? assert.fail("not created"));
    assert.equal(first.customerID, customerID);
    assert.equal(first.ticketFollowupDate, "2026-11-30");
    assert(first.createdDate instanceof Date);

    // Read, and list with a filter, page by page.
    assert.deepEqual(await api.getTicket({ id: first.id }), first);
    const createdSince = first.createdDate.toISOString();
    const listed: TicketOrTombstone[] = [];
    for (let idAfter: number | undefined; ;) {
        const page = await api.listCustomerTickets({ id: customerID, createdSince, idAfter, limit: 2 });
        if (page.length === 0) break;
        listed.push(...page);
        idAfter = Number(page[page.length - 1].id);
    }
    assert.deepEqual(listed.map(({ id }) => id), [first, ...others].map(({ id }) => id));

    // Update: set a preset and a time, clear a preset and another field, and send a whole ticket back.
    const changed = await api.patchTicketRaw({
        id: first.id,
        ticketUpdate: {
            status: TicketUpdateStatusEnum.Assigned, ticketType: null, ticketFollowupDate: null,
            ticketActionRequired: "2026-12-01T09:00+0100",
        },
    });
    const ticket = await changed.value();
    assert.deepEqual([ticket.status, ticket.ticketType, ticket.ticketFollowupDate], ["assigned", undefined, undefined]);
    assert.equal(ticket.ticketActionRequired, "2026-12-01T08:00:00.000Z");
    const queue = await api.listCustomerTickets({
        id: customerID, open: true, actionUntil: "2026-12-31",
        status: [ListCustomerTicketsStatusEnum.Assigned, ListCustomerTicketsStatusEnum.Resolved],
    });
    assert.deepEqual(queue.map(({ id }) => id), [first.id]);
    const { id, createdDate, updatedDate, subject } = ticket;
    const sentBack = await api.putTicket({
        id,
        ticketUpdate: { id, createdDate, updatedDate, subject, ticketPriority: "high" },
        ifMatch: changed.raw.headers.get("ETag") ?? assert.fail("no ETag"),
    });
    assert.deepEqual([sentBack.ticketPriority, sentBack.createdDate], ["high", first.createdDate]);

    // Problems: each refused field is named.
    const problem = await refused(api.patchTicket({ id, ticketUpdate: { customerEmail: "ada@@example.com" } }));
    assert.equal(problem.status, 422);
    assert.deepEqual(problem.errors.map(({ field }) => field), ["customerEmail"]);

    // Delete. The ticket is then a 404, and a list can show its tombstone.
    await api.deleteTicket({ id });
    assert.equal((await refused(api.getTicket({ id }))).type, "urn:tickets:problem:not-found");
    const [deleted] = await api.listTickets({ idAfter: Number(id) - 1, limit: 1, includeDeleted: true });
    assert(deleted.deletedDate instanceof Date);
}

void main();
