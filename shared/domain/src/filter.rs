//! Which tickets a list holds.

use crate::id::CustomerId;
use crate::ticket::Stamps;
use crate::time::Timestamp;

/// The most tickets a page holds if the caller asks for a number.
pub const MAX_LIMIT: usize = 1000;

/// What a list was asked for. Every bound is inclusive but `id_after`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this customer's tickets.
    pub customer: Option<CustomerId>,
    /// Only higher ids.
    pub id_after: u64,
    /// Only tickets created at this instant or later.
    pub created_since: Option<Timestamp>,
    /// Only tickets changed at this instant or later.
    pub updated_since: Option<Timestamp>,
    /// Only tickets last changed at this instant or earlier.
    pub updated_until: Option<Timestamp>,
    /// At most so many on a page, 1 to [`MAX_LIMIT`].
    pub limit: Option<usize>,
    /// What is left of deleted tickets too.
    pub include_deleted: bool,
}

impl Filter {
    /// The instant before which nothing can match: a ticket created since T was also updated since T.
    pub fn since(&self) -> Option<Timestamp> {
        self.created_since.max(self.updated_since)
    }

    /// Whether the list holds the record with these stamps.
    pub fn matches(&self, record: &Stamps) -> bool {
        record.id.get() > self.id_after
            && self.customer.is_none_or(|customer| record.customer == customer)
            && self.created_since.is_none_or(|since| record.created >= since)
            && self.updated_since.is_none_or(|since| record.updated >= since)
            && self.updated_until.is_none_or(|until| record.updated <= until)
            && (self.include_deleted || !record.deleted)
    }
}
