//! What a client needs to know of a deployment: the presets, the defaults of a new ticket, and every limit.

use std::time::Duration;

use serde::{Serialize, Serializer};
use tickets_domain::Presets;
use tickets_domain::error::MOST_VIOLATIONS;
use tickets_domain::filter::{MAX_IDS, MAX_LIMIT};
use tickets_domain::id::MAX_SAFE_INTEGER;
use tickets_domain::idempotency::{KEPT, KEY_CHARACTERS};
use tickets_domain::json_object::MOST_ROWS;
use tickets_domain::preset::Choice;
use tickets_domain::text::TextLimit;
use tickets_domain::ticket::{FieldKind, TEXT_FIELDS};

use crate::reply::MAX_REPLY;
use crate::request::MAX_BODY;

/// The presets, what a new ticket gets, and every limit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct TicketConfiguration<'a> {
    presets: TicketPresets<'a>,
    /// The statuses of tickets that are done. May name one that a new ticket cannot get any more.
    closed_statuses: &'a [String],
    defaults: TicketDefaults,
    limits: TicketLimits,
}

/// The allowed values of each preset field, in order, in the spelling they are stored in.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
struct TicketPresets<'a> {
    ticket_type: &'a [String],
    status: &'a [String],
    ticket_priority: &'a [String],
    /// Empty where any text is allowed.
    owner: &'a [String],
}

/// What a new ticket gets in fields that are not given.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
struct TicketDefaults {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket_priority: Option<Choice>,
}

/// The limits that requests and responses keep. Bytes are of UTF-8.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
struct TicketLimits {
    /// The largest body of a request.
    body_bytes: u64,
    /// The largest reply of a function, counted as a JSON string: a list without `limit` is cut below it.
    reply_bytes: u64,
    /// The largest `limit` of a list.
    list_tickets: u64,
    /// The most tickets that a list may be asked for by their ids.
    list_ids: u64,
    /// The most tickets that one request creates.
    batch_tickets: u64,
    /// The most invalid fields that an answer names.
    problem_errors: u64,
    /// The highest id of a ticket or customer.
    highest_id: u64,
    #[serde(flatten)]
    fields: FieldLimits,
    idempotency_key_characters: u64,
    /// How long an `Idempotency-Key` is remembered.
    idempotency_hours: u64,
    /// How far `Sync-Until` is behind the time of a request.
    settle_seconds: u64,
    /// How long deletions and departures are shown.
    tombstone_days: u64,
}

/// The limit of each text field that has one, as `subjectCharacters` or `usersBytes`.
#[derive(Debug)]
pub(crate) struct FieldLimits;

impl FieldLimits {
    /// The name of each limit, the kind of its field, and the longest text.
    pub(crate) fn all() -> impl Iterator<Item = (String, FieldKind, u64)> {
        TEXT_FIELDS.into_iter().filter_map(|(name, kind)| {
            Some(match kind.limit()? {
                TextLimit::Characters(most) => (format!("{name}Characters"), kind, most as u64),
                TextLimit::Bytes(most) => (format!("{name}Bytes"), kind, most as u64),
            })
        })
    }
}

impl Serialize for FieldLimits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Self::all().map(|(name, _, most)| (name, most)))
    }
}

impl<'a> TicketConfiguration<'a> {
    /// The configuration of a deployment with these presets, settle window and time to show deletions.
    pub fn new(presets: &'a Presets, settle: Duration, keep_tombstones: Duration) -> Self {
        const HOUR: u64 = 60 * 60;
        Self {
            presets: TicketPresets {
                ticket_type: presets.ticket_type.values(),
                status: presets.status.values(),
                ticket_priority: presets.priority.values(),
                owner: presets.owner.values(),
            },
            closed_statuses: presets.closed.values(),
            defaults: TicketDefaults {
                status: presets.new_status(),
                ticket_priority: presets.new_priority(),
            },
            limits: TicketLimits {
                body_bytes: MAX_BODY as u64,
                reply_bytes: MAX_REPLY as u64,
                list_tickets: MAX_LIMIT as u64,
                list_ids: MAX_IDS as u64,
                batch_tickets: MOST_ROWS as u64,
                problem_errors: MOST_VIOLATIONS as u64,
                highest_id: MAX_SAFE_INTEGER,
                fields: FieldLimits,
                idempotency_key_characters: KEY_CHARACTERS as u64,
                idempotency_hours: KEPT.as_secs() / HOUR,
                settle_seconds: settle.as_secs(),
                tombstone_days: keep_tombstones.as_secs() / (24 * HOUR),
            },
        }
    }
}
