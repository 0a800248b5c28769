//! The one write loop. It repeats an attempt until its outcome is known or the deadline has passed.
//!
//! The SDK does not repeat writes here: after several attempts it returns only the last error, which hides
//! that an earlier one may have taken effect. This loop keeps track of that. It repeats an attempt without an
//! answer unchanged. If that attempt had taken effect, the condition now refuses the repeat, and the
//! [`WriteId`] in the found item tells the writer that the write is its own.

use std::future::Future;
use std::time::Duration;

use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::{StreamExt, stream};
use tickets_domain::error::Cause;
use tickets_domain::{Error, Result, TicketId, Timestamp, Version};
use tokio::time::timeout_at;

use crate::backoff::Backoff;
use crate::failure::{Failure, WriteError};
use crate::item::{self, Item, WriteId};
use crate::primary_key::PrimaryKey;
use crate::tickets::Tickets;

/// Every write, retries included, ends this long after it began. So it cannot take effect long after the
/// `updatedDate` it carries. About a third of the default settle window.
pub(crate) const WRITE_DEADLINE: Duration = Duration::from_secs(3);

/// How many rows of a batch are written at the same time: each takes a connection.
const SIDE_BY_SIDE: usize = 16;

/// Writes the rows of a batch concurrently, and returns their results in order.
pub(crate) async fn side_by_side<T>(writes: Vec<impl Future<Output = T>>) -> Vec<T> {
    stream::iter(writes).buffered(SIDE_BY_SIDE).collect().await
}

/// How one attempt ended.
#[derive(Debug)]
pub(crate) enum Attempt<T> {
    /// It took effect.
    Written(T),
    /// Its condition does not hold; with the item that is there, if any.
    Refused(Option<Item>),
    /// No effect, for this reason; it may be repeated.
    Retry(Error),
    /// It may have taken effect.
    Unknown(Cause),
}

impl<T> Attempt<T> {
    /// How an attempt ended that returned this. An error is a fault of ours, which a repeat would not mend.
    pub(crate) fn of(written: Result<T, WriteError>) -> Result<Self> {
        match written {
            Ok(written) => Ok(Self::Written(written)),
            Err(WriteError::ConditionFailed(found)) => Ok(Self::Refused(found)),
            Err(WriteError::Failed(Failure::Throttled(cause))) => Ok(Self::Retry(Error::Throttled(cause))),
            Err(WriteError::Failed(Failure::Conflict)) => Ok(Self::Retry(Error::Contended)),
            Err(WriteError::Failed(Failure::Unknown(cause))) => Ok(Self::Unknown(cause)),
            Err(WriteError::Failed(Failure::Fault(cause))) => Err(Error::Internal(cause)),
        }
    }
}

/// How a write ended.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    /// It took effect.
    Written(T),
    /// Its condition does not hold; with the item that is there, if any.
    Refused(Option<Item>),
}

/// Repeats `attempt` until its outcome is known or the deadline has passed. If an answer was lost and no
/// later one told, `read_back` looks for the effect. With a refusal it returns why an earlier answer was
/// lost, if one was: that attempt's own effect may have caused the refusal.
///
/// # Errors
/// An error of `attempt`; after the deadline, why it was to be repeated; [`Error::Undecided`] if it may have
/// taken effect.
pub(crate) async fn until_known<T, F, R>(
    backoff: &mut Backoff,
    attempt: impl Fn() -> F,
    read_back: impl FnOnce() -> R,
) -> Result<(Outcome<T>, Option<Cause>)>
where
    F: Future<Output = Result<Attempt<T>>>,
    R: Future<Output = Result<Option<T>>>,
{
    if backoff.is_over() {
        return Err(Error::Contended);
    }
    let mut unknown = None;
    let error = loop {
        let error = match timeout_at(backoff.deadline(), attempt()).await {
            Ok(Ok(Attempt::Written(written))) => return Ok((Outcome::Written(written), None)),
            Ok(Ok(Attempt::Refused(found))) => return Ok((Outcome::Refused(found), unknown)),
            Ok(Ok(Attempt::Retry(error))) => error,
            Ok(Ok(Attempt::Unknown(cause))) => {
                unknown = Some(cause);
                Error::Contended
            }
            Ok(Err(error)) => break error,
            Err(elapsed) => {
                unknown = Some(Cause::new(elapsed));
                Error::Contended
            }
        };
        if !backoff.wait().await {
            break error;
        }
    };
    let Some(cause) = unknown else { return Err(error) };
    match read_back().await {
        Ok(Some(written)) => Ok((Outcome::Written(written), None)),
        Ok(None) | Err(_) => Err(Error::Undecided(cause)),
    }
}

/// What a put requires in the table to take effect.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Condition {
    /// Nothing is there.
    Absent,
    /// Nothing is there, or only an item expired by then, which TTL has not removed yet.
    AbsentOrExpired(Timestamp),
    /// This version of a ticket is there.
    Version(Version),
    /// A claim of this id is there.
    Claim(TicketId),
    /// Nothing is there, or something updated earlier.
    Older(Timestamp),
    /// This revision of a checkpoint is there.
    Revision(u64),
}

impl Condition {
    fn apply(self, put: PutItemFluentBuilder) -> PutItemFluentBuilder {
        let number = |number: u64| AttributeValue::N(number.to_string());
        let equal = |put: PutItemFluentBuilder, name: &str, value: u64| {
            put.condition_expression("#value = :value")
                .expression_attribute_names("#value", name)
                .expression_attribute_values(":value", number(value))
        };
        match self {
            Self::Absent => {
                put.condition_expression("attribute_not_exists(#id)").expression_attribute_names("#id", "id")
            }
            Self::AbsentOrExpired(now) => put
                .condition_expression("attribute_not_exists(#id) OR #expires <= :now")
                .expression_attribute_names("#id", "id")
                .expression_attribute_names("#expires", "expires")
                .expression_attribute_values(
                    ":now",
                    AttributeValue::N(now.millis().div_euclid(1000).to_string()),
                ),
            Self::Version(version) => equal(put, "version", version.get()),
            Self::Claim(id) => equal(put, "ticket", id.get()),
            Self::Older(updated) => put
                .condition_expression("attribute_not_exists(#id) OR #updated < :updated")
                .expression_attribute_names("#id", "id")
                .expression_attribute_names("#updated", "updatedDate")
                .expression_attribute_values(":updated", AttributeValue::N(updated.millis().to_string())),
            Self::Revision(revision) => equal(put, "revision", revision),
        }
    }
}

/// An item to write.
#[derive(Debug, Clone)]
pub(crate) struct Put {
    pub(crate) key: PrimaryKey,
    pub(crate) item: Item,
    /// The write id in `item`.
    pub(crate) write_id: WriteId,
    pub(crate) condition: Condition,
}

impl Tickets {
    /// Puts an item under its condition.
    ///
    /// # Errors
    /// [`Error::Undecided`] if it may have taken effect; any other error means that it has not.
    pub(crate) async fn put(&self, put: &Put, backoff: &mut Backoff) -> Result<Outcome<()>> {
        let is_own = |found: &Item| put.write_id.is_in(found);
        let read_back = async || {
            let found = self.read(put.key.clone()).await?;
            Ok(found.filter(is_own).map(drop))
        };
        let (found, lost) = match until_known(backoff, || self.put_once(put), read_back).await? {
            (Outcome::Written(()), _) => return Ok(Outcome::Written(())),
            // Not every engine returns the item that refused.
            (Outcome::Refused(None), lost) => match self.read(put.key.clone()).await {
                Ok(found) => (found, lost),
                Err(error) => return Err(Error::Undecided(Cause::new(error))),
            },
            (Outcome::Refused(found), lost) => (found, lost),
        };
        match (&found, lost, put.condition) {
            (Some(found), _, _) if is_own(found) => Ok(Outcome::Written(())),
            // Others have written twice since the answer was lost: nothing tells any more whether this write
            // took effect.
            (Some(found), Some(lost), Condition::Version(read))
                if item::version(found) > Some(read.next().next()) =>
            {
                Err(Error::Undecided(lost))
            }
            _ => Ok(Outcome::Refused(found)),
        }
    }

    async fn put_once(&self, put: &Put) -> Result<Attempt<()>> {
        let request = self.dynamodb.put_item().table_name(&self.table).set_item(Some(put.item.clone()));
        let sent = put.condition.apply(request).send().await;
        Attempt::of(self.dynamodb.wrote(sent).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;
    use crate::scripted::{self, Answer, condition_failed, lost, ok};

    fn cause() -> Cause {
        Cause::new("lost")
    }

    /// How a write ends, and after how many attempts, if its attempts end like this in turn; the last
    /// repeats.
    async fn ends(
        attempts: &[fn() -> Result<Attempt<u8>>],
        read_back: fn() -> Result<Option<u8>>,
    ) -> (Result<(Outcome<u8>, Option<Cause>)>, usize) {
        let sent = Cell::new(0);
        let attempt = || {
            let at = sent.replace(sent.get() + 1).min(attempts.len() - 1);
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                attempts[at]()
            }
        };
        let mut backoff = Backoff::within(Duration::from_secs(3));
        let ended = until_known(&mut backoff, attempt, || async move { read_back() }).await;
        (ended, sent.get())
    }

    fn not_asked() -> Result<Option<u8>> {
        panic!("the outcome is known: nothing is read back")
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_is_repeated_until_its_outcome_is_known() {
        let (ended, sent) = ends(&[|| Ok(Attempt::Written(7))], not_asked).await;
        assert!(matches!(ended, Ok((Outcome::Written(7), None))) && sent == 1);
        let retried: &[fn() -> _] = &[
            || Ok(Attempt::Retry(Error::Contended)),
            || Ok(Attempt::Unknown(cause())),
            || Ok(Attempt::Written(7)),
        ];
        let (ended, sent) = ends(retried, not_asked).await;
        assert!(matches!(ended, Ok((Outcome::Written(7), None))) && sent == 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_tells_why_an_earlier_answer_was_lost() {
        let (ended, _) = ends(&[|| Ok(Attempt::Refused(None))], not_asked).await;
        assert!(matches!(ended, Ok((Outcome::Refused(None), None))));
        let lost: &[fn() -> _] = &[|| Ok(Attempt::Unknown(cause())), || Ok(Attempt::Refused(None))];
        assert!(matches!(ends(lost, not_asked).await.0, Ok((Outcome::Refused(None), Some(_)))));
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_deadline_the_error_says_why() {
        let began = Instant::now();
        let (ended, sent) = ends(&[|| Ok(Attempt::Retry(Error::Throttled(cause())))], not_asked).await;
        assert!(matches!(ended, Err(Error::Throttled(_))) && sent > 3, "{sent}");
        assert!(Instant::now() - began <= Duration::from_secs(3));
        let (ended, sent) = ends(&[|| Err(Error::Internal(cause()))], not_asked).await;
        assert!(matches!(ended, Err(Error::Internal(_))) && sent == 1, "a fault is not repeated");
        let mut over = Backoff::within(Duration::from_millis(50));
        let never = || async { Ok(Attempt::Written(7)) };
        let ended = until_known(&mut over, never, || async { not_asked() }).await;
        assert!(matches!(ended, Err(Error::Contended)), "nothing is sent that could not be waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_effect_is_read_back_before_a_write_is_undecided() {
        let lost: &[fn() -> _] = &[|| Ok(Attempt::Unknown(cause()))];
        assert!(matches!(ends(lost, || Ok(Some(7))).await.0, Ok((Outcome::Written(7), None))));
        assert!(matches!(ends(lost, || Ok(None)).await.0, Err(Error::Undecided(_))));
        assert!(matches!(ends(lost, || Err(Error::Contended)).await.0, Err(Error::Undecided(_))));
        // This also holds if the last attempt only says that it had no effect itself.
        let both: &[fn() -> _] = &[|| Ok(Attempt::Unknown(cause())), || Err(Error::Internal(cause()))];
        assert!(matches!(ends(both, || Ok(Some(7))).await.0, Ok((Outcome::Written(7), None))));
        assert!(matches!(ends(both, || Ok(None)).await.0, Err(Error::Undecided(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_never_ends_is_left_at_the_deadline() {
        let began = Instant::now();
        let mut backoff = Backoff::within(Duration::from_secs(3));
        let hangs = || std::future::pending::<Result<Attempt<u8>>>();
        let ended = until_known(&mut backoff, hangs, || async { Ok(None) }).await;
        assert!(matches!(ended, Err(Error::Undecided(_))));
        assert_eq!(Instant::now() - began, Duration::from_secs(3));
    }

    /// How a put of a ticket's fourth version ends, if `before` attempts get no answer, and the next one this.
    async fn put_ends(before: usize, answer: Value) -> Result<Outcome<()>> {
        let attempts = AtomicUsize::new(0);
        let (tickets, calls) = scripted::tickets(move |operation, input| {
            let own = &input["Item"]["writer"];
            let filled = |text: String| text.replace("\"own\"", &own["S"].to_string());
            match operation {
                "PutItem" if attempts.fetch_add(1, Ordering::Relaxed) < before => lost(),
                "PutItem" => condition_failed(serde_json::from_str(&filled(answer.to_string())).unwrap()),
                _ => ok(json!({})),
            }
        });
        let write_id = WriteId::new(&"writer".parse().unwrap());
        let key = PrimaryKey::ticket(TicketId::FIRST);
        let mut item = key.clone().into_key();
        item.insert("writer".into(), item::to_attribute(&write_id).unwrap());
        let condition = Condition::Version(Version::new(3));
        let put = Put { key, item, write_id, condition };
        let ended = tickets.put(&put, &mut Backoff::within(Duration::from_secs(3))).await;
        assert_eq!(calls.of("PutItem").len(), before + 1);
        ended
    }

    fn there(version: u64, writer: &str, previous: &str) -> Value {
        let number = version.to_string();
        json!({"version": {"N": number}, "writer": {"S": writer}, "previousWriter": {"S": previous}})
    }

    #[tokio::test(start_paused = true)]
    async fn a_put_that_is_refused_by_its_own_effect_was_written() {
        for (lost, found) in [(1, there(4, "own", "a")), (1, there(5, "b", "own")), (0, there(4, "own", "a"))]
        {
            let ended = put_ends(lost, found).await;
            assert!(matches!(ended, Ok(Outcome::Written(()))), "{ended:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_put_is_undecided_only_if_others_have_written_twice_since_its_answer_was_lost() {
        let ended = async |lost, version| put_ends(lost, there(version, "a", "b")).await;
        assert!(matches!(ended(1, 6).await, Err(Error::Undecided(_))));
        for (lost, version) in [(1, 5), (1, 4), (0, 6)] {
            let ended = ended(lost, version).await;
            assert!(matches!(ended, Ok(Outcome::Refused(Some(_)))), "{lost} {version} {ended:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn if_a_refusal_has_no_item_the_item_is_read() {
        let ends = async |read: fn() -> Answer| {
            let (tickets, calls) = scripted::tickets(move |operation, _| match operation {
                "PutItem" => condition_failed(Value::Null),
                _ => read(),
            });
            let write_id = WriteId::new(&"writer".parse().unwrap());
            let (key, condition) = (PrimaryKey::ticket(TicketId::FIRST), Condition::Absent);
            let put = Put { item: key.clone().into_key(), key, write_id, condition };
            let ended = tickets.put(&put, &mut Backoff::within(Duration::from_secs(3))).await;
            assert_eq!(calls.of("PutItem").len(), 1);
            ended
        };
        let found = ends(|| ok(json!({"Item": {"version": {"N": "4"}}}))).await;
        assert!(
            matches!(found, Ok(Outcome::Refused(Some(item))) if item::version(&item) == Some(Version::new(4)))
        );
        assert!(matches!(ends(|| ok(json!({}))).await, Ok(Outcome::Refused(None))));
        assert!(matches!(ends(lost).await, Err(Error::Undecided(_))), "it may be the put's own effect");
    }

    #[tokio::test(start_paused = true)]
    async fn an_effect_that_was_read_back_decides() {
        let ends = async |own: bool| {
            let (tickets, calls) = scripted::tickets(move |operation, input| match operation {
                "GetItem" if own => ok(json!({"Item": {"writer": {"S": "writer.1"}}})),
                "GetItem" => ok(json!({"Item": {"writer": {"S": "other.1"}}})),
                _ => {
                    assert_eq!(input["TableName"], "Tickets");
                    lost()
                }
            });
            let write_id: WriteId = serde_json::from_value(json!("writer.1")).unwrap();
            let (key, condition) = (PrimaryKey::ticket(TicketId::FIRST), Condition::Absent);
            let put = Put { item: key.clone().into_key(), key, write_id, condition };
            let ended = tickets.put(&put, &mut Backoff::within(Duration::from_secs(3))).await;
            assert_eq!(calls.of("GetItem").len(), 1);
            ended
        };
        assert!(matches!(ends(true).await, Ok(Outcome::Written(()))));
        assert!(matches!(ends(false).await, Err(Error::Undecided(_))));
    }
}
