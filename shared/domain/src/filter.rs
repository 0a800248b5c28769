//! Which tickets a list holds.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::id::{CustomerId, TicketId};
use crate::list::Row;
use crate::ticket::{RecordKey, RecordState};
use crate::time::Timestamp;
use crate::work_queue::WorkQueue;

/// The highest `limit` of tickets on a page that a caller may ask for.
pub const MAX_LIMIT: usize = 1000;
/// The most tickets that a caller may ask for by their ids.
pub const MAX_IDS: usize = 100;

/// Which records a list request asks for. Every bound is inclusive except `id_after`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this customer's tickets.
    pub customer: Option<CustomerId>,
    /// Only tickets with these ids.
    pub ids: Option<BTreeSet<TicketId>>,
    /// Only higher ids.
    pub id_after: u64,
    /// Only tickets created at this instant or later.
    pub created_since: Option<Timestamp>,
    /// Only tickets changed at this instant or later.
    pub updated_since: Option<Timestamp>,
    /// Only tickets last changed at this instant or earlier.
    pub updated_until: Option<Timestamp>,
    /// The most tickets on a page, 1 to [`MAX_LIMIT`].
    pub limit: Option<usize>,
    /// Also tombstones of deleted tickets and, in a customer's list, departures.
    pub include_deleted: bool,
    /// Only tickets in this work queue.
    pub queue: WorkQueue,
}

impl Filter {
    /// The earliest `updatedDate` that can match: a ticket created since T was also updated since T.
    pub fn since(&self) -> Option<Timestamp> {
        self.created_since.max(self.updated_since)
    }

    /// Whether a record belongs in the list.
    pub fn matches(&self, row: &Row) -> Result<bool> {
        Ok(self.may_match(&row.key)
            && match row.key.state {
                RecordState::Live => self.queue.is_empty() || row.is_in(&self.queue)?,
                // `may_match` excludes these if a queue is asked for.
                RecordState::Deleted | RecordState::Departed => true,
            })
    }

    /// Whether departures can be in the list. They are only for the list of the customer that the ticket left:
    /// the list of all tickets still has the ticket itself.
    pub fn may_show_departures(&self) -> bool {
        self.include_deleted && self.customer.is_some() && self.queue.is_empty()
    }

    /// Whether a record with this key may belong in the list. A ticket's work queue is not checked, because
    /// the key lacks those fields.
    pub fn may_match(&self, key: &RecordKey) -> bool {
        let shown = match key.state {
            RecordState::Live => true,
            RecordState::Deleted => self.include_deleted && self.queue.is_empty(),
            RecordState::Departed => self.may_show_departures(),
        };
        shown
            && key.id.get() > self.id_after
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&key.id))
            && self.customer.is_none_or(|customer| key.customer == customer)
            && self.created_since.is_none_or(|since| key.created >= since)
            && self.updated_since.is_none_or(|since| key.updated >= since)
            && self.updated_until.is_none_or(|until| key.updated <= until)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::status::Statuses;
    use crate::{Departure, JsonObject, PresetLists, Presets, Record, Ticket, TicketInput};

    fn time(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn customer(number: u64) -> CustomerId {
        number.try_into().unwrap()
    }

    fn presets() -> Presets {
        Presets::parse(&PresetLists::default()).unwrap()
    }

    /// Ticket 10 of customer 7, open, created at 100 and changed at 200.
    fn ticket() -> Ticket {
        let object =
            JsonObject::parse(json!({"customerID": 7, "subject": "s"}).to_string().as_bytes()).unwrap();
        let fields = TicketInput::create(object, &presets()).unwrap();
        Ticket { updated: time(200), ..Ticket::new("10".parse().unwrap(), fields, time(100)) }
    }

    fn departed() -> Record {
        let (before, mut after) = (ticket(), ticket());
        after.fields.customer = customer(8);
        Record::Departed(Departure::of(&before, &after).unwrap())
    }

    fn listed(filter: &Filter, record: &Record) -> bool {
        filter.matches(&Row::of(record).unwrap()).unwrap()
    }

    fn open() -> WorkQueue {
        WorkQueue { statuses: Some(Statuses::open(true, &presets())), ..WorkQueue::default() }
    }

    #[test]
    fn every_bound_lets_through_what_is_just_inside_and_nothing_beyond() {
        let record = Record::Live(ticket());
        let filters = |inside: Filter, outside: Filter| {
            assert!(listed(&inside, &record) && inside.may_match(&record.key()), "{inside:?}");
            assert!(!listed(&outside, &record) && !outside.may_match(&record.key()), "{outside:?}");
        };
        let any = Filter::default;
        filters(any(), Filter { id_after: 11, ..any() });
        let ids = |ids: &[u64]| Some(ids.iter().map(|id| TicketId::try_from(*id).unwrap()).collect());
        filters(Filter { ids: ids(&[9, 10]), ..any() }, Filter { ids: ids(&[9, 11]), ..any() });
        filters(Filter { id_after: 9, ..any() }, Filter { id_after: 10, ..any() });
        filters(
            Filter { customer: Some(customer(7)), ..any() },
            Filter { customer: Some(customer(8)), ..any() },
        );
        filters(
            Filter { created_since: Some(time(100)), ..any() },
            Filter { created_since: Some(time(101)), ..any() },
        );
        filters(
            Filter { updated_since: Some(time(200)), ..any() },
            Filter { updated_since: Some(time(201)), ..any() },
        );
        filters(
            Filter { updated_until: Some(time(200)), ..any() },
            Filter { updated_until: Some(time(199)), ..any() },
        );
    }

    #[test]
    fn a_ticket_is_in_the_list_if_it_is_within_the_bounds_and_in_the_queue() {
        let with_status = |filter: &Filter, status: &str| {
            let mut ticket = ticket();
            ticket.fields.status = Some(presets().status.choose(status).unwrap());
            listed(filter, &Record::Live(ticket))
        };
        let filter = Filter { queue: open(), ..Filter::default() };
        assert!(with_status(&filter, "assigned") && !with_status(&filter, "closed"));
        assert!(!with_status(&Filter { id_after: 10, ..filter }, "assigned"));
    }

    #[test]
    fn a_tombstone_matches_only_if_deleted_ones_are_included_and_no_queue_is_asked_for() {
        let record = Record::Deleted(ticket().delete(time(300)));
        let asked = Filter { include_deleted: true, ..Filter::default() };
        assert!(listed(&asked, &record));
        assert!(!listed(&Filter::default(), &record));
        assert!(!listed(&Filter { queue: open(), ..asked.clone() }, &record));
        assert!(!listed(&Filter { id_after: 10, ..asked }, &record), "the other bounds hold too");
    }

    #[test]
    fn a_departure_is_shown_in_the_list_of_the_customer_it_left_and_nowhere_else() {
        let asked = Filter { include_deleted: true, customer: Some(customer(7)), ..Filter::default() };
        assert!(listed(&asked, &departed()));
        for other in [
            Filter { customer: None, ..asked.clone() },
            Filter { customer: Some(customer(8)), ..asked.clone() },
            Filter { include_deleted: false, ..asked.clone() },
            Filter { queue: open(), ..asked.clone() },
        ] {
            assert!(!listed(&other, &departed()), "{other:?}");
        }
    }

    #[test]
    fn nothing_matches_before_the_later_of_the_two_times() {
        let since = |created: Option<i64>, updated: Option<i64>| {
            let (created_since, updated_since) = (created.map(time), updated.map(time));
            Filter { created_since, updated_since, ..Filter::default() }.since()
        };
        assert_eq!(since(None, None), None);
        assert_eq!([since(Some(5), None), since(None, Some(5))], [Some(time(5)); 2]);
        assert_eq!([since(Some(5), Some(6)), since(Some(6), Some(5))], [Some(time(6)); 2]);
    }
}
