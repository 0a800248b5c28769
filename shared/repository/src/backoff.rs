//! How long to wait before trying again, and until when.

use std::time::Duration;

use tokio::time::Instant;

/// The first wait is at most this long: a write takes a few milliseconds.
const FIRST: Duration = Duration::from_millis(10);
/// A throttled partition has capacity again within a second.
const LONGEST: Duration = Duration::from_millis(500);
/// Start no attempt in the last 100 ms: its result would be lost.
const LAST_TRY: Duration = Duration::from_millis(100);

/// Waits of random length ("full jitter"), each on average twice the one before, until a deadline.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    deadline: Instant,
    ceiling: Duration,
}

impl Backoff {
    /// A backoff whose deadline is this long from now.
    pub(crate) fn within(limit: Duration) -> Self {
        Self { deadline: Instant::now() + limit, ceiling: FIRST }
    }

    /// A backoff whose last attempt begins this long from now.
    pub(crate) fn waiting(limit: Duration) -> Self {
        Self::within(limit + LAST_TRY)
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the deadline is too near for a further attempt.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() + LAST_TRY > self.deadline
    }

    /// Waits. Returns `false` if the deadline is too near for a further attempt.
    pub(crate) async fn wait(&mut self) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now() + LAST_TRY);
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(self.ceiling.min(left).mul_f64(fastrand::f64())).await;
        self.ceiling = (self.ceiling * 2).min(LONGEST);
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn no_attempt_begins_in_the_last_100_milliseconds() {
        let began = Instant::now();
        let mut backoff = Backoff::within(Duration::from_secs(3));
        assert_eq!(backoff.deadline() - began, Duration::from_secs(3));
        advance(Duration::from_millis(2900)).await;
        assert!(!backoff.is_over());
        advance(MILLISECOND).await;
        assert!(backoff.is_over() && !backoff.wait().await);
        assert_eq!(Instant::now() - began, Duration::from_millis(2901), "there is nothing to wait for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_may_last_as_long_as_it_is_said() {
        let backoff = Backoff::waiting(Duration::from_millis(250));
        advance(Duration::from_millis(250)).await;
        assert!(!backoff.is_over());
        advance(MILLISECOND).await;
        assert!(backoff.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_to_half_a_second_and_end_before_the_last_attempt() {
        let (mut longest, mut waits) = (Duration::ZERO, 0);
        for _ in 0..50 {
            let (began, mut before) = (Instant::now(), Instant::now());
            let mut backoff = Backoff::within(Duration::from_secs(5));
            let mut most = Duration::from_millis(10);
            while backoff.wait().await {
                let waited = Instant::now() - before;
                // The timer counts whole milliseconds, and an attempt takes one.
                assert!(waited <= most + MILLISECOND, "{waited:?} of {most:?}");
                advance(MILLISECOND).await;
                (before, most) = (Instant::now(), (most * 2).min(Duration::from_millis(500)));
                (longest, waits) = (longest.max(waited), waits + 1);
            }
            assert!(Instant::now() - began <= Duration::from_millis(4902));
        }
        // At their longest, waits average a quarter of a second: some 24 in five seconds.
        assert!(longest > Duration::from_millis(400), "{longest:?}");
        assert!((50 * 15..50 * 40).contains(&waits), "{waits}");
    }
}
