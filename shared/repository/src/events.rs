//! The feed of events, read from the index `byRecorded` of the history.
//!
//! A month of the index has a partition for each shard. The months are read one after the other, the shards of a month
//! at the same time, and merged by the events' ids. Entries that are recorded at this moment may not be visible yet, in
//! any shard. So a reader of the feed is shown nothing younger than the settle window, and then nothing comes behind
//! it. Who remembers what it has seen may read on to the present (`until`).
//!
//! One more item in the index says when the first event was recorded, so that no reader asks for the months before.

use std::collections::VecDeque;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::try_join_all;
use serde::Deserialize;
use tickets_domain::{
    ChangeKind, Event, EventFilter, EventId, EventsEnd, Fit, KeyId, Result, TicketId, Timestamp, Version,
    Visibility,
};

use crate::failure::WriteError;
use crate::history::{EventItem, History};
use crate::item::{self, Item, millis};
use crate::month::Month;
use crate::primary_key::{SHARDS, month_shard};
use crate::schema::{BY_RECORDED, RECORDED, RECORDED_MONTH};

/// The partition of the index with the one item that says when the first event was recorded.
const START: &str = "start";

/// An entry of the index.
#[derive(Deserialize)]
struct RecordedItem {
    ticket: u64,
    version: Version,
    #[serde(with = "millis")]
    recorded: Timestamp,
    #[serde(with = "millis")]
    date: Timestamp,
    change: ChangeKind,
    by: KeyId,
    names: Vec<String>,
    #[serde(flatten)]
    event: EventItem,
}

fn event(item: Item) -> Result<Event> {
    let RecordedItem { ticket, version, recorded, date, change, by, names: fields, event } =
        item::from_item(item)?;
    let ticket: TicketId = item::ticket_id(ticket)?;
    let EventItem { customer, left, shown } = event;
    Ok(Event {
        id: EventId::new(recorded, ticket, version),
        kind: change.into(),
        ticket,
        customer: Some(customer),
        version,
        date,
        by,
        fields,
        shown,
        left,
    })
}

impl History {
    /// Passes the events that a filter asks for, and that the caller may see, to `take`, in the order of their ids,
    /// until it is full or the filter's limit is reached. The last ones were recorded at `until`. A reader who goes by
    /// ids alone must ask for no more than what has settled ([`Settings::horizon`](tickets_domain::Settings::horizon)).
    ///
    /// # Errors
    /// If the database does not answer for a part of the feed: it never has a gap.
    pub async fn events(
        &self,
        filter: &EventFilter,
        visibility: Visibility,
        until: Timestamp,
        mut take: impl FnMut(&Event) -> Fit,
    ) -> Result<EventsEnd> {
        // Nothing is recorded later: the fastest clock is ahead by less than the settle window.
        let until = until.min(self.clock.now().plus(self.settings.settle));
        let Some(from) = self.first_to_read(filter, until).await? else { return Ok(EventsEnd::Complete) };
        // One more than asked for tells whether there are more.
        let wanted = filter.limit.map_or(usize::MAX, |limit| limit + 1);
        let (mut taken, mut read) = (0, 0);
        let mut month = Month::of(from);
        loop {
            let mut shards = MonthShards::new(month, from, until);
            while !shards.is_end() {
                // If little is asked for of what is there, read twice as much each time.
                let page = shards.next(self, read.max(wanted - taken)).await?;
                read += page.read;
                for event in page.events {
                    let Some(event) = Some(event).filter(|event| filter.includes(event)) else { continue };
                    let Some(event) = event.seen_with(visibility) else { continue };
                    if filter.limit == Some(taken) || take(&event) == Fit::Full {
                        return Ok(EventsEnd::Full);
                    }
                    taken += 1;
                }
                let reached = shards.reached().filter(|reached| *reached > from);
                if let Some(reached) = reached.filter(|_| read >= self.settings.most_keys) {
                    return Ok(EventsEnd::Paused(reached));
                }
            }
            if month >= Month::of(until) {
                return Ok(EventsEnd::Complete);
            }
            month = month.next();
            if read >= self.settings.most_keys {
                return Ok(EventsEnd::Paused(month.begins()));
            }
        }
    }

    /// The earliest time at which an event may have been recorded that the filter asks for. `None` if there is none up
    /// to `until`.
    async fn first_to_read(&self, filter: &EventFilter, until: Timestamp) -> Result<Option<Timestamp>> {
        let begins = filter.begins();
        let from = match begins {
            Some(begins) if Month::of(begins) >= Month::of(until) => Some(begins),
            Some(_) | None => {
                self.started().await?.map(|started| begins.map_or(started, |begins| begins.max(started)))
            }
        };
        Ok(from.filter(|from| *from <= until))
    }

    /// A time before which no event was recorded; `None` if there are none.
    async fn started(&self) -> Result<Option<Timestamp>> {
        #[derive(Deserialize)]
        struct Start {
            #[serde(with = "millis")]
            date: Timestamp,
        }
        let query =
            self.recorded_in(START, Timestamp::from_millis(0).unwrap_or(Timestamp::MAX), Timestamp::MAX);
        let output = self.dynamodb.read(query.limit(1).send().await)?;
        let start: Option<Start> =
            output.items.into_iter().flatten().next().map(item::from_item).transpose()?;
        // The clock of an instance may have been set back since it noted the start.
        Ok(start.map(|start| start.date.minus(self.settings.settle)))
    }

    /// Notes that events are recorded from now on, once for each instance of a function. Called before an instance
    /// records its first event, so no event is earlier, whatever the clocks of other instances say.
    pub(crate) async fn note_start(&self, now: Timestamp) -> Result<()> {
        let note = async || {
            let number = |number: i64| AttributeValue::N(number.to_string());
            let put = self
                .repeating
                .put_item()
                .table_name(&self.table)
                .item("ticket", number(0))
                .item("version", number(0))
                .item(RECORDED_MONTH, AttributeValue::S(START.into()))
                // Always at the same place of the index. An entry that moves is deleted and put, in two writes (AWS:
                // *Using Global Secondary Indexes in DynamoDB*, write capacity units): a reader between them would
                // find no start, and take the feed for empty.
                .item(RECORDED, number(0))
                .item("date", number(now.millis()))
                .condition_expression("attribute_not_exists(#date) OR #date > :date")
                .expression_attribute_names("#date", "date")
                .expression_attribute_values(":date", number(now.millis()));
            match self.repeating.wrote(put.send().await) {
                // If the condition failed, an earlier time is noted.
                Ok(_) | Err(WriteError::ConditionFailed(_)) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        self.start.get_or_try_init(note).await.copied()
    }

    fn recorded_in(&self, partition: &str, from: Timestamp, until: Timestamp) -> QueryFluentBuilder {
        let millis = |time: Timestamp| AttributeValue::N(time.millis().to_string());
        self.dynamodb
            .query()
            .table_name(&self.table)
            .index_name(BY_RECORDED)
            .key_condition_expression("#month = :month AND #recorded BETWEEN :from AND :until")
            .expression_attribute_names("#month", RECORDED_MONTH)
            .expression_attribute_names("#recorded", RECORDED)
            .expression_attribute_values(":month", AttributeValue::S(partition.to_owned()))
            .expression_attribute_values(":from", millis(from))
            .expression_attribute_values(":until", millis(until))
    }
}

/// Events in the order of their ids.
struct EventPage {
    events: Vec<Event>,
    /// How many entries were read for them.
    read: usize,
}

/// The events of a month that were recorded in a period, from all shards.
struct MonthShards {
    from: Timestamp,
    until: Timestamp,
    shards: Vec<Shard>,
}

/// One partition of the index.
struct Shard {
    partition: String,
    start: Option<Item>,
    /// Every event recorded before this instant has been read; `None` at the end.
    reached: Option<Timestamp>,
    /// The events read, that may come after those of other shards.
    events: VecDeque<Event>,
}

impl MonthShards {
    fn new(month: Month, from: Timestamp, until: Timestamp) -> Self {
        let shard = |shard| Shard {
            partition: month_shard(month, shard),
            start: None,
            reached: Some(from),
            events: VecDeque::new(),
        };
        Self { from, until, shards: (0..SHARDS).map(shard).collect() }
    }

    fn is_end(&self) -> bool {
        self.reached().is_none()
    }

    /// Every event recorded before this instant has been passed on; `None` at the end of the month.
    fn reached(&self) -> Option<Timestamp> {
        self.shards.iter().filter_map(|shard| shard.reached).min()
    }

    /// The next events, from about `limit` entries.
    async fn next(&mut self, history: &History, limit: usize) -> Result<EventPage> {
        let limit = limit.div_ceil(SHARDS as usize);
        let (from, until, reached) = (self.from, self.until, self.reached());
        // Shards that are ahead of others can wait.
        let behind =
            self.shards.iter_mut().filter(|shard| shard.reached.is_some() && shard.reached <= reached);
        let read = behind.map(|shard| shard.read_on(history, from, until, limit));
        let read = try_join_all(read).await?.into_iter().sum();
        let reached = self.reached();
        let is_complete = |event: &mut Event| reached.is_none_or(|reached| event.id.recorded() < reached);
        let mut events = Vec::new();
        for shard in &mut self.shards {
            while let Some(event) = shard.events.pop_front_if(is_complete) {
                events.push(event);
            }
        }
        events.sort_unstable_by_key(|event| event.id);
        Ok(EventPage { events, read })
    }
}

impl Shard {
    /// Reads about `limit` entries, and returns how many there were.
    async fn read_on(
        &mut self,
        history: &History,
        from: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<usize> {
        let query = history
            .recorded_in(&self.partition, from, until)
            .set_exclusive_start_key(self.start.take())
            // A page ends at a megabyte, before it reaches a larger limit.
            .set_limit(i32::try_from(limit).ok().filter(|limit| *limit < 10_000));
        let output = history.dynamodb.read(query.send().await)?;
        let events = output.items.into_iter().flatten().map(event).collect::<Result<Vec<_>>>()?;
        let read = events.len();
        // More of the last instant may be on the next page.
        let last = events.last().map(|event| event.id.recorded()).or(self.reached);
        self.events.extend(events);
        self.start = output.last_evaluated_key;
        self.reached = last.filter(|_| self.start.is_some());
        Ok(read)
    }
}
