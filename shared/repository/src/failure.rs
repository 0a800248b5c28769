//! What an error of the SDK means.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use tickets_domain::Error;
use tickets_domain::error::Cause;

/// What a call's failure says of its effect.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No effect: DynamoDB asked for less.
    Throttled(Cause),
    /// No effect: another transaction had one of the items.
    Conflict,
    /// Perhaps an effect: the answer was lost, late, or an internal error.
    Unknown(Cause),
    /// No effect, and none if repeated: a fault of ours.
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
        // The chain of sources as one text: the log wants all of it on one line.
        let cause = Cause(DisplayErrorContext(error).to_string().into());
        match code.as_deref() {
            Some(
                "ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded",
            ) => Self::Throttled(cause),
            Some("TransactionConflictException" | "TransactionInProgressException") => Self::Conflict,
            _ if lost => Self::Unknown(cause),
            _ => Self::Fault(cause),
        }
    }
}

/// A failed read has no effect whatever it was, so an unknown outcome is just none.
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
