//! An ordered map whose copies share what has not changed. With each event a broker makes the next value of what it
//! knows of tens of thousands of topics, while others still read the value before.
//!
//! A map is a list of chunks, and copies share them. A change copies the list and one chunk, so it costs about the
//! square root of what the map holds, and a copy costs nothing. [`SharedMap::differences`] looks only into chunks that
//! are not shared.
//!
//! Always: no chunk is empty or larger than [`MOST`]; keys rise within a chunk and from chunk to chunk.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The entries of a chunk at most: about the square root of the topics of a large cluster.
const MOST: usize = 128;

/// An ordered map whose copies share what has not changed.
pub struct SharedMap<K, V> {
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

struct Chunk<K, V> {
    /// The first key, which a search compares without a look into the chunk.
    first: K,
    entries: Arc<Vec<(K, V)>>,
}

/// An entry that is not the same in two maps: its key, its value before, its value now.
pub(crate) type Difference<'a, K, V> = (&'a K, Option<&'a V>, Option<&'a V>);

impl<K, V> SharedMap<K, V> {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.entries.iter()).map(|(key, value)| (key, value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let entries = &self.chunks[self.chunk_of(key)?].entries;
        let place = entries.binary_search_by(|(other, _)| other.borrow().cmp(key)).ok()?;
        Some(&entries[place].1)
    }

    /// Whether it has this key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The chunk in which a key is, if it is anywhere; `None`: it would be the first of all.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        self.chunks.partition_point(|chunk| chunk.first.borrow() <= key).checked_sub(1)
    }
}

impl<K: Clone + Ord, V: Clone> SharedMap<K, V> {
    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let number = self.chunk_of(key)?;
        let place = self.chunks[number].entries.binary_search_by(|(other, _)| other.borrow().cmp(key)).ok()?;
        let chunk = &mut Arc::make_mut(&mut self.chunks)[number];
        Some(&mut Arc::make_mut(&mut chunk.entries)[place].1)
    }

    /// Sets the value of a key, and returns the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let number = self.chunk_of(&key).unwrap_or(0);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(number) else {
            chunks.push(Chunk::of(vec![(key, value)])?);
            self.len = 1;
            return None;
        };
        let entries = Arc::make_mut(&mut chunk.entries);
        let place = match entries.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(place) => return Some(std::mem::replace(&mut entries[place].1, value)),
            Err(place) => place,
        };
        if place == 0 {
            chunk.first = key.clone();
        }
        entries.insert(place, (key, value));
        self.len += 1;
        if entries.len() > MOST {
            let upper = entries.split_off(MOST / 2);
            chunks.splice(number + 1..number + 1, Chunk::of(upper));
        }
        None
    }

    /// Takes a key out, and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let number = self.chunk_of(key)?;
        let place = self.chunks[number].entries.binary_search_by(|(other, _)| other.borrow().cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let entries = Arc::make_mut(&mut chunks[number].entries);
        let (_, value) = entries.remove(place);
        match entries.first().map(|(first, _)| first.clone()) {
            Some(first) => chunks[number].first = first,
            None => drop(chunks.remove(number)),
        }
        self.len -= 1;
        Some(value)
    }

    /// Keeps the entries for which this holds.
    pub fn retain(&mut self, mut stays: impl FnMut(&K, &V) -> bool) {
        let gone: Vec<K> = self.iter().filter(|(key, value)| !stays(key, value)).map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| _ = self.remove(key));
    }

    /// The entries that are not the `same` as in the map before, in the order of their keys.
    pub fn differences<'a>(
        &'a self,
        before: &'a SharedMap<K, V>,
        same: impl Fn(&V, &V) -> bool,
    ) -> Vec<Difference<'a, K, V>> {
        if Arc::ptr_eq(&self.chunks, &before.chunks) {
            return Vec::new();
        }
        let (now, then) = (self.entries_beside(before), before.entries_beside(self));
        let (mut now, mut then) = (now.peekable(), then.peekable());
        let mut differences = Vec::new();
        loop {
            let order = match (now.peek(), then.peek()) {
                (None, None) => return differences,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((here, _)), Some((there, _))) => here.cmp(there),
            };
            let here = if order.is_le() { now.next() } else { None };
            let there = if order.is_ge() { then.next() } else { None };
            if let (Some((_, here)), Some((_, there))) = (here, there)
                && same(here, there)
            {
                continue;
            }
            if let Some((key, _)) = here.or(there) {
                differences.push((key, there.map(|(_, value)| value), here.map(|(_, value)| value)));
            }
        }
    }

    /// The entries of chunks that the other map does not share.
    fn entries_beside<'a>(&'a self, other: &SharedMap<K, V>) -> impl Iterator<Item = &'a (K, V)> + use<'a, K, V> {
        let shared: HashSet<*const Vec<(K, V)>> =
            other.chunks.iter().map(|chunk| Arc::as_ptr(&chunk.entries)).collect();
        let own = self.chunks.iter().filter(move |chunk| !shared.contains(&Arc::as_ptr(&chunk.entries)));
        own.flat_map(|chunk| chunk.entries.iter())
    }
}

impl<K: Clone, V> Chunk<K, V> {
    /// None without entries.
    fn of(entries: Vec<(K, V)>) -> Option<Chunk<K, V>> {
        Some(Chunk { first: entries.first()?.0.clone(), entries: Arc::new(entries) })
    }
}

impl<K: Clone, V> Clone for Chunk<K, V> {
    fn clone(&self) -> Chunk<K, V> {
        Chunk { first: self.first.clone(), entries: self.entries.clone() }
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> SharedMap<K, V> {
        SharedMap { chunks: self.chunks.clone(), len: self.len }
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> SharedMap<K, V> {
        SharedMap { chunks: Arc::new(Vec::new()), len: 0 }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &SharedMap<K, V>) -> bool {
        self.len == other.len && (Arc::ptr_eq(&self.chunks, &other.chunks) || self.iter().eq(other.iter()))
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Clone + Ord, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> SharedMap<K, V> {
        let ordered: BTreeMap<K, V> = entries.into_iter().collect();
        let (len, mut ordered) = (ordered.len(), ordered.into_iter());
        // Half full, as chunks are after they were split.
        let chunks = std::iter::from_fn(|| Chunk::of(ordered.by_ref().take(MOST / 2).collect())).collect();
        SharedMap { chunks: Arc::new(chunks), len }
    }
}

impl<K: Clone + Ord, V: Clone, const N: usize> From<[(K, V); N]> for SharedMap<K, V> {
    fn from(entries: [(K, V); N]) -> SharedMap<K, V> {
        entries.into_iter().collect()
    }
}

impl<K: Clone + Ord, V: Clone> Extend<(K, V)> for SharedMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        entries.into_iter().for_each(|(key, value)| _ = self.insert(key, value));
    }
}

impl<K: Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for SharedMap<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the caller knows that the key is there")
    }
}

impl<K: Serialize, V: Serialize> Serialize for SharedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, K, V> Deserialize<'de> for SharedMap<K, V>
where
    K: Clone + Ord + Deserialize<'de>,
    V: Clone + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedMap<K, V>, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next number by chance: the same ones each time.
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    fn check(map: &SharedMap<u64, u64>, expected: &BTreeMap<u64, u64>) {
        assert_eq!(map.len(), expected.len());
        assert!(map.iter().eq(expected.iter()));
        for chunk in &*map.chunks {
            assert!((1..=MOST).contains(&chunk.entries.len()));
            assert_eq!(chunk.first, chunk.entries[0].0);
        }
    }

    #[test]
    fn it_is_what_an_ordinary_map_is_and_a_copy_stays_as_it_was() {
        let (mut map, mut expected, mut state) = (SharedMap::default(), BTreeMap::new(), 7);
        let mut copies = Vec::new();
        for turn in 0..20_000_u64 {
            let key = next(&mut state) % 3_000;
            // First it grows, then it shrinks.
            if next(&mut state) % 20_000 > turn {
                assert_eq!(map.insert(key, turn), expected.insert(key, turn));
            } else {
                assert_eq!(map.remove(&key), expected.remove(&key));
            }
            assert_eq!(map.get(&key), expected.get(&key));
            if let Some(value) = map.get_mut(&(key / 2)) {
                *value += 1;
                expected.insert(key / 2, *value);
            }
            if turn % 1_000 == 0 {
                copies.push((map.clone(), expected.clone()));
            }
        }
        check(&map, &expected);
        map.retain(|key, _| key % 3 == 0);
        expected.retain(|key, _| key % 3 == 0);
        check(&map, &expected);
        for (copy, as_it_was) in &copies {
            check(copy, as_it_was);
            let built: SharedMap<u64, u64> = as_it_was.clone().into_iter().collect();
            check(&built, as_it_was);
            assert!(built == *copy);
        }
        for ((before, then), (after, now)) in copies.iter().zip(&copies[1..]) {
            let keys: std::collections::BTreeSet<&u64> = then.keys().chain(now.keys()).collect();
            let differ = keys.into_iter().filter(|key| then.get(key) != now.get(key));
            let expected: Vec<_> = differ.map(|key| (key, then.get(key), now.get(key))).collect();
            assert_eq!(after.differences(before, |one, other| one == other), expected);
        }
    }

    #[test]
    fn a_change_copies_one_chunk_and_a_comparison_looks_into_that_alone() {
        let before: SharedMap<u64, u64> = (0..10_000).map(|key| (key, 0)).collect();
        let mut after = before.clone();
        after.insert(5_000, 1);
        let compared = std::cell::Cell::new(0);
        let count = |one: &u64, other: &u64| {
            compared.set(compared.get() + 1);
            one == other
        };
        assert_eq!(after.differences(&before, count), [(&5_000, Some(&0), Some(&1))]);
        assert!(compared.get() <= MOST, "{} values were compared", compared.get());
        assert!(before.differences(&before.clone(), |_, _| false).is_empty());
    }

    #[test]
    fn its_json_is_that_of_an_ordinary_map() {
        let ordinary = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
        let json = serde_json::to_string(&ordinary).unwrap();
        let map: SharedMap<String, i32> = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&map).unwrap(), json);
        assert_eq!((map["b"], map.contains_key("c")), (2, false));
    }
}
