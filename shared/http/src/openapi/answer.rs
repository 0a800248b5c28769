//! The responses of operations that succeed.

use serde_json::{Value, json};
use tickets_domain::{Presets, Timestamp};

use super::{example, schema};

/// A ticket, with its version.
pub(super) fn ticket(description: &str, presets: &Presets) -> Value {
    let examples = json!({"ticket": {"value": example::ticket(presets)}});
    let mut ticket = json(description, schema::reference("Ticket"), examples);
    ticket["headers"]["ETag"] = etag();
    ticket
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

/// A value of a schema, as JSON.
pub(super) fn json(description: &str, schema: Value, examples: Value) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": schema, "examples": examples}}})
}

/// The results of a batch.
pub(super) fn batch(example: Value) -> Value {
    let results = json!({"type": "array", "items": schema::reference(schema::BATCH_RESULT)});
    json("What became of each row", results, json!({"results": {"value": example}}))
}

/// A page of a list.
pub(super) fn list(description: &str, examples: Value) -> Value {
    synced(
        page(description, schema::LISTED, "idAfter", examples),
        "Every change up to this instant is in this pass",
    )
}

/// A page of the feed of events.
pub(super) fn events(description: &str, examples: Value) -> Value {
    let page = page(description, schema::EVENT, "after", examples);
    synced(page, "Every event recorded up to it is in this pass, and none recorded later")
}

/// A page with the headers of a sync.
fn synced(mut page: Value, until: &str) -> Value {
    page["headers"]["Sync-Until"] = header(until, schema::of::<Timestamp>());
    page["headers"]["Sync-Epoch"] = header(
        "If it differs from the copy's (a restore, an import of old tickets), drop the copy and read everything again",
        json!({"type": "string"}),
    );
    page
}

/// A ticket's history.
pub(super) fn history(description: &str, examples: Value) -> Value {
    page(description, schema::HISTORY_ENTRY, "versionAfter", examples)
}

/// An array, with a `Link` to the next page, which begins after the last one by this parameter.
fn page(description: &str, items: &str, after: &str, examples: Value) -> Value {
    let schema = json!({"type": "array", "items": schema::reference(items)});
    let mut page = json(description, schema, examples);
    page["headers"]["Link"] = header(
        &format!("`<PATH?…&{after}=LAST>; rel=\"next\"`: the next page, where there is one"),
        json!({"type": "string"}),
    );
    page
}

fn etag() -> Value {
    header("The ticket's version, to send back in `If-Match` or `If-None-Match`", schema::etag())
}

pub(super) fn header(description: &str, schema: Value) -> Value {
    json!({"description": description, "schema": schema})
}
