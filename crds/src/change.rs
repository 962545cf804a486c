//! The one way in which operator and brokers write a `KafkaAssignment`: a JSON patch that tests what it rests on.
//!
//! Each entry is tested by partition number and partition epoch, so writers of different partitions of one object never
//! disturb each other, and a writer that saw an older entry changes nothing.
//!
//! Always: what is written is what a transition of [`crate::assignment`] made of the very entry that was read.

use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    core::Status,
};
use serde_json::{Value, json};

use crate::{KafkaAssignment, assignment::Assignment};

/// Puts `next` in the place of the entries of the same partitions in `read`, and answers which partitions could not be written
/// because their entry has changed since: read again and think again.
///
/// All go in one write; when a test fails they are split until the ones that fail stand alone. An error says nothing about
/// what was written.
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

/// Adds entries behind those in `read`. False: the object has changed since.
pub async fn append(
    api: &Api<KafkaAssignment>,
    read: &KafkaAssignment,
    added: &[Assignment],
) -> Result<bool, kube::Error> {
    let version = json!({ "op": "test", "path": "/metadata/resourceVersion", "value": read.resource_version() });
    let entries = added.iter().map(|entry| json!({ "op": "add", "path": "/spec/partitions/-", "value": entry }));
    apply(api, read, [version].into_iter().chain(entries).collect()).await
}

/// Marks the object of a deleted topic.
pub async fn bury(api: &Api<KafkaAssignment>, read: &KafkaAssignment) -> Result<(), kube::Error> {
    apply(api, read, vec![json!({ "op": "add", "path": "/spec/deleted", "value": true })]).await.map(drop)
}

/// Whether the patch was applied; false when one of its tests failed.
async fn apply(
    api: &Api<KafkaAssignment>,
    read: &KafkaAssignment,
    operations: Vec<Value>,
) -> Result<bool, kube::Error> {
    let patch: Patch<()> =
        Patch::Json(serde_json::from_value(Value::Array(operations)).expect("operations are a patch"));
    match api.patch(&read.name_any(), &PatchParams::default(), &patch).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if is_stale(&status) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A failed test reads like any other invalid object, except that no field is named.
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
            before.partition_epoch.checked_add(1) == Some(entry.partition_epoch),
            "partition {}: a transition adds 1 to the partition epoch that was read",
            entry.partition
        );
        let path = format!("/spec/partitions/{index}");
        operations.extend([
            json!({ "op": "test", "path": format!("{path}/partition"), "value": entry.partition }),
            json!({ "op": "test", "path": format!("{path}/partitionEpoch"), "value": before.partition_epoch }),
            json!({ "op": "replace", "path": path, "value": entry }),
        ]);
    }
    operations
}
