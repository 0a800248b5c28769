//! What *open* means: which statuses are closed ones, and which statuses a filter finds.
//!
//! Whether a status is closed is decided when a list is read. It is never stored, so that a change of
//! configuration needs no rewrite of tickets.

use std::collections::BTreeSet;

use crate::preset::{Choice, Folded, Preset, Presets};

impl Presets {
    /// Whether tickets with this status are closed.
    pub fn is_closed(&self, status: &str) -> bool {
        self.closed.lists(status)
    }

    /// The statuses that a filter may name: the current ones, and closed ones of former configurations.
    pub fn any_status(&self) -> Preset {
        self.status.with(&self.closed)
    }
}

/// A set of statuses, by which an index finds tickets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses {
    values: BTreeSet<Folded>,
    /// Whether tickets without a status match too.
    unset: bool,
}

impl Statuses {
    /// The statuses of open tickets, or of closed ones. A ticket without a status is open.
    pub fn open(open: bool, presets: &Presets) -> Self {
        let values = if open { presets.status.values() } else { presets.closed.values() };
        let values = values.iter().filter(|status| open != presets.is_closed(status));
        Self { values: values.map(|status| Folded::of(status)).collect(), unset: open }
    }

    /// Exactly these statuses.
    pub fn any_of(choices: &[Choice]) -> Self {
        Self { values: choices.iter().map(Choice::folded).collect(), unset: false }
    }

    /// The statuses that are in both sets.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            values: self.values.intersection(&other.values).cloned().collect(),
            unset: self.unset && other.unset,
        }
    }

    /// All statuses of the set; `None` stands for tickets without a status.
    pub fn iter(&self) -> impl Iterator<Item = Option<&Folded>> {
        self.values.iter().map(Some).chain(self.unset.then_some(None))
    }

    /// Whether the set contains no closed status.
    pub fn are_open(&self, presets: &Presets) -> bool {
        !self.values.iter().any(|status| presets.is_closed(status.as_str()))
    }

    pub(crate) fn include(&self, status: Option<&Choice>) -> bool {
        status.map_or(self.unset, |status| self.values.contains(&status.folded()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::PresetLists;

    fn presets(statuses: &str, closed: &str) -> Presets {
        Presets::parse(&PresetLists { statuses, closed, ..PresetLists::default() }).unwrap()
    }

    fn named(statuses: &Statuses) -> Vec<Option<&str>> {
        statuses.iter().map(|status| status.map(Folded::as_str)).collect()
    }

    #[test]
    fn closed_statuses_may_be_empty_and_may_name_former_ones() {
        let presets = |closed| Presets::parse(&PresetLists { closed, ..PresetLists::default() }).unwrap();
        assert!(presets("Closed, done").is_closed("closed") && presets("Closed, done").is_closed("Done"));
        assert!(!presets("").is_closed("closed"));
    }

    #[test]
    fn what_is_open_follows_the_configuration() {
        let presets = presets("New, Waiting, Done", "done, solved");
        let (open, closed) = (Statuses::open(true, &presets), Statuses::open(false, &presets));
        assert_eq!(named(&open), [Some("new"), Some("waiting"), None]);
        assert_eq!(named(&closed), [Some("done"), Some("solved")]);
        assert!(!closed.are_open(&presets) && open.are_open(&presets));
    }

    #[test]
    fn open_and_status_together_mean_both() {
        let presets = presets("new, done", "done");
        let new_or_done = Statuses::any_of(&presets.any_status().choose_any("New,Done").unwrap());
        let both = Statuses::open(true, &presets).and(&new_or_done);
        assert_eq!(named(&both), [Some("new")]);
    }

    #[test]
    fn a_ticket_without_a_status_is_open_but_matches_no_named_status() {
        let presets = presets("open, done", "done");
        let (open, closed) = (Statuses::open(true, &presets), Statuses::open(false, &presets));
        assert!(open.include(None) && !closed.include(None));
        let named = Statuses::any_of(&presets.status.choose_any("OPEN").unwrap());
        assert!(named.include(Some(&presets.status.choose("Open").unwrap())) && !named.include(None));
        assert!(!open.clone().and(&named).include(None), "what is both has a status");
        assert!(open.clone().and(&open).include(None));
    }
}
