//! The order in which `tickets list` shows tickets. The API's is ascending by id; others are made here, of a list that
//! was read to its end.

use std::cmp::Reverse;
use std::io;

use clap::ValueEnum;
use tickets_domain::preset::{Folded, Preset};

use super::Shown;
use crate::client::Row;

/// The most tickets that are sorted.
pub(super) const MOST: usize = 10_000;

/// The order of a list
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    /// Last changed first
    Updated,
    /// Most urgent first: the configured priorities from the last to the first
    Priority,
    /// Earliest follow-up first
    Followup,
    /// By customer
    Customer,
}

impl Sort {
    /// Sorts rows. Those that are equal stay ascending by id, and those without a value come last. `priorities` are the
    /// configured ones.
    pub(super) fn sort(self, rows: Vec<Row>, priorities: &Preset) -> io::Result<Vec<Row>> {
        let rank = |priority: &str| {
            let folded = Folded::of(priority);
            priorities.values().iter().position(|value| Folded::of(value) == folded)
        };
        let mut keyed = Vec::with_capacity(rows.len());
        for row in rows {
            let ticket: Shown = serde_json::from_str(row.json.get())?;
            // Dates and times in UTC are in order as texts.
            let key = match self {
                Self::Updated => (Reverse(Some(row.updated)), Reverse(None), None, 0),
                Self::Priority => {
                    (Reverse(None), Reverse(ticket.priority.as_deref().and_then(rank)), None, 0)
                }
                Self::Followup => {
                    let date = ticket.followup.unwrap_or_else(|| "~".into());
                    (Reverse(None), Reverse(None), Some(date), 0)
                }
                Self::Customer => (Reverse(None), Reverse(None), None, ticket.customer),
            };
            keyed.push((key, row));
        }
        keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(keyed.into_iter().map(|(_, row)| row).collect())
    }
}

#[cfg(test)]
mod tests {
    use tickets_domain::{PresetLists, Presets};

    use super::*;
    use crate::client::api::row;

    #[test]
    fn equal_tickets_stay_in_the_order_of_their_ids_and_those_without_a_value_come_last() {
        let tickets = [
            (1, 9, "2026-01-03", r#""ticketPriority":"LOW","ticketFollowupDate":"2026-12-01T08:00:00.000Z""#),
            (2, 7, "2026-01-04", r#""owner":"ada""#),
            (3, 9, "2026-01-01", r#""ticketPriority":"urgent","ticketFollowupDate":"2026-12-01""#),
            (
                4,
                7,
                "2026-01-02",
                r#""ticketPriority":"urgent","ticketFollowupDate":"2026-11-30T23:00:00.000Z""#,
            ),
            (5, 8, "2026-01-02", r#""ticketPriority":"blocker""#),
        ];
        let presets = Presets::parse(&PresetLists::default()).unwrap();
        let sorted = |sort: Sort| -> Vec<u64> {
            let rows = tickets.iter().map(|(id, customer, updated, more)| {
                let json = format!(
                    r#"{{"id":"{id}","customerID":{customer},"createdDate":"{updated}T00:00:00.000Z","updatedDate":"{updated}T00:00:00.000Z",{more}}}"#
                );
                row(serde_json::value::RawValue::from_string(json).unwrap()).unwrap()
            });
            let rows = sort.sort(rows.collect(), &presets.priority).unwrap();
            rows.iter().map(|row| row.id).collect()
        };
        assert_eq!(sorted(Sort::Updated), [2, 1, 4, 5, 3]);
        assert_eq!(sorted(Sort::Priority), [3, 4, 1, 2, 5], "a priority that is not configured is none");
        assert_eq!(sorted(Sort::Followup), [4, 3, 1, 2, 5]);
        assert_eq!(sorted(Sort::Customer), [2, 4, 5, 1, 3]);
    }
}
