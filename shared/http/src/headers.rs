//! The names of headers that the `http` crate does not define, including this API's own.

use lambda_http::http::HeaderName;

/// Names a create, so that it takes effect only once, however often it is sent.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks the response to a repeated create that had already taken effect.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// What is left of a key's limit (draft-ietf-httpapi-ratelimit-headers-10).
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// A key's limit (the same draft).
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The id of the request, in every response and log line.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The table's epoch. If it has changed, a client's copy must start over.
pub const SYNC_EPOCH: HeaderName = HeaderName::from_static("sync-epoch");
/// Every change up to this instant is in the pass that begins with this list.
pub const SYNC_UNTIL: HeaderName = HeaderName::from_static("sync-until");
