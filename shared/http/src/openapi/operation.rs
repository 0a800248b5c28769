//! The name, input and responses of each operation, one function each.

use lambda_http::http::Method;
use serde_json::{Map, Value, json};
use tickets_domain::Presets;
use tickets_domain::json_object::MOST_ROWS;

use super::refusal::{self, Refusal};
use super::{TICKETS, answer, example, parameter, schema};
use crate::route::{
    COUNT_TICKETS, CREATE_TICKET, DELETE_TICKET, GET_TICKET, GET_TICKET_CONFIGURATION, LIST_CUSTOMER_TICKETS,
    LIST_EVENTS, LIST_TICKET_HISTORY, LIST_TICKETS, Route, UPDATE_TICKET, UPDATE_TICKETS,
};

/// One operation.
pub(super) struct Operation {
    pub(super) route: Route,
    pub(super) method: Method,
    pub(super) id: &'static str,
    summary: &'static str,
    /// The first sentence says what the operation does, because some tools show no more.
    description: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    /// Whether it is described at the other form of its path, because the published form describes the same
    /// method with another body. Both forms accept both bodies, but generators need one type for each.
    pub(super) at_other_form: bool,
    success: Vec<(&'static str, Value)>,
    pub(super) refusals: Vec<Refusal>,
}

/// Every operation, in README's order.
pub(super) fn all(presets: &Presets) -> [Operation; 13] {
    [
        get_ticket(presets),
        list_tickets(presets),
        list_customer_tickets(presets),
        create_ticket(presets),
        create_tickets(presets),
        put_ticket(presets),
        patch_ticket(presets),
        delete_ticket(),
        patch_tickets(presets),
        get_ticket_history(presets),
        list_events(presets),
        count_tickets(presets),
        get_ticket_configuration(presets),
    ]
}

impl Operation {
    /// Its description in the document, with a sentence about its path.
    pub(super) fn into_json(self, path: &str) -> Value {
        let refusals = self.refusals.iter().map(|refusal| (refusal.status, refusal.reference()));
        let responses = self.success.into_iter().chain(refusals);
        let responses: Map<_, _> =
            responses.map(|(status, response)| (status.to_owned(), response)).collect();
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "description": format!("{} Needs a key with the scope `{}`. {path}", self.description, self.route.scope),
            "tags": [TICKETS],
            "responses": responses,
        });
        if !self.parameters.is_empty() {
            operation["parameters"] = self.parameters.into();
        }
        if let Some(body) = self.body {
            operation["requestBody"] = body;
        }
        operation
    }
}

fn get_ticket(presets: &Presets) -> Operation {
    Operation {
        route: GET_TICKET,
        method: Method::GET,
        id: "getTicket",
        summary: "Get a ticket",
        description: "Returns the ticket with this id, and its version as `ETag`. A deleted ticket is a 404.",
        parameters: vec![parameter::ticket_id(), parameter::if_none_match()],
        body: None,
        at_other_form: false,
        success: vec![
            ("200", answer::ticket("The ticket", presets)),
            ("304", answer::not_modified("The ticket is at the version that `If-None-Match` names")),
        ],
        refusals: refused(&[refusal::INVALID_PARAMETERS, refusal::NOT_FOUND]),
    }
}

fn list_tickets(presets: &Presets) -> Operation {
    Operation {
        route: LIST_TICKETS,
        method: Method::GET,
        id: "listTickets",
        summary: "List tickets",
        description: "Returns tickets, ascending by id: all of them, or those that match every parameter \
            given. A response that does not hold everything carries a `Link` to the next page. In a work queue in \
            which little matches, such a page may be empty: follow the `Link` until there is none. Without `limit` a \
            page can be 6 MB long.",
        parameters: parameter::of_lists(presets),
        body: None,
        at_other_form: false,
        success: vec![("200", answer::list("A page of tickets", example::list(presets)))],
        refusals: refused(&[refusal::INVALID_QUERY]),
    }
}

fn list_customer_tickets(presets: &Presets) -> Operation {
    let mut parameters = vec![parameter::customer_id()];
    parameters.extend(parameter::of_lists(presets));
    Operation {
        route: LIST_CUSTOMER_TICKETS,
        method: Method::GET,
        id: "listCustomerTickets",
        summary: "List a customer's tickets",
        description: "Returns the tickets of one customer, ascending by id: all of them, or those that match every \
            parameter given. A response that does not hold everything carries a `Link` to the next page. In a work \
            queue in which little matches, such a page may be empty: follow the `Link` until there is none. A \
            customer without tickets, or one that the key may not see, has an empty list.",
        parameters,
        body: None,
        at_other_form: false,
        success: vec![(
            "200",
            answer::list("A page of the customer's tickets", example::customer_list(presets)),
        )],
        refusals: refused(&[refusal::INVALID_QUERY]),
    }
}

fn create_ticket(presets: &Presets) -> Operation {
    Operation {
        route: CREATE_TICKET,
        method: Method::POST,
        id: "createTicket",
        summary: "Create a ticket",
        description: "Creates a ticket and returns it, with its id and its dates. `customerID` and `subject` are \
            required. With an `Idempotency-Key` the request may be repeated, and makes one ticket.",
        parameters: vec![parameter::idempotency_key()],
        body: Some(body(schema::CREATE, "A ticket with some of its fields", example::create(presets))),
        at_other_form: false,
        success: vec![("201", answer::created("The new ticket", presets))],
        refusals: refused(&[
            refusal::INVALID_REQUEST,
            refusal::KEY_IN_USE,
            refusal::TOO_LARGE,
            refusal::NOT_JSON,
            refusal::INVALID_FIELDS,
        ]),
    }
}

fn create_tickets(presets: &Presets) -> Operation {
    Operation {
        id: "createTickets",
        summary: "Create up to 100 tickets",
        description: "Creates the tickets of an array and returns as many results, in the same order. Rows do not \
            depend on each other. An `Idempotency-Key` covers each row by its place: a repeated batch replays the \
            rows that were made, and makes those that were not.",
        body: Some(rows(schema::CREATE, "Two, of which one is refused", example::batch(presets))),
        at_other_form: true,
        success: vec![("207", answer::batch(example::batch_results(presets)))],
        refusals: refused(&[refusal::INVALID_REQUEST, refusal::TOO_LARGE, refusal::NOT_JSON]),
        ..create_ticket(presets)
    }
}

fn put_ticket(presets: &Presets) -> Operation {
    Operation {
        method: Method::PUT,
        id: "putTicket",
        summary: "Send back a ticket with changes",
        description: "Updates a ticket and returns it. It does what PATCH does: fields that are left out stay as \
            they are, `null` clears one. A ticket may be sent back whole, as it was fetched.",
        body: Some(body(schema::UPDATE, "A whole ticket, with another priority", example::put(presets))),
        ..patch_ticket(presets)
    }
}

fn patch_ticket(presets: &Presets) -> Operation {
    Operation {
        route: UPDATE_TICKET,
        method: Method::PATCH,
        id: "patchTicket",
        summary: "Update fields of a ticket",
        description: "Updates the fields given and returns the ticket: fields that are left out stay as they are, \
            `null` clears one. With `If-Match` nothing is overwritten that the caller has not seen.",
        parameters: vec![parameter::ticket_id(), parameter::if_match()],
        body: Some(body(schema::UPDATE, "Assign it, and clear a date", example::patch(presets))),
        at_other_form: false,
        success: vec![("200", answer::ticket("The ticket as it is now", presets))],
        refusals: refused(&[
            refusal::INVALID_REQUEST,
            refusal::NOT_FOUND,
            refusal::PRECONDITION_FAILED,
            refusal::TOO_LARGE,
            refusal::NOT_JSON,
            refusal::INVALID_FIELDS,
        ]),
    }
}

fn patch_tickets(presets: &Presets) -> Operation {
    Operation {
        route: UPDATE_TICKETS,
        id: "patchTickets",
        summary: "Update up to 100 tickets",
        description: "Updates the tickets of an array, each row as a `PATCH` of its own, and returns as many results, in \
            the same order. Rows do not depend on each other. `ifMatch` in a row is what `If-Match` is for one ticket. \
            An id that comes twice is refused in the later row. Of very large tickets, those that no longer fit into \
            the response are left out of their results, which then have only the `etag`.",
        parameters: vec![],
        body: Some(rows(schema::CHANGE, "Two, of which one is refused", example::changes(presets))),
        success: vec![("207", answer::batch(example::change_results(presets)))],
        refusals: refused(&[refusal::INVALID_REQUEST, refusal::TOO_LARGE, refusal::NOT_JSON]),
        ..patch_ticket(presets)
    }
}

fn delete_ticket() -> Operation {
    Operation {
        route: DELETE_TICKET,
        method: Method::DELETE,
        id: "deleteTicket",
        summary: "Delete a ticket",
        description: "Deletes a ticket and its content. Lists show with `includeDeleted` that it was there.",
        parameters: vec![parameter::ticket_id(), parameter::if_match()],
        body: None,
        at_other_form: false,
        success: vec![("204", json!({"description": "The ticket is deleted"}))],
        refusals: refused(&[refusal::INVALID_PARAMETERS, refusal::NOT_FOUND, refusal::PRECONDITION_FAILED]),
    }
}

fn get_ticket_configuration(presets: &Presets) -> Operation {
    let examples = json!({"configuration": {"value": example::configuration(presets)}});
    Operation {
        route: GET_TICKET_CONFIGURATION,
        method: Method::GET,
        id: "getTicketConfiguration",
        summary: "Get the configuration",
        description: "Returns the allowed values of preset fields, in order, what a new ticket gets, and every limit.",
        parameters: vec![],
        body: None,
        at_other_form: false,
        success: vec![(
            "200",
            answer::json("The configuration", schema::reference("TicketConfiguration"), examples),
        )],
        refusals: refused(&[]),
    }
}

fn get_ticket_history(presets: &Presets) -> Operation {
    let mut parameters = vec![parameter::ticket_id()];
    parameters.extend(parameter::of_histories());
    Operation {
        route: LIST_TICKET_HISTORY,
        method: Method::GET,
        id: "getTicketHistory",
        summary: "Get a ticket's history",
        description: "Returns who changed what, when: one entry for each version of the ticket, ascending, a moment \
            after the change. For a deleted ticket it says who, when and which fields, without values.",
        parameters,
        body: None,
        at_other_form: false,
        success: vec![("200", answer::history("A page of the history", example::history(presets)))],
        refusals: refused(&[refusal::INVALID_QUERY, refusal::NOT_FOUND]),
    }
}

fn list_events(presets: &Presets) -> Operation {
    Operation {
        route: LIST_EVENTS,
        method: Method::GET,
        id: "listEvents",
        summary: "List events",
        description: "Returns what changed, over all tickets: one event for each version of each ticket, in the order \
            in which they were recorded. Keep the `id` of the last one and pass it as `after`: nothing ever appears \
            before it. An event is shown once it is as old as the settle window, ten seconds by default. A page can \
            be empty and still have a `Link`.",
        parameters: parameter::of_events().to_vec(),
        body: None,
        at_other_form: false,
        success: vec![("200", answer::events("A page of events", example::events(presets)))],
        refusals: refused(&[refusal::INVALID_QUERY]),
    }
}

fn count_tickets(presets: &Presets) -> Operation {
    let counts = schema::reference("TicketCounts");
    Operation {
        route: COUNT_TICKETS,
        method: Method::GET,
        id: "countTickets",
        summary: "Count tickets",
        description: "Returns how many tickets there are that every filter given lets through, in all and by the fields \
            that `by` names, the largest group first. Without `open` and `status` it counts the open ones, which are \
            those that wait. If `complete` is `false` there are too many to count, and every number means at least that.",
        parameters: parameter::of_counts(presets),
        body: None,
        at_other_form: false,
        success: vec![("200", answer::json("The counts", counts, example::counts(presets)))],
        refusals: refused(&[refusal::INVALID_QUERY]),
    }
}

/// The refusals of one operation, followed by those of every operation.
fn refused(own: &[Refusal]) -> Vec<Refusal> {
    [own, &refusal::OF_ALL].concat()
}

/// A request's body, with an example.
fn body(schema: &str, summary: &str, example: Value) -> Value {
    let content = json!({
        "schema": schema::reference(schema),
        "examples": {"ticket": {"summary": summary, "value": example}},
    });
    json!({"required": true, "content": {"application/json": content}})
}

/// The body of a batch, with an example.
fn rows(schema: &str, summary: &str, example: Value) -> Value {
    let rows =
        json!({"type": "array", "minItems": 1, "maxItems": MOST_ROWS, "items": schema::reference(schema)});
    let examples = json!({"batch": {"summary": summary, "value": example}});
    json!({"required": true, "content": {"application/json": {"schema": rows, "examples": examples}}})
}
