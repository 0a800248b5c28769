import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.TicketsApi;
import org.openapitools.client.api.TicketsApi.APIListCustomerTicketsRequest;
import org.openapitools.client.api.TicketsApi.APIListTicketsRequest;
import org.openapitools.client.model.Problem;
import org.openapitools.client.model.Ticket;
import org.openapitools.client.model.TicketCreate;
import org.openapitools.client.model.TicketOrTombstone;
import org.openapitools.client.model.TicketUpdate;

/**
 * Drives the client that openapi-generator makes for Java (library `native`): create, read, list, update, delete, and
 * a problem. To clear a field, the body needs a `null`. For that a client needs `jackson-databind-nullable` from Maven;
 * without it the client leaves nulls out.
 *
 *     Drive API KEY CUSTOMER
 */
public final class Drive {
    private static final ApiClient CLIENT = new ApiClient();

    private interface Request {
        void send() throws ApiException;
    }

    private static void check(boolean holds, Object what) {
        if (!holds) throw new AssertionError(what);
    }

    /** The problem in the answer to a refused request. */
    private static Problem refused(Request request) throws Exception {
        try {
            request.send();
        } catch (ApiException error) {
            return CLIENT.getObjectMapper().readValue(error.getResponseBody(), Problem.class);
        }
        throw new AssertionError("not refused");
    }

    public static void main(String[] arguments) throws Exception {
        long customer = Long.parseLong(arguments[2]);
        CLIENT.updateBaseUri(arguments[0]);
        CLIENT.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + arguments[1]));
        TicketsApi api = new TicketsApi(CLIENT);

        // Create. A repeated request makes no second ticket.
        TicketCreate draft = new TicketCreate().customerID(customer).subject("Invoice 2026-118 is wrong")
            .ticketType(TicketCreate.TicketTypeEnum.BILLING).ticketFollowupDate("2026-11-30");
        Ticket first = api.createTicket(draft, "java-" + customer);
        check(api.createTicket(draft, "java-" + customer).equals(first), first);
        List<TicketCreate> rows = List.of(new TicketCreate().customerID(customer).subject("b"));
        Ticket other = api.createTickets(rows, null).get(0).getTicket();
        check(first.getCustomerID() == customer && first.getStatus().equals("open"), first);
        check(first.getTicketFollowupDate().equals("2026-11-30"), first);

        // Read, and list with a filter, page by page.
        check(api.getTicket(first.getId(), null).equals(first), first);
        OffsetDateTime created = first.getCreatedDate();
        List<String> ids = new ArrayList<>();
        for (long after = 0; ; ) {
            List<TicketOrTombstone> page = api.listCustomerTickets(APIListCustomerTicketsRequest.newBuilder()
                .id(customer).createdSince(created.toString()).idAfter(after).limit(1).build());
            if (page.isEmpty()) break;
            ids.add(page.get(0).getId());
            after = Long.parseLong(page.get(0).getId());
        }
        check(ids.equals(List.of(first.getId(), other.getId())), ids);

        // Update: set a preset and a time, and send a ticket back.
        TicketUpdate change = new TicketUpdate().status(TicketUpdate.StatusEnum.ASSIGNED)
            .ticketActionRequired("2026-12-01T09:00+0100");
        Ticket changed = api.patchTicket(first.getId(), change, null);
        check(changed.getStatus().equals("assigned"), changed);
        check(changed.getTicketActionRequired().equals("2026-12-01T08:00:00.000Z"), changed);
        List<TicketOrTombstone> queue = api.listCustomerTickets(APIListCustomerTicketsRequest.newBuilder()
            .id(customer).open(true).status(List.of("assigned", "resolved")).actionUntil("2026-12-31").build());
        check(queue.size() == 1 && queue.get(0).getId().equals(first.getId()), queue);
        TicketUpdate whole = new TicketUpdate().id(changed.getId()).createdDate(changed.getCreatedDate())
            .updatedDate(changed.getUpdatedDate()).ticketPriority(TicketUpdate.TicketPriorityEnum.HIGH);
        check(api.putTicket(first.getId(), whole, "*").getTicketPriority().equals("high"), whole);

        // Problems: each refused field is named.
        Problem problem =
            refused(() -> api.patchTicket(first.getId(), new TicketUpdate().customerEmail("ada@@example.com"), null));
        check(problem.getStatus() == 422, problem);
        check(problem.getErrors().get(0).getField().equals("customerEmail"), problem);

        // Delete. The ticket is then a 404, and a list can show its tombstone.
        api.deleteTicket(first.getId(), null);
        check(refused(() -> api.getTicket(first.getId(), null)).getType().equals("urn:tickets:problem:not-found"), first);
        List<TicketOrTombstone> left = api.listTickets(APIListTicketsRequest.newBuilder()
            .idAfter(Long.parseLong(first.getId()) - 1).limit(1).includeDeleted(true).build());
        check(left.get(0).getDeletedDate() != null && left.get(0).getSubject() == null, left);
    }
}
