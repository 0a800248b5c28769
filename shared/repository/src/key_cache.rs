//! How long a process remembers the keys that it has looked up.

use std::collections::HashMap;
use std::time::Duration;

use tickets_domain::{ApiKey, KeyId, Timestamp};

/// How long a lookup is remembered. A revoked key may still be let in for this long.
pub const REMEMBERED: Duration = Duration::from_secs(60);
/// Do not look up an id again within this time, whoever asks: wrong secrets must not cause reads.
pub(crate) const RECENT: Duration = Duration::from_secs(5);
/// The most ids remembered. Unknown ids are remembered too, and anyone can make those up.
const MOST_REMEMBERED: usize = 1000;

/// The result of each lookup, and its time.
#[derive(Debug, Default)]
pub(crate) struct KeyCache(HashMap<KeyId, (Timestamp, Option<ApiKey>)>);

impl KeyCache {
    /// The remembered lookup of a key, if it is younger than `long`.
    pub(crate) fn get(&self, id: &KeyId, now: Timestamp, long: Duration) -> Option<Option<ApiKey>> {
        self.0.get(id).filter(|(found, _)| now < found.plus(long)).map(|(_, key)| key.clone())
    }

    pub(crate) fn insert(&mut self, id: &KeyId, now: Timestamp, key: &Option<ApiKey>) {
        if self.0.len() >= MOST_REMEMBERED {
            self.0.retain(|_, (found, _)| now < found.plus(REMEMBERED));
        }
        if self.0.len() >= MOST_REMEMBERED {
            // Drop unknown ids, which anyone can make up; keep the keys in use.
            self.0.retain(|_, (_, key)| key.is_some());
        }
        if self.0.len() < MOST_REMEMBERED {
            self.0.insert(id.clone(), (now, key.clone()));
        }
    }

    /// Forgets a key that this process has just changed.
    pub(crate) fn remove(&mut self, id: &KeyId) {
        self.0.remove(id);
    }

    /// Sets `last_used` of a remembered key.
    pub(crate) fn note_use(&mut self, id: &KeyId, now: Timestamp) {
        if let Some((_, Some(key))) = self.0.get_mut(id) {
            key.last_used = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use tickets_domain::BearerToken;

    use super::*;
    use crate::scripted::NOW;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(NOW + millis).unwrap()
    }

    #[test]
    fn a_lookup_is_remembered_for_a_minute_and_is_recent_for_five_seconds() {
        let (mut cache, id) = (KeyCache::default(), "nobody".parse().unwrap());
        cache.insert(&id, at(0), &None);
        for (long, last) in [(REMEMBERED, 59_999), (RECENT, 4999)] {
            assert!(cache.get(&id, at(last), long).is_some());
            assert!(cache.get(&id, at(last + 1), long).is_none());
        }
    }

    #[test]
    fn a_thousand_ids_are_remembered_and_unknown_ones_make_way_for_keys() {
        let mut cache = KeyCache::default();
        let id = |name: &str, n: usize| -> KeyId { format!("{name}{n}").parse().unwrap() };
        let key =
            |n| ApiKey { id: id("key", n), ..ApiKey::new(&BearerToken::generate().unwrap(), [], at(0)) };
        for n in 0..600 {
            cache.insert(&id("key", n), at(0), &Some(key(n)));
            cache.insert(&id("nobody", n), at(0), &None);
        }
        let known =
            |cache: &KeyCache, name: &str| (0..1200).filter(|n| cache.0.contains_key(&id(name, *n))).count();
        assert_eq!(known(&cache, "key"), 600);
        assert!(cache.0.len() <= MOST_REMEMBERED && known(&cache, "nobody") < 600);
        for n in 600..1200 {
            cache.insert(&id("key", n), at(0), &Some(key(n)));
        }
        assert_eq!((known(&cache, "key"), cache.0.len()), (1000, 1000), "the rest is looked up each time");
        cache.insert(&id("key", 1100), at(60_000), &Some(key(1100)));
        assert_eq!(cache.0.len(), 1, "the others are a minute old");
    }
}
