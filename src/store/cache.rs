//! A small cache that forgets what was used longest ago, bounded by weight.

use std::collections::HashMap;
use std::hash::Hash;

/// At most `limit` of weight, but always the newest entry.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    entries: HashMap<K, Entry<V>>,
    limit: usize,
    weight: usize,
    clock: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<K: Copy + Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), limit, weight: 0, clock: 0 }
    }

    pub(super) fn get(&mut self, key: K) -> Option<V> {
        self.clock += 1;
        let entry = self.entries.get_mut(&key)?;
        entry.used = self.clock;
        Some(entry.value.clone())
    }

    pub(super) fn remove(&mut self, key: K) {
        if let Some(entry) = self.entries.remove(&key) {
            self.weight -= entry.weight;
        }
    }

    pub(super) fn insert(&mut self, key: K, value: V, weight: usize) {
        self.clock += 1;
        self.weight += weight;
        let entry = Entry { value, weight, used: self.clock };
        if let Some(before) = self.entries.insert(key, entry) {
            self.weight -= before.weight;
        }
        while self.weight > self.limit && self.entries.len() > 1 {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(key) = oldest.map(|(key, _)| *key) else {
                return;
            };
            self.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_was_used_longest_ago() {
        let mut cache = Cache::new(10);
        cache.insert(1, 'a', 4);
        cache.insert(2, 'b', 4);
        assert_eq!(cache.get(1), Some('a'));
        cache.insert(3, 'c', 4);
        assert_eq!((cache.get(1), cache.get(2), cache.get(3)), (Some('a'), None, Some('c')));
        cache.insert(4, 'd', 40);
        assert_eq!((cache.get(1), cache.get(3), cache.get(4)), (None, None, Some('d')));
        cache.remove(4);
        cache.insert(5, 'e', 5);
        cache.insert(6, 'f', 5);
        assert_eq!((cache.get(4), cache.get(5), cache.get(6)), (None, Some('e'), Some('f')));
    }
}
