//! Many tickets at once, with dates of their own: sample data. Each chunk is one transaction like
//! that of a single ticket, so ids stay dense whoever else creates, and wherever it is interrupted.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use tickets_domain::{Error, Result, Ticket, TicketFields, TicketId, Timestamp, Version};

use crate::address::Address;
use crate::backoff::Backoff;
use crate::connection::WRITE_DEADLINE;
use crate::failure::Failure;
use crate::item::{self, SequenceItem, Writer};
use crate::tickets::Tickets;

/// The most tickets of one chunk: a transaction holds 100 items, and one is the sequence.
pub const MAX_CHUNK: usize = 99;

/// A ticket from elsewhere, without an id.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its fields.
    pub fields: TicketFields,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed, no earlier.
    pub updated: Timestamp,
}

impl Tickets {
    /// Appends up to [`MAX_CHUNK`] tickets, of up to 4 MB in all, in one transaction.
    ///
    /// # Errors
    /// [`Error::Contended`] after the write deadline; where the database does not answer or refuses.
    pub async fn append(&self, samples: &[Sample]) -> Result<()> {
        let mut backoff = Backoff::within(WRITE_DEADLINE);
        let Some(earliest) = samples.iter().map(|sample| sample.updated.month()).min() else { return Ok(()) };
        loop {
            let sequence = self.sequence().await?;
            let last = sequence.as_ref().map_or(0, |sequence| sequence.last);
            let first_month = sequence.map_or(earliest, |sequence| sequence.first_month.min(earliest));
            let next = SequenceItem { last: last + samples.len() as u64, first_month };
            let mut items =
                vec![TransactWriteItem::builder().update(self.advance_from(last, &next)?).build()];
            for (id, sample) in (last + 1..).zip(samples) {
                let ticket = Ticket {
                    id: TicketId::try_from(id).map_err(Error::internal)?,
                    fields: sample.fields.clone(),
                    created: sample.created,
                    updated: sample.updated,
                    version: Version::FIRST,
                };
                let put = Put::builder()
                    .table_name(&self.table)
                    .set_item(Some(item::ticket_item(&ticket, &Writer::new())?))
                    .condition_expression("attribute_not_exists(#id)")
                    .expression_attribute_names("#id", "id");
                items.push(TransactWriteItem::builder().put(put.build().map_err(Error::internal)?).build());
            }
            match self.client.transact_write_items().set_transact_items(Some(items)).send().await {
                Ok(_) => {
                    *self.last.lock().await = None;
                    return Ok(());
                }
                Err(error) => {
                    let cancelled = matches!(
                        error.as_service_error(),
                        Some(TransactWriteItemsError::TransactionCanceledException(_))
                    );
                    if !cancelled || !backoff.wait().await {
                        return Err(if cancelled { Error::Contended } else { Failure::of(error).into() });
                    }
                }
            }
        }
    }

    fn advance_from(&self, last: u64, next: &SequenceItem) -> Result<Update> {
        let number = |value: u64| AttributeValue::N(value.to_string());
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Address::sequence().into_key()))
            .update_expression("SET #last = :next, #month = :month")
            .condition_expression(if last == 0 { "attribute_not_exists(#last)" } else { "#last = :last" })
            .expression_attribute_names("#last", "last")
            .expression_attribute_names("#month", "firstMonth")
            .expression_attribute_values(":next", number(next.last))
            .expression_attribute_values(":month", AttributeValue::S(next.first_month.to_string()));
        let update =
            if last == 0 { update } else { update.expression_attribute_values(":last", number(last)) };
        update.build().map_err(Error::internal)
    }
}
