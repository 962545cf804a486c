//! The brokers' volumes, and what becomes of those of brokers that have left.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A broker's volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// The size of the volume, such as `100Gi`. It can be raised, and lowered again until a volume has grown
    /// (`status.volumeSize`).
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = r"^[1-9][0-9]*(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
    )]
    pub size: String,
    /// The volume's StorageClass; immutable. Absent: the default StorageClass of the Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// What becomes of the volume of a broker that has left because `replicas` was reduced. It counts for all of them,
    /// whenever they left. Default: Keep.
    #[serde(default, deserialize_with = "crate::words::removed_volumes")]
    pub removed: RemovedVolumes,
    /// With `removed: Delete`, how long the volume is kept after the broker has left, or, if `removed` was changed from
    /// Keep to Delete later, after that change, such as `24h`. Raise `replicas` in this time, and the broker returns
    /// with its volume. Absent: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 2, max = 16), regex(pattern = r"^([0-9]{1,6}(s|m|h))+$"))]
    pub keep_for: Option<kube::core::Duration>,
    /// What becomes of a broker whose volume is local to a node that was removed from Kubernetes: its PersistentVolume
    /// names nodes of which none exists any more. A node that is not ready exists. Wait: the conditions say which
    /// broker, and what to type. Replace: after `lostAfter` the broker gets a new volume, as with `state: Fresh`.
    /// Default: Wait.
    #[serde(default, deserialize_with = "crate::words::on_lost_node")]
    pub on_lost_node: OnLostNode,
    /// With `onLostNode: Replace`, how long the node must have been gone, such as `10m`. If it comes back in this time,
    /// the broker keeps its volume. Absent: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 2, max = 16), regex(pattern = r"^([0-9]{1,6}(s|m|h))+$"))]
    pub lost_after: Option<kube::core::Duration>,
}

/// How long a node must have been gone before the volume of its broker is replaced, unless the spec says otherwise: a
/// machine restarts, and registers again, in less.
const LOST_AFTER: Duration = Duration::from_secs(10 * 60);

impl Storage {
    /// How long a node must have been gone before the volume of its broker is replaced.
    pub fn lost_after(&self) -> Duration {
        self.lost_after.map_or(LOST_AFTER, Duration::from)
    }

    /// How long the volume of a broker that has left is kept.
    pub fn kept_for(&self) -> Duration {
        self.keep_for.map_or(Duration::from_secs(24 * 60 * 60), Duration::from)
    }
}

/// What becomes of the volumes of brokers that have left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RemovedVolumes {
    /// The claim stays, with the annotation `ottla.io/retired`.
    #[default]
    Keep,
    /// The claim is deleted when `keepFor` has passed.
    Delete,
}

/// What becomes of a broker whose volume is local to a node that does not exist any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnLostNode {
    /// It waits for the node, or for a person.
    #[default]
    Wait,
    /// It gets a new volume when `lostAfter` has passed, if no partition needs the old one.
    Replace,
}
