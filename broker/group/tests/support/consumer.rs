//! Members of the consumer protocol, for the stories. Topics have names of one letter, which makes their ids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_group::record::{Assigned, ConsumerMemberValue, ConsumerRecord, Partitions};
use ottla_group::*;
use ottla_wire::consumer_protocol::{self, ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition};
use ottla_wire::coordinator_records::encode_value;
use uuid::Uuid;

use super::{Client, GROUP, Options, World, repeated, short, time};

pub fn topic_id(name: &str) -> Uuid {
    Uuid::from_u128(name.chars().next().expect("a letter").into())
}

pub fn topic_name(id: Uuid) -> char {
    u32::try_from(id.as_u128()).ok().and_then(char::from_u32).expect("a letter")
}

impl World {
    pub fn set_topics(&mut self, text: &str) {
        let topics: Vec<(String, Topic)> = super::pairs(text)
            .map(|(name, partitions)| {
                let name = repeated(&name);
                let topic = Topic { id: topic_id(&name), partitions: partitions.parse().expect("a number") };
                (name, topic)
            })
            .collect();
        self.topics = Arc::new(self.topics.next(topics.iter().map(|(name, topic)| (name.as_str(), *topic))));
        self.shard.set_topics(self.topics.clone());
    }

    /// Joins, stays or leaves, as the epoch says.
    pub fn consume(&mut self, name: &str, epoch: Option<i32>, options: &Options<'_>) {
        let client = self.clients.entry(name.to_owned()).or_default();
        let is_joining = epoch == Some(0);
        if is_joining && client.id.is_empty() && options.get("version") != Some("0") {
            client.id = name.to_owned();
        }
        if let Some(instance) = options.get("static") {
            client.instance = Some(instance.to_owned());
        }
        if let Some(id) = options.get("as") {
            client.id = id.trim_matches('"').to_owned();
        }
        let Client { id, instance, generation, .. } = client.clone();
        let epoch = options.get("epoch").map(|epoch| epoch.parse().expect("a number")).or(epoch).unwrap_or(generation);
        let is_full = is_joining || options.has("fully");
        let topics = options.get("on").or((is_full && options.get("matching").is_none()).then_some("t"));
        let owned = options.get("owning").or(is_joining.then_some("nothing"));
        self.ids += 1;
        let request = ConsumerHeartbeatRequest {
            group: options.get("to").unwrap_or(GROUP).into(),
            member: id.as_str().into(),
            makes_its_own_id: options.get("version") != Some("0"),
            epoch,
            instance: instance.as_deref().map(Into::into),
            rack: None,
            client_id: name.into(),
            client_host: "/127.0.0.1".into(),
            principal: "ANONYMOUS".into(),
            rebalance_timeout_ms: options
                .get("rebalance")
                .or(is_full.then_some("60s"))
                .map(|timeout| time(timeout).as_millis() as i32),
            topics: topics.map(|topics| {
                let names = topics.split(',').filter(|name| *name != "nothing");
                names.map(|name| repeated(name).as_str().into()).collect()
            }),
            pattern: options.get("matching").map(|pattern| pattern.trim_matches('"').to_owned()),
            assignor: options.get("by").map(Into::into),
            owned: owned.map(partitions),
            fresh: Uuid::from_u128(self.ids),
        };
        let ticket = self.ticket(name);
        let effects = self.shard.consumer_heartbeat(request, ticket, self.now);
        self.carry_out(effects);
    }

    /// The host looks up what it was asked for, for a user who may see these topics, or all.
    pub fn look_up(&mut self, visible: Option<&str>) {
        for lookup in std::mem::take(&mut self.lookups) {
            let may_see = |name: &TopicName| visible.is_none_or(|visible| visible.contains(&**name));
            let found = lookup.find(&lookup.topics, may_see);
            let effects = self.shard.looked_up(&lookup, Some(found), self.now);
            self.carry_out(effects);
        }
    }

    pub fn describe_consumers(&mut self) {
        match self.shard.describe_consumer(&GROUP.into()) {
            Err(error) => self.told.push(format!("{error:?}")),
            Ok(group) => {
                let (state, epoch, target) = (group.state.name(), group.epoch, group.target_epoch);
                self.told.push(format!("{state} epoch {epoch} target {target} by {}", group.assignor));
                for member in group.members {
                    let (has, is_to_have) = (named(&member.assigned), named(&member.target));
                    let id = short(&member.member);
                    self.told.push(format!("{id} at {} has {has}, is to have {is_to_have}", member.epoch));
                }
            }
        }
    }
}

impl Client {
    pub fn heard(&mut self, reply: ConsumerHeartbeatReply) -> String {
        match reply {
            Err(error) => format!("{error:?}"),
            Ok(heartbeat) => {
                let new_id =
                    if self.id == *heartbeat.member { String::new() } else { format!("is {}, ", heartbeat.member) };
                self.id = heartbeat.member.to_string();
                if heartbeat.epoch > 0 {
                    self.generation = heartbeat.epoch;
                }
                let assignment = heartbeat.assignment.map(|assigned| format!(", has {}", named(&assigned)));
                format!("{new_id}epoch {}{}", heartbeat.epoch, assignment.unwrap_or_default())
            }
        }
    }
}

/// What a classic consumer says about itself.
pub fn protocols(options: &Options<'_>) -> Option<Vec<Protocol>> {
    let topics = options.get("subscribed")?;
    let owned = partitions(options.get("owning").unwrap_or("nothing"));
    let owned = owned.iter().map(|(topic, all)| TopicPartition {
        topic: topic_name(*topic).to_string().into(),
        partitions: all.iter().copied().collect(),
    });
    let subscription = ConsumerProtocolSubscription {
        topics: topics.split(',').map(|name| repeated(name).into()).collect(),
        user_data: None,
        owned_partitions: owned.collect(),
        generation_id: -1,
        rack_id: None,
    };
    let name = options.get("with").unwrap_or("range").to_owned();
    Some(vec![Protocol { name, metadata: encode_value(1, &subscription) }])
}

/// `t-0+t-1`, or `nothing`, or any text.
pub fn assignment(text: &str) -> Bytes {
    if text != "nothing" && !text.contains('-') {
        return Bytes::from(repeated(text));
    }
    let topic = |(topic, all): (Uuid, BTreeSet<i32>)| TopicPartition {
        topic: topic_name(topic).to_string().into(),
        partitions: all.into_iter().collect(),
    };
    let partitions = partitions(&text.replace('+', ","));
    let assigned_partitions = partitions.into_iter().map(topic).collect();
    encode_value(1, &ConsumerProtocolAssignment { assigned_partitions, user_data: None })
}

/// What a classic member was assigned, or the bytes as text.
pub fn assigned(bytes: &Bytes) -> String {
    let of = |topic: &TopicPartition| {
        topic.partitions.iter().map(|one| format!("{}-{one}", topic.topic)).collect::<Vec<_>>()
    };
    match consumer_protocol::decode::<ConsumerProtocolAssignment>(bytes.clone()) {
        Ok(assignment) if assignment.assigned_partitions.is_empty() => "nothing".to_owned(),
        Ok(assignment) => assignment.assigned_partitions.iter().flat_map(of).collect::<Vec<_>>().join("+"),
        Err(_) => super::text(bytes),
    }
}

/// What it subscribes to, or the bytes as text.
pub fn subscribed(bytes: &Bytes) -> String {
    match consumer_protocol::decode::<ConsumerProtocolSubscription>(bytes.clone()) {
        Ok(subscription) => subscription.topics.iter().map(|name| &**name).collect::<Vec<_>>().join(","),
        Err(_) => super::text(bytes),
    }
}

/// `t-0,t-1`, or `nothing`.
fn partitions(text: &str) -> Partitions {
    let mut partitions = Partitions::new();
    for word in text.split(',').filter(|word| *word != "nothing") {
        let (name, partition) = super::partition(word);
        partitions.entry(topic_id(&name)).or_default().insert(partition);
    }
    partitions
}

fn named(partitions: &Partitions) -> String {
    let all = partitions.iter().flat_map(|(topic, all)| all.iter().map(|one| format!("{}-{one}", topic_name(*topic))));
    let all: Vec<String> = all.collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(" ") }
}

fn with_epochs(assigned: &Assigned) -> String {
    let of = |(topic, all): (&Uuid, &BTreeMap<i32, i32>)| {
        let topic = topic_name(*topic);
        all.iter().map(|(one, epoch)| format!("{topic}-{one}@{epoch}")).collect::<Vec<_>>()
    };
    assigned.iter().flat_map(of).collect::<Vec<_>>().join(" ")
}

fn joined(names: &BTreeSet<TopicName>) -> String {
    names.iter().map(|name| &**name).collect::<Vec<_>>().join(",")
}

pub fn logged(record: &ConsumerRecord) -> String {
    match record {
        ConsumerRecord::Group(Some(value)) => format!("epoch {}", value.epoch),
        ConsumerRecord::Group(None) => "group deleted".to_owned(),
        ConsumerRecord::Partitions { is_tombstone } => format!("old partitions, deleted: {is_tombstone}"),
        ConsumerRecord::Member(id, Some(value)) => format!("{} subscribes to {}", short(id), subscription(value)),
        ConsumerRecord::Member(id, None) => format!("{} deleted", short(id)),
        ConsumerRecord::Target(Some(value)) => format!("target epoch {}", value.epoch),
        ConsumerRecord::Target(None) => "target deleted".to_owned(),
        ConsumerRecord::TargetMember(id, Some(target)) => format!("target of {}: {}", short(id), named(target)),
        ConsumerRecord::TargetMember(id, None) => format!("target of {} deleted", short(id)),
        ConsumerRecord::Current(id, Some(value)) => {
            let state = format!("{:?}", value.state).to_lowercase();
            let text = format!("{} at {} {state} {}", short(id), value.epoch, with_epochs(&value.assigned));
            let revoking = with_epochs(&value.revoking);
            let revoking = if revoking.is_empty() { String::new() } else { format!(" revokes {revoking}") };
            format!("{}{revoking}", text.trim_end())
        }
        ConsumerRecord::Current(id, None) => format!("assignment of {} deleted", short(id)),
        ConsumerRecord::Pattern(pattern, Some(value)) => format!("{pattern} stands for {}", joined(&value.topics)),
        ConsumerRecord::Pattern(pattern, None) => format!("{pattern} deleted"),
    }
}

fn subscription(value: &ConsumerMemberValue) -> String {
    let names = joined(&value.topics);
    let instance = value.instance.as_ref().map(|instance| format!(" static {instance}")).unwrap_or_default();
    let pattern = value.pattern.as_ref().map(|pattern| format!(" matching {pattern}")).unwrap_or_default();
    let classic = if value.classic.is_some() { " classic" } else { "" };
    format!("{}{pattern}{instance}{classic}", if names.is_empty() { "nothing" } else { &names })
}
