//! A group that changes its protocol while it works, in both directions: a classic member and one of the consumer
//! protocol share its partitions, and whoever is left decides what the group is.

use crate::consumers::{beat, described, join, owning, settled_at_once};
use crate::groups::{heartbeat, leave};
use crate::offsets::{commit, coordinated};
use crate::{play, text, topic};
use anyhow::Result;
use ottla_e2e::answers::{Conversation, LIMIT};
use ottla_e2e::wait::until;
use ottla_wire::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition, decode};
use ottla_wire::coordinator_records::encode_value;
use ottla_wire::m11_join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::m14_sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_wire::m15_describe_groups::DescribeGroupsRequest;
use ottla_wire::m42_delete_groups::DeleteGroupsRequest;
use ottla_wire::{ErrorCode, OffsetCommitRequest, Str};

/// The version of the subscriptions and assignments.
const VERSION: i16 = 3;
const PROTOCOL: &str = "range";

fn partitions(topic: &str, partitions: &[i32]) -> Vec<TopicPartition> {
    if partitions.is_empty() {
        return Vec::new();
    }
    vec![TopicPartition { topic: text(topic), partitions: partitions.to_vec() }]
}

/// How Kafka's consumer joins a classic group, with what it owned in the generation before.
fn join_classic(group: &str, member: &Str, topic: &str, owned: &[i32], generation_id: i32) -> JoinGroupRequest {
    let subscription = ConsumerProtocolSubscription {
        topics: vec![text(topic)],
        user_data: None,
        owned_partitions: partitions(topic, owned),
        generation_id,
        rack_id: None,
    };
    JoinGroupRequest {
        group_id: text(group),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.clone(),
        protocol_type: text("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: text(PROTOCOL),
            metadata: encode_value(VERSION, &subscription),
        }],
        ..Default::default()
    }
}

/// A leader gives partitions to members; a follower, or a member that the coordinator gives its partitions, nothing.
fn sync(group: &str, generation_id: i32, member: &Str, assigned: &[(&Str, &str, &[i32])]) -> SyncGroupRequest {
    let assignment = |(member, topic, numbers): &(&Str, &str, &[i32])| {
        let assignment =
            ConsumerProtocolAssignment { assigned_partitions: partitions(topic, numbers), user_data: None };
        SyncGroupRequestAssignment { member_id: (*member).clone(), assignment: encode_value(VERSION, &assignment) }
    };
    SyncGroupRequest {
        group_id: text(group),
        generation_id,
        member_id: member.clone(),
        protocol_type: Some(text("consumer")),
        protocol_name: Some(text(PROTOCOL)),
        assignments: assigned.iter().map(assignment).collect(),
        ..Default::default()
    }
}

fn commit_in(group: &str, member: &Str, generation: i32, topic: &str) -> OffsetCommitRequest {
    OffsetCommitRequest {
        member_id: member.clone(),
        generation_id_or_member_epoch: generation,
        ..commit(group, topic, &[(0, 7, None)])
    }
}

fn describe(group: &str) -> DescribeGroupsRequest {
    DescribeGroupsRequest { groups: vec![text(group)], include_authorized_operations: false }
}

/// Syncs and notes the partitions that came, not the bytes that say so.
fn synced(broker: &mut Conversation<'_>, title: &str, request: SyncGroupRequest) -> Result<()> {
    let answer = broker.quietly(5, request)?;
    let assigned = match answer.error_code {
        ErrorCode::NONE => format!("{:#?}", decode::<ConsumerProtocolAssignment>(answer.assignment)?),
        code => format!("{code:?}"),
    };
    broker.note(title, &format!("{:?} {:?} {assigned}", answer.protocol_type, answer.protocol_name));
    Ok(())
}

/// Waits until a classic member hears that it is to join again.
fn until_rebalance(broker: &mut Conversation<'_>, group: &str, generation: i32, member: &Str) -> Result<()> {
    until(LIMIT, "the rebalance", || {
        let code = broker.quietly(4, heartbeat(group, generation, member))?.error_code;
        Ok((!code.is_none()).then_some(()))
    })
}

#[test]
fn a_classic_group_becomes_a_consumer_group_and_a_classic_one_again() -> Result<()> {
    play("migrating", |broker| {
        let (group, name) = ("migrating", "migrated");
        let topic_id = topic(broker, name, 4, &[])?;
        coordinated(broker, &[group])?;
        settled_at_once(broker, group)?;
        let asked = broker.ask("a classic member asks for an id", 9, join_classic(group, &text(""), name, &[], -1))?;
        let old = asked.member_id;
        broker.quietly(9, join_classic(group, &old, name, &[], -1))?;
        synced(broker, "it leads and takes all", sync(group, 1, &old, &[(&old, name, &[0, 1, 2, 3])]))?;
        broker.ask("it commits", 8, commit_in(group, &old, 1, name))?;

        broker.ask("a member of the consumer protocol joins", 1, join(group, "new", name))?;
        described(broker, "the group has changed its protocol", 1, &[group])?;
        broker.ask("which who asks for a classic group hears", 6, describe(group))?;
        until_rebalance(broker, group, 1, &old)?;
        broker.ask("the classic member is to join again", 4, heartbeat(group, 1, &old))?;
        broker.ask("until then it may commit", 8, commit_in(group, &old, 1, name))?;
        broker.ask("the other waits", 1, beat(group, "new", 2))?;
        let rejoined = broker.ask(
            "the classic member joins without what it has to give up",
            9,
            join_classic(group, &old, name, &[0, 1], 1),
        )?;
        let generation = rejoined.generation_id;
        synced(broker, "it hears what is left", sync(group, generation, &old, &[]))?;
        broker.ask("it is stable", 4, heartbeat(group, generation, &old))?;
        broker.ask("the other gets its share", 1, beat(group, "new", 2))?;
        described(broker, "both work", 1, &[group])?;
        broker.ask("the classic member commits", 8, commit_in(group, &old, generation, name))?;
        broker.ask("in its last generation", 8, commit_in(group, &old, 1, name))?;
        broker.ask("a heartbeat of its last generation", 4, heartbeat(group, 1, &old))?;

        broker.ask("the member of the consumer protocol leaves", 1, beat(group, "new", -1))?;
        broker.ask("the group is classic again", 6, describe(group))?;
        described(broker, "and no consumer group", 1, &[group])?;
        until_rebalance(broker, group, generation, &old)?;
        let again = broker.quietly(9, join_classic(group, &old, name, &[0, 1], generation))?;
        broker.note("it joins and leads", &format!("{:?} {}", again.error_code, again.generation_id));
        let share: (&Str, &str, &[i32]) = (&old, name, &[0, 1, 2, 3]);
        synced(broker, "it takes all", sync(group, again.generation_id, &old, &[share]))?;
        broker.ask("it is stable again", 4, heartbeat(group, again.generation_id, &old))?;

        broker.ask("the consumer protocol once more", 1, join(group, "newer", name))?;
        broker.ask("the classic member leaves", 5, leave(group, &[(&old, None)]))?;
        let joined = until(LIMIT, "all partitions for the one that is left", || {
            let answer = broker.quietly(1, join(group, "newer", name))?;
            let count = answer.assignment.iter().flat_map(|a| &a.topic_partitions).flat_map(|t| &t.partitions).count();
            Ok((count == 4).then_some(answer))
        })?;
        broker.ask("it owns all", 1, owning(group, "newer", joined.member_epoch, topic_id, &[0, 1, 2, 3]))?;
        described(broker, "a consumer group without classic members", 1, &[group])?;
        broker.ask("it leaves", 1, beat(group, "newer", -1))?;
        broker.ask("deleted", 2, DeleteGroupsRequest { groups_names: vec![text(group)] })?;
        Ok(())
    })
}

#[test]
fn a_classic_member_joins_a_consumer_group() -> Result<()> {
    play("joining-consumers", |broker| {
        let (group, name) = ("joined-late", "joined-late");
        let topic_id = topic(broker, name, 2, &[])?;
        coordinated(broker, &[group])?;
        settled_at_once(broker, group)?;
        broker.ask("a member of the consumer protocol", 1, join(group, "new", name))?;
        let asked = broker.quietly(9, join_classic(group, &text(""), name, &[], -1))?;
        let old = asked.member_id.clone();
        broker.name(&old, "CLASSIC");
        broker.note("a classic one asks for an id", &format!("{asked:#?}"));
        let joined = broker.ask("it joins", 9, join_classic(group, &old, name, &[], -1))?;
        synced(broker, "nothing is free yet", sync(group, joined.generation_id, &old, &[]))?;
        let first = broker.quietly(1, beat(group, "new", 2))?;
        let epoch = first.member_epoch;
        broker.note("the first is to give something up", &format!("{:?} {epoch}", first.error_code));
        broker.ask("it has", 1, owning(group, "new", epoch, topic_id, &[0]))?;
        until_rebalance(broker, group, joined.generation_id, &old)?;
        let rejoined = broker.ask("the classic one joins again", 9, join_classic(group, &old, name, &[], 3))?;
        synced(broker, "it gets its share", sync(group, rejoined.generation_id, &old, &[]))?;
        described(broker, "both work", 1, &[group])?;
        let unsupported = JoinGroupRequest {
            protocols: vec![JoinGroupRequestProtocol { name: text("own"), metadata: "meta".into() }],
            ..join_classic(group, &text(""), name, &[], -1)
        };
        broker.ask("a subscription that nobody can read", 9, unsupported)?;
        broker.ask("the first leaves", 1, beat(group, "new", -1))?;
        broker.ask("a classic group is left", 6, describe(group))?;
        broker.ask("its member leaves", 5, leave(group, &[(&old, None)]))?;
        broker.ask("deleted", 2, DeleteGroupsRequest { groups_names: vec![text(group)] })?;
        Ok(())
    })
}
