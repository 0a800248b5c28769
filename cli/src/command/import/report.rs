//! Prints what is wrong with rows, up to a number of messages.

use std::collections::BTreeMap;

use indicatif::ProgressBar;
use tickets_domain::Violation;

use crate::output::{counted, note, sanitize};

/// The most messages printed; further ones are only counted.
const MOST: u64 = 100;
/// The most fields that are looked at each for itself. A file can have any number of wrong names.
const MOST_FIELDS: usize = 1_000;

/// In place of a field's name, where a whole row is refused.
pub(super) const ROW: &str = "";

/// Prints messages, and counts the rows that are refused.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) refused: u64,
    messages: u64,
}

impl Report {
    /// Counts a refused row, and prints why.
    pub(super) fn refuse(&mut self, line: u64, violations: &[Violation], progress: &ProgressBar) {
        self.refused += 1;
        for Violation { field, detail } in violations {
            progress.suspend(|| self.say(&format!("line {line}"), field, detail));
        }
    }

    fn say(&mut self, place: &str, field: &str, detail: &str) {
        self.messages += 1;
        if self.messages <= MOST {
            let field = if field == ROW { String::new() } else { format!("{}: ", sanitize(field)) };
            note(format!("{place}: {field}{}", sanitize(detail)));
        }
    }

    /// Prints how many messages were left out.
    pub(super) fn finish(&self) {
        if self.messages > MOST {
            note(counted(self.messages - MOST, "more message"));
        }
    }
}

/// What is wrong with the rows of a file, until all of them have been checked: only then is it known what is wrong with
/// a whole column.
#[derive(Debug, Default)]
pub(super) struct Findings {
    refused: u64,
    fields: BTreeMap<String, Found>,
    /// Messages of fields that are too many to be kept.
    left_out: u64,
}

/// What is wrong with a field.
#[derive(Debug, Default)]
struct Found {
    lines: u64,
    last: u64,
    messages: u64,
    /// Whether it is the same on all of these lines.
    is_same: bool,
    /// The first messages, with their lines.
    first: Vec<(u64, String)>,
}

impl Findings {
    /// Remembers a refused row.
    pub(super) fn refuse(&mut self, line: u64, violations: Vec<Violation>) {
        self.refused += 1;
        for Violation { field, detail } in violations {
            if self.fields.len() >= MOST_FIELDS && !self.fields.contains_key(&*field) {
                self.left_out += 1;
                continue;
            }
            let found = self.fields.entry(field.to_string()).or_default();
            found.is_same = found.first.first().is_none_or(|(_, first)| found.is_same && *first == *detail);
            found.lines += u64::from(found.last != line);
            found.last = line;
            found.messages += 1;
            if (found.first.len() as u64) < MOST {
                found.first.push((line, detail.to_string()));
            }
        }
    }

    /// Prints a message for each field that is wrong on all lines, of which there are `lines`, and then the others by
    /// line.
    pub(super) fn tell(self, lines: u64, report: &mut Report) {
        report.refused += self.refused;
        let (mut some, mut not_kept) = (Vec::new(), self.left_out);
        for (field, found) in &self.fields {
            match found.first.first() {
                Some((line, detail)) if found.lines == lines && lines > 1 => {
                    let place = format!("all {lines} lines");
                    let more = if found.is_same { String::new() } else { format!(" (line {line})") };
                    report.say(&place, field, &format!("{detail}{more}"));
                }
                Some(_) | None => {
                    some.extend(found.first.iter().map(|(line, detail)| (*line, field, detail)));
                    not_kept += found.messages - found.first.len() as u64;
                }
            }
        }
        some.sort_by_key(|(line, ..)| *line);
        for (line, field, detail) in some {
            report.say(&format!("line {line}"), field, detail);
        }
        report.messages += not_kept;
    }
}
