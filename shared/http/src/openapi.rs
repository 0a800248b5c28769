//! Describes the API in OpenAPI 3.1. The types, limits and routes come from the code that uses them.
//!
//! - [`operation`]: the name, input and responses of each operation, one function each;
//! - [`parameter`], [`answer`], [`refusal`]: the parameters; the responses; the problems;
//! - [`schema`]: the types of requests and responses;
//! - [`example`]: the example values. Problems come from the code that returns them.
//!
//! People generate clients from it. So every type is one that all generators know, no name is reserved
//! in a language, and `.ci/clients` compiles and runs the generated clients.

mod answer;
mod example;
mod operation;
mod parameter;
mod refusal;
mod schema;

use serde_json::{Map, Value, json};
use tickets_domain::Presets;

use crate::route::BASE_PATH;
use operation::Operation;

/// The description of an API with these presets.
pub fn document(presets: &Presets) -> Value {
    let (paths, problems) = paths(presets);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tickets API",
            "version": env!("CARGO_PKG_VERSION"),
            "contact": {"name": "The Tickets API authors"},
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": DESCRIPTION,
        },
        "servers": [{"url": BASE_PATH, "description": "On the host that this description comes from"}],
        "security": [{"key": []}],
        "tags": [{"name": TICKETS, "description": "A ticket tracks a customer request from start to finish."}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "tk_<keyId>_<64 hexadecimal digits>",
                "description": "A key with the scopes read, write, delete; perhaps restricted to one customer.",
            }},
            "schemas": schema::all(presets),
            "responses": problems,
        },
    })
}

/// The `operationId`s in the order in which people read about them. The document has its paths in another one.
pub fn operation_ids(presets: &Presets) -> Vec<&'static str> {
    operation::all(presets).iter().map(|operation| operation.id).collect()
}

/// The tag of operations on tickets.
const TICKETS: &str = "Tickets";

/// The links lead to operations on the page `/docs`.
const DESCRIPTION: &str = "\
- **Page through:** [lists](#/Tickets/listTickets) are ascending by id. While there is more, the header `Link` leads to the next page.
- **Retry safely:** [create](#/Tickets/createTicket) with an `Idempotency-Key`: however often you repeat the request, it makes one ticket.
- **Update safely:** [update](#/Tickets/patchTicket) with the `ETag` as `If-Match`: if somebody has changed the ticket meanwhile, you get \
    a 412 and nothing is overwritten.
- **Keep a copy:** [poll](#/Tickets/listTickets) `updatedSince` with the `Sync-Until` of the last pass' first page: no change is missed.

Errors are RFC 9457 problems that name every invalid field at once. `HEAD` is answered wherever `GET` is.";

/// The paths with their operations, and the problems that the operations refer to.
fn paths(presets: &Presets) -> (Map<String, Value>, Map<String, Value>) {
    let (mut paths, mut problems) = (Map::new(), Map::new());
    for operation in operation::all(presets) {
        for refusal in &operation.refusals {
            problems.insert(refusal.name.into(), refusal.response(presets));
        }
        let (path, other_form) = published(&operation);
        let item = paths.entry(path).or_insert_with(|| json!({}));
        let method = operation.method.as_str().to_lowercase();
        item[method] = operation.into_json(other_form);
    }
    (paths, problems)
}

/// The published form of an operation's path, and a sentence about the other form. (The sentence is the operation's,
/// because some generators take any member of a path for a method.)
fn published(operation: &Operation) -> (String, &'static str) {
    let path = operation.route.path;
    if operation.at_other_form {
        (path.to_owned(), "Both forms of this path take one ticket or a batch; a batch is described here.")
    } else if path.ends_with('}') {
        (path.to_owned(), "The path is also answered with a slash at its end.")
    } else {
        (format!("{path}/"), "The path is also answered without the slash at its end.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickets_domain::PresetLists;

    #[test]
    fn the_document_is_the_one_that_is_published() {
        let published: Value = serde_json::from_str(include_str!("../../../openapi.json")).unwrap();
        let document = document(&Presets::parse(&PresetLists::default()).unwrap());
        assert!(
            document == published,
            "openapi.json is out of date: tests/generated.rs says how to renew it"
        );
    }

    #[test]
    fn a_deployment_s_own_presets_are_the_values_that_may_be_sent() {
        let lists = PresetLists {
            statuses: "Offen, Erledigt",
            closed: "Erledigt",
            owners: "Ada",
            ..PresetLists::default()
        };
        let document = document(&Presets::parse(&lists).unwrap());
        let create = &document["components"]["schemas"]["TicketCreate"]["properties"];
        assert_eq!(create["status"]["enum"], json!(["Offen", "Erledigt", null]));
        assert_eq!(
            (&create["owner"]["enum"], &create["owner"]["type"]),
            (&json!(["Ada", null]), &json!(["string", "null"]))
        );
        let list = document["paths"]["/tickets/"]["get"]["parameters"].as_array().unwrap().iter();
        let owner = list.filter(|parameter| parameter["name"] == "owner").collect::<Vec<_>>();
        assert_eq!(owner[0]["schema"]["items"]["enum"], json!(["Ada"]));
    }
}
