//! Rate limits of keys: a number of requests in each window of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::Cause;
use crate::time::Timestamp;

/// The most requests a limit may allow in a window.
const MOST: u32 = 1_000_000;

/// A text that is not a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a limit is a number of requests from 1 to {MOST} a second, minute or hour, like 10/s, 600/m or 5000/h"
)]
pub struct InvalidLimit;

/// The length of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
    Hour,
}

impl Per {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    fn letter(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
        }
    }

    fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }
}

/// A number of requests in each window, like `600/m`. Windows follow each other from the key's creation, so
/// that those of different keys do not all begin at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RateLimit {
    requests: u32,
    per: Per,
}

impl RateLimit {
    /// The most requests in a window.
    pub fn requests(self) -> u32 {
        self.requests
    }

    /// The length of a window.
    pub fn window(self) -> Duration {
        Duration::from_secs(self.per.seconds().into())
    }

    /// The start of the window that contains `now`, for a key created at `created`.
    pub fn window_at(self, created: Timestamp, now: Timestamp) -> Timestamp {
        let length = i64::from(self.per.seconds()) * 1000;
        let into = (now.millis() - created.millis()).rem_euclid(length);
        now.minus(Duration::from_millis(into.unsigned_abs()))
    }

    /// The start of the window after the one that begins at `window`.
    pub fn next_window(self, window: Timestamp) -> Timestamp {
        window.plus(self.window())
    }
}

impl FromStr for RateLimit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let (requests, letter) = text.split_once('/').ok_or(InvalidLimit)?;
        let per = Per::ALL.into_iter().find(|per| per.letter() == letter).ok_or(InvalidLimit)?;
        let digits = requests.bytes().all(|byte| byte.is_ascii_digit());
        match requests.parse() {
            Ok(requests) if digits && (1..=MOST).contains(&requests) => Ok(Self { requests, per }),
            _ => Err(InvalidLimit),
        }
    }
}

impl TryFrom<String> for RateLimit {
    type Error = InvalidLimit;

    fn try_from(text: String) -> Result<Self, InvalidLimit> {
        text.parse()
    }
}

impl From<RateLimit> for String {
    fn from(limit: RateLimit) -> Self {
        limit.to_string()
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.per.letter())
    }
}

/// What is left of a key's limit.
#[derive(Debug, Clone)]
pub struct Quota {
    pub limit: RateLimit,
    /// Requests left in this window, as far as this instance knows: other instances may have counted more.
    pub remaining: u32,
    /// The time until the window ends.
    pub resets: Duration,
    /// Why counting this window's requests failed, if it did.
    pub uncounted: Option<Cause>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_back_as_it_was_written() {
        for text in ["1/s", "600/m", "1000000/h"] {
            assert_eq!(text.parse::<RateLimit>().unwrap().to_string(), text);
        }
        let window = |text: &str| text.parse::<RateLimit>().unwrap().window().as_secs();
        assert_eq!([window("1/s"), window("1/m"), window("1/h")], [1, 60, 3600]);
    }

    #[test]
    fn an_invalid_limit_is_refused() {
        for text in ["", "600", "/m", "0/m", "+5/m", "-1/m", "1000001/h", "600/d", "600/M", "6 /m", "600/m/m"]
        {
            assert_eq!(text.parse::<RateLimit>(), Err(InvalidLimit), "{text}");
        }
    }

    #[test]
    fn windows_follow_each_other_from_when_the_key_was_made() {
        let (limit, stamp): (RateLimit, _) =
            ("5/m".parse().unwrap(), |ms| Timestamp::from_millis(ms).unwrap());
        let at = |now| limit.window_at(stamp(90_500), stamp(now)).millis();
        assert_eq!(at(90_500), 90_500);
        assert_eq!(at(150_499), 90_500);
        assert_eq!(at(150_500), 150_500);
        // This clock is behind the one that stamped the key's creation.
        assert_eq!(at(90_499), 30_500);
    }
}
