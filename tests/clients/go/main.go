// Drives the client that openapi-generator makes for Go: create, read, list, update, delete, and a problem.
//
//	main API KEY CUSTOMER
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	tickets "example.com/tickets/client"
)

// must returns the value, if the answer has this status.
func must[T any](status int) func(T, *http.Response, error) T {
	return func(value T, response *http.Response, err error) T {
		if err != nil || response.StatusCode != status {
			panic(fmt.Sprint(response, err))
		}
		return value
	}
}

// refused returns the problem in a refusal.
func refused(err error) tickets.Problem {
	var refusal *tickets.GenericOpenAPIError
	if !errors.As(err, &refusal) {
		panic(fmt.Sprint("not refused: ", err))
	}
	return refusal.Model().(tickets.Problem)
}

func check(holds bool, what any) {
	if !holds {
		panic(fmt.Sprint(what))
	}
}

func main() {
	customer, err := strconv.ParseInt(os.Args[3], 10, 64)
	check(err == nil, err)
	configuration := tickets.NewConfiguration()
	configuration.Servers = tickets.ServerConfigurations{{URL: os.Args[1]}}
	api := tickets.NewAPIClient(configuration).TicketsAPI
	ctx := context.WithValue(context.Background(), tickets.ContextAccessToken, os.Args[2])
	created, ok := must[*tickets.Ticket](http.StatusCreated), must[*tickets.Ticket](http.StatusOK)
	list := must[[]tickets.TicketOrTombstone](http.StatusOK)

	// Create. A repeated request makes no second ticket.
	draft := *tickets.NewTicketCreate(customer, "Invoice 2026-118 is wrong")
	draft.SetTicketType("billing")
	draft.SetTicketFollowupDate("2026-11-30")
	first := created(api.CreateTicket(ctx).TicketCreate(draft).IdempotencyKey("go-" + os.Args[3]).Execute())
	again := created(api.CreateTicket(ctx).TicketCreate(draft).IdempotencyKey("go-" + os.Args[3]).Execute())
	check(again.Id == first.Id && first.CustomerID == customer && first.GetStatus() == "open", first)
	check(first.GetTicketFollowupDate() == "2026-11-30" && !first.CreatedDate.IsZero(), first)
	rows := []tickets.TicketCreate{*tickets.NewTicketCreate(customer, "b")}
	results := must[[]tickets.BatchResult](http.StatusMultiStatus)(api.CreateTickets(ctx).TicketCreate(rows).Execute())
	other := results[0].Ticket

	// Read, and list with a filter, page by page.
	read := ok(api.GetTicket(ctx, first.Id).Execute())
	check(read.Subject == first.Subject && read.UpdatedDate.Equal(first.UpdatedDate), read)
	var ids []string
	for after := int64(0); ; {
		since := first.CreatedDate.Format(time.RFC3339Nano)
		page := list(api.ListCustomerTickets(ctx, customer).CreatedSince(since).IdAfter(after).Limit(1).Execute())
		if len(page) == 0 {
			break
		}
		ids = append(ids, page[0].Id)
		after, err = strconv.ParseInt(page[0].Id, 10, 64)
		check(err == nil, err)
	}
	check(slices.Equal(ids, []string{first.Id, other.Id}), ids)

	// Update: set a preset and a time, clear a preset and another field, and send a whole ticket back.
	change := tickets.TicketUpdate{}
	change.SetStatus("assigned")
	change.SetTicketTypeNil()
	change.SetTicketFollowupDateNil()
	change.SetTicketActionRequired("2026-12-01T09:00+0100")
	changed, response, err := api.PatchTicket(ctx, first.Id).TicketUpdate(change).Execute()
	check(err == nil && changed.GetStatus() == "assigned", err)
	check(!changed.HasTicketType() && !changed.HasTicketFollowupDate(), changed)
	check(changed.GetTicketActionRequired() == "2026-12-01T08:00:00.000Z", changed)
	statuses := []string{"assigned", "resolved"}
	filtered := api.ListCustomerTickets(ctx, customer).Open(true).Status(statuses).ActionUntil("2026-12-31")
	queue := list(filtered.Execute())
	check(len(queue) == 1 && queue[0].Id == first.Id, queue)
	whole := tickets.TicketUpdate{Id: &changed.Id, CreatedDate: &changed.CreatedDate, UpdatedDate: &changed.UpdatedDate}
	whole.SetTicketPriority("high")
	etag := response.Header.Get("ETag")
	sentBack := ok(api.PutTicket(ctx, first.Id).TicketUpdate(whole).IfMatch(etag).Execute())
	check(sentBack.GetTicketPriority() == "high" && sentBack.CreatedDate.Equal(first.CreatedDate), sentBack)

	// Problems: each refused field is named.
	bad := tickets.TicketUpdate{}
	bad.SetCustomerEmail("ada@@example.com")
	_, _, err = api.PatchTicket(ctx, first.Id).TicketUpdate(bad).Execute()
	problem := refused(err)
	check(problem.GetStatus() == 422 && problem.Errors[0].Field == "customerEmail", problem)

	// Delete. The ticket is then a 404, and a list can show its tombstone.
	_, err = api.DeleteTicket(ctx, first.Id).Execute()
	check(err == nil, err)
	_, _, err = api.GetTicket(ctx, first.Id).Execute()
	check(refused(err).Type == "urn:tickets:problem:not-found", err)
	id, err := strconv.ParseInt(first.Id, 10, 64)
	check(err == nil, err)
	left := list(api.ListTickets(ctx).IdAfter(id - 1).Limit(1).IncludeDeleted(true).Execute())
	check(left[0].HasDeletedDate() && !left[0].HasSubject(), left)
}
