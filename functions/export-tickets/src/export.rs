//! A run: continues where the last one ended, stores part after part, and moves the watermark when the pass
//! ends.
//!
//! A part's range of ids is written to the checkpoint before the part is stored, conditionally. So of two
//! runs at the same time only one goes on. A killed run is continued by storing that same range again, under
//! the same name. An object that a slow run stores late holds all that its successor's holds, because
//! everything up to the pass' end was visible to both (docs/sync.md).

use std::time::Duration;

use tickets_domain::export::Pass;
use tickets_domain::{
    Clock, Continuation, Error, Filter, Fit, ListEnd, Meter, Result, Row, Timestamp, Visibility,
};
use tickets_repository::Tickets;
use tickets_repository::checkpoint::{ExportKind, Saved};
use tickets_repository::deployment::Variables;

use crate::event::Outcome;
use crate::layout::{Manifest, manifest_key, part_key};
use crate::part::{PartWriter, Written};
use crate::store::{PUT_TIMEOUT, Store};

/// Bytes of JSON in an object before compression, which leaves about a tenth. Large enough for readers that
/// pay by the object; small enough for two in memory at a time, even if nothing can be compressed.
pub const PART_BYTES: usize = 64 * 1024 * 1024;
/// The most parts without a manifest: the checkpoint, which lists them, is one item.
const MOST_PARTS: usize = 500;
/// The time that a run needs at its end: for the last object, the manifest and the checkpoint.
const CLOSING_TIME: Duration = Duration::from_secs(2 * PUT_TIMEOUT.as_secs() + 5);

/// Exports tickets to a store of objects.
#[derive(Debug, Clone)]
pub struct Exporter {
    tickets: Tickets,
    store: Store,
    clock: Clock,
    part_bytes: usize,
    /// The configuration that a run notes in the table.
    variables: Option<Variables>,
}

/// A run in progress.
struct Run<'a> {
    exporter: &'a Exporter,
    export: ExportKind,
    saved: Saved,
    pass: Pass,
    /// From then on no further part is begun.
    closing: Timestamp,
    outcome: Outcome,
}

/// The next step of a pass.
enum Next {
    /// A part, and whether there may be more after it.
    Part(Written, bool),
    /// The pass has ended.
    End,
    /// There is no time for another part in this run.
    NoTime,
}

impl Exporter {
    pub fn new(tickets: Tickets, store: Store, clock: Clock) -> Self {
        Self { tickets, store, clock, part_bytes: PART_BYTES, variables: None }
    }

    /// The same exporter, which notes in the table what functions are configured with, for operators' commands. The
    /// export does so because it runs every few minutes, whatever the traffic.
    #[must_use]
    pub fn noting(self, variables: Variables) -> Self {
        Self { variables: Some(variables), ..self }
    }

    /// Notes the configuration, if it has changed.
    pub async fn note_configuration(&self) -> Result<()> {
        match &self.variables {
            Some(variables) => Ok(self.tickets.note_configuration(variables).await?),
            None => Ok(()),
        }
    }

    /// The same exporter, with objects of another size.
    #[must_use]
    pub fn with_part_bytes(self, part_bytes: usize) -> Self {
        Self { part_bytes, ..self }
    }

    /// The same exporter, with a meter that counts what its calls of the database consume.
    #[must_use]
    pub fn metered(&self, meter: Meter) -> Self {
        Self { tickets: self.tickets.metered(meter), ..self.clone() }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Notes that everything changed since then is to be exported again.
    ///
    /// # Errors
    /// [`Error::Contended`] if a run takes a step at the same time.
    pub async fn ask_again(&self, since: Timestamp) -> Result<()> {
        let mut saved = self.tickets.checkpoint(ExportKind::Again).await?;
        let reaches_back = |pass: &Pass| pass.since.is_none_or(|begun| begun <= since);
        if saved.checkpoint.pass.as_ref().is_some_and(reaches_back) {
            return Ok(()); // The current pass covers it.
        }
        saved.checkpoint.pass = Some(Pass::new(Some(since), self.horizon()));
        self.tickets.save_checkpoint(&mut saved).await
    }

    /// Whether a pass that was asked for by hand has not ended yet.
    pub async fn is_asked_again(&self) -> Result<bool> {
        Ok(self.tickets.checkpoint(ExportKind::Again).await?.checkpoint.pass.is_some())
    }

    /// Continues an export until its pass ends or time is short. If another run takes it over, the outcome
    /// says so.
    pub async fn run(&self, export: ExportKind, deadline: Timestamp) -> Result<Outcome> {
        let saved = self.tickets.checkpoint(export).await?;
        let begun = saved.checkpoint.pass.clone();
        let pass = begun.unwrap_or_else(|| Pass::new(saved.checkpoint.watermark, self.horizon()));
        let (since, until, watermark) = (pass.since, pass.until, saved.checkpoint.watermark);
        let outcome = Outcome { since, until, watermark, ..Outcome::new(until) };
        let closing = deadline.minus(CLOSING_TIME);
        let mut run = Run { exporter: self, export, saved, pass, closing, outcome };
        match run.store().await {
            Err(Error::Contended) => run.outcome.overtaken = true,
            ended => ended?,
        }
        Ok(run.outcome)
    }

    /// The instant up to which every change is visible.
    fn horizon(&self) -> Timestamp {
        self.tickets.settings().horizon(self.clock.now())
    }
}

impl Run<'_> {
    /// Stores parts until there are no more, or no time. Reads each part while the one before is stored.
    async fn store(&mut self) -> Result<()> {
        let mut next = match self.pass.storing {
            // The last run ended here: read exactly this range again, because it may or may not be stored.
            Some(range) => self.read(range.after, Some(range.last)).await?,
            None => self.read(self.pass.after, None).await?,
        };
        while let Next::Part(Written { part, body }, more) = next {
            self.pass.storing(part.range);
            self.save().await?;
            let key = part_key(self.export, &self.pass, part.range);
            let stored = self.exporter.store.put(&key, body);
            let following =
                async { if more { self.read(part.range.last, None).await } else { Ok(Next::End) } };
            ((), next) = tokio::try_join!(stored, following)?;
            self.pass.stored(part);
            self.outcome.objects += 1;
            self.outcome.records += part.records;
            self.outcome.bytes += part.bytes;
            if self.pass.parts.len() >= MOST_PARTS {
                self.store_manifest(false).await?;
            }
        }
        let complete = matches!(next, Next::End);
        if complete || !self.pass.parts.is_empty() {
            self.store_manifest(complete).await?;
            self.save_end(complete).await?;
        }
        self.outcome.complete = complete;
        Ok(())
    }

    /// Reads the next part after an id: as much as an object holds, or exactly up to `last`.
    async fn read(&self, after: u64, last: Option<u64>) -> Result<Next> {
        let Exporter { tickets, clock, part_bytes, .. } = self.exporter;
        let mut part = PartWriter::new(after);
        let mut cut = false;
        let (mut id_after, mut continuation) = (after, Continuation::default());
        loop {
            let filter = Filter {
                id_after,
                updated_since: self.pass.since,
                updated_until: Some(self.pass.until),
                include_deleted: true,
                ..Filter::default()
            };
            let take = |row: &Row| {
                cut = match last {
                    Some(last) => row.key.id.get() > last,
                    None => part.written() >= *part_bytes || clock.now() >= self.closing,
                };
                if cut { Fit::Full } else { part.push(row) }
            };
            let listed = tickets.list(&filter, &continuation, Visibility::All, take).await?;
            let more = match listed.end {
                ListEnd::Complete => false,
                ListEnd::More { after, found } => {
                    (id_after, continuation) = (after, found);
                    true
                }
            };
            // A list may also end because it has read much: then the part goes on.
            if more && !cut && !part.has_failed() {
                continue;
            }
            return Ok(match last {
                Some(last) => Next::Part(part.finish(last)?, true),
                None if part.written() > 0 || part.has_failed() => {
                    let last = part.last();
                    Next::Part(part.finish(last)?, more)
                }
                None if more => Next::NoTime,
                None => Next::End,
            });
        }
    }

    async fn store_manifest(&mut self, complete: bool) -> Result<()> {
        let manifest = Manifest::new(self.export, &self.pass, complete);
        let body = serde_json::to_vec_pretty(&manifest).map_err(Error::internal)?;
        let key = manifest_key(self.export, &self.pass);
        self.exporter.store.put(&key, body).await?;
        self.pass.listed();
        Ok(())
    }

    async fn save(&mut self) -> Result<()> {
        self.saved.checkpoint.pass = Some(self.pass.clone());
        self.exporter.tickets.save_checkpoint(&mut self.saved).await
    }

    /// Saves where this run ends. At the end of the pass, moves the watermark.
    async fn save_end(&mut self, complete: bool) -> Result<()> {
        if !complete {
            return self.save().await;
        }
        self.saved.checkpoint.pass = Some(self.pass.clone());
        self.saved.checkpoint.finish();
        self.exporter.tickets.save_checkpoint(&mut self.saved).await?;
        self.outcome.watermark = self.saved.checkpoint.watermark;
        Ok(())
    }
}
