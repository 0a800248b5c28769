//! New epochs: for a table that was restored from an earlier state, or that got records with dates in the past.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use tickets_domain::{Epoch, Error, Result};

use crate::backoff::Backoff;
use crate::failure::WriteError;
use crate::ids::{Position, new_epoch};
use crate::tickets::Tickets;

/// The result of [`Tickets::start_epoch`].
#[derive(Debug, Clone)]
pub struct Restored {
    /// The highest id the restored table had given out.
    pub last: u64,
    /// The next ticket's id is higher than this.
    pub skipped_to: u64,
    pub epoch: Epoch,
}

impl Tickets {
    /// Starts a new epoch for a table that got records with dates in the past. Whoever keeps a copy starts
    /// over, and so do exports.
    pub async fn renew_epoch(&self) -> Result<Epoch> {
        let epoch = new_epoch();
        let update = self
            .update_counter()
            .update_expression("SET #epoch = :epoch")
            .condition_expression("attribute_exists(#last)")
            .expression_attribute_names("#last", "last")
            .expression_attribute_names("#epoch", "epoch")
            .expression_attribute_values(":epoch", AttributeValue::S(epoch.to_string()));
        self.dynamodb.wrote(update.send().await)?;
        self.forget_checkpoints().await?;
        Ok(epoch)
    }

    /// Starts a new epoch for a table that was restored from an earlier state. Moves the counter `ahead` by
    /// that many ids, because those after its `last` were already given out, with other tickets. Exports
    /// begin anew.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a table without tickets; [`Error::Contended`] if ids are reserved all the
    /// time.
    pub async fn start_epoch(&self, ahead: u64) -> Result<Restored> {
        let mut backoff = Backoff::within(Duration::from_secs(10));
        loop {
            let Position { last, ranges, .. } = self.position().await?.ok_or(Error::NotFound)?;
            let (skipped_to, epoch) = (last + ahead, new_epoch());
            let mut ranges = Arc::unwrap_or_clone(ranges);
            ranges.skipped.push((last + 1, skipped_to));
            let update = self
                .move_counter(Some(last), skipped_to, &ranges, "#epoch = :epoch")
                .await?
                .expression_attribute_names("#epoch", "epoch")
                .expression_attribute_values(":epoch", AttributeValue::S(epoch.to_string()));
            match self.dynamodb.wrote(update.send().await) {
                Ok(_) => {
                    self.forget_checkpoints().await?;
                    return Ok(Restored { last, skipped_to, epoch });
                }
                Err(WriteError::ConditionFailed(_)) if backoff.wait().await => {}
                // It may have taken effect. Another run only skips more ids.
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;
    use crate::scripted::{self, Answer, condition_failed, lost, ok, refused};

    fn counter_item() -> Answer {
        let skipped = json!({"L": [{"L": [{"N": "2"}, {"N": "3"}]}]});
        ok(json!({"Item": {
            "last": {"N": "5"}, "firstMonth": {"S": "2026-01"}, "epoch": {"S": "e"}, "skipped": skipped,
        }}))
    }

    #[tokio::test(start_paused = true)]
    async fn an_epoch_starts_ahead_of_ids_given_out_meanwhile() {
        let refusals = AtomicUsize::new(0);
        let (tickets, calls) = scripted::tickets(move |operation, _| match operation {
            "GetItem" => counter_item(),
            "UpdateItem" if refusals.fetch_add(1, Ordering::Relaxed) < 2 => condition_failed(Value::Null),
            _ => ok(json!({})),
        });
        let restored = tickets.start_epoch(1000).await.unwrap();
        assert_eq!((restored.last, restored.skipped_to), (5, 1005));
        let updates = calls.of("UpdateItem");
        assert_eq!((updates.len(), calls.of("GetItem").len()), (3, 3), "it is read again each time");
        let range = |from: &str, to: &str| json!({"L": [{"N": from}, {"N": to}]});
        let values = &updates[2]["ExpressionAttributeValues"];
        let lists = calls.of("PutItem");
        assert_eq!(lists[2]["Item"]["skipped"], json!({"L": [range("2", "3"), range("6", "1005")]}));
        assert_eq!(values[":ranges"], lists[2]["Item"]["id"], "the counter names its list");
        assert!(updates[2]["UpdateExpression"].as_str().unwrap().ends_with("REMOVE #skipped, #moved"));
        assert_eq!((&values[":last"], &values[":next"]), (&json!({"N": "5"}), &json!({"N": "1005"})));
        assert_eq!(values[":epoch"], json!({"S": restored.epoch.to_string()}));
        assert_eq!(calls.of("DeleteItem").len(), 2, "exports begin anew");
    }

    #[tokio::test(start_paused = true)]
    async fn an_epoch_that_cannot_start_says_why() {
        let start = async |update: fn() -> Answer| {
            let (tickets, calls) = scripted::tickets(move |operation, _| match operation {
                "GetItem" => counter_item(),
                "PutItem" => ok(json!({})),
                _ => update(),
            });
            (tickets.start_epoch(1000).await.unwrap_err(), calls.of("UpdateItem").len())
        };
        let began = Instant::now();
        let (error, attempts) = start(|| condition_failed(Value::Null)).await;
        assert!(matches!(error, Error::Contended) && attempts > 10, "{error:?} {attempts}");
        assert!((9..=10).contains(&(Instant::now() - began).as_secs()));
        let (error, attempts) = start(|| refused("ValidationException")).await;
        assert!(matches!(error, Error::Internal(_)) && attempts == 1);
        let (error, attempts) = start(lost).await;
        assert!(matches!(error, Error::Unavailable(_)) && attempts == 1, "it may have taken effect");
        let (tickets, _) = scripted::tickets(|_, _| ok(json!({})));
        assert!(matches!(tickets.start_epoch(1000).await, Err(Error::NotFound)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewed_epoch_makes_exports_begin_anew() {
        let (tickets, calls) = scripted::tickets(|_, _| ok(json!({})));
        let epoch = tickets.renew_epoch().await.unwrap();
        let values = &calls.of("UpdateItem")[0]["ExpressionAttributeValues"];
        assert_eq!(values[":epoch"], json!({"S": epoch.to_string()}));
        assert_eq!(calls.of("DeleteItem").len(), 2);
        let (tickets, calls) = scripted::tickets(|_, _| condition_failed(Value::Null));
        assert!(tickets.renew_epoch().await.is_err(), "a table without tickets has none");
        assert!(calls.of("DeleteItem").is_empty());
    }
}
