//! What an instance remembers of the requests that it leased of a key's limit.
//!
//! The size of a lease follows its use: it should last a thirty-second to an eighth of the window. Requests
//! that an instance leases and does not use are lost to the caller, so a lease is at most a sixteenth of the
//! limit. It is at least a 256th, so that a limit costs at most 256 leases a window.

use tickets_domain::{RateLimit, Timestamp};

/// The requests that an instance has leased of a key's limit.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    /// When the window began; `None` before the first.
    window: Option<Timestamp>,
    /// Requests that are leased and not made yet.
    held: u32,
    /// Requests that nobody had leased, by the last answer.
    unleased: u32,
    /// The size of the last lease.
    size: u32,
    /// When that lease was made.
    leased: Option<Timestamp>,
    /// Whether this instance was the first to lease in its last window. Then it tries to open the next one at once;
    /// an instance that was not first expects to find a window open.
    opened: bool,
}

/// The result of a lease.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) window: Timestamp,
    pub(crate) count: u32,
    pub(crate) unleased: u32,
    pub(crate) opened: bool,
}

/// The sizes of the smallest and the largest lease.
fn bounds(limit: RateLimit) -> (u32, u32) {
    let least = limit.requests().div_ceil(256);
    (least, least.max(limit.requests() / 16))
}

impl Lease {
    pub(crate) fn none(limit: RateLimit) -> Self {
        let (size, _) = bounds(limit);
        Self { window: None, held: 0, unleased: 0, size, leased: None, opened: true }
    }

    /// Takes one of the requests held for the window, and returns how many remain. `None` if none is held.
    pub(crate) fn take(&mut self, window: Timestamp) -> Option<u32> {
        // A later window counts too: an instance whose clock is ahead may have begun it for all.
        if self.window < Some(window) {
            return None;
        }
        self.held = self.held.checked_sub(1)?;
        Some(self.held + self.unleased)
    }

    /// Whether everything of the window was leased, by the last answer.
    pub(crate) fn is_used_up(&self, window: Timestamp) -> bool {
        self.window >= Some(window) && self.held == 0 && self.unleased == 0
    }

    /// Whether the window is later than this one. Then this instance's clock, or the one that opened the window, was
    /// ahead.
    pub(crate) fn is_ahead(&self, latest: Timestamp) -> bool {
        self.window > Some(latest)
    }

    /// The size of the next lease, and whether it is to open the window.
    pub(crate) fn next(&mut self, limit: RateLimit, window: Timestamp, now: Timestamp) -> (u32, bool) {
        self.size = self.next_size(limit, now);
        (self.size, self.opened && self.window < Some(window))
    }

    fn next_size(&self, limit: RateLimit, now: Timestamp) -> u32 {
        let size = match self.leased {
            Some(leased) if now < leased.plus(limit.window() / 32) => self.size * 2,
            Some(leased) if leased.plus(limit.window() / 8) < now => self.size / 2,
            Some(_) | None => self.size,
        };
        let (least, most) = bounds(limit);
        size.clamp(least, most)
    }

    pub(crate) fn add(&mut self, leased: &Leased, now: Timestamp) {
        let window = Some(leased.window);
        if window < self.window {
            // Another request of this process has moved on to a later window.
            return;
        }
        if self.window < window {
            self.held = 0;
        }
        self.window = window;
        self.held += leased.count;
        self.unleased = leased.unleased;
        self.opened = leased.opened;
        self.leased = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn limit(text: &str) -> RateLimit {
        text.parse().unwrap()
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_764_000_000_000 + millis).unwrap()
    }

    fn leased(window: i64, count: u32, unleased: u32, opened: bool) -> Leased {
        Leased { window: at(window), count, unleased, opened }
    }

    #[test]
    fn a_lease_is_a_256th_to_a_16th_of_the_limit() {
        for (text, least, most) in [("1/m", 1, 1), ("256/m", 1, 16), ("257/m", 2, 16), ("16000/m", 63, 1000)]
        {
            assert_eq!(bounds(limit(text)), (least, most), "{text}");
        }
    }

    #[test]
    fn requests_are_taken_one_by_one_and_only_in_their_window_or_an_earlier_one() {
        let mut lease = Lease::none(limit("600/m"));
        assert_eq!(lease.take(at(0)), None, "nothing is held before the first lease");
        assert!(!lease.is_used_up(at(0)), "nothing is known of the window");
        lease.add(&leased(0, 3, 10, true), at(0));
        assert_eq!(lease.take(at(MINUTE)), None, "a later window needs its own lease");
        assert_eq!(
            [lease.take(at(0)), lease.take(at(-MINUTE)), lease.take(at(0))],
            [Some(12), Some(11), Some(10)]
        );
        assert_eq!(lease.take(at(0)), None);
        assert!(!lease.is_used_up(at(0)), "others may still lease ten");
        lease.add(&leased(0, 1, 0, false), at(0));
        assert!(!lease.is_used_up(at(0)), "one is still held");
        assert_eq!(lease.take(at(0)), Some(0));
        assert!(lease.is_used_up(at(0)) && lease.is_used_up(at(-MINUTE)));
        assert!(!lease.is_used_up(at(MINUTE)));
        assert!(!lease.is_ahead(at(0)) && lease.is_ahead(at(-1)));
        assert!(!Lease::none(limit("600/m")).is_ahead(at(0)), "no window is known");
    }

    #[test]
    fn what_is_held_of_a_window_does_not_last_into_the_next_one() {
        let mut lease = Lease::none(limit("600/m"));
        lease.add(&leased(0, 5, 100, true), at(0));
        lease.add(&leased(0, 2, 90, false), at(1));
        assert_eq!(lease.take(at(0)), Some(6 + 90), "leases of one window add up");
        lease.add(&leased(MINUTE, 4, 50, false), at(MINUTE));
        assert_eq!(lease.take(at(MINUTE)), Some(3 + 50));
        lease.add(&leased(0, 9, 9, true), at(MINUTE));
        assert_eq!(lease.take(at(MINUTE)), Some(2 + 50), "a late answer about an earlier window is ignored");
    }

    #[test]
    fn only_who_opened_a_window_opens_the_next_one() {
        let limit = limit("600/m");
        let mut lease = Lease::none(limit);
        let opens = |lease: &mut Lease, window| lease.next(limit, at(window), at(window)).1;
        assert!(opens(&mut lease, 0), "the first");
        lease.add(&leased(0, 3, 500, true), at(0));
        assert!(!opens(&mut lease, 0) && !opens(&mut lease, -MINUTE), "it is open");
        assert!(opens(&mut lease, MINUTE));
        lease.add(&leased(MINUTE, 3, 500, false), at(MINUTE));
        assert!(!opens(&mut lease, 2 * MINUTE), "another instance opened the last");
    }

    #[test]
    fn a_lease_doubles_when_used_within_a_32nd_of_the_window_and_halves_after_an_8th() {
        let limit = limit("16000/m");
        let mut lease = Lease::none(limit);
        let size = |lease: &mut Lease, now| {
            let (size, _) = lease.next(limit, at(0), at(now));
            lease.add(&leased(0, size, 9000, true), at(now));
            size
        };
        // A 32nd of a minute is 1,875 ms, an 8th 7,500.
        let mut now = 0;
        assert_eq!(size(&mut lease, now), 63, "the first is the smallest");
        for (after, expected) in [
            (1874, 126),
            (1874, 252),
            (1875, 252),
            (7500, 252),
            (7501, 126),
            (0, 252),
            (0, 504),
            (0, 1000),
            (0, 1000),
            (7501, 500),
            (7501, 250),
            (7501, 125),
            (7501, 63),
            (7501, 63),
        ] {
            now += after;
            assert_eq!(size(&mut lease, now), expected, "{after} ms later");
        }
    }
}
