//! How every item of the tickets' table is addressed: the only code that knows.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use tickets_domain::TicketId;
use tickets_domain::idempotency::Idempotency;

use crate::checkpoint::Export;

/// Tickets per bucket: a bucket is one partition, read in id order by one `Query`.
pub(crate) const BUCKET_SIZE: u64 = 1000;

/// The partition of what is kept of exports. The exporting function may write to no other.
pub const CHECKPOINTS: &str = "export";

/// The base key of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) bucket: String,
    pub(crate) id: u64,
}

impl Address {
    /// A ticket's, computed from its id.
    pub(crate) fn ticket(id: TicketId) -> Self {
        Self { bucket: bucket(id.get() / BUCKET_SIZE), id: id.get() }
    }

    /// That of the one item that holds the highest id given out.
    pub(crate) fn sequence() -> Self {
        Self { bucket: "sequence".into(), id: 0 }
    }

    /// That of what is kept of an export.
    pub(crate) fn checkpoint(export: Export) -> Self {
        Self { bucket: CHECKPOINTS.into(), id: export.number() }
    }

    /// That of the record of a request that must not take effect twice.
    pub(crate) fn idempotency(request: &Idempotency) -> Self {
        Self { bucket: format!("idempotency#{}", request.scoped_name()), id: 0 }
    }

    pub(crate) fn into_key(self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            ("bucket".into(), AttributeValue::S(self.bucket)),
            ("id".into(), AttributeValue::N(self.id.to_string())),
        ])
    }
}

/// The partition of the tickets whose ids begin at `number * BUCKET_SIZE`.
pub(crate) fn bucket(number: u64) -> String {
    number.to_string()
}
