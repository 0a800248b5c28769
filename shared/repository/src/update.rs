//! Updates and deletions: read, decide, and write if the version has not changed since.

use tickets_domain::precondition::Preconditions;
use tickets_domain::{
    Departure, Error, KeyId, Record, Result, Tag, TaggedTicket, Ticket, TicketChange, TicketId, Timestamp,
    Visibility,
};

use crate::backoff::Backoff;
use crate::item::{self, WriteId, WriteMetadata};
use crate::primary_key::PrimaryKey;
use crate::tickets::{Tickets, visible};
use crate::write::{Condition, Outcome, Put, WRITE_DEADLINE, side_by_side};

impl Tickets {
    /// Changes a ticket that the caller may see and that the preconditions admit. `change` returns the new
    /// ticket, or `None` to leave it as it is; it may be called several times.
    ///
    /// # Errors
    /// [`Error::NotFound`], those of [`Preconditions::check_change`], [`Error::OtherCustomer`], the errors of
    /// `change`. After the write deadline: [`Error::Contended`] or [`Error::Throttled`]; [`Error::Undecided`] if it may
    /// have taken effect.
    pub async fn update(
        &self,
        id: TicketId,
        by: &KeyId,
        visibility: Visibility,
        preconditions: &Preconditions,
        change: impl Fn(&Ticket, Timestamp) -> Result<Option<Ticket>>,
    ) -> Result<TaggedTicket> {
        let mut backoff = Backoff::within(WRITE_DEADLINE);
        self.update_within(id, by, visibility, preconditions, change, &mut backoff).await
    }

    /// Changes several tickets concurrently. Returns a result for each row, in order, as [`Tickets::update`] gives it.
    /// A row that was refused before keeps its error.
    pub async fn update_all(
        &self,
        by: &KeyId,
        visibility: Visibility,
        rows: Vec<Result<TicketChange>>,
    ) -> Vec<Result<TaggedTicket>> {
        // All rows share one deadline. One whose turn comes after it is not even read.
        let deadline = Backoff::within(WRITE_DEADLINE);
        let updates = rows.into_iter().map(async |row| {
            let TicketChange { id, preconditions, input } = row?;
            let mut backoff = deadline.clone();
            if backoff.is_over() {
                return Err(Error::Contended);
            }
            let apply = |ticket: &Ticket, now| input.apply(ticket, now);
            self.update_within(id, by, visibility, &preconditions, apply, &mut backoff).await
        });
        side_by_side(updates.collect()).await
    }

    async fn update_within(
        &self,
        id: TicketId,
        by: &KeyId,
        visibility: Visibility,
        preconditions: &Preconditions,
        change: impl Fn(&Ticket, Timestamp) -> Result<Option<Ticket>>,
        backoff: &mut Backoff,
    ) -> Result<TaggedTicket> {
        let changed = |ticket: &Ticket, now| {
            let changed = change(ticket, now)?;
            if let Some(changed) = &changed {
                visibility.admit(changed.fields.customer)?;
            }
            Ok(Record::Live(changed.unwrap_or_else(|| ticket.clone())))
        };
        let (record, tag) = self.replace(id, by, visibility, preconditions, changed, backoff).await?;
        Ok(TaggedTicket { ticket: record.live().ok_or(Error::NotFound)?, tag })
    }

    /// Deletes a ticket that the caller may see and that the preconditions admit. Fails as [`Tickets::update`]
    /// does.
    pub async fn delete(
        &self,
        id: TicketId,
        by: &KeyId,
        visibility: Visibility,
        preconditions: &Preconditions,
    ) -> Result<()> {
        let deleted = |ticket: &Ticket, now| Ok(Record::Deleted(ticket.delete(now)));
        let mut backoff = Backoff::within(WRITE_DEADLINE);
        self.replace(id, by, visibility, preconditions, deleted, &mut backoff).await.map(drop)
    }

    /// Returns the record as it is then, and the tag of that version.
    async fn replace(
        &self,
        id: TicketId,
        by: &KeyId,
        visibility: Visibility,
        preconditions: &Preconditions,
        decide: impl Fn(&Ticket, Timestamp) -> Result<Record>,
        backoff: &mut Backoff,
    ) -> Result<(Record, Tag)> {
        let mut found = self.read(PrimaryKey::ticket(id)).await?;
        loop {
            let found_item = found.ok_or(Error::NotFound)?;
            let stored = item::stored(found_item)?;
            let previous_writer = stored.writer.clone();
            let (previous_reserved, customer_since) = (stored.previous_reserved, stored.customer_since);
            let TaggedTicket { ticket: current, tag } = visible(stored, visibility)?;
            preconditions.check_change(tag)?;
            let next = decide(&current, self.clock.now())?;
            let write_id = WriteId::new(by);
            let moves = next.key().customer != current.fields.customer;
            let metadata = WriteMetadata {
                writer: write_id.clone(),
                previous_writer,
                previous_reserved,
                customer_since: if moves { Some(current.version.next()) } else { customer_since },
                source: None,
            };
            let item = match &next {
                Record::Live(next) if *next == current => return Ok((Record::Live(current), tag)),
                Record::Live(next) => {
                    self.announce_departure(by, &current, next, backoff).await?;
                    item::ticket_item(next, &metadata)?
                }
                Record::Deleted(tombstone) => {
                    item::tombstone_item(tombstone, metadata, self.settings.keep_tombstones)?
                }
                Record::Departed(_) => return Err(Error::internal("a departure is no version of a ticket")),
            };
            let tag = write_id.tag(current.version.next())?;
            let condition = Condition::Version(current.version);
            let put = Put { key: PrimaryKey::ticket(id), item, write_id, condition };
            match self.put(&put, backoff).await? {
                Outcome::Written(()) => return Ok((next, tag)),
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
            item: item::departure_item(&departure, &write_id, self.settings.keep_tombstones)?,
            write_id,
            // A later departure is as good: a slow mover must not replace it by an older date.
            condition: Condition::Older(departure.updated),
        };
        match self.put(&put, backoff).await? {
            Outcome::Written(()) | Outcome::Refused(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde_json::{Value, json};
    use tickets_domain::TicketFields;
    use tokio::time::Instant;

    use super::*;
    use crate::scripted::{self, Answer, Calls, NOW, condition_failed, lost, ok};

    /// A ticket of customer 1 in this version.
    fn ticket(version: u64) -> Value {
        let (number, time) = (json!({"N": version.to_string()}), json!({"N": NOW.to_string()}));
        json!({
            "bucket": {"S": "0#1"}, "id": {"N": "1"}, "customerID": {"N": "1"}, "subject": {"S": "s"},
            "createdDate": time, "updatedDate": time, "version": number,
            "writer": {"S": format!("a.{version}")}, "previousReserved": {"N": "5"},
        })
    }

    /// Moves ticket 1, in version 3, to customer 2.
    async fn moved(put: impl Fn(&Value) -> Answer + Send + Sync + 'static) -> (Result<TaggedTicket>, Calls) {
        let (tickets, calls) = scripted::tickets(move |operation, input| match operation {
            "PutItem" => put(&input["Item"]),
            _ => ok(json!({"Item": ticket(3)})),
        });
        let change = |ticket: &Ticket, _| {
            let fields =
                TicketFields { customer: 2.try_into().map_err(Error::internal)?, ..ticket.fields.clone() };
            Ok(Some(Ticket { fields, version: ticket.version.next(), ..ticket.clone() }))
        };
        let by = "writer".parse().unwrap();
        let updated =
            tickets.update(TicketId::FIRST, &by, Visibility::All, &Preconditions::default(), change).await;
        (updated, calls)
    }

    #[tokio::test(start_paused = true)]
    async fn a_move_is_announced_and_keeps_what_is_known_of_the_ticket() {
        let (updated, calls) = moved(|_| ok(json!({}))).await;
        assert_eq!(updated.unwrap().tag.version().get(), 4);
        let puts = calls.of("PutItem");
        assert_eq!(puts.len(), 2);
        assert_eq!(puts[0]["Item"]["customerID"], json!({"N": "1"}), "it leaves this one");
        let item = &puts[1]["Item"];
        assert_eq!((&item["customerID"], &item["customerSince"]), (&json!({"N": "2"}), &json!({"N": "4"})));
        assert_eq!(
            (&item["previousWriter"], &item["previousReserved"]),
            (&json!({"S": "a.3"}), &json!({"N": "5"}))
        );
        assert_eq!(puts[1]["ExpressionAttributeValues"], json!({":value": {"N": "3"}}));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_that_others_keep_changing_is_contended_at_the_deadline() {
        let version = AtomicU64::new(3);
        let began = Instant::now();
        let (updated, calls) = moved(move |item| match item.get("version") {
            Some(_) => condition_failed(ticket(version.fetch_add(1, Ordering::Relaxed) + 1)),
            None => ok(json!({})),
        })
        .await;
        assert!(matches!(updated, Err(Error::Contended)));
        assert!(calls.of("PutItem").len() > 10 && Instant::now() - began <= WRITE_DEADLINE);
        assert_eq!(calls.of("GetItem").len(), 1, "what refused it is not read again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_departure_that_a_later_one_refuses_is_as_good_and_one_without_an_answer_is_not() {
        let departure = |answer: fn() -> Answer| {
            moved(move |item| if item.get("version").is_none() { answer() } else { ok(json!({})) })
        };
        let (updated, calls) = departure(|| condition_failed(json!({"writer": {"S": "b.1"}}))).await;
        assert!(updated.is_ok() && calls.of("PutItem").len() == 2);
        let (updated, calls) = departure(lost).await;
        assert!(updated.is_err());
        assert!(calls.of("PutItem").iter().all(|put| put["Item"].get("version").is_none()));
    }
}
