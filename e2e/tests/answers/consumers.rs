//! Groups of the consumer protocol (KIP-848): ConsumerGroupHeartbeat, ConsumerGroupDescribe, the offsets of their
//! members, the settings of one group, and what classic requests make of such a group.

use crate::configs;
use crate::offsets::{commit, coordinated, fetch};
use crate::{group_settings, play, text, topic};
use anyhow::Result;
use bytes::Bytes;
use ottla_e2e::answers::{Conversation, LIMIT};
use ottla_e2e::wait::until;
use ottla_wire::m08_offset_commit::OffsetCommitRequest;
use ottla_wire::m09_offset_fetch::OffsetFetchRequest;
use ottla_wire::m11_join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::m12_heartbeat::HeartbeatRequest;
use ottla_wire::m15_describe_groups::DescribeGroupsRequest;
use ottla_wire::m16_list_groups::ListGroupsRequest;
use ottla_wire::m42_delete_groups::DeleteGroupsRequest;
use ottla_wire::m44_incremental_alter_configs::IncrementalAlterConfigsRequest;
use ottla_wire::m68_consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatTopicPartitions};
use ottla_wire::m69_consumer_group_describe::ConsumerGroupDescribeRequest;
use ottla_wire::{ErrorCode, Uuid};

/// `ConfigResource.Type.GROUP`.
const GROUP: i8 = 32;

/// What a member says when it joins.
pub(crate) fn join(group: &str, member: &str, topic: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: text(group),
        member_id: text(member),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec![text(topic)]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

/// What a member says when nothing has changed.
pub(crate) fn beat(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: text(group),
        member_id: text(member),
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        ..Default::default()
    }
}

/// The same, with what the member owns.
pub(crate) fn owning(
    group: &str,
    member: &str,
    epoch: i32,
    topic_id: Uuid,
    partitions: &[i32],
) -> ConsumerGroupHeartbeatRequest {
    let owned = ConsumerGroupHeartbeatTopicPartitions { topic_id, partitions: partitions.to_vec() };
    ConsumerGroupHeartbeatRequest { topic_partitions: Some(vec![owned]), ..beat(group, member, epoch) }
}

/// Gives a group a setting of its own.
fn set(group: &str, name: &str, value: &str) -> IncrementalAlterConfigsRequest {
    group_settings(group, &[(name, value)])
}

/// A group without a pause between two assignments.
pub(crate) fn settled_at_once(broker: &mut Conversation<'_>, group: &str) -> Result<()> {
    let answer = broker.quietly(1, set(group, "consumer.assignment.interval.ms", "0"))?;
    anyhow::ensure!(answer.responses[0].error_code.is_none(), "{answer:?}");
    Ok(())
}

/// Notes the groups as ConsumerGroupDescribe shows them, with members and partitions in order.
pub(crate) fn described(broker: &mut Conversation<'_>, title: &str, version: i16, groups: &[&str]) -> Result<()> {
    let group_ids = groups.iter().map(|group| text(group)).collect();
    let request = ConsumerGroupDescribeRequest { group_ids, include_authorized_operations: version > 0 };
    let mut answer = broker.quietly(version, request)?;
    answer.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    for group in &mut answer.groups {
        group.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
        let members = group.members.iter_mut().flat_map(|m| [&mut m.assignment, &mut m.target_assignment]);
        members.flat_map(|a| &mut a.topic_partitions).for_each(|topic| topic.partitions.sort_unstable());
    }
    broker.note(&format!("{title} {version}"), &format!("{answer:#?}"));
    Ok(())
}

fn offsets(group: &str, member: &str, epoch: i32, topic: &str, partition: i32) -> OffsetCommitRequest {
    OffsetCommitRequest {
        member_id: text(member),
        generation_id_or_member_epoch: epoch,
        ..commit(group, topic, &[(partition, 7, None)])
    }
}

fn fetch_as(group: &str, member: Option<&str>, epoch: i32, topic: &str) -> OffsetFetchRequest {
    let mut request = fetch(group, Some(&[(topic, &[0, 1])]));
    request.groups[0].member_id = member.map(text);
    request.groups[0].member_epoch = epoch;
    request
}

#[test]
fn members_of_the_consumer_protocol_share_partitions() -> Result<()> {
    play("consumers", |broker| {
        let (group, name) = ("consumers", "consumed");
        let id = topic(broker, name, 4, &[])?;
        coordinated(broker, &[group])?;
        settled_at_once(broker, group)?;
        broker.ask("the first joins", 1, join(group, "first", name))?;
        broker.ask("it stays", 1, beat(group, "first", 2))?;
        broker.ask("it owns all", 1, owning(group, "first", 2, id, &[0, 1, 2, 3]))?;
        described(broker, "described", 1, &[group])?;
        broker.ask("the second joins", 1, join(group, "second", name))?;
        broker.ask("the first is to revoke", 1, beat(group, "first", 2))?;
        described(broker, "described while they reconcile", 1, &[group])?;
        broker.ask("the second waits", 1, beat(group, "second", 3))?;
        broker.ask("the first has not revoked yet", 1, owning(group, "first", 2, id, &[0, 1, 2, 3]))?;
        broker.ask("the first commits what it revokes", 9, offsets(group, "first", 2, name, 3))?;
        broker.ask("the first has revoked", 1, owning(group, "first", 2, id, &[0, 1]))?;
        broker.ask("the first has lost the answer", 1, owning(group, "first", 2, id, &[0, 1]))?;
        broker.ask("the second gets its share", 1, beat(group, "second", 3))?;
        described(broker, "described when they are done", 0, &[group])?;

        broker.ask("a commit", 9, offsets(group, "second", 3, name, 3))?;
        broker.ask("a commit in an older version", 8, offsets(group, "second", 3, name, 3))?;
        broker.ask("a commit of an older epoch", 9, offsets(group, "second", 2, name, 3))?;
        broker.ask("a commit of what it has since an older epoch", 9, offsets(group, "first", 2, name, 0))?;
        broker.ask("a commit of a later epoch", 9, offsets(group, "first", 9, name, 0))?;
        broker.ask("a commit of a stranger", 9, offsets(group, "stranger", 3, name, 0))?;
        broker.ask("a commit of nobody", 9, commit(group, name, &[(0, 1, None)]))?;
        broker.ask("a member fetches", 9, fetch_as(group, Some("first"), 3, name))?;
        broker.ask("a stranger fetches", 9, fetch_as(group, Some("stranger"), 3, name))?;
        broker.ask("an older epoch fetches", 9, fetch_as(group, Some("first"), 2, name))?;
        broker.ask("nobody fetches", 9, fetch_as(group, None, -1, name))?;
        broker.ask("a member fetches in an older version", 8, fetch(group, Some(&[(name, &[0, 3])])))?;

        broker.ask("the first leaves", 1, beat(group, "first", -1))?;
        broker.ask("and is not known any more", 1, beat(group, "first", 3))?;
        broker.ask("the second gets all", 1, beat(group, "second", 3))?;
        broker.ask("a later epoch", 1, beat(group, "second", 9))?;
        broker.ask("an older epoch", 1, owning(group, "second", 2, id, &[0]))?;
        broker.ask("deleted with a member", 2, DeleteGroupsRequest { groups_names: vec![text(group)] })?;
        broker.ask("the second leaves", 1, beat(group, "second", -1))?;
        described(broker, "described without members", 1, &[group])?;
        broker.ask("an administrator commits", 9, commit(group, name, &[(0, 3, None)]))?;
        broker.ask("deleted", 2, DeleteGroupsRequest { groups_names: vec![text(group)] })?;
        described(broker, "described when it is gone", 1, &[group])
    })
}

#[test]
fn heartbeats_are_checked() -> Result<()> {
    play("consumer-errors", |broker| {
        let (group, name) = ("careless-consumers", "careless");
        topic(broker, name, 1, &[])?;
        coordinated(broker, &[group])?;
        let good = join(group, "member", name);
        let nobody = text("");
        broker.ask("an unknown group", 1, beat(group, "member", 1))?;
        described(broker, "nothing was made", 1, &[group, ""])?;
        broker.ask("no group", 1, join("", "member", name))?;
        broker.ask("no member", 1, join(group, "", name))?;
        let mut bad = good.clone();
        bad.rebalance_timeout_ms = -1;
        broker.ask("no rebalance timeout", 1, bad)?;
        broker.ask("partitions", 1, ConsumerGroupHeartbeatRequest { topic_partitions: None, ..good.clone() })?;
        broker.ask(
            "no subscription",
            1,
            ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..good.clone() },
        )?;
        let with_assignor =
            |assignor: &str| ConsumerGroupHeartbeatRequest { server_assignor: Some(text(assignor)), ..good.clone() };
        broker.ask("an unknown assignor", 1, with_assignor("best"))?;
        broker.ask(
            "an empty instance",
            1,
            ConsumerGroupHeartbeatRequest { instance_id: Some(nobody.clone()), ..good.clone() },
        )?;
        broker.ask("an empty rack", 1, ConsumerGroupHeartbeatRequest { rack_id: Some(nobody), ..good.clone() })?;
        broker.ask("a dynamic member that will be back", 1, beat(group, "member", -2))?;
        broker.ask("an epoch that nobody has", 1, beat(group, "member", -3))?;
        broker.ask(
            "no expression",
            1,
            ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some(text("care(less")), ..good.clone() },
        )?;
        broker.ask("it joins with the range assignor", 1, with_assignor("range"))?;
        described(broker, "described", 1, &[group])?;
        broker.ask("a stranger", 1, beat(group, "stranger", 2))?;
        broker.ask("it leaves", 1, beat(group, "member", -1))?;
        broker.ask("it leaves twice", 1, beat(group, "member", -1))?;
        broker.ask("deleted", 2, DeleteGroupsRequest { groups_names: vec![text(group)] })?;
        Ok(())
    })
}

#[test]
fn static_members_and_expressions() -> Result<()> {
    play("static-consumers", |broker| {
        let (group, name) = ("static-consumers", "static-consumed");
        topic(broker, name, 2, &[])?;
        coordinated(broker, &[group])?;
        settled_at_once(broker, group)?;
        let with_instance =
            |request, instance: &str| ConsumerGroupHeartbeatRequest { instance_id: Some(text(instance)), ..request };
        broker.ask("it joins", 1, with_instance(join(group, "one", name), "i"))?;
        broker.ask("another wants its place", 1, with_instance(join(group, "two", name), "i"))?;
        broker.ask("another takes its name", 1, with_instance(beat(group, "two", 2), "i"))?;
        broker.ask("it will be back", 1, with_instance(beat(group, "one", -2), "i"))?;
        described(broker, "it has its partitions", 1, &[group])?;
        broker.ask("it is back", 1, with_instance(join(group, "two", name), "i"))?;
        broker.ask("its former self", 1, with_instance(beat(group, "one", 2), "i"))?;
        described(broker, "nothing has moved", 1, &[group])?;
        broker.ask("it leaves for good", 1, with_instance(beat(group, "two", -1), "i"))?;
        let by_expression = ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(Vec::new()),
            subscribed_topic_regex: Some(text("static-consu.*")),
            ..join(group, "three", name)
        };
        let joined = broker.quietly(1, by_expression)?;
        let mut epoch = joined.member_epoch;
        // The expression is looked up beside the heartbeats.
        until(LIMIT, "the topics of an expression", || {
            let answer = broker.quietly(1, beat(group, "three", epoch))?;
            anyhow::ensure!(answer.error_code.is_none(), "{answer:?}");
            epoch = answer.member_epoch;
            Ok(answer.assignment.filter(|assignment| !assignment.topic_partitions.is_empty()))
        })?;
        described(broker, "a member by expression", 1, &[group])?;
        broker.ask("it leaves", 1, beat(group, "three", -1))?;
        broker.ask("deleted", 2, DeleteGroupsRequest { groups_names: vec![text(group)] })?;
        Ok(())
    })
}

#[test]
fn classic_requests_and_consumer_groups() -> Result<()> {
    play("consumers-and-classics", |broker| {
        let (group, name) = ("modern", "modern");
        topic(broker, name, 2, &[])?;
        coordinated(broker, &[group])?;
        settled_at_once(broker, group)?;
        broker.ask("a consumer joins", 1, join(group, "modern", name))?;
        for version in [5, 6] {
            let describe = DescribeGroupsRequest { groups: vec![text(group)], include_authorized_operations: false };
            broker.ask("described as a classic group", version, describe)?;
        }
        for types in [&[][..], &["consumer"], &["classic"]] {
            let request =
                ListGroupsRequest { types_filter: types.iter().map(|name| text(name)).collect(), ..Default::default() };
            let answer = until(LIMIT, "groups that are all loaded", || {
                let answer = broker.quietly(5, request.clone())?;
                Ok((answer.error_code != ErrorCode::COORDINATOR_LOAD_IN_PROGRESS).then_some(answer))
            })?;
            let found = answer.groups.iter().find(|found| found.group_id == text(group));
            broker.note(&format!("listed {types:?}"), &format!("{:?} {found:#?}", answer.error_code));
        }
        described(broker, "described as a consumer group", 1, &[group])?;
        let of_another_kind = JoinGroupRequest {
            group_id: text(group),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            protocol_type: text("connect"),
            protocols: vec![JoinGroupRequestProtocol { name: text("p"), metadata: Bytes::from_static(b"m") }],
            ..Default::default()
        };
        broker.ask("a worker of Connect joins", 9, of_another_kind)?;
        let classic_beat = HeartbeatRequest {
            group_id: text(group),
            generation_id: 1,
            member_id: text("modern"),
            group_instance_id: None,
        };
        broker.ask("a heartbeat of the classic protocol", 4, classic_beat)?;
        broker.ask("it leaves", 1, beat(group, "modern", -1))?;
        broker.ask("deleted", 2, DeleteGroupsRequest { groups_names: vec![text(group)] })?;
        Ok(())
    })
}

#[test]
fn a_group_has_settings_of_its_own() -> Result<()> {
    play("group-settings", |broker| {
        let (group, name) = ("particular", "particular");
        topic(broker, name, 1, &[])?;
        coordinated(broker, &[group])?;
        broker.ask("too long", 1, set(group, "consumer.session.timeout.ms", "60001"))?;
        broker.ask("too short", 1, set(group, "consumer.heartbeat.interval.ms", "4999"))?;
        broker.ask("no number", 1, set(group, "consumer.heartbeat.interval.ms", "often"))?;
        broker.ask("unheard of", 1, set(group, "consumer.dreams", "1"))?;
        broker.ask("good", 1, set(group, "consumer.heartbeat.interval.ms", "7000"))?;
        let joined = until(LIMIT, "the interval", || {
            let answer = broker.quietly(1, join(group, "member", name))?;
            Ok((answer.heartbeat_interval_ms == 7000).then_some(answer.heartbeat_interval_ms))
        })?;
        broker.note("the interval of its members", &joined.to_string());
        let names = ["consumer.heartbeat.interval.ms", "consumer.session.timeout.ms"];
        configs::ask(broker, "described", 4, configs::describe(GROUP, group, Some(&names)))?;
        broker.ask("it leaves", 1, beat(group, "member", -1))?;
        broker.ask("deleted", 2, DeleteGroupsRequest { groups_names: vec![text(group)] })?;
        Ok(())
    })
}
