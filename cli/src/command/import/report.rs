//! Prints what is wrong with rows, up to a number of messages.

use indicatif::ProgressBar;
use tickets_domain::Violation;

use crate::output::{note, sanitize};

/// The most messages printed; further ones are only counted.
const MOST: u64 = 100;

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
            self.messages += 1;
            if self.messages <= MOST {
                let field = if field == ROW { String::new() } else { format!("{}: ", sanitize(field)) };
                progress.suspend(|| note(format!("line {line}: {field}{}", sanitize(detail))));
            }
        }
    }

    /// Prints how many messages were left out.
    pub(super) fn finish(&self) {
        if self.messages > MOST {
            note(format!("{} more messages", self.messages - MOST));
        }
    }
}
