//! Creates tickets: reserve an id, set the dates, put the ticket if nothing is under its id. No step can
//! conflict with another create.
//!
//! With an `Idempotency-Key`, a *claim* is put before the ticket: an item under the key that names the id. A
//! request that finds another's claim looks for its ticket. If the ticket exists, it is the answer. If not,
//! its writer is slow or dead: the request puts a *void* under the claimed id if nothing is there. Void and
//! ticket cannot both exist: one conditional put decides, never a clock. After the void the id is dead for
//! good, and the claim may be taken over with a new id. So no order of events makes two tickets from one key.

use std::time::Duration;

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tickets_domain::idempotency::{self, Fingerprint, Idempotency};
use tickets_domain::{Error, KeyId, Result, Ticket, TicketFields, TicketId, Timestamp, Visibility};

use crate::backoff::Backoff;
use crate::client::WRITE_DEADLINE;
use crate::ids::Reservation;
use crate::item::{self, Expiry, Item, Origin, WriteId, millis};
use crate::primary_key::PrimaryKey;
use crate::tickets::Tickets;
use crate::write::{Condition, Outcome, Put};

/// How long a repeated request waits for the ticket of the first one before it puts a void. A create takes
/// milliseconds.
const CLAIM_WAIT: Duration = Duration::from_millis(250);

/// How long a failed create tries to put a void under its id.
const GIVING_UP: Duration = Duration::from_millis(500);

/// How many rows of a batch are written at the same time: each takes a connection.
const SIDE_BY_SIDE: usize = 16;

/// The result of a create.
#[derive(Debug)]
pub struct Created {
    /// The ticket, as it was created.
    pub ticket: Ticket,
    /// Whether an earlier request with the same idempotency key created it.
    pub replayed: bool,
}

/// A ticket with a reserved id that is not put yet.
struct Draft {
    ticket: Ticket,
    write_id: WriteId,
    /// The write id of the void that takes the ticket's place if the put fails.
    void_id: WriteId,
    previous_reserved: Option<Timestamp>,
}

/// The state of an id that was given up.
enum Id {
    /// There will never be a ticket under it.
    Dead,
    /// The ticket had been written before.
    Taken,
}

/// A claim: a request with this idempotency key uses this id.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ClaimItem {
    bucket: String,
    id: u64,
    /// The claimed ticket id.
    ticket: u64,
    /// The ticket's `createdDate`.
    #[serde(with = "millis")]
    created: Timestamp,
    fingerprint: Fingerprint,
    writer: WriteId,
    expires: Expiry,
}

/// The state of a claim.
enum Claimed {
    /// Its ticket exists, or did.
    Created,
    /// Its id is dead: there will never be a ticket.
    Void,
}

impl Tickets {
    /// Creates a ticket; with `request`, only if that request did not take effect before.
    ///
    /// # Errors
    /// [`Error::OtherCustomer`]; [`Error::IdempotencyKeyReused`] if the request took effect with other
    /// fields. After the write deadline: [`Error::Throttled`], [`Error::Unavailable`] or
    /// [`Error::IdempotencyKeyInUse`] if there is no ticket; [`Error::Undecided`] if there may be one.
    pub async fn create(
        &self,
        by: &KeyId,
        visibility: Visibility,
        fields: &TicketFields,
        request: Option<&Idempotency>,
    ) -> Result<Created> {
        let mut backoff = Backoff::within(WRITE_DEADLINE);
        let claim = self.look(visibility, fields, request).await?;
        match request {
            Some(request) => self.create_claimed(by, fields, request, claim, None, &mut backoff).await,
            None => self.create_unclaimed(by, fields, None, &mut backoff).await,
        }
    }

    /// Creates several tickets, with one reservation for all new ones and concurrent puts. Returns a result
    /// for each row, in order, as [`Tickets::create`] gives it.
    pub async fn create_all(
        &self,
        by: &KeyId,
        visibility: Visibility,
        rows: &[(TicketFields, Option<Idempotency>)],
    ) -> Vec<Result<Created>> {
        // All rows share one deadline.
        let mut backoff = Backoff::within(WRITE_DEADLINE);
        let looks = rows.iter().map(|(fields, request)| self.look(visibility, fields, request.as_ref()));
        let looks = side_by_side(looks.collect()).await;
        let new = rows.iter().zip(&looks).filter(|(_, look)| matches!(look, Ok(None)));
        let new: Vec<_> = new.map(|((fields, _), _)| fields).collect();
        // If this fails, each row reserves its own id, and returns its own error.
        let mut drafts = self.drafts(by, &new, &mut backoff).await.unwrap_or_default().into_iter();
        let creates = rows.iter().zip(looks).map(|((fields, request), look)| {
            let draft = if matches!(look, Ok(None)) { drafts.next() } else { None };
            let mut backoff = backoff.clone();
            async move {
                let claim = look?;
                match request {
                    Some(request) => {
                        self.create_claimed(by, fields, request, claim, draft, &mut backoff).await
                    }
                    None => self.create_unclaimed(by, fields, draft, &mut backoff).await,
                }
            }
        });
        side_by_side(creates.collect()).await
    }

    /// Reads the claim of a request first, so that a repeated request reserves no id that it does not need.
    async fn look(
        &self,
        visibility: Visibility,
        fields: &TicketFields,
        request: Option<&Idempotency>,
    ) -> Result<Option<ClaimItem>> {
        visibility.admit(fields.customer)?;
        match request {
            Some(request) => self.glance(PrimaryKey::claim(request)).await?.map(claim_of).transpose(),
            None => Ok(None),
        }
    }

    async fn create_unclaimed(
        &self,
        by: &KeyId,
        fields: &TicketFields,
        mut reserved: Option<Draft>,
        backoff: &mut Backoff,
    ) -> Result<Created> {
        loop {
            let draft = match reserved.take() {
                Some(draft) => draft,
                None => self.draft(by, fields, backoff).await?,
            };
            match self.put_draft(&draft, backoff).await? {
                Outcome::Written(()) => return Ok(draft.created()),
                // A fresh id is taken: somebody wrote to the table without the counter. Take the next id.
                Outcome::Refused(_) if backoff.wait().await => {}
                Outcome::Refused(_) => return Err(Error::Contended),
            }
        }
    }

    /// `claim` is the claim found for the request; `unused` is a ticket whose reserved id is not used yet.
    async fn create_claimed(
        &self,
        by: &KeyId,
        fields: &TicketFields,
        request: &Idempotency,
        mut claim: Option<ClaimItem>,
        mut unused: Option<Draft>,
        backoff: &mut Backoff,
    ) -> Result<Created> {
        loop {
            claim = claim.filter(|claim: &ClaimItem| !claim.expires.has_passed(self.clock.now()));
            if let Some(found) = &claim {
                let settled = if found.fingerprint == request.fingerprint {
                    self.await_claimed(by, found, backoff).await
                } else {
                    Err(Error::IdempotencyKeyReused)
                };
                match settled {
                    Ok(Claimed::Void) => {}
                    settled => {
                        if let Some(draft) = unused {
                            self.give_up(&draft).await;
                        }
                        return settled.and_then(|_| {
                            self.meter.add_replay();
                            replay(found, fields)
                        });
                    }
                }
            }
            let draft = match unused.take() {
                Some(draft) => draft,
                None => self.draft(by, fields, backoff).await?,
            };
            claim = match self.put_claim(request, &draft, claim.as_ref(), backoff).await {
                Ok(Outcome::Written(())) => match self.put_draft(&draft, backoff).await? {
                    Outcome::Written(()) => return Ok(draft.created()),
                    // A void refused it: another request waited for this one, and may hold the claim by now.
                    Outcome::Refused(_) => {
                        self.read(PrimaryKey::claim(request)).await?.map(claim_of).transpose()?
                    }
                },
                Ok(Outcome::Refused(found)) => {
                    unused = Some(draft);
                    found.map(claim_of).transpose()?
                }
                Err(error) => {
                    // The claim may have been written. A dead id tells whoever finds it that there is no
                    // ticket.
                    let dead = self.give_up(&draft).await.is_some();
                    return Err(if dead { no_effect(error) } else { error });
                }
            };
            if !backoff.wait().await {
                if let Some(draft) = unused {
                    self.give_up(&draft).await;
                }
                return Err(Error::IdempotencyKeyInUse);
            }
        }
    }

    /// Reserves an id for a ticket, and then sets its dates. A list that ends at an open id relies on this
    /// order: whatever it leaves out is dated later than that id's reservation.
    async fn draft(&self, by: &KeyId, fields: &TicketFields, backoff: &mut Backoff) -> Result<Draft> {
        let drafts = self.drafts(by, &[fields], backoff).await?;
        drafts.into_iter().next().ok_or_else(|| Error::internal("a reservation of no id"))
    }

    /// Like [`Tickets::draft`], for several tickets with consecutive ids.
    async fn drafts(
        &self,
        by: &KeyId,
        fields: &[&TicketFields],
        backoff: &mut Backoff,
    ) -> Result<Vec<Draft>> {
        if fields.is_empty() {
            return Ok(Vec::new());
        }
        let Reservation { first, previous_reserved, reserved } =
            self.reserve(fields.len() as u64, backoff).await?;
        let now = self.clock.now();
        let draft = |(id, fields): (u64, &&TicketFields)| {
            let previous_reserved = if id == first { previous_reserved } else { Some(reserved) };
            let ticket = Ticket::new(item::ticket_id(id)?, (*fields).clone(), now);
            Ok(Draft { ticket, write_id: WriteId::new(by), void_id: WriteId::new(by), previous_reserved })
        };
        (first..).zip(fields).map(draft).collect()
    }

    /// Puts the ticket if nothing is under its id. If that fails, gives up the id.
    async fn put_draft(&self, draft: &Draft, backoff: &mut Backoff) -> Result<Outcome<()>> {
        let put = Put {
            key: PrimaryKey::ticket(draft.ticket.id),
            item: item::ticket_item(
                &draft.ticket,
                &Origin::first(draft.write_id.clone(), draft.previous_reserved),
            )?,
            write_id: draft.write_id.clone(),
            condition: Condition::Absent,
        };
        let error = match self.put(&put, backoff).await {
            Ok(Outcome::Refused(Some(found))) if draft.is_in(&found) => return Ok(Outcome::Written(())),
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        match self.give_up(draft).await {
            Some(Id::Dead) => Err(no_effect(error)),
            Some(Id::Taken) => Ok(Outcome::Written(())),
            None => Err(error),
        }
    }

    /// Puts a void in the ticket's place, so that nobody waits for the ticket. This also tells how a put
    /// without an answer ended: void and ticket cannot both exist. `None`: the database did not tell.
    async fn give_up(&self, draft: &Draft) -> Option<Id> {
        let mut backoff = Backoff::within(GIVING_UP);
        let void =
            self.put_void(draft.ticket.id, &draft.void_id, draft.previous_reserved, &mut backoff).await;
        match void.ok()? {
            Outcome::Written(()) => Some(Id::Dead),
            Outcome::Refused(found) => {
                let own = found.is_some_and(|found| draft.is_in(&found));
                Some(if own { Id::Taken } else { Id::Dead })
            }
        }
    }

    async fn put_void(
        &self,
        id: TicketId,
        write_id: &WriteId,
        previous_reserved: Option<Timestamp>,
        backoff: &mut Backoff,
    ) -> Result<Outcome<()>> {
        let now = self.clock.now();
        let put = Put {
            key: PrimaryKey::ticket(id),
            // Keep it as long as a claim that may lead to it.
            item: item::void_item(
                id,
                &Origin::first(write_id.clone(), previous_reserved),
                now,
                idempotency::KEPT,
            )?,
            write_id: write_id.clone(),
            condition: Condition::Absent,
        };
        self.put(&put, backoff).await
    }

    /// Claims the draft's id for the request; replaces `claim` if there was one.
    async fn put_claim(
        &self,
        request: &Idempotency,
        draft: &Draft,
        claim: Option<&ClaimItem>,
        backoff: &mut Backoff,
    ) -> Result<Outcome<()>> {
        let key = PrimaryKey::claim(request);
        let created = draft.ticket.created;
        let item = ClaimItem {
            bucket: key.bucket.clone(),
            id: key.id,
            ticket: draft.ticket.id.get(),
            created,
            fingerprint: request.fingerprint,
            writer: draft.write_id.clone(),
            expires: Expiry::after(created, idempotency::KEPT),
        };
        let condition = match claim {
            Some(claim) => Condition::Claim(item::ticket_id(claim.ticket)?),
            None => Condition::AbsentOrExpired(created),
        };
        let put = Put { key, item: item::to_item(item)?, write_id: draft.write_id.clone(), condition };
        self.put(&put, backoff).await
    }

    /// Waits a moment for the ticket of a claim; then makes sure, by a void, that it will never come.
    async fn await_claimed(&self, by: &KeyId, claim: &ClaimItem, backoff: &mut Backoff) -> Result<Claimed> {
        let id = item::ticket_id(claim.ticket)?;
        let mut wait = Backoff::waiting(CLAIM_WAIT);
        loop {
            if let Some(found) = self.read(PrimaryKey::ticket(id)).await? {
                return Ok(claimed(claim, &found));
            }
            if !wait.wait().await {
                break;
            }
        }
        match self.put_void(id, &WriteId::new(by), None, backoff).await? {
            Outcome::Written(()) => Ok(Claimed::Void),
            Outcome::Refused(Some(found)) => Ok(claimed(claim, &found)),
            // The item that refused the void has gone since: nothing tells what it was.
            Outcome::Refused(None) => Err(Error::IdempotencyKeyInUse),
        }
    }
}

impl Draft {
    /// Whether an item is this ticket, in any version: after a lost answer, others may have changed or
    /// deleted it.
    fn is_in(&self, found: &Item) -> bool {
        item::created(found) == Some(self.ticket.created)
    }

    fn created(self) -> Created {
        Created { ticket: self.ticket, replayed: false }
    }
}

/// Runs futures concurrently, and returns their results in order.
async fn side_by_side<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    stream::iter(futures).buffered(SIDE_BY_SIDE).collect().await
}

fn claim_of(item: Item) -> Result<ClaimItem> {
    item::from_item(item)
}

/// The state of a claim, by the item under its id.
fn claimed(claim: &ClaimItem, found: &Item) -> Claimed {
    // A ticket with another date is not the claim's: somebody wrote to the table without the counter.
    if item::created(found) == Some(claim.created) { Claimed::Created } else { Claimed::Void }
}

/// Answers a repeated request as the first one: the same fields, id and date make the same ticket.
fn replay(claim: &ClaimItem, fields: &TicketFields) -> Result<Created> {
    let ticket = Ticket::new(item::ticket_id(claim.ticket)?, fields.clone(), claim.created);
    Ok(Created { ticket, replayed: true })
}

/// Turns "undecided" into "unavailable": the write is now known to have had no effect.
fn no_effect(error: Error) -> Error {
    match error {
        Error::Undecided(cause) => Error::Unavailable(cause),
        error => error,
    }
}
