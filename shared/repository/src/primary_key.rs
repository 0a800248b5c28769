//! How every item of the tickets' table is addressed, shards included. No other code knows.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use tickets_domain::TicketId;
use tickets_domain::id::CustomerId;
use tickets_domain::idempotency::Idempotency;
use tickets_domain::preset::Folded;

use crate::month::Month;

/// New tickets and fresh changes are spread over this many partitions: DynamoDB takes about 1,000 write units
/// a second on one partition key (docs/performance.md says how the number could grow).
pub const SHARDS: u64 = 4;

/// Tickets per bucket, over all its shards.
pub(crate) const BUCKET_SIZE: u64 = 1000;

/// The partition of exports' checkpoints. The export function may write to it and [`SETTINGS`] only.
pub const CHECKPOINTS: &str = "export";

/// The partition of the counter.
pub const COUNTER: &str = "counter";

/// The partition of the functions' configuration.
pub const SETTINGS: &str = "settings";

/// The partition of the ranges that the counter was moved past.
pub const RANGES: &str = "ranges";

/// The prefix of the partitions of departures.
const DEPARTURES: &str = "departures#";

/// Which export a checkpoint belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportKind {
    /// Changes since the last run.
    Scheduled,
    /// Changes since a time that a person asked for.
    Again,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrimaryKey {
    pub(crate) bucket: String,
    pub(crate) id: u64,
}

impl PrimaryKey {
    /// The key of a ticket, computed from its id.
    pub(crate) fn ticket(id: TicketId) -> Self {
        let id = id.get();
        Self { bucket: bucket(id / BUCKET_SIZE, shard(id)), id }
    }

    /// The key of the counter, the one item from which ids are reserved.
    pub(crate) fn counter() -> Self {
        Self { bucket: COUNTER.into(), id: 0 }
    }

    /// The key of the functions' configuration.
    pub(crate) fn settings() -> Self {
        Self { bucket: SETTINGS.into(), id: 0 }
    }

    /// The key of a list of ranges.
    pub(crate) fn ranges(id: u64) -> Self {
        Self { bucket: RANGES.into(), id }
    }

    /// The key of a request's claim, which keeps the request from taking effect twice.
    pub(crate) fn claim(request: &Idempotency) -> Self {
        Self { bucket: format!("claim#{}", request.scoped_name()), id: 0 }
    }

    /// The key of a ticket's departure from a customer.
    pub(crate) fn departure(id: TicketId, customer: CustomerId) -> Self {
        Self { bucket: format!("{DEPARTURES}{customer}"), id: id.get() }
    }

    /// The key of an export's checkpoint.
    pub(crate) fn checkpoint(export: ExportKind) -> Self {
        let id = match export {
            ExportKind::Scheduled => 0,
            ExportKind::Again => 1,
        };
        Self { bucket: CHECKPOINTS.into(), id }
    }

    pub(crate) fn into_key(self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            ("bucket".into(), AttributeValue::S(self.bucket)),
            ("id".into(), AttributeValue::N(self.id.to_string())),
        ])
    }
}

/// The shard of a ticket: consecutive ids are in different ones.
pub(crate) fn shard(id: u64) -> u64 {
    id % SHARDS
}

/// The partition of one shard of the bucket whose ids begin at `number * BUCKET_SIZE`.
pub(crate) fn bucket(number: u64, shard: u64) -> String {
    format!("{number}#{shard}")
}

/// The partition of `byUpdated` or `byRecorded` that holds one shard of a month's changes.
pub(crate) fn month_shard(month: Month, shard: u64) -> String {
    format!("{month}#{shard}")
}

/// The partition of `byStatus` that holds one shard of the tickets with a status. Named as statuses are compared, so
/// that a status keeps its partition when its configured spelling changes.
pub(crate) fn status_shard(status: Option<&Folded>, shard: u64) -> String {
    format!("{}#{shard}", status.map(Folded::as_str).unwrap_or_default())
}

/// Whether items of this partition are departures.
pub(crate) fn holds_departures(bucket: &str) -> bool {
    bucket.starts_with(DEPARTURES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_tickets_lie_in_different_partitions_of_one_bucket() {
        let buckets: Vec<_> =
            (998..1002).map(|id| PrimaryKey::ticket(id.try_into().unwrap()).bucket).collect();
        assert_eq!(buckets, ["0#2", "0#3", "1#0", "1#1"]);
    }

    #[test]
    fn every_item_has_an_address_of_its_own_kind() {
        let (id, customer) = ("43".parse().unwrap(), "42".parse().unwrap());
        let request = Idempotency::new(
            "ada".parse().unwrap(),
            "k".parse().unwrap(),
            tickets_domain::idempotency::Fingerprint::new([0; 32]),
        );
        let address = |key: PrimaryKey| (key.bucket, key.id);
        assert_eq!(address(PrimaryKey::ticket(id)), ("0#3".into(), 43));
        assert_eq!(address(PrimaryKey::counter()), ("counter".into(), 0));
        assert_eq!(address(PrimaryKey::settings()), ("settings".into(), 0));
        assert_eq!(address(PrimaryKey::ranges(7)), ("ranges".into(), 7));
        assert_eq!(address(PrimaryKey::claim(&request)), (format!("claim#{}", request.scoped_name()), 0));
        assert_eq!(address(PrimaryKey::departure(id, customer)), ("departures#42".into(), 43));
        assert_eq!(address(PrimaryKey::checkpoint(ExportKind::Scheduled)), ("export".into(), 0));
        assert_eq!(address(PrimaryKey::checkpoint(ExportKind::Again)), ("export".into(), 1));
        assert!(holds_departures(&PrimaryKey::departure(id, customer).bucket));
        assert!(!holds_departures(&PrimaryKey::ticket(id).bucket) && !holds_departures(COUNTER));
        let key = PrimaryKey::ticket(id).into_key();
        assert_eq!(key["bucket"], AttributeValue::S("0#3".into()));
        assert_eq!((key["id"].clone(), key.len()), (AttributeValue::N("43".into()), 2));
    }

    #[test]
    fn indexes_are_spread_as_tickets_are() {
        assert_eq!((0..8).map(shard).collect::<Vec<_>>(), [0, 1, 2, 3, 0, 1, 2, 3]);
        let month = Month::of("2026-11-23".parse().unwrap());
        assert_eq!((month_shard(month, 2), bucket(42, 3)), ("2026-11#2".into(), "42#3".into()));
        let status = Folded::of("In Progress");
        assert_eq!(status_shard(Some(&status), 1), "in progress#1", "however it is spelled");
        assert_eq!(status_shard(None, 1), "#1");
    }
}
