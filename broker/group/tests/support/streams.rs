//! Members of the streams protocol, for the stories. A task is `0-1`: subtopology 0, partition 1; `s0-1` as standby,
//! `w0-1` as warm-up.
//!
//! A topology is `1: 0 reads t writes r, 1 reads u and r/4 keeps c joins`: epoch 1, two subtopologies. What is read and
//! has no letter of its own before it, is a source; `~r` and `r/4` are repartition topics, of the coordinator's choice
//! and of 4 partitions; `joins` makes what is read one copartition group.

use std::collections::BTreeMap;

use ottla_group::record::{
    Copartition, Endpoint, InternalTopic, StreamsAssigned, StreamsRecord, StreamsTasks, Subtopology, Tasks, Topology,
};
use ottla_group::*;

use super::{Client, GROUP, Options, World, repeated, short, time};

/// Reads `1: 0 reads t`.
pub fn topology(words: &[&str]) -> Topology {
    let epoch = words[0].trim_end_matches(':').parse().expect("an epoch");
    let text = words[1..].join(" ");
    Topology::new(epoch, text.split(", ").filter(|part| !part.is_empty()).map(subtopology).collect())
}

fn subtopology(text: &str) -> Subtopology {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut part = Subtopology {
        id: words[0].to_owned(),
        sources: Vec::new(),
        source_patterns: Vec::new(),
        changelogs: Vec::new(),
        repartition_sinks: Vec::new(),
        repartition_sources: Vec::new(),
        copartitions: Vec::new(),
    };
    let internal = |name: &str, partitions: i32| InternalTopic {
        name: name.into(),
        partitions,
        replication_factor: 0,
        configs: Vec::new(),
    };
    let mut verb = "";
    for word in &words[1..] {
        match (*word, verb) {
            ("and", _) => {}
            ("reads" | "writes" | "keeps" | "matches", _) => verb = word,
            ("joins", _) => {
                let all = |length: usize| (0..length as i16).collect();
                part.copartitions.push(Copartition {
                    sources: all(part.sources.len()),
                    source_patterns: Vec::new(),
                    repartition_sources: all(part.repartition_sources.len()),
                });
            }
            (name, "reads") => match (name.strip_prefix('~'), name.split_once('/')) {
                (Some(name), _) => part.repartition_sources.push(internal(name, 0)),
                (None, Some((name, count))) => {
                    part.repartition_sources.push(internal(name, count.parse().expect("a number")));
                }
                (None, None) => part.sources.push(repeated(name).as_str().into()),
            },
            (name, "writes") => part.repartition_sinks.push(name.into()),
            (name, "matches") => part.source_patterns.push(name.to_owned()),
            (name, "keeps") => match name.split_once('/') {
                Some((name, count)) => part.changelogs.push(internal(name, count.parse().expect("a number"))),
                None => part.changelogs.push(internal(name, 0)),
            },
            (word, verb) => panic!("what is {word:?} after {verb:?}?"),
        }
    }
    part
}

/// Reads `0-1,s0-2`.
pub fn tasks(text: &str) -> StreamsTasks {
    let mut tasks = StreamsTasks::default();
    for word in text.split(',').filter(|word| *word != "nothing") {
        let (id, partition) = word.split_once('-').expect("a task");
        let (kind, id) = match (id.strip_prefix('s'), id.strip_prefix('w')) {
            (Some(id), _) => (&mut tasks.standby, id),
            (None, Some(id)) => (&mut tasks.warmup, id),
            (None, None) => (&mut tasks.active, id),
        };
        kind.entry(id.to_owned()).or_default().insert(partition.parse().expect("a number"));
    }
    tasks
}

impl World {
    /// Joins, stays or leaves, as the epoch says.
    pub fn stream(&mut self, name: &str, epoch: Option<i32>, options: &Options<'_>) {
        let client = self.clients.entry(name.to_owned()).or_default();
        let is_joining = epoch == Some(0);
        if client.id.is_empty() {
            client.id = name.to_owned();
        }
        let Client { id, generation, endpoint_epoch, .. } = client.clone();
        let epoch = options.get("epoch").map(|epoch| epoch.parse().expect("a number")).or(epoch).unwrap_or(generation);
        let endpoint = options.get("at").map(|at| {
            let (host, port) = at.split_once(':').expect("host:port");
            Endpoint { host: host.to_owned(), port: port.parse().expect("a port") }
        });
        let owned = match options.get("owning").or(is_joining.then_some("nothing")) {
            _ if options.has("partly") => Owned::Partly,
            Some(owned) => Owned::Tasks(tasks(owned)),
            None => Owned::Unsaid,
        };
        let request = StreamsHeartbeatRequest {
            group: options.get("to").unwrap_or(GROUP).into(),
            member: options.get("as").map_or(&*id, |id| id.trim_matches('"')).into(),
            epoch,
            endpoint_epoch: options.get("knowing").map_or(endpoint_epoch, |epoch| epoch.parse().expect("a number")),
            instance: options.get("static").map(Into::into),
            rack: options.get("rack").map(|rack| rack.trim_matches('"').to_owned()),
            client_id: name.into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: options
                .get("rebalance")
                .or(is_joining.then_some("60s"))
                .map(|timeout| time(timeout).as_millis() as i32),
            topology: ((is_joining && !options.has("bare")) || options.has("fully")).then(|| self.topology.clone()),
            owned,
            process: options.get("in").or(is_joining.then_some(name)).map(repeated),
            endpoint,
            client_tags: is_joining.then(BTreeMap::new),
            has_task_offsets: options.has("offsets"),
            has_task_end_offsets: options.has("ends"),
            shuts_down: options.has("shutdown"),
        };
        let ticket = self.ticket(name);
        let effects = self.shard.streams_heartbeat(&request, ticket, self.now);
        self.carry_out(effects);
    }

    pub fn describe_streams(&mut self) {
        match self.shard.describe_streams(&GROUP.into()) {
            Err(error) => self.told.push(format!("{error:?}")),
            Ok(group) => {
                let (state, epoch, target) = (group.state.name(), group.epoch, group.target_epoch);
                self.told.push(format!("{state} epoch {epoch} target {target}"));
                for part in group.topology.into_iter().flat_map(|topology| topology.subtopologies) {
                    let own = |topics: &[InternalTopic]| topics.iter().map(counted).collect::<Vec<_>>().join(",");
                    let sources: Vec<&str> = part.sources.iter().map(|name| &**name).collect();
                    let (changelogs, repartition) = (own(&part.changelogs), own(&part.repartition_sources));
                    let (id, sources) = (part.id, sources.join(","));
                    self.told.push(format!("{id} reads [{sources}] and [{repartition}], keeps [{changelogs}]"));
                }
                for member in group.members {
                    let (has, is_to_have) = (named(&member.assigned), named(&member.target));
                    let id = short(&member.member);
                    self.told.push(format!("{id} at {} has {has}, is to have {is_to_have}", member.epoch));
                }
            }
        }
    }
}

fn counted(topic: &InternalTopic) -> String {
    format!("{}={}", topic.name, topic.partitions)
}

impl Client {
    pub fn heard_streams(&mut self, reply: StreamsHeartbeatReply) -> String {
        let heartbeat = match reply {
            Err(error) => return format!("{error:?}"),
            Ok(heartbeat) => heartbeat,
        };
        if heartbeat.epoch > 0 {
            self.generation = heartbeat.epoch;
            self.endpoint_epoch = heartbeat.endpoint_epoch;
        }
        let tasks = heartbeat.tasks.map(|tasks| format!(", has {}", named(&tasks))).unwrap_or_default();
        let mut text = format!("epoch {}{tasks}", heartbeat.epoch);
        for status in heartbeat.statuses {
            text += &format!("; {:?}: {}", status.code, status.detail);
        }
        for entry in heartbeat.endpoints.into_iter().flatten() {
            let all = |topics: &BTreeMap<TopicName, Vec<i32>>| {
                topics.iter().map(|(name, all)| format!(" {name}{all:?}")).collect::<String>()
            };
            let (active, standby) = (all(&entry.active), all(&entry.standby));
            text += &format!("; {}:{} has{active}, copies{standby}", entry.endpoint.host, entry.endpoint.port);
        }
        if !heartbeat.missing.is_empty() {
            text += &format!("; to create: {}", heartbeat.missing.iter().map(counted).collect::<Vec<_>>().join(", "));
        }
        text
    }
}

fn named(tasks: &StreamsTasks) -> String {
    let kind = |mark: &'static str, tasks: &Tasks| {
        let all = tasks.iter().flat_map(|(id, all)| all.iter().map(move |one| format!("{mark}{id}-{one}")));
        all.collect::<Vec<_>>()
    };
    let all = [kind("", &tasks.active), kind("s", &tasks.standby), kind("w", &tasks.warmup)].concat();
    if all.is_empty() { "nothing".to_owned() } else { all.join(" ") }
}

fn with_epochs(assigned: &StreamsAssigned) -> String {
    let active = assigned.active.iter();
    let active = active.flat_map(|(id, all)| all.iter().map(move |(one, epoch)| format!("{id}-{one}@{epoch}")));
    let mut all: Vec<String> = active.collect();
    let others = StreamsTasks { active: Tasks::new(), ..assigned.tasks() };
    if !others.is_empty() {
        all.push(named(&others));
    }
    all.join(" ")
}

pub fn logged(record: &StreamsRecord) -> String {
    match record {
        StreamsRecord::Group(Some(value)) => format!("epoch {} validated {}", value.epoch, value.validated_epoch),
        StreamsRecord::Group(None) => "streams group deleted".to_owned(),
        StreamsRecord::Topology(Some(topology)) => format!("topology {}", topology.epoch),
        StreamsRecord::Topology(None) => "topology deleted".to_owned(),
        StreamsRecord::Member(id, Some(value)) => format!("{} in {}", short(id), value.process),
        StreamsRecord::Member(id, None) => format!("{} deleted", short(id)),
        StreamsRecord::Target(Some(value)) => format!("target epoch {}", value.epoch),
        StreamsRecord::Target(None) => "target deleted".to_owned(),
        StreamsRecord::TargetMember(id, Some(target)) => format!("target of {}: {}", short(id), named(target)),
        StreamsRecord::TargetMember(id, None) => format!("target of {} deleted", short(id)),
        StreamsRecord::Current(id, Some(value)) => {
            let state = format!("{:?}", value.state).to_lowercase();
            let text = format!("{} at {} {state} {}", short(id), value.epoch, with_epochs(&value.assigned));
            let revoking = with_epochs(&value.revoking);
            let revoking = if revoking.is_empty() { String::new() } else { format!(" revokes {revoking}") };
            format!("{}{revoking}", text.trim_end())
        }
        StreamsRecord::Current(id, None) => format!("assignment of {} deleted", short(id)),
    }
}
