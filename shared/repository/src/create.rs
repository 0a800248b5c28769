//! A new ticket: one transaction that advances the sequence if it still is what was read, puts the
//! ticket, and puts the idempotency record, so that ids become visible in order and without gaps.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use tickets_domain::error::Cause;
use tickets_domain::idempotency::{self, Idempotency};
use tickets_domain::time::Expiry;
use tickets_domain::{Error, Result, Ticket, TicketFields, TicketId};
use tokio::time::timeout_at;

use crate::address::Address;
use crate::backoff::Backoff;
use crate::connection::{WRITE_DEADLINE, one_attempt};
use crate::failure::Failure;
use crate::item::{self, IdempotencyItem, SequenceItem, Writer};
use crate::tickets::Tickets;

/// What came of a create.
#[derive(Debug)]
pub struct Created {
    /// The ticket, as it was created.
    pub ticket: Ticket,
    /// Whether an earlier request with the same idempotency key created it.
    pub replayed: bool,
}

/// One try, with everything that must not change while its outcome is unknown.
struct Attempt<'a> {
    ticket: Ticket,
    writer: Writer,
    request: Option<&'a Idempotency>,
    /// By which DynamoDB knows the try again for ten minutes.
    token: String,
    /// Why it may have taken effect, from the first time on that its answer was lost.
    unknown: Option<Cause>,
}

/// Why a try failed.
enum Refusal {
    /// The request took effect before.
    Done(IdempotencyItem),
    /// Another creator was faster: the sequence now is this.
    Sequence(Option<SequenceItem>),
    /// Another transaction had one of the items; `same_request` if it was the idempotency record.
    Conflict { same_request: bool },
    /// Not now.
    Throttled(Cause),
    /// It may have taken effect.
    Unknown(Cause),
    /// Never.
    Fault(Error),
}

impl Tickets {
    /// Creates a ticket; with `request`, only if that did not take effect before.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] where it did, for other fields. After the write deadline, why
    /// there is no ticket: [`Error::Contended`], [`Error::Throttled`], [`Error::IdempotencyKeyInUse`];
    /// or [`Error::Undecided`] where there may be one.
    pub async fn create(&self, fields: &TicketFields, request: Option<&Idempotency>) -> Result<Created> {
        let mut backoff = Backoff::within(WRITE_DEADLINE);
        let deadline = backoff.deadline();
        let mut last = timeout_at(deadline, self.last.lock()).await.map_err(|_| Error::Contended)?;
        let mut pending: Option<Attempt<'_>> = None;
        let mut first_refusal = true;
        loop {
            let mut attempt = match pending.take() {
                Some(attempt) => attempt,
                None => {
                    let known = match last.take() {
                        Some(known) => known,
                        None => self.sequence().await?.map_or(0, |sequence| sequence.last),
                    };
                    self.attempt(known, fields, request)?
                }
            };
            let refusal = match timeout_at(deadline, self.try_create(&attempt)).await {
                Ok(Ok(())) => {
                    *last = Some(attempt.ticket.id.get());
                    return Ok(Created { ticket: attempt.ticket, replayed: false });
                }
                Ok(Err(refusal)) => refusal,
                Err(elapsed) => Refusal::Unknown(Cause(elapsed.into())),
            };
            let error = match refusal {
                Refusal::Done(record) => {
                    // After an unknown outcome it may be this very attempt that took effect.
                    let own = attempt.unknown.is_some() && record.ticket == attempt.ticket.id.get();
                    return replay(record, fields, request).map(|done| Created { replayed: !own, ..done });
                }
                Refusal::Sequence(_) if attempt.unknown.is_some() => match self.wrote(&attempt).await {
                    Ok(true) => return Ok(Created { ticket: attempt.ticket, replayed: false }),
                    Ok(false) => {
                        // Another has its id: it did not take effect, and never will.
                        attempt.unknown = None;
                        Error::Contended
                    }
                    Err(error) => error,
                },
                Refusal::Sequence(sequence) if first_refusal => {
                    // An old guess, as a rule, and the refusal brings the news: no need to wait or read.
                    first_refusal = false;
                    *last = Some(sequence.map_or(0, |sequence| sequence.last));
                    continue;
                }
                Refusal::Sequence(_) | Refusal::Conflict { same_request: false } => Error::Contended,
                Refusal::Conflict { same_request: true } => Error::IdempotencyKeyInUse,
                Refusal::Throttled(cause) => Error::Throttled(cause),
                Refusal::Fault(error) => return Err(error),
                Refusal::Unknown(cause) => {
                    attempt.unknown = Some(cause);
                    Error::Contended
                }
            };
            if backoff.wait().await {
                // A try whose outcome is unknown is repeated as it was, under the same token, whatever
                // else refuses it meanwhile: DynamoDB answers success without writing again if it took
                // effect. Any other is made anew, after another look at the sequence, for the news of
                // a refusal is old by now.
                pending = attempt.unknown.is_some().then_some(attempt);
                continue;
            }
            let Some(cause) = attempt.unknown.take() else { return Err(error) };
            return match self.wrote(&attempt).await {
                Ok(true) => Ok(Created { ticket: attempt.ticket, replayed: false }),
                Ok(false) | Err(_) => Err(Error::Undecided(cause)),
            };
        }
    }

    fn attempt<'a>(
        &self,
        last: u64,
        fields: &TicketFields,
        request: Option<&'a Idempotency>,
    ) -> Result<Attempt<'a>> {
        let id = TicketId::try_from(last + 1).map_err(Error::internal)?;
        let ticket = Ticket::new(id, fields.clone(), self.clock.now());
        Ok(Attempt {
            ticket,
            writer: Writer::new(),
            request,
            token: format!("{:032x}", fastrand::u128(..)),
            unknown: None,
        })
    }

    /// Whether the ticket under the attempt's id is the attempt's.
    async fn wrote(&self, attempt: &Attempt<'_>) -> Result<bool> {
        let item = self.read(Address::ticket(attempt.ticket.id)).await?;
        let found = item.map(item::written_record).transpose()?;
        Ok(found.is_some_and(|(_, writer)| writer == attempt.writer))
    }

    async fn try_create(&self, attempt: &Attempt<'_>) -> Result<(), Refusal> {
        let mut items = vec![
            TransactWriteItem::builder().update(self.advance(&attempt.ticket)?).build(),
            TransactWriteItem::builder().put(self.put_new(attempt)?).build(),
        ];
        if let Some(request) = attempt.request {
            items.push(TransactWriteItem::builder().put(self.put_request(request, &attempt.ticket)?).build());
        }
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .client_request_token(&attempt.token)
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
            Err(error) => Err(refusal(error)),
        }
    }

    /// Advances the sequence to the ticket's id, if it is just below.
    fn advance(&self, ticket: &Ticket) -> Result<Update> {
        let previous = ticket.id.get() - 1;
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Address::sequence().into_key()))
            .update_expression("SET #last = :id, #month = if_not_exists(#month, :month)")
            .expression_attribute_names("#last", "last")
            .expression_attribute_names("#month", "firstMonth")
            .expression_attribute_values(":id", AttributeValue::N(ticket.id.to_string()))
            .expression_attribute_values(":month", AttributeValue::S(ticket.created.month().to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let update = if previous == 0 {
            update.condition_expression("attribute_not_exists(#last)")
        } else {
            update
                .condition_expression("#last = :previous")
                .expression_attribute_values(":previous", AttributeValue::N(previous.to_string()))
        };
        update.build().map_err(Error::internal)
    }

    fn put_new(&self, attempt: &Attempt<'_>) -> Result<Put> {
        Put::builder()
            .table_name(&self.table)
            .set_item(Some(item::ticket_item(&attempt.ticket, &attempt.writer)?))
            .condition_expression("attribute_not_exists(#id)")
            .expression_attribute_names("#id", "id")
            .build()
            .map_err(Error::internal)
    }

    /// Puts the record of the request, unless there is one that counts.
    fn put_request(&self, request: &Idempotency, ticket: &Ticket) -> Result<Put> {
        let Address { bucket, id } = Address::idempotency(request);
        let record = IdempotencyItem {
            bucket,
            id,
            ticket: ticket.id.get(),
            created: ticket.created,
            fingerprint: request.fingerprint,
            expires: Expiry::after(ticket.created, idempotency::KEPT),
        };
        let now = ticket.created.millis().div_euclid(1000);
        Put::builder()
            .table_name(&self.table)
            .set_item(Some(item::to_item(record)?))
            // TTL removes expired records late: one that has expired does not count.
            .condition_expression("attribute_not_exists(#id) OR #expires <= :now")
            .expression_attribute_names("#id", "id")
            .expression_attribute_names("#expires", "expires")
            .expression_attribute_values(":now", AttributeValue::N(now.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(Error::internal)
    }
}

/// Answers a request as it was answered first: the same fields, so with the id and the time it
/// took effect this is the same ticket.
fn replay(record: IdempotencyItem, fields: &TicketFields, request: Option<&Idempotency>) -> Result<Created> {
    if request.is_none_or(|request| request.fingerprint != record.fingerprint) {
        return Err(Error::IdempotencyKeyReused);
    }
    let id = TicketId::try_from(record.ticket).map_err(Error::internal)?;
    Ok(Created { ticket: Ticket::new(id, fields.clone(), record.created), replayed: true })
}

/// What a cancelled transaction says, by the item that refused: sequence, ticket, request.
fn refusal(
    error: SdkError<TransactWriteItemsError, aws_sdk_dynamodb::config::http::HttpResponse>,
) -> Refusal {
    let reasons = match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancelled.cancellation_reasons.clone().unwrap_or_default()
        }
        _ => {
            return match Failure::of(error) {
                Failure::Throttled(cause) => Refusal::Throttled(cause),
                Failure::Conflict => Refusal::Conflict { same_request: false },
                Failure::Unknown(cause) => Refusal::Unknown(cause),
                Failure::Fault(cause) => Refusal::Fault(Error::Internal(cause)),
            };
        }
    };
    let said = |at: usize, code: &str| reasons.get(at).filter(|reason| reason.code() == Some(code));
    let old = |reason: &CancellationReason| reason.item.clone().unwrap_or_default();
    let any =
        |codes: &[&str]| reasons.iter().any(|reason| reason.code().is_some_and(|code| codes.contains(&code)));
    if let Some(reason) = said(2, "ConditionalCheckFailed") {
        return item::from_item(old(reason)).map_or_else(Refusal::Fault, Refusal::Done);
    }
    if let Some(reason) = said(0, "ConditionalCheckFailed") {
        let item = old(reason);
        if item.is_empty() {
            return Refusal::Sequence(None);
        }
        return item::from_item(item).map_or_else(Refusal::Fault, |item| Refusal::Sequence(Some(item)));
    }
    if said(2, "TransactionConflict").is_some() {
        return Refusal::Conflict { same_request: true };
    }
    if any(&["TransactionConflict"]) {
        return Refusal::Conflict { same_request: false };
    }
    let cause = Cause(aws_sdk_dynamodb::error::DisplayErrorContext(error).to_string().into());
    if any(&["ThrottlingError", "ProvisionedThroughputExceeded"]) {
        return Refusal::Throttled(cause);
    }
    // The ticket is there although the sequence is below it: the table was written around the API.
    Refusal::Fault(Error::Internal(cause))
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}
