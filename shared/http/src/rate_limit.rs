//! The headers about a key's limit: `RateLimit-Policy` and `RateLimit` as in
//! draft-ietf-httpapi-ratelimit-headers-10, and `Retry-After` in a refusal.

use std::time::Duration;

use lambda_http::http::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use tickets_domain::Quota;

use crate::headers::{RATE_LIMIT, RATE_LIMIT_POLICY};

/// The name of the only policy.
const POLICY: &str = "key";

/// Adds the headers that tell what is left of a limit.
pub(crate) fn add_headers(quota: &Quota, headers: &mut HeaderMap) {
    let (requests, window) = (quota.limit.requests(), quota.limit.window().as_secs());
    let values = [
        (RATE_LIMIT_POLICY, format!("\"{POLICY}\";q={requests};w={window}")),
        (RATE_LIMIT, format!("\"{POLICY}\";r={};t={}", quota.remaining, seconds(quota.resets))),
    ];
    for (name, value) in values {
        // Digits and a fixed name are always a valid header value.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// Adds the headers of a refusal: the limit, and when to repeat the request.
pub(crate) fn refuse(quota: &Quota, headers: &mut HeaderMap) {
    add_headers(quota, headers);
    headers.insert(RETRY_AFTER, seconds(quota.resets).into());
}

/// Rounds up to whole seconds, at least one, so that nobody comes back too early.
fn seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_written_in_the_draft_s_syntax_and_in_whole_seconds() {
        let quota = |remaining, resets| Quota {
            limit: "600/m".parse().unwrap(),
            remaining,
            resets: Duration::from_millis(resets),
            uncounted: None,
        };
        let mut headers = HeaderMap::new();
        add_headers(&quota(599, 42_000), &mut headers);
        assert_eq!(headers[RATE_LIMIT_POLICY], "\"key\";q=600;w=60");
        assert_eq!(headers[RATE_LIMIT], "\"key\";r=599;t=42");
        assert!(!headers.contains_key(RETRY_AFTER));
        for (resets, seconds) in [(16_001, "17"), (17_000, "17"), (1, "1"), (0, "1")] {
            refuse(&quota(0, resets), &mut headers);
            assert_eq!(headers[RETRY_AFTER], seconds);
            assert_eq!(headers[RATE_LIMIT], format!("\"key\";r=0;t={seconds}"));
        }
    }
}
