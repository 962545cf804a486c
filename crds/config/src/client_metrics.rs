//! The settings of a subscription to clients' metrics (KIP-714). Clients are not asked for metrics: each setting has
//! its default, and nothing else is accepted.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::setting::SettingType::{self, Int, List};
use crate::setting::Status::Fixed;
use crate::setting::Valid::{Any, Range};
use crate::setting::{Setting, UpdateMode, Valid};

/// The settings of a subscription, by name.
pub static SETTINGS: LazyLock<BTreeMap<&'static str, Setting>> =
    LazyLock::new(|| TABLE.iter().map(|setting| (setting.name, *setting)).collect());

const TABLE: &[Setting] = &[
    client_metrics("interval.ms", Int, "300000", Range(100, 3_600_000)),
    client_metrics("match", List, "", Any),
    client_metrics("metrics", List, "", Any),
];

const fn client_metrics(name: &'static str, kind: SettingType, default: &'static str, valid: Valid) -> Setting {
    Setting {
        name,
        kind,
        default: Some(default),
        valid,
        fallbacks: &[],
        update_mode: UpdateMode::ClusterWide,
        listed: true,
        status: Fixed("clients are not asked for their metrics"),
    }
}
