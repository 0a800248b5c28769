//! How far a webhook has come in the feed of events, and what may be sent next.
//!
//! A webhook is a cursor, not a queue. Every event up to the cursor was accepted by the receiver, or is *held*: it was
//! answered with an error, or waits behind such an event of the same ticket, and is tried again. Events after the
//! cursor that have been accepted already are remembered, until the cursor passes them. So the cursor never passes an
//! event that is neither accepted nor held, and no event is lost, whatever happens between two saves.
//!
//! Events younger than the settle window are sent at once. But the cursor stays before them, because the feed may still
//! show others before them.
//!
//! An answer tells of the event or of the endpoint. A 4xx holds the event's ticket, and no other. After any other error
//! the whole webhook waits, and then tries one event at a time, of another ticket where there is one. If that one is
//! accepted, the endpoint works, and only the tickets of events that it cannot take are held. The webhook's wait grows
//! with each further event that fails; one that fails again lets only its own wait grow, so that a new event of
//! another ticket need not wait for it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use crate::event::EventId;
use crate::id::{TicketId, Version};
use crate::time::Timestamp;

/// Requests at the same time to one receiver.
pub const AT_ONCE: usize = 8;
/// The most events remembered as accepted beyond the cursor. With more, the webhook waits until they have settled.
pub const MOST_ACCEPTED: usize = 1000;
/// The most events held. With more, the webhook only tries those again.
pub const MOST_HELD: usize = 500;
/// The shortest wait after an error is half of it.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// The longest wait, also if the receiver asks for a longer one.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// How far a webhook has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Every event up to here was accepted, or is held.
    pub cursor: EventId,
    /// The events after the cursor that were accepted.
    pub accepted: BTreeSet<EventId>,
    /// The events that were not accepted, and those of their tickets that wait behind them.
    pub held: BTreeMap<EventId, Hold>,
    /// The endpoint's errors, since it last worked.
    pub failing: Option<Wait>,
}

/// Errors in a row, and when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// When the first of them was.
    pub since: Timestamp,
    /// Their number.
    pub errors: u32,
    /// Try again then.
    pub until: Timestamp,
}

/// Why an event is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// An earlier event of its ticket is held.
    Behind,
    /// The receiver refused it.
    Refused(Wait),
    /// The endpoint failed.
    Failed(Wait),
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// The receiver does not take this event.
    Refused,
    /// The endpoint does not work now; it may have said for how long.
    Failed(Option<Duration>),
    /// The receiver wants no events any more.
    Gone,
}

/// Why a webhook was disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disabled {
    /// The receiver answered 410.
    Gone,
    /// It has failed, or refused an event, for too long.
    Failing,
}

impl Wait {
    fn first(now: Timestamp) -> Self {
        Self { since: now, errors: 0, until: now }
    }

    /// With one more error: the wait is twice as long each time, and random, so that webhooks do not come back all at
    /// once. `jitter` is from 0 to 1.
    fn again(self, now: Timestamp, asked: Option<Duration>, jitter: f64) -> Self {
        let longest = FIRST_WAIT.saturating_mul(1 << self.errors.min(20)).min(LONGEST_WAIT);
        let wait = longest.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        let asked = asked.unwrap_or_default().min(LONGEST_WAIT);
        Self { errors: self.errors.saturating_add(1), until: now.plus(wait.max(asked)), ..self }
    }

    fn is_over(self, now: Timestamp) -> bool {
        self.until <= now
    }
}

impl Hold {
    /// The errors that its event has had.
    pub fn wait(self) -> Option<Wait> {
        match self {
            Self::Behind => None,
            Self::Refused(wait) | Self::Failed(wait) => Some(wait),
        }
    }

    fn is_over(self, now: Timestamp) -> bool {
        self.wait().is_none_or(|wait| wait.is_over(now))
    }
}

impl Delivery {
    /// Begins with the events recorded at `time` or later.
    pub fn since(time: Timestamp) -> Self {
        Self::after(before(time))
    }

    /// Begins after an event.
    pub fn after(cursor: EventId) -> Self {
        Self { cursor, accepted: BTreeSet::new(), held: BTreeMap::new(), failing: None }
    }

    /// Forgets how long to wait: an operator says that the receiver works again.
    pub fn retry_now(&mut self) {
        self.failing = None;
        self.held.values_mut().for_each(|hold| *hold = Hold::Behind);
    }

    /// Whether there is something to do, or to save, with these events of the feed.
    pub fn has_work(&self, page: &Page, now: Timestamp) -> bool {
        let mut after = self.clone();
        let mut pass = Pass::new(&mut after, page, Duration::MAX);
        if pass.next(now).is_some() {
            return true;
        }
        pass.end();
        // An idle webhook is saved once an hour, so that its next run does not read on from long ago.
        let hour_ago = after.cursor.recorded().minus(Duration::from_secs(60 * 60));
        (after.accepted.is_empty() && !self.accepted.is_empty())
            || after.held != self.held
            || self.cursor.recorded() <= hour_ago
    }

    /// The events that were not accepted: those that are held, and those of the page.
    pub fn waiting(&self, page: &Page) -> BTreeSet<EventId> {
        let is_new = |id: &&EventId| **id > self.cursor && !self.accepted.contains(id);
        self.held.keys().chain(page.events.iter().filter(is_new)).copied().collect()
    }

    /// When something that is held back now may be sent, if anything is.
    pub fn next_try(&self) -> Option<Timestamp> {
        let held = self.held.values().filter_map(|hold| hold.wait()).map(|wait| wait.until).min();
        match self.failing {
            Some(failing) => Some(failing.until),
            None => held,
        }
    }
}

/// The position before every event recorded at this time or later.
pub fn before(time: Timestamp) -> EventId {
    EventId::new(time, TicketId::FIRST, Version::new(0))
}

/// Events of the feed after a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The webhook's events: those that its filter asks for.
    pub events: BTreeSet<EventId>,
    /// Up to here the page has every event, and none will come.
    pub settled: EventId,
}

/// One look at the feed: decides what is sent, and where the cursor goes.
#[derive(Debug)]
pub struct Pass<'a> {
    delivery: &'a mut Delivery,
    page: &'a Page,
    /// The events of the page that are neither accepted nor held.
    fresh: BTreeSet<EventId>,
    sending: BTreeSet<EventId>,
    longest_failing: Duration,
    disabled: Option<Disabled>,
}

impl<'a> Pass<'a> {
    /// `longest_failing` is how long a receiver may fail before it is disabled.
    pub fn new(delivery: &'a mut Delivery, page: &'a Page, longest_failing: Duration) -> Self {
        let is_fresh = |id: &&EventId| {
            **id > delivery.cursor && !delivery.accepted.contains(id) && !delivery.held.contains_key(id)
        };
        let fresh = page.events.iter().filter(is_fresh).copied().collect();
        Self { delivery, page, fresh, sending: BTreeSet::new(), longest_failing, disabled: None }
    }

    /// The next event to send, if one may be sent now.
    pub fn next(&mut self, now: Timestamp) -> Option<EventId> {
        let (at_once, is_failing) = match self.delivery.failing {
            None => (AT_ONCE, false),
            Some(wait) if wait.is_over(now) => (1, true),
            Some(_) => return None,
        };
        if self.disabled.is_some() || self.sending.len() >= at_once {
            return None;
        }
        // Only the first event of each ticket may be sent.
        let mut tickets: HashSet<TicketId> = self.sending.iter().map(|id| id.ticket()).collect();
        let mut held = self.delivery.held.iter().filter(|(id, _)| tickets.insert(id.ticket()));
        let held = held.find(|(_, hold)| hold.is_over(now)).map(|(id, _)| *id);
        // Once more, because the search above ends early.
        tickets.extend(self.delivery.held.keys().map(|id| id.ticket()));
        let fresh = self.fresh.iter().find(|id| !tickets.contains(&id.ticket())).copied();
        let fresh = fresh.filter(|id| self.has_room_for(*id));
        // A failing endpoint is tried with another event than the one that it failed with.
        let next = if is_failing { fresh.or(held) } else { held.or(fresh) };
        self.sending.extend(next);
        next
    }

    /// Whether it could be remembered that this event was accepted, or held.
    fn has_room_for(&self, id: EventId) -> bool {
        let sending = self.sending.len();
        // What has settled is remembered only until the end of the pass.
        let is_settled = id <= self.page.settled;
        (is_settled || self.delivery.accepted.len() + sending < MOST_ACCEPTED)
            && self.delivery.held.len() + sending < MOST_HELD
    }

    /// Notes what the receiver answered to an event. `jitter` is a random number from 0 to 1.
    pub fn answered(&mut self, id: EventId, verdict: Verdict, now: Timestamp, jitter: f64) {
        self.sending.remove(&id);
        match verdict {
            Verdict::Accepted => {
                self.fresh.remove(&id);
                self.delivery.held.remove(&id);
                if id > self.delivery.cursor {
                    self.delivery.accepted.insert(id);
                }
                self.works();
            }
            Verdict::Refused => {
                let wait = self.wait_of(id, now).again(now, None, jitter);
                self.hold(id, Hold::Refused(wait));
                self.works();
                self.disable_after(wait.since, now);
            }
            Verdict::Failed(asked) => {
                let before = self.wait_of(id, now);
                let wait = before.again(now, asked, jitter);
                self.hold(id, Hold::Failed(wait));
                match self.delivery.failing {
                    // Requests that were on their way together fail together: they count once.
                    Some(failing) if !failing.is_over(now) => {
                        let until = failing.until.max(now.plus(asked.unwrap_or_default().min(LONGEST_WAIT)));
                        self.delivery.failing = Some(Wait { until, ..failing });
                    }
                    // The endpoint works for others, and fails with this event again.
                    None if before.errors > 0 && asked.is_none() => {}
                    // This event has failed before, so it may be at fault: the wait does not grow.
                    Some(failing) if before.errors > 0 => {
                        let errors = failing.errors.saturating_sub(1);
                        self.delivery.failing = Some(Wait { errors, ..failing }.again(now, asked, jitter));
                    }
                    failing => {
                        let failing = failing.unwrap_or_else(|| Wait::first(now));
                        self.delivery.failing = Some(failing.again(now, asked, jitter));
                    }
                }
                let since = self.delivery.failing.map_or(wait.since, |failing| failing.since.min(wait.since));
                self.disable_after(since, now);
            }
            Verdict::Gone => self.disabled = Some(Disabled::Gone),
        }
    }

    /// Notes that an event could not be sent, for a reason that is not the receiver's.
    pub fn not_sent(&mut self, id: EventId) {
        self.sending.remove(&id);
    }

    fn wait_of(&self, id: EventId, now: Timestamp) -> Wait {
        self.delivery.held.get(&id).and_then(|hold| hold.wait()).unwrap_or_else(|| Wait::first(now))
    }

    fn hold(&mut self, id: EventId, hold: Hold) {
        self.fresh.remove(&id);
        self.delivery.held.insert(id, hold);
    }

    /// The endpoint works. What it failed with before need not wait any longer.
    fn works(&mut self) {
        if self.delivery.failing.take().is_none() {
            return;
        }
        for hold in self.delivery.held.values_mut() {
            if let Hold::Failed(wait) = hold {
                wait.until = wait.since;
            }
        }
    }

    fn disable_after(&mut self, since: Timestamp, now: Timestamp) {
        if since.plus(self.longest_failing) <= now {
            self.disabled = Some(Disabled::Failing);
        }
    }

    /// Moves the cursor as far as it may go. Returns whether the webhook is to be disabled.
    pub fn end(self) -> Option<Disabled> {
        let Self { delivery, page, .. } = self;
        let mut held: HashSet<TicketId> = delivery.held.keys().map(|id| id.ticket()).collect();
        let mut cursor = delivery.cursor;
        let mut reached = page.settled;
        for id in page.events.range(..=page.settled).copied().filter(|id| *id > delivery.cursor) {
            if !delivery.accepted.contains(&id) && !delivery.held.contains_key(&id) {
                if !held.contains(&id.ticket()) || delivery.held.len() >= MOST_HELD {
                    reached = cursor;
                    break;
                }
                delivery.held.insert(id, Hold::Behind);
                held.insert(id.ticket());
            }
            cursor = id;
        }
        delivery.cursor = reached.max(delivery.cursor);
        delivery.accepted.retain(|id| *id > delivery.cursor);
        self.disabled
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_764_000_000_000;
    const FIVE_DAYS: Duration = Duration::from_secs(5 * 24 * 60 * 60);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(START + 1000 * seconds).unwrap()
    }

    /// An event recorded at this second.
    fn event(second: i64, ticket: u64, version: u64) -> EventId {
        EventId::new(at(second), ticket.try_into().unwrap(), Version::new(version))
    }

    /// These events, settled up to this second.
    fn page(events: &[EventId], settled: i64) -> Page {
        Page { events: events.iter().copied().collect(), settled: before(at(settled)) }
    }

    /// Sends what may be sent, one after the other, and answers each by `answer`. Returns what was sent.
    fn pass(
        delivery: &mut Delivery,
        page: &Page,
        now: i64,
        answer: impl Fn(EventId) -> Verdict,
    ) -> Vec<EventId> {
        let mut pass = Pass::new(delivery, page, FIVE_DAYS);
        let mut sent = Vec::new();
        while let Some(id) = pass.next(at(now)) {
            sent.push(id);
            pass.answered(id, answer(id), at(now), 1.0);
        }
        assert_eq!(pass.end(), None);
        sent
    }

    #[test]
    fn the_cursor_goes_over_what_was_accepted_and_has_settled() {
        let [a, b, c] = [event(1, 1, 1), event(2, 2, 1), event(3, 3, 1)];
        let mut delivery = Delivery::since(at(0));
        let sent = pass(&mut delivery, &page(&[a, b, c], 3), 12, |_| Verdict::Accepted);
        assert_eq!(sent, [a, b, c]);
        assert_eq!(delivery.cursor, before(at(3)));
        assert_eq!(
            delivery.accepted,
            BTreeSet::from([c]),
            "c is remembered, because others may come before it"
        );
        let late = event(3, 2, 2);
        let sent = pass(&mut delivery, &page(&[late, c], 20), 30, |_| Verdict::Accepted);
        assert_eq!(sent, [late], "c is not sent again");
        assert_eq!((delivery.cursor, delivery.accepted.len()), (before(at(20)), 0));
    }

    #[test]
    fn eight_are_sent_at_a_time_and_one_of_each_ticket() {
        let events: Vec<_> = (1..=20).map(|n| event(n, n.unsigned_abs().div_ceil(2), 1)).collect();
        let (mut delivery, page) = (Delivery::since(at(0)), page(&events, 100));
        let mut pass = Pass::new(&mut delivery, &page, FIVE_DAYS);
        let sent: Vec<_> = std::iter::from_fn(|| pass.next(at(110))).collect();
        let first: Vec<_> = events.iter().copied().step_by(2).take(AT_ONCE).collect();
        assert_eq!(sent, first);
        pass.answered(first[3], Verdict::Accepted, at(110), 0.0);
        assert_eq!(pass.next(at(110)), Some(events[7]), "the next event of its ticket");
        assert_eq!(pass.next(at(110)), None);
    }

    #[test]
    fn a_refused_event_holds_its_own_ticket_and_the_cursor_passes_it() {
        let [a, b, c, d] = [event(1, 1, 1), event(2, 2, 1), event(3, 1, 2), event(4, 3, 1)];
        let mut delivery = Delivery::since(at(0));
        let page = page(&[a, b, c, d], 100);
        let refuse = |id: EventId| if id == a { Verdict::Refused } else { Verdict::Accepted };
        assert_eq!(pass(&mut delivery, &page, 110, refuse), [a, b, d]);
        assert_eq!(delivery.cursor, before(at(100)));
        assert_eq!(delivery.held.keys().copied().collect::<Vec<_>>(), [a, c]);
        assert_eq!(delivery.held[&c], Hold::Behind);
        let empty = Page { events: BTreeSet::new(), ..page };
        assert_eq!(pass(&mut delivery, &empty, 119, refuse), [], "the first wait is up to ten seconds");
        assert_eq!(pass(&mut delivery, &empty, 120, refuse), [a]);
        assert_eq!(pass(&mut delivery, &empty, 139, refuse), [], "the second is twice as long");
        assert_eq!(pass(&mut delivery, &empty, 140, |_| Verdict::Accepted), [a, c], "in the ticket's order");
        assert!(delivery.held.is_empty());
    }

    #[test]
    fn a_failing_endpoint_is_tried_with_one_event_after_each_wait() {
        let events: Vec<_> = (1..=30).map(|n| event(n, n.unsigned_abs(), 1)).collect();
        let page = page(&events, 100);
        let mut delivery = Delivery::since(at(0));
        let mut first = Pass::new(&mut delivery, &page, FIVE_DAYS);
        let sent: Vec<_> = std::iter::from_fn(|| first.next(at(100))).collect();
        for id in sent {
            first.answered(id, Verdict::Failed(None), at(100), 1.0);
        }
        first.end();
        let failing = Wait { since: at(100), errors: 1, until: at(110) };
        assert_eq!(delivery.failing, Some(failing), "requests that fail together count once");
        let fail = |_| Verdict::Failed(None);
        assert_eq!(pass(&mut delivery, &page, 109, fail), []);
        assert_eq!(pass(&mut delivery, &page, 110, fail), [events[8]]);
        assert_eq!(pass(&mut delivery, &page, 129, fail), []);
        let sent = pass(&mut delivery, &page, 130, |_| Verdict::Accepted);
        assert_eq!((sent[0], sent.len()), (events[9], 30), "once it works, everything follows at once");
        assert_eq!((delivery.failing, delivery.held.len(), delivery.cursor), (None, 0, before(at(100))));
    }

    #[test]
    fn an_event_that_an_endpoint_fails_with_holds_its_own_ticket() {
        let (bad, good) = (event(1, 1, 1), event(2, 2, 1));
        let mut delivery = Delivery::since(at(0));
        let answer = |id| if id == bad { Verdict::Failed(None) } else { Verdict::Accepted };
        assert_eq!(pass(&mut delivery, &page(&[bad, good], 90), 100, answer), [bad]);
        assert_eq!(pass(&mut delivery, &page(&[bad, good], 90), 110, answer), [good, bad]);
        assert_eq!((delivery.failing, delivery.cursor), (None, before(at(90))));
        let next = event(95, 3, 1);
        assert_eq!(pass(&mut delivery, &page(&[next], 100), 111, answer), [next], "others are sent");
        assert_eq!(delivery.held[&bad].wait().unwrap().errors, 2);
    }

    /// Without an event of another ticket nothing tells whether the endpoint is down, or fails with this event only.
    #[test]
    fn an_event_that_fails_again_and_again_holds_up_a_new_one_for_seconds_only() {
        let (bad, next) = (event(1, 1, 1), event(90_000, 2, 1));
        let mut delivery = Delivery::since(at(0));
        let answer = |id| if id == bad { Verdict::Failed(None) } else { Verdict::Accepted };
        for now in 100..90_000 {
            pass(&mut delivery, &page(&[bad], 90), now, answer);
        }
        assert_eq!(delivery.held[&bad].wait().map(|wait| wait.errors > 20), Some(true));
        let sent = (90_000..90_011)
            .find(|now| pass(&mut delivery, &page(&[next], 89_990), *now, answer).first() == Some(&next));
        assert!(sent.is_some(), "{:?}", delivery.failing);
    }

    #[test]
    fn a_receiver_is_left_alone_for_as_long_as_it_asks_but_for_an_hour_at_most() {
        for (asked, waits) in [(0, 10), (9, 10), (120, 120), (3600, 3600), (100_000, 3600)] {
            let (a, b) = (event(1, 1, 1), event(2, 2, 1));
            let (mut delivery, page) = (Delivery::since(at(0)), page(&[a, b], 90));
            let answer = |_| Verdict::Failed(Some(Duration::from_secs(asked)));
            assert_eq!(pass(&mut delivery, &page, 100, answer), [a]);
            assert_eq!(pass(&mut delivery, &page, 100 + waits - 1, |_| Verdict::Accepted), [], "{asked}");
            assert_eq!(pass(&mut delivery, &page, 100 + waits, |_| Verdict::Accepted), [b, a], "{asked}");
        }
    }

    #[test]
    fn waits_double_from_five_to_ten_seconds_up_to_an_hour() {
        let longest = [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600];
        for (jitter, share) in [(0.0, 2), (1.0, 1)] {
            let mut wait = Wait::first(at(0));
            for expected in longest {
                wait = wait.again(at(0), None, jitter);
                assert_eq!(wait.until, at(expected / share));
            }
        }
    }

    #[test]
    fn a_receiver_that_is_gone_or_fails_for_five_days_is_disabled() {
        let (a, b) = (event(1, 1, 1), event(2, 2, 1));
        let end = |delivery: &mut Delivery, verdict, now| {
            let page = page(&[a, b], 90);
            let mut pass = Pass::new(delivery, &page, FIVE_DAYS);
            let id = pass.next(at(now)).unwrap();
            pass.answered(id, verdict, at(now), 0.0);
            if verdict == Verdict::Gone {
                assert_eq!(pass.next(at(now)), None);
            }
            pass.end()
        };
        assert_eq!(end(&mut Delivery::since(at(0)), Verdict::Gone, 100), Some(Disabled::Gone));
        for verdict in [Verdict::Refused, Verdict::Failed(None)] {
            let days = 5 * 24 * 60 * 60;
            let mut delivery = Delivery::since(at(0));
            assert_eq!(end(&mut delivery, verdict, 100), None);
            delivery.held.retain(|id, _| *id == a);
            let mut late = delivery.clone();
            let page = page(&[], 90);
            for (delivery, now, disabled) in
                [(&mut delivery, 99 + days, None), (&mut late, 100 + days, Some(Disabled::Failing))]
            {
                let mut pass = Pass::new(delivery, &page, FIVE_DAYS);
                assert_eq!(pass.next(at(now)), Some(a));
                pass.answered(a, verdict, at(now), 0.0);
                assert_eq!(pass.end(), disabled, "{verdict:?}");
            }
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_nothing_waits_forever() {
        // A thousand young events are accepted, and no more, until they have settled.
        let young: Vec<_> = (0..1100).map(|n| event(50, n + 1, 1)).collect();
        let mut delivery = Delivery::since(at(0));
        let sent = pass(&mut delivery, &page(&young, 40), 50, |_| Verdict::Accepted);
        assert_eq!((sent.len(), delivery.accepted.len()), (MOST_ACCEPTED, MOST_ACCEPTED));
        // One that appears before them is sent, or the cursor could never pass it.
        let late = event(44, 5000, 1);
        let events = [young.as_slice(), &[late]].concat();
        assert_eq!(pass(&mut delivery, &page(&events, 45), 55, |_| Verdict::Accepted), [late]);
        let sent = pass(&mut delivery, &page(&events, 60), 70, |_| Verdict::Accepted);
        assert_eq!((sent.len(), delivery.accepted.len(), delivery.cursor), (100, 0, before(at(60))));
        // A receiver that refuses everything gets no more than can be held.
        let sent = pass(&mut Delivery::since(at(0)), &page(&young, 60), 70, |_| Verdict::Refused);
        assert_eq!(sent.len(), MOST_HELD);
    }

    #[test]
    fn an_idle_webhook_is_saved_once_an_hour_and_when_it_can_forget() {
        let mut delivery = Delivery::since(at(0));
        assert!(!delivery.has_work(&page(&[], 3599), at(3609)));
        assert!(delivery.has_work(&page(&[], 3600), at(3610)));
        let a = event(5, 1, 1);
        assert!(delivery.has_work(&page(&[a], 0), at(5)), "a young event is sent");
        delivery.accepted.insert(a);
        assert!(!delivery.has_work(&page(&[a], 4), at(14)));
        assert!(delivery.has_work(&page(&[a], 6), at(16)), "it need not be remembered any longer");
    }

    /// A random number generator, for events and answers (xorshift).
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % end
        }
    }

    const SETTLE: i64 = 10;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Events appear late and in any order within the settle window, the receiver fails and refuses, and the sender
        /// dies before it saves. Every event is accepted, and no ticket's later event before an earlier one.
        #[test]
        fn nothing_is_lost(seed in 1_u64..) {
            let mut random = Random(seed);
            // Each event, and the second at which the feed shows it. A ticket's lag is the same for all its events.
            let mut feed: Vec<(EventId, i64)> = Vec::new();
            for n in 0..120 {
                let (second, ticket) = (random.below(300) as i64, random.below(12) + 1);
                feed.push((event(second, ticket, n), second + ticket as i64 % SETTLE));
            }
            let (mut saved, mut accepted) = (Delivery::since(at(0)), BTreeSet::new());
            let (down, refuses_until) = (random.below(300) as i64..400, 500 + random.below(500) as i64);
            for now in 0..40_000 {
                let settled = before(at(now - SETTLE + 1));
                let visible = feed.iter().filter(|(id, shown)| *shown <= now && *id > saved.cursor);
                let visible: BTreeSet<_> = visible.map(|(id, _)| *id).collect();
                let cut = (random.below(3) == 0).then(|| visible.iter().nth(5).copied()).flatten();
                let page = match cut {
                    Some(last) => Page {
                        events: visible.range(..=last).copied().collect(), settled: settled.min(last)
                    },
                    None => Page { events: visible, settled },
                };
                let mut delivery = saved.clone();
                let mut pass = Pass::new(&mut delivery, &page, Duration::MAX);
                let mut sending = Vec::new();
                for _ in 0..random.below(30) {
                    if random.below(2) == 0 && let Some(id) = pass.next(at(now)) {
                        sending.push(id);
                    } else if !sending.is_empty() {
                        let id = sending.swap_remove(random.below(sending.len() as u64) as usize);
                        let verdict = match random.below(10) {
                            _ if down.contains(&now) => Verdict::Failed(None),
                            0..6 if now < refuses_until && id.ticket().get() == 3 => Verdict::Refused,
                            8 if now < refuses_until => Verdict::Failed(None),
                            9 if now < refuses_until => Verdict::Failed(Some(Duration::from_secs(30))),
                            _ => Verdict::Accepted,
                        };
                        if verdict == Verdict::Accepted && accepted.insert(id) {
                            let earlier = feed.iter().filter(|(other, _)| other.ticket() == id.ticket() && *other < id);
                            for (other, _) in earlier {
                                prop_assert!(accepted.contains(other), "{id} before {other}");
                            }
                        }
                        pass.answered(id, verdict, at(now), random.below(100) as f64 / 100.0);
                    }
                }
                pass.end();
                for (id, _) in feed.iter().filter(|(id, _)| *id <= delivery.cursor) {
                    prop_assert!(accepted.contains(id) || delivery.held.contains_key(id), "{id} is lost");
                }
                if random.below(5) > 0 {
                    saved = delivery;
                }
                if accepted.len() == feed.len() && saved.held.is_empty() {
                    return Ok(());
                }
            }
            prop_assert_eq!(accepted.len(), feed.len());
        }
    }
}
