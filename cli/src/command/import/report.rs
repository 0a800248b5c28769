//! What is wrong with rows, told as long as anybody reads on.

use indicatif::ProgressBar;
use tickets_domain::Violation;

use crate::output::{note, sanitize};

/// The most messages that are printed; of others the number is told.
const MOST: u64 = 100;

/// Prints messages, and counts the rows that are refused.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) refused: u64,
    messages: u64,
}

impl Report {
    /// A row is refused, for these reasons.
    pub(super) fn refuse(&mut self, line: u64, violations: &[Violation], progress: &ProgressBar) {
        self.refused += 1;
        for Violation { field, detail } in violations {
            self.messages += 1;
            if self.messages <= MOST {
                let text = format!("line {line}: {}: {}", sanitize(field), sanitize(detail));
                progress.suspend(|| note(text));
            }
        }
    }

    /// Tells how many messages were not printed.
    pub(super) fn finish(&self) {
        if self.messages > MOST {
            note(format!("{} more messages", self.messages - MOST));
        }
    }
}
