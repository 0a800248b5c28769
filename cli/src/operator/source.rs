//! What exports read: the API, or the table behind it.

use std::path::PathBuf;

use clap::Args;
use serde_json::value::RawValue;
use tickets_domain::filter::MAX_LIMIT;
use tickets_domain::id::CustomerId;
use tickets_domain::{Clock, Continuation, Filter, Fit, ListEnd, Timestamp, Visibility, WorkQueue};
use tickets_http::list::Parameter;
use tickets_repository::Tickets;

use super::connect::{Opened, Tables, open};
use crate::client::{Api, Client, Page, Row};
use crate::error::CommandError;

/// Where to read from: the API, or the table with `--table`
#[derive(Debug, Clone, Args)]
pub struct From {
    /// Read the table directly, not the API: with your AWS credentials, or a local one
    #[arg(long)]
    table: bool,
    /// With --table: database to read
    #[arg(long, env = "AWS_ENDPOINT_URL_DYNAMODB", value_name = "URL", requires = "table")]
    endpoint_url: Option<String>,
    /// With --table: local data directory to read
    #[arg(long, value_name = "DIR", requires = "table", conflicts_with = "endpoint_url")]
    data: Option<PathBuf>,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    api: Api,
}

/// Which records to read
#[derive(Debug, Clone, Default, Args)]
pub struct Selection {
    /// Only what changed then or later
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Only what last changed then or earlier
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// Only what was created then or later
    #[arg(long, value_name = "TIME")]
    pub created_since: Option<Timestamp>,
    /// Only one customer's tickets
    #[arg(long, value_name = "ID")]
    pub customer: Option<CustomerId>,
    /// Also the tombstones of deleted tickets
    #[arg(long)]
    pub include_deleted: bool,
}

/// An open source.
pub enum Source {
    Api(Client),
    /// The table, and the database that must stay open for it.
    Table(Tickets, Box<Opened>),
}

impl From {
    pub async fn open(&self) -> Result<Source, CommandError> {
        if !self.table {
            return Ok(Source::Api(self.api.client()?));
        }
        let opened = open(self.endpoint_url.as_deref(), self.data.as_ref()).await?;
        let table = &self.tables.tickets_table;
        let settings = opened.config(table, &[]).await?.settings;
        let tickets = Tickets::new(opened.dynamodb.clone(), table, Clock::system(), settings);
        Ok(Source::Table(tickets, Box::new(opened)))
    }
}

impl Selection {
    /// The path of the API's list.
    pub fn path(&self) -> String {
        match self.customer {
            Some(customer) => format!("/customers/{customer}/tickets/"),
            None => "/tickets/".into(),
        }
    }

    /// The query parameters of the API's list.
    pub fn query(
        &self,
        id_after: u64,
        limit: Option<usize>,
        continuation: &Continuation,
    ) -> Vec<(&'static str, String)> {
        let times = [
            ("updatedSince", self.since),
            ("updatedUntil", self.until),
            ("createdSince", self.created_since),
        ];
        let times = times.into_iter().filter_map(|(name, time)| Some((name, time?.to_string())));
        let limit = limit.map(|limit| ("limit", limit.to_string()));
        let deleted = self.include_deleted.then(|| ("includeDeleted", "true".to_owned()));
        let found = Some(continuation.to_string()).filter(|found| !found.is_empty());
        let found = found.map(|found| (Parameter::Continuation.name(), found));
        times.chain(limit).chain(deleted).chain(found).chain([("idAfter", id_after.to_string())]).collect()
    }
}

impl Source {
    /// The source's name; equal names mean the same records.
    pub fn name(&self) -> String {
        match self {
            Self::Api(client) => client.base().to_owned(),
            Self::Table(tickets, _) => format!("table {}", tickets.table()),
        }
    }

    /// A page of the records after an id: `limit` of them, or as many as fit a page.
    pub async fn page(
        &self,
        selection: &Selection,
        id_after: u64,
        limit: Option<usize>,
        continuation: &Continuation,
    ) -> Result<Page, CommandError> {
        let (tickets, now) = match self {
            Self::Api(client) => {
                let query = selection.query(id_after, limit, continuation);
                return Ok(client.list(&selection.path(), &query).await?);
            }
            Self::Table(tickets, _) => (tickets, Clock::system().now()),
        };
        let filter = Filter {
            customer: selection.customer,
            ids: None,
            id_after,
            created_since: selection.created_since,
            updated_since: selection.since,
            updated_until: selection.until,
            limit: Some(limit.unwrap_or(MAX_LIMIT)),
            include_deleted: selection.include_deleted,
            queue: WorkQueue::default(),
        };
        let mut rows = Vec::new();
        let mut failed = None;
        let take = |row: &tickets_domain::Row| {
            let key = row.key;
            match RawValue::from_string(row.json.clone()) {
                Ok(json) => rows.push(Row { id: key.id.get(), updated: key.updated, json }),
                Err(error) => failed = Some(error),
            }
            if failed.is_some() { Fit::Full } else { Fit::Added }
        };
        let listed = tickets.list(&filter, continuation, Visibility::All, take).await?;
        match failed {
            Some(error) => Err(tickets_domain::Error::internal(error).into()),
            None => Ok(Page { rows, end: listed.end, sync_until: Some(tickets.settings().horizon(now)) }),
        }
    }

    /// The highest id that a list by ids holds back: it ends before an open id, because the ticket of that id may
    /// still come (docs/sync.md). `None` if it ended because there is no more.
    ///
    /// Whoever reserves an id later also stamps the ticket later. So what is held back has changed after
    /// `Sync-Until`, and the list of these changes, which has no such end, shows it.
    pub async fn held_back(
        &self,
        selection: &Selection,
        id_after: u64,
        sync_until: Option<Timestamp>,
    ) -> Result<Option<u64>, CommandError> {
        let is_by_ids =
            matches!(selection, Selection { since: None, created_since: None, customer: None, .. });
        let Some(since) = sync_until.filter(|_| is_by_ids) else { return Ok(None) };
        let changed = Selection { since: Some(since), ..selection.clone() };
        let (mut last, mut continuation) = (id_after, Continuation::default());
        loop {
            let page = self.page(&changed, last, None, &continuation).await?;
            match page.end {
                ListEnd::Complete => {
                    return Ok(page
                        .rows
                        .last()
                        .map(|row| row.id)
                        .max(Some(last))
                        .filter(|last| *last > id_after));
                }
                ListEnd::More { after, found } => (last, continuation) = (after, found),
            }
        }
    }

    /// The highest id in the selection, for a progress bar. It guesses an id and asks whether there is a
    /// higher one: a few dozen small requests, however many tickets there are.
    pub async fn highest_id(&self, selection: &Selection) -> Result<u64, CommandError> {
        let every = Selection { customer: selection.customer, include_deleted: true, ..Selection::default() };
        let (mut low, mut high, mut step) = (0, None::<u64>, 1000);
        // Double the guess until nothing is above it, then halve the interval.
        while high.is_none_or(|high| low < high) {
            let guess = high.map_or(low + step, |high| low + (high - low) / 2);
            let page = self.page(&every, guess, Some(1), &Continuation::default()).await?;
            match page.rows.first() {
                Some(row) => (low, step) = (row.id, step * 2),
                None => high = Some(guess),
            }
        }
        Ok(low)
    }
}
