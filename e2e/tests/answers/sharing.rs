//! Share groups (KIP-932): their members, what they fetch and acknowledge, their offsets, and the states that brokers
//! keep of them.

use crate::offsets::coordinated;
use crate::producing::produce;
use crate::{batch, group_settings, play, text, topic};
use anyhow::{Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ottla_e2e::answers::{Conversation, LIMIT};
use ottla_e2e::wait::until;
use ottla_wire::m10_find_coordinator::FindCoordinatorRequest;
use ottla_wire::m15_describe_groups::DescribeGroupsRequest;
use ottla_wire::m42_delete_groups::DeleteGroupsRequest;
use ottla_wire::m76_share_group_heartbeat::ShareGroupHeartbeatRequest;
use ottla_wire::m77_share_group_describe::ShareGroupDescribeRequest;
use ottla_wire::m78_share_fetch::{
    AcknowledgementBatch, ShareFetchPartition, ShareFetchRequest, ShareFetchResponse, ShareFetchTopic,
    ShareForgottenTopic,
};
use ottla_wire::m79_share_acknowledge::{AcknowledgePartition, AcknowledgeTopic, ShareAcknowledgeRequest};
use ottla_wire::m83_initialize_share_group_state::{
    InitializeShareGroupStateRequest, InitializeStateData, InitializeStatePartition,
};
use ottla_wire::m84_read_share_group_state::{
    ReadShareGroupStateRequest, ReadStateData, ReadStatePartition, StateBatch,
};
use ottla_wire::m85_write_share_group_state::{WriteShareGroupStateRequest, WriteStateData, WriteStatePartition};
use ottla_wire::m86_delete_share_group_state::{DeleteShareGroupStateRequest, DeleteStateData, DeleteStatePartition};
use ottla_wire::m87_read_share_group_state_summary::{
    ReadShareGroupStateSummaryRequest, ReadSummaryStateData, ReadSummaryStatePartition,
};
use ottla_wire::m90_describe_share_group_offsets::{
    DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsRequestTopic,
};
use ottla_wire::m91_alter_share_group_offsets::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use ottla_wire::m92_delete_share_group_offsets::{DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequestTopic};
use ottla_wire::{ErrorCode, Str, Uuid};

/// What a record is acknowledged with.
const GAP: i8 = 0;
const ACCEPT: i8 = 1;
const RELEASE: i8 = 2;
const REJECT: i8 = 3;
const RENEW: i8 = 4;

fn join(group: &str, member: &str, topics: &[&str]) -> ShareGroupHeartbeatRequest {
    ShareGroupHeartbeatRequest {
        group_id: text(group),
        member_id: text(member),
        subscribed_topic_names: Some(topics.iter().map(|topic| text(topic)).collect()),
        ..Default::default()
    }
}

fn beat(group: &str, member: &str, epoch: i32) -> ShareGroupHeartbeatRequest {
    ShareGroupHeartbeatRequest {
        group_id: text(group),
        member_id: text(member),
        member_epoch: epoch,
        ..Default::default()
    }
}

/// Gives a group settings of its own.
fn set(broker: &mut Conversation<'_>, group: &str, settings: &[(&str, &str)]) -> Result<()> {
    let answer = broker.quietly(1, group_settings(group, settings))?;
    ensure!(answer.responses[0].error_code.is_none(), "{answer:?}");
    Ok(())
}

/// A member joins and beats until it has all of so many partitions; its epoch then.
fn assigned(broker: &mut Conversation<'_>, group: &str, member: &str, topic: &str, partitions: usize) -> Result<i32> {
    let mut epoch = broker.quietly(1, join(group, member, &[topic]))?.member_epoch;
    until(LIMIT, "the assignment", || {
        // A full heartbeat is answered with the assignment.
        let full = ShareGroupHeartbeatRequest { member_epoch: epoch, ..join(group, member, &[topic]) };
        let answer = broker.quietly(1, full)?;
        ensure!(answer.error_code.is_none(), "{answer:?}");
        epoch = answer.member_epoch;
        let all = answer.assignment.iter().flat_map(|all| &all.topic_partitions).flat_map(|topic| &topic.partitions);
        Ok((all.count() == partitions).then_some(()))
    })?;
    Ok(epoch)
}

/// Notes the groups as ShareGroupDescribe shows them, with members and partitions in order.
fn described(broker: &mut Conversation<'_>, title: &str, groups: &[&str]) -> Result<()> {
    let group_ids = groups.iter().map(|group| text(group)).collect();
    let mut answer = broker.quietly(1, ShareGroupDescribeRequest { group_ids, include_authorized_operations: true })?;
    answer.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    for group in &mut answer.groups {
        group.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
        let topics = group.members.iter_mut().flat_map(|member| &mut member.assignment.topic_partitions);
        topics.for_each(|topic| topic.partitions.sort_unstable());
    }
    broker.note(title, &format!("{answer:#?}"));
    Ok(())
}

type Acknowledgements<'a> = &'a [(i64, i64, &'a [i8])];

fn batches(acknowledgements: Acknowledgements<'_>) -> Vec<AcknowledgementBatch> {
    let batch = |(first_offset, last_offset, types): &(i64, i64, &[i8])| AcknowledgementBatch {
        first_offset: *first_offset,
        last_offset: *last_offset,
        acknowledge_types: types.to_vec(),
    };
    acknowledgements.iter().map(batch).collect()
}

/// One member that fetches from partition 0 of one topic.
#[derive(Clone, Copy)]
struct Member<'a> {
    group: &'a str,
    id: &'a str,
    topic: Uuid,
}

impl Member<'_> {
    /// Fetches without waiting for long.
    fn fetch(self, epoch: i32, acknowledgements: Acknowledgements<'_>) -> ShareFetchRequest {
        let partitions =
            vec![ShareFetchPartition { partition_index: 0, acknowledgement_batches: batches(acknowledgements) }];
        ShareFetchRequest {
            group_id: Some(text(self.group)),
            member_id: Some(text(self.id)),
            share_session_epoch: epoch,
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 1 << 20,
            max_records: 100,
            batch_size: 100,
            topics: vec![ShareFetchTopic { topic_id: self.topic, partitions }],
            ..Default::default()
        }
    }

    fn acknowledge(self, epoch: i32, acknowledgements: Acknowledgements<'_>) -> ShareAcknowledgeRequest {
        let partitions =
            vec![AcknowledgePartition { partition_index: 0, acknowledgement_batches: batches(acknowledgements) }];
        ShareAcknowledgeRequest {
            group_id: Some(text(self.group)),
            member_id: Some(text(self.id)),
            share_session_epoch: epoch,
            topics: vec![AcknowledgeTopic { topic_id: self.topic, partitions }],
            ..Default::default()
        }
    }

    /// Fetches until there is something; what it got, and the session's next epoch.
    fn fetched(self, broker: &mut Conversation<'_>, mut epoch: i32) -> Result<(ShareFetchResponse, i32)> {
        until(LIMIT, "records", || {
            let answer = broker.quietly(2, self.fetch(epoch, &[]))?;
            ensure!(answer.error_code.is_none(), "{answer:?}");
            epoch += 1;
            let acquired = answer.responses.iter().flat_map(|topic| &topic.partitions);
            let has_some = acquired.flat_map(|partition| &partition.acquired_records).next().is_some();
            Ok(has_some.then_some((answer, epoch)))
        })
    }
}

/// A topic with so many batches of five records, and a group that begins with the first of them.
fn shared<'a>(
    broker: &mut Conversation<'_>,
    group: &'a str,
    name: &str,
    count: usize,
    settings: &[(&str, &str)],
) -> Result<Member<'a>> {
    let id = topic(broker, name, 1, &[])?;
    for _ in 0..count {
        let answer = broker.quietly(11, produce(name, 0, Some(batch(5).bytes().clone())))?;
        ensure!(answer.responses[0].partition_responses[0].error_code.is_none(), "{answer:?}");
    }
    coordinated(broker, &[group])?;
    let all: Vec<(&str, &str)> = [("share.auto.offset.reset", "earliest"), ("share.assignment.interval.ms", "0")]
        .iter()
        .chain(settings)
        .copied()
        .collect();
    set(broker, group, &all)?;
    assigned(broker, group, "one", name, 1)?;
    Ok(Member { group, id: "one", topic: id })
}

#[test]
fn members_of_share_groups_have_the_same_partitions() -> Result<()> {
    play("share-members", |broker| {
        let (group, name) = ("sharers", "shared");
        // With two partitions, Kafka's hash tables would decide who has which.
        topic(broker, name, 1, &[])?;
        coordinated(broker, &[group])?;
        set(broker, group, &[("share.assignment.interval.ms", "0")])?;
        let one = assigned(broker, group, "one", name, 1)?;
        broker.ask("it stays", 1, beat(group, "one", one))?;
        described(broker, "one member", &[group, "nobody", ""])?;
        let joined = broker.ask("another one joins", 1, join(group, "two", &[name]))?;
        broker.ask("the other one stays", 1, beat(group, "two", joined.member_epoch))?;
        broker.ask("the first learns of it", 1, beat(group, "one", one))?;
        described(broker, "two members", &[group])?;
        broker.ask("an older epoch", 1, beat(group, "one", one - 1))?;
        broker.ask("an epoch from the future", 1, beat(group, "one", 17))?;
        broker.ask("a stranger", 1, beat(group, "three", 3))?;
        broker.ask("a new member without topics", 1, beat(group, "three", 0))?;
        broker.ask("a group that does not exist", 1, beat("nobody", "one", 1))?;
        broker.ask("no member", 1, join(group, "", &[name]))?;
        broker.ask("no group", 1, join("", "one", &[name]))?;
        broker.ask("an impossible epoch", 1, beat(group, "one", -2))?;
        let no_rack = ShareGroupHeartbeatRequest { rack_id: Some(Str::new()), ..join(group, "four", &[name]) };
        broker.ask("an empty rack", 1, no_rack)?;
        broker.ask(
            "as a classic group",
            6,
            DescribeGroupsRequest { groups: vec![text(group)], ..Default::default() },
        )?;
        broker.ask("deleted with members", 2, DeleteGroupsRequest { groups_names: vec![text(group)] })?;
        broker.ask("the first leaves", 1, beat(group, "one", -1))?;
        broker.ask("it leaves again", 1, beat(group, "one", -1))?;
        broker.ask("the other one leaves", 1, beat(group, "two", -1))?;
        described(broker, "empty", &[group])?;
        broker.ask("deleted", 2, DeleteGroupsRequest { groups_names: vec![text(group)] })?;
        described(broker, "gone", &[group])
    })
}

#[test]
fn records_are_acknowledged() -> Result<()> {
    play("share-acknowledge", |broker| {
        let one = shared(broker, "acknowledgers", "acknowledged", 2, &[])?;
        let (all, epoch) = one.fetched(broker, 0)?;
        broker.note("all records", &format!("{all:#?}"));
        broker.ask("nothing is left", 2, one.fetch(epoch, &[]))?;
        broker.ask("accepted", 2, one.acknowledge(epoch + 1, &[(0, 1, &[ACCEPT])]))?;
        broker.ask("accepted again", 2, one.acknowledge(epoch + 2, &[(0, 1, &[ACCEPT])]))?;
        broker.ask("one each", 2, one.acknowledge(epoch + 3, &[(2, 4, &[REJECT, RELEASE, GAP])]))?;
        broker.ask(
            "the released one comes again, and another is accepted",
            2,
            one.fetch(epoch + 4, &[(5, 5, &[ACCEPT])]),
        )?;
        broker.ask("too few types", 2, one.acknowledge(epoch + 5, &[(6, 8, &[ACCEPT, ACCEPT])]))?;
        broker.ask("a type that there is not", 2, one.acknowledge(epoch + 6, &[(6, 6, &[7])]))?;
        broker.ask("offsets that nobody has", 2, one.acknowledge(epoch + 7, &[(100, 101, &[ACCEPT])]))?;
        broker.ask("backwards", 2, one.acknowledge(epoch + 8, &[(7, 6, &[ACCEPT])]))?;
        broker.ask("overlapping", 2, one.acknowledge(epoch + 9, &[(6, 7, &[ACCEPT]), (7, 8, &[ACCEPT])]))?;
        let renew = ShareAcknowledgeRequest { is_renew_ack: true, ..one.acknowledge(epoch + 10, &[(6, 7, &[RENEW])]) };
        broker.ask("renewed", 2, renew)?;
        broker.ask("renewed without saying so", 2, one.acknowledge(epoch + 11, &[(6, 7, &[RENEW])]))?;
        broker.ask("the rest", 2, one.acknowledge(epoch + 12, &[(3, 3, &[ACCEPT]), (6, 9, &[ACCEPT])]))?;
        broker.ask("nothing is left again", 2, one.fetch(epoch + 13, &[]))?;
        broker.ask("closed", 2, one.acknowledge(-1, &[]))?;
        Ok(())
    })
}

#[test]
fn a_record_comes_as_often_as_it_may() -> Result<()> {
    play("share-deliveries", |broker| {
        let one = shared(broker, "receivers", "received", 1, &[("share.delivery.count.limit", "3")])?;
        let (_, epoch) = one.fetched(broker, 0)?;
        broker.ask("released", 2, one.acknowledge(epoch, &[(0, 4, &[RELEASE])]))?;
        let (again, epoch) = one.fetched(broker, epoch + 1)?;
        broker.note("again", &format!("{again:#?}"));
        broker.ask("two released", 2, one.acknowledge(epoch, &[(0, 1, &[RELEASE]), (2, 4, &[ACCEPT])]))?;
        let (last, mut epoch) = one.fetched(broker, epoch + 1)?;
        broker.note("the last time", &format!("{last:#?}"));
        let first = last.responses[0].partitions[0].acquired_records[0].clone();
        let batch = (first.first_offset, first.last_offset, &[RELEASE][..]);
        broker.ask("released for the last time", 2, one.acknowledge(epoch, &[batch]))?;
        if first.last_offset == 0 {
            let (other, next) = one.fetched(broker, epoch + 1)?;
            broker.note("the other", &format!("{other:#?}"));
            epoch = next;
            broker.ask("it is released, too", 2, one.acknowledge(epoch, &[(1, 1, &[RELEASE])]))?;
        }
        broker.ask("nothing is left", 2, one.fetch(epoch + 1, &[]))?;
        Ok(())
    })
}

#[test]
fn a_record_that_is_held_too_long_goes_to_another_member() -> Result<()> {
    play("share-locks", |broker| {
        let settings = [("share.record.lock.duration.ms", "15000")];
        let one = shared(broker, "holders", "held", 1, &settings)?;
        let two = Member { id: "two", ..one };
        assigned(broker, one.group, two.id, "held", 1)?;
        let (_, epoch) = one.fetched(broker, 0)?;
        let (second, other) = two.fetched(broker, 0)?;
        broker.note("the other one gets them", &format!("{second:#?}"));
        broker.ask("the first is too late", 2, one.acknowledge(epoch, &[(0, 4, &[ACCEPT])]))?;
        broker.ask("the other one is not", 2, two.acknowledge(other, &[(0, 4, &[ACCEPT])]))?;
        Ok(())
    })
}

#[test]
fn share_sessions_have_epochs() -> Result<()> {
    play("share-sessions", |broker| {
        let one = shared(broker, "sessions", "sessioned", 1, &[])?;
        broker.ask("acknowledged without a session", 2, one.acknowledge(0, &[(0, 0, &[ACCEPT])]))?;
        broker.ask("an unknown session", 2, one.fetch(5, &[]))?;
        broker.ask("the first fetch acknowledges", 2, one.fetch(0, &[(0, 0, &[ACCEPT])]))?;
        let (_, epoch) = one.fetched(broker, 0)?;
        broker.ask("a wrong epoch", 2, one.fetch(epoch + 7, &[]))?;
        broker.ask("a wrong epoch acknowledges", 2, one.acknowledge(epoch + 7, &[(0, 0, &[ACCEPT])]))?;
        let mut missing = one.fetch(epoch, &[]);
        missing.topics[0].partitions[0].partition_index = 9;
        broker.ask("a partition that there is not", 2, missing)?;
        let nothing = ShareFetchRequest { topics: Vec::new(), ..one.fetch(epoch + 1, &[]) };
        broker.ask("it is said once more", 2, nothing)?;
        let forgotten = vec![ShareForgottenTopic { topic_id: one.topic, partitions: vec![0, 9] }];
        let forgets =
            ShareFetchRequest { topics: Vec::new(), forgotten_topics_data: forgotten, ..one.fetch(epoch + 2, &[]) };
        broker.ask("forgotten", 2, forgets)?;
        broker.ask("acknowledged all the same", 2, one.acknowledge(epoch + 3, &[(0, 0, &[ACCEPT])]))?;
        let unknown = Member { topic: Uuid::from_u128(7), ..one };
        broker.ask(
            "acknowledged in a topic that there is not",
            2,
            unknown.acknowledge(epoch + 4, &[(0, 0, &[ACCEPT])]),
        )?;
        let no_group = ShareFetchRequest { group_id: None, ..one.fetch(0, &[]) };
        broker.ask("no group", 2, no_group)?;
        let no_member = ShareFetchRequest { member_id: None, ..one.fetch(0, &[]) };
        broker.ask("no member", 2, no_member)?;
        broker.ask("the last fetch", 2, ShareFetchRequest { topics: Vec::new(), ..one.fetch(-1, &[]) })?;
        broker.ask("after the last", 2, one.fetch(epoch + 5, &[]))?;
        Ok(())
    })
}

fn describe(group: &str, topics: Option<&[(&str, &[i32])]>) -> DescribeShareGroupOffsetsRequest {
    let topic = |(name, partitions): &(&str, &[i32])| DescribeShareGroupOffsetsRequestTopic {
        topic_name: text(name),
        partitions: partitions.to_vec(),
    };
    let topics = topics.map(|topics| topics.iter().map(topic).collect());
    let group = DescribeShareGroupOffsetsRequestGroup { group_id: text(group), topics };
    DescribeShareGroupOffsetsRequest { groups: vec![group] }
}

fn alter(group: &str, topic: &str, offsets: &[(i32, i64)]) -> AlterShareGroupOffsetsRequest {
    let partition = |(partition_index, start_offset): &(i32, i64)| AlterShareGroupOffsetsRequestPartition {
        partition_index: *partition_index,
        start_offset: *start_offset,
    };
    let topic = AlterShareGroupOffsetsRequestTopic {
        topic_name: text(topic),
        partitions: offsets.iter().map(partition).collect(),
    };
    AlterShareGroupOffsetsRequest { group_id: text(group), topics: vec![topic] }
}

fn forget(group: &str, topics: &[&str]) -> DeleteShareGroupOffsetsRequest {
    let topic = |name: &&str| DeleteShareGroupOffsetsRequestTopic { topic_name: text(name) };
    DeleteShareGroupOffsetsRequest { group_id: text(group), topics: topics.iter().map(topic).collect() }
}

#[test]
fn offsets_of_share_groups_are_described_altered_and_deleted() -> Result<()> {
    play("share-offsets", |broker| {
        let (group, name) = ("offsetters", "offset");
        let one = shared(broker, group, name, 2, &[])?;
        broker.ask("before anything was fetched", 1, describe(group, Some(&[(name, &[0])])))?;
        let (_, epoch) = one.fetched(broker, 0)?;
        broker.ask("acknowledged", 2, one.acknowledge(epoch, &[(0, 2, &[ACCEPT]), (5, 6, &[ACCEPT])]))?;
        broker.ask("then", 1, describe(group, Some(&[(name, &[0])])))?;
        broker.ask("all of them", 1, describe(group, None))?;
        broker.ask("in the first version", 0, describe(group, None))?;
        broker.ask("of nobody", 1, describe("nobody", None))?;
        broker.ask("where there is nothing", 1, describe(group, Some(&[(name, &[7]), ("nope", &[0])])))?;
        broker.ask("altered with members", 0, alter(group, name, &[(0, 7)]))?;
        broker.ask("deleted with members", 0, forget(group, &[name]))?;
        broker.ask("the member leaves", 1, beat(group, "one", -1))?;
        broker.ask("altered", 0, alter(group, name, &[(0, 7), (9, 1)]))?;
        broker.ask("altered where there is nothing", 0, alter(group, "nope", &[(0, 7)]))?;
        broker.ask("described again", 1, describe(group, None))?;
        broker.ask("a group that there is not is altered", 0, alter("new-offsetters", name, &[(0, 3)]))?;
        broker.ask("it is there now", 1, describe("new-offsetters", None))?;
        broker.ask("deleted", 0, forget(group, &[name, "nope"]))?;
        broker.ask("nothing is left", 1, describe(group, None))?;
        broker.ask("deleted again", 0, forget(group, &[name]))?;
        broker.ask("of a group that there is not", 0, forget("nobody", &[name]))?;
        broker.ask("no group", 0, forget("", &[name]))?;
        let groups_names = vec![text(group), text("new-offsetters")];
        let mut deleted = broker.quietly(2, DeleteGroupsRequest { groups_names })?;
        deleted.results.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        broker.note("the groups are deleted", &format!("{deleted:#?}"));
        Ok(())
    })
}

#[test]
fn brokers_keep_states_of_share_partitions() -> Result<()> {
    play("share-states", |broker| {
        let group = "states";
        let id = topic(broker, "stated", 2, &[])?;
        let key = format!("{group}:{}:0", base64(id));
        until(LIMIT, "the share coordinator", || {
            let request =
                FindCoordinatorRequest { key_type: 2, coordinator_keys: vec![text(&key)], ..Default::default() };
            Ok(broker.quietly(6, request)?.coordinators[0].error_code.is_none().then_some(()))
        })?;
        let find =
            |key: &str| FindCoordinatorRequest { key_type: 2, coordinator_keys: vec![text(key)], ..Default::default() };
        for (title, version, key) in
            [("a key", 6, &*key), ("no key", 6, "stated"), ("a key in an old version", 5, &*key)]
        {
            let mut found = broker.quietly(version, find(key))?;
            found.coordinators.iter_mut().for_each(|found| found.key = Str::new());
            broker.note(title, &format!("{found:#?}"));
        }
        let initialize = |state_epoch, start_offset| InitializeShareGroupStateRequest {
            group_id: text(group),
            topics: vec![InitializeStateData {
                topic_id: id,
                partitions: vec![InitializeStatePartition { partition: 0, state_epoch, start_offset }],
            }],
        };
        let read = |partition, leader_epoch| ReadShareGroupStateRequest {
            group_id: text(group),
            topics: vec![ReadStateData {
                topic_id: id,
                partitions: vec![ReadStatePartition { partition, leader_epoch }],
            }],
        };
        let write = |state_epoch, leader_epoch, start_offset, batches: &[(i64, i64, i8, i16)]| {
            let state =
                |(first_offset, last_offset, delivery_state, delivery_count): &(i64, i64, i8, i16)| StateBatch {
                    first_offset: *first_offset,
                    last_offset: *last_offset,
                    delivery_state: *delivery_state,
                    delivery_count: *delivery_count,
                };
            let partition = WriteStatePartition {
                partition: 0,
                state_epoch,
                leader_epoch,
                start_offset,
                delivery_complete_count: 2,
                state_batches: batches.iter().map(state).collect(),
            };
            WriteShareGroupStateRequest {
                group_id: text(group),
                topics: vec![WriteStateData { topic_id: id, partitions: vec![partition] }],
            }
        };
        let summary = |partition| ReadShareGroupStateSummaryRequest {
            group_id: text(group),
            topics: vec![ReadSummaryStateData {
                topic_id: id,
                partitions: vec![ReadSummaryStatePartition { partition, leader_epoch: -1 }],
            }],
        };
        let delete = || DeleteShareGroupStateRequest {
            group_id: text(group),
            topics: vec![DeleteStateData { topic_id: id, partitions: vec![DeleteStatePartition { partition: 0 }] }],
        };
        until(LIMIT, "the share coordinator to be loaded", || {
            let code = broker.quietly(1, summary(0))?.results[0].partitions[0].error_code;
            Ok((code != ErrorCode::COORDINATOR_LOAD_IN_PROGRESS && code != ErrorCode::NOT_COORDINATOR).then_some(()))
        })?;
        broker.ask("read before", 0, read(0, 3))?;
        broker.ask("written before", 1, write(1, 3, 0, &[]))?;
        broker.ask("summed up before", 1, summary(0))?;
        broker.ask("deleted before", 0, delete())?;
        broker.ask("initialized", 0, initialize(2, -1))?;
        broker.ask("read", 0, read(0, 3))?;
        broker.ask("written", 1, write(2, 3, 10, &[(10, 14, 2, 1), (15, 19, 0, 1)]))?;
        broker.ask("written again", 1, write(2, 3, -1, &[(12, 16, 0, 2)]))?;
        broker.ask("by an older leader", 1, write(2, 2, 10, &[]))?;
        broker.ask("of an older state", 1, write(1, 3, 10, &[]))?;
        broker.ask("read by an older leader", 0, read(0, 2))?;
        broker.ask("read again", 0, read(0, 4))?;
        broker.ask("summed up", 1, summary(0))?;
        broker.ask("in the first version", 0, summary(0))?;
        broker.ask("a partition that there is not", 0, read(7, 1))?;
        broker.ask("a partition with a negative number", 0, read(-1, 1))?;
        broker.ask("initialized with an older epoch", 0, initialize(1, 5))?;
        broker.ask("initialized elsewhere", 0, initialize(3, 5))?;
        broker.ask("read from there", 0, read(0, 4))?;
        broker.ask("deleted", 0, delete())?;
        broker.ask("summed up after", 1, summary(0))?;
        Ok(())
    })
}

/// An id as Kafka writes it.
fn base64(id: Uuid) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(id)
}
