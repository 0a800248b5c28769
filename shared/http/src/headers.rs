//! The names of the headers that are this API's own, and of those that `http` does not know.

use lambda_http::http::HeaderName;

/// Names a create, so that it takes effect once however often it is sent.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks the answer to a request that took effect before.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// What is left of a key's limit (draft-ietf-httpapi-ratelimit-headers-10).
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// What a key's limit is (the same draft).
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Names the request, in every response and log line.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Which history of the table a list is from: where it has changed, a copy starts over.
pub const SYNC_EPOCH: HeaderName = HeaderName::from_static("sync-epoch");
/// Everything changed up to it is in the pass that begins with this list.
pub const SYNC_UNTIL: HeaderName = HeaderName::from_static("sync-until");
