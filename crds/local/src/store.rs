//! The objects, and what happened to them last: one truth with one version number.
//!
//! Writes take turns. A turn reads, decides, makes the change durable, and only then shows it, so that nobody sees
//! what a crash could take back. Reads never wait for a write that waits for a disk.
//! Always: every change has its own version, greater than all before it, also after a restart.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use crate::folder::Folder;
use crate::object::{Key, Object};
use crate::status::Status;

/// How many changes a watch may lag behind. With one Lease renewal in two seconds this is half an hour; whoever falls
/// further behind is told to list again.
const EVENTS_KEPT: usize = 1000;

/// One change of one object.
#[derive(Debug, Clone)]
pub struct Event {
    pub version: u64,
    pub key: Key,
    pub old: Option<Arc<Object>>,
    pub change: Change,
}

/// What became of the object.
#[derive(Debug, Clone)]
pub enum Change {
    Put(Arc<Object>),
    /// The last state, with the version of the deletion.
    Deleted(Arc<Object>),
}

/// What a write decided after it had seen the present state.
#[derive(Debug)]
pub enum Decision {
    /// Nothing changes: no new version, no event.
    Keep,
    Put(Value),
    /// Remove the object; the value is its last state.
    Delete(Value),
    /// A dry run: answer with this, change nothing.
    Pretend(Value),
}

/// How a write ended.
#[derive(Debug)]
pub enum Written {
    Kept(Arc<Object>),
    Put(Arc<Object>),
    Deleted(Arc<Object>),
}

impl Written {
    pub fn object(&self) -> &Arc<Object> {
        match self {
            Written::Kept(object) | Written::Put(object) | Written::Deleted(object) => object,
        }
    }
}

#[derive(Debug)]
pub struct Objects {
    state: Mutex<State>,
    /// Told when the version changes, and at the end.
    changed: Arc<Notify>,
    turn: Arc<tokio::sync::Mutex<()>>,
    folder: Option<Arc<Folder>>,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<Key, Arc<Object>>,
    events: VecDeque<Event>,
    /// Watches that start at a version before this one have missed something.
    oldest: u64,
    version: u64,
    /// What [`Freshness::Any`] reads see while a test holds them back.
    frozen: Option<(u64, BTreeMap<Key, Arc<Object>>)>,
}

/// Which state a read must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The newest.
    Consistent,
    /// Any that was once true, as from a cache (`resourceVersion=0`).
    Any,
}

impl State {
    fn view(&self, freshness: Freshness) -> (u64, &BTreeMap<Key, Arc<Object>>) {
        match (&self.frozen, freshness) {
            (Some((version, objects)), Freshness::Any) => (*version, objects),
            _ => (self.version, &self.objects),
        }
    }
}

impl Objects {
    /// Starts with `objects` as found in the folder. The next version is above `version`.
    pub fn new(objects: Vec<(Key, Value)>, version: u64, folder: Option<Folder>) -> Self {
        let objects = objects.into_iter().map(|(key, value)| (key, Arc::new(Object::new(value, version)))).collect();
        let state = State { objects, events: VecDeque::new(), oldest: version, version, frozen: None };
        Self { state: Mutex::new(state), changed: Arc::default(), turn: Arc::default(), folder: folder.map(Arc::new) }
    }

    /// Keeps the present state for reads that need not be fresh, or lets go of it.
    pub fn freeze(&self, frozen: bool) {
        let mut state = self.state.lock();
        state.frozen = frozen.then(|| (state.version, state.objects.clone()));
    }

    pub fn get(&self, key: &Key, freshness: Freshness) -> Option<Arc<Object>> {
        self.state.lock().view(freshness).1.get(key).cloned()
    }

    /// All objects of a resource, in one namespace or in all, and the version of this view.
    pub fn list(&self, resource: &str, namespace: Option<&str>, freshness: Freshness) -> (u64, Vec<Arc<Object>>) {
        let first = Key {
            resource: resource.to_owned(),
            namespace: namespace.unwrap_or_default().to_owned(),
            name: String::new(),
        };
        let state = self.state.lock();
        let (version, objects) = state.view(freshness);
        let objects = objects
            .range(&first..)
            .take_while(|(key, _)| key.resource == resource && namespace.is_none_or(|ns| ns == key.namespace))
            .map(|(_, object)| Arc::clone(object))
            .collect();
        (version, objects)
    }

    /// Every object of every kind.
    pub fn all(&self) -> Vec<(Key, Arc<Object>)> {
        self.state.lock().objects.iter().map(|(key, object)| (key.clone(), Arc::clone(object))).collect()
    }

    pub fn version(&self) -> u64 {
        self.state.lock().version
    }

    /// Tells those who wait whenever the version changes, in the order in which they began to, and when there will be no more.
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// What happened to a resource after `version`, and up to which version that is told. A version from the future
    /// is as unknown as one from the far past: it comes from another life of this server.
    pub fn events_after(&self, version: u64, wanted: impl Fn(&Key) -> bool) -> Result<(u64, Vec<Event>), Status> {
        let state = self.state.lock();
        if version < state.oldest || version > state.version {
            return Err(Status::expired(version, state.oldest));
        }
        let from = state.events.partition_point(|event| event.version <= version);
        let events = state.events.range(from..).filter(|event| wanted(&event.key)).cloned().collect();
        Ok((state.version, events))
    }

    /// Forgets what happened, so that every watch that is behind must list again.
    pub fn forget_events(&self) {
        let mut state = self.state.lock();
        state.version += 1;
        state.oldest = state.version;
        state.events.clear();
        self.changed.notify_waiters();
    }

    /// One turn: `decide` sees the object as it is and says what to make of it. Once the change is on its way to the
    /// disk it takes place even if the caller goes away.
    pub async fn write(
        self: &Arc<Self>,
        key: Key,
        decide: impl FnOnce(Option<&Value>) -> Result<Decision, Status>,
    ) -> Result<Written, Status> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let old = self.get(&key, Freshness::Consistent);
        let version = self.version() + 1;
        let change = match decide(old.as_ref().map(|object| &object.value))? {
            Decision::Put(value) => Change::Put(Arc::new(Object::new(value, version))),
            Decision::Delete(value) => Change::Deleted(Arc::new(Object::new(value, version))),
            Decision::Pretend(value) => return Ok(Written::Kept(Arc::new(Object::new(value, version - 1)))),
            Decision::Keep => {
                return old.map(Written::Kept).ok_or_else(|| Status::internal("nothing was kept of nothing"));
            }
        };
        let event = Event { version, key, old, change };
        match &self.folder {
            None => Ok(self.commit(event)),
            Some(folder) => {
                let (folder, objects) = (Arc::clone(folder), Arc::clone(self));
                let on_disk = tokio::task::spawn_blocking(move || {
                    let _turn = turn;
                    folder.persist(&event).map_err(Status::internal)?;
                    Ok(objects.commit(event))
                });
                on_disk.await.map_err(Status::internal)?
            }
        }
    }

    fn commit(&self, event: Event) -> Written {
        let mut state = self.state.lock();
        state.version = event.version;
        let written = match &event.change {
            Change::Put(object) => {
                state.objects.insert(event.key.clone(), Arc::clone(object));
                Written::Put(Arc::clone(object))
            }
            Change::Deleted(object) => {
                state.objects.remove(&event.key);
                Written::Deleted(Arc::clone(object))
            }
        };
        state.events.push_back(event);
        if state.events.len() > EVENTS_KEPT
            && let Some(lost) = state.events.pop_front()
        {
            state.oldest = lost.version;
        }
        self.changed.notify_waiters();
        written
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.changed.notify_waiters();
    }
}
