//! A page of a list while it is filled.

use tickets_domain::{Continuation, Filter, Fit, ListEnd, Meter, Result, Row};

/// The size of a page without a limit: a Lambda reply of 6 MB. No more is read ahead than fits.
pub(super) const PAGE_BYTES: usize = 6 * 1024 * 1024;
/// The size of a ticket as JSON, as long as none is known.
const USUAL_ROW: usize = 300;
/// How many index entries a read unit reads: an entry has some 130 bytes, and a unit reads 8 KB eventually
/// consistently.
const KEYS_PER_UNIT: f64 = 60.0;
/// What a consistent read of a ticket reads for a unit.
const UNIT_BYTES: f64 = 4096.0;

/// What a page of a work queue may spend on what is not in it.
struct Allowance {
    meter: Meter,
    /// The read units counted before the page.
    before: f64,
    units: f64,
}

/// So many keys of each of some indexes; fewer if they would cost more than is left.
pub(super) fn affordable(units_left: f64, keys: usize, indexes: usize) -> usize {
    let affordable = units_left * KEYS_PER_UNIT / indexes as f64;
    // With a single key a page might not get any further.
    keys.min(affordable as usize).max(2)
}

/// A page being filled: takes records in order until the caller has enough, or the limit is reached.
pub(super) struct Page<F> {
    pub(super) filter: Filter,
    take: F,
    pub(super) taken: usize,
    pub(super) bytes: usize,
    /// Everything up to this id is in the page, or is not in the list.
    pub(super) done: u64,
    /// `None` if the page may cost what it costs.
    allowance: Option<Allowance>,
}

impl<F: FnMut(&Row) -> Fit> Page<F> {
    pub(super) fn new(filter: Filter, take: F) -> Self {
        Self { done: filter.id_after, filter, take, taken: 0, bytes: 0, allowance: None }
    }

    /// Lets the page end after so many read units for what is not in it. `meter` counts them.
    pub(super) fn allow(&mut self, units: f64, meter: Meter) {
        let before = meter.usage().read_units;
        self.allowance = Some(Allowance { meter, before, units });
    }

    /// Takes the row if it matches.
    pub(super) fn push(&mut self, row: &Row) -> Result<Fit> {
        let id = row.key.id.get();
        if id <= self.done || !self.filter.matches(row)? {
            return Ok(Fit::Added);
        }
        if self.filter.limit.is_some_and(|limit| self.taken >= limit) {
            return Ok(Fit::Full);
        }
        let taken = (self.take)(row);
        if taken == Fit::Added {
            self.taken += 1;
            self.bytes += row.json.len();
            self.done = id;
        }
        Ok(taken)
    }

    pub(super) fn skip_to(&mut self, id: u64) {
        self.done = self.done.max(id);
    }

    /// The end of a page that is not the last.
    pub(super) fn more(&self, found: Continuation) -> ListEnd {
        ListEnd::More { after: self.done, found }
    }

    /// The read units that the page may still spend on what is not in it.
    pub(super) fn units_left(&self) -> f64 {
        let Some(Allowance { meter, before, units }) = &self.allowance else { return f64::INFINITY };
        let for_what_is_in_it = self.taken as f64 + self.bytes as f64 / UNIT_BYTES;
        units + for_what_is_in_it - (meter.usage().read_units - before)
    }

    /// Whether the page ends because of what it has cost.
    pub(super) fn is_spent(&self) -> bool {
        self.units_left() <= 0.0
    }

    /// So many keys of each of some indexes; fewer if they would cost more than is left.
    pub(super) fn affordable(&self, keys: usize, indexes: usize) -> usize {
        affordable(self.units_left(), keys, indexes)
    }

    /// How many records to ask for: one more than the limit tells whether there is a next page.
    pub(super) fn wanted(&self) -> usize {
        self.filter.limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.taken) + 1)
    }

    /// How many more records fit, if they are as large as those so far. One more tells that there is a next
    /// page.
    pub(super) fn room(&self) -> usize {
        let average = self.bytes.checked_div(self.taken).unwrap_or(USUAL_ROW).max(1);
        // A reader that takes more than one page gets another page's worth.
        let left = PAGE_BYTES - self.bytes % PAGE_BYTES;
        self.wanted().min(left / average + 1)
    }
}

#[cfg(test)]
mod tests {
    use tickets_domain::id::CustomerId;
    use tickets_domain::{RecordKey, RecordState, Timestamp};

    use super::*;

    fn row(id: u64, bytes: usize) -> Row {
        let at = Timestamp::from_millis(1_764_000_000_000).unwrap();
        let customer = CustomerId::try_from(42).unwrap();
        let id = id.try_into().unwrap();
        let key = RecordKey { id, customer, created: at, updated: at, state: RecordState::Live };
        Row { key, json: "x".repeat(bytes) }
    }

    fn page(limit: Option<usize>) -> Page<impl FnMut(&Row) -> Fit> {
        Page::new(Filter { limit, ..Filter::default() }, |_: &Row| Fit::Added)
    }

    #[test]
    fn a_page_takes_each_id_once_up_to_its_limit() {
        let mut page = page(Some(2));
        assert_eq!(page.wanted(), 3, "one more tells whether there is a next page");
        assert_eq!(page.push(&row(5, 10)).unwrap(), Fit::Added);
        assert_eq!((page.taken, page.bytes, page.done, page.wanted()), (1, 10, 5, 2));
        for known in [5, 4] {
            page.push(&row(known, 10)).unwrap();
        }
        page.skip_to(3);
        assert_eq!((page.taken, page.bytes, page.done), (1, 10, 5), "what is done is not taken again");
        page.skip_to(7);
        page.push(&row(7, 10)).unwrap();
        page.push(&row(8, 30)).unwrap();
        assert_eq!((page.taken, page.bytes, page.done, page.wanted()), (2, 40, 8, 1));
        assert_eq!(page.push(&row(9, 10)).unwrap(), Fit::Full);
        assert_eq!((page.taken, page.done), (2, 8), "what did not fit has left no trace");
    }

    #[test]
    fn a_page_asks_for_what_still_fits_and_one_more() {
        let mut page = page(None);
        assert_eq!(page.room(), 6 * 1024 * 1024 / 300 + 1, "of usual rows");
        page.push(&row(1, 1024 * 1024)).unwrap();
        assert_eq!(page.room(), 6);
        page.push(&row(2, 3 * 1024 * 1024)).unwrap();
        assert_eq!(page.room(), 2, "rows of two megabytes on average, and two megabytes left");
        page.push(&row(3, 2 * 1024 * 1024)).unwrap();
        assert_eq!(page.room(), 4, "another page's worth, when one is full");
        page.filter.limit = Some(5);
        assert_eq!(page.room(), 3, "no more than the limit and one");
    }

    #[test]
    fn a_page_ends_when_it_has_spent_what_it_may_on_what_is_not_in_it() {
        let meter = Meter::counting();
        meter.add_read(7.0);
        let mut page = page(None);
        assert_eq!(page.affordable(usize::MAX, 3), usize::MAX, "without an allowance");
        page.allow(10.0, meter.clone());
        assert_eq!(
            (page.units_left(), page.affordable(usize::MAX, 2)),
            (10.0, 300),
            "what was before is not its"
        );
        meter.add_read(6.0);
        // A ticket of 8 KB costs three units, one of them for what is not in its JSON.
        page.push(&row(1, 8192)).unwrap();
        assert_eq!((page.units_left(), page.affordable(100, 1)), (7.0, 100));
        meter.add_read(6.5);
        assert!(!page.is_spent() && page.affordable(100, 1) == 30);
        meter.add_read(0.5);
        assert!(page.is_spent() && page.affordable(100, 1) == 2, "never so few that it gets no further");
        page.skip_to(50);
        let end = page.more(Continuation::Walk);
        assert_eq!(end, ListEnd::More { after: 50, found: Continuation::Walk });
    }
}
