//! The API in OpenAPI 3.1, made of the types, limits and routes that the code itself goes by.

use lambda_http::http::Method;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use tickets_domain::filter::MAX_LIMIT;
use tickets_domain::id::CustomerId;
use tickets_domain::idempotency::KEY_CHARACTERS;
use tickets_domain::preset::Preset;
use tickets_domain::{Presets, Record, Ticket, TicketFields, TicketId, Timestamp};

use crate::problem;
use crate::query::PARAMETERS;
use crate::route::{self, BASE_PATH, ROUTES, Route};

/// The description of an API with these presets.
pub fn document(presets: &Presets) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tickets API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": DESCRIPTION,
        },
        "servers": [{"url": BASE_PATH}],
        "security": [{"key": []}],
        "tags": [{"name": "Tickets", "description": "A ticket tracks a customer request from start to finish."}],
        "paths": paths(),
        "components": {
            "securitySchemes": {"key": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "tk_<keyId>_<64 hexadecimal digits>",
                "description": "A key with the scopes read, write, delete; perhaps restricted to one customer.",
            }},
            "schemas": schemas(presets),
        },
    })
}

const DESCRIPTION: &str = "Every path works with and without a trailing slash. Lists are ascending by id, paged by \
    `idAfter`; a response that does not hold everything has a `Link` to the next page. To keep a copy, poll \
    `updatedSince` with the `Sync-Until` of the last pass' first page. A `POST` with an `Idempotency-Key` may be \
    repeated; a change with `If-Match` overwrites nothing it has not seen. Errors are RFC 9457 problems that name \
    every invalid field at once.";

/// The paths, with every method that a route answers.
fn paths() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        // The published form; both are answered.
        let path = if route.path.ends_with('}') { route.path.to_owned() } else { format!("{}/", route.path) };
        let item = paths.entry(path).or_insert_with(|| json!({}));
        for method in route.methods {
            item[method.as_str().to_lowercase()] = operation(&route, method);
        }
    }
    paths.into()
}

/// What an operation is called, what it takes, and what it answers when it succeeds.
fn operation(route: &Route, method: &Method) -> Value {
    let list = |of: &str| {
        let content = json!({"application/json": {"schema": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/Record"},
        }}});
        let headers = json!({
            "Link": header("`<?…&idAfter=LAST>; rel=\"next\"`: the next page, where there is one", json!({"type": "string"})),
            "Sync-Until": header("Every change up to it is in this pass", schema::<Timestamp>()),
        });
        json!({"description": of, "content": content, "headers": headers})
    };
    let etag = header("The ticket's version", json!({"type": "string", "pattern": "^\"[1-9][0-9]*\"$"}));
    let ticket = |of: &str| {
        json!({
            "description": of,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ticket"}}},
            "headers": {"ETag": etag},
        })
    };
    let if_match = header_parameter(
        "If-Match",
        "Only if the ticket is at this version, as its `ETag` says; `*` for any",
    );
    let (id, summary, mut parameters, body, success) = match route.function {
        "get-ticket" => {
            let none_match =
                header_parameter("If-None-Match", "Only if the ticket is at another version: else 304");
            (
                "getTicket",
                "One ticket",
                vec![none_match],
                None,
                vec![
                    ("200", ticket("The ticket")),
                    (
                        "304",
                        json!({
                            "description": "It is at this version",
                            "headers": {"ETag": etag},
                        }),
                    ),
                ],
            )
        }
        "list-tickets" => {
            ("listTickets", "All tickets", list_parameters(), None, vec![("200", list("A page of tickets"))])
        }
        "list-customer-tickets" => (
            "listCustomerTickets",
            "A customer's tickets",
            list_parameters(),
            None,
            vec![("200", list("A page of tickets"))],
        ),
        "create-ticket" => {
            let key = json!({
                "name": "Idempotency-Key",
                "in": "header",
                "description": "However often a request with this key is repeated within 24 hours, there is one ticket",
                "schema": {"type": "string", "minLength": 1, "maxLength": KEY_CHARACTERS, "pattern": "^[!-~]([ -~]*[!-~])?$"},
            });
            let mut created = ticket("The new ticket");
            created["headers"]["Location"] =
                header("Its path", json!({"type": "string", "format": "uri-reference"}));
            created["headers"]["Idempotency-Replayed"] =
                header("`true` where an earlier request with this key created it", json!({"const": "true"}));
            created["links"] = links();
            (
                "createTicket",
                "A new ticket",
                vec![key],
                Some(("NewTicket", example())),
                vec![("201", created)],
            )
        }
        "update-ticket" => {
            let id = if method == Method::PUT { "putTicket" } else { "patchTicket" };
            let example = json!({"status": "assigned", "owner": "grace"});
            (
                id,
                "Update the fields given",
                vec![if_match],
                Some(("TicketChange", example)),
                vec![("200", ticket("The ticket as it is now"))],
            )
        }
        _ => (
            "deleteTicket",
            "Delete a ticket",
            vec![if_match],
            None,
            vec![("204", json!({"description": "It is deleted"}))],
        ),
    };
    if let Some(parameter) = path_parameter(route.path) {
        parameters.insert(0, parameter);
    }
    let mut responses: Map<_, _> =
        success.into_iter().map(|(status, response)| (status.to_owned(), response)).collect();
    responses.extend(problems(route, body.is_some()));
    let mut operation = json!({
        "operationId": id,
        "summary": summary,
        "description": format!("Needs a key with the scope `{}`.", route.scope),
        "tags": ["Tickets"],
        "parameters": parameters,
        "responses": responses,
    });
    if let Some((name, example)) = body {
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema, "example": example}}});
    }
    operation
}

fn example() -> Value {
    json!({
        "customerID": 42,
        "subject": "Invoice 2026-118 is wrong",
        "ticketContent": "We were charged twice in October.",
        "customerEmail": "ada@example.com",
    })
}

/// What can be done next with a ticket just created.
fn links() -> Value {
    let link =
        |operation: &str| json!({"operationId": operation, "parameters": {"id": "$response.body#/id"}});
    json!({"get": link("getTicket"), "put": link("putTicket"), "patch": link("patchTicket"), "delete": link("deleteTicket")})
}

/// What an operation answers when it does not succeed.
fn problems(route: &Route, has_body: bool) -> Map<String, Value> {
    let id = route.path.contains("{id}");
    let every = [
        ("400", "Parameters, headers or JSON that cannot be read", true),
        ("401", "No key, or not a good one", true),
        ("403", "The key lacks the scope, or may not give a ticket to this customer", true),
        ("404", "There is no such ticket, or not for this key", id && route.path != route::CUSTOMER_TICKETS),
        (
            "409",
            "The first request with this Idempotency-Key is not decided yet",
            route == &route::CREATE_TICKET,
        ),
        (
            "412",
            "The ticket is at another version than `If-Match` says",
            route.path == route::TICKET && !route.fallback,
        ),
        ("413", "The body is too large", has_body),
        ("415", "The body is not JSON", has_body),
        ("422", "Invalid fields, or an Idempotency-Key used for another body", has_body),
        ("429", "Too many requests at once", true),
        ("500", "A fault of the service", true),
        ("503", "Try again: too many writers, or the database is slow", true),
    ];
    let problem = |description: &str, status: &str| {
        let mut response = json!({
            "description": description,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        });
        if ["409", "429", "503"].contains(&status) {
            let seconds = json!({"type": "integer", "minimum": 0});
            response["headers"] = json!({"Retry-After": header("Seconds after which to repeat it", seconds)});
        }
        response
    };
    let answered = every.into_iter().filter(|(_, _, answered)| *answered);
    answered.map(|(status, description, _)| (status.to_owned(), problem(description, status))).collect()
}

fn header(description: &str, schema: Value) -> Value {
    json!({"description": description, "schema": schema})
}

fn header_parameter(name: &str, description: &str) -> Value {
    // One tag; more may be listed, separated by commas.
    let schema = json!({"type": "string", "examples": ["\"1\""]});
    json!({"name": name, "in": "header", "description": description, "schema": schema})
}

fn path_parameter(path: &str) -> Option<Value> {
    let (schema, description) = match path {
        route::TICKET => (schema::<TicketId>(), "The ticket's id"),
        route::CUSTOMER_TICKETS => (schema::<CustomerId>(), "The customer's id"),
        _ => return None,
    };
    Some(json!({"name": "id", "in": "path", "required": true, "description": description, "schema": schema}))
}

/// The parameters of lists.
fn list_parameters() -> Vec<Value> {
    let time = schema::<Timestamp>();
    let flag = json!({"type": "boolean", "default": false});
    let described = |name: &str| match name {
        "idAfter" => (json!({"type": "integer"}), "Only higher ids"),
        "createdSince" => (time.clone(), "Only tickets created then or later"),
        "updatedSince" => (time.clone(), "Only tickets changed then or later"),
        "updatedUntil" => (time.clone(), "Only tickets last changed then or earlier"),
        "limit" => (
            json!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}),
            "At most so many; as many as fit if not said",
        ),
        "includeDeleted" => (flag.clone(), "Also what is left of deleted tickets"),
        _ => (
            flag.clone(),
            "Hold back what is fresher than `Sync-Until`, for clients that remember the greatest `updatedDate` \
             they saw; follow the `Link` from page to page",
        ),
    };
    let parameter = |name: &str| {
        let (schema, description) = described(name);
        let mut parameter =
            json!({"name": name, "in": "query", "description": description, "schema": schema});
        if schema == flag {
            // `?settled` alone says yes.
            parameter["allowEmptyValue"] = true.into();
        }
        parameter
    };
    PARAMETERS.map(parameter).into()
}

/// The schema of a value.
fn schema<T: JsonSchema>() -> Value {
    let mut schema = generator().into_root_schema_for::<T>();
    for not_of_a_part in ["$schema", "title"] {
        schema.remove(not_of_a_part);
    }
    schema.to_value()
}

/// The schemas of what goes in and out.
fn schemas(presets: &Presets) -> Value {
    let mut answered = generator();
    answered.subschema_for::<Record>();
    answered.subschema_for::<Ticket>();
    answered.subschema_for::<problem::Body<'_>>();
    let mut schemas = answered.take_definitions(true);
    // A field that was never set is absent.
    for name in ["Ticket", "Tombstone"] {
        if let Some(schema) = schemas.get_mut(name).and_then(|schema| <&mut Schema>::try_from(schema).ok()) {
            NeverNull.transform(schema);
        }
    }
    if let Some(problem) = schemas.remove("Body") {
        schemas.insert("Problem".into(), problem);
    }
    if let Some(record) = schemas.get_mut("Record") {
        record["description"] = "A ticket; with `includeDeleted` also what is left of one.".into();
    }
    let mut fields = schema::<TicketFields>();
    fields["additionalProperties"] = false.into();
    for (name, preset) in [
        ("ticketType", &presets.ticket_type),
        ("status", &presets.status),
        ("ticketPriority", &presets.priority),
        ("owner", &presets.owner),
    ] {
        choose(&mut fields["properties"][name], preset);
    }
    let mut new = fields.clone();
    new["description"] = "A new ticket. What is not given is preset or absent.".into();
    let mut change = fields;
    change["description"] =
        "The fields to change; `null` clears one. `id`, `createdDate` and `updatedDate` may be \
        sent back as they were fetched."
            .into();
    change.as_object_mut().into_iter().for_each(|change| drop(change.remove("required")));
    schemas.insert("NewTicket".into(), new);
    schemas.insert("TicketChange".into(), change);
    schemas.into()
}

/// A preset field takes the values configured.
fn choose(property: &mut Value, preset: &Preset) {
    if preset.values().is_empty() {
        return;
    }
    let values = preset.values().iter().map(|value| json!(value)).chain([Value::Null]);
    *property = json!({
        "description": format!("One of {}; without regard to case.", preset.values().join(", ")),
        "enum": values.collect::<Vec<_>>(),
    });
}

fn generator() -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    settings.for_serialize().into_generator()
}

/// Takes `null` out of a schema.
struct NeverNull;

impl Transform for NeverNull {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|kind| kind != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".into(), only);
            }
        }
        if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
            choices.retain(|choice| choice != &json!({"type": "null"}));
        }
        transform_subschemas(self, schema);
    }
}
