//! Which offset is the last of each key, in bounded memory: a key is known by its hash of 16 bytes alone, as in Kafka.
//!
//! Values only. Open addressing in one allocation of 24 bytes a slot; nothing is ever removed.

use md5::{Digest, Md5};

/// Kafka's hash, and no secret: keys that collide on purpose cost their own producer a record.
type Hash = [u8; 16];

/// `log.cleaner.dedupe.buffer.size`, Kafka's default.
pub(crate) const MEMORY: usize = 128 << 20;

const EMPTY: i64 = -1;

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: Hash,
    offset: i64,
}

#[derive(Debug)]
pub(crate) struct OffsetMap {
    slots: Vec<Slot>,
    room: usize,
}

impl OffsetMap {
    /// Room for so many keys, or for as many as `memory` bytes allow, at least one.
    pub(super) fn new(keys: usize, memory: usize) -> OffsetMap {
        // A quarter stays empty, so that probing finds an end soon.
        let room = keys.min(memory / size_of::<Slot>() / 4 * 3).max(1);
        OffsetMap { slots: vec![Slot { hash: [0; 16], offset: EMPTY }; room + room / 3 + 1], room }
    }

    /// Note that `key` is at `offset`, which is later than any before. False when there is no room for another key.
    #[must_use]
    pub(super) fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = Md5::digest(key).into();
        let at = self.find(&hash);
        let slot = &mut self.slots[at];
        if slot.offset == EMPTY {
            if self.room == 0 {
                return false;
            }
            self.room -= 1;
        }
        *slot = Slot { hash, offset };
        true
    }

    /// The last offset of `key`; none when it was not noted.
    pub(super) fn get(&self, key: &[u8]) -> Option<i64> {
        let slot = &self.slots[self.find(&Md5::digest(key).into())];
        (slot.offset != EMPTY).then_some(slot.offset)
    }

    /// The slot that has the hash or, if none has, the empty one to put it in.
    fn find(&self, hash: &Hash) -> usize {
        let [a, b, c, d, e, f, g, h, ..] = *hash;
        let count = self.slots.len();
        let mut at = (u64::from_be_bytes([a, b, c, d, e, f, g, h]) % count as u64) as usize;
        while self.slots[at].offset != EMPTY && self.slots[at].hash != *hash {
            at = (at + 1) % count;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_of_each_key_is_known_until_there_is_no_room() {
        let mut map = OffsetMap::new(1_000, usize::MAX);
        for offset in 0..3_000i64 {
            assert!(map.put(&(offset % 1_000).to_be_bytes(), offset));
        }
        assert!(!map.put(b"another", 3_000));
        assert!(map.put(&7i64.to_be_bytes(), 3_001), "a key that is known needs no room");
        for key in 0..1_000i64 {
            assert_eq!(map.get(&key.to_be_bytes()), Some(if key == 7 { 3_001 } else { 2_000 + key }));
        }
        assert_eq!(map.get(b"another"), None);
    }

    #[test]
    fn memory_is_bounded_and_one_key_always_fits() {
        let map = OffsetMap::new(usize::MAX, 24 * 100);
        assert!(map.slots.len() <= 101 && map.room == 75);
        assert!(OffsetMap::new(0, 0).put(b"key", 0));
    }
}
