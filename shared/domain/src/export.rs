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

#[cfg(test)]
mod tests {
    use super::*;

    fn time(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn a_part_is_noted_before_it_is_stored_and_the_pass_goes_on_after_it() {
        let mut pass = Pass::new(None, time(5));
        let range = Range { after: 0, last: 70 };
        pass.storing(range);
        assert_eq!((pass.storing, pass.after), (Some(range), 0), "a run that dies here repeats this range");
        let part = Part { range, records: 3, bytes: 99 };
        pass.stored(part);
        assert_eq!((pass.storing, pass.after, &pass.parts[..]), (None, 70, &[part][..]));
    }

    #[test]
    fn every_manifest_names_the_parts_since_the_one_before() {
        let mut pass = Pass::new(Some(time(1)), time(5));
        for manifests in 1..=3 {
            pass.stored(Part { range: Range { after: 0, last: 7 }, records: 1, bytes: 1 });
            pass.listed();
            assert_eq!((pass.parts.len(), pass.manifests), (0, manifests));
        }
    }

    #[test]
    fn a_finished_pass_moves_the_watermark_on_and_never_back() {
        let mut checkpoint = Checkpoint::default();
        for (until, watermark) in [(5, 5), (9, 9), (2, 9)] {
            checkpoint.pass = Some(Pass::new(None, time(until)));
            checkpoint.finish();
            assert_eq!(checkpoint, Checkpoint { watermark: Some(time(watermark)), pass: None });
        }
        checkpoint.finish();
        assert_eq!(checkpoint.watermark, Some(time(9)), "where no pass is under way nothing ends");
    }
}
