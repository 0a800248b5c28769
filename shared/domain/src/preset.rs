//! The allowed values of a ticket's type, status, priority and owner: configuration, not code.

use std::fmt;
use std::str::FromStr;

use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::text::{self, InvalidText, NOTE_BYTES};

/// A value of a preset field in its configured spelling. A value read from the table may no longer be
/// configured; it can still be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Choice(String);

impl Choice {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value as it is compared.
    pub fn folded(&self) -> Folded {
        Folded::of(&self.0)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name as people compare it: without case, surrounding spaces, or difference of Unicode form. `José` can be
/// written with one character for `é` or with two, and both look the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folded(String);

impl Folded {
    pub fn of(name: &str) -> Self {
        let lower = name.trim().to_lowercase();
        if lower.is_ascii() {
            return Self(lower);
        }
        // After lower case: `Ϊ` with an accent has only in lower case a form of one character.
        Self(ComposingNormalizerBorrowed::new_nfc().normalize(&lower).into_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a preset refuses a text. The message may be shown to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidChoice {
    /// The text is none of these values.
    #[error("must be one of {}", .0.join(", "))]
    NotListed(Vec<String>),
    /// The preset allows any text except an empty one.
    #[error("must not be empty")]
    Empty,
    /// The preset allows any line, but this text is too long, or more than a line.
    #[error(transparent)]
    Text(#[from] InvalidText),
}

/// Why a configured preset is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidPreset {
    /// This preset needs at least one value.
    #[error("names no value")]
    Empty,
    /// Two values are equal, as people compare them.
    #[error("names {0} twice")]
    Twice(String),
    /// This value could not be that of a ticket.
    #[error("names {0:?}, which {1}")]
    Value(String, InvalidText),
}

/// The allowed values of one field, in order, written like `sales, billing, support`.
/// An empty list allows any text of one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preset(Vec<String>);

impl Preset {
    pub fn values(&self) -> &[String] {
        &self.0
    }

    /// The value that equals `text` as people compare names ([`Folded`]), in its configured spelling.
    pub fn choose(&self, text: &str) -> Result<Choice, InvalidChoice> {
        if self.0.is_empty() {
            return Ok(Choice(text::at_most_bytes(text::line(text)?, NOTE_BYTES)?.to_owned()));
        }
        match self.find(text.trim()) {
            Some(value) => Ok(Choice(value.clone())),
            None => Err(InvalidChoice::NotListed(self.0.clone())),
        }
    }

    fn find(&self, text: &str) -> Option<&String> {
        let folded = Folded::of(text);
        self.0.iter().find(|value| Folded::of(value) == folded)
    }

    /// This list, followed by the values that only `other` has.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let only_there = other.0.iter().filter(|value| !self.lists(value));
        Self(self.0.iter().chain(only_there).cloned().collect())
    }

    /// Whether the list has this value, as people compare names.
    pub fn lists(&self, text: &str) -> bool {
        self.find(text).is_some()
    }

    /// `preferred` if it is listed, else the first value.
    fn default_choice(&self, preferred: &str) -> Option<Choice> {
        self.find(preferred).or(self.0.first()).cloned().map(Choice)
    }
}

impl FromStr for Preset {
    type Err = InvalidPreset;

    fn from_str(list: &str) -> Result<Self, InvalidPreset> {
        let values: Vec<String> =
            list.split(',').map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect();
        for (at, value) in values.iter().enumerate() {
            text::line(value).map_err(|error| InvalidPreset::Value(value.clone(), error))?;
            if values[..at].iter().any(|earlier| Folded::of(earlier) == Folded::of(value)) {
                return Err(InvalidPreset::Twice(value.clone()));
            }
        }
        Ok(Self(values))
    }
}

/// The lists of all presets as they are configured, comma-separated.
#[derive(Debug, Clone, Copy)]
pub struct PresetLists<'a> {
    /// The values of `ticketType`.
    pub types: &'a str,
    /// The values of `status`.
    pub statuses: &'a str,
    /// The statuses that count as closed.
    pub closed: &'a str,
    /// The values of `ticketPriority`.
    pub priorities: &'a str,
    /// The values of `owner`. If empty, any text is allowed.
    pub owners: &'a str,
}

impl Default for PresetLists<'_> {
    fn default() -> Self {
        Self {
            types: "sales, billing, support",
            statuses: "open, assigned, resolved, closed",
            closed: "resolved, closed",
            priorities: "low, normal, high, urgent",
            owners: "",
        }
    }
}

/// The values of a ticket's preset fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Choices {
    /// What kind of request it is.
    #[serde(rename = "ticketType", default, skip_serializing_if = "Option::is_none")]
    pub ticket_type: Option<Choice>,
    /// How far it is.
    #[serde(rename = "status", default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Choice>,
    /// How urgent it is.
    #[serde(rename = "ticketPriority", default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Choice>,
    /// Who works on it.
    #[serde(rename = "owner", default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Choice>,
}

impl Choices {
    /// The fields' names in JSON.
    pub const NAMES: [&'static str; 4] = ["status", "ticketType", "ticketPriority", "owner"];
}

/// The presets of all four fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presets {
    /// The values of `ticketType`.
    pub ticket_type: Preset,
    /// The values of `status`. A new ticket gets the first.
    pub status: Preset,
    /// The statuses that count as closed. They may include former ones, which are no longer in `status`.
    pub closed: Preset,
    /// The values of `ticketPriority`. A new ticket gets `normal`, or the first if there is no `normal`.
    pub priority: Preset,
    /// The values of `owner`. If empty, any text is allowed.
    pub owner: Preset,
}

impl Presets {
    /// Parses the lists. Only those of closed statuses and owners may be empty.
    ///
    /// # Errors
    /// Names the field whose list is refused.
    pub fn parse(lists: &PresetLists<'_>) -> Result<Self, (&'static str, InvalidPreset)> {
        let list = |field, list: &str| list.parse::<Preset>().map_err(|error| (field, error));
        let named = |field, values: &str| match list(field, values)? {
            preset if preset.0.is_empty() => Err((field, InvalidPreset::Empty)),
            preset => Ok(preset),
        };
        Ok(Self {
            ticket_type: named("ticketType", lists.types)?,
            status: named("status", lists.statuses)?,
            closed: list("closed statuses", lists.closed)?,
            priority: named("ticketPriority", lists.priorities)?,
            owner: list("owner", lists.owners)?,
        })
    }

    /// Presets that allow any text: for tickets whose values are no longer configured.
    pub fn any() -> Self {
        let any = || Preset(Vec::new());
        Self { ticket_type: any(), status: any(), closed: any(), priority: any(), owner: any() }
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
        Presets::parse(&PresetLists { priorities, ..PresetLists::default() }).unwrap()
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
        let error = Presets::parse(&PresetLists::default()).unwrap().status.choose("done").unwrap_err();
        assert_eq!(error.to_string(), "must be one of open, assigned, resolved, closed");
    }

    #[test]
    fn an_empty_owner_list_allows_any_text() {
        assert_eq!(
            Presets::parse(&PresetLists::default()).unwrap().owner.choose("Grace").unwrap().as_str(),
            "Grace"
        );
    }

    #[test]
    fn a_new_ticket_gets_the_first_status_and_normal_or_the_first_priority() {
        assert_eq!(Presets::parse(&PresetLists::default()).unwrap().new_status().unwrap().as_str(), "open");
        assert_eq!(
            Presets::parse(&PresetLists::default()).unwrap().new_priority().unwrap().as_str(),
            "normal"
        );
        assert_eq!(presets("p1, p2").new_priority().unwrap().as_str(), "p1");
    }

    #[test]
    fn a_list_that_is_empty_or_repeats_itself_is_refused() {
        let no_types = PresetLists { types: "", ..PresetLists::default() };
        assert_eq!(Presets::parse(&no_types).unwrap_err(), ("ticketType", InvalidPreset::Empty));
        assert_eq!("a, A".parse::<Preset>().unwrap_err(), InvalidPreset::Twice("A".into()));
    }

    #[test]
    fn a_value_of_an_empty_preset_is_at_most_as_long_as_a_note() {
        let owner = Presets::parse(&PresetLists::default()).unwrap().owner;
        assert!(owner.values().is_empty());
        assert_eq!(owner.choose(&"x".repeat(4096)).unwrap().as_str().len(), 4096);
        assert_eq!(owner.choose(&format!(" {}\n", "x".repeat(4096))).unwrap().as_str().len(), 4096);
        assert_eq!(owner.choose(&"x".repeat(4097)), Err(InvalidText::TooManyBytes(4096).into()));
    }

    #[test]
    fn a_value_is_one_line_without_the_white_space_around_it() {
        let (free, listed) = (Preset::default(), "Grace Hopper".parse::<Preset>().unwrap());
        for preset in [&free, &listed] {
            assert_eq!(preset.choose("\tGrace Hopper\r\n").unwrap().as_str(), "Grace Hopper");
            assert!(preset.choose("Grace\nHopper").is_err());
        }
        assert_eq!(free.choose("x\r\nBcc: y"), Err(InvalidText::NotOneLine('\r').into()));
        assert_eq!(free.choose("a\0"), Err(InvalidText::Null.into()));
        assert_eq!(free.choose("   ").unwrap().as_str(), "", "an owner may be empty");
        assert_eq!(
            "ada, gra\nce".parse::<Preset>(),
            Err(InvalidPreset::Value("gra\nce".into(), InvalidText::NotOneLine('\n')))
        );
    }

    #[test]
    fn lists_are_joined_without_naming_a_value_twice() {
        let list = |text: &str| text.parse::<Preset>().unwrap();
        assert_eq!(list("a, B").with(&list("b, c")).values(), ["a", "B", "c"]);
        assert_eq!(list("a").with(&Preset::default()).values(), ["a"]);
        assert!(list("Open, done").lists("OPEN") && !list("Open, done").lists("closed"));
    }

    #[test]
    fn a_value_is_shown_as_it_is_spelled_and_compared_as_people_read_it() {
        let choice = "In Progress".parse::<Preset>().unwrap().choose(" IN PROGRESS ").unwrap();
        assert_eq!((choice.as_str(), choice.folded().as_str()), ("In Progress", "in progress"));
        // One character or two, in the configuration and in a request.
        for (configured, given) in [("Jos\u{e9}", "JOSE\u{301}"), ("Jose\u{301}", "jos\u{e9}")] {
            let preset: Preset = format!("Ada, {configured}").parse().unwrap();
            assert_eq!(preset.choose(given).unwrap().as_str(), configured, "as it is configured");
            assert!(preset.lists(given) && preset.choose("Jose").is_err());
            let twice = format!("{configured}, {given}").parse::<Preset>();
            assert_eq!(twice, Err(InvalidPreset::Twice(given.into())));
        }
    }

    #[test]
    fn names_are_equal_if_they_look_equal_but_for_case_and_spaces() {
        for (one, other) in [
            ("grace", "Grace"),
            ("grace", "\u{a0}grace \n"),
            ("jos\u{e9}", "JOSE\u{301}"),
            // Only lower case has it as one character.
            ("\u{390}", "\u{3aa}\u{301}"),
            ("\u{c5}", "\u{212b}"),
            ("\u{ac00}", "\u{1100}\u{1161}"),
        ] {
            assert_eq!(Folded::of(one), Folded::of(other), "{one} {other}");
        }
        for (one, other) in
            [("grace", "grace h"), ("g race", "grace"), ("jos\u{e9}", "jose"), ("\u{b2}", "2")]
        {
            assert_ne!(Folded::of(one), Folded::of(other), "{one} {other}");
        }
    }

    #[test]
    fn presets_of_any_text_have_no_defaults() {
        let any = Presets::any();
        for preset in [&any.ticket_type, &any.status, &any.priority, &any.owner] {
            assert_eq!(preset.choose("Whatever it was").unwrap().as_str(), "Whatever it was");
        }
        assert_eq!((any.new_status(), any.new_priority()), (None, None));
    }
}
