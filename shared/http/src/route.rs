//! The routes of the API: the one list of them. Access tests, sample events and the watch router are made from it;
//! tests compare it with `template.yaml`, the description of the API, the folders in `functions/`, and README.

use lambda_http::RequestExt;
use lambda_http::http::Method;
use tickets_domain::Scope;

use crate::request::tail;

/// The path of the API on every host.
pub const BASE_PATH: &str = "/backend/api/v1";

/// The path of one ticket, below [`BASE_PATH`].
pub const TICKET: &str = "/tickets/{id}";
/// The path of all tickets.
pub const TICKETS: &str = "/tickets";
/// The path of a customer's tickets.
pub const CUSTOMER_TICKETS: &str = "/customers/{id}/tickets";

/// The path of a ticket's history.
pub const TICKET_HISTORY: &str = "/tickets/{id}/history";
/// The path of the feed of events.
pub const EVENTS: &str = "/events";
/// The path of counts.
pub const TICKET_COUNTS: &str = "/ticket-counts";
/// The path of the presets and limits.
pub const TICKET_CONFIGURATION: &str = "/ticket-configuration";

/// The API's description for programs.
pub const OPENAPI: &str = "/openapi.json";
/// The API's description for people.
pub const DOCS: &str = "/docs";
/// The paths of documents that anybody may `GET` without a key, because they contain no tickets. The function
/// of [`GET_TICKET_CONFIGURATION`] answers them.
pub const DOCUMENTS: [&str; 2] = [OPENAPI, DOCS];

/// The functions that answer requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    GetTicket,
    ListTickets,
    ListCustomerTickets,
    CreateTicket,
    UpdateTicket,
    UpdateTickets,
    DeleteTicket,
    GetTicketConfiguration,
    ListTicketHistory,
    ListEvents,
    CountTickets,
}

impl Function {
    /// Its package, its binary and its folder have this name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetTicket => "get-ticket",
            Self::ListTickets => "list-tickets",
            Self::ListCustomerTickets => "list-customer-tickets",
            Self::CreateTicket => "create-ticket",
            Self::UpdateTicket => "update-ticket",
            Self::UpdateTickets => "update-tickets",
            Self::DeleteTicket => "delete-ticket",
            Self::GetTicketConfiguration => "get-ticket-configuration",
            Self::ListTicketHistory => "list-ticket-history",
            Self::ListEvents => "list-events",
            Self::CountTickets => "count-tickets",
        }
    }
}

/// A route: which function answers which methods of a path, and which scope that needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub function: Function,
    /// The methods it answers. `GET` includes `HEAD`.
    pub methods: &'static [Method],
    /// The path without a trailing slash; it is answered with one too.
    pub path: &'static str,
    /// The scope a key needs.
    pub scope: Scope,
    /// Whether this function also answers the methods that no other one answers on this path: CORS
    /// preflights, and methods that are not allowed.
    pub fallback: bool,
}

impl Route {
    /// Whether this function answers this method.
    pub fn answers(&self, method: &Method) -> bool {
        // Every server must support both `GET` and `HEAD` (RFC 9110, section 9.1).
        self.methods.contains(if method == Method::HEAD { &Method::GET } else { method })
    }
}

/// `GET /tickets/{id}`
pub const GET_TICKET: Route = Route {
    function: Function::GetTicket,
    methods: &[Method::GET],
    path: TICKET,
    scope: Scope::Read,
    fallback: true,
};
/// `GET /tickets/`
pub const LIST_TICKETS: Route = Route {
    function: Function::ListTickets,
    methods: &[Method::GET],
    path: TICKETS,
    scope: Scope::Read,
    fallback: true,
};
/// `GET /customers/{id}/tickets/`
pub const LIST_CUSTOMER_TICKETS: Route = Route {
    function: Function::ListCustomerTickets,
    methods: &[Method::GET],
    path: CUSTOMER_TICKETS,
    scope: Scope::Read,
    fallback: true,
};
/// `POST /tickets/`
pub const CREATE_TICKET: Route = Route {
    function: Function::CreateTicket,
    methods: &[Method::POST],
    path: TICKETS,
    scope: Scope::Write,
    fallback: false,
};
/// `PUT /tickets/{id}`, `PATCH /tickets/{id}`
pub const UPDATE_TICKET: Route = Route {
    function: Function::UpdateTicket,
    methods: &[Method::PUT, Method::PATCH],
    path: TICKET,
    scope: Scope::Write,
    fallback: false,
};
/// `PATCH /tickets/`
pub const UPDATE_TICKETS: Route = Route {
    function: Function::UpdateTickets,
    methods: &[Method::PATCH],
    path: TICKETS,
    scope: Scope::Write,
    fallback: false,
};
/// `DELETE /tickets/{id}`
pub const DELETE_TICKET: Route = Route {
    function: Function::DeleteTicket,
    methods: &[Method::DELETE],
    path: TICKET,
    scope: Scope::Delete,
    fallback: false,
};
/// `GET /ticket-configuration/`
pub const GET_TICKET_CONFIGURATION: Route = Route {
    function: Function::GetTicketConfiguration,
    methods: &[Method::GET],
    path: TICKET_CONFIGURATION,
    scope: Scope::Read,
    fallback: true,
};
/// `GET /tickets/{id}/history/`
pub const LIST_TICKET_HISTORY: Route = Route {
    function: Function::ListTicketHistory,
    methods: &[Method::GET],
    path: TICKET_HISTORY,
    scope: Scope::Read,
    fallback: true,
};

/// `GET /events/`
pub const LIST_EVENTS: Route = Route {
    function: Function::ListEvents,
    methods: &[Method::GET],
    path: EVENTS,
    scope: Scope::Read,
    fallback: true,
};

/// `GET /ticket-counts/`
pub const COUNT_TICKETS: Route = Route {
    function: Function::CountTickets,
    methods: &[Method::GET],
    path: TICKET_COUNTS,
    scope: Scope::Read,
    fallback: true,
};

/// What the `{id}` in a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathId {
    Ticket,
    Customer,
}

/// What the `{id}` in a path is, if it has one.
pub fn path_id(path: &str) -> Option<PathId> {
    if path.starts_with("/tickets/{id}") {
        Some(PathId::Ticket)
    } else if path.starts_with("/customers/{id}") {
        Some(PathId::Customer)
    } else {
        None
    }
}

/// Every route that needs a key.
pub const ROUTES: [Route; 11] = [
    GET_TICKET,
    LIST_TICKETS,
    LIST_CUSTOMER_TICKETS,
    CREATE_TICKET,
    UPDATE_TICKET,
    UPDATE_TICKETS,
    DELETE_TICKET,
    GET_TICKET_CONFIGURATION,
    LIST_TICKET_HISTORY,
    LIST_EVENTS,
    COUNT_TICKETS,
];

/// The document that an event asks for; `None` if it asks for something else.
pub fn document(event: &lambda_http::Request) -> Option<&'static str> {
    DOCUMENTS.into_iter().find(|document| tail(document, event.raw_http_path()).is_some())
}

/// All methods of the API, in the order of [`allowed`].
pub const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// The methods allowed on a path, as `Allow` lists them.
pub fn allowed(path: &str) -> String {
    let reads = |method: &Method| DOCUMENTS.contains(&path) && GET_TICKET_CONFIGURATION.answers(method);
    let of = |method: &Method| {
        reads(method) || ROUTES.iter().any(|route| route.path == path && route.answers(method))
    };
    let answered = METHODS.iter().filter(|method| **method == Method::OPTIONS || of(method));
    answered.map(Method::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_answers_its_methods_and_head_where_it_answers_get() {
        assert!(GET_TICKET.answers(&Method::GET) && GET_TICKET.answers(&Method::HEAD));
        assert!(UPDATE_TICKET.answers(&Method::PUT) && UPDATE_TICKET.answers(&Method::PATCH));
        for method in [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS] {
            assert!(!UPDATE_TICKET.answers(&method), "{method}");
        }
    }

    #[test]
    fn it_is_known_what_the_id_in_a_path_is() {
        assert_eq!(
            (path_id(TICKET), path_id(CUSTOMER_TICKETS)),
            (Some(PathId::Ticket), Some(PathId::Customer))
        );
        for Route { path, .. } in &ROUTES {
            assert_eq!(
                path_id(path).is_some(),
                path.contains("{id}"),
                "{path} is new: `path_id` must know its id"
            );
        }
    }

    #[test]
    fn a_path_allows_what_some_function_answers_on_it() {
        for (path, methods) in [
            (TICKET, "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
            (TICKETS, "GET, HEAD, POST, PATCH, OPTIONS"),
            (CUSTOMER_TICKETS, "GET, HEAD, OPTIONS"),
            (OPENAPI, "GET, HEAD, OPTIONS"),
            (DOCS, "GET, HEAD, OPTIONS"),
            ("/elsewhere", "OPTIONS"),
        ] {
            assert_eq!(allowed(path), methods, "{path}");
        }
    }

    #[test]
    fn a_document_is_known_by_the_end_of_its_path() {
        let asked = |path: &str| document(&lambda_http::Request::default().with_raw_http_path(path));
        assert_eq!(asked("/backend/api/v1/openapi.json"), Some(OPENAPI));
        assert_eq!((asked("/docs"), asked("/stage/docs/")), (Some(DOCS), Some(DOCS)));
        assert_eq!((asked("/tickets"), asked("/docs/1")), (None, None));
    }
}
