//! Keys with a limit: each instance leases some requests at a time from the key's item, and lets callers make
//! them without asking again.
//!
//! The item stores the current window, and how many of its requests are leased. A lease is one `UpdateItem`
//! on the condition that enough requests are left. So a window lets in no more requests than the limit,
//! however many instances there are. Once nothing is left, an instance refuses by itself until the window
//! ends: a greedy caller costs nothing more.
//!
//! If the database does not answer, requests are let in without a lease. A limit keeps callers out of each
//! other's way; it protects no secret. If the database fails, the requests themselves fail too. If it throttles
//! the lease, requests are refused: many instances that lease of one small limit throttle its item themselves.
//!
//! A window more than one ahead of now was stored by a clock that was wrong. It counts as none.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use tickets_domain::error::Cause;
use tickets_domain::{ApiKey, Error, Meter, Quota, RateLimit, Result, Timestamp};
use tokio::time::timeout;

use crate::api_key::Keys;
use crate::failure::{Failure, WriteError};
use crate::item::Item;
use crate::lease::{Lease, Leased};

/// When the current window began. Functions may write only these three attributes (template.yaml).
pub const WINDOW: &str = "limitWindow";
/// How many requests of the window are leased.
pub const LEASED: &str = "limitLeased";
/// When the key was last used.
pub const LAST_USED: &str = "lastUsed";

/// The longest that a caller waits for a lease, which takes five milliseconds.
const LEASE_DEADLINE: Duration = Duration::from_millis(250);
/// How often a lease is tried: others lease at the same time, and may be faster.
const ATTEMPTS: usize = 8;
/// The use of a key is noted if the last note is older than this: once an hour costs next to nothing.
const USE_NOTED: Duration = Duration::from_secs(60 * 60);

impl Keys {
    /// Counts a request of a key that has a limit.
    pub(crate) async fn count_limited(&self, key: &ApiKey, limit: RateLimit, meter: &Meter) -> Result<Quota> {
        let now = self.clock.now();
        let window = limit.window_at(key.created, now);
        let end = window.millis() + i64::try_from(limit.window().as_millis()).unwrap_or_default();
        let resets = Duration::from_millis((end - now.millis()).max(0).unsigned_abs());
        let quota = |remaining, uncounted| Quota { limit, remaining, resets, uncounted };
        let (size, opened) = {
            let mut leases = self.leases();
            let lease = leases.entry(key.id.clone()).or_insert_with(|| Lease::none(limit));
            if lease.is_ahead(limit.next_window(window)) {
                *lease = Lease::none(limit);
            }
            if let Some(remaining) = lease.take(window) {
                return Ok(quota(remaining, None));
            }
            if lease.is_used_up(window) {
                return Err(Error::RateLimited(quota(0, None)));
            }
            lease.next(limit, window, now)
        };
        let leased = timeout(LEASE_DEADLINE, self.lease(key, limit, window, (size, opened), meter)).await;
        let leased = leased.unwrap_or_else(|elapsed| Err(Failure::Unknown(Cause::new(elapsed))));
        let (leased, uncounted) = match leased {
            Ok(leased) => (leased, None),
            Err(failure @ (Failure::Throttled(_) | Failure::Conflict)) => return Err(failure.into()),
            // It is unknown whether anything is left: the next lease tells.
            Err(Failure::Unknown(cause) | Failure::Fault(cause)) => {
                (Leased { window, count: size, unleased: 1, opened: false }, Some(cause))
            }
        };
        let mut leases = self.leases();
        let lease = leases.entry(key.id.clone()).or_insert_with(|| Lease::none(limit));
        lease.add(&leased, now);
        match lease.take(window) {
            Some(remaining) => Ok(quota(remaining, uncounted)),
            None => Err(Error::RateLimited(quota(0, None))),
        }
    }

    /// Leases so many requests of the window, or as many as are left.
    async fn lease(
        &self,
        key: &ApiKey,
        limit: RateLimit,
        mut window: Timestamp,
        (mut size, mut opens): (u32, bool),
        meter: &Meter,
    ) -> Result<Leased, Failure> {
        let none = |window, unleased| Leased { window, count: 0, unleased, opened: false };
        let ahead = limit.next_window(window);
        for _ in 0..ATTEMPTS {
            let found = match self.lease_once(key, limit, window, (size, opens), meter).await {
                Ok(leased) => return Ok(leased),
                Err(WriteError::ConditionFailed(Some(found))) => found,
                // Not every engine returns the item that is there.
                Err(WriteError::ConditionFailed(None)) => match self.read(&key.id, meter).await {
                    Ok(Some(found)) => found,
                    // The key is gone; its next lookup tells.
                    Ok(None) => return Ok(none(window, 0)),
                    Err(failure) => return Err(failure),
                },
                Err(WriteError::Failed(failure)) => return Err(failure),
            };
            let begun = integer(&found, WINDOW).and_then(|millis| Timestamp::from_millis(millis).ok());
            let begun = begun.filter(|begun| *begun <= ahead);
            opens = begun.is_none_or(|begun| begun < window);
            if let Some(begun) = begun.filter(|begun| *begun >= window) {
                window = begun;
                let left = i64::from(limit.requests()) - integer(&found, LEASED).unwrap_or_default();
                size = size.min(u32::try_from(left).unwrap_or_default());
                if size == 0 {
                    return Ok(none(window, 0));
                }
            }
        }
        // Others were faster each time, so little is left; the next request asks again.
        Ok(none(window, 1))
    }

    /// One attempt to lease `size` requests of the window. It `opens` the window if nobody has leased of it.
    async fn lease_once(
        &self,
        key: &ApiKey,
        limit: RateLimit,
        window: Timestamp,
        (size, opens): (u32, bool),
        meter: &Meter,
    ) -> Result<Leased, WriteError> {
        let number = |number: i64| AttributeValue::N(number.to_string());
        let most = i64::from(limit.requests()) - i64::from(size);
        let dynamodb = self.dynamodb.metered(meter.clone());
        let update = self
            .update_item(&dynamodb, &key.id)
            .expression_attribute_names("#window", WINDOW)
            .expression_attribute_names("#leased", LEASED)
            .expression_attribute_names("#used", LAST_USED)
            .expression_attribute_values(":window", number(window.millis()))
            .expression_attribute_values(":size", number(size.into()))
            .expression_attribute_values(":now", number(self.clock.now().millis()))
            .return_values(ReturnValue::UpdatedNew);
        let update = if opens {
            update
                .update_expression("SET #window = :window, #leased = :size, #used = :now")
                // A deleted key must not come back as an item with only these attributes.
                .condition_expression(
                    "attribute_exists(keyId) \
                     AND (attribute_not_exists(#window) OR #window < :window OR #window > :ahead)",
                )
                .expression_attribute_values(":ahead", number(limit.next_window(window).millis()))
        } else {
            update
                .update_expression("SET #used = :now ADD #leased :size")
                .condition_expression("#window = :window AND #leased <= :most")
                .expression_attribute_values(":most", number(most))
        };
        let output = dynamodb.wrote(update.send().await)?;
        let leased = output.attributes.as_ref().and_then(|new| integer(new, LEASED));
        let leased = leased.unwrap_or(i64::from(size));
        let unleased = u32::try_from(i64::from(limit.requests()) - leased).unwrap_or_default();
        Ok(Leased { window, count: size, unleased, opened: opens })
    }

    /// Notes that a key is in use, if the last note is over an hour old. A failure does not matter.
    pub(crate) async fn note_use(&self, key: &ApiKey, meter: &Meter) {
        let now = self.clock.now();
        let noted_before = now.minus(USE_NOTED);
        if key.last_used.is_some_and(|last| noted_before <= last) {
            return;
        }
        let dynamodb = self.dynamodb.metered(meter.clone());
        let update = self
            .update_item(&dynamodb, &key.id)
            .update_expression("SET #used = :now")
            // Another instance may have noted it: what this one remembers is up to a minute old.
            .condition_expression(
                "attribute_exists(keyId) AND (attribute_not_exists(#used) OR #used < :before)",
            )
            .expression_attribute_names("#used", LAST_USED)
            .expression_attribute_values(":now", AttributeValue::N(now.millis().to_string()))
            .expression_attribute_values(":before", AttributeValue::N(noted_before.millis().to_string()));
        match timeout(LEASE_DEADLINE, update.send()).await {
            Ok(sent) => drop(dynamodb.wrote(sent)),
            Err(_) => meter.add_lost(),
        }
        self.cache().note_use(&key.id, now);
    }
}

fn integer(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}
