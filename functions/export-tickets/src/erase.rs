//! Erasure: removes a ticket's content from the stored objects, earlier versions included. It can be
//! interrupted and repeated, because it goes by what each object holds now.
//!
//! Lines with content are removed. A tombstone's line stays, because it has no content and readers need it.
//! All other lines stay unchanged. Then the manifests get the objects' new numbers of records and bytes.

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

/// Objects that are read at the same time, each as a whole, up to some 6 MB.
const AT_ONCE: usize = 8;

/// What an erasure did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Objects that were read.
    pub looked_at: u64,
    /// Objects that lost lines.
    pub rewritten: u64,
    /// Earlier versions that were removed.
    pub removed: u64,
    /// Manifests that were changed.
    pub corrected: u64,
}

/// An object's number of records; and its new content, if lines have to be removed.
struct Content {
    records: u64,
    left: Option<Vec<u8>>,
}

/// The result for one version of an object.
enum Became {
    Gone,
    Removed,
    Untouched,
    Is { name: PartName, key: String, records: u64, bytes: u64, rewritten: bool },
}

/// Erases a ticket's content. Skips the objects of passes that ended before the ticket was created. After an
/// error, what is done stays done.
pub async fn erase(bucket: &Bucket, ticket: TicketId, created: Option<Timestamp>) -> Result<Erased> {
    let mut may_hold = Vec::new();
    for object in bucket.versions("").await? {
        let Some(name) = PartName::parse(&object.key) else { continue };
        let in_range = name.range.after < ticket.get() && ticket.get() <= name.range.last;
        if in_range && created.is_none_or(|created| created <= name.until) {
            may_hold.push((name, object));
        }
    }
    // Take sizes from the objects, not from what this call did: an interrupted call may have left a manifest
    // uncorrected.
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
                // A manifest that was moved to a folder names the objects by their former keys.
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

/// Reads one version of an object, and rewrites or removes it if it holds content of the ticket.
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

/// Removes the lines with content of the ticket from a part's object.
fn without(ticket: TicketId, body: &[u8]) -> Result<Content> {
    /// The members of a record that are needed here.
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
        // This test saves parsing most lines.
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

/// Corrects the manifests whose keys have this prefix. Returns how many were wrong.
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
