//! Streams groups (KIP-1071): StreamsGroupHeartbeat, StreamsGroupDescribe, the topics that coordinators create, the
//! offsets of members, the settings of one group, and what requests of other protocols make of such a group.

use crate::offsets::{commit, coordinated, fetch};
use crate::{configs, group_settings, play, text, topic};
use anyhow::{Result, ensure};
use ottla_e2e::answers::{Conversation, LIMIT};
use ottla_e2e::wait::until;
use ottla_wire::ErrorCode;
use ottla_wire::m08_offset_commit::OffsetCommitRequest;
use ottla_wire::m09_offset_fetch::OffsetFetchRequest;
use ottla_wire::m15_describe_groups::DescribeGroupsRequest;
use ottla_wire::m16_list_groups::ListGroupsRequest;
use ottla_wire::m42_delete_groups::DeleteGroupsRequest;
use ottla_wire::m44_incremental_alter_configs::IncrementalAlterConfigsRequest;
use ottla_wire::m68_consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use ottla_wire::m69_consumer_group_describe::ConsumerGroupDescribeRequest;
use ottla_wire::m88_streams_group_heartbeat::{
    StreamsGroupCopartitionGroup, StreamsGroupEndpoint, StreamsGroupHeartbeatRequest,
    StreamsGroupHeartbeatResponse as Answer, StreamsGroupKeyValue, StreamsGroupSubtopology, StreamsGroupTaskIds,
    StreamsGroupTopicInfo, StreamsGroupTopology,
};
use ottla_wire::m89_streams_group_describe::StreamsGroupDescribeRequest;

/// `ConfigResource.Type.TOPIC`.
const TOPIC: i8 = 2;
/// `ConfigResource.Type.GROUP`.
const GROUP: i8 = 32;
/// The settings of a group that assigns without any pause.
const AT_ONCE: [(&str, &str); 2] =
    [("streams.initial.rebalance.delay.ms", "0"), ("streams.assignment.interval.ms", "0")];

fn pair((key, value): &(&str, &str)) -> StreamsGroupKeyValue {
    StreamsGroupKeyValue { key: text(key), value: text(value) }
}

/// A topic that belongs to the application.
fn own(name: &str, configs: &[(&str, &str)]) -> StreamsGroupTopicInfo {
    StreamsGroupTopicInfo { name: text(name), topic_configs: configs.iter().map(pair).collect(), ..Default::default() }
}

/// A subtopology that reads these topics.
fn part(id: &str, sources: &[&str]) -> StreamsGroupSubtopology {
    let source_topics = sources.iter().map(|name| text(name)).collect();
    StreamsGroupSubtopology { subtopology_id: text(id), source_topics, ..Default::default() }
}

fn topology(subtopologies: Vec<StreamsGroupSubtopology>) -> StreamsGroupTopology {
    StreamsGroupTopology { epoch: 0, subtopologies }
}

/// Words of lines are repartitioned and counted.
fn word_count(lines: &str, words: &str, counts: &str) -> StreamsGroupTopology {
    let first = StreamsGroupSubtopology { repartition_sink_topics: vec![text(words)], ..part("0", &[lines]) };
    let second = StreamsGroupSubtopology {
        repartition_source_topics: vec![own(words, &[("cleanup.policy", "delete"), ("retention.ms", "-1")])],
        state_changelog_topics: vec![own(counts, &[("cleanup.policy", "compact")])],
        ..part("1", &[])
    };
    topology(vec![first, second])
}

/// What a member says when it joins.
fn join(group: &str, member: &str, topology: &StreamsGroupTopology) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        topology: Some(topology.clone()),
        rebalance_timeout_ms: 30_000,
        process_id: Some(text(&format!("process-of-{member}"))),
        client_tags: Some(Vec::new()),
        ..owning(group, member, 0, &[])
    }
}

/// What a member says when nothing has changed.
fn beat(group: &str, member: &str, epoch: i32) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        group_id: text(group),
        member_id: text(member),
        member_epoch: epoch,
        ..Default::default()
    }
}

/// The same, with the active tasks that the member owns.
fn owning(group: &str, member: &str, epoch: i32, tasks: &[(&str, &[i32])]) -> StreamsGroupHeartbeatRequest {
    let ids = |(id, partitions): &(&str, &[i32])| StreamsGroupTaskIds {
        subtopology_id: text(id),
        partitions: partitions.to_vec(),
    };
    StreamsGroupHeartbeatRequest {
        active_tasks: Some(tasks.iter().map(ids).collect()),
        standby_tasks: Some(Vec::new()),
        warmup_tasks: Some(Vec::new()),
        ..beat(group, member, epoch)
    }
}

fn setting(group: &str, name: &str, value: &str) -> IncrementalAlterConfigsRequest {
    group_settings(group, &[(name, value)])
}

/// A group that is coordinated, with settings of its own: a member that comes and goes has seen the last of them.
fn with_settings(broker: &mut Conversation<'_>, group: &str, settings: &[(&str, &str)]) -> Result<()> {
    coordinated(broker, &[group])?;
    for (name, value) in settings.iter().chain(&[("streams.heartbeat.interval.ms", "6000")]) {
        let answer = broker.quietly(1, setting(group, name, value))?;
        ensure!(answer.responses[0].error_code.is_none(), "{answer:?}");
    }
    until(LIMIT, "the settings", || {
        let answer = broker.quietly(0, join(group, "scout", &topology(vec![part("0", &["nowhere"])])))?;
        ensure!(answer.error_code.is_none(), "{answer:?}");
        Ok((answer.heartbeat_interval_ms == 6000).then_some(()))
    })?;
    broker.quietly(0, beat(group, "scout", -1))?;
    let answer = broker.quietly(2, deleted(group))?;
    ensure!(answer.results[0].error_code.is_none(), "{answer:?}");
    Ok(())
}

/// A group that assigns without any pause.
fn at_once(broker: &mut Conversation<'_>, group: &str) -> Result<()> {
    with_settings(broker, group, &AT_ONCE)
}

/// A member beats quietly until its answer is this one.
fn beating(
    broker: &mut Conversation<'_>,
    title: &str,
    request: &StreamsGroupHeartbeatRequest,
    is_it: impl Fn(&Answer) -> bool,
) -> Result<i32> {
    let mut next = request.clone();
    let answer = until(LIMIT, title, || {
        let answer = broker.quietly(0, next.clone())?;
        ensure!(answer.error_code.is_none(), "{answer:?}");
        next = StreamsGroupHeartbeatRequest { member_epoch: answer.member_epoch, topology: None, ..next.clone() };
        Ok(is_it(&answer).then_some(answer))
    })?;
    broker.note(title, &format!("{answer:#?}"));
    Ok(answer.member_epoch)
}

/// Asks and notes the answer, with endpoints and topics in order: Kafka's is that of a hash.
fn ask(broker: &mut Conversation<'_>, title: &str, request: StreamsGroupHeartbeatRequest) -> Result<Answer> {
    let mut answer = broker.quietly(0, request)?;
    let endpoints = answer.partitions_by_user_endpoint.iter_mut().flatten();
    endpoints.flat_map(|at| [&mut at.active_partitions, &mut at.standby_partitions]).for_each(|topics| {
        topics.sort_by(|a, b| a.topic.cmp(&b.topic));
        topics.iter_mut().for_each(|topic| topic.partitions.sort_unstable());
    });
    broker.note(&format!("{title}: StreamsGroupHeartbeat 0"), &format!("{answer:#?}"));
    Ok(answer)
}

/// Whether nothing keeps tasks from being assigned.
fn is_fine(answer: &Answer) -> bool {
    answer.status.iter().flatten().next().is_none()
}

/// Notes the groups as StreamsGroupDescribe shows them, with members in order.
fn described(broker: &mut Conversation<'_>, title: &str, groups: &[&str]) -> Result<()> {
    let group_ids = groups.iter().map(|group| text(group)).collect();
    let request = StreamsGroupDescribeRequest { group_ids, include_authorized_operations: true };
    let mut answer = broker.quietly(0, request)?;
    answer.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    answer.groups.iter_mut().for_each(|group| group.members.sort_by(|a, b| a.member_id.cmp(&b.member_id)));
    broker.note(title, &format!("{answer:#?}"));
    Ok(())
}

fn deleted(group: &str) -> DeleteGroupsRequest {
    DeleteGroupsRequest { groups_names: vec![text(group)] }
}

fn offset(group: &str, member: &str, epoch: i32, topic: &str, partition: i32) -> OffsetCommitRequest {
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
fn members_of_an_application_share_its_tasks() -> Result<()> {
    play("streams", |broker| {
        let (group, lines) = ("word-counters", "wc-lines");
        let (words, counts) = ("word-counters-words-repartition", "word-counters-counts-changelog");
        topic(broker, lines, 2, &[])?;
        at_once(broker, group)?;
        let application = word_count(lines, words, counts);
        ask(broker, "the first joins", join(group, "first", &application))?;
        for name in [words, counts] {
            broker.settled(name, 2)?;
            let keys = ["cleanup.policy", "retention.ms"];
            configs::ask(broker, name, 4, configs::describe(TOPIC, name, Some(&keys)))?;
        }
        let epoch = beating(broker, "it gets its tasks", &beat(group, "first", 2), is_fine)?;
        let all: &[(&str, &[i32])] = &[("0", &[0, 1]), ("1", &[0, 1])];
        ask(broker, "it owns all", owning(group, "first", epoch, all))?;
        described(broker, "described", &[group])?;

        let endpoint = StreamsGroupEndpoint { host: text("two.example.com"), port: 8080 };
        let tags = vec![pair(&("zone", "b"))];
        let second = StreamsGroupHeartbeatRequest {
            user_endpoint: Some(endpoint),
            client_tags: Some(tags),
            rack_id: Some(text("r2")),
            ..join(group, "second", &application)
        };
        let joined = ask(broker, "the second joins", second)?;
        let next = joined.member_epoch;
        let left = ask(broker, "the first is to revoke", beat(group, "first", epoch))?;
        described(broker, "described while they reconcile", &[group])?;
        // Not compared: Ottla repeats the tasks, as the answer before may be lost.
        broker.quietly(0, owning(group, "first", epoch, all))?;
        let kept: Vec<(&str, &[i32])> =
            (left.active_tasks.iter().flatten()).map(|task| (&*task.subtopology_id, &task.partitions[..])).collect();
        let revoked = ask(broker, "the first has revoked", owning(group, "first", epoch, &kept))?;
        ensure!(revoked.member_epoch == next, "{revoked:?}");
        ask(broker, "the second gets its share", beat(group, "second", next))?;
        let mut knows = beat(group, "second", next);
        knows.endpoint_information_epoch = 2;
        ask(broker, "the second knows the endpoints", knows)?;
        ask(broker, "the first learns of the endpoints", beat(group, "first", next))?;
        described(broker, "described when they are done", &[group])?;

        broker.ask("a commit", 9, offset(group, "second", next, lines, 1))?;
        broker.ask("a commit in an older version", 8, offset(group, "second", next, lines, 1))?;
        broker.ask("a commit of an older epoch", 9, offset(group, "second", next - 1, lines, 1))?;
        broker.ask("a commit of a later epoch", 9, offset(group, "second", next + 6, lines, 1))?;
        broker.ask("a commit of a stranger", 9, offset(group, "stranger", next, lines, 0))?;
        broker.ask("a commit of nobody", 9, commit(group, lines, &[(0, 1, None)]))?;
        broker.ask("a member fetches", 9, fetch_as(group, Some("second"), next, lines))?;
        broker.ask("an older epoch fetches", 9, fetch_as(group, Some("second"), next - 1, lines))?;
        broker.ask("nobody fetches", 9, fetch_as(group, None, -1, lines))?;

        let fatal = StreamsGroupHeartbeatRequest { shutdown_application: true, ..beat(group, "first", next) };
        ask(broker, "the first wants all to end", fatal)?;
        ask(broker, "the second hears of it", beat(group, "second", next))?;
        ask(broker, "the first leaves", beat(group, "first", -1))?;
        ask(broker, "and is not known any more", beat(group, "first", next))?;
        ask(broker, "the second gets all", beat(group, "second", next))?;
        ask(broker, "a later epoch", beat(group, "second", 99))?;
        broker.ask("deleted with a member", 2, deleted(group))?;
        ask(broker, "the second leaves", beat(group, "second", -1))?;
        described(broker, "described without members", &[group])?;
        broker.ask("an administrator commits", 9, commit(group, lines, &[(0, 3, None)]))?;
        broker.ask("deleted", 2, deleted(group))?;
        described(broker, "described when it is gone", &[group])
    })
}

#[test]
fn heartbeats_of_streams_groups_are_checked() -> Result<()> {
    play("streams-errors", |broker| {
        let (group, name) = ("careless-streams", "careless-stream");
        topic(broker, name, 1, &[])?;
        at_once(broker, group)?;
        let application = topology(vec![part("0", &[name])]);
        let good = join(group, "member", &application);
        let with = |change: &dyn Fn(&mut StreamsGroupHeartbeatRequest)| {
            let mut request = good.clone();
            change(&mut request);
            request
        };
        ask(broker, "an unknown group", beat(group, "member", 1))?;
        described(broker, "nothing was made", &[group, ""])?;
        ask(broker, "no group", join("", "member", &application))?;
        ask(broker, "no member", join(group, "", &application))?;
        ask(broker, "an instance", with(&|it| it.instance_id = Some(text("i"))))?;
        ask(broker, "an empty rack", with(&|it| it.rack_id = Some(text(""))))?;
        ask(broker, "no rebalance timeout", with(&|it| it.rebalance_timeout_ms = -1))?;
        ask(broker, "offsets of tasks", with(&|it| it.task_offsets = Some(Vec::new())))?;
        ask(broker, "ends of tasks", with(&|it| it.task_end_offsets = Some(Vec::new())))?;
        let task = || Some(vec![StreamsGroupTaskIds { subtopology_id: text("0"), partitions: vec![0] }]);
        ask(broker, "a task", with(&|it| it.active_tasks = task()))?;
        ask(broker, "a warm-up task", with(&|it| it.warmup_tasks = task()))?;
        let some = StreamsGroupHeartbeatRequest { active_tasks: task(), ..beat(group, "member", 1) };
        ask(broker, "some kinds of tasks", some)?;
        ask(broker, "no topology", with(&|it| it.topology = None))?;
        ask(broker, "an epoch that nobody has", beat(group, "member", -3))?;
        ask(broker, "it will be back", beat(group, "member", -2))?;

        let bad = |parts: Vec<StreamsGroupSubtopology>| join(group, "member", &topology(parts));
        let mut pattern = part("0", &[name]);
        pattern.source_topic_regex = vec![text("care.*")];
        ask(broker, "an expression", bad(vec![pattern]))?;
        ask(broker, "topics of the brokers", bad(vec![part("0", &["__consumer_offsets", name])]))?;
        ask(broker, "names that no topic has", bad(vec![part("0", &["a b", name, "c/d"])]))?;
        ask(broker, "an earlier epoch than the first", {
            let mut request = good.clone();
            request.topology = Some(StreamsGroupTopology { epoch: -1, ..application.clone() });
            request
        })?;
        ask(broker, "the same subtopology twice", bad(vec![part("0", &[name]), part("0", &[name])]))?;
        let mut counted = part("0", &[name]);
        counted.state_changelog_topics = vec![StreamsGroupTopicInfo { partitions: 2, ..own("counted", &[]) }];
        ask(broker, "a changelog with partitions", bad(vec![counted]))?;
        let mut outside = part("0", &[name]);
        outside.copartition_groups =
            vec![StreamsGroupCopartitionGroup { source_topics: vec![3], ..Default::default() }];
        ask(broker, "an index of nothing", bad(vec![outside]))?;

        ask(broker, "it joins", good.clone())?;
        described(broker, "described", &[group])?;
        ask(broker, "another topology", join(group, "member", &topology(vec![part("1", &[name])])))?;
        ask(broker, "a topology at another time", {
            let mut request = beat(group, "member", 2);
            request.topology = Some(application.clone());
            request
        })?;
        ask(broker, "a task that there is not", owning(group, "member", 2, &[("0", &[7])]))?;
        ask(broker, "a stranger", beat(group, "stranger", 2))?;
        ask(broker, "it joins again", good.clone())?;
        ask(broker, "it leaves", beat(group, "member", -1))?;
        ask(broker, "it leaves twice", beat(group, "member", -1))?;
        broker.ask("deleted", 2, deleted(group))?;
        Ok(())
    })
}

#[test]
fn topics_of_applications_are_missing_or_wrong() -> Result<()> {
    play("streams-topics", |broker| {
        let (missing, wrong, failing) = ("missing-sources", "wrong-topics", "failing-topics");
        at_once(broker, missing)?;
        let sources = topology(vec![part("0", &["ms-a", "ms-b"]), part("1", &["ms-c", "ms-d", "ms-e"])]);
        ask(broker, "sources are missing", join(missing, "member", &sources))?;
        ask(broker, "they still are", beat(missing, "member", 2))?;
        described(broker, "described", &[missing])?;
        ask(broker, "it leaves", beat(missing, "member", -1))?;

        for (name, partitions) in [("wt-one", 1), ("wt-two", 2)] {
            topic(broker, name, partitions, &[])?;
        }
        at_once(broker, wrong)?;
        let mut joined = part("0", &["wt-one", "wt-two"]);
        joined.copartition_groups =
            vec![StreamsGroupCopartitionGroup { source_topics: vec![0, 1], ..Default::default() }];
        let answer = join(wrong, "member", &topology(vec![joined]));
        beating(broker, "topics that are joined differ", &answer, |answer| {
            answer.status.iter().flatten().any(|status| status.status_code == 2)
        })?;
        described(broker, "described", &[wrong])?;
        ask(broker, "it leaves", beat(wrong, "member", -1))?;

        let mut kept = part("0", &["wt-one"]);
        kept.state_changelog_topics = vec![StreamsGroupTopicInfo { replication_factor: 7, ..own("ft-changelog", &[]) }];
        at_once(broker, failing)?;
        ask(broker, "nobody can have seven replicas", join(failing, "member", &topology(vec![kept])))?;
        beating(broker, "the coordinator says so", &beat(failing, "member", 2), |answer| {
            answer.status.iter().flatten().any(|status| status.status_detail.contains("Creation failed"))
        })?;
        ask(broker, "it leaves", beat(failing, "member", -1))?;
        for group in [missing, wrong, failing] {
            broker.ask("deleted", 2, deleted(group))?;
        }
        Ok(())
    })
}

#[test]
fn other_requests_and_streams_groups() -> Result<()> {
    play("streams-and-others", |broker| {
        let (group, name) = ("streaming", "streamed");
        topic(broker, name, 1, &[])?;
        at_once(broker, group)?;
        let application = topology(vec![part("0", &[name])]);
        ask(broker, "a member joins", join(group, "member", &application))?;
        for version in [5, 6] {
            let describe = DescribeGroupsRequest { groups: vec![text(group)], include_authorized_operations: false };
            broker.ask("described as a classic group", version, describe)?;
        }
        let describe =
            ConsumerGroupDescribeRequest { group_ids: vec![text(group)], include_authorized_operations: false };
        broker.ask("described as a consumer group", 1, describe)?;
        for types in [&[][..], &["streams"], &["consumer"]] {
            let request =
                ListGroupsRequest { types_filter: types.iter().map(|name| text(name)).collect(), ..Default::default() };
            let answer = until(LIMIT, "groups that are all loaded", || {
                let answer = broker.quietly(5, request.clone())?;
                Ok((answer.error_code != ErrorCode::COORDINATOR_LOAD_IN_PROGRESS).then_some(answer))
            })?;
            let found = answer.groups.iter().find(|found| found.group_id == text(group));
            broker.note(&format!("listed {types:?}"), &format!("{:?} {found:#?}", answer.error_code));
        }
        let consumer = ConsumerGroupHeartbeatRequest {
            group_id: text(group),
            member_id: text("consumer"),
            rebalance_timeout_ms: 30_000,
            subscribed_topic_names: Some(vec![text(name)]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        broker.ask("a consumer joins", 1, consumer.clone())?;
        ask(broker, "it leaves", beat(group, "member", -1))?;
        broker.ask("a consumer joins the empty group", 1, consumer)?;
        broker.ask("deleted", 2, deleted(group))?;

        let others = "a-consumers-group";
        coordinated(broker, &[others])?;
        let consumer = ConsumerGroupHeartbeatRequest {
            group_id: text(others),
            member_id: text("consumer"),
            rebalance_timeout_ms: 30_000,
            subscribed_topic_names: Some(vec![text(name)]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        let answer = broker.quietly(1, consumer.clone())?;
        ensure!(answer.error_code.is_none(), "{answer:?}");
        ask(broker, "a member of an application joins consumers", join(others, "member", &application))?;
        described(broker, "consumers described as a streams group", &[others])?;
        broker.quietly(1, ConsumerGroupHeartbeatRequest { member_epoch: -1, ..consumer })?;
        broker.ask("deleted", 2, deleted(others))?;
        Ok(())
    })
}

#[test]
fn a_streams_group_has_settings_of_its_own() -> Result<()> {
    play("streams-settings", |broker| {
        let (group, name) = ("particular-streams", "particular-stream");
        topic(broker, name, 1, &[])?;
        with_settings(broker, group, &[("streams.initial.rebalance.delay.ms", "3600000")])?;
        broker.ask("too long", 1, setting(group, "streams.session.timeout.ms", "60001"))?;
        broker.ask("too short", 1, setting(group, "streams.heartbeat.interval.ms", "4999"))?;
        broker.ask("too many", 1, setting(group, "streams.num.standby.replicas", "3"))?;
        broker.ask("no number", 1, setting(group, "streams.num.standby.replicas", "some"))?;
        broker.ask("unheard of", 1, setting(group, "streams.dreams", "1"))?;
        broker.ask("good", 1, setting(group, "streams.heartbeat.interval.ms", "7000"))?;
        let mut parts = part("0", &[name]);
        parts.state_changelog_topics = vec![own("particular-changelog", &[])];
        let application = topology(vec![parts]);
        let interval = until(LIMIT, "the interval", || {
            let answer = broker.quietly(0, join(group, "one", &application))?;
            Ok((answer.heartbeat_interval_ms == 7000).then_some(answer.heartbeat_interval_ms))
        })?;
        broker.note("the interval of its members", &interval.to_string());
        broker.settled("particular-changelog", 1)?;
        until(LIMIT, "the coordinator to see the changelog", || {
            let answer = broker.quietly(0, join(group, "one", &application))?;
            Ok(answer.status.iter().flatten().all(|status| status.status_code != 3).then_some(()))
        })?;
        ask(broker, "another one joins", join(group, "two", &application))?;
        described(broker, "nobody has tasks yet", &[group])?;
        let names = [
            "streams.heartbeat.interval.ms",
            "streams.initial.rebalance.delay.ms",
            "streams.num.standby.replicas",
            "streams.session.timeout.ms",
        ];
        configs::ask(broker, "described", 4, configs::describe(GROUP, group, Some(&names)))?;
        for member in ["one", "two"] {
            broker.quietly(0, beat(group, member, -1))?;
        }
        broker.ask("deleted", 2, deleted(group))?;

        let copied = "standby-streams";
        let [delay, interval] = AT_ONCE;
        with_settings(broker, copied, &[delay, interval, ("streams.num.standby.replicas", "1")])?;
        for member in ["one", "two"] {
            ask(broker, "a member joins", join(copied, member, &application))?;
        }
        ask(broker, "the first has its task", beat(copied, "one", 2))?;
        described(broker, "one works, one copies", &[copied])?;
        for member in ["one", "two"] {
            broker.quietly(0, beat(copied, member, -1))?;
        }
        broker.ask("deleted", 2, deleted(copied))?;
        Ok(())
    })
}
