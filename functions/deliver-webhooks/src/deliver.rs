//! A run: sends the events that every webhook has to come, each webhook in a task of its own.
//!
//! The tasks run side by side. While one of them is busy with a slow receiver, the others look at the feed again each
//! second, so that a slow receiver does not hold up others until this run has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use tickets_domain::delivery::{Page, Pass, Verdict, before};
use tickets_domain::webhook::{Answer, Message, Secrets, State, WebhookUrl};
use tickets_domain::{
    Clock, Error, Event, EventFilter, EventId, EventsEnd, Fit, Meter, Result, Timestamp, Visibility, Webhook,
    WebhookId,
};
use tickets_repository::webhooks::{Lease, Leased, Saved, WebhookList};
use tickets_repository::{History, Webhooks};

use crate::send::{REQUEST_TIMEOUT, Request, Sender};

/// The most events that one look at the feed finds.
const PAGE: usize = 200;
/// The time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// No request begins so long after its look: what was sent is to be saved before the lease ends.
const PASS: Duration = Duration::from_secs(10);
/// A run waits for a receiver that is tried again so soon.
const SOON: Duration = Duration::from_secs(10);
/// Clocks may differ: an event may carry a time that is a little ahead.
const AHEAD: Duration = Duration::from_secs(1);
/// How long the history keeps an entry at least: TTL removes those of a deleted ticket after `TombstoneDays`.
const SHORTEST_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The time that a run needs at its end: for the last requests, and to save.
pub const CLOSING_TIME: Duration = Duration::from_secs(REQUEST_TIMEOUT.as_secs() + 5);

/// Sends the events of webhooks.
#[derive(Debug, Clone)]
pub struct Deliverer<S> {
    pub(crate) history: History,
    pub(crate) webhooks: Webhooks,
    pub(crate) clock: Clock,
    pub(crate) sender: S,
    /// How long the index may be behind: within this time events may appear before others.
    pub(crate) settle: Duration,
    /// How long a receiver may fail before its webhook is disabled.
    pub(crate) longest_failing: Duration,
}

/// Why a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// An event was recorded.
    Recorded,
    /// Some time has passed.
    Scheduled,
}

impl Wake {
    /// A run ends after so many looks at which there was nothing to do: the index may show an event that was just
    /// recorded only a moment later.
    fn looks(self) -> u32 {
        match self {
            Self::Recorded => 2,
            Self::Scheduled => 1,
        }
    }
}

/// What the tasks of a run share.
struct Run {
    /// The number of tasks that are sending, or will soon.
    busy: AtomicUsize,
    /// No request begins after that.
    closing: Timestamp,
    wake: Wake,
}

/// A task that is busy, as long as this lives.
struct Busy<'a>(&'a AtomicUsize);

impl Run {
    fn busy(&self) -> Busy<'_> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(&self.busy)
    }

    /// Whether no task is busy.
    fn is_idle(&self) -> bool {
        self.busy.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a run did for a webhook.
#[derive(Debug)]
pub struct Report {
    pub id: WebhookId,
    pub accepted: u64,
    pub refused: u64,
    pub failed: u64,
    /// Whether it was disabled in this run.
    pub disabled: bool,
    /// Whether the receiver takes no events at the end of the run.
    pub failing: bool,
    /// The age of the oldest event that it has not accepted.
    pub behind: Duration,
    /// The error that ended its task.
    pub error: Option<Error>,
}

impl Report {
    fn new(id: WebhookId) -> Self {
        let (behind, error) = (Duration::ZERO, None);
        Self { id, accepted: 0, refused: 0, failed: 0, disabled: false, failing: false, behind, error }
    }

    /// Whether it is worth a line in the log of a local server.
    pub fn is_idle(&self) -> bool {
        let Self { accepted, refused, failed, disabled, error, .. } = self;
        accepted + refused + failed == 0 && !disabled && error.is_none()
    }

    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Accepted => self.accepted += 1,
            Verdict::Refused => self.refused += 1,
            Verdict::Failed(_) | Verdict::Gone => self.failed += 1,
        }
    }
}

/// Events of the feed after a webhook's cursor.
struct Look {
    page: Page,
    events: BTreeMap<EventId, Event>,
    /// Whether there are more.
    has_more: bool,
}

/// Who gets the events, and which.
#[derive(Clone)]
struct Target {
    url: WebhookUrl,
    secrets: Secrets,
    visibility: Visibility,
}

/// What came of sending an event.
enum Sent {
    Answered(Answer),
    /// The event is no longer in the feed: its ticket was deleted, and its history has been removed since.
    Removed,
    /// The event could not be read.
    NotRead(Error),
}

impl<S: Sender> Deliverer<S> {
    /// The same, with a meter that counts what calls of the database consume.
    #[must_use]
    pub fn metered(&self, meter: Meter) -> Self
    where
        S: Clone,
    {
        let (history, webhooks) = (self.history.metered(meter.clone()), self.webhooks.metered(meter));
        Self { history, webhooks, ..self.clone() }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Sends what there is to send, and ends soon after `deadline` less [`CLOSING_TIME`]. Reports on each active webhook.
    ///
    /// # Errors
    /// If the webhooks cannot be listed.
    pub async fn run(&self, wake: Wake, deadline: Timestamp) -> Result<Vec<Report>> {
        let run = Run { busy: AtomicUsize::new(0), closing: deadline.minus(CLOSING_TIME), wake };
        let WebhookList { webhooks, broken } = self.webhooks.list().await?;
        let active = webhooks.into_iter().filter(Webhook::is_active);
        let mut reports = join_all(active.map(|webhook| self.follow(webhook, &run))).await;
        // A broken webhook is reported, and does not hold up the others.
        let broken = broken.iter().filter_map(|id| id.parse().ok());
        let unreadable = || Some(Error::unreadable("a webhook"));
        reports.extend(broken.map(|id| Report { error: unreadable(), ..Report::new(id) }));
        Ok(reports)
    }

    /// Sends a webhook's events until there are none and no other webhook's task is busy.
    async fn follow(&self, mut webhook: Webhook, run: &Run) -> Report {
        let mut report = Report::new(webhook.id.clone());
        let (mut idle_looks, mut _waiting) = (0, None);
        loop {
            match self.step(&mut webhook, run, &mut report).await {
                Ok(Step::Done) => idle_looks = 0,
                Ok(Step::Nothing) => idle_looks += 1,
                Ok(Step::Ended) => return report,
                Err(error) => {
                    report.error = Some(error);
                    return report;
                }
            }
            let now = self.clock.now();
            let is_soon =
                webhook.delivery.next_try().is_some_and(|next| now < next && next <= now.plus(SOON));
            _waiting = is_soon.then(|| run.busy());
            if now >= run.closing || (idle_looks >= run.wake.looks() && run.is_idle()) {
                return report;
            }
            if idle_looks > 0 {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Looks at the feed once, and sends what there is.
    async fn step(&self, webhook: &mut Webhook, run: &Run, report: &mut Report) -> Result<Step> {
        let look = self.look(webhook).await?;
        report.note(webhook, &look.page, self.clock.now());
        if !webhook.delivery.has_work(&look.page, self.clock.now()) {
            return Ok(Step::Nothing);
        }
        let mut lease = match self.webhooks.lease(&webhook.id).await? {
            Leased::Taken(lease) => *lease,
            // Whoever holds it sends what was found here, too.
            Leased::Held => return Ok(Step::Nothing),
            Leased::Inactive => return Ok(Step::Ended),
        };
        let sending = run.busy();
        let is_active = self.send_all(&mut lease, run.closing, report).await?;
        drop(sending);
        *webhook = lease.webhook;
        Ok(if is_active { Step::Done } else { Step::Ended })
    }

    /// Sends everything that may be sent, and saves after each look. Returns whether the webhook is still active, and this
    /// run's.
    async fn send_all(&self, lease: &mut Lease, closing: Timestamp, report: &mut Report) -> Result<bool> {
        loop {
            let Look { page, events, has_more } = self.look(&lease.webhook).await?;
            let end = self.clock.now().plus(PASS).min(closing);
            let failed = self.pass(lease, &page, events, end, report).await;
            let is_last = !has_more || failed.is_some() || self.clock.now() >= closing || report.disabled;
            let is_stuck = lease.webhook.delivery.failing.is_some();
            let give_back = is_last || is_stuck;
            if self.webhooks.save(lease, give_back).await? == Saved::LeaseLost {
                return Ok(false);
            }
            report.note(&lease.webhook, &page, self.clock.now());
            if let Some(error) = failed {
                return Err(error);
            }
            if give_back {
                return Ok(lease.webhook.is_active());
            }
        }
    }

    /// The events after a webhook's cursor.
    async fn look(&self, webhook: &Webhook) -> Result<Look> {
        let now = self.clock.now();
        // Before reading: what is visible until then is complete.
        let settled = before(now.minus(self.settle));
        let filter = EventFilter {
            after: Some(webhook.delivery.cursor),
            since: None,
            types: webhook.types.clone(),
            limit: Some(PAGE + webhook.delivery.accepted.len()),
        };
        let mut events = BTreeMap::new();
        let take = |event: &Event| {
            events.insert(event.id, event.clone());
            Fit::Added
        };
        let end = self.history.events(&filter, webhook.visibility(), now.plus(AHEAD), take).await?;
        let settled = match end {
            EventsEnd::Complete => settled,
            EventsEnd::Full => events.keys().next_back().copied().map_or(settled, |last| settled.min(last)),
            EventsEnd::Paused(reached) => settled.min(before(reached)),
        };
        let page = Page { events: events.keys().copied().collect(), settled };
        Ok(Look { page, events, has_more: end != EventsEnd::Complete })
    }

    /// Sends the events of one look that may be sent; begins no request after `end`. Returns the error that ended it early.
    async fn pass(
        &self,
        lease: &mut Lease,
        page: &Page,
        mut events: BTreeMap<EventId, Event>,
        end: Timestamp,
        report: &mut Report,
    ) -> Option<Error> {
        let webhook = &mut lease.webhook;
        let (url, secrets, visibility) = (webhook.url.clone(), webhook.secrets.clone(), webhook.visibility());
        let target = Target { url, secrets, visibility };
        let mut pass = Pass::new(&mut webhook.delivery, page, self.longest_failing);
        let (mut sending, mut failed) = (FuturesUnordered::new(), None);
        loop {
            while failed.is_none()
                && self.clock.now() < end
                && let Some(id) = pass.next(self.clock.now())
            {
                sending.push(self.send(&target, id, events.remove(&id)));
            }
            let Some((id, sent)) = sending.next().await else { break };
            let (now, jitter) = (self.clock.now(), fastrand::f64());
            match sent {
                Sent::Answered(answer) => {
                    report.count(answer.verdict());
                    pass.answered(id, answer.verdict(), now, jitter);
                    webhook.last_answer = Some((answer.to_string(), now));
                }
                Sent::Removed => pass.answered(id, Verdict::Accepted, now, jitter),
                Sent::NotRead(error) => {
                    pass.not_sent(id);
                    failed = Some(error);
                }
            }
        }
        if let Some(disabled) = pass.end() {
            webhook.state = State::Disabled(disabled, self.clock.now());
            report.disabled = true;
        }
        failed
    }

    async fn send(&self, target: &Target, id: EventId, event: Option<Event>) -> (EventId, Sent) {
        let found = match event {
            Some(event) => Ok(Some(event)),
            None => self.find(target.visibility, id).await,
        };
        let event = match found {
            Ok(Some(event)) => event,
            Ok(None) if id.recorded().plus(SHORTEST_KEPT) <= self.clock.now() => return (id, Sent::Removed),
            Ok(None) => return (id, Sent::NotRead(Error::internal("an event is not in the feed any more"))),
            Err(error) => return (id, Sent::NotRead(error)),
        };
        let body = match serde_json::to_string(&Message::of(&event)) {
            Ok(body) => body,
            Err(error) => return (id, Sent::NotRead(Error::internal(error))),
        };
        let Target { url, secrets, .. } = target;
        let request = Request::signed(url.clone(), secrets, id.to_string(), self.clock.now(), body);
        (id, Sent::Answered(self.sender.send(request).await))
    }

    /// An event that is held, which the look has not found: it lies before the cursor.
    async fn find(&self, visibility: Visibility, id: EventId) -> Result<Option<Event>> {
        let filter = EventFilter { since: Some(id.recorded()), ..EventFilter::default() };
        let mut found = None;
        let take = |event: &Event| {
            if event.id == id {
                found = Some(event.clone());
            }
            Fit::Added
        };
        self.history.events(&filter, visibility, id.recorded(), take).await?;
        Ok(found)
    }
}

/// The result of a look at the feed.
enum Step {
    /// Something was sent or saved.
    Done,
    Nothing,
    /// The webhook is not active any longer, or another run has taken it over.
    Ended,
}

impl Report {
    /// Notes where the webhook is after a look.
    fn note(&mut self, webhook: &Webhook, page: &Page, now: Timestamp) {
        let waiting = webhook.delivery.waiting(page);
        let oldest = waiting.first().map(|id| now.millis() - id.recorded().millis());
        self.behind = Duration::from_millis(oldest.and_then(|age| u64::try_from(age).ok()).unwrap_or(0));
        self.failing = webhook.delivery.failing.is_some();
    }
}

/// How far a webhook is behind: the number of events that it has not accepted, and since when the first of them waits.
/// Counts no further than one look goes; then there are more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    pub events: usize,
    pub has_more: bool,
    pub since: Option<Timestamp>,
}

impl<S: Sender> Deliverer<S> {
    /// How far a webhook is behind.
    pub async fn behind(&self, webhook: &Webhook) -> Result<Behind> {
        let look = self.look(webhook).await?;
        let waiting: BTreeSet<EventId> = webhook.delivery.waiting(&look.page);
        let since = waiting.first().map(|id| id.recorded());
        Ok(Behind { events: waiting.len(), has_more: look.has_more, since })
    }
}
