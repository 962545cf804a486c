//! CreateTopics, CreatePartitions, DeleteTopics, Metadata, DescribeTopicPartitions.

use crate::{configs, play, text, topic};
use anyhow::Result;
use ottla_e2e::answers::Conversation;
use ottla_wire::m03_metadata::MetadataRequestTopic;
use ottla_wire::m19_create_topics::{CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest};
use ottla_wire::m20_delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::m37_create_partitions::{CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::m75_describe_topic_partitions::{Cursor, DescribeTopicPartitionsRequest, TopicRequest};
use ottla_wire::{MetadataRequest, Uuid};

fn new(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic { name: text(name), num_partitions: partitions, replication_factor: replicas, ..Default::default() }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(partition_index, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *partition_index,
        broker_ids: brokers.to_vec(),
    };
    CreatableTopic { assignments: assignments.iter().map(assignment).collect(), ..new(name, -1, -1) }
}

fn with(name: &str, settings: &[(&str, &str)]) -> CreatableTopic {
    CreatableTopic { configs: configs(settings), ..new(name, 1, 1) }
}

fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest { topics, ..Default::default() }
}

/// Asks and notes the answer without ids, which differ, and settings, which do not.
fn ask(broker: &mut Conversation<'_>, title: &str, version: i16, request: CreateTopicsRequest) -> Result<()> {
    let mut answer = broker.quietly(version, request)?;
    for topic in &mut answer.topics {
        (topic.configs, topic.topic_id) = (None, Uuid::nil());
    }
    broker.note(&format!("{title}: {version}"), &format!("{answer:#?}"));
    Ok(())
}

#[test]
fn topics_are_created_or_refused() -> Result<()> {
    play("create-topics", |broker| {
        let mut created = broker.quietly(7, create(vec![new("create.one", 2, 1)]))?;
        for settings in created.topics.iter_mut().filter_map(|topic| topic.configs.as_mut()) {
            settings.sort_by(|one, other| one.name.cmp(&other.name)); // they come in no particular order
        }
        broker.note("one topic, with its settings: 7", &format!("{created:#?}"));
        broker.settled("create.one", 2)?;
        ask(broker, "it exists", 7, create(vec![new("create.one", 2, 1)]))?;
        ask(broker, "defaults", 7, create(vec![new("create.defaults", -1, -1)]))?;
        ask(broker, "the oldest version", 2, create(vec![new("create.old", 1, 1)]))?;
        ask(broker, "a middle version", 5, create(vec![with("create.middle", &[("retention.ms", "1000")])]))?;
        let only = CreateTopicsRequest { validate_only: true, ..create(vec![new("create.only", 3, 1)]) };
        ask(broker, "validate only", 7, only.clone())?;
        ask(broker, "validate only, again: nothing was created", 7, only)?;
        ask(broker, "twice in one request", 7, create(vec![new("create.twice", 1, 1), new("create.twice", 1, 1)]))?;
        ask(broker, "no topics", 7, create(vec![]))?;
        let long = "x".repeat(250);
        for name in ["", ".", "..", "a b", "ä", "a/b", &long, "create_one"] {
            ask(broker, &format!("the name {name:?}"), 7, create(vec![new(name, 1, 1)]))?;
        }
        for (partitions, replicas) in [(0, 1), (-2, 1), (1, 0), (1, -2), (1, 2), (-1, 1), (1, -1)] {
            let topic = new(&format!("create.n{partitions}r{replicas}"), partitions, replicas);
            ask(broker, &format!("{partitions} partitions, {replicas} replicas"), 7, create(vec![topic]))?;
        }
        for (title, topic) in [
            ("assigned", assigned("create.assigned", &[(0, &[0]), (1, &[0])])),
            ("assigned with a gap", assigned("create.gap", &[(0, &[0]), (2, &[0])])),
            ("assigned to nobody", assigned("create.nobody", &[(0, &[])])),
            ("assigned to a stranger", assigned("create.stranger", &[(0, &[7])])),
            ("assigned to one broker twice", assigned("create.double", &[(0, &[0, 0])])),
            ("the same partition twice", assigned("create.same", &[(0, &[0]), (0, &[0])])),
            ("assigned to one broker twice and to a stranger", assigned("create.mixed", &[(0, &[7, 0, 0])])),
            ("assigned to different numbers of brokers", assigned("create.uneven", &[(0, &[0]), (1, &[0, 7])])),
            ("assigned to one broker, then to one twice", assigned("create.longer", &[(0, &[0]), (1, &[0, 0])])),
            ("assigned to one broker, then to nobody", assigned("create.shorter", &[(0, &[0]), (1, &[])])),
            ("assigned and counted", CreatableTopic { num_partitions: 1, ..assigned("create.counted", &[(0, &[0])]) }),
        ] {
            ask(broker, title, 7, create(vec![topic]))?;
        }
        for (name, value) in [
            ("no.such.config", "1"),
            ("retention.ms", "soon"),
            ("retention.ms", ""),
            ("retention.ms", "-2"),
            ("cleanup.policy", "both"),
            ("cleanup.policy", "compact,delete"),
            ("compression.type", "brotli"),
            ("segment.bytes", "13"),
            ("max.message.bytes", "-1"),
            ("min.insync.replicas", "0"),
            ("message.timestamp.type", "NoTime"),
            ("min.cleanable.dirty.ratio", "2"),
            ("unclean.leader.election.enable", "perhaps"),
        ] {
            let topic = with(&format!("create.{name}.{}", value.len()), &[(name, value)]);
            ask(broker, &format!("{name}={value}"), 7, create(vec![topic]))?;
        }
        let mut null = with("create.null", &[("retention.ms", "1")]);
        null.configs[0].value = None;
        ask(broker, "a config without a value", 7, create(vec![null]))?;
        let only = |topics| CreateTopicsRequest { validate_only: true, ..create(topics) };
        ask(broker, "as many partitions as there may be", 7, only(vec![new("create.many", 9_999, 1)]))?;
        ask(broker, "one partition more", 7, only(vec![new("create.more", 10_000, 1)]))?;
        ask(broker, "two more", 7, only(vec![new("create.most", 10_001, 1)]))?;
        ask(broker, "too many with a setting", 7, {
            let many = CreatableTopic { num_partitions: 9_999, ..with("create.set", &[("retention.ms", "1000")]) };
            only(vec![many])
        })?;
        ask(broker, "too many together", 7, only(vec![new("create.half", 5_000, 1), new("create.rest", 5_001, 1)]))?;
        let together = vec![new("create.good", 5_000, 1), new("create.bad", 5_000, 0), new("create.good.2", 4_998, 1)];
        ask(broker, "the wrong one does not count", 7, only(together))?;
        ask(broker, "one of two is wrong", 7, create(vec![new("create.right", 1, 1), new("create.wrong", 0, 1)]))?;
        Ok(())
    })
}

#[test]
fn partitions_are_added_or_refused() -> Result<()> {
    play("create-partitions", |broker| {
        topic(broker, "grow", 1, &[])?;
        let to = |name: &str, count, brokers: Option<&[&[i32]]>| CreatePartitionsTopic {
            name: text(name),
            count,
            assignments: brokers.map(|brokers| {
                brokers.iter().map(|ids| CreatePartitionsAssignment { broker_ids: ids.to_vec() }).collect()
            }),
        };
        let ask = |topics| CreatePartitionsRequest { topics, timeout_ms: 60_000, validate_only: false };
        broker.ask("to three", 3, ask(vec![to("grow", 3, None)]))?;
        broker.settled("grow", 3)?;
        let only = CreatePartitionsRequest { validate_only: true, ..ask(vec![to("grow", 9, None)]) };
        broker.ask("validate only", 3, only)?;
        for (title, topic) in [
            ("as many as there are", to("grow", 3, None)),
            ("fewer", to("grow", 2, None)),
            ("none", to("grow", 0, None)),
            ("less than none", to("grow", -1, None)),
            ("an unknown topic", to("grow.unknown", 2, None)),
            ("to a stranger", to("grow", 4, Some(&[&[7]]))),
            ("too few assignments", to("grow", 5, Some(&[&[0]]))),
            ("too many assignments", to("grow", 4, Some(&[&[0], &[0]]))),
            ("two replicas", to("grow", 4, Some(&[&[0, 0]]))),
            ("no replicas", to("grow", 4, Some(&[&[]]))),
            ("the same broker twice, and a stranger", to("grow", 4, Some(&[&[7, 0, 0]]))),
            ("an assignment", to("grow", 4, Some(&[&[0]]))),
        ] {
            broker.ask(title, 3, ask(vec![topic]))?;
        }
        broker.ask("twice in one request", 3, ask(vec![to("grow", 7, None), to("grow", 8, None)]))?;
        broker.ask("the oldest version", 0, ask(vec![to("grow", 0, None)]))?;
        Ok(())
    })
}

#[test]
fn topics_are_deleted_by_name_and_by_id() -> Result<()> {
    play("delete-topics", |broker| {
        for name in ["delete.a", "delete.b", "delete.c"] {
            topic(broker, name, 1, &[])?;
        }
        let id = topic(broker, "delete.d", 1, &[])?;
        let names = |names: &[&str]| DeleteTopicsRequest {
            topic_names: names.iter().map(|name| text(name)).collect(),
            timeout_ms: 60_000,
            ..Default::default()
        };
        let states = |states: &[(Option<&str>, Uuid)]| DeleteTopicsRequest {
            topics: states
                .iter()
                .map(|(name, topic_id)| DeleteTopicState { name: name.map(text), topic_id: *topic_id })
                .collect(),
            timeout_ms: 60_000,
            ..Default::default()
        };
        broker.ask("by name", 1, names(&["delete.a"]))?;
        broker.ask("unknown", 5, names(&["delete.nothing"]))?;
        broker.ask("by name", 6, states(&[(Some("delete.b"), Uuid::nil())]))?;
        broker.ask("unknown by name", 6, states(&[(Some("delete.nothing"), Uuid::nil())]))?;
        broker.ask("unknown by id", 6, states(&[(None, Uuid::from_u128(7))]))?;
        broker.ask("by name and id", 6, states(&[(Some("delete.d"), id)]))?;
        broker.ask("by neither", 6, states(&[(None, Uuid::nil())]))?;
        broker.ask("twice", 6, states(&[(Some("delete.c"), Uuid::nil()), (Some("delete.c"), Uuid::nil())]))?;
        broker.ask("by id", 6, states(&[(None, id)]))?;
        broker.ask("no topics", 6, states(&[]))?;
        Ok(())
    })
}

fn named(names: &[&str]) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic { name: Some(text(name)), ..Default::default() };
    MetadataRequest {
        topics: Some(names.iter().map(topic).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    }
}

#[test]
fn metadata_names_brokers_and_topics() -> Result<()> {
    play("metadata", |broker| {
        let id = topic(broker, "meta.known", 2, &[])?;
        for version in 0..=13 {
            broker.ask(
                "one topic",
                version,
                MetadataRequest { allow_auto_topic_creation: version < 4, ..named(&["meta.known"]) },
            )?;
        }
        broker.ask("no topics", 12, named(&[]))?;
        broker.ask("an unknown topic", 12, named(&["meta.unknown"]))?;
        broker.ask("an invalid name", 12, named(&["not a name"]))?;
        broker.ask(
            "an invalid name to be created",
            12,
            MetadataRequest { allow_auto_topic_creation: true, ..named(&["not a name"]) },
        )?;
        let by_id = |topic_id, name: Option<&str>| MetadataRequest {
            topics: Some(vec![MetadataRequestTopic { topic_id, name: name.map(text) }]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        broker.ask("by id", 12, by_id(id, None))?;
        broker.ask("by id and name", 12, by_id(id, Some("meta.known")))?;
        broker.ask("by id and an empty name", 12, by_id(id, Some("")))?;
        broker.ask("by id and another's name", 12, by_id(id, Some("meta.unknown")))?;
        let mut mixed = by_id(id, None);
        let named_only = MetadataRequestTopic { topic_id: Uuid::nil(), name: Some(text("meta.unknown")) };
        mixed.topics.get_or_insert_default().push(named_only);
        broker.ask("one by id, one by name", 12, mixed)?;
        broker.ask("by an unknown id", 12, by_id(Uuid::from_u128(7), None))?;
        broker.ask_on(0, "by id in a version that has ids in responses only", 10, by_id(id, Some("meta.known")))?;
        let operations = MetadataRequest { include_topic_authorized_operations: true, ..named(&["meta.known"]) };
        broker.ask("with the operations that are allowed", 12, operations.clone())?;
        broker.ask(
            "and on the cluster",
            8,
            MetadataRequest { include_cluster_authorized_operations: true, ..operations },
        )?;
        let create = MetadataRequest { allow_auto_topic_creation: true, ..named(&["meta.created"]) };
        broker.ask("a topic that comes into being", 12, create.clone())?;
        broker.settled("meta.created", 1)?;
        broker.ask("has come into being", 12, create)?;
        Ok(())
    })
}

#[test]
fn topics_are_described_page_by_page() -> Result<()> {
    play("describe-topic-partitions", |broker| {
        topic(broker, "pages.a", 3, &[])?;
        topic(broker, "pages.b", 1, &[])?;
        let ask = |names: &[&str], limit, cursor: Option<(&str, i32)>| DescribeTopicPartitionsRequest {
            topics: names.iter().map(|name| TopicRequest { name: text(name) }).collect(),
            response_partition_limit: limit,
            cursor: cursor.map(|(name, partition_index)| Cursor { topic_name: text(name), partition_index }),
        };
        broker.ask("two topics", 0, ask(&["pages.b", "pages.a"], 2000, None))?;
        broker.ask("a page", 0, ask(&["pages.a", "pages.b"], 2, None))?;
        broker.ask("the next page", 0, ask(&["pages.a", "pages.b"], 2, Some(("pages.a", 2))))?;
        broker.ask("an unknown topic", 0, ask(&["pages.unknown"], 2000, None))?;
        broker.ask("a cursor behind the end", 0, ask(&["pages.a"], 2000, Some(("pages.a", 9))))?;
        broker.ask("a cursor that is not in the list", 0, ask(&["pages.a"], 2000, Some(("pages.b", 0))))?;
        broker.ask("a cursor before the list", 0, ask(&["pages.b"], 2000, Some(("pages.a", 0))))?;
        broker.ask("an unknown cursor in the list", 0, ask(&["pages.no", "pages.b"], 2000, Some(("pages.no", 1))))?;
        broker.ask("a negative cursor of two topics", 0, ask(&["pages.a", "pages.b"], 2000, Some(("pages.a", -1))))?;
        broker.ask("a negative cursor", 0, ask(&["pages.a"], 2000, Some(("pages.a", -1))))?;
        broker.ask("a limit of none", 0, ask(&["pages.a"], 0, None))?;
        Ok(())
    })
}
