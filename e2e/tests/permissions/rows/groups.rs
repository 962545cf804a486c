//! What members of groups ask, and who looks after them.

use anyhow::Context;
use ottla_e2e::wait::until;
use ottla_wire::m08_offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::m09_offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::m11_join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::m12_heartbeat::HeartbeatRequest;
use ottla_wire::m13_leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla_wire::m14_sync_group::SyncGroupRequest;
use ottla_wire::m15_describe_groups::DescribeGroupsRequest;
use ottla_wire::m16_list_groups::{ListGroupsRequest, ListGroupsResponse};
use ottla_wire::m42_delete_groups::DeleteGroupsRequest;
use ottla_wire::m47_offset_delete::{OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_wire::m68_consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use ottla_wire::m69_consumer_group_describe::ConsumerGroupDescribeRequest;
use ottla_wire::m76_share_group_heartbeat::ShareGroupHeartbeatRequest;
use ottla_wire::m77_share_group_describe::ShareGroupDescribeRequest;
use ottla_wire::m78_share_fetch::{ShareFetchPartition, ShareFetchRequest, ShareFetchTopic};
use ottla_wire::m79_share_acknowledge::ShareAcknowledgeRequest;
use ottla_wire::m88_streams_group_heartbeat::{
    StreamsGroupHeartbeatRequest, StreamsGroupSubtopology, StreamsGroupTopicInfo, StreamsGroupTopology,
};
use ottla_wire::m89_streams_group_describe::StreamsGroupDescribeRequest;
use ottla_wire::m90_describe_share_group_offsets::{
    DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsRequestTopic,
};
use ottla_wire::m91_alter_share_group_offsets::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use ottla_wire::m92_delete_share_group_offsets::{DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequestTopic};
use ottla_wire::{Str, Uuid};

use super::{by_id, by_name, find, names};
use crate::bed::{LIMIT, Me};
use crate::row::{Row, at, latest, tidied};

fn commit(topics: Vec<(Str, Uuid)>, group: Str) -> OffsetCommitRequest {
    let topic = |(name, topic_id)| OffsetCommitRequestTopic {
        name,
        topic_id,
        partitions: vec![OffsetCommitRequestPartition::default()],
    };
    OffsetCommitRequest { group_id: group, topics: topics.into_iter().map(topic).collect(), ..Default::default() }
}

fn offsets(group: Str, topics: Option<Vec<(Str, Uuid)>>) -> OffsetFetchRequest {
    let topic = |(name, topic_id)| OffsetFetchRequestTopics { name, topic_id, partition_indexes: vec![0] };
    let topics = topics.map(|topics| topics.into_iter().map(topic).collect());
    let groups = vec![OffsetFetchRequestGroup { group_id: group, topics, ..Default::default() }];
    OffsetFetchRequest { groups, ..Default::default() }
}

/// A heartbeat by which a member joins a streams group: its application reads a topic, and has these changelogs.
fn streams(group: Str, source: Str, changelogs: Vec<Str>) -> StreamsGroupHeartbeatRequest {
    let changelog =
        |name| StreamsGroupTopicInfo { name, partitions: 0, replication_factor: 0, topic_configs: Vec::new() };
    let subtopology = StreamsGroupSubtopology {
        subtopology_id: "0".into(),
        source_topics: vec![source],
        source_topic_regex: Vec::new(),
        state_changelog_topics: changelogs.into_iter().map(changelog).collect(),
        repartition_sink_topics: Vec::new(),
        repartition_source_topics: Vec::new(),
        copartition_groups: Vec::new(),
    };
    StreamsGroupHeartbeatRequest {
        group_id: group,
        member_id: "m".into(),
        rebalance_timeout_ms: 1000,
        topology: Some(StreamsGroupTopology { epoch: 1, subtopologies: vec![subtopology] }),
        active_tasks: Some(Vec::new()),
        standby_tasks: Some(Vec::new()),
        warmup_tasks: Some(Vec::new()),
        process_id: Some("p".into()),
        ..Default::default()
    }
}

/// Groups of which the administrator is a member, each with a topic that not everybody who may describe the group may
/// describe. Of the answers it matters whether they say anything.
fn of_others() -> Vec<Row> {
    vec![
        latest("a group of others", |me| ConsumerGroupDescribeRequest {
            group_ids: vec![others("c", me)],
            ..Default::default()
        })
        .only_errors_and_members()
        .after(|admin, me| {
            let request = ConsumerGroupHeartbeatRequest {
                group_id: others("c", me),
                member_id: "m".into(),
                rebalance_timeout_ms: 1000,
                subscribed_topic_names: Some(vec![me.topic()]),
                topic_partitions: Some(Vec::new()),
                ..Default::default()
            };
            until(LIMIT, "the member to have partitions", || {
                let answer = admin.ask(1, &request)?.context("an answer")?;
                Ok(answer.assignment.filter(|assignment| !assignment.topic_partitions.is_empty()).map(drop))
            })
        }),
        latest("a group of others", |me| ShareGroupDescribeRequest {
            group_ids: vec![others("s", me)],
            ..Default::default()
        })
        .only_errors_and_members()
        .after(|admin, me| {
            let request = ShareGroupHeartbeatRequest {
                group_id: others("s", me),
                member_id: "kAAAAAAAAAAAAAAAAAAAAA".into(),
                subscribed_topic_names: Some(vec![me.topic()]),
                ..Default::default()
            };
            until(LIMIT, "the member to have share partitions", || {
                let answer = admin.ask(1, &request)?.context("an answer")?;
                Ok(answer.assignment.filter(|assignment| !assignment.topic_partitions.is_empty()).map(drop))
            })
        }),
        latest("a group of others", |me| StreamsGroupDescribeRequest {
            group_ids: vec![others("k", me)],
            ..Default::default()
        })
        .only_errors_and_members()
        .after(|admin, me| {
            let request = streams(others("k", me), me.topic(), Vec::new());
            until(LIMIT, "the member to have joined", || {
                let answer = admin.ask(0, &request)?.context("an answer")?;
                Ok(answer.error_code.is_none().then_some(()))
            })
        }),
    ]
}

/// A group with a member that is not the principal's: one for each protocol.
fn others(protocol: &str, me: &Me) -> Str {
    format!("{protocol}{}", me.others_group()).into()
}

pub fn groups() -> Vec<Row> {
    let share = |me: &Me| ShareFetchRequest {
        group_id: Some(me.group()),
        member_id: Some("kAAAAAAAAAAAAAAAAAAAAA".into()),
        max_bytes: 1 << 20,
        max_records: 100,
        batch_size: 100,
        topics: vec![ShareFetchTopic { topic_id: me.topic_id, partitions: vec![ShareFetchPartition::default()] }],
        ..Default::default()
    };
    let consumer = |me: &Me| ConsumerGroupHeartbeatRequest {
        group_id: me.group(),
        member_id: "m".into(),
        rebalance_timeout_ms: 1000,
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let mut rows = vec![
        latest("a group's", |me| find(0, me.group())),
        latest("a transactional id's", |me| find(1, me.x())),
        latest("a share partition's", |me| find(2, format!("{}:{}:0", me.group(), me.topic_id).into())).only_whether(),
        at(9, "by name", |me| commit(by_name(me), me.group())),
        latest("by id", |me| commit(by_id(me), me.group())),
        at(9, "by name", |me| offsets(me.group(), Some(by_name(me)))),
        latest("by id", |me| offsets(me.group(), Some(by_id(me)))),
        at(9, "all", |me| offsets(me.group(), None)),
        latest("with operations", |me| DescribeGroupsRequest {
            groups: vec![me.group()],
            include_authorized_operations: true,
        }),
        tidied(
            "all",
            |_| ListGroupsRequest::default(),
            |me, answer: &mut ListGroupsResponse| {
                answer.groups.retain(|group| group.group_id.ends_with(me.name));
            },
        ),
        latest("the first time", |me| JoinGroupRequest {
            group_id: me.group(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata: Default::default() }],
            ..Default::default()
        }),
        latest("of nobody", |me| HeartbeatRequest {
            group_id: me.group(),
            member_id: "m".into(),
            ..Default::default()
        }),
        latest("of nobody", |me| SyncGroupRequest {
            group_id: me.group(),
            member_id: "m".into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            ..Default::default()
        }),
        latest("of nobody", |me| LeaveGroupRequest {
            group_id: me.group(),
            members: vec![MemberIdentity { member_id: "m".into(), ..Default::default() }],
            ..Default::default()
        }),
        latest("one topic and one that there is not", |me| OffsetDeleteRequest {
            group_id: me.group(),
            topics: names(me)
                .map(|name| OffsetDeleteRequestTopic {
                    name,
                    partitions: vec![OffsetDeleteRequestPartition::default()],
                })
                .into(),
        }),
        latest("a group", |me| DeleteGroupsRequest { groups_names: vec![me.group()] }),
        latest("which topics it names", move |me| ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(names(me).into()),
            ..consumer(me)
        }),
        latest("an expression", move |me| ConsumerGroupHeartbeatRequest {
            group_id: format!("r{}", me.group()).into(),
            subscribed_topic_regex: Some(format!("[tn].*[.]{}", me.name).into()),
            ..consumer(me)
        }),
        latest("a group", |me| ConsumerGroupDescribeRequest {
            group_ids: vec![me.group()],
            include_authorized_operations: true,
        }),
        latest("a member that leaves", move |me| ConsumerGroupHeartbeatRequest { member_epoch: -1, ..consumer(me) }),
        latest("which topics it names", |me| ShareGroupHeartbeatRequest {
            group_id: format!("s{}", me.group()).into(),
            member_id: "kAAAAAAAAAAAAAAAAAAAAA".into(),
            subscribed_topic_names: Some(names(me).into()),
            ..Default::default()
        }),
        latest("a group", |me| ShareGroupDescribeRequest {
            group_ids: vec![me.group()],
            include_authorized_operations: true,
        }),
        latest("before a heartbeat", share).only_whether(),
        latest("before a fetch", |me| ShareAcknowledgeRequest {
            group_id: Some(me.group()),
            member_id: Some("kAAAAAAAAAAAAAAAAAAAAA".into()),
            share_session_epoch: 1,
            ..Default::default()
        }),
        latest("a group without", |me| DescribeShareGroupOffsetsRequest {
            groups: vec![DescribeShareGroupOffsetsRequestGroup {
                group_id: me.group(),
                topics: Some(
                    names(me)
                        .map(|topic_name| DescribeShareGroupOffsetsRequestTopic { topic_name, partitions: vec![0] })
                        .into(),
                ),
            }],
        }),
        latest("a group without", |me| AlterShareGroupOffsetsRequest {
            group_id: me.group(),
            topics: names(me)
                .map(|topic_name| AlterShareGroupOffsetsRequestTopic {
                    topic_name,
                    partitions: vec![AlterShareGroupOffsetsRequestPartition::default()],
                })
                .into(),
        }),
        latest("a group without", |me| DeleteShareGroupOffsetsRequest {
            group_id: me.group(),
            topics: names(me).map(|topic_name| DeleteShareGroupOffsetsRequestTopic { topic_name }).into(),
        }),
        latest("without a topology", |me| StreamsGroupHeartbeatRequest {
            group_id: me.group(),
            member_id: "m".into(),
            member_epoch: 1,
            ..Default::default()
        }),
        // The changelog is created a moment later, if that is allowed; no row after this one lists topics.
        latest("a changelog that is missing", |me| {
            streams(format!("k{}", me.group()).into(), me.topic(), vec![me.changelog()])
        }),
        latest("a group", |me| StreamsGroupDescribeRequest {
            group_ids: vec![me.group()],
            include_authorized_operations: true,
        }),
    ];
    rows.extend(of_others());
    rows
}
