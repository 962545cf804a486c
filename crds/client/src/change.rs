//! The only way in which operator and brokers write a `KafkaAssignment`: a JSON patch that tests the entries that it
//! changes.
//!
//! Each entry is tested by partition number and partition epoch, so writers of different partitions of one object never
//! disturb each other, and a writer that saw an older entry changes nothing.
//!
//! Always: a written entry is the result of a transition of [`ottla_rules::assignment`] on the entry that was read;
//! fields that this version does not know stay as they are.

use kube::runtime::watcher;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::Status,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use ottla_crds::KafkaAssignment;
use ottla_rules::assignment::{Age, Assignment};

/// Replaces the entries of `read` by the entries of the same partitions in `next`. Returns the partitions that could
/// not be written because their entry has changed since: read them and decide again.
///
/// All entries go in one write; when a test fails, they are split until the failing ones are alone. After an error it
/// is unknown what was written.
pub async fn write(
    api: &Api<KafkaAssignment>,
    read: &KafkaAssignment,
    next: &[Assignment],
) -> Result<Vec<i32>, kube::Error> {
    let mut stale = Vec::new();
    let mut parts = vec![next];
    while let Some(part) = parts.pop() {
        match part {
            [] => {}
            _ if apply(api, read, replace(read, part)).await? => {}
            [entry] => stale.push(entry.partition),
            _ => {
                let (left, right) = part.split_at(part.len() / 2);
                parts.extend([right, left]);
            }
        }
    }
    Ok(stale)
}

/// Appends entries to those in `read`. False: the object has changed since, and nothing was written.
pub async fn append(
    api: &Api<KafkaAssignment>,
    read: &KafkaAssignment,
    added: &[Assignment],
) -> Result<bool, kube::Error> {
    let version = json!({ "op": "test", "path": "/metadata/resourceVersion", "value": read.resource_version() });
    let entries = added.iter().map(|entry| json!({ "op": "add", "path": "/spec/partitions/-", "value": entry }));
    apply(api, read, [version].into_iter().chain(entries).collect()).await
}

/// Sets the tombstone on an object of a deleted topic.
pub async fn bury(api: &Api<KafkaAssignment>, read: &KafkaAssignment) -> Result<(), kube::Error> {
    apply(api, read, vec![json!({ "op": "add", "path": "/spec/deleted", "value": true })]).await.map(drop)
}

/// Why the API server refused: its own message if it gave one, because the whole answer is too long for a log line.
pub fn why(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("{} ({})", status.reason, status.code),
        error => error.to_string(),
    }
}

/// The same of a watch.
pub fn why_watch(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => why(error),
        watcher::Error::WatchError(status) => why(&kube::Error::Api(status.clone())),
        error @ watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// Restores the entries that are `known` after the API server was set back: replaces older entries of `read`, and adds
/// the entries and the tombstone that `read` lacks. False: the object has changed since it was read.
pub async fn put_back(
    api: &Api<KafkaAssignment>,
    read: &KafkaAssignment,
    known: &KafkaAssignment,
) -> Result<bool, kube::Error> {
    let mut operations = Vec::new();
    for entry in &known.spec.partitions {
        let shown = read.spec.partitions.iter().enumerate().find(|(_, shown)| shown.partition == entry.partition);
        match shown {
            Some((index, shown)) if shown.age(entry) == Age::Older => {
                operations.extend(in_place_of(index, shown, entry))
            }
            Some(_) => {}
            None => operations.push(json!({ "op": "add", "path": "/spec/partitions/-", "value": entry })),
        }
    }
    if known.spec.deleted && !read.spec.deleted {
        operations.push(json!({ "op": "add", "path": "/spec/deleted", "value": true }));
    }
    if operations.is_empty() {
        return Ok(true);
    }
    let version = json!({ "op": "test", "path": "/metadata/resourceVersion", "value": read.resource_version() });
    apply(api, read, [version].into_iter().chain(operations).collect()).await
}

/// Changes the object that was read as `before` to `after`, by compare-and-swap. Only changed fields are written, so a
/// field that this version does not know stays. Lists are replaced whole.
pub async fn swap<K>(api: &Api<K>, before: &K, after: &K) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    api.patch(&before.name_any(), &PatchParams::default(), &swapping(before, after)).await
}

/// As [`swap`], for the object's status.
pub async fn swap_status<K>(api: &Api<K>, before: &K, after: &K) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    api.patch_status(&before.name_any(), &PatchParams::default(), &swapping(before, after)).await
}

fn swapping<K: Resource<DynamicType = ()> + Serialize>(before: &K, after: &K) -> Patch<Value> {
    let tree = |object: &K| serde_json::to_value(object).expect("an object is JSON");
    let mut patch = difference(&tree(before), &tree(after));
    // The version makes the patch a compare-and-swap.
    patch["metadata"]["resourceVersion"] = json!(before.meta().resource_version);
    Patch::Merge(patch)
}

/// The merge patch (RFC 7386) that changes `before` to `after`.
fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return after.clone() };
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = after.iter().filter_map(|(key, value)| match before.get(key) {
        Some(old) if old == value => None,
        Some(old) => Some((key.clone(), difference(old, value))),
        None => Some((key.clone(), value.clone())),
    });
    Value::Object(gone.chain(changed).collect::<Map<_, _>>())
}

/// Whether the patch was applied; false when one of its tests failed.
///
/// It also takes away the record of who manages which field (`managedFields`), for good: nobody applies assignments,
/// and the record is as large as half of the object in every list and event.
async fn apply(
    api: &Api<KafkaAssignment>,
    read: &KafkaAssignment,
    mut operations: Vec<Value>,
) -> Result<bool, kube::Error> {
    operations.push(json!({ "op": "add", "path": "/metadata/managedFields", "value": [{}] }));
    let patch: Patch<()> =
        Patch::Json(serde_json::from_value(Value::Array(operations)).expect("operations are a patch"));
    match api.patch(&read.name_any(), &PatchParams::default(), &patch).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if is_stale(&status) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a test failed: the status is that of any invalid object, except that it names no field.
fn is_stale(status: &Status) -> bool {
    let causes = status.details.as_ref().map_or(0, |details| details.causes.len());
    status.is_conflict() || (status.is_invalid() && causes == 0)
}

fn replace(read: &KafkaAssignment, next: &[Assignment]) -> Vec<Value> {
    let mut operations = Vec::with_capacity(3 * next.len());
    for entry in next {
        let found = read.spec.partitions.iter().enumerate().find(|(_, before)| before.partition == entry.partition);
        let Some((index, before)) = found else { panic!("partition {} was not read", entry.partition) };
        assert!(
            entry.partition_epoch.follows(before.partition_epoch),
            "partition {}: a transition adds 1 to the partition epoch that was read",
            entry.partition
        );
        operations.extend(in_place_of(index, before, entry));
    }
    operations
}

/// The operations that change the entry at `index` from `before` to `after`, field by field, if it is still `before`.
fn in_place_of(index: usize, before: &Assignment, after: &Assignment) -> Vec<Value> {
    let path = |field: &str| format!("/spec/partitions/{index}/{field}");
    let mut operations = vec![
        json!({ "op": "test", "path": path("partition"), "value": before.partition }),
        json!({ "op": "test", "path": path("partitionEpoch"), "value": before.partition_epoch }),
        json!({ "op": "test", "path": path("leaderEpoch"), "value": before.leader_epoch }),
    ];
    let tree = |entry: &Assignment| serde_json::to_value(entry).expect("an entry is JSON");
    let Value::Object(changed) = difference(&tree(before), &tree(after)) else { return operations };
    operations.extend(changed.into_iter().map(|(field, value)| match value {
        Value::Null => json!({ "op": "remove", "path": path(&field) }),
        value => json!({ "op": "add", "path": path(&field), "value": value }),
    }));
    operations
}
