//! The feed of events: one for each version of any ticket, in the order in which they were recorded.
//!
//! An event tells that something changed, and shows little of what: a reader who needs more gets the ticket, or
//! its history. So erasing a ticket's content leaves none in the feed.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::history::ChangeKind;
use crate::id::{CustomerId, TicketId, Version};
use crate::key::KeyId;
use crate::preset::Choices;
use crate::time::Timestamp;
use crate::visibility::Visibility;

/// Identifies an event: when it was recorded, its ticket, and its version. Ids sort, also as text, in the order of the
/// feed, so the last id that a reader has seen says how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    recorded: Timestamp,
    ticket: TicketId,
    version: Version,
}

/// The number of hexadecimal digits of each part of an id: enough for the year 9999, for 2^53 - 1, and for more
/// versions than a ticket can get in a thousand years.
const DIGITS: [usize; 3] = [12, 14, 10];

/// A text that is no event's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be the id of an event, as the feed gives it")]
pub struct InvalidEventId;

impl EventId {
    pub fn new(recorded: Timestamp, ticket: TicketId, version: Version) -> Self {
        Self { recorded, ticket, version }
    }

    pub fn ticket(self) -> TicketId {
        self.ticket
    }

    /// When the event was recorded: no earlier than the change that it tells of.
    pub fn recorded(self) -> Timestamp {
        self.recorded
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [time, ticket, version] = DIGITS;
        let millis = self.recorded.millis().max(0);
        write!(f, "{millis:0time$x}{:0ticket$x}{:0version$x}", self.ticket.get(), self.version.get())
    }
}

impl FromStr for EventId {
    type Err = InvalidEventId;

    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != DIGITS.iter().sum::<usize>() || !text.bytes().all(is_digit) {
            return Err(InvalidEventId);
        }
        let (time, rest) = text.split_at(DIGITS[0]);
        let (ticket, version) = rest.split_at(DIGITS[1]);
        let number = |digits: &str| u64::from_str_radix(digits, 16).map_err(|_| InvalidEventId);
        let millis = i64::try_from(number(time)?).map_err(|_| InvalidEventId)?;
        Ok(Self {
            recorded: Timestamp::from_millis(millis).map_err(|_| InvalidEventId)?,
            ticket: number(ticket)?.try_into().map_err(|_| InvalidEventId)?,
            version: Version::new(number(version)?),
        })
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What happened to the ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum EventType {
    #[serde(rename = "ticket.created")]
    Created,
    #[serde(rename = "ticket.updated")]
    Updated,
    #[serde(rename = "ticket.deleted")]
    Deleted,
}

/// A text that is no type of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be ticket.created, ticket.updated or ticket.deleted, or several of them separated by commas")]
pub struct InvalidEventType;

impl EventType {
    pub const ALL: [Self; 3] = [Self::Created, Self::Updated, Self::Deleted];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "ticket.created",
            Self::Updated => "ticket.updated",
            Self::Deleted => "ticket.deleted",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EventType {
    type Err = InvalidEventType;

    fn from_str(text: &str) -> Result<Self, InvalidEventType> {
        Self::ALL.into_iter().find(|kind| kind.name() == text.trim()).ok_or(InvalidEventType)
    }
}

impl From<ChangeKind> for EventType {
    fn from(change: ChangeKind) -> Self {
        match change {
            ChangeKind::Created => Self::Created,
            ChangeKind::Updated => Self::Updated,
            ChangeKind::Deleted => Self::Deleted,
        }
    }
}

/// What happened to a ticket: one of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// Sorts in the order of the feed. Pass the last one as `after`.
    pub id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// The ticket's id.
    pub ticket: TicketId,
    /// Whose ticket it is after the change; absent if it has left the customer to whom the key is restricted.
    #[serde(rename = "customerID", skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    /// The version that the change made: 1 for a new ticket.
    pub version: Version,
    /// When it changed: the `updatedDate` of this version.
    pub date: Timestamp,
    /// The id of the key that changed it.
    pub by: KeyId,
    /// The names of the fields that changed.
    pub fields: Vec<String>,
    /// The preset fields as they are after the change. All of them are absent once the ticket is deleted.
    #[serde(flatten)]
    pub shown: Choices,
    /// The customer that the ticket left with this change.
    #[serde(skip)]
    pub left: Option<CustomerId>,
}

impl Event {
    /// The event as this visibility shows it. The customer that a ticket has left sees that it left, and neither to
    /// whom nor how the ticket is now.
    pub fn seen_with(self, visibility: Visibility) -> Option<Self> {
        if self.customer.is_none_or(|customer| visibility.includes(customer)) {
            Some(self)
        } else if self.left.is_some_and(|customer| visibility.includes(customer)) {
            Some(Self { customer: None, shown: Choices::default(), ..self })
        } else {
            None
        }
    }
}

/// Which events a reader asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only events that come after this one.
    pub after: Option<EventId>,
    /// Only events recorded then or later.
    pub since: Option<Timestamp>,
    /// Only events of these types; of all types if there are none.
    pub types: Vec<EventType>,
    /// The most events on a page.
    pub limit: Option<usize>,
}

impl EventFilter {
    /// No event recorded earlier is asked for.
    pub fn begins(&self) -> Option<Timestamp> {
        self.since.max(self.after.map(EventId::recorded))
    }

    /// Whether it asks for this event.
    pub fn includes(&self, event: &Event) -> bool {
        // Named one by one, so that none is forgotten.
        let Self { after, since, types, limit: _ } = self;
        after.is_none_or(|after| event.id > after)
            && since.is_none_or(|since| event.id.recorded >= since)
            && (types.is_empty() || types.contains(&event.kind))
    }
}

/// How a page of the feed ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsEnd {
    /// There are no more events, or none that may be shown yet.
    Complete,
    /// The page is full: there is at least one more event.
    Full,
    /// Nothing more was read, because the page has read enough: every event recorded before this instant was.
    Paused(Timestamp),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::id::MAX_SAFE_INTEGER;

    fn time(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn id(millis: i64, ticket: u64, version: u64) -> EventId {
        EventId::new(time(millis), ticket.try_into().unwrap(), Version::new(version))
    }

    fn customer(number: u64) -> CustomerId {
        number.try_into().unwrap()
    }

    fn event() -> Event {
        let status = Some("open").map(|status| serde_json::from_value(json!(status)).unwrap());
        Event {
            id: id(1000, 43, 2),
            kind: EventType::Updated,
            ticket: 43.try_into().unwrap(),
            customer: Some(customer(7)),
            version: Version::new(2),
            date: time(900),
            by: "ada".parse().unwrap(),
            fields: vec!["customerID".into()],
            shown: Choices { status, ..Choices::default() },
            left: Some(customer(8)),
        }
    }

    #[test]
    fn an_id_is_read_as_it_was_written() {
        let last = id(Timestamp::MAX.millis(), MAX_SAFE_INTEGER, (1 << 40) - 1);
        for id in [id(0, 1, 1), id(1_764_000_000_000, 43, 2), last] {
            assert_eq!((id.to_string().len(), id.to_string().parse()), (36, Ok(id)));
        }
        assert_eq!(id(1_764_000_000_000, 43, 2).to_string(), "019ab697e8000000000000002b0000000002");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let good = id(1_764_000_000_000, 43, 2).to_string();
        for text in [
            String::new(),
            good[1..].into(),
            format!("{good}0"),
            good.to_uppercase(),
            good.replace('2', "g"),
            format!("+{}", &good[1..]),
            format!("{}{}{}", &good[..12], "0".repeat(14), &good[26..]),
            format!("{}{}", "f".repeat(12), &good[12..]),
            format!("{}{}{}", &good[..12], "f".repeat(14), &good[26..]),
            "é".repeat(18),
        ] {
            assert_eq!(text.parse::<EventId>(), Err(InvalidEventId), "{text}");
        }
    }

    proptest! {
        #[test]
        fn ids_sort_as_texts_as_they_sort(
            a in (0..4_i64, 1..4_u64, 1..20_u64), b in (0..300_000_000_000_000_i64, 1..=MAX_SAFE_INTEGER, 1..1_u64 << 40)
        ) {
            for (a, b) in [(a, (a.0, b.1, b.2)), (a, (a.0, a.1, b.2)), (a, (b.0 % 253_402_300_800_000, b.1, b.2))] {
                let (a, b) = (id(a.0, a.1, a.2), id(b.0, b.1, b.2));
                prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            }
        }
    }

    #[test]
    fn a_type_is_read_by_its_name() {
        for kind in EventType::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert_eq!("created".parse::<EventType>(), Err(InvalidEventType));
    }

    #[test]
    fn an_event_shows_who_changed_which_fields_and_how_the_ticket_is_now() {
        assert_eq!(
            serde_json::to_value(event()).unwrap(),
            json!({
                "id": "0000000003e80000000000002b0000000002", "type": "ticket.updated", "ticket": "43", "customerID": 7,
                "version": 2, "date": "1970-01-01T00:00:00.900Z", "by": "ada", "fields": ["customerID"],
                "status": "open",
            })
        );
    }

    #[test]
    fn the_customer_that_a_ticket_left_sees_no_more_than_that() {
        assert_eq!(event().seen_with(Visibility::All), Some(event()));
        assert_eq!(event().seen_with(Visibility::Only(customer(7))), Some(event()));
        let left = event().seen_with(Visibility::Only(customer(8))).unwrap();
        assert_eq!((left.customer, left.shown, left.fields), (None, Choices::default(), event().fields));
        assert_eq!(event().seen_with(Visibility::Only(customer(9))), None);
        let stays = Event { left: None, ..event() };
        assert_eq!(stays.seen_with(Visibility::Only(customer(8))), None);
    }

    #[test]
    fn a_filter_asks_for_what_comes_after_its_cursor_and_since_its_time() {
        let filter = |after, since, types: &[EventType]| EventFilter {
            after,
            since,
            types: types.to_vec(),
            limit: None,
        };
        let event = event();
        for (filter, includes) in [
            (EventFilter::default(), true),
            (filter(Some(id(1000, 43, 1)), None, &[]), true),
            (filter(Some(id(1000, 43, 2)), None, &[]), false),
            (filter(None, Some(time(1000)), &[]), true),
            (filter(None, Some(time(1001)), &[]), false),
            (filter(None, None, &[EventType::Created, EventType::Updated]), true),
            (filter(None, None, &[EventType::Deleted]), false),
        ] {
            assert_eq!(filter.includes(&event), includes, "{filter:?}");
        }
        assert_eq!(EventFilter::default().begins(), None);
        assert_eq!(filter(Some(id(5, 1, 1)), Some(time(4)), &[]).begins(), Some(time(5)));
        assert_eq!(filter(Some(id(5, 1, 1)), Some(time(6)), &[]).begins(), Some(time(6)));
    }
}
