//! The tools: their names, schemas and actions. The schemas are made from the API's own description, so
//! names, limits and configured values are those that the API enforces.

use data_encoding::HEXLOWER;
use reqwest::StatusCode;
use rmcp::model::{self, ToolAnnotations};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tickets_domain::filter::MAX_IDS;
use tickets_domain::id::{CustomerId, MAX_SAFE_INTEGER};
use tickets_domain::idempotency::{IdempotencyKey, KEY_CHARACTERS};
use tickets_domain::input::{ASSIGNED, REQUIRED};
use tickets_domain::json_object::MOST_ROWS;
use tickets_domain::text::SUBJECT_CHARACTERS;
use tickets_domain::{Continuation, ListEnd, Scope, Tag, TicketId, Violation, json};
use tickets_http::events::PARAMETERS as EVENT_PARAMETERS;
use tickets_http::list::Parameter;

use super::arguments::{Arguments, scalar};
use super::budget::{self, Place};
use super::many::{self, IDS};
use super::{Session, ToolError};
use crate::client::{Answered, Client, ClientError, Creation};

/// The highest and the default number of tickets on a page: enough to choose from, and short enough to read.
const MOST: u64 = 50;
const USUAL: u64 = 20;
/// The argument with the fields that an update clears. The API takes `null` for that, but the schema of a field that
/// can be `null` is one that not every agent can read.
const CLEAR: &str = "clear";
/// The most characters shown of a text in a list. A subject is never cut.
const SHOWN: usize = SUBJECT_CHARACTERS;

/// Where `get_ticket` begins: in this text, after so many characters.
const FIELD: &str = "field";
const AFTER: &str = "after";
/// Where `list_events` begins: after this event, or at this time.
const EVENT_PLACES: [&str; 2] = [AFTER, "since"];
/// The types of the events that `list_events` lists.
const TYPE: &str = "type";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    ListTickets,
    CountTickets,
    GetTicket,
    GetTickets,
    GetTicketHistory,
    ListEvents,
    GetTicketConfiguration,
    CreateTicket,
    UpdateTicket,
    UpdateTickets,
    DeleteTicket,
}

impl Tool {
    pub(super) const ALL: [Self; 11] = [
        Self::ListTickets,
        Self::CountTickets,
        Self::GetTicket,
        Self::GetTickets,
        Self::GetTicketHistory,
        Self::ListEvents,
        Self::GetTicketConfiguration,
        Self::CreateTicket,
        Self::UpdateTicket,
        Self::UpdateTickets,
        Self::DeleteTicket,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ListTickets => "list_tickets",
            Self::CountTickets => "count_tickets",
            Self::GetTicket => "get_ticket",
            Self::GetTickets => "get_tickets",
            Self::GetTicketHistory => "get_ticket_history",
            Self::ListEvents => "list_events",
            Self::GetTicketConfiguration => "get_ticket_configuration",
            Self::CreateTicket => "create_ticket",
            Self::UpdateTicket => "update_ticket",
            Self::UpdateTickets => "update_tickets",
            Self::DeleteTicket => "delete_ticket",
        }
    }

    /// The scope that a key needs to use this tool.
    pub(super) fn scope(self) -> Scope {
        match self {
            Self::ListTickets
            | Self::CountTickets
            | Self::GetTicket
            | Self::GetTickets
            | Self::GetTicketHistory
            | Self::ListEvents
            | Self::GetTicketConfiguration => Scope::Read,
            Self::CreateTicket | Self::UpdateTicket | Self::UpdateTickets => Scope::Write,
            Self::DeleteTicket => Scope::Delete,
        }
    }

    /// The tool's description for the agent.
    fn purpose(self) -> String {
        match self {
            Self::ListTickets => format!(
                "Lists tickets in ascending order of id, all or those that match every filter given. A page has up to \
                 `limit` tickets ({USUAL} if not given, {MOST} at most), fewer where they are long; `next`, where there \
                 may be more, is the arguments of the next page, also where this one is empty. Texts are cut after \
                 {SHOWN} characters: get_ticket has the whole."
            ),
            Self::GetTicket => "Gets one ticket, with its version. A long text comes in parts: `next`, where there \
                 is more, is the arguments of the next part."
                .into(),
            Self::GetTickets => format!(
                "Gets up to {MAX_IDS} tickets by their ids, ascending by id. `absent` are those that do not exist, or may \
                 not be seen. Where not all fit, `next` is the arguments for the others. Texts are cut after {SHOWN} \
                 characters: get_ticket has the whole, and the version."
            ),
            Self::CountTickets => "Counts the tickets that match every filter given: the open ones, if neither `open` \
                 nor `status` is given. `by` names fields; each group that has the same values in them is counted, the \
                 largest first. If `complete` is false there are too many to count, and each number is at least that."
                .into(),
            Self::GetTicketHistory => format!(
                "Tells who changed what of one ticket, and when: an entry for each version, ascending, with the new \
                 values of the fields that changed (`null`: cleared). A page has up to `limit` entries ({USUAL} if not \
                 given, {MOST} at most); `next`, where there is more, is the arguments of the next page. Texts are \
                 cut after {SHOWN} characters."
            ),
            Self::GetTicketConfiguration => "Tells the allowed values of the preset fields, which statuses are \
                 closed ones, what a new ticket gets in fields not given, and every limit."
                .into(),
            Self::ListEvents => format!(
                "Tells what changed, over all tickets, in the order it was recorded: an event for each version, with who \
                 changed which fields. It shows what is some seconds old. A page has up to `limit` events ({USUAL} if not \
                 given, {MOST} at most), fewer where they are long; `next`, where there may be more, is the arguments of the \
                 next page, also where this one is empty. Texts are cut after {SHOWN} characters."
            ),
            Self::CreateTicket => "Creates a ticket and returns it, long texts cut. To call it again with the same arguments is safe: \
                 it makes no second ticket, says `created: false`, and returns the ticket as it is now, or says that \
                 it is `gone`. A second ticket that says the same needs an \
                 `idempotencyKey` of its own."
                .into(),
            Self::UpdateTicket => "Updates the fields given of one ticket and returns it, long texts cut. `clear` names fields that \
                 shall have no value any more; all others stay as they are."
                .into(),
            Self::UpdateTickets => format!(
                "Updates up to {MOST_ROWS} tickets, all in the same way: the fields given, and those that `clear` names. Returns \
                 which are `updated`, each with its version, and which are `refused`, and why; those stay as they are."
            ),
            Self::DeleteTicket => "Deletes one ticket. It cannot be undone.".into(),
        }
    }

    /// The tool's definition for the agent.
    pub(super) fn described(self, api: &Value) -> model::Tool {
        // No tool has a further effect when it is called again with the same arguments.
        let hints = ToolAnnotations::new().idempotent(true).open_world(false);
        let hints = match self.scope() {
            Scope::Read => hints.read_only(true),
            Scope::Write | Scope::Delete => hints.read_only(false).destructive(self != Self::CreateTicket),
        };
        model::Tool::new(self.name(), self.purpose(), self.input(api)).with_annotations(hints)
    }

    /// The schema of its arguments.
    fn input(self, api: &Value) -> Map<String, Value> {
        let if_version = json!({
            "type": "string",
            "description": "Only if the ticket is still at this version: the `version` that came with it",
        });
        let (mut properties, required) = match self {
            Self::ListTickets => (filters(api), vec![]),
            Self::CountTickets => (parameters(api, "/ticket-counts/"), vec![]),
            Self::GetTickets => (Map::from_iter([(IDS.into(), many::ids_schema())]), vec![IDS]),
            Self::GetTicket => {
                let field = json!({"type": "string", "description": "Only from this text field on"});
                let after = json!({"type": "integer", "minimum": 0, "description": "Of `field` without so many characters"});
                (Map::from_iter([(FIELD.into(), field), (AFTER.into(), after)]), vec!["id"])
            }
            Self::GetTicketHistory => {
                let version = json!({"type": "integer", "minimum": 0, "description": "Only higher versions"});
                let limit = number(MOST, "At most so many entries");
                (Map::from_iter([("versionAfter".into(), version), ("limit".into(), limit)]), vec!["id"])
            }
            Self::ListEvents => (event_filters(api), vec![]),
            Self::GetTicketConfiguration => (Map::new(), vec![]),
            Self::CreateTicket => {
                let mut fields = fields(api, "TicketCreate");
                let key = json!({
                    "type": "string",
                    "minLength": 1,
                    "maxLength": KEY_CHARACTERS,
                    "description": "Name of this create, for a second ticket that says the same as one before",
                });
                fields.insert("idempotencyKey".into(), key);
                (fields, REQUIRED.to_vec())
            }
            Self::UpdateTicket => {
                let mut fields = changes(api);
                fields.insert("ifVersion".into(), if_version);
                (fields, vec!["id"])
            }
            Self::UpdateTickets => {
                let mut fields = changes(api);
                fields.insert(IDS.into(), many::ids_schema());
                (fields, vec![IDS])
            }
            Self::DeleteTicket => (Map::from_iter([("ifVersion".into(), if_version)]), vec!["id"]),
        };
        if required.contains(&"id") {
            let id =
                json!({"type": "string", "pattern": "^[1-9][0-9]{0,15}$", "description": "The ticket's id"});
            properties.insert("id".into(), id);
        }
        let schema = json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        });
        match schema {
            Value::Object(schema) => schema,
            _ => Map::new(),
        }
    }

    pub(super) async fn call(
        self,
        client: &Client,
        arguments: Map<String, Value>,
        session: &Session,
    ) -> Result<Value, ToolError> {
        match self {
            Self::ListTickets => list(client, arguments, session).await,
            Self::CountTickets => many::count(client, arguments).await,
            Self::GetTicket => get(client, arguments).await,
            Self::GetTickets => many::get(client, arguments).await,
            Self::UpdateTickets => many::update(client, arguments).await,
            Self::GetTicketHistory => history(client, arguments).await,
            Self::ListEvents => events(client, arguments).await,
            Self::GetTicketConfiguration => {
                Arguments::new(arguments).finish(&[])?;
                Ok(client.configuration().await?)
            }
            Self::CreateTicket => {
                let mut arguments = Arguments::new(arguments);
                let key = arguments.optional::<String>("idempotencyKey");
                if let Some(Err(error)) = key.as_deref().map(str::parse::<IdempotencyKey>) {
                    arguments.refuse("idempotencyKey", error);
                }
                let body = Value::from(arguments.rest()?).to_string();
                let made_of_body = || format!("{}-{}", session.name, HEXLOWER.encode(&Sha256::digest(&body)));
                match client.create(&body, &key.unwrap_or_else(made_of_body)).await? {
                    (ticket, Creation::New) => {
                        let mut created = versioned(&ticket)?;
                        created["created"] = true.into();
                        Ok(created)
                    }
                    (ticket, Creation::Replayed) => created_before(client, &ticket).await,
                }
            }
            Self::UpdateTicket => {
                let mut arguments = Arguments::new(arguments);
                let id = arguments.required("id")?;
                let version = arguments.optional::<Tag>("ifVersion");
                let fields = change(arguments)?;
                versioned(&client.update(id, &Value::from(fields).to_string(), version).await?)
            }
            Self::DeleteTicket => {
                let mut arguments = Arguments::new(arguments);
                let id: TicketId = arguments.required("id")?;
                let version = arguments.optional::<Tag>("ifVersion");
                arguments.finish(&["id", "ifVersion"])?;
                client.delete(id, version).await?;
                Ok(json!({"deleted": id}))
            }
        }
    }
}

/// The body of an update: the fields given, and those to clear.
pub(super) fn change(mut arguments: Arguments) -> Result<Map<String, Value>, ToolError> {
    let cleared = arguments.names(CLEAR);
    let mut fields = arguments.rest()?;
    if let Some(both) = cleared.iter().find(|name| fields.get(*name).is_some_and(|v| !v.is_null())) {
        let detail = format!("names {both}, which is also given a value");
        return Err(ToolError::Arguments(vec![Violation::new(CLEAR, detail)]));
    }
    fields.extend(cleared.into_iter().map(|name| (name, Value::Null)));
    Ok(fields)
}

/// Gets a ticket, or a part of it.
async fn get(client: &Client, arguments: Map<String, Value>) -> Result<Value, ToolError> {
    let mut arguments = Arguments::new(arguments);
    let id: TicketId = arguments.required("id")?;
    let after = arguments.whole(AFTER).map(|after| usize::try_from(after).unwrap_or(usize::MAX));
    let from = arguments.optional(FIELD).map(|field| Place { field, after: after.unwrap_or(0) });
    if from.is_none() && after.is_some() {
        arguments.refuse(AFTER, "needs `field`, the text of which it is");
    }
    arguments.finish(&["id", FIELD, AFTER])?;
    let answered = client.get(id).await?;
    let Value::Object(ticket) = parsed(&answered.json)? else { return Err(strange("it is no object")) };
    let Some((part, next)) = budget::part(ticket, from) else {
        return Err(ToolError::Arguments(vec![Violation::new(FIELD, "the ticket has no such text")]));
    };
    let mut answer = json!({"ticket": part, "version": answered.tag.map(|tag| tag.to_string())});
    if let Some(Place { field, after }) = next {
        answer["note"] = format!("{field} is cut after its character {after}").into();
        answer["next"] = json!({"id": id, FIELD: field, AFTER: after});
    }
    Ok(answer)
}

/// Takes all arguments that are left as parameters of a query.
pub(super) fn query(arguments: &mut Arguments) -> Vec<(String, String)> {
    let mut query = Vec::new();
    for (name, value) in arguments.take_all() {
        // A value may have commas in it, so each is a parameter of its own.
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        match values.into_iter().filter_map(scalar).collect::<Result<Vec<_>, _>>() {
            Ok(values) => query.extend(values.into_iter().map(|value| (name.clone(), value))),
            Err(detail) => arguments.refuse(&name, detail),
        }
    }
    query
}

/// Takes the page size.
fn limit(arguments: &mut Arguments) -> u64 {
    let limit = arguments.whole("limit").unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        arguments.refuse("limit", format!("must be a whole number from 1 to {MOST}"));
    }
    limit
}

/// Lists a page of tickets. The API checks the filters.
async fn list(client: &Client, arguments: Map<String, Value>, session: &Session) -> Result<Value, ToolError> {
    let mut next = arguments.clone();
    let mut arguments = Arguments::new(arguments);
    let customer: Option<CustomerId> = arguments.optional("customerID");
    let limit = limit(&mut arguments);
    let mut query = query(&mut arguments);
    query.push(("limit".to_owned(), limit.to_string()));
    arguments.rest()?;
    let path = customer.map_or("/tickets/".into(), |customer| format!("/customers/{customer}/tickets/"));
    let mut query: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    query.extend(session.found(&next).await.map(|found| (Parameter::Continuation.name(), found.to_string())));
    let mut page = client.list(&path, &query).await?;
    let tickets: Result<Vec<_>, _> = page.rows.iter().map(|row| parsed(&row.json).map(cut)).collect();
    let (tickets, is_cut) = budget::fitting(tickets?, &next);
    page.rows.truncate(tickets.len());
    if let (true, Some(last)) = (is_cut, page.rows.last()) {
        // What the page found out begins after its last ticket, not after the last one that fits.
        page.end = ListEnd::More { after: last.id, found: Continuation::Unknown };
    }
    let mut answer = json!({"tickets": tickets});
    if let ListEnd::More { after, found } = page.end {
        next.insert(Parameter::IdAfter.name().into(), after.into());
        session.keep(&next, found).await;
        answer["next"] = next.into();
    }
    Ok(answer)
}

/// Gets a page of a ticket's history.
async fn history(client: &Client, arguments: Map<String, Value>) -> Result<Value, ToolError> {
    const VERSION_AFTER: &str = "versionAfter";
    let mut next = arguments.clone();
    let mut arguments = Arguments::new(arguments);
    let id = arguments.required("id")?;
    let version_after = arguments.whole(VERSION_AFTER).unwrap_or(0);
    let limit = limit(&mut arguments);
    arguments.finish(&["id", VERSION_AFTER, "limit"])?;
    let (entries, more) = client.history(id, version_after, Some(limit)).await?;
    let mut entries = entries.iter().map(|entry| parsed(entry)).collect::<Result<Vec<_>, _>>()?;
    for fields in entries.iter_mut().filter_map(|entry| entry.get_mut("fields")) {
        *fields = cut(fields.take());
    }
    let (entries, is_cut) = budget::fitting(entries, &next);
    let last = entries.last().map(|entry| entry["version"].clone()).filter(|_| more || is_cut);
    let mut answer = json!({"entries": entries});
    if let Some(version) = last {
        next.insert(VERSION_AFTER.into(), version);
        answer["next"] = next.into();
    }
    Ok(answer)
}

/// Lists a page of events. The API checks the filters.
async fn events(client: &Client, arguments: Map<String, Value>) -> Result<Value, ToolError> {
    let mut next = arguments.clone();
    let mut arguments = Arguments::new(arguments);
    let mut query = vec![("limit", limit(&mut arguments).to_string())];
    for place in EVENT_PLACES {
        query.extend(arguments.optional(place).map(|value| (place, value)));
    }
    query.extend(arguments.names(TYPE).into_iter().map(|kind| (TYPE, kind)));
    arguments.finish(&EVENT_PARAMETERS)?;
    let page = client.events(&query).await?;
    let events: Result<Vec<_>, _> = page.events.iter().map(|event| parsed(event).map(cut)).collect();
    let (events, is_cut) = budget::fitting(events?, &next);
    let last = events.last().and_then(|event| event["id"].as_str()).filter(|_| is_cut);
    let place = last.map(|id| (AFTER.to_owned(), id.to_owned())).or(page.next);
    let mut answer = json!({"events": events});
    if let Some((name, value)) = place {
        next.retain(|name, _| !EVENT_PLACES.contains(&name.as_str()));
        next.insert(name, value.into());
        answer["next"] = next.into();
    }
    Ok(answer)
}

/// A ticket with its long texts shortened.
pub(super) fn cut(mut ticket: Value) -> Value {
    for field in ticket.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Value::String(text) = field
            && let Some((end, _)) = text.char_indices().nth(SHOWN)
        {
            text.truncate(end);
            text.push_str("… (cut)");
        }
    }
    ticket
}

/// A ticket with its version, which `ifVersion` of a change can name, and its long texts shortened.
fn versioned(answered: &Answered) -> Result<Value, ToolError> {
    Ok(json!({"ticket": cut(parsed(&answered.json)?), "version": answered.tag.map(|tag| tag.to_string())}))
}

/// The ticket that an earlier call created, as it is now: the API's replay shows it as it was then.
async fn created_before(client: &Client, then: &Answered) -> Result<Value, ToolError> {
    let ticket = parsed(&then.json)?;
    let id = ticket["id"].as_str().unwrap_or_default();
    let id: TicketId = id.parse().map_err(|_| strange(format!("a ticket with the id {id:?}")))?;
    let mut answer = match client.get(id).await {
        Ok(now) => versioned(&now)?,
        Err(ClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => {
            let gone =
                "was created by an earlier call; it has been deleted since, or is another customer's now";
            json!({"gone": format!("ticket {id} {gone}")})
        }
        Err(ClientError::Refused { status: StatusCode::FORBIDDEN, .. }) => {
            json!({"ticket": cut(ticket), "note": "as it was created; this key may not read what it is now"})
        }
        Err(error) => return Err(error.into()),
    };
    answer["created"] = false.into();
    Ok(answer)
}

pub(super) fn parsed(json: &RawValue) -> Result<Value, ToolError> {
    json::value(json.get().as_bytes()).map_err(strange)
}

fn strange(reason: impl ToString) -> ToolError {
    ClientError::Strange { url: "the answer".into(), reason: reason.to_string() }.into()
}

/// The schemas of a request body's fields, from the API's description.
fn fields(api: &Value, schema: &str) -> Map<String, Value> {
    let properties = &api["components"]["schemas"][schema]["properties"];
    let mut properties = properties.as_object().cloned().unwrap_or_default();
    // The API accepts them in a body, but an agent has no reason to send them.
    properties.retain(|name, _| !ASSIGNED.contains(&name.as_str()));
    properties.values_mut().for_each(plain);
    properties
}

/// The schemas of an update's fields, and of those to clear.
fn changes(api: &Value) -> Map<String, Value> {
    let mut fields = fields(api, "TicketUpdate");
    let clearable = fields.keys().filter(|name| !REQUIRED.contains(&name.as_str()));
    let clear = json!({
        "type": "array",
        "items": {"type": "string", "enum": clearable.collect::<Vec<_>>()},
        "description": "The fields to clear",
    });
    fields.insert(CLEAR.into(), clear);
    fields
}

/// Makes a schema as plain as every agent can read it: of one type, and without formats.
fn plain(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    schema.retain(|name, _| !["format", "examples"].contains(&name.as_str()));
    if let Some(kind) = schema.get_mut("type")
        && let Some(other) =
            kind.as_array().and_then(|kinds| kinds.iter().find(|kind| *kind != "null").cloned())
    {
        *kind = other;
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    schema.get_mut("items").map(plain);
}

/// The parameters of a list, from the API's description.
fn parameters(api: &Value, path: &str) -> Map<String, Value> {
    let parameters = api["paths"][path]["get"]["parameters"].as_array().into_iter().flatten();
    let described = parameters.filter_map(|parameter| {
        let (name, mut schema) = (parameter["name"].as_str()?, parameter["schema"].clone());
        schema["description"] = parameter["description"].clone();
        plain(&mut schema);
        Some((name.to_owned(), schema))
    });
    described.collect()
}

/// The filters of lists, and the customer. Parameters for sync jobs are left out.
fn filters(api: &Value) -> Map<String, Value> {
    let mut filters = parameters(api, "/tickets/");
    let hidden = [Parameter::Settled, Parameter::Continuation].map(Parameter::name);
    filters.retain(|name, _| !hidden.contains(&name.as_str()));
    filters.insert("limit".into(), number(MOST, "At most so many tickets"));
    filters.insert("customerID".into(), number(MAX_SAFE_INTEGER, "Only tickets of this customer"));
    filters
}

/// The filters of the feed of events.
fn event_filters(api: &Value) -> Map<String, Value> {
    let mut filters = parameters(api, "/events/");
    filters.insert("limit".into(), number(MOST, "At most so many events"));
    filters
}

fn number(maximum: u64, description: &str) -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": maximum, "description": description})
}

#[cfg(test)]
mod tests {
    use tickets_domain::Presets;
    use tickets_domain::preset::PresetLists;
    use tickets_http::openapi;

    use super::*;

    #[test]
    fn a_tool_takes_every_field_or_filter_that_the_api_describes() {
        let api = openapi::document(&Presets::parse(&PresetLists::default()).unwrap());
        let arguments = |tool: Tool| {
            let mut names: Vec<_> =
                tool.input(&api)["properties"].as_object().unwrap().keys().cloned().collect();
            names.sort();
            names
        };
        let sorted = |names: &mut dyn Iterator<Item = &str>| {
            let mut names: Vec<_> = names.map(str::to_owned).collect();
            names.sort();
            names
        };
        let hidden = [Parameter::Settled, Parameter::Continuation].map(Parameter::name);
        let filters = Parameter::ALL.map(Parameter::name).into_iter().filter(|name| !hidden.contains(name));
        assert_eq!(arguments(Tool::ListTickets), sorted(&mut filters.chain(["customerID"])));
        assert_eq!(arguments(Tool::ListEvents), sorted(&mut EVENT_PARAMETERS.into_iter()));
        let fields = || tickets_domain::ticket::field_names().filter(|name| !ASSIGNED.contains(name));
        assert_eq!(arguments(Tool::CreateTicket), sorted(&mut fields().chain(["idempotencyKey"])));
        let counts = tickets_http::counts::filters().map(Parameter::name);
        assert_eq!(arguments(Tool::CountTickets), sorted(&mut counts.chain(["by"])));
        assert_eq!(arguments(Tool::UpdateTickets), sorted(&mut fields().chain([IDS, CLEAR])));
        assert_eq!(arguments(Tool::UpdateTicket), sorted(&mut fields().chain(["id", "ifVersion", CLEAR])));
    }

    #[test]
    fn the_schema_of_an_argument_is_one_that_every_agent_reads() {
        const KNOWN: [&str; 12] = [
            "default",
            "type",
            "description",
            "enum",
            "items",
            "minItems",
            "maxItems",
            "minLength",
            "maxLength",
            "pattern",
            "minimum",
            "maximum",
        ];
        fn assert_plain(schema: &Value) {
            assert!(schema["type"].is_string(), "one type: {schema}");
            let unknown = schema.as_object().unwrap().keys().find(|name| !KNOWN.contains(&name.as_str()));
            assert_eq!(unknown, None, "{schema}");
            let nulls = schema["enum"].as_array().into_iter().flatten().filter(|value| value.is_null());
            assert_eq!(nulls.count(), 0, "{schema}");
            schema.get("items").into_iter().for_each(assert_plain);
        }
        let presets = PresetLists { owners: "ada, grace", ..PresetLists::default() };
        for presets in [PresetLists::default(), presets] {
            let api = openapi::document(&Presets::parse(&presets).unwrap());
            for tool in Tool::ALL {
                tool.input(&api)["properties"].as_object().unwrap().values().for_each(assert_plain);
            }
        }
    }

    #[test]
    fn long_texts_of_a_list_are_cut_between_characters() {
        let ticket =
            cut(json!({"id": "1", "ticketContent": "ü".repeat(SHOWN + 1), "subject": "ü".repeat(SHOWN)}));
        assert_eq!(ticket["ticketContent"], format!("{}… (cut)", "ü".repeat(SHOWN)));
        assert_eq!(ticket["subject"], "ü".repeat(SHOWN));
    }
}
