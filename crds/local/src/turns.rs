//! Writes of one object take turns; writes of different objects do not wait for each other.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::object::Key;

/// Who writes which object now, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>);

/// The right to write one object, until it is dropped.
#[derive(Debug)]
pub(crate) struct WriteTurn {
    turns: Arc<Turns>,
    key: Key,
    /// `None` while it waits.
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until every earlier write of this object has ended.
    pub(crate) async fn take(self: &Arc<Self>, key: &Key) -> WriteTurn {
        let lock = Arc::clone(self.0.lock().entry(key.clone()).or_default());
        let mut turn = WriteTurn { turns: Arc::clone(self), key: key.clone(), guard: None };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for WriteTurn {
    fn drop(&mut self) {
        let mut locks = self.turns.0.lock();
        self.guard = None;
        // One reference is the map's own. Nobody can take another one while the map is locked.
        if locks.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn key(name: &str) -> Key {
        Key { resource: "gadgets.test.ottla.io".into(), namespace: "default".into(), name: name.into() }
    }

    #[test]
    fn a_turn_is_exclusive_for_its_object_and_leaves_nothing_behind() {
        let turns = Arc::new(Turns::default());
        let (a, b) = (key("a"), key("b"));
        let first = turns.take(&a).now_or_never();
        assert!(first.is_some() && turns.take(&b).now_or_never().is_some());
        let mut second = Box::pin(turns.take(&a));
        let mut abandoned = Box::pin(turns.take(&a));
        assert!(second.as_mut().now_or_never().is_none() && abandoned.as_mut().now_or_never().is_none());
        drop(first);
        drop(abandoned);
        assert!(second.now_or_never().is_some());
        assert!(turns.0.lock().is_empty());
    }
}
