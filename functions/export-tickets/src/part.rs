//! Writes records into an object: gzipped lines of JSON, up to a size.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tickets_domain::export::{Part, Range};
use tickets_domain::{Error, Fit, Result, Row};

/// The encoder for all objects.
pub(crate) fn gzip() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), Compression::new(4))
}

/// A part being written.
#[derive(Debug)]
pub struct PartWriter {
    gzip: GzEncoder<Vec<u8>>,
    after: u64,
    last: u64,
    records: u64,
    /// Bytes before compression.
    written: usize,
    failed: Option<Error>,
}

/// A finished part, ready to be stored.
#[derive(Debug)]
pub struct Written {
    /// Its range, records and bytes.
    pub part: Part,
    /// The object's content.
    pub body: Vec<u8>,
}

impl PartWriter {
    /// A part for ids after this one.
    pub fn new(after: u64) -> Self {
        Self { gzip: gzip(), after, last: after, records: 0, written: 0, failed: None }
    }

    /// The last id in the part.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many bytes the part has before compression.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Whether a record could not be written.
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Writes a record. [`PartWriter::finish`] reports a failure.
    pub fn push(&mut self, row: &Row) -> Fit {
        let json = row.json.as_bytes();
        if let Err(error) = self.gzip.write_all(json).and_then(|()| self.gzip.write_all(b"\n")) {
            self.failed = Some(Error::internal(error));
            return Fit::Full;
        }
        self.written += json.len() + 1;
        self.records += 1;
        self.last = row.key.id.get();
        Fit::Added
    }

    /// Finishes the part up to `last`, which may be higher than its last record's id.
    pub fn finish(self, last: u64) -> Result<Written> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let body = self.gzip.finish().map_err(Error::internal)?;
        let range = Range { after: self.after, last };
        Ok(Written { part: Part { range, records: self.records, bytes: body.len() as u64 }, body })
    }
}
