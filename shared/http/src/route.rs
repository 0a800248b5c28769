//! The routes of the API. `template.yaml`, the watch router and README repeat this table; a test
//! fails when they differ.

use lambda_http::http::Method;
use tickets_domain::Scope;

/// Where the API is, on every host.
pub const BASE_PATH: &str = "/backend/api/v1";

/// The path of one ticket, below [`BASE_PATH`].
pub const TICKET: &str = "/tickets/{id}";
/// The path of all tickets.
pub const TICKETS: &str = "/tickets";
/// The path of a customer's tickets.
pub const CUSTOMER_TICKETS: &str = "/customers/{id}/tickets";

/// A route: which function answers which methods of a path, and the scope it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The function's name: its package, its binary and its folder.
    pub function: &'static str,
    /// The methods it answers.
    pub methods: &'static [Method],
    /// The path, without the trailing slash it may have.
    pub path: &'static str,
    /// The scope a key needs.
    pub scope: Scope,
    /// Whether this function also answers what no other does on its path: CORS preflights, and
    /// methods that are not allowed.
    pub fallback: bool,
}

/// `GET /tickets/{id}`
pub const GET_TICKET: Route = Route {
    function: "get-ticket",
    methods: &[Method::GET],
    path: TICKET,
    scope: Scope::Read,
    fallback: true,
};
/// `GET /tickets/`
pub const LIST_TICKETS: Route = Route {
    function: "list-tickets",
    methods: &[Method::GET],
    path: TICKETS,
    scope: Scope::Read,
    fallback: true,
};
/// `GET /customers/{id}/tickets/`
pub const LIST_CUSTOMER_TICKETS: Route = Route {
    function: "list-customer-tickets",
    methods: &[Method::GET],
    path: CUSTOMER_TICKETS,
    scope: Scope::Read,
    fallback: true,
};
/// `POST /tickets/`
pub const CREATE_TICKET: Route = Route {
    function: "create-ticket",
    methods: &[Method::POST],
    path: TICKETS,
    scope: Scope::Write,
    fallback: false,
};
/// `PUT /tickets/{id}`, `PATCH /tickets/{id}`
pub const UPDATE_TICKET: Route = Route {
    function: "update-ticket",
    methods: &[Method::PUT, Method::PATCH],
    path: TICKET,
    scope: Scope::Write,
    fallback: false,
};
/// `DELETE /tickets/{id}`
pub const DELETE_TICKET: Route = Route {
    function: "delete-ticket",
    methods: &[Method::DELETE],
    path: TICKET,
    scope: Scope::Delete,
    fallback: false,
};

/// Every route.
pub const ROUTES: [Route; 6] =
    [GET_TICKET, LIST_TICKETS, LIST_CUSTOMER_TICKETS, CREATE_TICKET, UPDATE_TICKET, DELETE_TICKET];

/// The methods allowed on a path, as `Allow` lists them.
pub fn allowed(path: &str) -> String {
    let routes = ROUTES.iter().filter(|route| route.path == path);
    let mut methods: Vec<&str> = routes.flat_map(|route| route.methods).map(Method::as_str).collect();
    methods.push(Method::OPTIONS.as_str());
    methods.join(", ")
}
