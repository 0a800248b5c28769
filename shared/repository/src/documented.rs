//! docs/data.md names each attribute of each kind of item, and its type.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use tickets_domain::delivery::{Delivery, Disabled};
use tickets_domain::export::{Part, Pass, Range};
use tickets_domain::idempotency::Idempotency;
use tickets_domain::precondition::Preconditions;
use tickets_domain::webhook::{Secret, Secrets, State};
use tickets_domain::{
    ApiKey, BearerToken, EventType, KeyId, KeyStore as _, Meter, NewTicket, Scope, Ticket, TicketFields,
    TicketId, Timestamp, Visibility, Webhook, WebhookId,
};

use crate::checkpoint::ExportKind;
use crate::history::StreamRecord;
use crate::item::{self, WriteId, WriteMetadata};
use crate::scripted::{self, NOW, new_ticket};
use crate::{History, Keys, Tickets, Webhooks, schema};

type Attributes = BTreeMap<String, String>;

/// The attributes that the document names, by the headings of its sections.
fn documented() -> BTreeMap<String, Attributes> {
    let mut sections: BTreeMap<String, Attributes> = BTreeMap::new();
    let (mut heading, mut is_listed) = (String::new(), false);
    for line in include_str!("../../../docs/data.md").lines() {
        if let Some(title) = line.strip_prefix("### ") {
            heading = title.to_lowercase();
        }
        is_listed = line.starts_with("| attribute |") || (is_listed && line.starts_with('|'));
        if let (true, Some(row)) = (is_listed, line.strip_prefix("| `")) {
            let (name, rest) = row.split_once("` | ").unwrap();
            let kind = rest.split(" |").next().unwrap();
            sections.entry(heading.clone()).or_default().insert(name.to_owned(), kind.to_owned());
        }
    }
    sections
}

/// What an item is, by its key and its attributes.
fn kind(item: &item::Item) -> &'static str {
    let has = |name: &str| item.contains_key(name);
    match item.get("bucket").and_then(|bucket| bucket.as_s().ok()) {
        None if has("keyId") => "api key",
        None if has("webhookId") => "webhook",
        None if item["ticket"].as_n().unwrap() == "0" => "start",
        None => "entry",
        Some(bucket) if bucket == "counter" => "counter",
        Some(bucket) if bucket == "ranges" => "ranges",
        Some(bucket) if bucket == "settings" => "settings",
        Some(bucket) if bucket == "export" => "checkpoint",
        Some(bucket) if bucket.starts_with("claim#") => "claim",
        Some(bucket) if bucket.starts_with("departures#") => "departure",
        Some(_) if has("voidedDate") => "void",
        Some(_) if has("deletedDate") => "tombstone",
        Some(_) => "ticket",
    }
}

fn type_of(value: &AttributeValue) -> &'static str {
    match value {
        AttributeValue::S(_) => "text",
        AttributeValue::N(_) => "number",
        AttributeValue::L(_) => "list",
        AttributeValue::M(_) => "map",
        other => panic!("{other:?}"),
    }
}

/// The attributes of the tables' items, by kind.
async fn stored(tickets: &Tickets, tables: &[&str]) -> BTreeMap<String, Attributes> {
    let mut found: BTreeMap<String, Attributes> = BTreeMap::new();
    for table in tables {
        #[expect(clippy::disallowed_methods, reason = "a test looks at everything")]
        let scan = tickets.dynamodb.client().scan().table_name(*table).send().await.unwrap();
        for item in scan.items.unwrap() {
            let attributes = found.entry(kind(&item).to_owned()).or_default();
            attributes.extend(item.iter().map(|(name, value)| (name.clone(), type_of(value).to_owned())));
        }
    }
    found
}

fn by() -> KeyId {
    "writer".parse().unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(NOW + millis).unwrap()
}

/// Every field of a ticket.
fn every_field() -> NewTicket {
    new_ticket(json!({
        "ticketType": "billing", "customerEmail": "ada@example.com", "ticketContent": "c", "owner": "ada",
        "users": "u", "departments": "d", "ticketSuppliers": "s", "ticketFollowupDate": "2026-12-01",
        "ticketActionRequired": "2026-12-01",
    }))
}

async fn write_tickets(tickets: &Tickets) {
    let body = tickets_domain::JsonObject::parse(b"{}").unwrap();
    let request = Idempotency::new(by(), "key".parse().unwrap(), body.fingerprint());
    for request in [Some(&request), None, None] {
        tickets.create(&by(), Visibility::All, &every_field(), request).await.unwrap();
    }
    let to_customer_2 = |ticket: &Ticket, _| {
        let fields = TicketFields { customer: 2.try_into().unwrap(), ..ticket.fields.clone() };
        Ok(Some(Ticket { fields, version: ticket.version.next(), ..ticket.clone() }))
    };
    for id in [2, 3] {
        let id = TicketId::try_from(id).unwrap();
        tickets.update(id, &by(), Visibility::All, &Preconditions::default(), to_customer_2).await.unwrap();
    }
    let third = TicketId::try_from(3).unwrap();
    tickets.delete(third, &by(), Visibility::All, &Preconditions::default()).await.unwrap();
    let metadata = WriteMetadata::first(WriteId::new(&by()), Some(at(0)));
    let void = item::void_item(9.try_into().unwrap(), &metadata, at(0), Duration::from_secs(1)).unwrap();
    tickets.dynamodb.client().put_item().table_name("Tickets").set_item(Some(void)).send().await.unwrap();
    tickets.start_epoch(100).await.unwrap();
    tickets.reserve_ranges(&[200], at(0)).await.unwrap().unwrap();
    scripted::append(tickets, 1).await;
    tickets.note_configuration(&[("TOMBSTONE_DAYS".to_owned(), "90".to_owned())].into()).await.unwrap();
    let mut saved = tickets.checkpoint(ExportKind::Scheduled).await.unwrap();
    saved.checkpoint.watermark = Some(at(0));
    let range = Range { after: 0, last: 1 };
    let parts = vec![Part { range, records: 1, bytes: 1 }];
    let pass = Pass { since: Some(at(0)), until: at(1), after: 1, storing: Some(range), parts, manifests: 1 };
    saved.checkpoint.pass = Some(pass);
    tickets.save_checkpoint(&mut saved).await.unwrap();
}

async fn write_keys(tickets: &Tickets) {
    let keys = Keys::new(tickets.dynamodb.clone(), "ApiKeys", tickets.clock.clone());
    let token = BearerToken::generate().unwrap();
    let key = ApiKey {
        customer: Some(1.try_into().unwrap()),
        limit: Some("600/m".parse().unwrap()),
        note: Some("n".into()),
        created_by: Some("c".into()),
        expires: Some(at(1)),
        ..ApiKey::new(&token, [Scope::Read], at(0))
    };
    keys.insert(&key).await.unwrap();
    keys.count(&key, &Meter::default()).await.unwrap();
    keys.rotate(&token, at(1)).await.unwrap();
    keys.revoke(&key.id).await.unwrap();
}

/// A webhook in each state: one that a run sends events of, and one that is disabled while its secret is rotated.
async fn write_webhooks(tickets: &Tickets) {
    schema::create_webhook_table(&tickets.dynamodb, "Webhooks").await.unwrap();
    let webhooks = Webhooks::new(tickets.dynamodb.clone(), "Webhooks", tickets.clock.clone());
    let webhook = |state| Webhook {
        id: WebhookId::generate().unwrap(),
        url: "https://example.com/".parse().unwrap(),
        types: EventType::ALL.to_vec(),
        customer: 1.try_into().ok(),
        secrets: Secrets {
            current: Secret::generate().unwrap(),
            former: Secret::generate().ok().map(|old| (old, at(1))),
        },
        note: Some("n".into()),
        created: at(0),
        created_by: Some("c".into()),
        state,
        delivery: Delivery::since(at(0)),
        last_answer: Some(("410".into(), at(0))),
    };
    let active = webhook(State::Active);
    webhooks.insert(&active).await.unwrap();
    webhooks.insert(&webhook(State::Disabled(Disabled::Gone, at(0)))).await.unwrap();
    webhooks.lease(&active.id).await.unwrap();
}

/// Records every version of the deleted ticket in the history.
async fn write_history(tickets: &Tickets, puts: &[Value]) {
    schema::create_history_table(&tickets.dynamodb, "History").await.unwrap();
    let (dynamodb, clock) = (tickets.dynamodb.clone(), tickets.clock.clone());
    let history = History::new(dynamodb, "History", clock, tickets.settings.clone());
    let of_two: Vec<_> = puts.iter().filter(|put| put["Item"]["id"]["N"] == "2").collect();
    let of_three: Vec<_> = puts.iter().filter(|put| put["Item"]["id"]["N"] == "3").collect();
    for versions in [of_two, of_three] {
        let versions = versions.into_iter().filter(|put| put["Item"].get("version").is_some());
        let mut before = Value::Null;
        for put in versions {
            let record = json!({"SequenceNumber": "1", "NewImage": put["Item"], "OldImage": before});
            let record: StreamRecord = serde_json::from_value(record).unwrap();
            history.record(record.version().unwrap().unwrap(), None).await.unwrap();
            before = put["Item"].clone();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_attribute_of_every_item_is_documented_with_its_type() {
    let (tickets, calls) = scripted::engine(0).await;
    write_tickets(&tickets).await;
    write_keys(&tickets).await;
    write_history(&tickets, &calls.of("PutItem")).await;
    write_webhooks(&tickets).await;
    let stored = stored(&tickets, &["Tickets", "ApiKeys", "History", "Webhooks"]).await;
    for (kind, attributes) in documented() {
        assert_eq!(stored.get(&kind), Some(&attributes), "{kind}");
    }
    assert_eq!(stored.len(), documented().len());
}
