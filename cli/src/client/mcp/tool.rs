//! The tools: their names, schemas and actions. The schemas are made from the API's own description, so
//! names, limits and configured values are those that the API enforces.

use data_encoding::HEXLOWER;
use rmcp::model::{self, ToolAnnotations};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tickets_domain::id::{CustomerId, MAX_SAFE_INTEGER};
use tickets_domain::idempotency::{IdempotencyKey, KEY_CHARACTERS};
use tickets_domain::input::ASSIGNED;
use tickets_domain::text::SUBJECT_CHARACTERS;
use tickets_domain::{ListEnd, Scope, TicketId, Version, json};
use tickets_http::events::PARAMETERS as EVENT_PARAMETERS;
use tickets_http::list::Parameter;

use super::arguments::{Arguments, scalar};
use super::{Session, ToolError};
use crate::client::{Answered, Client, ClientError, Creation};

/// The highest and the default number of tickets on a page: enough to choose from, and short enough to read.
const MOST: u64 = 50;
const USUAL: u64 = 20;
/// The most characters shown of a text in a list. A subject is never cut.
const SHOWN: usize = SUBJECT_CHARACTERS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    ListTickets,
    GetTicket,
    GetTicketHistory,
    ListEvents,
    GetTicketConfiguration,
    CreateTicket,
    UpdateTicket,
    DeleteTicket,
}

impl Tool {
    pub(super) const ALL: [Self; 8] = [
        Self::ListTickets,
        Self::GetTicket,
        Self::GetTicketHistory,
        Self::ListEvents,
        Self::GetTicketConfiguration,
        Self::CreateTicket,
        Self::UpdateTicket,
        Self::DeleteTicket,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ListTickets => "list_tickets",
            Self::GetTicket => "get_ticket",
            Self::GetTicketHistory => "get_ticket_history",
            Self::ListEvents => "list_events",
            Self::GetTicketConfiguration => "get_ticket_configuration",
            Self::CreateTicket => "create_ticket",
            Self::UpdateTicket => "update_ticket",
            Self::DeleteTicket => "delete_ticket",
        }
    }

    /// The scope that a key needs to use this tool.
    pub(super) fn scope(self) -> Scope {
        match self {
            Self::ListTickets
            | Self::GetTicket
            | Self::GetTicketHistory
            | Self::ListEvents
            | Self::GetTicketConfiguration => Scope::Read,
            Self::CreateTicket | Self::UpdateTicket => Scope::Write,
            Self::DeleteTicket => Scope::Delete,
        }
    }

    /// The tool's description for the agent.
    fn purpose(self) -> String {
        match self {
            Self::ListTickets => format!(
                "Lists tickets in ascending order of id, all or those that match every filter given. A page has up to \
                 `limit` tickets ({USUAL} if not given, {MOST} at most); `next`, where there is more, is the arguments \
                 of the next page. Texts are cut after {SHOWN} characters: get_ticket has the whole."
            ),
            Self::GetTicket => "Gets one ticket, with its version.".into(),
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
                 given, {MOST} at most); `next`, where there may be more, is the arguments of the next page."
            ),
            Self::CreateTicket => "Creates a ticket and returns it. To call it again with the same arguments is safe: \
                 it makes no second ticket, and says `created: false`. A second ticket that says the same needs an \
                 `idempotencyKey` of its own."
                .into(),
            Self::UpdateTicket => "Updates the fields given of one ticket and returns it. `null` clears a field, and \
                 fields not given stay as they are."
                .into(),
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
            "type": "integer",
            "minimum": 1,
            "description": "Only if the ticket is still at this version",
        });
        let (mut properties, required) = match self {
            Self::ListTickets => (filters(api), vec![]),
            Self::GetTicket => (Map::new(), vec!["id"]),
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
                (fields, vec!["customerID", "subject"])
            }
            Self::UpdateTicket => {
                let mut fields = fields(api, "TicketUpdate");
                fields.insert("ifVersion".into(), if_version);
                (fields, vec!["id"])
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
            Self::GetTicket => {
                let mut arguments = Arguments::new(arguments);
                let id = arguments.required("id")?;
                arguments.finish(&["id"])?;
                versioned(&client.get(id).await?)
            }
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
                let (ticket, creation) = client.create(&body, &key.unwrap_or_else(made_of_body)).await?;
                let mut created = versioned(&ticket)?;
                created["created"] = (creation == Creation::New).into();
                Ok(created)
            }
            Self::UpdateTicket => {
                let mut arguments = Arguments::new(arguments);
                let id = arguments.required("id")?;
                let version = arguments.whole("ifVersion").map(Version::new);
                let body = Value::from(arguments.rest()?).to_string();
                versioned(&client.update(id, &body, version).await?)
            }
            Self::DeleteTicket => {
                let mut arguments = Arguments::new(arguments);
                let id: TicketId = arguments.required("id")?;
                let version = arguments.whole("ifVersion").map(Version::new);
                arguments.finish(&["id", "ifVersion"])?;
                client.delete(id, version).await?;
                Ok(json!({"deleted": id}))
            }
        }
    }
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
    let mut query = vec![("limit".to_owned(), limit.to_string())];
    for (name, value) in arguments.take_all() {
        // The API takes several values of a filter separated by commas.
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        match values.into_iter().filter_map(scalar).collect::<Result<Vec<_>, _>>() {
            Ok(values) if values.is_empty() => {}
            Ok(values) => query.push((name, values.join(","))),
            Err(detail) => arguments.refuse(&name, detail),
        }
    }
    arguments.rest()?;
    let path = customer.map_or("/tickets/".into(), |customer| format!("/customers/{customer}/tickets/"));
    let mut query: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    query.extend(session.found(&next).await.map(|found| (Parameter::Continuation.name(), found.to_string())));
    let page = client.list(&path, &query).await?;
    let tickets: Result<Vec<_>, _> = page.rows.iter().map(|row| parsed(&row.json).map(cut)).collect();
    let mut answer = json!({"tickets": tickets?});
    if let (ListEnd::More(found), Some(last)) = (page.end, page.rows.last()) {
        next.insert(Parameter::IdAfter.name().into(), last.id.into());
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
    let last = entries.last().map(|entry| entry["version"].clone()).filter(|_| more);
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
    let places = ["after", "since"];
    for name in places.into_iter().chain(["type"]) {
        query.extend(arguments.optional(name).map(|value| (name, value)));
    }
    arguments.finish(&EVENT_PARAMETERS)?;
    let page = client.events(&query).await?;
    let events: Result<Vec<_>, _> = page.events.iter().map(|event| parsed(event)).collect();
    let mut answer = json!({"events": events?});
    if let Some((name, value)) = page.next {
        for place in places {
            next.remove(place);
        }
        next.insert(name, value.into());
        answer["next"] = next.into();
    }
    Ok(answer)
}

/// A ticket with its long texts shortened.
fn cut(mut ticket: Value) -> Value {
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

/// A ticket with its version, which `ifVersion` of a change can name.
fn versioned(answered: &Answered) -> Result<Value, ToolError> {
    Ok(json!({"ticket": parsed(&answered.json)?, "version": answered.version}))
}

fn parsed(json: &RawValue) -> Result<Value, ToolError> {
    json::value(json.get().as_bytes())
        .map_err(|error| ClientError::Strange { url: "the answer".into(), reason: error.to_string() }.into())
}

/// The schemas of a request body's fields, from the API's description.
fn fields(api: &Value, schema: &str) -> Map<String, Value> {
    let properties = &api["components"]["schemas"][schema]["properties"];
    let mut properties = properties.as_object().cloned().unwrap_or_default();
    // The API accepts them in a body, but an agent has no reason to send them.
    properties.retain(|name, _| !ASSIGNED.contains(&name.as_str()));
    properties
}

/// The filters of lists, from the API's description, and the customer. Parameters for sync jobs are left out.
fn filters(api: &Value) -> Map<String, Value> {
    let parameters = api["paths"]["/tickets/"]["get"]["parameters"].as_array().into_iter().flatten();
    let described = parameters.filter_map(|parameter| {
        let (name, mut schema) = (parameter["name"].as_str()?, parameter["schema"].clone());
        schema["description"] = parameter["description"].clone();
        (![Parameter::Settled, Parameter::Continuation].map(Parameter::name).contains(&name))
            .then(|| (name.to_owned(), schema))
    });
    let mut filters: Map<_, _> = described.collect();
    filters.insert("limit".into(), number(MOST, "At most so many tickets"));
    filters.insert("customerID".into(), number(MAX_SAFE_INTEGER, "Only tickets of this customer"));
    filters
}

/// The filters of the feed of events, from the API's description. An agent names one type.
fn event_filters(api: &Value) -> Map<String, Value> {
    let parameters = api["paths"]["/events/"]["get"]["parameters"].as_array().into_iter().flatten();
    let described = parameters.filter_map(|parameter| {
        let schema = &parameter["schema"];
        let mut schema = schema.get("items").unwrap_or(schema).clone();
        schema["description"] = parameter["description"].clone();
        Some((parameter["name"].as_str()?.to_owned(), schema))
    });
    let mut filters: Map<_, _> = described.collect();
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
        let fields = || tickets_domain::ticket::field_names().filter(|name| !ASSIGNED.contains(name));
        assert_eq!(arguments(Tool::CreateTicket), sorted(&mut fields().chain(["idempotencyKey"])));
        assert_eq!(arguments(Tool::UpdateTicket), sorted(&mut fields().chain(["id", "ifVersion"])));
    }

    #[test]
    fn long_texts_of_a_list_are_cut_between_characters() {
        let ticket =
            cut(json!({"id": "1", "ticketContent": "ü".repeat(SHOWN + 1), "subject": "ü".repeat(SHOWN)}));
        assert_eq!(ticket["ticketContent"], format!("{}… (cut)", "ü".repeat(SHOWN)));
        assert_eq!(ticket["subject"], "ü".repeat(SHOWN));
    }
}
