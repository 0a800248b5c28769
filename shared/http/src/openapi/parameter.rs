//! The parameters of operations, in paths, queries and headers.

use serde::Serialize;
use serde_json::{Value, json};
use tickets_domain::count::CountBy;
use tickets_domain::filter::{MAX_IDS, MAX_LIMIT};
use tickets_domain::id::CustomerId;
use tickets_domain::idempotency::KEY_CHARACTERS;
use tickets_domain::preset::Preset;
use tickets_domain::time::DateOrTime;
use tickets_domain::{EventId, EventType, Presets, TicketId};

use super::{example, schema};
use crate::list::{Parameter, Spec, Value as Takes};
use crate::{counts, events, history};

/// The id in the path of a ticket.
pub(super) fn ticket_id() -> Value {
    in_path("The ticket's id", schema::of::<TicketId>(), example::TICKET)
}

/// The id in the path of a customer's tickets.
pub(super) fn customer_id() -> Value {
    in_path("The customer's id", schema::of::<CustomerId>(), example::CUSTOMER)
}

/// The parameters of a ticket's history.
pub(super) fn of_histories() -> [Value; 2] {
    let version = json!({"type": "integer", "format": "int64", "examples": [3]});
    let [version_after, limit] = history::PARAMETERS;
    [in_query(version_after, "Only later versions", version), limit_of(limit)]
}

/// The parameters of the feed of events.
pub(super) fn of_events() -> [Value; 4] {
    let [after, since, kind, limit] = events::PARAMETERS;
    let kinds = json!({"type": "array", "minItems": 1, "items": schema::of::<EventType>()});
    [
        in_query(after, "Only events after the one with this id", schema::of::<EventId>()),
        in_query(since, "Only events recorded then or later", schema::of::<DateOrTime>()),
        several(kind, "Only events of these types", kinds, false),
        limit_of(limit),
    ]
}

/// The parameters of counts.
pub(super) fn of_counts(presets: &Presets) -> Vec<Value> {
    let fields = json!({"type": "string", "enum": CountBy::ALL.map(CountBy::name)});
    let fields = json!({"type": "array", "minItems": 1, "items": fields});
    let by = several(counts::BY, "The fields by which to count", fields, false);
    [by].into_iter().chain(counts::filters().map(|filter| of_list(filter.spec(), presets))).collect()
}

/// The parameters of lists.
pub(super) fn of_lists(presets: &Presets) -> Vec<Value> {
    Parameter::ALL.into_iter().map(|parameter| of_list(parameter.spec(), presets)).collect()
}

fn of_list(Spec { name, value, purpose: _, description }: Spec, presets: &Presets) -> Value {
    let schema = match value {
        Takes::Integer => json!({"type": "integer", "format": "int64", "examples": [43]}),
        Takes::Time | Takes::DueDate => schema::of::<DateOrTime>(),
        Takes::Limit => return limit_of(name),
        Takes::Flag => json!({"type": "boolean", "default": false}),
        Takes::TrueOrFalse => json!({"type": "boolean"}),
        Takes::Ids => return ids(name, description),
        Takes::AnyOf(preset) => return any_of(name, description, &preset(presets)),
        Takes::Opaque => json!({"type": "string"}),
    };
    in_query(name, description, schema)
}

/// How many a response may hold. The example is the parameter's own, with which the page `/docs` fills the field in:
/// a first try would otherwise show everything.
fn limit_of(name: &str) -> Value {
    let schema = json!({"type": "integer", "format": "int32", "minimum": 1, "maximum": MAX_LIMIT});
    let mut limit = in_query(name, Parameter::Limit.spec().description, schema);
    limit["example"] = 20.into();
    limit
}

/// `Idempotency-Key`
pub(super) fn idempotency_key() -> Value {
    in_header(
        "Idempotency-Key",
        "However often a request with this key is repeated within 24 hours, there is one ticket",
        json!({
            "type": "string",
            "minLength": 1,
            "maxLength": KEY_CHARACTERS,
            "pattern": "^[!-~]([ -~]*[!-~])?$",
            "examples": ["7a2c9d1e-invoice-2026-118"],
        }),
    )
}

/// `If-Match`
pub(super) fn if_match() -> Value {
    in_header("If-Match", "Only if the ticket is at this version, as its `ETag` says; `*` for any", etag())
}

/// `If-None-Match`
pub(super) fn if_none_match() -> Value {
    in_header("If-None-Match", "Only if the ticket is at another version: else 304", etag())
}

/// One tag or several, separated by commas.
fn etag() -> Value {
    let pattern = "^(\\*|(W/)?\"[!#-~]*\"(, ?(W/)?\"[!#-~]*\")*)$";
    json!({"type": "string", "pattern": pattern, "examples": ["\"1-0c5fe1a2\""]})
}

/// The id in a path. The example is the parameter's own, because tools that send requests look for it there.
fn in_path(description: &str, schema: Value, example: impl Serialize) -> Value {
    json!({
        "name": "id", "in": "path", "required": true, "description": description, "example": example, "schema": schema,
    })
}

fn in_query(name: &str, description: &str, schema: Value) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": schema})
}

/// A parameter that takes ids of tickets, separated by commas.
fn ids(name: &str, description: &str) -> Value {
    let id = schema::of::<TicketId>();
    let id = id["pattern"].as_str().unwrap_or_default().trim_matches(['^', '$']);
    let pattern = format!("^{id}(,{id}){{0,{}}}$", MAX_IDS - 1);
    in_query(name, description, json!({"type": "string", "pattern": pattern, "examples": ["43,44"]}))
}

/// A parameter that takes values of a preset, separated by commas. A value that is not configured may have commas in
/// it, so each is a parameter of its own.
fn any_of(name: &str, description: &str, preset: &Preset) -> Value {
    let any = preset.values().is_empty();
    let value = if any {
        json!({"type": "string", "minLength": 1})
    } else {
        json!({"type": "string", "enum": preset.values()})
    };
    several(name, description, json!({"type": "array", "minItems": 1, "items": value}), any)
}

fn several(name: &str, description: &str, schema: Value, explode: bool) -> Value {
    let mut parameter = in_query(name, description, schema);
    (parameter["style"], parameter["explode"]) = ("form".into(), explode.into());
    parameter
}

fn in_header(name: &str, description: &str, schema: Value) -> Value {
    json!({"name": name, "in": "header", "description": description, "schema": schema})
}
