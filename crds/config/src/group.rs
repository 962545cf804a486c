//! The settings of a group. Of the protocols that are not supported yet each setting has its default, and nothing else
//! is accepted.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::setting::Kind::{self, Boolean, Int, Text};
use crate::setting::Status::{self, Enforced, Fixed};
use crate::setting::Valid::{self, Any, Min, OneOf};
use crate::setting::{Fallback, Setting, UpdateMode};

/// The settings of a group, by name.
pub static SETTINGS: LazyLock<BTreeMap<&'static str, Setting>> =
    LazyLock::new(|| TABLE.iter().map(|setting| (setting.name, *setting)).collect());

const SHARE: Status = Fixed("share groups are not supported");
const STREAMS: Status = Fixed("the streams group protocol is not supported");

#[rustfmt::skip]
const TABLE: &[Setting] = &[
    group("consumer.assignment.interval.ms", Int, "1000", Min(0), &[same("group.consumer.assignment.interval.ms")],
        Enforced("The shortest time between two target assignments of the group.")),
    group("consumer.heartbeat.interval.ms", Int, "5000", Min(1), &[same("group.consumer.heartbeat.interval.ms")],
        Enforced("How often members of the group send heartbeats.")),
    group("consumer.session.timeout.ms", Int, "45000", Min(1), &[same("group.consumer.session.timeout.ms")],
        Enforced("How long a member of the group may be silent before it is removed.")),
    group("share.assignment.interval.ms", Int, "1000", Min(0), &[same("group.share.assignment.interval.ms")], SHARE),
    group("share.auto.offset.reset", Text, "latest", Any, &[], SHARE),
    group("share.delivery.count.limit", Int, "5", Min(2), &[same("group.share.delivery.count.limit")], SHARE),
    group("share.heartbeat.interval.ms", Int, "5000", Min(1), &[same("group.share.heartbeat.interval.ms")], SHARE),
    group("share.isolation.level", Text, "read_uncommitted", OneOf(&["read_committed", "read_uncommitted"]), &[], SHARE),
    group("share.partition.max.record.locks", Int, "2000", Min(100), &[same("group.share.partition.max.record.locks")], SHARE),
    group("share.record.lock.duration.ms", Int, "30000", Min(1000), &[same("group.share.record.lock.duration.ms")], SHARE),
    group("share.renew.acknowledge.enable", Boolean, "true", Any, &[], SHARE),
    group("share.session.timeout.ms", Int, "45000", Min(1), &[same("group.share.session.timeout.ms")], SHARE),
    group("streams.assignment.interval.ms", Int, "1000", Min(0), &[same("group.streams.assignment.interval.ms")], STREAMS),
    group("streams.heartbeat.interval.ms", Int, "5000", Min(1), &[same("group.streams.heartbeat.interval.ms")], STREAMS),
    group("streams.initial.rebalance.delay.ms", Int, "3000", Min(0), &[same("group.streams.initial.rebalance.delay.ms")], STREAMS),
    group("streams.num.standby.replicas", Int, "0", Min(0), &[same("group.streams.num.standby.replicas")], STREAMS),
    group("streams.session.timeout.ms", Int, "45000", Min(1), &[same("group.streams.session.timeout.ms")], STREAMS),
];

const fn group(
    name: &'static str,
    kind: Kind,
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
