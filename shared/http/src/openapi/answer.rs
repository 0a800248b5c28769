//! The responses of operations that succeed.

use serde_json::{Value, json};
use tickets_domain::{Presets, Timestamp};

use super::{example, schema};

/// A ticket, with its version.
pub(super) fn ticket(description: &str, presets: &Presets) -> Value {
    json!({
        "description": description,
        "content": content("Ticket", json!({"ticket": {"value": example::ticket(presets)}})),
        "headers": {"ETag": etag()},
    })
}

/// A ticket just created.
pub(super) fn created(description: &str, presets: &Presets) -> Value {
    let mut created = ticket(description, presets);
    created["headers"]["Location"] = header("Its path", json!({"type": "string", "format": "uri-reference"}));
    created["headers"]["Idempotency-Replayed"] = header(
        "`true` where an earlier request with this key created it",
        json!({"type": "string", "enum": ["true"]}),
    );
    // The operations that can follow.
    let link =
        |operation: &str| json!({"operationId": operation, "parameters": {"id": "$response.body#/id"}});
    created["links"] = json!({
        "get": link("getTicket"), "put": link("putTicket"),
        "patch": link("patchTicket"), "delete": link("deleteTicket"),
    });
    created
}

/// The response if the caller already has this version of the ticket.
pub(super) fn not_modified(description: &str) -> Value {
    json!({"description": description, "headers": {"ETag": etag()}})
}

/// The presets and limits.
pub(super) fn configuration(description: &str, presets: &Presets) -> Value {
    let examples = json!({"configuration": {"value": example::configuration(presets)}});
    json!({"description": description, "content": content("TicketConfiguration", examples)})
}

/// A page of a list.
pub(super) fn list(description: &str, examples: Value) -> Value {
    json!({
        "description": description,
        "content": {"application/json": {
            "schema": {"type": "array", "items": schema::reference(schema::LISTED)},
            "examples": examples,
        }},
        "headers": {
            "Link": header(
                "`<PATH?…&idAfter=LAST>; rel=\"next\"`: the next page, where there is one",
                json!({"type": "string"}),
            ),
            "Sync-Until": header("Every change up to it is in this pass", schema::of::<Timestamp>()),
            "Sync-Epoch": header(
                "Changes only when the table was restored from an earlier state: a copy then starts over",
                json!({"type": "string"}),
            ),
        },
    })
}

/// A ticket's history.
pub(super) fn history(description: &str, examples: Value) -> Value {
    json!({
        "description": description,
        "content": {"application/json": {
            "schema": {"type": "array", "items": schema::reference(schema::HISTORY_ENTRY)},
            "examples": examples,
        }},
        "headers": {"Link": header(
            "`<PATH?…&versionAfter=LAST>; rel=\"next\"`: the next page, where there is one",
            json!({"type": "string"}),
        )},
    })
}

fn content(schema: &str, examples: Value) -> Value {
    json!({"application/json": {"schema": schema::reference(schema), "examples": examples}})
}

fn etag() -> Value {
    header(
        "The ticket's version",
        json!({"type": "string", "pattern": "^\"[1-9][0-9]*\"$", "examples": ["\"1\""]}),
    )
}

pub(super) fn header(description: &str, schema: Value) -> Value {
    json!({"description": description, "schema": schema})
}
