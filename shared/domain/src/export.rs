//! The progress of an export of changes. A pass over the changes of a span of time is stored part by
//! part. The range of ids of a part is noted *before* the part is stored: after a crash, the next run
//! stores the same range under the same name, so that nothing is stored twice or left out.

use crate::time::Timestamp;

/// The range of ids in one stored object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// All ids are higher than this one.
    pub after: u64,
    /// The last id.
    pub last: u64,
}

/// A part that has been stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub range: Range,
    /// How many records it holds.
    pub records: u64,
    /// Its compressed size.
    pub bytes: u64,
}

/// A pass over everything that changed in a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// The pass covers changes at this instant or later; `None`: all changes.
    pub since: Option<Timestamp>,
    /// The pass covers changes at this instant or earlier, all of which are already visible.
    pub until: Timestamp,
    /// Ids up to this one are stored.
    pub after: u64,
    /// The part that is being stored, or was being stored when the run ended.
    pub storing: Option<Range>,
    /// Stored parts that no manifest names yet.
    pub parts: Vec<Part>,
    /// How many manifests name the parts before those.
    pub manifests: u32,
}

impl Pass {
    /// A pass that has stored nothing yet.
    pub fn new(since: Option<Timestamp>, until: Timestamp) -> Self {
        Self { since, until, after: 0, storing: None, parts: Vec::new(), manifests: 0 }
    }

    /// Notes the range that is about to be stored.
    pub fn storing(&mut self, range: Range) {
        self.storing = Some(range);
    }

    /// Notes that a part has been stored.
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

/// The state of an export that is kept between its runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Every change up to this instant is stored.
    pub watermark: Option<Timestamp>,
    /// The pass under way.
    pub pass: Option<Pass>,
}

impl Checkpoint {
    /// Ends the pass under way, and moves the watermark to its end.
    pub fn finish(&mut self) {
        if let Some(pass) = self.pass.take() {
            // A pass over older changes, started by hand, must not move the watermark back.
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
