//! Erasure: removes a ticket's content from the stored objects. It can be interrupted and repeated, because it
//! goes by what each object holds now.
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

use crate::layout::{Manifest, PartName, Size};
use crate::part;
use crate::store::Store;

/// Objects that are read at the same time, each as a whole, up to some 6 MB.
const AT_ONCE: usize = 8;

/// What an erasure did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Objects that were read.
    pub looked_at: u64,
    /// Objects that lost lines.
    pub rewritten: u64,
    /// Manifests that were changed.
    pub corrected: u64,
}

/// An object's number of records; and its new content, if lines have to be removed.
struct Content {
    records: u64,
    left: Option<Vec<u8>>,
}

/// An object that has no content of the ticket any more.
struct Clean {
    size: Size,
    rewritten: bool,
}

/// Erases a ticket's content. Skips the objects of passes that ended before the ticket was created. After an
/// error, what is done stays done.
pub async fn erase(store: &Store, ticket: TicketId, created: Option<Timestamp>) -> Result<Erased> {
    let mut may_hold = Vec::new();
    for key in store.keys("").await? {
        let Some(name) = PartName::parse(&key) else { continue };
        let in_range = name.range.after < ticket.get() && ticket.get() <= name.range.last;
        if in_range && created.is_none_or(|created| created <= name.until) {
            may_hold.push((name, key));
        }
    }
    // Take sizes from the objects, not from what this call did: an interrupted call may have left a manifest
    // uncorrected.
    let mut erased = Erased { looked_at: may_hold.len() as u64, ..Erased::default() };
    let mut sizes: HashMap<String, HashMap<String, Size>> = HashMap::new();
    let mut manifests = BTreeSet::new();
    let looked = may_hold
        .into_iter()
        .map(async |(name, key)| Ok::<_, Error>((clean(store, ticket, &key).await?, name, key)));
    let mut looked = std::pin::pin!(stream::iter(looked).buffer_unordered(AT_ONCE));
    while let Some((cleaned, name, key)) = looked.try_next().await? {
        let Some(Clean { size, rewritten }) = cleaned else { continue };
        erased.rewritten += u64::from(rewritten);
        manifests.insert((name.folder.clone(), name.manifests()));
        // A manifest that was moved to a folder names the objects by their former keys.
        let key = key.strip_prefix(&*name.folder).unwrap_or(&key).to_owned();
        sizes.entry(name.folder).or_default().insert(key, size);
    }
    let corrections = manifests
        .iter()
        .map(async |(folder, prefix)| correct(store, ticket, folder, prefix, &sizes[folder]).await);
    let corrected: Vec<u64> = stream::iter(corrections).buffer_unordered(AT_ONCE).try_collect().await?;
    erased.corrected = corrected.iter().sum();
    Ok(erased)
}

/// Removes the ticket's content from an object. `None` if the object is gone.
async fn clean(store: &Store, ticket: TicketId, key: &str) -> Result<Option<Clean>> {
    loop {
        let Some(object) = store.get(key).await? else { return Ok(None) };
        let Content { records, left } = without(ticket, &object.body)?;
        let Some(left) = left else {
            let bytes = object.body.len() as u64;
            return Ok(Some(Clean { size: Size { records, bytes }, rewritten: false }));
        };
        let bytes = left.len() as u64;
        // If another erasure or an export has replaced it meanwhile, begin again.
        if store.replace(key, &object, left).await? {
            return Ok(Some(Clean { size: Size { records, bytes }, rewritten: true }));
        }
    }
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
            let parsed: Line =
                serde_json::from_str(text).map_err(|_| Error::unreadable("a line of an object"))?;
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
async fn correct(
    store: &Store,
    ticket: TicketId,
    folder: &str,
    prefix: &str,
    sizes: &HashMap<String, Size>,
) -> Result<u64> {
    let day = prefix.rsplit_once('/').map_or("", |(day, _)| day);
    let keys = store.keys(day).await?.into_iter().filter(|key| key.starts_with(prefix));
    let mut corrected = 0;
    for key in keys {
        while let Some(object) = store.get(&key).await? {
            let mut manifest: Manifest =
                serde_json::from_slice(&object.body).map_err(|_| Error::unreadable("a manifest"))?;
            if !manifest.clone().correct(sizes) {
                break;
            }
            // Another erasure may have rewritten the objects since. Take their sizes after reading the manifest,
            // which is only replaced as it was read: then the last to correct it has the last sizes.
            let mut now = HashMap::new();
            for key in manifest.keys().filter(|key| sizes.contains_key(*key)) {
                if let Some(Clean { size, .. }) = clean(store, ticket, &format!("{folder}{key}")).await? {
                    now.insert(key.to_owned(), size);
                }
            }
            if !manifest.correct(&now) {
                break;
            }
            let body = serde_json::to_vec_pretty(&manifest).map_err(Error::internal)?;
            if store.replace(&key, &object, body).await? {
                corrected += 1;
                break;
            }
        }
    }
    Ok(corrected)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object_store::memory::InMemory;
    use object_store::throttle::{ThrottleConfig, ThrottledStore};

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

    #[tokio::test(start_paused = true)]
    async fn two_erasures_of_one_object_do_not_undo_each_other() {
        let (pass, object) = ("date=2026-11-24/20261124T010203.456Z", "000000000001-000000000003.ndjson.gz");
        let (part, manifest) = (format!("tickets/{pass}-{object}"), format!("manifests/{pass}-0001.json"));
        let lines = ["1", "2", "3"].map(|id| format!(r#"{{"id":"{id}"}}"#));
        let body = gzipped(&lines.each_ref().map(String::as_str));
        let named = format!(r#"{{"key": "{part}", "records": 3, "bytes": {}}}"#, body.len());
        let named = format!(
            r#"{{"until": "2026-11-24T01:02:03.456Z", "complete": true, "records": 3, "objects": [{named}]}}"#
        );
        let slow = Duration::from_millis(1);
        let slow =
            ThrottleConfig { wait_get_per_call: slow, wait_put_per_call: slow, ..ThrottleConfig::default() };
        let store = Store::new(ThrottledStore::new(InMemory::new(), slow));
        store.put(&part, body).await.unwrap();
        store.put(&manifest, named.into_bytes()).await.unwrap();
        let erased = async |id: &str| erase(&store, id.parse().unwrap(), None).await.unwrap();
        let (one, two) = tokio::join!(erased("1"), erased("2"));
        assert_eq!((one.rewritten, two.rewritten), (1, 1));
        let left = gzipped(&[&lines[2]]);
        assert_eq!(store.get(&part).await.unwrap().unwrap().body, left);
        let manifest = store.get(&manifest).await.unwrap().unwrap().body;
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!((&manifest["records"], &manifest["objects"][0]["bytes"]), (&1.into(), &left.len().into()));
    }
}
