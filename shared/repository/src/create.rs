//! Creates tickets: reserve an id, set the dates, put the ticket if nothing is under its id. No step can
//! conflict with another create.
//!
//! With an `Idempotency-Key`, a *claim* is put before the ticket: an item under the key that names the id. A
//! request that finds another's claim looks for its ticket. If the ticket exists, it is the answer. If not,
//! its writer is slow or dead: the request puts a *void* under the claimed id if nothing is there. Void and
//! ticket cannot both exist: one conditional put decides, never a clock. After the void the id is dead for
//! good, and the claim may be taken over with a new id. So no order of events makes two tickets from one key.
//!
//! A claim is looked up before the body is checked against the presets of today, because a deployment may have
//! changed them since the first request. It keeps what the service had filled in, so that a replay is the first answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tickets_domain::idempotency::{self, Fingerprint, Idempotency};
use tickets_domain::preset::Choices;
use tickets_domain::{
    Error, KeyId, NewTicket, Result, TaggedTicket, Ticket, TicketFields, TicketId, Timestamp, Visibility,
};

use crate::backoff::Backoff;
use crate::ids::Reservation;
use crate::item::{self, Expiry, Item, WriteId, WriteMetadata, millis};
use crate::primary_key::PrimaryKey;
use crate::tickets::Tickets;
use crate::write::{Condition, Outcome, Put, WRITE_DEADLINE, side_by_side};

/// How long a repeated request waits for the ticket of the first one before it puts a void. A create takes
/// milliseconds.
const CLAIM_WAIT: Duration = Duration::from_millis(250);

/// How long a failed create tries to put a void under its id.
const GIVING_UP: Duration = Duration::from_millis(500);

/// The result of a create.
#[derive(Debug)]
pub struct Created {
    /// The ticket, as it was created.
    pub ticket: TaggedTicket,
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
    /// What the service filled in. Claims of earlier releases, which are kept for a day, lack it.
    #[serde(rename = "filledIn", default, skip_serializing_if = "Option::is_none")]
    filled_in: Option<Choices>,
    /// The write that puts the ticket.
    writer: WriteId,
    expires: Expiry,
}

/// How far a request with an idempotency key has come.
enum Claiming {
    /// Another request holds the key: wait for its ticket, or make sure that there will be none.
    Found(ClaimItem),
    /// The key can be claimed. A claim whose id is dead is replaced.
    Free { dead: Option<ClaimItem> },
    /// This request holds the key for its draft: put the ticket.
    Held(Box<Draft>),
    /// Another request was faster: look again at the claim that is there now.
    Lost(Option<ClaimItem>),
}

/// What has become of another request's claim.
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
    /// [`Error::OtherCustomer`]; [`Error::InvalidFields`] if the presets of today refuse it, and it was not created
    /// before; [`Error::IdempotencyKeyReused`] if the request took effect with other fields. After the write
    /// deadline: [`Error::Throttled`], [`Error::Unavailable`] or [`Error::IdempotencyKeyInUse`] if there is no ticket;
    /// [`Error::Undecided`] if there may be one.
    pub async fn create(
        &self,
        by: &KeyId,
        visibility: Visibility,
        new: &NewTicket,
        request: Option<&Idempotency>,
    ) -> Result<Created> {
        let mut backoff = Backoff::within(WRITE_DEADLINE);
        let claim = self.look(visibility, new, request).await?;
        match request {
            Some(request) => self.create_claimed(by, new, request, claim, None, &mut backoff).await,
            None => self.create_unclaimed(by, new.fields()?, None, &mut backoff).await,
        }
    }

    /// Creates several tickets, with one reservation for all new ones and concurrent puts. Returns a result
    /// for each row, in order, as [`Tickets::create`] gives it. A row that was refused before keeps its error.
    pub async fn create_all(
        &self,
        by: &KeyId,
        visibility: Visibility,
        rows: &[Result<(NewTicket, Option<Idempotency>)>],
    ) -> Vec<Result<Created>> {
        // All rows share one deadline.
        let mut backoff = Backoff::within(WRITE_DEADLINE);
        let looks = rows.iter().map(async |row| {
            let (new, request) = row.as_ref().map_err(Error::clone)?;
            self.look(visibility, new, request.as_ref()).await
        });
        let looks = side_by_side(looks.collect()).await;
        let unclaimed = rows.iter().zip(&looks).filter(|(_, look)| matches!(look, Ok(None)));
        let unclaimed: Vec<_> = unclaimed.filter_map(|(row, _)| row.as_ref().ok()?.0.fields().ok()).collect();
        let mut drafts = self.drafts(by, &unclaimed, &mut backoff).await.map(Vec::into_iter);
        let creates = rows.iter().zip(looks).map(|(row, look)| {
            let draft = match (&look, &mut drafts) {
                (Ok(None), Ok(drafts)) => Ok(drafts.next()),
                // The reservation was made for every new row, and so its error is that of each.
                (Ok(None), Err(error)) => Err(error.clone()),
                (Ok(Some(_)) | Err(_), _) => Ok(None),
            };
            let mut backoff = backoff.clone();
            async move {
                let (claim, draft) = (look?, draft?);
                let (new, request) = row.as_ref().map_err(Error::clone)?;
                match request {
                    Some(request) => self.create_claimed(by, new, request, claim, draft, &mut backoff).await,
                    None => self.create_unclaimed(by, new.fields()?, draft, &mut backoff).await,
                }
            }
        });
        side_by_side(creates.collect()).await
    }

    /// Reads the claim of a request first, so that a repeated request reserves no id that it does not need.
    ///
    /// # Errors
    /// [`Error::OtherCustomer`]; [`Error::InvalidFields`] if there is no claim, and the presets of today refuse the
    /// ticket.
    async fn look(
        &self,
        visibility: Visibility,
        new: &NewTicket,
        request: Option<&Idempotency>,
    ) -> Result<Option<ClaimItem>> {
        visibility.admit(new.customer())?;
        let refusal = new.fields().err();
        let found = match (request, &refusal) {
            (None, _) => None,
            // A claim that this misses is found when the request puts its own.
            (Some(request), None) => self.read_eventually(PrimaryKey::claim(request)).await?,
            (Some(request), Some(_)) => self.read(PrimaryKey::claim(request)).await?,
        };
        match (found, refusal) {
            (None, Some(refusal)) => Err(refusal),
            (found, _) => found.map(claim_of).transpose(),
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
            let draft = self.draft(by, fields, reserved.take(), backoff).await?;
            match self.put_draft(&draft, backoff).await? {
                Outcome::Written(()) => return draft.created(),
                // A fresh id is taken: somebody wrote to the table without the counter. Take the next id.
                Outcome::Refused(_) if backoff.wait().await => {}
                Outcome::Refused(_) => return Err(Error::Contended),
            }
        }
    }

    /// `claim` is the claim found for the request; `reserved` a ticket whose id is reserved already.
    async fn create_claimed(
        &self,
        by: &KeyId,
        new: &NewTicket,
        request: &Idempotency,
        claim: Option<ClaimItem>,
        mut reserved: Option<Draft>,
        backoff: &mut Backoff,
    ) -> Result<Created> {
        let mut state = self.claiming(claim);
        loop {
            state = match state {
                Claiming::Found(claim) => match self.await_claimed(by, request, &claim, backoff).await {
                    Ok(Claimed::Void) => Claiming::Free { dead: Some(claim) },
                    Ok(Claimed::Created) => {
                        self.give_up_reserved(reserved).await;
                        self.dynamodb.meter().add_replay();
                        return replay(claim, new);
                    }
                    Err(error) => {
                        self.give_up_reserved(reserved).await;
                        return Err(error);
                    }
                },
                Claiming::Free { dead } => {
                    let draft = self.draft(by, new.fields()?, reserved.take(), backoff).await?;
                    match self.put_claim(request, new, &draft, dead.as_ref(), backoff).await {
                        Ok(Outcome::Written(())) => Claiming::Held(Box::new(draft)),
                        Ok(Outcome::Refused(found)) => {
                            reserved = Some(draft);
                            Claiming::Lost(found.map(claim_of).transpose()?)
                        }
                        Err(error) => {
                            // The claim may have been written. A dead id tells whoever finds it that there is
                            // no ticket.
                            let dead = self.give_up(&draft).await.is_some();
                            return Err(if dead { no_effect(error) } else { error });
                        }
                    }
                }
                Claiming::Held(draft) => match self.put_draft(&draft, backoff).await? {
                    Outcome::Written(()) => return draft.created(),
                    // A void refused it: another request waited for this one, and may hold the claim by now.
                    Outcome::Refused(_) => {
                        let found = self.read(PrimaryKey::claim(request)).await?;
                        Claiming::Lost(found.map(claim_of).transpose()?)
                    }
                },
                Claiming::Lost(claim) => {
                    if !backoff.wait().await {
                        self.give_up_reserved(reserved).await;
                        return Err(Error::IdempotencyKeyInUse);
                    }
                    self.claiming(claim)
                }
            };
        }
    }

    /// Where a request begins that found this claim.
    fn claiming(&self, claim: Option<ClaimItem>) -> Claiming {
        match claim.filter(|claim| !claim.expires.has_passed(self.clock.now())) {
            Some(claim) => Claiming::Found(claim),
            None => Claiming::Free { dead: None },
        }
    }

    async fn give_up_reserved(&self, reserved: Option<Draft>) {
        if let Some(draft) = reserved {
            self.give_up(&draft).await;
        }
    }

    /// Reserves an id for a ticket, and then sets its dates; or returns the draft that is `reserved` already. A
    /// list that ends at an open id relies on this order: whatever it leaves out is dated later than that id's
    /// reservation.
    async fn draft(
        &self,
        by: &KeyId,
        fields: &TicketFields,
        reserved: Option<Draft>,
        backoff: &mut Backoff,
    ) -> Result<Draft> {
        if let Some(draft) = reserved {
            return Ok(draft);
        }
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
                &WriteMetadata::first(draft.write_id.clone(), draft.previous_reserved),
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
                &WriteMetadata::first(write_id.clone(), previous_reserved),
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
        new: &NewTicket,
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
            filled_in: Some(new.filled_in()),
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

    /// Waits a moment for the ticket of another request's claim; then makes sure, by a void, that it will never
    /// come.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] if the other request had other content.
    async fn await_claimed(
        &self,
        by: &KeyId,
        request: &Idempotency,
        claim: &ClaimItem,
        backoff: &mut Backoff,
    ) -> Result<Claimed> {
        if claim.fingerprint != request.fingerprint {
            return Err(Error::IdempotencyKeyReused);
        }
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

    fn created(self) -> Result<Created> {
        let tag = self.write_id.tag(self.ticket.version)?;
        Ok(Created { ticket: TaggedTicket { ticket: self.ticket, tag }, replayed: false })
    }
}

fn claim_of(item: Item) -> Result<ClaimItem> {
    item::from_item(item)
}

/// The state of a claim, by the item under its id.
fn claimed(claim: &ClaimItem, found: &Item) -> Claimed {
    // A ticket with another date is not the claim's: somebody wrote to the table without the counter.
    if item::created(found) == Some(claim.created) { Claimed::Created } else { Claimed::Void }
}

/// Answers a repeated request as the first one: the same body, what was filled in, id and date make the same ticket.
fn replay(claim: ClaimItem, new: &NewTicket) -> Result<Created> {
    let fields = match claim.filled_in {
        Some(filled_in) => new.fields_with(filled_in),
        None => new.fields()?.clone(),
    };
    let ticket = Ticket::new(item::ticket_id(claim.ticket)?, fields, claim.created);
    let tag = claim.writer.tag(ticket.version)?;
    Ok(Created { ticket: TaggedTicket { ticket, tag }, replayed: true })
}

/// Turns "undecided" into "unavailable": the write is now known to have had no effect.
fn no_effect(error: Error) -> Error {
    match error {
        Error::Undecided(cause) => Error::Unavailable(cause),
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;
    use crate::scripted::{self, Answer, Calls, NOW, condition_failed, lost, ok};

    /// What a call of [`Tickets::put`] puts.
    #[derive(Debug, PartialEq)]
    enum Putting {
        Ticket,
        Void,
        Claim,
    }

    fn putting(input: &Value) -> Putting {
        match input["Item"].as_object().unwrap() {
            item if item.contains_key("ticket") => Putting::Claim,
            item if item.contains_key("voidedDate") => Putting::Void,
            _ => Putting::Ticket,
        }
    }

    fn request() -> Idempotency {
        Idempotency::new("caller".parse().unwrap(), "key".parse().unwrap(), Fingerprint::new([1; 32]))
    }

    /// A create, with these answers to puts and to reads of a claim or a ticket. The last id given is 10.
    async fn create(
        request: Option<Idempotency>,
        put: impl Fn(Putting, &Value) -> Answer + Send + Sync + 'static,
        get: impl Fn(bool) -> Answer + Send + Sync + 'static,
    ) -> (Result<Created>, Calls, Duration) {
        create_of(&scripted::new_ticket(json!({})), request, put, get).await
    }

    async fn create_of(
        new: &NewTicket,
        request: Option<Idempotency>,
        put: impl Fn(Putting, &Value) -> Answer + Send + Sync + 'static,
        get: impl Fn(bool) -> Answer + Send + Sync + 'static,
    ) -> (Result<Created>, Calls, Duration) {
        let last = Mutex::new(10);
        let (tickets, calls) = scripted::tickets(move |operation, input| match operation {
            "UpdateItem" => {
                let mut last = last.lock().unwrap();
                *last += 1;
                ok(json!({"Attributes": {"last": {"N": (*last - 1).to_string()}}}))
            }
            "PutItem" => put(putting(input), input),
            _ => get(input["Key"]["bucket"]["S"].as_str().unwrap().starts_with("claim#")),
        });
        let began = Instant::now();
        let by = "caller".parse().unwrap();
        let created = tickets.create(&by, Visibility::All, new, request.as_ref()).await;
        (created, calls, Instant::now() - began)
    }

    fn nothing(_: bool) -> Answer {
        ok(json!({}))
    }

    /// An item that was created at another time.
    fn somebody_s() -> Answer {
        condition_failed(json!({"createdDate": {"N": "5"}, "version": {"N": "1"}}))
    }

    fn count(calls: &Calls, what: Putting) -> usize {
        calls.of("PutItem").iter().filter(|input| putting(input) == what).count()
    }

    #[tokio::test(start_paused = true)]
    async fn ids_that_somebody_took_without_the_counter_are_passed_over_until_the_deadline() {
        let taken = |_: Putting, input: &Value| match input["Item"]["id"]["N"].as_str().unwrap() {
            "11" | "12" => somebody_s(),
            _ => ok(json!({})),
        };
        let (created, ..) = create(None, taken, nothing).await;
        assert_eq!(created.unwrap().ticket.id().get(), 13);
        let (created, calls, waited) = create(None, |_, _| somebody_s(), nothing).await;
        assert!(matches!(created, Err(Error::Contended)));
        assert!(count(&calls, Putting::Ticket) > 5 && waited <= WRITE_DEADLINE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_put_without_an_answer_is_decided_by_the_void() {
        let ends = async |void: fn() -> Answer| {
            let put = move |what, _: &Value| if what == Putting::Ticket { lost() } else { void() };
            create(None, put, nothing).await.0
        };
        let error = ends(|| ok(json!({}))).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "there will never be a ticket: {error:?}");
        assert!(matches!(ends(somebody_s).await, Err(Error::Unavailable(_))), "it is not this ticket");
        let own = || condition_failed(json!({"createdDate": {"N": NOW.to_string()}}));
        assert_eq!(ends(own).await.unwrap().ticket.id().get(), 11, "the ticket is there");
        assert!(matches!(ends(lost).await, Err(Error::Undecided(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_put_that_its_own_ticket_refuses_was_written() {
        let own = || condition_failed(json!({"createdDate": {"N": NOW.to_string()}, "version": {"N": "3"}}));
        let (created, calls, _) = create(None, move |_, _| own(), nothing).await;
        let created = created.unwrap();
        assert_eq!((created.ticket.id().get(), created.replayed), (11, false));
        assert_eq!(calls.of("PutItem").len(), 1);
    }

    /// A claim of id 7, of this request or another one.
    fn claim(fingerprint: u8) -> Value {
        claim_with(fingerprint, json!({"status": "open", "ticketPriority": "normal"}))
    }

    /// A claim of id 7 that keeps this as filled in.
    fn claim_with(fingerprint: u8, filled_in: Value) -> Value {
        let request = request();
        let key = PrimaryKey::claim(&request);
        let created = Timestamp::from_millis(NOW - 1000).unwrap();
        let item = item::to_item(ClaimItem {
            bucket: key.bucket,
            id: key.id,
            ticket: 7,
            created,
            fingerprint: Fingerprint::new([fingerprint; 32]),
            filled_in: serde_json::from_value(filled_in).unwrap(),
            writer: WriteId::new(&"caller".parse().unwrap()),
            expires: Expiry::after(created, idempotency::KEPT),
        });
        serde_json::to_value(serde_dynamo::Item::from(item.unwrap())).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_whose_ticket_is_there_is_the_answer() {
        let created = json!({"createdDate": {"N": (NOW - 1000).to_string()}});
        let get = move |of_claim| ok(json!({"Item": if of_claim { claim(1) } else { created.clone() }}));
        let (answer, calls, _) = create(Some(request()), |_, _| lost(), get).await;
        let answer = answer.unwrap();
        assert_eq!((answer.ticket.id().get(), answer.replayed), (7, true));
        assert_eq!((answer.ticket.ticket.created.millis(), calls.of("UpdateItem").len()), (NOW - 1000, 0));
    }

    /// The item of the claim's ticket.
    fn of_claim() -> Value {
        json!({"createdDate": {"N": (NOW - 1000).to_string()}})
    }

    /// Status and priority of a ticket.
    fn choices(created: Created) -> Value {
        let ticket = serde_json::to_value(created.ticket.ticket).unwrap();
        json!([ticket["status"], ticket["ticketPriority"]])
    }

    #[tokio::test(start_paused = true)]
    async fn a_replay_has_what_was_filled_in_at_first() {
        let replay = async |filled_in: Value| {
            let claim = claim_with(1, filled_in);
            let get = move |claims| ok(json!({"Item": if claims { claim.clone() } else { of_claim() }}));
            choices(create(Some(request()), |_, _| lost(), get).await.0.unwrap())
        };
        assert_eq!(replay(json!({"status": "new"})).await, json!(["new", null]));
        assert_eq!(replay(json!({})).await, json!([null, null]));
        // A claim of an earlier release does not say.
        assert_eq!(replay(Value::Null).await, json!(["open", "normal"]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_keeps_what_is_filled_in_and_no_more() {
        let (created, calls, _) = create(Some(request()), |_, _| ok(json!({})), nothing).await;
        let tag = created.unwrap().ticket.tag;
        let puts = calls.of("PutItem");
        let (claim, ticket) = (&puts[0]["Item"], &puts[1]["Item"]);
        let filled_in = json!({"M": {"status": {"S": "open"}, "ticketPriority": {"S": "normal"}}});
        assert_eq!(claim["filledIn"], filled_in);
        // So the claim tells the tag of the ticket.
        assert_eq!(claim["writer"], ticket["writer"]);
        let random = ticket["writer"]["S"].as_str().unwrap().split_once('.').unwrap().1;
        assert_eq!(tag.to_string(), format!("1-{}", &random[..8]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_that_is_refused_today_is_replayed_if_it_was_created_and_else_not_written() {
        let new = scripted::new_ticket(json!({"status": "waiting"}));
        let refused = |created: Result<Created>| match created {
            Err(Error::InvalidFields(violations)) => {
                violations.into_iter().map(|v| v.field).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        let (created, calls, _) = create_of(&new, Some(request()), |_, _| lost(), nothing).await;
        assert_eq!(refused(created), ["status"]);
        assert_eq!((calls.of("UpdateItem").len(), calls.of("PutItem").len()), (0, 0));
        let look = &calls.of("GetItem")[0];
        assert_eq!(look["ConsistentRead"], true, "a claim must not be missed");
        assert_eq!(refused(create_of(&new, None, |_, _| lost(), nothing).await.0), ["status"]);

        let claim = || claim_with(1, json!({"ticketPriority": "normal"}));
        let get = move |claims| ok(json!({"Item": if claims { claim() } else { of_claim() }}));
        let (created, ..) = create_of(&new, Some(request()), |_, _| lost(), get).await;
        assert_eq!(choices(created.unwrap()), json!(["waiting", "normal"]));

        // The first writer died. Its id is given up, so that there never will be a ticket.
        let get = move |claims| ok(if claims { json!({"Item": claim()}) } else { json!({}) });
        let (created, calls, _) = create_of(&new, Some(request()), |_, _| ok(json!({})), get).await;
        assert_eq!(refused(created), ["status"]);
        let kinds: Vec<_> = calls.of("PutItem").iter().map(putting).collect();
        assert_eq!((kinds, calls.of("UpdateItem").len()), (vec![Putting::Void], 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_whose_ticket_does_not_come_is_taken_over_after_a_void() {
        let get = |of_claim| if of_claim { ok(json!({"Item": claim(1)})) } else { ok(json!({})) };
        let (answer, calls, waited) = create(Some(request()), |_, _| ok(json!({})), get).await;
        let answer = answer.unwrap();
        assert_eq!((answer.ticket.id().get(), answer.replayed), (11, false));
        assert!(waited >= CLAIM_WAIT && waited < CLAIM_WAIT * 2, "{waited:?}");
        let puts = calls.of("PutItem");
        let kinds: Vec<_> = puts.iter().map(putting).collect();
        assert_eq!(kinds, [Putting::Void, Putting::Claim, Putting::Ticket]);
        assert_eq!(puts[0]["Item"]["id"], json!({"N": "7"}));
        assert_eq!(puts[1]["ExpressionAttributeValues"], json!({":value": {"N": "7"}}));
        assert_eq!(puts[1]["ExpressionAttributeNames"], json!({"#value": "ticket"}));
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_refuses_the_void_of_a_claimed_id_decides() {
        let get = |of_claim| if of_claim { ok(json!({"Item": claim(1)})) } else { ok(json!({})) };
        let ends = async |refusal: fn() -> Answer| {
            let put = move |what, input: &Value| match what {
                Putting::Void if input["Item"]["id"]["N"] == "7" => refusal(),
                _ => ok(json!({})),
            };
            create(Some(request()), put, get).await.0
        };
        let ticket = || condition_failed(json!({"createdDate": {"N": (NOW - 1000).to_string()}}));
        assert!(ends(ticket).await.unwrap().replayed, "it came at the last moment");
        assert!(!ends(somebody_s).await.unwrap().replayed, "a void, or not the claim's ticket");
        let gone = ends(|| condition_failed(Value::Null)).await;
        assert!(matches!(gone, Err(Error::IdempotencyKeyInUse)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_id_that_is_not_used_after_all_is_given_up() {
        // Another request claims first, and its ticket is there.
        let created = json!({"createdDate": {"N": (NOW - 1000).to_string()}});
        let get = move |of_claim| if of_claim { ok(json!({})) } else { ok(json!({"Item": created})) };
        let put = |what, _: &Value| match what {
            Putting::Claim => condition_failed(claim(1)),
            _ => ok(json!({})),
        };
        let (answer, calls, _) = create(Some(request()), put, get.clone()).await;
        let answer = answer.unwrap();
        assert_eq!((answer.ticket.id().get(), answer.replayed), (7, true));
        let void = |calls: &Calls| calls.of("PutItem").last().unwrap()["Item"].clone();
        assert_eq!(void(&calls)["id"], json!({"N": "11"}));
        assert!(void(&calls).get("voidedDate").is_some());

        // The other request said something else.
        let put = |what, _: &Value| match what {
            Putting::Claim => condition_failed(claim(2)),
            _ => ok(json!({})),
        };
        let (answer, calls, _) = create(Some(request()), put, get).await;
        assert!(matches!(answer, Err(Error::IdempotencyKeyReused)));
        assert_eq!(void(&calls)["id"], json!({"N": "11"}));
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_without_an_answer_is_unavailable_only_if_its_id_is_dead() {
        let ends = async |void: fn() -> Answer| {
            let put = move |what, _: &Value| if what == Putting::Claim { lost() } else { void() };
            create(Some(request()), put, nothing).await.0
        };
        assert!(matches!(ends(|| ok(json!({}))).await, Err(Error::Unavailable(_))));
        assert!(matches!(ends(lost).await, Err(Error::Undecided(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn claims_that_change_until_the_deadline_are_in_use() {
        let expired = || {
            let mut item = claim(1);
            item["expires"] = json!({"N": "5"});
            condition_failed(item)
        };
        let put = move |what, _: &Value| if what == Putting::Claim { expired() } else { ok(json!({})) };
        let (answer, calls, waited) = create(Some(request()), put, nothing).await;
        assert!(matches!(answer, Err(Error::IdempotencyKeyInUse)));
        assert!(waited <= WRITE_DEADLINE && count(&calls, Putting::Claim) > 5);
        assert_eq!((calls.of("UpdateItem").len(), count(&calls, Putting::Void)), (1, 1), "one id, given up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_that_a_void_refused_waits_for_whoever_put_it() {
        // The void was put by a request that has claimed another id since, whose ticket is there.
        let created = json!({"createdDate": {"N": (NOW - 1000).to_string()}});
        let reads = Mutex::new(0);
        let get = move |of_claim| {
            let mut reads = reads.lock().unwrap();
            *reads += 1;
            match (of_claim, *reads) {
                (true, 1) => ok(json!({})),
                (true, _) => ok(json!({"Item": claim(1)})),
                (false, _) => ok(json!({"Item": created})),
            }
        };
        let put = |what, _: &Value| if what == Putting::Ticket { somebody_s() } else { ok(json!({})) };
        let (answer, ..) = create(Some(request()), put, get).await;
        let answer = answer.unwrap();
        assert_eq!((answer.ticket.id().get(), answer.replayed), (7, true));
    }
}
