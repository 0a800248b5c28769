//! Where exports stand, beside the tickets. Every step is written on the condition that nobody took
//! another since it was read, so that of two runs at the same time one goes on and the other notices.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use tickets_domain::export::{Checkpoint, Part, Pass, Range};
use tickets_domain::{Error, Result, Timestamp};

use crate::address::Address;
pub use crate::address::CHECKPOINTS;
use crate::failure::Failure;
use crate::item::{self, millis};
use crate::tickets::Tickets;

/// Which export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    /// What changed since the last run.
    Scheduled,
    /// What changed since a time that was asked for by hand.
    Again,
}

impl Export {
    /// The export's number, its sort key.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Scheduled => 0,
            Self::Again => 1,
        }
    }
}

/// A checkpoint as it was read: the condition for what replaces it.
#[derive(Debug, Clone)]
pub struct Saved {
    /// What it says.
    pub checkpoint: Checkpoint,
    export: Export,
    /// Rises by one with every step; 0 where there is no item yet.
    revision: u64,
}

#[derive(Serialize, Deserialize)]
struct CheckpointItem {
    bucket: String,
    id: u64,
    revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::optional")]
    watermark: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pass: Option<PassItem>,
}

#[derive(Serialize, Deserialize)]
struct PassItem {
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::optional")]
    since: Option<Timestamp>,
    #[serde(with = "millis")]
    until: Timestamp,
    after: u64,
    /// `after` and `last` of the part being stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    storing: Option<(u64, u64)>,
    /// `after`, `last`, records and bytes of each part.
    parts: Vec<(u64, u64, u64, u64)>,
    manifests: u32,
}

impl From<Pass> for PassItem {
    fn from(pass: Pass) -> Self {
        let part = |part: Part| (part.range.after, part.range.last, part.records, part.bytes);
        Self {
            since: pass.since,
            until: pass.until,
            after: pass.after,
            storing: pass.storing.map(|range| (range.after, range.last)),
            parts: pass.parts.into_iter().map(part).collect(),
            manifests: pass.manifests,
        }
    }
}

impl From<PassItem> for Pass {
    fn from(item: PassItem) -> Self {
        let part = |(after, last, records, bytes)| Part { range: Range { after, last }, records, bytes };
        Self {
            since: item.since,
            until: item.until,
            after: item.after,
            storing: item.storing.map(|(after, last)| Range { after, last }),
            parts: item.parts.into_iter().map(part).collect(),
            manifests: item.manifests,
        }
    }
}

impl Tickets {
    /// Where an export stands.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn checkpoint(&self, export: Export) -> Result<Saved> {
        let item = self.read(Address::checkpoint(export)).await?;
        let Some(item) = item.map(item::from_item::<CheckpointItem>).transpose()? else {
            return Ok(Saved { checkpoint: Checkpoint::default(), export, revision: 0 });
        };
        let checkpoint = Checkpoint { watermark: item.watermark, pass: item.pass.map(Pass::from) };
        Ok(Saved { checkpoint, export, revision: item.revision })
    }

    /// Takes a step: writes what `saved` now says.
    ///
    /// # Errors
    /// [`Error::Contended`] where another step was taken since it was read; where the database does not
    /// answer. A step whose answer was lost looks the same: what was taken is seen by reading again.
    pub async fn save_checkpoint(&self, saved: &mut Saved) -> Result<()> {
        let Address { bucket, id } = Address::checkpoint(saved.export);
        let Checkpoint { watermark, pass } = saved.checkpoint.clone();
        let revision = saved.revision + 1;
        let item = CheckpointItem { bucket, id, revision, watermark, pass: pass.map(PassItem::from) };
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item::to_item(item)?))
            .expression_attribute_names("#revision", "revision")
            .set_return_consumed_capacity(self.meter.level());
        let put = if saved.revision == 0 {
            put.condition_expression("attribute_not_exists(#revision)")
        } else {
            put.condition_expression("#revision = :read")
                .expression_attribute_values(":read", AttributeValue::N(saved.revision.to_string()))
        };
        match put.send().await {
            Ok(output) => {
                self.meter.add(output.consumed_capacity());
                saved.revision = revision;
                Ok(())
            }
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Err(Error::Contended),
                _ => Err(Failure::of(error).into()),
            },
        }
    }
}
