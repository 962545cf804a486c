//! The objects, and what happened to them last: one truth with one version number.
//!
//! Writes of one object take turns. A turn reads, decides, makes the change durable, and only then shows it, so that
//! nobody sees what a crash could take back. Reads never wait for the disk, and neither does a write that need not
//! survive a crash, such as the renewal of a Lease: only its own object's earlier write can hold it up.
//! Always: every change has its own version, greater than all before it, also after a restart. A change gets its
//! version when it is shown.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use crate::folder::{self, Folder};
use crate::group_commit::GroupCommit;
use crate::object::{Key, Object};
use crate::status::Status;
use crate::turns::Turns;

/// How many changes a watch may lag behind. With one Lease renewal in two seconds this is half an hour; a watch that
/// falls further behind must list again.
const EVENTS_KEPT: usize = 1000;

/// One change of one object.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub version: u64,
    pub key: Key,
    /// The object before the change; `None`: there was none.
    pub old: Option<Arc<Object>>,
    pub change: ObjectChange,
}

/// What became of the object.
#[derive(Debug, Clone)]
pub(crate) enum ObjectChange {
    Put(Arc<Object>),
    /// The last state, with the version of the deletion.
    Deleted(Arc<Object>),
}

/// What a write decided after it had seen the present state.
#[derive(Debug)]
pub(crate) enum WriteDecision {
    /// Nothing changes: no new version, no event.
    Keep,
    Put(Value),
    /// Remove the object; the value is its last state.
    Delete(Value),
    /// A dry run: answer with this, change nothing.
    Pretend(Value),
}

/// A change that was decided and is not shown yet.
#[derive(Debug)]
pub(crate) struct ObjectWrite {
    pub key: Key,
    /// The object as the decision saw it; `None`: there was none.
    pub old: Option<Arc<Object>>,
    pub edit: Edit,
}

/// What a write makes of its object.
#[derive(Debug)]
pub(crate) enum Edit {
    Put(Value),
    /// The object's last state.
    Delete(Value),
}

/// How a write ended.
#[derive(Debug)]
pub(crate) enum WriteOutcome {
    Kept(Arc<Object>),
    Put(Arc<Object>),
    Deleted(Arc<Object>),
}

impl WriteOutcome {
    pub(crate) fn object(&self) -> &Arc<Object> {
        match self {
            WriteOutcome::Kept(object) | WriteOutcome::Put(object) | WriteOutcome::Deleted(object) => object,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Objects {
    state: Mutex<StoredObjects>,
    /// Notified when the version changes, and at the end.
    changed: Arc<Notify>,
    turns: Arc<Turns>,
    /// `None`: the objects are in memory alone.
    disk: Option<Arc<GroupCommit>>,
}

#[derive(Debug)]
struct StoredObjects {
    objects: BTreeMap<Key, Arc<Object>>,
    events: VecDeque<Event>,
    /// Watches that start at a version before this one have missed something.
    oldest: u64,
    version: u64,
    /// What [`Freshness::Any`] reads see while a test holds them back.
    frozen: Option<(u64, BTreeMap<Key, Arc<Object>>)>,
    /// How many lists of each resource have shown what is held back.
    stale: BTreeMap<String, u64>,
    /// A watch from the future waits for it, instead of being refused.
    silent: bool,
}

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    objects: BTreeMap<Key, Arc<Object>>,
    version: u64,
}

/// Which state a read must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The newest.
    Consistent,
    /// Any that was once true, as from a cache (`resourceVersion=0`).
    Any,
}

impl StoredObjects {
    fn view(&self, freshness: Freshness) -> (u64, &BTreeMap<Key, Arc<Object>>) {
        match (&self.frozen, freshness) {
            (Some((version, objects)), Freshness::Any) => (*version, objects),
            _ => (self.version, &self.objects),
        }
    }
}

impl Objects {
    /// Starts with `objects` as found in the folder. The next version is above `version`.
    pub(crate) fn new(objects: Vec<(Key, Value)>, version: u64, folder: Option<Folder>) -> Self {
        let objects = objects.into_iter().map(|(key, value)| (key, Arc::new(Object::new(value, version)))).collect();
        let state = StoredObjects {
            objects,
            events: VecDeque::new(),
            oldest: version,
            version,
            frozen: None,
            stale: BTreeMap::new(),
            silent: false,
        };
        let disk = folder.map(|folder| Arc::new(GroupCommit::new(folder)));
        Self { state: Mutex::new(state), changed: Arc::default(), turns: Arc::default(), disk }
    }

    /// Keeps the present state for reads that need not be fresh, or lets go of it.
    pub(crate) fn freeze(&self, frozen: bool) {
        let mut state = self.state.lock();
        state.frozen = frozen.then(|| (state.version, state.objects.clone()));
    }

    /// How many lists of a resource have shown a state that was held back.
    pub(crate) fn stale_lists(&self, resource: &str) -> u64 {
        self.state.lock().stale.get(resource).copied().unwrap_or_default()
    }

    pub(crate) fn get(&self, key: &Key, freshness: Freshness) -> Option<Arc<Object>> {
        self.state.lock().view(freshness).1.get(key).cloned()
    }

    /// All objects of a resource, in one namespace or in all, and the version of this view.
    pub(crate) fn list(
        &self,
        resource: &str,
        namespace: Option<&str>,
        freshness: Freshness,
    ) -> (u64, Vec<Arc<Object>>) {
        let first = Key {
            resource: resource.to_owned(),
            namespace: namespace.unwrap_or_default().to_owned(),
            name: String::new(),
        };
        let mut state = self.state.lock();
        if state.frozen.is_some() && freshness == Freshness::Any {
            *state.stale.entry(resource.to_owned()).or_default() += 1;
        }
        let (version, objects) = state.view(freshness);
        let objects = objects
            .range(&first..)
            .take_while(|(key, _)| key.resource == resource && namespace.is_none_or(|ns| ns == key.namespace))
            .map(|(_, object)| Arc::clone(object))
            .collect();
        (version, objects)
    }

    /// Every object of every kind.
    pub(crate) fn all(&self) -> Vec<(Key, Arc<Object>)> {
        self.state.lock().objects.iter().map(|(key, object)| (key.clone(), Arc::clone(object))).collect()
    }

    pub(crate) fn version(&self) -> u64 {
        self.state.lock().version
    }

    /// Notifies waiting watches of each change of the version, in the order in which they began to wait, and of the
    /// end.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// What happened to a resource after `version`, and up to which version. A version from the future is as unknown as
    /// one from the far past: it comes from another life of this server.
    pub(crate) fn events_after(
        &self,
        version: u64,
        wanted: impl Fn(&Key) -> bool,
    ) -> Result<(u64, Vec<Event>), Status> {
        let state = self.state.lock();
        if version > state.version && state.silent {
            return Ok((version, Vec::new()));
        }
        if version < state.oldest || version > state.version {
            return Err(Status::expired(version, state.oldest));
        }
        let from = state.events.partition_point(|event| event.version <= version);
        let events = state.events.range(from..).filter(|event| wanted(&event.key)).cloned().collect();
        Ok((state.version, events))
    }

    /// What there is now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        Snapshot { objects: state.objects.clone(), version: state.version }
    }

    /// Makes it as it was, versions too. For tests: a folder is not informed.
    pub(crate) fn set_back(&self, to: &Snapshot, silent: bool) {
        let mut state = self.state.lock();
        (state.objects, state.version, state.silent) = (to.objects.clone(), to.version, silent);
        state.oldest = state.version;
        state.events.clear();
        state.frozen = None;
        self.changed.notify_waiters();
    }

    /// Forgets what happened, so that every watch that is behind must list again.
    pub(crate) fn forget_events(&self) {
        let mut state = self.state.lock();
        state.version += 1;
        state.oldest = state.version;
        state.events.clear();
        self.changed.notify_waiters();
    }

    /// One turn: `decide` sees the object as it is and says what to make of it. Once the change is on its way to the
    /// disk, it takes place even if the caller goes away.
    pub(crate) async fn write(
        self: &Arc<Self>,
        key: Key,
        decide: impl FnOnce(Option<&Value>) -> Result<WriteDecision, Status>,
    ) -> Result<WriteOutcome, Status> {
        let turn = self.turns.take(&key).await;
        let old = self.get(&key, Freshness::Consistent);
        let edit = match decide(old.as_ref().map(|object| &object.value))? {
            WriteDecision::Put(value) => Edit::Put(value),
            WriteDecision::Delete(value) => Edit::Delete(value),
            WriteDecision::Pretend(value) => {
                return Ok(WriteOutcome::Kept(Arc::new(Object::new(value, self.version()))));
            }
            WriteDecision::Keep => {
                return old.map(WriteOutcome::Kept).ok_or_else(|| Status::internal("nothing was kept of nothing"));
            }
        };
        let write = ObjectWrite { key, old, edit };
        match &self.disk {
            Some(disk) if folder::must_survive(&write) => disk.write(self, write, turn).await,
            Some(_) | None => Ok(self.show(write)),
        }
    }

    /// Gives a change the next version and lets everybody see it. The caller has the object's turn.
    pub(crate) fn show(&self, ObjectWrite { key, old, edit }: ObjectWrite) -> WriteOutcome {
        let mut state = self.state.lock();
        state.version += 1;
        let version = state.version;
        let (change, written) = match edit {
            Edit::Put(value) => {
                let object = Arc::new(Object::new(value, version));
                state.objects.insert(key.clone(), Arc::clone(&object));
                (ObjectChange::Put(Arc::clone(&object)), WriteOutcome::Put(object))
            }
            Edit::Delete(value) => {
                let object = Arc::new(Object::new(value, version));
                state.objects.remove(&key);
                (ObjectChange::Deleted(Arc::clone(&object)), WriteOutcome::Deleted(object))
            }
        };
        let event = Event { version, key, old, change };
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
