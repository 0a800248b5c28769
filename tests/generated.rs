//! Tests that files, and parts of files, that repeat a list of the code are up to date: the sample events, the watch
//! router, and the columns of the example connectors. To write them:
//! `UPDATE_FILES=1 cargo test --test specification -- generate`.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use support::files::{assert_generated, assert_part_generated, read};
use support::operation::{Operation, operation};
use tickets_domain::ticket::TEXT_FIELDS;
use tickets_http::route::{
    self, BASE_PATH, DOCUMENTS, Function, GET_TICKET_CONFIGURATION, METHODS, PathId, ROUTES, Route,
};

/// The queries of sample events that have one.
const QUERIES: [(Function, &[(&str, &str)]); 4] = [
    (Function::ListTickets, &[("updatedSince", "2026-01-01T02:00:00+02:00"), ("limit", "100")]),
    (Function::ListCustomerTickets, &[("includeDeleted", "true")]),
    (Function::CountTickets, &[("by", "status,owner"), ("open", "true")]),
    (Function::ListEvents, &[("since", "2026-01-01"), ("type", "ticket.created"), ("limit", "100")]),
];

/// The characters to encode in a query: all except the unreserved ones of RFC 3986.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A sample request of a route.
struct Sample {
    route: Route,
    method: &'static str,
    /// The path below [`BASE_PATH`], in its published form.
    path: String,
    id: Option<&'static str>,
    query: &'static [(&'static str, &'static str)],
    /// The example of the API's description.
    body: Option<String>,
}

impl Sample {
    fn of(route: &Route) -> Self {
        // Of `PUT` and `PATCH` the second: the example of the first is a whole ticket.
        let method = route.methods.last().unwrap();
        let id = route::path_id(route.path).map(|id| match id {
            PathId::Ticket => "1",
            PathId::Customer => "42",
        });
        let Operation { path, example, .. } = operation(route, method);
        let query = QUERIES.iter().find(|(function, _)| *function == route.function);
        Self {
            route: route.clone(),
            method: METHODS.iter().find(|known| *known == method).unwrap().as_str(),
            path: path.replace("{id}", id.unwrap_or_default()),
            id,
            query: query.map_or(&[], |(_, query)| query),
            body: example.map(|example| example.to_string()),
        }
    }

    fn path_parameters(&self) -> Option<Value> {
        self.id.map(|id| json!({"id": id}))
    }

    /// The query as the events have it: each name with its value.
    fn query(&self) -> Option<Map<String, Value>> {
        let query: Map<_, _> =
            self.query.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        Some(query).filter(|query| !query.is_empty())
    }

    /// The event of a REST API. Everything that is the same for every route comes from another sample.
    fn rest(&self, mut event: Value) -> Value {
        let resource = format!("/api/v1{}", self.route.path);
        let multiple = |map: Map<String, Value>| -> Map<_, _> {
            map.into_iter().map(|(name, value)| (name, json!([value]))).collect()
        };
        event["resource"] = json!(resource);
        event["path"] = json!(format!("/api/v1{}", self.path));
        event["httpMethod"] = json!(self.method);
        event["pathParameters"] = json!(self.path_parameters());
        event["queryStringParameters"] = json!(self.query());
        event["multiValueQueryStringParameters"] = json!(self.query().map(multiple));
        event["body"] = json!(self.body);
        if self.body.is_some() {
            event["headers"]["content-type"] = json!("application/json");
            event["multiValueHeaders"]["content-type"] = json!(["application/json"]);
        }
        let context = &mut event["requestContext"];
        context["resourcePath"] = json!(resource);
        context["path"] = json!(format!("{BASE_PATH}{}", self.path));
        context["httpMethod"] = json!(self.method);
        event
    }

    /// The event of an HTTP API, which leaves out what a request does not have.
    fn http(&self, mut event: Value) -> Value {
        let path = format!("{BASE_PATH}{}", self.path);
        let pairs: Vec<_> = self
            .query
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY)))
            .collect();
        event["routeKey"] = json!(format!("{} {BASE_PATH}{}", self.method, self.route.path));
        event["rawPath"] = json!(path);
        event["rawQueryString"] = json!(pairs.join("&"));
        let context = &mut event["requestContext"];
        context["routeKey"] = json!(format!("{} {BASE_PATH}{}", self.method, self.route.path));
        context["http"]["method"] = json!(self.method);
        context["http"]["path"] = json!(path);
        if self.body.is_some() {
            event["headers"]["content-type"] = json!("application/json");
        }
        let members = event.as_object_mut().unwrap();
        for (name, value) in [
            ("pathParameters", self.path_parameters()),
            ("queryStringParameters", self.query().map(Value::from)),
            ("body", self.body.clone().map(Value::from)),
        ] {
            members.remove(name);
            members.extend(value.map(|value| (name.to_owned(), value)));
        }
        event
    }
}

#[test]
fn every_route_has_sample_events_generated_from_it() {
    let get_ticket = |format: &str| -> Value {
        serde_json::from_str(&read(&format!("events/get-ticket.{format}.json"))).unwrap()
    };
    for route in &ROUTES {
        let sample = Sample::of(route);
        for (format, event) in
            [("rest", sample.rest(get_ticket("rest"))), ("http", sample.http(get_ticket("http")))]
        {
            let text = format!("{}\n", serde_json::to_string_pretty(&event).unwrap());
            assert_generated(&format!("events/{}.{format}.json", route.function.name()), &text);
        }
    }
}

/// The lines of the watch router for one path, with and without a final slash.
fn routed(path: &str, function: Function, methods: Option<Vec<&str>>) -> String {
    let methods = methods.map(|methods| format!("methods = {methods:?}, ")).unwrap_or_default();
    let line = |slash| {
        format!(
            "    {{ path = \"{BASE_PATH}{path}{slash}\", {methods}function = \"{}\" }},\n",
            function.name()
        )
    };
    [line(""), line("/")].concat()
}

#[test]
fn the_watch_router_is_generated_from_the_routes() {
    let mut lines = String::new();
    let mut seen = BTreeSet::new();
    for path in ROUTES.iter().map(|route| route.path).filter(|path| seen.insert(*path)) {
        let of_path: Vec<_> = ROUTES.iter().filter(|route| route.path == path).collect();
        for route in &of_path {
            // The fallback also gets the methods that nobody answers.
            let others = |method| of_path.iter().any(|other| other != route && other.answers(method));
            let routed_here =
                METHODS.iter().filter(|method| route.answers(method) || (route.fallback && !others(method)));
            let methods = (of_path.len() > 1).then(|| routed_here.map(|method| method.as_str()).collect());
            lines.push_str(&routed(path, route.function, methods));
        }
    }
    for document in DOCUMENTS {
        lines.push_str(&routed(document, GET_TICKET_CONFIGURATION.function, None));
    }
    assert_part_generated("Cargo.toml", "\nrouter = [\n", "]\n", &lines);
}

#[test]
fn the_columns_of_example_connectors_are_generated_from_the_fields() {
    let each =
        |line: &dyn Fn(&str) -> String| TEXT_FIELDS.iter().map(|(name, _)| line(name)).collect::<String>();
    let names = each(&|name| format!("    \"{name}\",\n"));
    for program in ["examples/dlt/tickets_pipeline.py", "examples/singer/tap_tickets.py"] {
        assert_part_generated(program, "\nTEXTS = [\n", "]\n", &names);
    }
    let columns = each(&|name| format!("        \"{name}\": 'VARCHAR',\n"));
    let (before, after) = ("        \"customerID\": 'UBIGINT',\n", "        \"createdDate\": 'TIMESTAMPTZ',");
    assert_part_generated("examples/duckdb/tickets.sql", before, after, &columns);
    let properties = each(&|name| format!("          {name}: {{type: [string, \"null\"]}}\n"));
    let (before, after) = ("          customerID: {type: integer}\n", "          createdDate:");
    assert_part_generated("examples/airbyte/manifest.yaml", before, after, &properties);
}
