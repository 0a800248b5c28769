//! Classifies the SDK's errors by their effect. Only here is a failed condition told from other errors.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
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
            SdkError::ServiceError(service) => service.raw().status().is_server_error(),
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
            _ => false,
        };
        // Join the chain of sources into one text: the log needs it on one line.
        let cause = Cause(DisplayErrorContext(error).to_string().into());
        match code.as_deref() {
            Some(
                "ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded",
            ) => Self::Throttled(cause),
            Some("TransactionConflictException") => Self::Conflict,
            _ if lost => Self::Unknown(cause),
            _ => Self::Fault(cause),
        }
    }

    pub(crate) fn into_cause(self) -> Cause {
        match self {
            Self::Throttled(cause) | Self::Unknown(cause) | Self::Fault(cause) => cause,
            Self::Conflict => Cause("a transaction had the item".into()),
        }
    }
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
            assert!(matches!(&failure, Failure::Throttled(cause) if cause.0.to_string().contains("why")));
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
        for error in unanswered().into_iter().chain([answered("InternalServerError", 500)]) {
            assert!(matches!(attempt(Failure::of(error)), Ok(Attempt::Unknown(_))));
        }
        for error in unanswered() {
            assert!(matches!(Error::from(Failure::of(error)), Error::Unavailable(_)), "a read has none");
        }
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
