//! Records on their way into an object: gzipped lines of JSON, up to a size.

use std::io::Write;
use std::ops::ControlFlow;

use flate2::Compression;
use flate2::write::GzEncoder;
use tickets_domain::export::{Part, Range};
use tickets_domain::{Error, Record, Result};

/// A part being written.
#[derive(Debug)]
pub struct Writer {
    gzip: GzEncoder<Vec<u8>>,
    after: u64,
    last: u64,
    records: u64,
    /// Bytes before compression.
    written: usize,
    line: Vec<u8>,
    failed: Option<Error>,
}

/// A part that can be stored.
#[derive(Debug)]
pub struct Written {
    /// What it covers.
    pub part: Part,
    /// The object's content.
    pub body: Vec<u8>,
}

impl Writer {
    /// A part of the ids after this one.
    pub fn new(after: u64) -> Self {
        Self {
            gzip: GzEncoder::new(Vec::new(), Compression::new(4)),
            after,
            last: after,
            records: 0,
            written: 0,
            line: Vec::new(),
            failed: None,
        }
    }

    /// The last id it holds.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many bytes it holds, before compression.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Whether a record could not be written.
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Writes a record; breaks where that fails, which [`Writer::finish`] tells.
    pub fn push(&mut self, record: &Record) -> ControlFlow<()> {
        self.line.clear();
        let written = serde_json::to_writer(&mut self.line, record).map_err(std::io::Error::other);
        self.line.push(b'\n');
        if let Err(error) = written.and_then(|()| self.gzip.write_all(&self.line)) {
            self.failed = Some(Error::internal(error));
            return ControlFlow::Break(());
        }
        self.written += self.line.len();
        self.records += 1;
        self.last = record.stamps().id.get();
        ControlFlow::Continue(())
    }

    /// The part up to `last`, which may lie after its last record.
    ///
    /// # Errors
    /// Where a record could not be written.
    pub fn finish(self, last: u64) -> Result<Written> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let body = self.gzip.finish().map_err(Error::internal)?;
        let range = Range { after: self.after, last };
        Ok(Written { part: Part { range, records: self.records, bytes: body.len() as u64 }, body })
    }
}
