//! The parameters of a list: the one list of them. [`ListQuery`](super::ListQuery) parses them and repeats them in the
//! `Link`, the description of the API is made from them, and tests compare README and the command's flags with them.

use std::borrow::Cow;

use tickets_domain::Presets;
use tickets_domain::preset::Preset;

/// A parameter of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    Id,
    IdAfter,
    CreatedSince,
    UpdatedSince,
    UpdatedUntil,
    Limit,
    IncludeDeleted,
    Settled,
    Open,
    Status,
    TicketType,
    TicketPriority,
    Owner,
    FollowupUntil,
    ActionUntil,
    Continuation,
}

/// What a parameter takes, and what it is for.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    pub name: &'static str,
    pub value: Value,
    pub purpose: Purpose,
    pub description: &'static str,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    Integer,
    Time,
    /// The last instant of a date, or a time.
    DueDate,
    Limit,
    /// `true` or `false`; absent means `false`.
    Flag,
    /// `true` or `false`; absent means both.
    TrueOrFalse,
    /// One or more ids of tickets.
    Ids,
    /// One or more values of a preset.
    AnyOf(fn(&Presets) -> Cow<'_, Preset>),
    /// A text that only the service understands.
    Opaque,
}

/// What a parameter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Tickets whose ids the caller knows.
    Known,
    /// A page, or a pass of a sync.
    Paging,
    /// A work queue that an index of statuses can find.
    Status,
    /// A work queue that no index can find: it needs another filter beside it.
    Queue,
}

impl Parameter {
    /// All parameters, in the order in which they are described and repeated.
    pub const ALL: [Self; 16] = [
        Self::Id,
        Self::IdAfter,
        Self::CreatedSince,
        Self::UpdatedSince,
        Self::UpdatedUntil,
        Self::Limit,
        Self::IncludeDeleted,
        Self::Settled,
        Self::Open,
        Self::Status,
        Self::TicketType,
        Self::TicketPriority,
        Self::Owner,
        Self::FollowupUntil,
        Self::ActionUntil,
        Self::Continuation,
    ];

    pub const fn name(self) -> &'static str {
        self.spec().name
    }

    /// Whether it is one of the work-queue filters.
    pub const fn is_filter(self) -> bool {
        match self.spec().purpose {
            Purpose::Known | Purpose::Paging => false,
            Purpose::Status | Purpose::Queue => true,
        }
    }

    pub const fn spec(self) -> Spec {
        match self {
            Self::Id => Spec {
                name: "id",
                value: Value::Ids,
                purpose: Purpose::Known,
                description: "Only these tickets; one that does not exist, or may not be seen, is absent",
            },
            Self::IdAfter => Spec {
                name: "idAfter",
                value: Value::Integer,
                purpose: Purpose::Paging,
                description: "Only higher ids",
            },
            Self::CreatedSince => Spec {
                name: "createdSince",
                value: Value::Time,
                purpose: Purpose::Paging,
                description: "Only tickets created then or later",
            },
            Self::UpdatedSince => Spec {
                name: "updatedSince",
                value: Value::Time,
                purpose: Purpose::Paging,
                description: "Only tickets changed then or later",
            },
            Self::UpdatedUntil => Spec {
                name: "updatedUntil",
                value: Value::Time,
                purpose: Purpose::Paging,
                description: "Only tickets last changed then or earlier",
            },
            Self::Limit => Spec {
                name: "limit",
                value: Value::Limit,
                purpose: Purpose::Paging,
                description: "At most so many; as many as fit if not said",
            },
            Self::IncludeDeleted => Spec {
                name: "includeDeleted",
                value: Value::Flag,
                purpose: Purpose::Paging,
                description: "Also what is left of deleted tickets and, in a customer's list, which have moved to \
                    another customer",
            },
            Self::Settled => Spec {
                name: "settled",
                value: Value::Flag,
                purpose: Purpose::Paging,
                description: "Hold back what is fresher than `Sync-Until`, for clients that remember the greatest \
                    `updatedDate` they saw; follow the `Link` from page to page",
            },
            Self::Open => Spec {
                name: "open",
                value: Value::TrueOrFalse,
                purpose: Purpose::Status,
                description: "`true`: only tickets whose status is not a closed one; `false`: only closed ones",
            },
            Self::Status => Spec {
                name: "status",
                value: Value::AnyOf(|presets| Cow::Owned(presets.any_status())),
                purpose: Purpose::Status,
                description: "Only tickets with one of these statuses",
            },
            Self::TicketType => Spec {
                name: "ticketType",
                value: Value::AnyOf(|presets| Cow::Borrowed(&presets.ticket_type)),
                purpose: Purpose::Queue,
                description: "Only tickets of one of these types",
            },
            Self::TicketPriority => Spec {
                name: "ticketPriority",
                value: Value::AnyOf(|presets| Cow::Borrowed(&presets.priority)),
                purpose: Purpose::Queue,
                description: "Only tickets of one of these priorities",
            },
            Self::Owner => Spec {
                name: "owner",
                value: Value::AnyOf(|presets| Cow::Borrowed(&presets.owner)),
                purpose: Purpose::Queue,
                description: "Only tickets with one of these owners",
            },
            Self::FollowupUntil => Spec {
                name: "followupUntil",
                value: Value::DueDate,
                purpose: Purpose::Queue,
                description: "Only tickets whose follow-up date is then or earlier; a date means the whole day",
            },
            Self::ActionUntil => Spec {
                name: "actionUntil",
                value: Value::DueDate,
                purpose: Purpose::Queue,
                description: "Only tickets whose action date is then or earlier; a date means the whole day",
            },
            Self::Continuation => Spec {
                name: "continuation",
                value: Value::Opaque,
                purpose: Purpose::Paging,
                description: "Opaque; comes with a `Link` and spares the next page what this one found out",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_is_in_the_list_of_all() {
        // The places differ from one that is missing on.
        assert_eq!(Parameter::ALL.map(|parameter| parameter as usize), std::array::from_fn(|place| place));
        assert_eq!(Parameter::ALL.last(), Some(&Parameter::Continuation), "the last one of the enum");
    }
}
