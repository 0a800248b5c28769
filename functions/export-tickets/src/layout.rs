//! The names of objects, and what a manifest says.
//!
//! `tickets/date=2026-11-24/20261124T010203.456Z-000000000001-000000052341.ndjson.gz`: partitioned by the
//! day of the pass' end, as Athena, Spark and DuckDB read it; then that end and the range of ids. A name
//! follows from what is stored, so that storing it again overwrites and adds nothing.

use serde::Serialize;
use tickets_domain::Timestamp;
use tickets_domain::export::{Part, Pass, Range};
use tickets_repository::checkpoint::Export;

/// The key of a part's object.
pub fn part_key(export: Export, pass: &Pass, range: Range) -> String {
    let (first, last) = (range.after + 1, range.last);
    format!("tickets/{}-{first:012}-{last:012}.ndjson.gz", pass_name(export, pass))
}

/// The key of a pass' next manifest.
pub fn manifest_key(export: Export, pass: &Pass) -> String {
    format!("manifests/{}-{:04}.json", pass_name(export, pass), pass.manifests + 1)
}

fn pass_name(export: Export, pass: &Pass) -> String {
    let until = pass.until.to_string();
    let day = &until[..until.len().min(10)];
    let again = match export {
        Export::Scheduled => "",
        Export::Again => "-again",
    };
    format!("date={day}/{}{again}", until.replace(['-', ':'], ""))
}

/// What a run stored: the objects of a pass that no earlier manifest of it names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    until: Timestamp,
    /// Whether this is the pass' last manifest.
    complete: bool,
    records: u64,
    objects: Vec<Object>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    key: String,
    records: u64,
    bytes: u64,
}

impl Manifest {
    /// The manifest of the parts of `pass` that are in none yet.
    pub fn new(export: Export, pass: &Pass, complete: bool) -> Self {
        let object = |part: &Part| Object {
            key: part_key(export, pass, part.range),
            records: part.records,
            bytes: part.bytes,
        };
        Self {
            since: pass.since,
            until: pass.until,
            complete,
            records: pass.parts.iter().map(|part| part.records).sum(),
            objects: pass.parts.iter().map(object).collect(),
        }
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
            part_key(Export::Scheduled, &pass, range),
            "tickets/date=2026-11-24/20261124T010203.456Z-000000000001-000000052341.ndjson.gz"
        );
        assert_eq!(
            manifest_key(Export::Again, &pass),
            "manifests/date=2026-11-24/20261124T010203.456Z-again-0001.json"
        );
    }
}
