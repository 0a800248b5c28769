//! Where an export of changes stands. A pass over the changes of a span of time is stored part by
//! part; a part's range of ids is noted *before* it is stored, so that whoever goes on after a crash
//! stores the same range under the same name, and nothing twice or not at all.

use crate::time::Timestamp;

/// A range of ids, in one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The ids are higher than this.
    pub after: u64,
    /// The last id.
    pub last: u64,
}

/// A part that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Which ids it covers.
    pub range: Range,
    /// How many records it holds.
    pub records: u64,
    /// How many bytes it has, compressed.
    pub bytes: u64,
}

/// A pass over everything that changed in a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Changed then or later; where there is none, whenever.
    pub since: Option<Timestamp>,
    /// Last changed then or earlier: an instant up to which every change is visible.
    pub until: Timestamp,
    /// Ids up to this one are stored.
    pub after: u64,
    /// The part that is being stored, or was when its run ended.
    pub storing: Option<Range>,
    /// Stored parts that no manifest names yet.
    pub parts: Vec<Part>,
    /// How many manifests name the others.
    pub manifests: u32,
}

impl Pass {
    /// A pass that begins.
    pub fn new(since: Option<Timestamp>, until: Timestamp) -> Self {
        Self { since, until, after: 0, storing: None, parts: Vec::new(), manifests: 0 }
    }

    /// Notes what is about to be stored.
    pub fn storing(&mut self, range: Range) {
        self.storing = Some(range);
    }

    /// Notes what has been stored.
    pub fn stored(&mut self, part: Part) {
        self.storing = None;
        self.after = part.range.last;
        self.parts.push(part);
    }

    /// Notes that a manifest names every part stored so far.
    pub fn listed(&mut self) {
        self.parts.clear();
        self.manifests += 1;
    }
}

/// What is kept of an export between its runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything changed up to it is stored.
    pub watermark: Option<Timestamp>,
    /// The pass under way.
    pub pass: Option<Pass>,
}

impl Checkpoint {
    /// Ends the pass under way: everything up to its end is stored.
    pub fn finish(&mut self) {
        if let Some(pass) = self.pass.take() {
            // A pass over older changes, asked for by hand, moves nothing back.
            self.watermark = self.watermark.max(Some(pass.until));
        }
    }
}
