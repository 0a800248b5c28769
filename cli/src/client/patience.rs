//! How long the client waits before it repeats a request: never shorter than the API asks, and not for ever.

use std::time::Duration;

use chrono::DateTime;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tickets_domain::Clock;

/// How often a request is tried before its failure is reported: enough to outlast half a minute of trouble.
const TRIES: u32 = 8;
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// A server that refuses connections is tried for less time: it may well not be there.
const LONGEST_BACKOFF_OF_CONNECTING: Duration = Duration::from_secs(1);

/// Who waits, and so how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A command waits as the API asks, an hour in all for each request: the longest window of a key's limit.
    Command,
    /// An agent's client gives up on a call after a minute or so. It is told of a used-up limit at once.
    Agent,
}

impl Patience {
    fn longest(self) -> Duration {
        match self {
            Self::Command => Duration::from_secs(60 * 60),
            Self::Agent => Duration::from_secs(5),
        }
    }

    /// The waits between the attempts of one request.
    pub(super) fn waits(self) -> Waits {
        Waits { patience: self, tried: 0, backoff: FIRST_BACKOFF, left: self.longest() }
    }
}

/// The waits between the attempts of one request. Each returns how long to wait, or `None` if the request is not
/// to be repeated.
#[derive(Debug)]
pub(super) struct Waits {
    patience: Patience,
    tried: u32,
    backoff: Duration,
    /// How much longer the API may ask this client to wait.
    left: Duration,
}

impl Waits {
    /// The wait after an answer with this status, which asked for `asked`.
    pub(super) fn after(&mut self, status: StatusCode, asked: Option<Duration>) -> Option<Duration> {
        if self.patience == Patience::Agent && status == StatusCode::TOO_MANY_REQUESTS {
            return None;
        }
        let asked = asked.unwrap_or_default();
        self.left = self.left.checked_sub(asked)?;
        let backoff = self.after_failure()?;
        // Other clients were asked for the same time: each comes back at another moment after it.
        Some(if asked.is_zero() { backoff } else { asked + backoff / 2 })
    }

    /// The wait after a request that got no answer.
    pub(super) fn after_failure(&mut self) -> Option<Duration> {
        self.tried += 1;
        let wait = self.backoff.mul_f64(0.5 + fastrand::f64());
        self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
        (self.tried < TRIES).then_some(wait)
    }

    /// The wait after a connection that was not made.
    pub(super) fn after_refused_connection(&mut self) -> Option<Duration> {
        if self.backoff > LONGEST_BACKOFF_OF_CONNECTING { None } else { self.after_failure() }
    }
}

/// How long an answer asks to wait (RFC 9110, section 10.2.3): seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than fit are a long time too.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    let millis = date.timestamp_millis() - Clock::system().now().millis();
    Some(u64::try_from(millis).map(Duration::from_millis).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Option<Duration> {
        retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]))
    }

    #[test]
    fn an_answer_asks_for_seconds_or_until_a_date() {
        let seconds = Duration::from_secs;
        assert_eq!(asked("0"), Some(seconds(0)));
        assert_eq!(asked(" 3600 "), Some(seconds(3600)));
        assert_eq!(asked("18446744073709551615"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(asked("99999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(seconds(0)), "has passed");
        let far = asked("Wed, 21 Oct 2122 07:28:00 GMT").unwrap();
        assert!(far > seconds(50 * 365 * 24 * 60 * 60), "{far:?}");
        for nothing in ["", "-1", "1.5", "soon"] {
            assert_eq!(asked(nothing), None, "{nothing}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn no_wait_is_shorter_than_asked_and_all_together_are_an_hour_at_most() {
        let limited = |waits: &mut Waits, asked| waits.after(StatusCode::TOO_MANY_REQUESTS, Some(asked));
        for seconds in [1, 20, 3600] {
            let asked = Duration::from_secs(seconds);
            let wait = limited(&mut Patience::Command.waits(), asked).unwrap();
            assert!(wait > asked && wait < asked + Duration::from_secs(1), "{wait:?}");
        }
        for asked in [Duration::from_millis(3_600_001), Duration::from_secs(u64::MAX)] {
            assert_eq!(limited(&mut Patience::Command.waits(), asked), None);
        }
        let mut waits = Patience::Command.waits();
        let half = Duration::from_secs(1800);
        assert!(limited(&mut waits, half).is_some() && limited(&mut waits, half).is_some());
        assert_eq!(limited(&mut waits, Duration::from_secs(1)), None);
    }

    #[test]
    fn an_agent_is_told_of_a_limit_at_once_and_waits_out_a_moment_of_trouble() {
        let mut waits = Patience::Agent.waits();
        assert_eq!(waits.after(StatusCode::TOO_MANY_REQUESTS, None), None);
        assert_eq!(waits.after(StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_secs(1))), None);
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        assert!(waits.after(unavailable, Some(Duration::from_secs(5))).is_some());
        assert_eq!(waits.after(unavailable, Some(Duration::from_secs(1))), None);
    }

    #[test]
    fn a_request_without_an_answer_is_tried_eight_times_and_a_connection_four() {
        let mut waits = Patience::Command.waits();
        let all: Vec<_> = std::iter::from_fn(|| waits.after_failure()).collect();
        assert_eq!(all.len(), 7);
        let total: Duration = all.iter().sum();
        assert!((Duration::from_secs(12)..Duration::from_secs(39)).contains(&total), "{total:?}");
        let mut waits = Patience::Command.waits();
        assert_eq!(std::iter::from_fn(|| waits.after_refused_connection()).count(), 3);
    }
}
