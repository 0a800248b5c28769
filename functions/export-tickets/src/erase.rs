//! Erasure: a ticket's content out of the objects that hold it, earlier versions of them included. It can be
//! interrupted and repeated: each object is looked at for what it holds now.
//!
//! Lines with content go; a tombstone's line stays, for it has none, and readers go by it. So do all other lines, byte by
//! byte. Manifests then say the records and bytes that their objects have.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};

use flate2::read::GzDecoder;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tickets_domain::{Error, Result, TicketId, Timestamp};

use crate::bucket::{Bucket, ObjectVersion};
use crate::layout::{Manifest, PartName};
use crate::part;

/// Objects that are looked at at the same time: each is read whole, up to some 6 MB.
const AT_ONCE: usize = 8;

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Objects that were looked at.
    pub looked_at: u64,
    /// Objects that are without lines they had.
    pub rewritten: u64,
    /// Earlier versions that are gone.
    pub removed: u64,
    /// Manifests that say something else now.
    pub corrected: u64,
}

/// What an object holds: so many records, and where lines are to go what is left.
struct Content {
    records: u64,
    left: Option<Vec<u8>>,
}

/// What became of one version of an object.
enum Became {
    Gone,
    Removed,
    Untouched,
    Is { name: PartName, key: String, records: u64, bytes: u64, rewritten: bool },
}

/// Erases a ticket's content. An object of a pass that ended before the ticket was created is not looked at.
///
/// # Errors
/// Where the store does not answer, or an object is not what the export makes. What is done stays done.
pub async fn erase(bucket: &Bucket, ticket: TicketId, created: Option<Timestamp>) -> Result<Erased> {
    let mut may_hold = Vec::new();
    for object in bucket.versions("").await? {
        let Some(name) = PartName::parse(&object.key) else { continue };
        let in_range = name.range.after < ticket.get() && ticket.get() <= name.range.last;
        if in_range && created.is_none_or(|created| created <= name.until) {
            may_hold.push((name, object));
        }
    }
    // Sizes come from the objects, not from what this call did: a call that was interrupted may have left a
    // manifest behind.
    let mut erased = Erased { looked_at: may_hold.len() as u64, ..Erased::default() };
    let mut sizes: HashMap<String, HashMap<String, (u64, u64)>> = HashMap::new();
    let mut manifests = BTreeSet::new();
    let looked = may_hold.into_iter().map(|(name, object)| look(bucket, ticket, name, object));
    let mut looked = std::pin::pin!(stream::iter(looked).buffer_unordered(AT_ONCE));
    while let Some(became) = looked.try_next().await? {
        match became {
            Became::Gone | Became::Untouched => {}
            Became::Removed => erased.removed += 1,
            Became::Is { name, key, records, bytes, rewritten } => {
                erased.rewritten += u64::from(rewritten);
                manifests.insert((name.folder.clone(), name.manifests()));
                // A manifest that was put aside names the objects as they were called before.
                let key = key.strip_prefix(&*name.folder).unwrap_or(&key).to_owned();
                sizes.entry(name.folder).or_default().insert(key, (records, bytes));
            }
        }
    }
    let corrections =
        manifests.iter().map(async |(folder, prefix)| correct(bucket, prefix, &sizes[folder]).await);
    let corrected: Vec<u64> = stream::iter(corrections).buffer_unordered(AT_ONCE).try_collect().await?;
    erased.corrected = corrected.iter().sum();
    Ok(erased)
}

/// Looks at one version of an object, and rewrites or removes it where it holds content of the ticket.
async fn look(bucket: &Bucket, ticket: TicketId, name: PartName, object: ObjectVersion) -> Result<Became> {
    let Some(body) = bucket.get(&object).await? else { return Ok(Became::Gone) };
    let Content { records, left } = without(ticket, &body)?;
    if !object.is_latest {
        return Ok(match left {
            None => Became::Untouched,
            Some(_) => {
                bucket.remove(&object).await?;
                Became::Removed
            }
        });
    }
    let (rewritten, bytes) = match left {
        None => (false, body.len()),
        Some(left) => {
            let bytes = left.len();
            bucket.replace(&object, "application/gzip", left).await?;
            (true, bytes)
        }
    };
    Ok(Became::Is { name, key: object.key, records, bytes: bytes as u64, rewritten })
}

/// A part's object without the lines that hold content of the ticket, if there are any.
fn without(ticket: TicketId, body: &[u8]) -> Result<Content> {
    /// As much of a record as is asked.
    #[derive(Deserialize)]
    struct Line {
        id: String,
        #[serde(rename = "deletedDate")]
        deleted: Option<IgnoredAny>,
    }
    let (id, mention) = (ticket.to_string(), format!("\"{ticket}\""));
    let mut gzip = part::gzip();
    let (mut records, mut goes) = (0, false);
    for line in BufReader::new(GzDecoder::new(body)).split(b'\n') {
        let line = line.map_err(Error::internal)?;
        let text = std::str::from_utf8(&line).map_err(Error::internal)?;
        // Few lines are parsed.
        if text.contains(&mention) {
            let parsed: Line = serde_json::from_str(text).map_err(Error::internal)?;
            if parsed.id == id && parsed.deleted.is_none() {
                goes = true;
                continue;
            }
        }
        records += 1;
        gzip.write_all(&line).and_then(|()| gzip.write_all(b"\n")).map_err(Error::internal)?;
    }
    let left = goes.then(|| gzip.finish()).transpose().map_err(Error::internal)?;
    Ok(Content { records, left })
}

/// Corrects the manifests whose keys begin so. Returns how many said something else.
async fn correct(bucket: &Bucket, prefix: &str, sizes: &HashMap<String, (u64, u64)>) -> Result<u64> {
    let mut corrected = 0;
    for object in bucket.versions(prefix).await?.into_iter().filter(|object| object.is_latest) {
        let Some(body) = bucket.get(&object).await? else { continue };
        let mut manifest: Manifest = serde_json::from_slice(&body).map_err(Error::internal)?;
        if manifest.correct(sizes) {
            let body = serde_json::to_vec_pretty(&manifest).map_err(Error::internal)?;
            bucket.put(&object.key, "application/json", body).await?;
            corrected += 1;
        }
    }
    Ok(corrected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzipped(lines: &[&str]) -> Vec<u8> {
        let mut gzip = part::gzip();
        gzip.write_all(lines.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes()).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn lines_with_content_go_and_all_others_stay_as_they_are() {
        let ticket: TicketId = "7".parse().unwrap();
        let others = [
            r#"{"id":"6","customerID":7,"subject":"7","owner":"7"}"#,
            r#"{"id":"7","customerID":1,"deletedDate":"2026-11-24T00:00:00.000Z"}"#,
            r#"{"id":"77","subject":"\"id\":\"7\""}"#,
        ];
        let content = r#"{"id":"7","customerID":1,"subject":"goes","users":"deletedDate"}"#;
        let Content { records, left } =
            without(ticket, &gzipped(&[others[0], content, others[1], others[2]])).unwrap();
        assert_eq!((records, left), (3, Some(gzipped(&others))));
        let Content { records, left } = without(ticket, &gzipped(&others)).unwrap();
        assert_eq!((records, left), (3, None));
        assert!(without(ticket, b"no gzip").is_err());
    }
}
