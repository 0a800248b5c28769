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
    /// Whether this instance made the first lease of the window.
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
