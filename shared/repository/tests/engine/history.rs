//! The history of a ticket: the same in whatever order, and however often, its versions are recorded.

use std::collections::HashMap;

use crate::support::{Table, new_ticket, presets, time, writer};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use tickets_domain::Settings;
use tickets_domain::idempotency::{Fingerprint, Idempotency};
use tickets_domain::precondition::Preconditions;
use tickets_domain::{
    ChangeKind, Clock, Error, Fit, HistoryEntry, JsonObject, TicketId, TicketInput, Visibility,
};
use tickets_repository::history::{StreamRecord, StreamedVersion};
use tickets_repository::operator::erase::Found;
use tickets_repository::{History, Meter, Tickets, schema};

pub(crate) const NOW: &str = "2026-11-23T12:00:00Z";

pub(crate) type Item = HashMap<String, AttributeValue>;

/// Tables of tickets and history, and the stream's record of every write to a ticket.
pub(crate) struct Recorded {
    pub(crate) table: Table,
    pub(crate) tickets: Tickets,
    pub(crate) history: History,
    name: String,
}

impl Recorded {
    pub(crate) async fn new() -> Self {
        let table = Table::new(NOW).await;
        let name = table.name.replace("Tickets", "History");
        schema::create_history_table(&table.dynamodb, &name).await.unwrap();
        let tickets = table.tickets(Settings::default());
        let history = History::new(table.dynamodb.clone(), &name, table.clock.clone(), Settings::default());
        Self { table, tickets, history, name }
    }

    /// The history, as an instance with this clock and these settings sees it.
    pub(crate) fn instance(&self, clock: Clock, settings: Settings) -> History {
        History::new(self.table.dynamodb.clone(), &self.name, clock, settings)
    }

    /// The item under a ticket's id.
    pub(crate) async fn item(&self, id: TicketId) -> Option<Item> {
        let bucket = format!("{}#{}", id.get() / 1000, id.get() % 4);
        let get = self.table.client.get_item().table_name(&self.table.name).consistent_read(true);
        let get = get.key("bucket", AttributeValue::S(bucket)).key("id", AttributeValue::N(id.to_string()));
        get.send().await.unwrap().item
    }

    /// Everything the history keeps of a ticket.
    pub(crate) async fn kept(&self, id: TicketId) -> Vec<Item> {
        let query =
            self.table.client.query().table_name(&self.name).key_condition_expression("ticket = :ticket");
        let query = query.expression_attribute_values(":ticket", AttributeValue::N(id.to_string()));
        query.send().await.unwrap().items.unwrap_or_default()
    }

    pub(crate) async fn change(&self, id: TicketId, body: Value) {
        self.table.advance(1000);
        let change =
            TicketInput::change(JsonObject::parse(body.to_string().as_bytes()).unwrap(), &presets()).unwrap();
        let apply = |ticket: &_, now| change.apply(ticket, now);
        self.tickets.update(id, &writer(), Visibility::All, &Preconditions::default(), apply).await.unwrap();
    }

    pub(crate) async fn delete(&self, id: TicketId) {
        self.table.advance(1000);
        self.tickets.delete(id, &writer(), Visibility::All, &Preconditions::default()).await.unwrap();
    }

    /// Creates a ticket, and returns its id.
    pub(crate) async fn create(&self, body: Value) -> TicketId {
        self.tickets.create(&writer(), Visibility::All, &new_ticket(body), None).await.unwrap().ticket.id()
    }

    /// A ticket that was created, changed twice, moved and, if `deleted`, deleted; and its versions as the
    /// stream delivers them.
    pub(crate) async fn ticket(&self, deleted: bool) -> (TicketId, Vec<StreamedVersion>) {
        let id = self.create(json!({"customerID": 7, "subject": "first", "owner": "ada"})).await;
        let mut images = vec![None, self.item(id).await];
        for body in
            [json!({"subject": "second", "owner": null}), json!({"users": "u"}), json!({"customerID": 8})]
        {
            self.change(id, body).await;
            images.push(self.item(id).await);
        }
        if deleted {
            self.delete(id).await;
            images.push(self.item(id).await);
        }
        let versions = images.windows(2).map(|pair| streamed(&pair[0], &pair[1]).version().unwrap().unwrap());
        (id, versions.collect())
    }

    async fn list(&self, id: TicketId, visibility: Visibility) -> Vec<HistoryEntry> {
        let range = self.tickets.history(id, visibility).await.unwrap();
        let mut entries = Vec::new();
        let take = |entry: &HistoryEntry| {
            entries.push(entry.clone());
            Fit::Added
        };
        assert!(
            !self.history.list(&range, 0, None, take).await.unwrap(),
            "without a limit there are no more"
        );
        entries
    }
}

/// Makes a record of the stream.
pub(crate) fn streamed(old: &Option<Item>, new: &Option<Item>) -> StreamRecord {
    let image = |item: &Option<Item>| item.clone().map(serde_dynamo::Item::from);
    serde_json::from_value(json!({"SequenceNumber": "1", "OldImage": image(old), "NewImage": image(new)}))
        .unwrap()
}

/// Every order of the numbers below `n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    let Some(last) = n.checked_sub(1) else { return vec![vec![]] };
    let insert = |order: Vec<usize>| {
        (0..n).map(move |at| {
            let mut order = order.clone();
            order.insert(at, last);
            order
        })
    };
    orders(last).into_iter().flat_map(insert).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_every_order_and_twice_each_a_deleted_ticket_has_its_versions_without_values() {
    let recorded = Recorded::new().await;
    for order in orders(5) {
        let (id, versions) = recorded.ticket(true).await;
        for at in &order {
            recorded.history.record(versions[*at].clone(), None).await.unwrap();
        }
        // The stream may deliver a version again.
        recorded.history.record(versions[order[0]].clone(), None).await.unwrap();
        let entries = recorded.list(id, Visibility::All).await;
        let changes: Vec<_> = entries.iter().map(|entry| (entry.version.get(), entry.change)).collect();
        let (created, updated, deleted) = (ChangeKind::Created, ChangeKind::Updated, ChangeKind::Deleted);
        assert_eq!(
            changes,
            [(1, created), (2, updated), (3, updated), (4, updated), (5, deleted)],
            "{order:?}"
        );
        let names: Vec<_> =
            entries.iter().map(|entry| entry.fields.keys().cloned().collect::<Vec<_>>()).collect();
        assert_eq!(names[0], ["customerID", "owner", "status", "subject", "ticketPriority"]);
        assert_eq!(names[1..4], [vec!["owner", "subject"], vec!["users"], vec!["customerID"]]);
        assert!(entries.windows(2).all(|pair| pair[0].date < pair[1].date));
        assert!(entries.iter().all(|entry| entry.by == writer()));
        for item in recorded.kept(id).await {
            assert!(
                item["version"].as_n().unwrap() == "5" || !item.contains_key("values"),
                "{order:?}: {item:?}"
            );
            assert!(item.contains_key("expires"), "it goes when what is left of the ticket goes: {item:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_side_by_side_with_its_deletion_no_version_keeps_its_values() {
    let recorded = Recorded::new().await;
    for _ in 0..30 {
        let (id, versions) = recorded.ticket(true).await;
        let all =
            versions.iter().chain(&versions).map(|version| recorded.history.record(version.clone(), None));
        futures::future::try_join_all(all).await.unwrap();
        assert_eq!(recorded.list(id, Visibility::All).await.len(), 5);
        let kept = recorded.kept(id).await;
        assert!(kept.iter().filter(|item| item.contains_key("values")).count() <= 1, "{kept:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_s_history_has_its_values_and_a_restricted_key_sees_it_from_when_the_ticket_came() {
    let recorded = Recorded::new().await;
    let (id, versions) = recorded.ticket(false).await;
    for version in versions.iter().rev() {
        recorded.history.record(version.clone(), None).await.unwrap();
    }
    let entries = recorded.list(id, Visibility::All).await;
    let fields: Vec<_> = entries.iter().map(|entry| Value::Object(entry.fields.clone())).collect();
    assert_eq!(
        fields,
        [
            json!({"customerID": 7, "owner": "ada", "status": "open", "subject": "first", "ticketPriority": "normal"}),
            json!({"owner": null, "subject": "second"}),
            json!({"users": "u"}),
            json!({"customerID": 8}),
        ]
    );
    assert_eq!(entries[0].date, time(NOW));
    let only = |customer: u64| Visibility::Only(customer.try_into().unwrap());
    assert_eq!(recorded.list(id, only(8)).await, entries[3..]);
    assert!(matches!(recorded.tickets.history(id, only(7)).await, Err(Error::NotFound)));
    // A range read before a move does not grow by what comes after it.
    let before = recorded.tickets.history(id, only(8)).await.unwrap();
    let item = recorded.item(id).await;
    recorded.change(id, json!({"customerID": 9, "owner": "theirs"})).await;
    let moved = streamed(&item, &recorded.item(id).await).version().unwrap().unwrap();
    recorded.history.record(moved, None).await.unwrap();
    let mut seen = Vec::new();
    let take = |entry: &HistoryEntry| {
        seen.push(entry.version.get());
        Fit::Added
    };
    assert!(!recorded.history.list(&before, 0, None, take).await.unwrap());
    assert_eq!(seen, [4]);
    // A deletion does not change whose ticket it was.
    recorded.delete(id).await;
    assert!(recorded.tickets.history(id, only(9)).await.is_ok());
    assert!(matches!(recorded.tickets.history(id, only(8)).await, Err(Error::NotFound)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_ticket_s_values_are_not_shown_though_they_are_still_kept() {
    let recorded = Recorded::new().await;
    let (id, versions) = recorded.ticket(true).await;
    for version in &versions[..4] {
        recorded.history.record(version.clone(), None).await.unwrap();
    }
    assert!(recorded.kept(id).await.iter().all(|item| item.contains_key("values")), "the deletion is late");
    let entries = recorded.list(id, Visibility::All).await;
    assert_eq!(entries.len(), 4);
    assert!(entries.iter().all(|entry| entry.fields.values().all(Value::is_null)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_read_page_by_page() {
    let recorded = Recorded::new().await;
    let (id, versions) = recorded.ticket(false).await;
    for version in versions {
        recorded.history.record(version, None).await.unwrap();
    }
    let range = recorded.tickets.history(id, Visibility::All).await.unwrap();
    for (after, limit, room, expected, more) in [
        (0, Some(2), 9, vec![1, 2], true),
        (0, Some(4), 9, vec![1, 2, 3, 4], false),
        (2, Some(1), 9, vec![3], true),
        (2, None, 9, vec![3, 4], false),
        (0, None, 3, vec![1, 2, 3], true),
        (4, None, 9, vec![], false),
        (u64::MAX, None, 9, vec![], false),
    ] {
        let mut seen = Vec::new();
        let take = |entry: &HistoryEntry| {
            if seen.len() == room {
                return Fit::Full;
            }
            seen.push(entry.version.get());
            Fit::Added
        };
        assert_eq!(recorded.history.list(&range, after, limit, take).await.unwrap(), more);
        assert_eq!(seen, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_versions_of_tickets_are_recorded() {
    let recorded = Recorded::new().await;
    let id = recorded.create(json!({"customerID": 7, "subject": "s"})).await;
    let request = Idempotency::new(writer(), "key".parse().unwrap(), Fingerprint::new([1; 32]));
    let body = new_ticket(json!({"customerID": 7, "subject": "s"}));
    recorded.tickets.create(&writer(), Visibility::All, &body, Some(&request)).await.unwrap();
    recorded.change(id, json!({"customerID": 8})).await;
    #[expect(clippy::disallowed_methods, reason = "a look at a small table")]
    let items =
        recorded.table.client.scan().table_name(&recorded.table.name).send().await.unwrap().items.unwrap();
    let mut versions = 0;
    for item in &items {
        let version = streamed(&None, &Some(item.clone())).version().unwrap();
        let bucket = item["bucket"].as_s().unwrap();
        assert_eq!(version.is_some(), bucket.starts_with("0#"), "{item:?}");
        versions += usize::from(version.is_some());
        // TTL's removals are no versions.
        assert!(streamed(&Some(item.clone()), &None).version().unwrap().is_none());
    }
    assert_eq!((versions, items.len()), (2, 5), "besides a counter, a claim and a departure");
    let mut void = recorded.item(id).await.unwrap();
    void.remove("version");
    assert!(streamed(&None, &Some(void)).version().unwrap().is_none());
    // An item that cannot be read is an error, not nothing.
    let mut broken = recorded.item(id).await.unwrap();
    broken.remove("subject");
    assert!(streamed(&None, &Some(broken)).version().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_costs_what_changed() {
    if !crate::support::counts_units() {
        return;
    }
    let recorded = Recorded::new().await;
    let meter = Meter::counting();
    let history = recorded.history.metered(meter.clone());
    // The first event of an instance notes the start of the feed.
    let first = recorded.create(json!({"customerID": 7, "subject": "s"})).await;
    let first = streamed(&None, &recorded.item(first).await).version().unwrap().unwrap();
    history.record(first, None).await.unwrap();
    assert_eq!(meter.take(), 4.0);
    // One unit for the event in the index, again when a deletion takes its fields. An update looks at the entry before
    // it, which is read whole: one unit for each 4 KB.
    for (content, create, update, delete) in
        [(300, 2.0, 3.0, 7.5), (3000, 5.0, 3.0, 10.5), (20_000, 21.0, 7.0, 28.5)]
    {
        let id = recorded
            .create(json!({"customerID": 7, "subject": "s", "ticketContent": "x".repeat(content)}))
            .await;
        let created = recorded.item(id).await;
        recorded.change(id, json!({"status": "assigned"})).await;
        let updated = recorded.item(id).await;
        recorded.delete(id).await;
        let images = [None, created, updated, recorded.item(id).await];
        let mut units = Vec::new();
        for pair in images.windows(2) {
            history.record(streamed(&pair[0], &pair[1]).version().unwrap().unwrap(), None).await.unwrap();
            units.push(meter.take());
        }
        assert_eq!(units, [create, update, delete], "{content}");
        let range = recorded.tickets.history(id, Visibility::All).await.unwrap();
        history.list(&range, 0, None, |_| Fit::Added).await.unwrap();
        assert_eq!(meter.take(), 0.5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_ticket_leaves_its_dates_and_no_values_whatever_was_recorded() {
    for (deleted, found) in [(false, Found::Ticket), (true, Found::Tombstone)] {
        let recorded = Recorded::new().await;
        let (id, versions) = recorded.ticket(deleted).await;
        // The stream has not delivered the others yet.
        for version in versions.iter().skip(1).step_by(2) {
            recorded.history.record(version.clone(), None).await.unwrap();
        }
        let erased = recorded.tickets.erase(id, &writer(), &recorded.history).await.unwrap();
        assert_eq!((erased.found, erased.created), (found, Some(time(NOW))));
        for version in &versions[..4] {
            recorded.history.record(version.clone(), None).await.unwrap();
        }
        let kept = recorded.kept(id).await;
        assert_eq!(kept.iter().filter(|item| item.contains_key("date")).count(), 4);
        assert!(kept.iter().all(|item| !item.contains_key("values")), "{kept:?}");
        assert!(recorded.item(id).await.unwrap().contains_key("deletedDate"));
        let again = recorded.tickets.erase(id, &writer(), &recorded.history).await.unwrap();
        assert_eq!((again.found, again.created), (Found::Tombstone, Some(time(NOW))), "it may be repeated");
    }
    let recorded = Recorded::new().await;
    let never = TicketId::try_from(77).unwrap();
    let erased = recorded.tickets.erase(never, &writer(), &recorded.history).await.unwrap();
    assert_eq!((erased.found, erased.created), (Found::Nothing, None));
}
