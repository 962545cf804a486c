//! The settings of a group.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::setting::SettingType::{self, Boolean, Int, Text};
use crate::setting::Status::{self, Enforced};
use crate::setting::Valid::{self, Any, Min, OffsetReset, OneOf};
use crate::setting::{Fallback, Setting, UpdateMode};

/// The settings of a group, by name.
pub static SETTINGS: LazyLock<BTreeMap<&'static str, Setting>> =
    LazyLock::new(|| TABLE.iter().map(|setting| (setting.name, *setting)).collect());

#[rustfmt::skip]
const TABLE: &[Setting] = &[
    group("consumer.assignment.interval.ms", Int, "1000", Min(0), &[same("group.consumer.assignment.interval.ms")],
        Enforced("The shortest time between two target assignments of the group.")),
    group("consumer.heartbeat.interval.ms", Int, "5000", Min(1), &[same("group.consumer.heartbeat.interval.ms")],
        Enforced("How often members of the group send heartbeats.")),
    group("consumer.session.timeout.ms", Int, "45000", Min(1), &[same("group.consumer.session.timeout.ms")],
        Enforced("How long a member of the group may be silent before it is removed.")),
    group("share.assignment.interval.ms", Int, "1000", Min(0), &[same("group.share.assignment.interval.ms")],
        Enforced("The shortest time between two target assignments of the share group.")),
    group("share.auto.offset.reset", Text, "latest", OffsetReset, &[],
        Enforced("Where the share group begins in a partition: earliest, latest, or by_duration:<PnDTnHnMn.nS>, with the \
            first record that is no older than that.")),
    group("share.delivery.count.limit", Int, "5", Min(2), &[same("group.share.delivery.count.limit")],
        Enforced("How often a record is delivered to the share group before it is archived.")),
    group("share.heartbeat.interval.ms", Int, "5000", Min(1), &[same("group.share.heartbeat.interval.ms")],
        Enforced("How often members of the share group send heartbeats.")),
    group("share.isolation.level", Text, "read_uncommitted", OneOf(&["read_committed", "read_uncommitted"]), &[],
        Enforced("Whether the share group gets records of transactions that are not committed.")),
    group("share.partition.max.record.locks", Int, "2000", Min(100), &[same("group.share.partition.max.record.locks")],
        Enforced("How many records of a partition may be in flight, from the first that is not done with.")),
    group("share.record.lock.duration.ms", Int, "30000", Min(1000), &[same("group.share.record.lock.duration.ms")],
        Enforced("How long a member of the share group has a record before another one gets it.")),
    group("share.renew.acknowledge.enable", Boolean, "true", Any, &[],
        Enforced("Whether members of the share group may renew their hold on a record.")),
    group("share.session.timeout.ms", Int, "45000", Min(1), &[same("group.share.session.timeout.ms")],
        Enforced("How long a member of the share group may be silent before it is removed.")),
    group("streams.assignment.interval.ms", Int, "1000", Min(0), &[same("group.streams.assignment.interval.ms")],
        Enforced("The shortest time between two target assignments of the streams group.")),
    group("streams.heartbeat.interval.ms", Int, "5000", Min(1), &[same("group.streams.heartbeat.interval.ms")],
        Enforced("How often members of the streams group send heartbeats.")),
    group("streams.initial.rebalance.delay.ms", Int, "3000", Min(0), &[same("group.streams.initial.rebalance.delay.ms")],
        Enforced("How long the first assignment of an empty streams group waits for more members.")),
    group("streams.num.standby.replicas", Int, "0", Min(0), &[same("group.streams.num.standby.replicas")],
        Enforced("How many standby copies each stateful task of the streams group has.")),
    group("streams.session.timeout.ms", Int, "45000", Min(1), &[same("group.streams.session.timeout.ms")],
        Enforced("How long a member of the streams group may be silent before it is removed.")),
];

const fn group(
    name: &'static str,
    kind: SettingType,
    default: &'static str,
    valid: Valid,
    fallbacks: &'static [Fallback],
    status: Status,
) -> Setting {
    let update_mode = UpdateMode::ClusterWide;
    Setting { name, kind, default: Some(default), valid, fallbacks, update_mode, listed: true, status }
}

const fn same(name: &'static str) -> Fallback {
    Fallback::same(name)
}
