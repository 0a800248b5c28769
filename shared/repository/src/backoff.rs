//! How long to wait before trying again, and until when.

use std::time::Duration;

use tokio::time::Instant;

/// The first wait is at most this long; a transaction takes a few milliseconds.
const FIRST: Duration = Duration::from_millis(4);
/// Long enough that hundreds of creators get through one by one within the deadline.
const LONGEST: Duration = Duration::from_secs(1);
/// A try begun later than this before the deadline would be cut off, and nobody know how it ended.
const LAST_TRY: Duration = Duration::from_millis(100);

/// Waits of random length ("full jitter"), each on average twice the one before, until a deadline.
/// A try that took long shows a queue: the wait after it is at least as long on average, or everybody
/// would be back in the queue before it is empty.
pub(crate) struct Backoff {
    deadline: Instant,
    ceiling: Duration,
    /// When the try under way began.
    began: Instant,
}

impl Backoff {
    /// Trying ends this long from now.
    pub(crate) fn within(limit: Duration) -> Self {
        let began = Instant::now();
        Self { deadline: began + limit, ceiling: FIRST, began }
    }

    /// When trying ends.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits. `false`: the deadline is too near for a further try.
    pub(crate) async fn wait(&mut self) -> bool {
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now + LAST_TRY);
        let ceiling = self.ceiling.max(2 * (now - self.began)).min(LONGEST);
        self.ceiling = ceiling * 2;
        if left.is_zero() {
            return false;
        }
        let wait = ceiling.min(left).mul_f64(fastrand::f64());
        tokio::time::sleep(wait).await;
        self.began = Instant::now();
        true
    }
}
