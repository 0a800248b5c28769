//! The types of requests and responses, as JSON Schemas (2020-12).

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use tickets_domain::count::TicketCounts;
use tickets_domain::input::IF_MATCH;
use tickets_domain::preset::Preset;
use tickets_domain::ticket::FieldKind;
use tickets_domain::{Departure, Event, HistoryEntry, Presets, Ticket, TicketFields, Tombstone};

use crate::configuration::FieldLimits;
use crate::{TicketConfiguration, problem};

/// The name of the schema of a list's records.
pub(super) const LISTED: &str = "TicketOrTombstone";
/// The name of the schema of a history's entries.
pub(super) const HISTORY_ENTRY: &str = "HistoryEntry";
/// The name of the schema of the feed's events.
pub(super) const EVENT: &str = "Event";
/// The name of the schema of a create's body.
pub(super) const CREATE: &str = "TicketCreate";
/// The name of the schema of an update's body.
pub(super) const UPDATE: &str = "TicketUpdate";
/// The name of the schema of a row of a batch of changes.
pub(super) const CHANGE: &str = "TicketChange";

/// The name of the schema of a batch's results.
pub(super) const BATCH_RESULT: &str = "BatchResult";

/// The schema of a type.
pub(super) fn of<T: JsonSchema>() -> Value {
    let mut schema = generator().into_root_schema_for::<T>();
    for not_of_a_part in ["$schema", "title"] {
        schema.remove(not_of_a_part);
    }
    schema.to_value()
}

/// The reference to a schema by its name.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// All schemas that have a name.
pub(super) fn all(presets: &Presets) -> Map<String, Value> {
    let mut schemas = answered(presets);
    schemas.insert(CREATE.into(), create(presets));
    schemas.insert(UPDATE.into(), update(presets));
    schemas.insert(CHANGE.into(), change(presets));
    schemas.insert(BATCH_RESULT.into(), batch_result());
    schemas
}

/// The schemas of responses.
fn answered(presets: &Presets) -> Map<String, Value> {
    let [mut ticket, tombstone, departure] =
        [of::<Ticket>(), of::<Tombstone>(), of::<Departure>()].map(never_null);
    for (name, preset) in preset_fields(presets) {
        // A ticket may have a value that is no longer configured, so these are examples and not an `enum`.
        ticket["properties"][name]["examples"] = preset.values().into();
    }
    let mut generator = generator();
    generator.subschema_for::<problem::Body<'_>>();
    generator.subschema_for::<TicketConfiguration<'_>>();
    generator.subschema_for::<TicketCounts>();
    let mut schemas = generator.take_definitions(true);
    schemas.values_mut().for_each(signed);
    if let Some(mut problem) = schemas.remove("Body") {
        // API Gateway cannot put a status into its problems.
        optional(&mut problem, |name| name == "status");
        schemas.insert("Problem".into(), problem);
    }
    if let Some(count) = schemas.remove("TicketCount") {
        schemas.insert("TicketCount".into(), never_null(count));
    }
    schemas.insert(HISTORY_ENTRY.into(), of::<HistoryEntry>());
    schemas.insert(EVENT.into(), never_null(of::<Event>()));
    schemas.insert(LISTED.into(), listed(&ticket, [&tombstone, &departure]));
    schemas.insert("Ticket".into(), ticket);
    schemas
}

/// A record of a list: one type with the fields of tickets, tombstones and departures. A union would be
/// more exact, but generators differ: from `anyOf`, typescript-fetch makes a type in which every field is
/// required; for `oneOf`, Go's client needs another module and refuses unknown fields.
fn listed(ticket: &Value, left: [&Value; 2]) -> Value {
    let mut listed = ticket.clone();
    listed["description"] =
        "A ticket, which has a `subject`. With `includeDeleted` also what is left of a deleted \
        one, which has a `deletedDate`, and in a customer's list that one has left the customer, which has a \
        `movedDate`."
            .into();
    for record in left {
        for (name, property) in record["properties"].as_object().into_iter().flatten() {
            if listed["properties"].get(name).is_none() {
                listed["properties"][name] = property.clone();
            }
        }
        let required = record["required"].as_array().cloned().unwrap_or_default();
        optional(&mut listed, |name| !required.contains(name));
    }
    listed
}

/// Replaces `uint64`, which not every generator knows, by `int64`.
fn signed(schema: &mut Value) {
    for property in schema["properties"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if property["format"] == "uint64" {
            property["format"] = "int64".into();
        }
    }
}

/// Makes some properties of an object optional.
fn optional(schema: &mut Value, is_optional: impl Fn(&Value) -> bool) {
    let Some(schema) = schema.as_object_mut() else { return };
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| !is_optional(name));
        if required.is_empty() {
            schema.remove("required");
        }
    }
}

/// The body of a create.
fn create(presets: &Presets) -> Value {
    let mut create = of::<TicketFields>();
    create["description"] = "A new ticket. What is not given is preset or absent. A time may have any \
        offset (`+02:00`, `+0200`, `+02`) or none (UTC), or be a date. No text may contain U+0000; `subject`, `owner` \
        and `customerEmail` are one line, and kept without the white space around it."
        .into();
    given(create, presets)
}

/// The body of an update: every property of a ticket, and none is required.
fn update(presets: &Presets) -> Value {
    let mut update = of::<Ticket>();
    update["description"] =
        "The fields to change; `null` clears one. A ticket may be sent back as it was fetched: `createdDate` and \
        `updatedDate` are ignored, whatever they are, and `id` must be the ticket's."
            .into();
    optional(&mut update, |_| true);
    given(update, presets)
}

/// A row of a batch of changes: an update's body, and which ticket it is of.
fn change(presets: &Presets) -> Value {
    let mut change = update(presets);
    change["description"] =
        "A ticket's `id` and the fields to change, as an update of that ticket has them. With `ifMatch` only if it is \
        at this version."
            .into();
    let mut if_match = etag();
    if_match["description"] = "The version that the ticket must be at, as its `ETag` says".into();
    change["properties"][IF_MATCH] = if_match;
    change["required"] = json!(["id"]);
    change
}

/// The result of a row of a batch.
fn batch_result() -> Value {
    json!({
        "description": "What became of a row: 201 or 200, its ticket and the `ETag` of that; or another status and its \
            problem.",
        "type": "object",
        "properties": {
            "status": {
                "type": "integer", "format": "int32", "minimum": 200, "maximum": 599,
                "description": "The status code that the row alone would have been answered",
            },
            "ticket": reference("Ticket"),
            "etag": etag(),
            "problem": reference("Problem"),
        },
        "required": ["status"],
    })
}

/// A ticket's version as an entity tag.
pub(super) fn etag() -> Value {
    json!({
        "type": "string",
        "description": "The ticket's version, as `If-Match` and `If-None-Match` take it",
        "pattern": "^\"[1-9][0-9]*-[0-9a-f]{8}\"$",
        "examples": ["\"1-0c5fe1a2\""],
    })
}

/// The schema for a body: other fields are refused, and preset fields only take the configured values.
fn given(mut schema: Value, presets: &Presets) -> Value {
    schema["additionalProperties"] = false.into();
    for (name, preset) in preset_fields(presets) {
        if !preset.values().is_empty() {
            choose(&mut schema["properties"][name], preset);
        }
    }
    schema
}

fn preset_fields(presets: &Presets) -> [(&'static str, &Preset); 4] {
    [
        ("ticketType", &presets.ticket_type),
        ("status", &presets.status),
        ("ticketPriority", &presets.priority),
        ("owner", &presets.owner),
    ]
}

/// Makes a property take the values of a preset, or `null`. The type says so for generators, and the
/// `enum` for validators.
fn choose(property: &mut Value, preset: &Preset) {
    let description = property["description"].as_str().unwrap_or_default().trim_end_matches('.').to_owned();
    let values = preset.values().iter().map(|value| json!(value)).chain([Value::Null]);
    *property = json!({
        "description": format!("{description}: one of {}; without regard to case.", preset.values().join(", ")),
        "type": ["string", "null"],
        "enum": values.collect::<Vec<_>>(),
    });
}

impl JsonSchema for FieldLimits {
    fn schema_name() -> Cow<'static, str> {
        "FieldLimits".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let limits = Self::all().map(|(name, kind, _)| {
            let mut limit = u64::json_schema(generator);
            if kind == FieldKind::ChoiceOrNote {
                limit.insert("description".into(), "Where `owner` takes any text.".into());
            }
            (name, limit.to_value())
        });
        let limits: Map<_, _> = limits.collect();
        json_schema!({"type": "object", "required": limits.keys().collect::<Vec<_>>(), "properties": limits})
    }
}

fn generator() -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    settings.for_serialize().into_generator()
}

/// The schema for a response, without `null`: a field that was never set is absent.
fn never_null(mut schema: Value) -> Value {
    for property in schema["properties"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some([kind, Value::String(null)]) = property["type"].as_array().map(Vec::as_slice)
            && null == "null"
        {
            property["type"] = kind.clone();
        }
    }
    schema
}
