//! Members of share groups, and administrators of their offsets, for the stories.

use std::collections::BTreeMap;

use ottla_group::record::{Partitions, ShareRecord, SharedTopics};
use ottla_group::share_state::StateError;
use ottla_group::*;
use ottla_wire::TopicIdPartition;

use super::consumer::{topic_id, topic_name};
use super::{Client, GROUP, Options, World, repeated, short};

impl World {
    /// Joins, stays or leaves, as the epoch says.
    pub fn share(&mut self, name: &str, epoch: Option<i32>, options: &Options<'_>) {
        let client = self.clients.entry(name.to_owned()).or_default();
        if client.id.is_empty() {
            client.id = name.to_owned();
        }
        let Client { id, generation, .. } = client.clone();
        let epoch = options.get("epoch").map(|epoch| epoch.parse().expect("a number")).or(epoch).unwrap_or(generation);
        let topics = options.get("on").or((epoch == 0 && !options.has("bare")).then_some("t"));
        let request = ShareHeartbeatRequest {
            group: options.get("to").map_or(GROUP, |group| group.trim_matches('"')).into(),
            member: options.get("as").map_or(&*id, |id| id.trim_matches('"')).into(),
            epoch,
            rack: options.get("rack").map(|rack| rack.trim_matches('"').to_owned()),
            client_id: name.into(),
            client_host: "/127.0.0.1".into(),
            topics: topics.map(|topics| topics.split(',').map(|name| repeated(name).as_str().into()).collect()),
        };
        let ticket = self.ticket(name);
        let effects = self.shard.share_heartbeat(&request, ticket, self.now);
        self.carry_out(effects);
    }

    pub fn describe_share(&mut self) {
        match self.shard.describe_share(&GROUP.into()) {
            Err(error) => self.told.push(format!("{error:?}")),
            Ok(group) => {
                let (state, epoch, target) = (group.state.name(), group.epoch, group.target_epoch);
                self.told.push(format!("{state} epoch {epoch} target {target} by {}", group.assignor));
                for member in group.members {
                    let topics: Vec<&str> = member.value.topics.iter().map(|topic| &**topic).collect();
                    let (id, epoch, topics) = (short(&member.member), member.epoch, topics.join(","));
                    self.told.push(format!("{id} on {topics} at {epoch} has {}", partitions(&member.assigned)));
                }
                let initialized = self.shard.initialized_partitions(&GROUP.into()).map(shared).unwrap_or_default();
                self.told.push(format!("initialized: {initialized}"));
            }
        }
    }

    /// The share coordinators do what was asked, but for one partition, all of them, or none.
    pub fn answer_states(&mut self, fails: impl Fn(&str) -> bool) {
        for call in std::mem::take(&mut self.state_calls) {
            let asked: Vec<TopicIdPartition> = match &call.what {
                StateCallKind::Initialize { offsets, .. } => offsets
                    .iter()
                    .flat_map(|(id, all)| all.keys().map(|one| TopicIdPartition::new(*id, *one)))
                    .collect(),
                StateCallKind::Delete { partitions } => partitions
                    .iter()
                    .flat_map(|(id, all)| all.iter().map(|one| TopicIdPartition::new(*id, *one)))
                    .collect(),
            };
            let result = |at: TopicIdPartition| match fails(&format!("{}-{}", topic_name(at.topic_id), at.partition)) {
                true => Err(StateError::NotCoordinator),
                false => Ok(()),
            };
            let results = asked.into_iter().map(|key| (key, result(key))).collect();
            let effects = self.shard.state_call_answered(&call, &results, self.now);
            self.carry_out(effects);
        }
    }

    pub fn alter_share(&mut self, text: &str) {
        let mut topics: BTreeMap<TopicName, Vec<(i32, i64)>> = BTreeMap::new();
        for (partition, offset) in super::pairs(text) {
            let (topic, partition) = partition.split_once('-').expect("a partition");
            let of = topics.entry(topic.into()).or_default();
            of.push((partition.parse().expect("a number"), offset.parse().expect("an offset")));
        }
        let request = AlterShareOffsetsRequest { group: GROUP.into(), topics: topics.into_iter().collect() };
        let ticket = self.ticket("admin");
        let effects = self.shard.alter_share_offsets(&request, ticket, self.now);
        self.carry_out(effects);
    }

    pub fn forget_share(&mut self, topics: &str) {
        let topics: Vec<TopicName> = topics.split(',').map(Into::into).collect();
        let ticket = self.ticket("admin");
        let effects = self.shard.delete_share_offsets(&GROUP.into(), &topics, ticket, self.now);
        self.carry_out(effects);
    }

    pub fn delete_shared_topic(&mut self, name: &str) {
        let effects = self.shard.shared_topics_deleted(&[topic_id(name)].into(), self.now);
        self.carry_out(effects);
    }
}

pub fn altered(reply: AlterShareOffsetsReply) -> String {
    match reply {
        Err(error) => format!("all {error:?}"),
        Ok(topics) => {
            let partition = |topic: &AlteredShareOffsets, (number, outcome): &(i32, Result<(), StateError>)| {
                format!("{}-{number} {}", topic.topic, result(*outcome))
            };
            let topic = |topic: &AlteredShareOffsets| {
                topic.partitions.iter().map(|it| partition(topic, it)).collect::<Vec<_>>()
            };
            topics.iter().flat_map(topic).collect::<Vec<_>>().join(", ")
        }
    }
}

pub fn deleted(reply: DeleteShareOffsetsReply) -> String {
    match reply {
        Err(error) => format!("all {error:?}"),
        Ok(topics) => {
            let topic = |topic: &DeletedShareOffsets| format!("{} {}", topic.topic, result(topic.result));
            topics.iter().map(topic).collect::<Vec<_>>().join(", ")
        }
    }
}

fn result(result: Result<(), StateError>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |()| "ok".to_owned())
}

impl Client {
    pub fn heard_share(&mut self, reply: ShareHeartbeatReply) -> String {
        match reply {
            Err(error) => format!("{error:?}"),
            Ok(heartbeat) => {
                if heartbeat.epoch > 0 {
                    self.generation = heartbeat.epoch;
                }
                let has = heartbeat.assignment.map(|all| format!(", has {}", partitions(&all)));
                format!("epoch {}{}", heartbeat.epoch, has.unwrap_or_default())
            }
        }
    }
}

pub fn asked(call: &StateCall) -> String {
    match &call.what {
        StateCallKind::Initialize { state_epoch, offsets } => {
            let all = offsets.iter().flat_map(|(id, all)| all.iter().map(|(one, from)| (*id, *one, *from)));
            let all = all.map(|(id, one, from)| match from {
                -1 => format!("{}-{one}", topic_name(id)),
                _ => format!("{}-{one}={from}", topic_name(id)),
            });
            format!("asks: initialize {} in {state_epoch}", all.collect::<Vec<_>>().join(" "))
        }
        StateCallKind::Delete { partitions: all } => format!("asks: delete {}", partitions(all)),
    }
}

fn partitions(all: &Partitions) -> String {
    let all = all.iter().flat_map(|(id, all)| all.iter().map(|one| format!("{}-{one}", topic_name(*id))));
    let all: Vec<String> = all.collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(" ") }
}

fn shared(topics: &SharedTopics) -> String {
    partitions(&topics.iter().map(|(id, topic)| (*id, topic.partitions.clone())).collect())
}

pub fn logged(record: &ShareRecord) -> String {
    match record {
        ShareRecord::Group(Some(value)) => format!("share group epoch {}", value.epoch),
        ShareRecord::Group(None) => "share group deleted".to_owned(),
        ShareRecord::Member(id, Some(value)) => {
            let topics: Vec<&str> = value.topics.iter().map(|topic| &**topic).collect();
            format!("{} on {}", short(id), topics.join(","))
        }
        ShareRecord::Member(id, None) => format!("{} deleted", short(id)),
        ShareRecord::Target(Some(value)) => format!("target epoch {}", value.epoch),
        ShareRecord::Target(None) => "target deleted".to_owned(),
        ShareRecord::TargetMember(id, Some(target)) => format!("target of {}: {}", short(id), partitions(target)),
        ShareRecord::TargetMember(id, None) => format!("target of {} deleted", short(id)),
        ShareRecord::Current(id, Some(value)) => {
            format!("{} at {} has {}", short(id), value.epoch, partitions(&value.assigned))
        }
        ShareRecord::Current(id, None) => format!("assignment of {} deleted", short(id)),
        ShareRecord::Partitions(Some(value)) => {
            let deleting: Vec<&str> = value.deleting.values().map(|name| &**name).collect();
            let (initializing, initialized) = (shared(&value.initializing), shared(&value.initialized));
            format!("initializing {initializing}, initialized {initialized}, deleting [{}]", deleting.join(","))
        }
        ShareRecord::Partitions(None) => "partitions deleted".to_owned(),
    }
}
