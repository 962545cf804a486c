//! OffsetCommit, OffsetFetch, OffsetDelete, FindCoordinator.

use crate::{play, text, topic};
use anyhow::Result;
use ottla_e2e::answers::{Conversation, LIMIT};
use ottla_e2e::wait::until;
use ottla_wire::m08_offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::m09_offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_wire::m10_find_coordinator::FindCoordinatorRequest;
use ottla_wire::m47_offset_delete::{OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_wire::{ErrorCode, Uuid};

/// Waits until these groups have coordinators that have loaded them, each from its own partition of the offsets topic:
/// the first question makes that topic.
pub fn coordinated(broker: &mut Conversation<'_>, groups: &[&str]) -> Result<()> {
    for group in groups {
        until(LIMIT, "the coordinator", || {
            let keys = vec![text(group)];
            let answer = broker.quietly(4, FindCoordinatorRequest { coordinator_keys: keys, ..Default::default() })?;
            if !answer.coordinators[0].error_code.is_none() {
                return Ok(None);
            }
            let loaded = broker.quietly(8, fetch(group, None))?;
            Ok((loaded.groups[0].error_code == ErrorCode::NONE).then_some(()))
        })?;
    }
    Ok(())
}

pub fn commit(group: &str, topic: &str, offsets: &[(i32, i64, Option<&str>)]) -> OffsetCommitRequest {
    let partition =
        |(partition_index, committed_offset, metadata): &(i32, i64, Option<&str>)| OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: *committed_offset,
            committed_leader_epoch: 0,
            committed_metadata: metadata.map(text),
        };
    let partitions = offsets.iter().map(partition).collect();
    OffsetCommitRequest {
        group_id: text(group),
        topics: vec![OffsetCommitRequestTopic { name: text(topic), partitions, ..Default::default() }],
        ..Default::default()
    }
}

pub fn fetch(group: &str, topics: Option<&[(&str, &[i32])]>) -> OffsetFetchRequest {
    let topics = topics.map(|topics| {
        let topic = |(name, partitions): &(&str, &[i32])| OffsetFetchRequestTopics {
            name: text(name),
            partition_indexes: partitions.to_vec(),
            ..Default::default()
        };
        topics.iter().map(topic).collect()
    });
    let groups = vec![OffsetFetchRequestGroup { group_id: text(group), topics, ..Default::default() }];
    OffsetFetchRequest { groups, ..Default::default() }
}

#[test]
fn offsets_are_committed_and_fetched() -> Result<()> {
    play("offsets", |broker| {
        let id = topic(broker, "offsets", 3, &[])?;
        coordinated(broker, &["", "committers", "committers.unknown"])?;
        for version in 2..=9 {
            let offset = i64::from(version);
            broker.ask(
                "commit",
                version,
                commit("committers", "offsets", &[(0, offset, Some("note")), (1, offset, None)]),
            )?;
        }
        let by_id = |topic_id| {
            let mut request = commit("committers", "", &[(0, 10, Some("by id"))]);
            request.topics[0].topic_id = topic_id;
            request
        };
        broker.ask("commit by id", 10, by_id(id))?;
        broker.ask("commit by an unknown id", 10, by_id(Uuid::from_u128(7)))?;
        broker.ask("commit to an unknown topic", 8, commit("committers", "offsets.unknown", &[(0, 1, None)]))?;
        broker.ask("commit to an unknown partition", 8, commit("committers", "offsets", &[(9, 1, None)]))?;
        broker.ask("commit a negative offset", 8, commit("committers", "offsets", &[(1, -5, None)]))?;
        let long = "x".repeat(4097);
        broker.ask("commit a long note", 8, commit("committers", "offsets", &[(0, 1, Some(&long)), (1, 7, None)]))?;
        broker.ask("commit to no group", 8, commit("", "offsets", &[(0, 1, None)]))?;
        let member = |group: &str, generation, version| OffsetCommitRequest {
            generation_id_or_member_epoch: generation,
            member_id: text("nobody"),
            ..commit(group, "offsets", &[(0, version, None)])
        };
        broker.ask("commit as a member of an empty group", 8, member("committers", 1, 8))?;
        broker.ask("commit as a member of an unknown group", 8, member("committers.unknown", 1, 8))?;
        broker.ask("commit as a member of an unknown group", 9, member("committers.unknown", 1, 9))?;
        broker.ask("commit as a member without a generation", 8, member("committers", -1, 8))?;

        for version in 1..=7 {
            let request = OffsetFetchRequest {
                group_id: text("committers"),
                topics: Some(vec![OffsetFetchRequestTopic {
                    name: text("offsets"),
                    partition_indexes: vec![0, 1, 2, 9],
                }]),
                ..Default::default()
            };
            broker.ask("fetch", version, request)?;
        }
        broker.ask(
            "fetch everything",
            2,
            OffsetFetchRequest { group_id: text("committers"), topics: None, ..Default::default() },
        )?;
        for version in [8, 9] {
            broker.ask("fetch", version, fetch("committers", Some(&[("offsets", &[0, 1, 2, 9])])))?;
            broker.ask("fetch everything", version, fetch("committers", None))?;
            broker.ask("fetch nothing", version, fetch("committers", Some(&[])))?;
        }
        let mut by_id = fetch("committers", Some(&[("", &[0])]));
        if let Some(topics) = &mut by_id.groups[0].topics {
            topics[0].topic_id = id;
        }
        broker.ask("fetch by id", 10, by_id)?;
        broker.ask("fetch everything by id", 10, fetch("committers", None))?;
        broker.ask("fetch of an unknown group", 8, fetch("committers.unknown", Some(&[("offsets", &[0])])))?;
        broker.ask("fetch everything of an unknown group", 8, fetch("committers.unknown", None))?;
        broker.ask("fetch of an unknown topic", 8, fetch("committers", Some(&[("offsets.unknown", &[0])])))?;
        broker.ask(
            "fetch what is stable",
            8,
            OffsetFetchRequest { require_stable: true, ..fetch("committers", None) },
        )?;
        let mut two = fetch("committers", None);
        two.groups.extend(fetch("committers.unknown", None).groups);
        broker.ask("fetch of two groups", 8, two)?;
        let stale = |member_id: Option<&str>, member_epoch| {
            let mut request = fetch("committers", None);
            request.groups[0].member_id = member_id.map(text);
            request.groups[0].member_epoch = member_epoch;
            request
        };
        broker.ask("fetch as a member", 9, stale(Some("nobody"), 1))?;
        Ok(())
    })
}

#[test]
fn offsets_are_deleted() -> Result<()> {
    play("offset-delete", |broker| {
        topic(broker, "forget", 2, &[])?;
        coordinated(broker, &["", "forgetters", "forgetters.unknown"])?;
        broker.ask("commit", 8, commit("forgetters", "forget", &[(0, 1, None), (1, 1, None)]))?;
        let ask = |group: &str, topic: &str, partitions: &[i32]| OffsetDeleteRequest {
            group_id: text(group),
            topics: vec![OffsetDeleteRequestTopic {
                name: text(topic),
                partitions: partitions
                    .iter()
                    .map(|index| OffsetDeleteRequestPartition { partition_index: *index })
                    .collect(),
            }],
        };
        broker.ask("one partition", 0, ask("forgetters", "forget", &[0]))?;
        broker.ask("what is left", 8, fetch("forgetters", None))?;
        broker.ask("it again", 0, ask("forgetters", "forget", &[0]))?;
        broker.ask("an unknown topic", 0, ask("forgetters", "forget.unknown", &[0]))?;
        broker.ask("an unknown partition", 0, ask("forgetters", "forget", &[9]))?;
        broker.ask("an unknown group", 0, ask("forgetters.unknown", "forget", &[0]))?;
        broker.ask("no group", 0, ask("", "forget", &[0]))?;
        Ok(())
    })
}

#[test]
fn groups_have_coordinators() -> Result<()> {
    play("find-coordinator", |broker| {
        coordinated(broker, &["anyone", "someone"])?;
        for version in 0..=3 {
            broker.ask("of a group", version, FindCoordinatorRequest { key: text("anyone"), ..Default::default() })?;
        }
        let ask = |keys: &[&str], key_type| FindCoordinatorRequest {
            coordinator_keys: keys.iter().map(|key| text(key)).collect(),
            key_type,
            ..Default::default()
        };
        for version in 4..=6 {
            broker.ask("of two groups", version, ask(&["anyone", "someone"], 0))?;
        }
        broker.ask("of no groups", 6, ask(&[], 0))?;
        broker.ask("of the group with no name", 6, ask(&[""], 0))?;
        broker.ask("of an unknown kind", 6, ask(&["anyone"], 9))?;
        broker.ask(
            "of an unknown kind",
            3,
            FindCoordinatorRequest { key: text("anyone"), key_type: 9, ..Default::default() },
        )?;
        Ok(())
    })
}
