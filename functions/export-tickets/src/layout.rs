//! The names of objects, and the content of a manifest.
//!
//! `tickets/date=2026-11-24/20261124T010203.456Z-000000000001-000000052341.ndjson.gz`: partitioned by the day
//! on which the pass ends, as Athena, Spark and DuckDB read it; then that end and the range of ids. The same
//! content has the same name, so storing it again overwrites it and adds nothing.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize, de};
use tickets_domain::Timestamp;
use tickets_domain::export::{Part, Pass, Range};
use tickets_repository::checkpoint::ExportKind;

/// The key of a part's object.
pub fn part_key(export: ExportKind, pass: &Pass, range: Range) -> String {
    let (first, last) = (range.after + 1, range.last);
    format!("tickets/{}-{first:012}-{last:012}.ndjson.gz", pass_name(export, pass))
}

/// The key of a pass' next manifest.
pub fn manifest_key(export: ExportKind, pass: &Pass) -> String {
    format!("manifests/{}-{:04}.json", pass_name(export, pass), pass.manifests + 1)
}

fn pass_name(export: ExportKind, pass: &Pass) -> String {
    let until = pass.until.to_string();
    let day = &until[..until.len().min(10)];
    let again = match export {
        ExportKind::Scheduled => "",
        ExportKind::Again => "-again",
    };
    format!("date={day}/{}{again}", until.replace(['-', ':'], ""))
}

/// What the key of a part's object tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartName {
    /// The prefix of the key if the object was moved to a folder, as after a restore.
    pub folder: String,
    /// The common part of the names of all objects of the pass.
    pass: String,
    /// The pass covers changes up to then.
    pub until: Timestamp,
    /// The range of ids.
    pub range: Range,
}

impl PartName {
    /// Parses a key; `None` if it is not a part's.
    pub fn parse(key: &str) -> Option<Self> {
        let (folder, name) = key.split_at(key.rfind("tickets/date=")?);
        let name = name.strip_prefix("tickets/")?.strip_suffix(".ndjson.gz")?;
        let (rest, last) = name.rsplit_once('-')?;
        let (pass, first) = rest.rsplit_once('-')?;
        let range = Range { after: first.parse::<u64>().ok()?.checked_sub(1)?, last: last.parse().ok()? };
        let (_, instant) = pass.trim_end_matches("-again").split_once('/')?;
        let part = |range| instant.get::<std::ops::Range<usize>>(range);
        let (date, hours, minutes) = (part(0..8)?, part(9..11)?, part(11..13)?);
        let (year, month, day) = (date.get(..4)?, date.get(4..6)?, date.get(6..)?);
        let seconds = instant.get(13..)?;
        let until = format!("{year}-{month}-{day}T{hours}:{minutes}:{seconds}").parse().ok()?;
        Some(Self { folder: folder.into(), pass: pass.into(), until, range })
    }

    /// The prefix of the keys of its pass' manifests.
    pub fn manifests(&self) -> String {
        format!("{}manifests/{}-", self.folder, self.pass)
    }
}

/// A manifest: the objects of a pass that no earlier manifest of the pass names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "since")]
    since: Option<Timestamp>,
    #[serde(deserialize_with = "instant")]
    until: Timestamp,
    /// Whether this is the pass' last manifest.
    complete: bool,
    records: u64,
    objects: Vec<Object>,
}

fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn since<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    instant(deserializer).map(Some)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Object {
    key: String,
    #[serde(flatten)]
    size: Size,
}

/// The size of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub records: u64,
    pub bytes: u64,
}

impl Manifest {
    /// The manifest of the parts of `pass` that are in none yet.
    pub fn new(export: ExportKind, pass: &Pass, complete: bool) -> Self {
        let object = |part: &Part| Object {
            key: part_key(export, pass, part.range),
            size: Size { records: part.records, bytes: part.bytes },
        };
        Self {
            since: pass.since,
            until: pass.until,
            complete,
            records: pass.parts.iter().map(|part| part.records).sum(),
            objects: pass.parts.iter().map(object).collect(),
        }
    }

    /// The keys of its objects.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.objects.iter().map(|object| &*object.key)
    }

    /// Sets the sizes of objects, by their keys. Returns whether any were wrong.
    pub fn correct(&mut self, sizes: &HashMap<String, Size>) -> bool {
        let mut was_wrong = false;
        for object in &mut self.objects {
            if let Some(&size) = sizes.get(&object.key) {
                was_wrong |= object.size != size;
                object.size = size;
            }
        }
        self.records = self.objects.iter().map(|object| object.size.records).sum();
        was_wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_partitioned_by_day_and_follow_from_what_is_stored() {
        let pass = Pass::new(None, "2026-11-24T01:02:03.456Z".parse().unwrap());
        let range = Range { after: 0, last: 52_341 };
        assert_eq!(
            part_key(ExportKind::Scheduled, &pass, range),
            "tickets/date=2026-11-24/20261124T010203.456Z-000000000001-000000052341.ndjson.gz"
        );
        assert_eq!(
            manifest_key(ExportKind::Again, &pass),
            "manifests/date=2026-11-24/20261124T010203.456Z-again-0001.json"
        );
    }

    #[test]
    fn a_part_s_key_says_what_it_was_made_of() {
        let pass = Pass::new(None, "2026-11-24T01:02:03.456Z".parse().unwrap());
        let range = Range { after: 7, last: 52_341 };
        for kind in [ExportKind::Scheduled, ExportKind::Again] {
            let key = part_key(kind, &pass, range);
            for folder in ["", "before-restore/"] {
                let name = PartName::parse(&format!("{folder}{key}")).unwrap();
                assert_eq!((name.folder.as_str(), name.until, name.range), (folder, pass.until, range));
                let manifest = manifest_key(kind, &pass);
                assert_eq!(format!("{folder}{manifest}").strip_prefix(&name.manifests()), Some("0001.json"));
            }
        }
        for other in [
            "",
            "tickets/date=2026-11-24/x.ndjson.gz",
            "manifests/date=2026-11-24/x-1-2.ndjson.gz",
            "tickets/date=2026-11-24/20261124T010203.456Z-0-1.ndjson.gz",
        ] {
            assert_eq!(PartName::parse(other), None, "{other}");
        }
    }
}
