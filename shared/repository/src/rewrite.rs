//! Updates and deletions: read, decide, and write if the version still is what was read.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use tickets_domain::error::Cause;
use tickets_domain::id::{CustomerId, Precondition, Version};
use tickets_domain::{Error, Record, Result, Ticket, TicketId, Timestamp};
use tokio::time::timeout_at;

use crate::address::Address;
use crate::backoff::Backoff;
use crate::connection::{WRITE_DEADLINE, one_attempt};
use crate::failure::Failure;
use crate::item::{self, Item, Writer};
use crate::tickets::{Tickets, visible};

/// Why a write failed.
enum Refusal {
    /// The version is no longer what was read: the item now is this, or gone.
    Version(Option<Item>),
    /// Not now; why not, should it be the last try.
    Later(Error),
    /// It may have taken effect.
    Unknown(Cause),
    /// Never.
    Fault(Error),
}

impl Tickets {
    /// Changes a ticket that the caller may see and that `precondition` admits: `change` makes the
    /// new ticket of the one that is there, or `None` to leave it. It may be called several times.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::VersionMismatch`], those of `change`; after the write deadline
    /// [`Error::Contended`], [`Error::Throttled`], or [`Error::Undecided`] where it may have taken effect.
    pub async fn update(
        &self,
        id: TicketId,
        within: Option<CustomerId>,
        precondition: &Precondition,
        change: impl Fn(&Ticket, Timestamp) -> Result<Option<Ticket>>,
    ) -> Result<Ticket> {
        let changed =
            |ticket: &Ticket, now| Ok(Record::Live(change(ticket, now)?.unwrap_or_else(|| ticket.clone())));
        self.rewrite(id, within, precondition, changed).await?.live().ok_or(Error::NotFound)
    }

    /// Deletes a ticket that the caller may see and that `precondition` admits.
    ///
    /// # Errors
    /// As [`Tickets::update`].
    pub async fn delete(
        &self,
        id: TicketId,
        within: Option<CustomerId>,
        precondition: &Precondition,
    ) -> Result<()> {
        let deleted = |ticket: &Ticket, now| Ok(Record::Deleted(ticket.delete(now)));
        self.rewrite(id, within, precondition, deleted).await.map(drop)
    }

    async fn rewrite(
        &self,
        id: TicketId,
        within: Option<CustomerId>,
        precondition: &Precondition,
        decide: impl Fn(&Ticket, Timestamp) -> Result<Record>,
    ) -> Result<Record> {
        let mut backoff = Backoff::within(WRITE_DEADLINE);
        let mut found = self.read(Address::ticket(id)).await?;
        loop {
            let current = visible(item::record(found.ok_or(Error::NotFound)?)?, within)?;
            if !precondition.admits(current.version) {
                return Err(Error::VersionMismatch);
            }
            let next = decide(&current, self.clock.now())?;
            if next == Record::Live(current.clone()) {
                return Ok(next);
            }
            let writer = Writer::new();
            match self.replace(current.version, &next, &writer, &mut backoff).await? {
                None => return Ok(next),
                // What refused is what is there now: no need to read it again.
                Some(now_there) => found = now_there,
            }
            if !backoff.wait().await {
                return Err(Error::Contended);
            }
        }
    }

    /// Writes `next` in place of `version`. `None`: it is written. Else what is there instead.
    async fn replace(
        &self,
        version: Version,
        next: &Record,
        writer: &Writer,
        backoff: &mut Backoff,
    ) -> Result<Option<Option<Item>>> {
        // Why it may have taken effect, from the first time on that an answer was lost.
        let mut unknown = None;
        loop {
            let refusal = match timeout_at(backoff.deadline(), self.put_over(version, next, writer)).await {
                Ok(Ok(())) => return Ok(None),
                Ok(Err(refusal)) => refusal,
                Err(elapsed) => Refusal::Unknown(Cause(elapsed.into())),
            };
            let error = match refusal {
                Refusal::Version(found) => {
                    return if wrote(&found, writer)? { Ok(None) } else { Ok(Some(found)) };
                }
                Refusal::Fault(error) => return Err(error),
                Refusal::Later(error) => error,
                Refusal::Unknown(cause) => {
                    unknown = Some(cause);
                    Error::Contended
                }
            };
            if backoff.wait().await {
                // Repeated as it was: if it did take effect the version refuses, and the writer tells.
                continue;
            }
            let Some(cause) = unknown else { return Err(error) };
            return match self.read(Address::ticket(next.stamps().id)).await {
                Ok(found) if wrote(&found, writer)? => Ok(None),
                _ => Err(Error::Undecided(cause)),
            };
        }
    }

    async fn put_over(&self, version: Version, next: &Record, writer: &Writer) -> Result<(), Refusal> {
        let item = item::record_item(next, writer, self.policy.keep_tombstones).map_err(Refusal::Fault)?;
        let sent = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("#version = :version")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", AttributeValue::N(version.get().to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.meter.level())
            .customize()
            .config_override(one_attempt())
            .send()
            .await;
        match sent {
            Ok(output) => {
                self.meter.add(output.consumed_capacity());
                Ok(())
            }
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                Err(Refusal::Version(match error.into_err() {
                    PutItemError::ConditionalCheckFailedException(failed) => failed.item,
                    _ => None,
                }))
            }
            Err(error) => Err(match Failure::of(error) {
                Failure::Throttled(cause) => Refusal::Later(Error::Throttled(cause)),
                Failure::Conflict => Refusal::Later(Error::Contended),
                Failure::Unknown(cause) => Refusal::Unknown(cause),
                Failure::Fault(cause) => Refusal::Fault(Error::Internal(cause)),
            }),
        }
    }
}

/// Whether what is there is what `writer` wrote.
fn wrote(found: &Option<Item>, writer: &Writer) -> Result<bool> {
    let found = found.clone().map(item::written_record).transpose()?;
    Ok(found.is_some_and(|(_, found)| found == *writer))
}
