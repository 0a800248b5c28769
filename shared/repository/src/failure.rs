//! Classifies the SDK's errors by their effect, and says of them what may be logged. Only here is a failed
//! condition told from other errors.

use std::error::Error as StdError;
use std::iter;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use tickets_domain::Error;
use tickets_domain::error::Cause;

use crate::item::Item;

/// What a failed call says about its effect.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No effect: DynamoDB throttled the call.
    Throttled(Cause),
    /// No effect: a transaction had locked the item. This system uses none; somebody else may.
    Conflict,
    /// Effect unknown: the answer was lost, late, or an internal error.
    Unknown(Cause),
    /// No effect, and a repeat would not help: a fault of ours.
    Fault(Cause),
}

impl Failure {
    pub(crate) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code).map(str::to_owned);
        let lost = match &error {
            // A success that cannot be read may have had its effect.
            SdkError::ServiceError(service) => {
                let status = service.raw().status();
                status.is_server_error() || status.is_success()
            }
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
            _ => false,
        };
        let cause = cause(&error);
        match code.as_deref() {
            Some(
                "ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded",
            ) => Self::Throttled(cause),
            Some("TransactionConflictException") => Self::Conflict,
            _ if lost => Self::Unknown(cause),
            _ => Self::Fault(cause),
        }
    }
}

/// What the log may have of an error: of an answer its status, code, message and length. Its body may hold
/// tickets, keys and histories, and so may the text of a parser that fails in it.
fn cause<E>(error: &SdkError<E, HttpResponse>) -> Cause
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(answered) if answered.raw().status().is_success() => {
            unreadable(answered.raw())
        }
        SdkError::ServiceError(answered) => {
            let status = answered.raw().status();
            let code = answered.err().code().filter(|code| is_code(code)).unwrap_or("no code");
            let message = answered.err().message().map(unquoted).unwrap_or_default();
            Cause::new(format!("{status} {code}, {}: {message}", length(answered.raw())))
        }
        SdkError::ResponseError(answered) => unreadable(answered.raw()),
        // Nothing was answered: the errors are those of this process.
        error => {
            let chain = iter::successors(Some(error as &(dyn StdError + 'static)), |error| (*error).source());
            Cause::new(chain.map(ToString::to_string).collect::<Vec<_>>().join(": "))
        }
    }
}

fn unreadable(answer: &HttpResponse) -> Cause {
    Cause::new(format!("an answer that cannot be read: {}, {}", answer.status(), length(answer)))
}

/// The length of an answer's body.
fn length(answer: &HttpResponse) -> String {
    answer.body().bytes().map_or("cut short".to_owned(), |body| format!("{} bytes", body.len()))
}

/// Whether a text looks like the name of an error.
fn is_code(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A message up to where it quotes something: the refusal of a value repeats it, as in `Value 'Ada' at 'item'
/// failed to satisfy constraint`.
fn unquoted(message: &str) -> &str {
    message.split(['\'', '"', '`', '[', '{', '(', '<']).next().unwrap_or_default()
}

/// For reads: a failed read never has an effect, so an unknown outcome is just "unavailable".
impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Throttled(cause) => Self::Throttled(cause),
            Failure::Conflict => Self::Contended,
            Failure::Unknown(cause) => Self::Unavailable(cause),
            Failure::Fault(cause) => Self::Internal(cause),
        }
    }
}

/// Why a write failed.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Its condition does not hold; with the item that is there, if the engine returns it.
    ConditionFailed(Option<Item>),
    Failed(Failure),
}

impl WriteError {
    pub(crate) fn of<E: Conditional>(error: SdkError<E, HttpResponse>) -> Self {
        match error.as_service_error().and_then(Conditional::failed_condition) {
            Some(failed) => Self::ConditionFailed(failed.item.clone()),
            None => Self::Failed(Failure::of(error)),
        }
    }
}

/// For a write whose condition holds unless somebody else is faster.
impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConditionFailed(_) => Self::Contended,
            WriteError::Failed(failure) => failure.into(),
        }
    }
}

/// An error of an operation that takes a condition.
pub(crate) trait Conditional:
    std::error::Error + ProvideErrorMetadata + Send + Sync + 'static
{
    fn failed_condition(&self) -> Option<&ConditionalCheckFailedException>;
}

macro_rules! conditional {
    ($($error:ident),*) => {$(
        impl Conditional for $error {
            fn failed_condition(&self) -> Option<&ConditionalCheckFailedException> {
                match self {
                    Self::ConditionalCheckFailedException(failed) => Some(failed),
                    _ => None,
                }
            }
        }
    )*};
}

conditional!(PutItemError, UpdateItemError);

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::error::ErrorMetadata;
    use aws_smithy_types::body::SdkBody;

    use super::*;
    use crate::write::Attempt;

    fn answered(code: &str, status: u16) -> SdkError<PutItemError, HttpResponse> {
        let error = PutItemError::generic(ErrorMetadata::builder().code(code).message("why").build());
        SdkError::service_error(error, HttpResponse::new(status.try_into().unwrap(), SdkBody::empty()))
    }

    fn attempt(failure: Failure) -> Result<Attempt<()>, Error> {
        Attempt::of(Err(WriteError::Failed(failure)))
    }

    fn unanswered() -> [SdkError<PutItemError, HttpResponse>; 2] {
        [
            SdkError::timeout_error("late"),
            SdkError::response_error("cut", HttpResponse::new(200.try_into().unwrap(), SdkBody::empty())),
        ]
    }

    #[test]
    fn throttling_has_no_effect_and_may_be_repeated() {
        for code in ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"]
        {
            let failure = Failure::of(answered(code, 400));
            assert!(matches!(&failure, Failure::Throttled(cause) if cause.as_str().contains("why")));
            let attempt = attempt(failure);
            assert!(matches!(attempt, Ok(Attempt::Retry(Error::Throttled(_)))), "{code}");
            assert!(matches!(Error::from(Failure::of(answered(code, 400))), Error::Throttled(_)));
        }
        let conflict = || Failure::of(answered("TransactionConflictException", 400));
        assert!(matches!(attempt(conflict()), Ok(Attempt::Retry(Error::Contended))));
        assert!(matches!(Error::from(conflict()), Error::Contended));
    }

    #[test]
    fn the_effect_of_an_unanswered_write_is_unknown() {
        let unclear = [answered("InternalServerError", 500), answered("", 200)];
        for error in unanswered().into_iter().chain(unclear) {
            assert!(matches!(attempt(Failure::of(error)), Ok(Attempt::Unknown(_))));
        }
        for error in unanswered() {
            assert!(matches!(Error::from(Failure::of(error)), Error::Unavailable(_)), "a read has none");
        }
    }

    #[test]
    fn of_an_answer_the_log_has_status_code_message_and_length_only() {
        let cause = |body: &'static str, error: ErrorMetadata| {
            let raw = HttpResponse::new(400.try_into().unwrap(), SdkBody::from(body));
            let error = SdkError::service_error(PutItemError::generic(error), raw);
            cause(&error).as_str().to_owned()
        };
        let message = |message: &str| ErrorMetadata::builder().code("ValidationException").message(message);
        assert_eq!(
            cause("a secret", message("The table does not have the specified index: byStatus").build()),
            "400 ValidationException, 8 bytes: The table does not have the specified index: byStatus"
        );
        for quotes in
            ["Value 'a secret' at 'item'", "Value \"a secret\"", "Value [a secret]", "Value {S=a secret}"]
        {
            let cause = cause("", message(quotes).build());
            assert_eq!(cause, "400 ValidationException, 0 bytes: Value ", "{quotes}");
        }
        for code in ["a secret", "<secret>", &"x".repeat(65)] {
            assert_eq!(cause("", ErrorMetadata::builder().code(code).build()), "400 no code, 0 bytes: ");
        }
        let long = cause("", message(&"why ".repeat(1000)).build());
        assert_eq!(long.chars().count(), 300);
        let raw = HttpResponse::new(200.try_into().unwrap(), SdkBody::from("{\"a secret"));
        let unread: SdkError<PutItemError, _> = SdkError::response_error("expected \" of a secret", raw);
        assert_eq!(super::cause(&unread).as_str(), "an answer that cannot be read: 200, 10 bytes");
        let late: SdkError<PutItemError, HttpResponse> = SdkError::timeout_error("a second");
        assert_eq!(super::cause(&late).as_str(), "request has timed out: a second");
    }

    #[test]
    fn an_error_that_a_repeat_would_not_mend_is_a_fault_of_ours() {
        for error in [answered("ValidationException", 400), SdkError::construction_failure("no")] {
            let failure = Failure::of(error);
            assert!(matches!(&failure, Failure::Fault(_)));
            assert!(matches!(attempt(failure), Err(Error::Internal(_))));
        }
        assert!(matches!(Error::from(Failure::of(answered("AccessDenied", 400))), Error::Internal(_)));
    }
}
