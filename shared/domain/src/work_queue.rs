//! The work-queue filters: which tickets are waiting for whom.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::preset::{Choice, Folded, InvalidChoice, Preset};
use crate::status::Statuses;
use crate::time::{DateOrTime, Timestamp};

/// A set of values, one of which a ticket must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnyOf(BTreeSet<Folded>);

impl AnyOf {
    pub fn of(choices: &[Choice]) -> Self {
        Self(choices.iter().map(Choice::folded).collect())
    }

    fn include(&self, value: Option<&Choice>) -> bool {
        value.is_some_and(|value| self.0.contains(&value.folded()))
    }
}

/// The filters of a work queue. They only match tickets, because a tombstone has no owner and no status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkQueue {
    /// Only tickets with one of these statuses.
    pub statuses: Option<Statuses>,
    /// Only tickets of one of these types.
    pub types: Option<AnyOf>,
    /// Only tickets of one of these priorities.
    pub priorities: Option<AnyOf>,
    /// Only tickets with one of these owners.
    pub owners: Option<AnyOf>,
    /// Only tickets with a follow-up date at this instant or earlier.
    pub followup_until: Option<Timestamp>,
    /// Only tickets with an action date at this instant or earlier.
    pub action_until: Option<Timestamp>,
}

/// The fields that the filters check. They come from a ticket's JSON or, without the status, from the index
/// of statuses.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct QueueFields {
    #[serde(default)]
    pub status: Option<Choice>,
    #[serde(rename = "ticketType", default)]
    pub ticket_type: Option<Choice>,
    #[serde(rename = "ticketPriority", default)]
    pub priority: Option<Choice>,
    #[serde(default)]
    pub owner: Option<Choice>,
    #[serde(rename = "ticketFollowupDate", default)]
    pub followup: Option<DateOrTime>,
    #[serde(rename = "ticketActionRequired", default)]
    pub action_required: Option<DateOrTime>,
}

/// What the index of statuses holds of a ticket besides its status and id: the customer, and the fields that the
/// other filters check, so that no ticket has to be read for them.
pub const INDEXED_FIELDS: [&str; 6] =
    ["customerID", "ticketType", "ticketPriority", "owner", "ticketFollowupDate", "ticketActionRequired"];

impl WorkQueue {
    /// Whether no filter is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a ticket with these fields is in the queue.
    pub fn includes(&self, fields: &QueueFields) -> bool {
        self.statuses.as_ref().is_none_or(|statuses| statuses.include(fields.status.as_ref()))
            && self.includes_whatever_its_status(fields)
    }

    /// As [`WorkQueue::includes`], but without checking the status.
    pub fn includes_whatever_its_status(&self, fields: &QueueFields) -> bool {
        let any = |asked: &Option<AnyOf>, value: &Option<Choice>| {
            asked.as_ref().is_none_or(|asked| asked.include(value.as_ref()))
        };
        let until = |until: Option<Timestamp>, date: Option<DateOrTime>| {
            until.is_none_or(|until| date.is_some_and(|date| date.begins() <= until))
        };
        // Named one by one, so that none is forgotten.
        let Self { statuses: _, types, priorities, owners, followup_until, action_until } = self;
        any(types, &fields.ticket_type)
            && any(priorities, &fields.priority)
            && any(owners, &fields.owner)
            && until(*followup_until, fields.followup)
            && until(*action_until, fields.action_required)
    }
}

impl Preset {
    /// Parses values with commas between. Where any text is allowed the text is one value, because a name may
    /// have a comma in it: `Smith, John`.
    ///
    /// # Errors
    /// For the first value that is empty or not listed.
    pub fn choose_any(&self, text: &str) -> Result<Vec<Choice>, InvalidChoice> {
        if !self.values().is_empty() {
            return text.split(',').map(|value| self.choose(value)).collect();
        }
        if text.trim().is_empty() {
            return Err(InvalidChoice::Empty);
        }
        Ok(vec![self.choose(text)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::{PresetLists, Presets};
    use crate::{TicketFields, TicketInput};

    fn presets(statuses: &str, closed: &str) -> Presets {
        Presets::parse(&PresetLists { statuses, closed, ..PresetLists::default() }).unwrap()
    }

    #[test]
    fn a_ticket_without_a_value_is_in_no_queue_that_asks_for_one() {
        let owners = Some(AnyOf::of(&presets("a", "").owner.choose_any("grace").unwrap()));
        let queue = WorkQueue { owners, ..WorkQueue::default() };
        let fields = |owner| QueueFields { owner, ..QueueFields::default() };
        let grace = presets("a", "").owner.choose("GRACE").unwrap();
        assert!(queue.includes_whatever_its_status(&fields(Some(grace))));
        assert!(!queue.includes_whatever_its_status(&fields(None)));
    }

    /// A ticket with every field that a queue can check. Its dates begin at 1000 and 2000.
    fn ticket() -> TicketFields {
        let body = r#"{"customerID":1,"subject":"s","ticketType":"billing","ticketPriority":"high","owner":"Ada",
            "ticketFollowupDate":"1970-01-01T00:00:01Z","ticketActionRequired":"1970-01-01T00:00:02Z"}"#;
        TicketInput::create(
            crate::JsonObject::parse(body.as_bytes()).unwrap(),
            &presets("open, done", "done"),
        )
        .unwrap()
    }

    fn is_in(queue: &WorkQueue, fields: &TicketFields) -> bool {
        // As a list does: read the fields from the ticket's JSON.
        queue.includes(&serde_json::from_str(&serde_json::to_string(fields).unwrap()).unwrap())
    }

    /// Two queues for each filter: the ticket above is in the first and not in the second.
    fn queues() -> Vec<(&'static str, WorkQueue, WorkQueue)> {
        let presets = presets("open, done", "done");
        let any = |preset: &Preset, text: &str| Some(AnyOf::of(&preset.choose_any(text).unwrap()));
        let at = |millis: i64| Some(Timestamp::from_millis(millis).unwrap());
        let all = WorkQueue::default;
        let status = |open: bool| Some(Statuses::open(open, &presets));
        let (types, priorities, owners) = (&presets.ticket_type, &presets.priority, &presets.owner);
        vec![
            (
                "status",
                WorkQueue { statuses: status(true), ..all() },
                WorkQueue { statuses: status(false), ..all() },
            ),
            (
                "ticketType",
                WorkQueue { types: any(types, "sales,billing"), ..all() },
                WorkQueue { types: any(types, "sales"), ..all() },
            ),
            (
                "ticketPriority",
                WorkQueue { priorities: any(priorities, "HIGH"), ..all() },
                WorkQueue { priorities: any(priorities, "low"), ..all() },
            ),
            (
                "owner",
                WorkQueue { owners: any(owners, "ada"), ..all() },
                WorkQueue { owners: any(owners, "grace"), ..all() },
            ),
            (
                "followupUntil",
                WorkQueue { followup_until: at(1000), ..all() },
                WorkQueue { followup_until: at(999), ..all() },
            ),
            (
                "actionUntil",
                WorkQueue { action_until: at(2000), ..all() },
                WorkQueue { action_until: at(1999), ..all() },
            ),
        ]
    }

    #[test]
    fn a_ticket_is_in_a_queue_that_asks_for_what_it_has() {
        for (filter, with, without) in queues() {
            assert!(is_in(&with, &ticket()), "{filter}");
            assert!(!is_in(&without, &ticket()), "{filter}");
            assert!(!with.is_empty() && !without.is_empty(), "{filter}");
        }
        assert!(WorkQueue::default().is_empty() && is_in(&WorkQueue::default(), &ticket()));
    }

    #[test]
    fn the_index_of_statuses_holds_what_the_other_filters_check() {
        let mut indexed = serde_json::to_value(ticket()).unwrap();
        indexed.as_object_mut().unwrap().retain(|name, _| INDEXED_FIELDS.contains(&name.as_str()));
        let indexed: QueueFields = serde_json::from_value(indexed).unwrap();
        for (filter, with, without) in queues().into_iter().filter(|(filter, ..)| *filter != "status") {
            assert!(with.includes_whatever_its_status(&indexed), "{filter}");
            assert!(!without.includes_whatever_its_status(&indexed), "{filter}");
        }
    }

    #[test]
    fn a_ticket_without_any_value_is_only_in_the_queue_of_open_tickets() {
        let bare = TicketFields {
            status: None,
            ticket_type: None,
            priority: None,
            owner: None,
            followup: None,
            action_required: None,
            ..ticket()
        };
        for (filter, with, _) in queues() {
            assert_eq!(is_in(&with, &bare), filter == "status", "{filter}");
        }
    }

    #[test]
    fn a_ticket_must_match_every_filter_of_a_queue() {
        for (one, with, without) in queues() {
            for (other, beside, _) in queues().into_iter().filter(|(other, ..)| *other != one) {
                let both = |queue: WorkQueue| WorkQueue {
                    statuses: queue.statuses.or(beside.statuses.clone()),
                    types: queue.types.or(beside.types.clone()),
                    priorities: queue.priorities.or(beside.priorities.clone()),
                    owners: queue.owners.or(beside.owners.clone()),
                    followup_until: queue.followup_until.or(beside.followup_until),
                    action_until: queue.action_until.or(beside.action_until),
                };
                assert!(is_in(&both(with.clone()), &ticket()), "{one} and {other}");
                assert!(!is_in(&both(without.clone()), &ticket()), "{one} and {other}");
            }
        }
    }

    #[test]
    fn a_name_that_is_not_configured_may_have_a_comma_in_it() {
        let presets = |owners| Presets::parse(&PresetLists { owners, ..PresetLists::default() }).unwrap();
        let queue = |presets: &Presets, owner| WorkQueue {
            owners: Some(AnyOf::of(&presets.owner.choose_any(owner).unwrap())),
            ..WorkQueue::default()
        };
        let with = |owner: &str| TicketFields { owner: presets("").owner.choose(owner).ok(), ..ticket() };
        let free = queue(&presets(""), "Smith, John");
        assert!(is_in(&free, &with(" smith, JOHN")) && !is_in(&free, &with("Smith")));
        let configured = queue(&presets("Smith, John"), "smith, john");
        assert!(is_in(&configured, &with("Smith")) && is_in(&configured, &with("John")));
        assert!(is_in(&queue(&presets(""), "jos\u{e9}"), &with("JOSE\u{301} ")));
    }

    #[test]
    fn values_are_separated_by_commas_and_each_is_a_configured_one() {
        let presets = presets("open, done", "done");
        let chosen = presets.status.choose_any(" Open ,done").unwrap();
        assert_eq!(chosen.iter().map(Choice::as_str).collect::<Vec<_>>(), ["open", "done"]);
        for empty in ["", "open,", " , done"] {
            let refused = presets.status.choose_any(empty);
            assert!(
                matches!(refused, Err(InvalidChoice::NotListed(_))),
                "it says which there are: {empty:?}"
            );
        }
        for empty in ["", " "] {
            assert_eq!(presets.owner.choose_any(empty), Err(InvalidChoice::Empty));
        }
        assert_eq!(presets.any_status().values(), ["open", "done"]);
    }
}
