//! Updates and deletions: read, decide, and write if the version has not changed since.

use tickets_domain::id::Precondition;
use tickets_domain::{Departure, Error, KeyId, Record, Result, Ticket, TicketId, Timestamp, Visibility};

use crate::backoff::Backoff;
use crate::client::WRITE_DEADLINE;
use crate::item::{self, Origin, WriteId};
use crate::primary_key::PrimaryKey;
use crate::tickets::{Tickets, visible};
use crate::write::{Condition, Outcome, Put};

impl Tickets {
    /// Changes a ticket that the caller may see and that `precondition` admits. `change` returns the new
    /// ticket, or `None` to leave it as it is; it may be called several times.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::VersionMismatch`], [`Error::OtherCustomer`], the errors of `change`.
    /// After the write deadline: [`Error::Contended`] or [`Error::Throttled`]; [`Error::Undecided`] if it may
    /// have taken effect.
    pub async fn update(
        &self,
        id: TicketId,
        by: &KeyId,
        visibility: Visibility,
        precondition: &Precondition,
        change: impl Fn(&Ticket, Timestamp) -> Result<Option<Ticket>>,
    ) -> Result<Ticket> {
        let changed = |ticket: &Ticket, now| {
            let changed = change(ticket, now)?;
            if let Some(changed) = &changed {
                visibility.admit(changed.fields.customer)?;
            }
            Ok(Record::Live(changed.unwrap_or_else(|| ticket.clone())))
        };
        self.replace(id, by, visibility, precondition, changed).await?.live().ok_or(Error::NotFound)
    }

    /// Deletes a ticket that the caller may see and that `precondition` admits. Fails as [`Tickets::update`]
    /// does.
    pub async fn delete(
        &self,
        id: TicketId,
        by: &KeyId,
        visibility: Visibility,
        precondition: &Precondition,
    ) -> Result<()> {
        let deleted = |ticket: &Ticket, now| Ok(Record::Deleted(ticket.delete(now)));
        self.replace(id, by, visibility, precondition, deleted).await.map(drop)
    }

    async fn replace(
        &self,
        id: TicketId,
        by: &KeyId,
        visibility: Visibility,
        precondition: &Precondition,
        decide: impl Fn(&Ticket, Timestamp) -> Result<Record>,
    ) -> Result<Record> {
        let mut backoff = Backoff::within(WRITE_DEADLINE);
        let mut found = self.read(PrimaryKey::ticket(id)).await?;
        loop {
            let found_item = found.ok_or(Error::NotFound)?;
            let previous_writer = WriteId::of(&found_item);
            let stored = item::stored(found_item)?;
            let (previous_reserved, customer_since) = (stored.previous_reserved, stored.customer_since);
            let current = visible(stored, visibility)?;
            if !precondition.admits(current.version) {
                return Err(Error::VersionMismatch);
            }
            let next = decide(&current, self.clock.now())?;
            let write_id = WriteId::new(by);
            let moves = next.key().customer != current.fields.customer;
            let origin = Origin {
                writer: write_id.clone(),
                previous_writer,
                previous_reserved,
                customer_since: if moves { Some(current.version.next()) } else { customer_since },
            };
            let item = match &next {
                Record::Live(next) if *next == current => return Ok(Record::Live(current)),
                Record::Live(next) => {
                    self.announce_departure(by, &current, next, &mut backoff).await?;
                    item::ticket_item(next, &origin)?
                }
                Record::Deleted(tombstone) => {
                    item::tombstone_item(tombstone, origin, self.policy.keep_tombstones)?
                }
                Record::Departed(_) => return Err(Error::internal("a departure is no version of a ticket")),
            };
            let condition = Condition::Version(current.version);
            let put = Put { key: PrimaryKey::ticket(id), item, write_id, condition };
            match self.put(&put, &mut backoff).await? {
                Outcome::Written(()) => return Ok(next),
                // The item that refused the write is the current one: no need to read it again.
                Outcome::Refused(now_there) => found = now_there,
            }
            if !backoff.wait().await {
                return Err(Error::Contended);
            }
        }
    }

    /// If the ticket is about to move, first writes that it leaves its customer. Whoever copies that
    /// customer's tickets must not miss it if the mover dies in between. Readers ignore it while the ticket
    /// still is that customer's.
    async fn announce_departure(
        &self,
        by: &KeyId,
        current: &Ticket,
        next: &Ticket,
        backoff: &mut Backoff,
    ) -> Result<()> {
        let Some(departure) = Departure::of(current, next) else { return Ok(()) };
        let write_id = WriteId::new(by);
        let put = Put {
            key: PrimaryKey::departure(departure.id, departure.customer),
            item: item::departure_item(&departure, &write_id, self.policy.keep_tombstones)?,
            write_id,
            // A later departure is as good: a slow mover must not replace it by an older date.
            condition: Condition::Older(departure.updated),
        };
        match self.put(&put, backoff).await? {
            Outcome::Written(()) | Outcome::Refused(_) => Ok(()),
        }
    }
}
