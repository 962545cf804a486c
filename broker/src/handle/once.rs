//! Names that a request repeats are answered or refused once, so that an answer does not grow with repetition.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The names of a request, each once, in their first order, with how often each appears.
pub(super) fn once<T, K: Ord>(named: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<(T, usize)> {
    let mut places: BTreeMap<K, usize> = BTreeMap::new();
    let mut things: Vec<(T, usize)> = Vec::new();
    for thing in named {
        match places.entry(key(&thing)) {
            Entry::Occupied(place) => things[*place.get()].1 += 1,
            Entry::Vacant(place) => {
                place.insert(things.len());
                things.push((thing, 1));
            }
        }
    }
    things
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_keep_their_order_and_are_counted() {
        let named = [("b", 1), ("a", 2), ("b", 3), ("c", 4), ("b", 5)];
        assert_eq!(once(named, |(name, _)| *name), [(("b", 1), 3), (("a", 2), 1), (("c", 4), 1)]);
    }
}
