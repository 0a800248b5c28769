//! Adds many tickets at once, with dates of their own: sample data.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use futures::stream::{self, StreamExt, TryStreamExt};
use tickets_domain::{Error, KeyId, Result, Ticket, TicketFields, Timestamp, Version};

use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::item::{self, Item, Source, WriteId, WriteMetadata};
use crate::list::left_unprocessed;
use crate::month::Month;
use crate::tickets::Tickets;
use crate::write::WRITE_DEADLINE;

/// The most tickets of one chunk.
pub const MAX_CHUNK: usize = 100;
/// The most items of one `BatchWriteItem`.
const BATCH: usize = 25;
/// Batches sent at the same time.
const AT_ONCE: usize = 4;

/// A ticket from elsewhere, without an id.
#[derive(Debug, Clone)]
pub struct SeedTicket {
    pub fields: TicketFields,
    pub created: Timestamp,
    /// When it last changed: no earlier than `created`.
    pub updated: Timestamp,
}

impl Tickets {
    /// Adds up to [`MAX_CHUNK`] tickets under ids reserved for them. Their dates lie in the past, so a sync job that
    /// polls for changes does not see them: [`Tickets::renew_epoch`] tells it to start over. After an error, some of
    /// the tickets may be there.
    pub async fn append(&self, by: &KeyId, seeds: &[SeedTicket]) -> Result<()> {
        let Some(earliest) = seeds.iter().map(|seed| seed.updated).min() else { return Ok(()) };
        let reservation = self.reserve(seeds.len() as u64, &mut Backoff::within(WRITE_DEADLINE)).await?;
        self.lower_first_month(Month::of(earliest)).await?;
        let mut items = Vec::with_capacity(seeds.len());
        let mut previous_reserved = reservation.previous_reserved;
        for (id, seed) in (reservation.first..).zip(seeds) {
            let ticket = Ticket {
                id: item::ticket_id(id)?,
                fields: seed.fields.clone(),
                created: seed.created,
                updated: seed.updated,
                version: Version::FIRST,
            };
            let metadata = WriteMetadata::first(WriteId::new(by), previous_reserved);
            items.push(item::ticket_item(&ticket, &metadata.with_source(Source::Seed))?);
            previous_reserved = Some(reservation.reserved);
        }
        let batches: Vec<_> = items.chunks(BATCH).map(|batch| self.write_batch(batch.to_vec())).collect();
        stream::iter(batches).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Puts items under fresh ids. Sends those left unprocessed again.
    async fn write_batch(&self, items: Vec<Item>) -> Result<()> {
        let mut backoff = Backoff::within(WRITE_DEADLINE);
        let request = |item| {
            let put = PutRequest::builder().set_item(Some(item)).build().map_err(Error::internal)?;
            Ok(WriteRequest::builder().put_request(put).build())
        };
        let mut left: Vec<_> = items.into_iter().map(request).collect::<Result<_>>()?;
        loop {
            let write = self.dynamodb.client().batch_write_item().request_items(&self.table, left);
            let output = write.send().await.map_err(Failure::of)?;
            left = output.unprocessed_items.into_iter().flat_map(HashMap::into_values).flatten().collect();
            if left.is_empty() {
                return Ok(());
            }
            if !backoff.wait().await {
                return Err(left_unprocessed());
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
    use crate::scripted::{self, Answer, NOW, ok};

    fn seeds(count: usize) -> Vec<SeedTicket> {
        let at = "2026-01-02".parse().unwrap();
        vec![SeedTicket { fields: scripted::fields(json!({})), created: at, updated: at }; count]
    }

    fn counter() -> Answer {
        ok(json!({"Attributes": {"last": {"N": "10"}, "reserved": {"N": "90000"}}}))
    }

    fn ids(request: &Value) -> Vec<u64> {
        let id = |write: &Value| write["PutRequest"]["Item"]["id"]["N"].as_str().unwrap().parse().unwrap();
        request["RequestItems"]["Tickets"].as_array().unwrap().iter().map(id).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_left_unprocessed_is_sent_again() {
        let batches = AtomicUsize::new(0);
        let (tickets, calls) = scripted::tickets(move |operation, input| match operation {
            "BatchWriteItem" if batches.fetch_add(1, Ordering::Relaxed) == 0 => {
                let sent = input["RequestItems"]["Tickets"].as_array().unwrap();
                ok(json!({"UnprocessedItems": {"Tickets": sent[20..]}}))
            }
            "BatchWriteItem" => ok(json!({"UnprocessedItems": {}})),
            _ => counter(),
        });
        tickets.append(&"seed".parse().unwrap(), &seeds(30)).await.unwrap();
        let mut sent: Vec<Vec<u64>> = calls.of("BatchWriteItem").iter().map(ids).collect();
        sent.sort_unstable();
        assert_eq!(sent, [(11..36).collect::<Vec<_>>(), (31..36).collect(), (36..41).collect()]);
        let items = &calls.of("BatchWriteItem")[0]["RequestItems"]["Tickets"];
        let reserved = |at: usize| &items[at]["PutRequest"]["Item"]["previousReserved"]["N"];
        assert_eq!((reserved(0), reserved(1)), (&json!("90000"), &json!(NOW.to_string())));
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_unprocessed_is_an_error_at_the_deadline() {
        let (tickets, calls) = scripted::tickets(move |operation, input| match operation {
            "BatchWriteItem" => ok(json!({"UnprocessedItems": input["RequestItems"]})),
            _ => counter(),
        });
        let began = Instant::now();
        let error = tickets.append(&"seed".parse().unwrap(), &seeds(1)).await.unwrap_err();
        assert!(matches!(error, Error::Throttled(_)), "{error:?}");
        assert!(Instant::now() - began <= WRITE_DEADLINE && calls.of("BatchWriteItem").len() > 5);
    }
}
