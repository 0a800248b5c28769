//! Checkpoints of exports, stored beside the tickets. Every step is written on the condition that nobody took
//! another since the last read: of two runs at the same time, one goes on and the other notices.

use serde::{Deserialize, Serialize};
use tickets_domain::export::{Checkpoint, Part, Pass, Range};
use tickets_domain::{Error, KeyId, Result, Timestamp};

use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::item::{self, WriteId, millis};
use crate::primary_key::PrimaryKey;
pub use crate::primary_key::{CHECKPOINTS, ExportKind};
use crate::tickets::Tickets;
use crate::write::{Condition, Outcome, Put, WRITE_DEADLINE};

/// A checkpoint as it was read. Its revision is the condition for the next write.
#[derive(Debug, Clone)]
pub struct Saved {
    pub checkpoint: Checkpoint,
    export: ExportKind,
    /// Rises by one with every step; 0 if there is no item yet.
    revision: u64,
}

#[derive(Serialize, Deserialize)]
struct CheckpointItem {
    bucket: String,
    id: u64,
    revision: u64,
    writer: WriteId,
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
    /// Reads the checkpoint of an export.
    pub async fn checkpoint(&self, export: ExportKind) -> Result<Saved> {
        let item = self.read(PrimaryKey::checkpoint(export)).await?;
        let Some(item) = item.map(item::from_item::<CheckpointItem>).transpose()? else {
            return Ok(Saved { checkpoint: Checkpoint::default(), export, revision: 0 });
        };
        let checkpoint = Checkpoint { watermark: item.watermark, pass: item.pass.map(Pass::from) };
        Ok(Saved { checkpoint, export, revision: item.revision })
    }

    /// Takes a step: writes the checkpoint in `saved`.
    ///
    /// # Errors
    /// [`Error::Contended`] if another step was taken since it was read.
    pub async fn save_checkpoint(&self, saved: &mut Saved) -> Result<()> {
        let key = PrimaryKey::checkpoint(saved.export);
        let Checkpoint { watermark, pass } = saved.checkpoint.clone();
        let (revision, writer) = (saved.revision + 1, WriteId::new(&exporter()?));
        let item = CheckpointItem {
            bucket: key.bucket.clone(),
            id: key.id,
            revision,
            writer: writer.clone(),
            watermark,
            pass: pass.map(PassItem::from),
        };
        let condition = match saved.revision {
            0 => Condition::Absent,
            read => Condition::Revision(read),
        };
        let put = Put { key, item: item::to_item(item)?, write_id: writer, condition };
        match self.put(&put, &mut Backoff::within(WRITE_DEADLINE)).await? {
            Outcome::Written(()) => {
                saved.revision = revision;
                Ok(())
            }
            Outcome::Refused(_) => Err(Error::Contended),
        }
    }

    /// Deletes the checkpoints, so that exports begin anew.
    pub(crate) async fn forget_checkpoints(&self) -> Result<()> {
        for export in [ExportKind::Scheduled, ExportKind::Again] {
            let delete = self.dynamodb.client().delete_item().table_name(&self.table);
            let key = PrimaryKey::checkpoint(export).into_key();
            delete.set_key(Some(key)).send().await.map_err(Failure::of)?;
        }
        Ok(())
    }
}

/// The writer of checkpoints.
fn exporter() -> Result<KeyId> {
    "export".parse().map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(scripted::NOW + millis).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_checkpoint_is_read_as_it_was_saved() {
        let (tickets, _) = scripted::engine(0).await;
        let range = |after, last| Range { after, last };
        let pass = Pass {
            since: Some(at(1)),
            until: at(2),
            after: 30,
            storing: Some(range(30, 40)),
            parts: vec![
                Part { range: range(0, 10), records: 9, bytes: 900 },
                Part { range: range(10, 30), records: 19, bytes: 1900 },
            ],
            manifests: 2,
        };
        for checkpoint in [
            Checkpoint { watermark: Some(at(0)), pass: Some(pass.clone()) },
            Checkpoint { watermark: None, pass: Some(Pass { since: None, storing: None, ..pass }) },
            Checkpoint { watermark: Some(at(2)), pass: None },
        ] {
            let mut saved = tickets.checkpoint(ExportKind::Scheduled).await.unwrap();
            saved.checkpoint = checkpoint.clone();
            tickets.save_checkpoint(&mut saved).await.unwrap();
            let read = tickets.checkpoint(ExportKind::Scheduled).await.unwrap();
            assert_eq!((&read.checkpoint, read.revision), (&checkpoint, saved.revision));
        }
        let other = tickets.checkpoint(ExportKind::Again).await.unwrap();
        assert_eq!((other.checkpoint, other.revision), (Checkpoint::default(), 0), "each export has its own");
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_runs_one_goes_on() {
        let (tickets, _) = scripted::engine(0).await;
        for _ in 0..2 {
            let mut one = tickets.checkpoint(ExportKind::Again).await.unwrap();
            let mut other = one.clone();
            tickets.save_checkpoint(&mut one).await.unwrap();
            tickets.save_checkpoint(&mut one).await.unwrap();
            assert!(matches!(tickets.save_checkpoint(&mut other).await, Err(Error::Contended)));
        }
        tickets.forget_checkpoints().await.unwrap();
        assert_eq!(tickets.checkpoint(ExportKind::Again).await.unwrap().revision, 0);
    }
}
