//! The allowed values of a ticket's type, status, priority and owner: configuration, not code.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::text::NOTE_BYTES;

/// A value of a preset field in its configured spelling. One that came out of the table may no
/// longer be configured: it stays readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Choice(String);

impl Choice {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is none of a preset's values. Its message is fit for the caller.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidChoice {
    /// It is none of these.
    #[error("must be one of {}", .0.join(", "))]
    NotListed(Vec<String>),
    /// Any text will do, but not one this long.
    #[error("must have at most {NOTE_BYTES} bytes of UTF-8")]
    TooLong,
}

/// Why a configured preset is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidPreset {
    /// A ticket needs at least one value to choose from.
    #[error("names no value")]
    Empty,
    /// Values are matched without case: two may not differ in nothing else.
    #[error("names {0} twice")]
    Twice(String),
}

/// The values one field may have, in order, written `sales, billing, support`.
/// An empty list allows any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset(Vec<String>);

impl Preset {
    /// The allowed values.
    pub fn values(&self) -> &[String] {
        &self.0
    }

    /// The value that `text` means, matched without case, in its configured spelling.
    ///
    /// # Errors
    /// Names the allowed values.
    pub fn choose(&self, text: &str) -> Result<Choice, InvalidChoice> {
        if self.0.is_empty() {
            return if text.len() > NOTE_BYTES {
                Err(InvalidChoice::TooLong)
            } else {
                Ok(Choice(text.to_owned()))
            };
        }
        let lower = text.to_lowercase();
        match self.0.iter().find(|value| value.to_lowercase() == lower) {
            Some(value) => Ok(Choice(value.clone())),
            None => Err(InvalidChoice::NotListed(self.0.clone())),
        }
    }

    /// `preferred` if it is listed, else the first value.
    fn default_choice(&self, preferred: &str) -> Option<Choice> {
        let preferred = self.0.iter().find(|value| value.eq_ignore_ascii_case(preferred));
        preferred.or(self.0.first()).cloned().map(Choice)
    }
}

impl FromStr for Preset {
    type Err = InvalidPreset;

    fn from_str(list: &str) -> Result<Self, InvalidPreset> {
        let values: Vec<String> =
            list.split(',').map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect();
        for (at, value) in values.iter().enumerate() {
            if values[..at].iter().any(|earlier| earlier.to_lowercase() == value.to_lowercase()) {
                return Err(InvalidPreset::Twice(value.clone()));
            }
        }
        Ok(Self(values))
    }
}

/// The presets of all four fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presets {
    /// Of `ticketType`.
    pub ticket_type: Preset,
    /// Of `status`. The first is what a new ticket gets.
    pub status: Preset,
    /// Of `ticketPriority`. `normal`, or else the first, is what a new ticket gets.
    pub priority: Preset,
    /// Of `owner`. Empty: any text.
    pub owner: Preset,
}

impl Presets {
    /// The default of `ticketType`.
    pub const TYPES: &str = "sales, billing, support";
    /// The default of `status`.
    pub const STATUSES: &str = "open, assigned, resolved, closed";
    /// The default of `ticketPriority`.
    pub const PRIORITIES: &str = "low, normal, high, urgent";

    /// The presets of these lists; only owners may be an empty one.
    ///
    /// # Errors
    /// The list that is refused, by the name of its field.
    pub fn parse(
        types: &str,
        statuses: &str,
        priorities: &str,
        owners: &str,
    ) -> Result<Self, (&'static str, InvalidPreset)> {
        let named = |field, list: &str| match list.parse::<Preset>() {
            Ok(preset) if preset.0.is_empty() => Err((field, InvalidPreset::Empty)),
            parsed => parsed.map_err(|error| (field, error)),
        };
        Ok(Self {
            ticket_type: named("ticketType", types)?,
            status: named("status", statuses)?,
            priority: named("ticketPriority", priorities)?,
            owner: owners.parse().map_err(|error| ("owner", error))?,
        })
    }

    /// The status of a new ticket that names none.
    pub fn new_status(&self) -> Option<Choice> {
        self.status.0.first().cloned().map(Choice)
    }

    /// The priority of a new ticket that names none.
    pub fn new_priority(&self) -> Option<Choice> {
        self.priority.default_choice("normal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presets(priorities: &str) -> Presets {
        Presets::parse(Presets::TYPES, Presets::STATUSES, priorities, "").unwrap()
    }

    #[test]
    fn a_value_is_matched_without_case_and_kept_in_its_configured_spelling() {
        assert_eq!(
            "Open, In Progress".parse::<Preset>().unwrap().choose("in progress").unwrap().as_str(),
            "In Progress"
        );
    }

    #[test]
    fn a_refused_value_names_the_allowed_ones() {
        let error = presets(Presets::PRIORITIES).status.choose("done").unwrap_err();
        assert_eq!(error.to_string(), "must be one of open, assigned, resolved, closed");
    }

    #[test]
    fn an_empty_owner_list_allows_any_text() {
        assert_eq!(presets(Presets::PRIORITIES).owner.choose("Grace").unwrap().as_str(), "Grace");
    }

    #[test]
    fn a_new_ticket_gets_the_first_status_and_normal_or_the_first_priority() {
        assert_eq!(presets(Presets::PRIORITIES).new_status().unwrap().as_str(), "open");
        assert_eq!(presets(Presets::PRIORITIES).new_priority().unwrap().as_str(), "normal");
        assert_eq!(presets("p1, p2").new_priority().unwrap().as_str(), "p1");
    }

    #[test]
    fn a_list_that_is_empty_or_repeats_itself_is_refused() {
        assert_eq!(Presets::parse("", "a", "a", "").unwrap_err(), ("ticketType", InvalidPreset::Empty));
        assert_eq!("a, A".parse::<Preset>().unwrap_err(), InvalidPreset::Twice("A".into()));
    }
}
