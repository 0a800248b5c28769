//! The error responses of operations: shared problems, with examples that the code makes.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tickets_domain::error::Cause;
use tickets_domain::precondition::UnusableTag;
use tickets_domain::{Error, Presets, Quota, Scope, Tag, Version};

use super::{answer, example, schema};
use crate::{Problem, etag};

/// The headers of an error response.
#[derive(Clone, Copy)]
enum Headers {
    None,
    RetryAfter,
    /// `Retry-After`, and those of a key's limit.
    RateLimit,
}

/// An error response that operations share.
#[derive(Clone, Copy)]
pub(super) struct Refusal {
    /// Its name among the document's responses.
    pub(super) name: &'static str,
    pub(super) status: &'static str,
    description: &'static str,
    headers: Headers,
    /// The problems it may hold.
    problems: fn(&Presets) -> Vec<Problem>,
}

impl Refusal {
    /// The reference by which an operation includes it.
    pub(super) fn reference(&self) -> Value {
        json!({"$ref": format!("#/components/responses/{}", self.name)})
    }

    /// Its definition in the document.
    pub(super) fn response(&self, presets: &Presets) -> Value {
        let problems = (self.problems)(presets);
        let examples: Map<_, _> = problems
            .iter()
            .map(|problem| (problem.kind().to_owned(), json!({"value": problem.body()})))
            .collect();
        let content = json!({"schema": schema::reference("Problem"), "examples": examples});
        let mut response =
            json!({"description": self.description, "content": {"application/problem+json": content}});
        match self.headers {
            Headers::None => {}
            Headers::RetryAfter => response["headers"] = retry_after(),
            Headers::RateLimit => response["headers"] = rate_limit(),
        }
        response
    }
}

fn retry_after() -> Value {
    let seconds = json!({"type": "integer", "format": "int32", "minimum": 0, "examples": [1]});
    json!({"Retry-After": answer::header("Seconds after which to repeat it", seconds)})
}

fn rate_limit() -> Value {
    let text = |example: &str| json!({"type": "string", "examples": [example]});
    let mut headers = retry_after();
    headers["RateLimit"] = answer::header(
        "Of a key with a limit: requests left, and seconds until there are all again. Its other answers have it too",
        text("\"key\";r=0;t=17"),
    );
    headers["RateLimit-Policy"] = answer::header(
        "Of a key with a limit: requests, and in how many seconds",
        text("\"key\";q=600;w=60"),
    );
    headers
}

/// The error responses of every operation.
pub(super) const OF_ALL: [Refusal; 5] =
    [UNAUTHENTICATED, FORBIDDEN, TOO_MANY_REQUESTS, INTERNAL_ERROR, UNAVAILABLE];

/// For lists and histories.
pub(super) const INVALID_QUERY: Refusal = Refusal {
    name: "InvalidQuery",
    status: "400",
    description: "Parameters that cannot be read, or that there are not",
    headers: Headers::None,
    problems: |presets| example::invalid_query(presets).into_iter().collect(),
};

/// For other requests without a body.
pub(super) const INVALID_PARAMETERS: Refusal = Refusal {
    name: "InvalidParameters",
    status: "400",
    description: "An id or headers that cannot be read",
    headers: Headers::None,
    problems: |_| example::invalid_id().into_iter().collect(),
};

/// For requests with a body.
pub(super) const INVALID_REQUEST: Refusal = Refusal {
    name: "InvalidRequest",
    status: "400",
    description: "An id, headers or JSON that cannot be read",
    headers: Headers::None,
    problems: |_| example::malformed_body().into_iter().chain(example::invalid_id()).collect(),
};

const UNAUTHENTICATED: Refusal = Refusal {
    name: "Unauthenticated",
    status: "401",
    description: "No key, or not a good one",
    headers: Headers::None,
    problems: |_| vec![Error::Unauthenticated.into()],
};

const FORBIDDEN: Refusal = Refusal {
    name: "Forbidden",
    status: "403",
    description: "The key lacks the scope, or may not give a ticket to this customer",
    headers: Headers::None,
    problems: |_| {
        let other_customer = example::CUSTOMER.try_into().map(Error::OtherCustomer);
        [Error::MissingScope(Scope::Write)].into_iter().chain(other_customer).map(Problem::from).collect()
    },
};

pub(super) const NOT_FOUND: Refusal = Refusal {
    name: "NotFound",
    status: "404",
    description: "There is no such ticket, or not for this key",
    headers: Headers::None,
    problems: |_| vec![Error::NotFound.into()],
};

pub(super) const KEY_IN_USE: Refusal = Refusal {
    name: "IdempotencyKeyInUse",
    status: "409",
    description: "The first request with this Idempotency-Key is not decided yet",
    headers: Headers::RetryAfter,
    problems: |_| vec![Error::IdempotencyKeyInUse.into()],
};

pub(super) const PRECONDITION_FAILED: Refusal = Refusal {
    name: "PreconditionFailed",
    status: "412",
    description: "The ticket is not at a version that `If-Match` names, or a change finds it at one of `If-None-Match`",
    headers: Headers::None,
    problems: |_| {
        let tag = Tag::new(Version::FIRST, 0x0c5f_e1a2);
        let weak = UnusableTag { text: format!("W/{}", etag::text(tag)), is_weak: true, meant: Some(tag) };
        let errors = [Error::VersionMismatch, Error::UnusableTag(weak), Error::VersionExcluded];
        errors.map(Problem::from).into()
    },
};

pub(super) const TOO_LARGE: Refusal = Refusal {
    name: "TooLarge",
    status: "413",
    description: "The body is too large",
    headers: Headers::None,
    problems: |_| vec![Problem::too_large()],
};

pub(super) const NOT_JSON: Refusal = Refusal {
    name: "NotJson",
    status: "415",
    description: "The body is not JSON, or is compressed",
    headers: Headers::None,
    problems: |_| vec![Problem::not_json(), Problem::compressed()],
};

pub(super) const INVALID_FIELDS: Refusal = Refusal {
    name: "InvalidFields",
    status: "422",
    description: "Invalid fields, or an Idempotency-Key used for another body",
    headers: Headers::None,
    problems: |presets| {
        example::invalid_fields(presets).into_iter().chain([Error::IdempotencyKeyReused.into()]).collect()
    },
};

const TOO_MANY_REQUESTS: Refusal = Refusal {
    name: "TooManyRequests",
    status: "429",
    description: "Too many requests: of this key, which then has a limit, or of all callers at once",
    headers: Headers::RateLimit,
    problems: |_| rate_limited().into_iter().chain([Problem::too_many_requests()]).collect(),
};

/// The problem of a key that has used up its limit.
fn rate_limited() -> Option<Problem> {
    let (limit, resets) = ("600/m".parse().ok()?, Duration::from_secs(17));
    Some(Error::RateLimited(Quota { limit, remaining: 0, resets, uncounted: None }).into())
}

const INTERNAL_ERROR: Refusal = Refusal {
    name: "InternalError",
    status: "500",
    description: "A fault of the service",
    headers: Headers::None,
    problems: |_| vec![Error::Internal(no_cause()).into()],
};

const UNAVAILABLE: Refusal = Refusal {
    name: "Unavailable",
    status: "503",
    description: "Try again: too many writers, or the database is slow",
    headers: Headers::RetryAfter,
    problems: |_| {
        let errors = [
            Error::Contended,
            Error::Throttled(no_cause()),
            Error::Unavailable(no_cause()),
            Error::Undecided(no_cause()),
        ];
        errors.map(Problem::from).into()
    },
};

/// A placeholder: causes are for the log, and no problem shows one.
fn no_cause() -> Cause {
    Cause::new("an example")
}
