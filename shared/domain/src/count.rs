//! How many tickets there are, by what the index of statuses knows of each: no ticket is read to count it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::CustomerId;
use crate::preset::{Choice, Folded, Presets};
use crate::status::Statuses;
use crate::work_queue::{QueueFields, WorkQueue};

/// What tickets are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountBy {
    Status,
    TicketType,
    TicketPriority,
    Owner,
    Customer,
}

/// A text that names nothing by which tickets are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be one or more of {}", CountBy::ALL.map(CountBy::name).join(", "))]
pub struct InvalidCountBy;

impl CountBy {
    pub const ALL: [Self; 5] =
        [Self::Status, Self::TicketType, Self::TicketPriority, Self::Owner, Self::Customer];

    /// The ticket's field, by which it is named.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::TicketType => "ticketType",
            Self::TicketPriority => "ticketPriority",
            Self::Owner => "owner",
            Self::Customer => "customerID",
        }
    }
}

impl FromStr for CountBy {
    type Err = InvalidCountBy;

    fn from_str(text: &str) -> Result<Self, InvalidCountBy> {
        Self::ALL.into_iter().find(|by| by.name() == text).ok_or(InvalidCountBy)
    }
}

/// Which tickets to count, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountQuery {
    pub by: Vec<CountBy>,
    /// The statuses of the tickets.
    pub statuses: Statuses,
    /// The other filters. Its own statuses are not looked at.
    pub queue: WorkQueue,
}

/// The number of tickets of one group. A field by which it was not asked to count is absent, and one that its tickets
/// do not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TicketCount {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Choice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket_type: Option<Choice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket_priority: Option<Choice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Choice>,
    #[serde(rename = "customerID", default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    /// How many there are.
    pub count: u64,
}

/// How many tickets there are, in all and of each group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TicketCounts {
    /// How many there are in all.
    pub total: u64,
    /// Whether every ticket was counted. Otherwise there are at least so many.
    pub complete: bool,
    /// The largest group first.
    pub counts: Vec<TicketCount>,
}

/// The values that the tickets of a group have in common, as people compare them.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    status: Option<Folded>,
    ticket_type: Option<Folded>,
    priority: Option<Folded>,
    owner: Option<Folded>,
    customer: Option<CustomerId>,
}

/// Counts tickets one by one.
#[derive(Debug)]
pub struct Counter {
    by: Vec<CountBy>,
    total: u64,
    /// Each with the values as its first ticket has them.
    groups: BTreeMap<Group, TicketCount>,
}

impl Counter {
    pub fn new(by: &[CountBy]) -> Self {
        Self { by: by.to_vec(), total: 0, groups: BTreeMap::new() }
    }

    /// Counts a ticket. Its status is not looked for in `fields`, because the index does not have it there.
    pub fn add(&mut self, customer: CustomerId, status: Option<&Folded>, fields: &QueueFields) {
        self.total += 1;
        if self.by.is_empty() {
            return;
        }
        let asked = |by| self.by.contains(&by);
        let value = |by, value: &Option<Choice>| value.clone().filter(|_| asked(by));
        let shown = TicketCount {
            status: None,
            ticket_type: value(CountBy::TicketType, &fields.ticket_type),
            ticket_priority: value(CountBy::TicketPriority, &fields.priority),
            owner: value(CountBy::Owner, &fields.owner),
            customer: Some(customer).filter(|_| asked(CountBy::Customer)),
            count: 0,
        };
        let folded = |choice: &Option<Choice>| choice.as_ref().map(Choice::folded);
        let group = Group {
            status: status.filter(|_| asked(CountBy::Status)).cloned(),
            ticket_type: folded(&shown.ticket_type),
            priority: folded(&shown.ticket_priority),
            owner: folded(&shown.owner),
            customer: shown.customer,
        };
        self.groups.entry(group).or_insert(shown).count += 1;
    }

    /// What was counted, with statuses in their configured spelling. `complete` says whether that was everything.
    pub fn finish(self, complete: bool, presets: &Presets) -> TicketCounts {
        let statuses = presets.any_status();
        let counts = self.groups.into_iter().map(|(group, shown)| {
            let status = group.status.and_then(|status| statuses.choose(status.as_str()).ok());
            TicketCount { status, ..shown }
        });
        let mut counts: Vec<_> = counts.collect();
        counts.sort_by_key(|group| Reverse(group.count));
        TicketCounts { total: self.total, complete, counts }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::preset::PresetLists;

    fn presets() -> Presets {
        Presets::parse(&PresetLists { statuses: "New, Done", closed: "Done", ..PresetLists::default() })
            .unwrap()
    }

    /// Counts tickets of customer 7 with these statuses and fields.
    fn counted(by: &[CountBy], tickets: &[(Option<&str>, Value)]) -> Value {
        let mut counter = Counter::new(by);
        for (status, fields) in tickets {
            let fields = serde_json::from_value(fields.clone()).unwrap();
            counter.add(7.try_into().unwrap(), status.map(Folded::of).as_ref(), &fields);
        }
        serde_json::to_value(counter.finish(true, &presets())).unwrap()
    }

    #[test]
    fn what_tickets_are_counted_by_is_the_name_of_a_field() {
        for by in CountBy::ALL {
            assert_eq!(by.name().parse(), Ok(by));
            let field = if by == CountBy::Customer { "customerID" } else { by.name() };
            assert!(crate::ticket::field_names().any(|name| name == field), "{field}");
        }
        let refused = "Owner".parse::<CountBy>().unwrap_err().to_string();
        assert_eq!(refused, "must be one or more of status, ticketType, ticketPriority, owner, customerID");
    }

    #[test]
    fn names_that_people_take_for_the_same_are_one_group_and_the_largest_comes_first() {
        let ticket = |owner: &str| (Some("new"), json!({"owner": owner}));
        let tickets = [ticket("linus"), ticket("José"), ticket("JOSE\u{301} "), (None, json!({}))];
        assert_eq!(
            counted(&[CountBy::Owner], &tickets)["counts"],
            json!([{"owner": "José", "count": 2}, {"count": 1}, {"owner": "linus", "count": 1}])
        );
    }

    #[test]
    fn a_status_is_shown_as_it_is_configured_and_only_what_is_asked_for_tells_groups_apart() {
        let tickets = [
            (Some("NEW"), json!({"owner": "ada", "ticketPriority": "high"})),
            (Some("new"), json!({"owner": "ada", "ticketPriority": "low"})),
            (Some("done"), json!({"owner": "ada"})),
            (None, json!({"owner": "ada"})),
        ];
        assert_eq!(
            counted(&[CountBy::Status], &tickets)["counts"],
            json!([{"status": "New", "count": 2}, {"count": 1}, {"status": "Done", "count": 1}])
        );
        assert_eq!(
            counted(&[CountBy::Customer, CountBy::Owner], &tickets),
            json!({"total": 4, "complete": true, "counts": [{"owner": "ada", "customerID": 7, "count": 4}]})
        );
        assert_eq!(counted(&[], &tickets), json!({"total": 4, "complete": true, "counts": []}));
    }
}
