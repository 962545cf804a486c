//! Which replicas the operator moves by itself. What it moves once, because somebody asks, is a KafkaRebalance.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which replicas the operator moves by itself, and how fast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rebalance {
    /// Add: new brokers get replicas of the others. Remove: brokers that leave give theirs to the others. Default:
    /// both. Empty: replicas move only where somebody asks for it.
    #[serde(default = "every_occasion", deserialize_with = "crate::words::occasions")]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub auto: Vec<Occasion>,
    /// How long a new broker must have been online until it gets replicas of the others, in seconds. Default: 600.
    #[serde(default = "ten_minutes")]
    #[schemars(range(min = 0, max = 86400))]
    pub add_after_seconds: i32,
    /// The most bytes per second that a broker copies of replicas that are moved to it, such as `100Mi`. The operator
    /// lowers the rate while producers wait longer than before. Default: 100Mi.
    #[serde(default = "max_rate")]
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = r"^[1-9][0-9]*(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
    )]
    pub max_rate: String,
    /// The bytes per second below which the operator does not lower the rate. Default: 2Mi.
    #[serde(default = "min_rate")]
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = r"^[1-9][0-9]*(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
    )]
    pub min_rate: String,
}

/// When the operator moves replicas by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Occasion {
    /// A broker is new.
    Add,
    /// A broker leaves.
    Remove,
    /// An occasion of a newer version: nothing moves.
    #[serde(skip_deserializing)]
    Unknown,
}

impl Default for Rebalance {
    fn default() -> Self {
        Self { auto: every_occasion(), add_after_seconds: ten_minutes(), max_rate: max_rate(), min_rate: min_rate() }
    }
}

fn every_occasion() -> Vec<Occasion> {
    vec![Occasion::Add, Occasion::Remove]
}

fn ten_minutes() -> i32 {
    600
}

fn max_rate() -> String {
    "100Mi".to_owned()
}

fn min_rate() -> String {
    "2Mi".to_owned()
}
