//! How long to wait before trying again, and until when.

use std::time::Duration;

use tokio::time::Instant;

/// The first wait is at most this long; a transaction takes a few milliseconds.
const FIRST: Duration = Duration::from_millis(4);
const LONGEST: Duration = Duration::from_millis(250);
/// A try begun later than this before the deadline would be cut off, and nobody know how it ended.
const LAST_TRY: Duration = Duration::from_millis(100);

/// Waits of random length ("full jitter"), each on average twice the one before, until a deadline.
pub(crate) struct Backoff {
    deadline: Instant,
    ceiling: Duration,
}

impl Backoff {
    /// Trying ends this long from now.
    pub(crate) fn within(limit: Duration) -> Self {
        Self { deadline: Instant::now() + limit, ceiling: FIRST }
    }

    /// When trying ends.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits. `false`: the deadline is too near for a further try.
    pub(crate) async fn wait(&mut self) -> bool {
        let wait = self.ceiling.mul_f64(fastrand::f64());
        self.ceiling = (self.ceiling * 2).min(LONGEST);
        if Instant::now() + wait + LAST_TRY >= self.deadline {
            return false;
        }
        tokio::time::sleep(wait).await;
        true
    }
}
