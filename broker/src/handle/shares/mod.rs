//! APIs of share groups (KIP-932): members, records, offsets; and the states that brokers keep of them.

mod acknowledgements;
pub(super) mod alter_share_group_offsets;
pub(super) mod delete_share_group_offsets;
pub(super) mod describe_share_group_offsets;
pub(super) mod share_acknowledge;
pub(super) mod share_fetch;
pub(super) mod share_group_describe;
pub(super) mod share_group_heartbeat;
pub(super) mod share_group_state;

use std::collections::BTreeSet;

use ottla_access::Operation;
use ottla_group::GroupError;
use ottla_rules::features::SHARE_VERSION;
use ottla_wire::{LeaderIdAndEpoch, Uuid};

use super::context::Context;

/// The epoch of a request that closes its share session.
const FINAL: i32 = -1;

/// What stands for no leader in answers about records: other than elsewhere, these messages have no default of −1.
const NO_LEADER: LeaderIdAndEpoch = LeaderIdAndEpoch { leader_id: 0, leader_epoch: 0 };

/// Whether the client may read the group, and so be its member.
fn may_be_member(context: &Context, group: Option<&str>) -> bool {
    context.may_group(Operation::Read, group.unwrap_or_default())
}

/// The topics, of those that exist, that the client may not read.
fn denied_topics(context: &Context, ids: impl IntoIterator<Item = Uuid>) -> BTreeSet<Uuid> {
    let ids: BTreeSet<Uuid> = ids.into_iter().collect();
    let is_denied = |id: &Uuid| {
        let topic = context.image.topics.get(id);
        topic.is_some_and(|topic| !context.may_topic(Operation::Read, &topic.name))
    };
    ids.into_iter().filter(is_denied).collect()
}

/// Share groups are served when every broker knows them.
///
/// # Errors
/// UNSUPPORTED_VERSION until then.
fn are_served(context: &Context) -> Result<(), GroupError> {
    match context.image.features.level(SHARE_VERSION) {
        ..1 => Err(GroupError::UnsupportedVersion),
        1.. => Ok(()),
    }
}

/// How long a member has what it got, in milliseconds.
fn lock_timeout_ms(context: &Context, group: &str) -> i32 {
    let duration = context.handler.shares.settings(group).record_lock_duration;
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
