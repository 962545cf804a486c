//! A coordinator, a log and some clients, driven by commands in plain words.

mod consumer;
mod share;
mod streams;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_group::*;
use uuid::Uuid;

/// Commands. A name is a client: `A`, `B`, `admin` (who is no member). It remembers its id and generation.
///
/// - `set initial.delay 0s | max.size 2`
/// - `A joins [static i1] [with range=meta,sticky=meta] [type connect] [session 10s] [rebalance 60s] [version 4]
///   [as ID] [subscribed t,u [owning t-0]]`
/// - `A syncs [A=x,B=y | A=t-0+t-1,B=nothing] [generation 7] [protocol sticky] [as ID] [static i1]`
/// - `A beats`, `A leaves`, `admin removes i1`
/// - `A commits t-0=5,t-1=6 [noted m] [retention 1s] [version 8]`, `fetch`, `admin deletes offsets t-0`
/// - `A commits t-0=5 in 7 [unnamed] ...`: in the transaction of producer 7, if `unnamed` as before KIP-447;
///   `7 ends its transaction`, `7 aborts its transaction`: the marker; `fetch stable`: what is unstable is named so
/// - `describe`, `list`, `admin deletes the group`, `topic t is deleted`, `3s pass`, `expire`
/// - `the log is slow` (appends wait), `the log catches up`, `the log fails once` (the oldest
///   append fails with NotLeader, the others come through)
/// - `the log refuses once`: the same with TooLarge, as for every batch larger than `set max.batch 600` allows
/// - `the log takes too long` (the oldest append may still come through)
/// - `topics t=3,u=2`: those of the cluster; `set assignment.interval 0s`
/// - `A consumes [on t,u] [matching REGEX] [by range] [static i1] [rebalance 60s] [version 0] [owning nothing] [as
/// ID]`:   joins by the consumer protocol
/// - `A polls [owning t-0,t-1 | nothing] [epoch 7] [fully] [on u] [matching REGEX] [as ID]`: its heartbeat
/// - `A quits`, `A pauses` (static members, to come back), `describe consumers`
/// - `look up`, `look up for t,u`: the host answers which topics expressions stand for, among those that a user may see
/// - `A may fetch [epoch 7]`
/// - `topology 1: 0 reads t writes r, 1 reads u and r/4 keeps c`: what applications that join from now on work on (see
///   [`streams`]); `set standbys 1`, `set streams.delay 0s`, `set streams.interval 0s`, `set streams.max.size 1`
/// - `A streams [in p] [at host:80] [rebalance 60s] [owning ...]`: joins by the streams protocol, in process `A` unless
///   it says so
/// - `A works [owning 0-1,s0-2 | nothing] [epoch 7] [knowing 2] [shutdown]`: its heartbeat; `s` marks standby tasks
/// - `A stops [shutdown]`: leaves; `describe streams`
/// - `A shares [on t,u] [rack r]`: joins a share group; `A pulls [epoch 7] [on u]`: its heartbeat; `A departs`;
///   `describe shares`, `set share.interval 0s`, `set share.max.size 1`
/// - `states are done`, `states fail`, `states fail for t-0`: the share coordinators answer what the group asks;
///   `states are lost`: they never will
/// - `admin alters t-0=5,t-1=6`, `admin forgets t,u`: offsets of a share group; `shared topic t is deleted`
/// - `the clock goes back 60min`: somebody has set it
/// - `restart`: what is in the log is replayed into a new shard
/// - `a newer version writes down the group`, `a newer version deletes the group`: by a record of a type that only it
///   knows
pub struct World {
    shard: Shard,
    config: Config,
    now: Now,
    /// The log, and what it has not decided on.
    log: Vec<Entry>,
    slow: bool,
    undecided: VecDeque<Undecided>,
    clients: BTreeMap<String, Client>,
    /// Who waits. A ticket leaves with its answer, so a second answer is noticed.
    waiting: HashMap<Ticket, String>,
    tickets: u64,
    ids: u128,
    topics: Arc<Topics>,
    lookups: Vec<Lookup>,
    state_calls: Vec<StateCall>,
    topology: ottla_group::record::Topology,
    told: Vec<String>,
}

enum Entry {
    /// With the producer in whose transaction it is.
    Record(Option<i64>, Record),
    /// Whose transaction has ended, and whether it was committed.
    Marker(i64, bool),
}

enum Undecided {
    Append(GroupAppend),
    Marker(i64, bool),
}

#[derive(Clone, Default)]
struct Client {
    id: String,
    instance: Option<String>,
    generation: i32,
    /// The epoch of the endpoints that it knows.
    endpoint_epoch: i32,
}

const GROUP: &str = "g";

impl Default for World {
    fn default() -> Self {
        World {
            shard: Shard::new(Config::default()),
            config: Config::default(),
            now: Now { monotonic: Duration::ZERO, wall_ms: 1_000_000 },
            log: Vec::new(),
            slow: false,
            undecided: VecDeque::new(),
            clients: BTreeMap::new(),
            waiting: HashMap::new(),
            tickets: 0,
            ids: 0,
            topics: Arc::default(),
            lookups: Vec::new(),
            state_calls: Vec::new(),
            topology: streams::topology(&["1:", "0", "reads", "t"]),
            told: Vec::new(),
        }
    }
}

impl ottla_stories::World for World {
    fn command(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, rest) = (words[0], Options(&words));
        match words[..] {
            ["set", "initial.delay", delay] => {
                self.reset(Config { initial_rebalance_delay: time(delay), ..self.config.clone() })
            }
            ["set", "max.size", size] => {
                self.reset(Config { max_size: size.parse().expect("a number"), ..self.config.clone() })
            }
            ["set", "max.batch", bytes] => {
                self.reset(Config { max_batch: bytes.parse().expect("a number"), ..self.config.clone() })
            }
            ["set", "assignment.interval", interval] => {
                self.reset(Config { consumer_assignment_interval: time(interval), ..self.config.clone() })
            }
            ["set", "group", "session", timeout, "heartbeat", interval] => {
                let own = GroupConfig {
                    consumer_session_timeout: time(timeout),
                    consumer_heartbeat_interval: time(interval),
                    consumer_assignment_interval: self.config.consumer_assignment_interval,
                };
                self.config.groups = Arc::new([(GROUP.into(), own)].into());
                self.shard.set_config(self.config.clone());
            }
            ["set", "consumer.max.size", size] => {
                self.reset(Config { consumer_max_size: size.parse().expect("a number"), ..self.config.clone() })
            }
            ["set", "pattern.refresh", refresh] => {
                self.reset(Config { consumer_pattern_refresh: time(refresh), ..self.config.clone() })
            }
            ["set", "migration", policy] => {
                let consumer_migration = match policy {
                    "upgrade" => Migration::Upgrade,
                    "downgrade" => Migration::Downgrade,
                    _ => Migration::Disabled,
                };
                self.reset(Config { consumer_migration, ..self.config.clone() })
            }
            ["set", "standbys", number] => {
                self.set_streams(|config| config.standby_replicas = number.parse().expect("a number"));
            }
            ["set", "streams.delay", delay] => self.set_streams(|config| config.initial_delay = time(delay)),
            ["set", "streams.interval", interval] => {
                self.set_streams(|config| config.assignment_interval = time(interval));
            }
            ["set", "streams.max.size", size] => {
                self.reset(Config { streams_max_size: size.parse().expect("a number"), ..self.config.clone() })
            }
            ["topology", ..] => self.topology = streams::topology(&words[1..]),
            ["describe", "streams"] => self.describe_streams(),
            [_, "streams", ..] => self.stream(name, Some(0), &rest),
            [_, "works", ..] => self.stream(name, None, &rest),
            [_, "stops", ..] => self.stream(name, Some(-1), &rest),
            ["topics", topics] => self.set_topics(topics),
            ["look", "up"] => self.look_up(None),
            ["look", "up", "for", visible] => self.look_up(Some(visible)),
            ["describe", "consumers"] => self.describe_consumers(),
            [_, "consumes", ..] => self.consume(name, Some(0), &rest),
            [_, "polls", ..] => self.consume(name, None, &rest),
            [_, "quits", ..] => self.consume(name, Some(-1), &rest),
            [_, "pauses", ..] => self.consume(name, Some(-2), &rest),
            [_, "may", "fetch", ..] => {
                let client = self.client(name, &rest);
                let epoch = rest.get("epoch").map_or(client.generation, |epoch| epoch.parse().expect("a number"));
                let member = (name != "admin").then(|| MemberId::from(client.id.as_str()));
                let answer = self.shard.may_fetch_offsets(GROUP, member.as_ref(), epoch);
                self.told.push(format!("{name}: {}", result(&answer)));
            }
            [_, "joins", ..] => self.join(name, &rest),
            [_, "syncs", ..] => self.sync(name, &rest),
            [_, "beats", ..] => self.beat(name, &rest),
            [_, "leaves", ..] => {
                let client = self.client(name, &rest);
                self.leave(name, &client.id, client.instance.as_deref());
            }
            [_, "removes", instance] => self.leave(name, "", Some(instance)),
            [_, "commits", offsets, ..] => self.commit(name, offsets, &rest),
            [_, "deletes", "offsets", partitions] => {
                let partitions: Vec<_> = partitions.split(',').map(partition).collect();
                let ticket = self.ticket(name);
                let effects = self.shard.delete_offsets(&GROUP.into(), &partitions, ticket, self.now);
                self.carry_out(effects);
            }
            [_, "deletes", "the", "group"] => {
                let ticket = self.ticket(name);
                let effects = self.shard.delete_groups(&[GROUP.into()], ticket, self.now);
                self.carry_out(effects);
            }
            ["topic", topic, "is", "deleted"] => {
                let deleted = DeletedTopic { name: topic.into(), id: Uuid::nil(), is_last: true };
                let effects = self.shard.topics_deleted(&[deleted], self.now);
                self.carry_out(effects);
            }
            ["fetch"] => {
                let offsets: Vec<_> = self.shard.committed_offsets(GROUP).map(fetched).collect();
                self.told.push(if offsets.is_empty() { "no offsets".into() } else { offsets.join(", ") });
            }
            ["fetch", "stable"] => {
                let unstable = self.shard.unstable_offsets(GROUP);
                let committed = self.shard.committed_offsets(GROUP);
                let stable = committed.filter(|(topic, number, _)| !unstable.contains(&((*topic).clone(), *number)));
                let mut told: Vec<_> = stable.map(fetched).collect();
                told.extend(unstable.iter().map(|(topic, number)| format!("{topic}-{number} unstable")));
                self.told.push(if told.is_empty() { "no offsets".into() } else { told.join(", ") });
            }
            [producer, how @ ("ends" | "aborts"), "its", "transaction"] => {
                let marker = Undecided::Marker(producer.parse().expect("a number"), how == "ends");
                self.undecided.push_back(marker);
                if !self.slow {
                    self.decide(Ok(()));
                }
            }
            ["describe"] => {
                let described = self.shard.describe(&GROUP.into());
                self.told.push(describe(described));
            }
            ["list"] => {
                let groups = self.shard.list().map(|g| format!("{} ({}) {}", g.group, g.protocol_type, g.state.name()));
                self.told.extend(groups);
            }
            ["expire"] => {
                let effects = self.shard.expire(self.now);
                self.carry_out(effects);
            }
            [duration, "pass" | "passes"] => self.pass(time(duration)),
            ["the", "log", "is", "slow"] => self.slow = true,
            ["the", "log", "catches", "up"] => self.decide(Ok(())),
            ["the", "log", "takes", "too", "long"] => {
                let Some(Undecided::Append(oldest)) = self.undecided.front() else { panic!("no append waits") };
                let effects = self.shard.delayed(oldest.id, self.now);
                self.carry_out(effects);
            }
            ["the", "log", "refuses", "once"] => self.decide(Err(GroupAppendError::TooLarge)),
            ["the", "log", "fails", "once"] => self.decide(Err(GroupAppendError::NotLeader)),
            ["the", "clock", "goes", "back", by] => self.now.wall_ms -= time(by).as_millis() as i64,
            ["a", "newer", "version", "writes", "down", "the", "group"] => self.write_opaque(Some("v".into())),
            ["a", "newer", "version", "deletes", "the", "group"] => self.write_opaque(None),
            ["describe", "shares"] => self.describe_share(),
            [_, "shares", ..] => self.share(name, Some(0), &rest),
            [_, "pulls", ..] => self.share(name, None, &rest),
            [_, "departs", ..] => self.share(name, Some(-1), &rest),
            ["set", "share.interval", interval] => {
                let share = ShareConfig { assignment_interval: time(interval), ..self.config.share };
                self.reset(Config { share, ..self.config.clone() });
            }
            ["set", "share.max.size", size] => {
                self.reset(Config { share_max_size: size.parse().expect("a number"), ..self.config.clone() })
            }
            ["states", "are", "done"] => self.answer_states(|_| false),
            ["states", "are", "lost"] => self.state_calls.clear(),
            ["states", "fail"] => self.answer_states(|_| true),
            ["states", "fail", "for", partition] => self.answer_states(|it| it == partition),
            ["admin", "alters", offsets] => self.alter_share(offsets),
            ["admin", "forgets", topics] => self.forget_share(topics),
            ["shared", "topic", topic, "is", "deleted"] => self.delete_shared_topic(topic),
            ["restart"] => self.reset(self.config.clone()),
            ["unload"] => {
                let shard = std::mem::replace(&mut self.shard, Shard::new(self.config.clone()));
                let replies = shard.unload(self.now);
                self.carry_out(Effects { replies, ..Effects::default() });
            }
            _ => panic!("what is {line:?}?"),
        }
        std::mem::take(&mut self.told)
    }
}

impl World {
    fn join(&mut self, name: &str, options: &Options<'_>) {
        let instance = options.get("static").map(str::to_owned);
        let version: i16 = options.get("version").map_or(9, |v| v.parse().expect("a version"));
        let client = self.clients.entry(name.to_owned()).or_default();
        client.instance = instance;
        let client = self.client(name, options);
        let session_timeout_ms = time(options.get("session").unwrap_or("10s")).as_millis() as i32;
        self.ids += 1;
        let request = JoinRequest {
            group: options.get("to").unwrap_or(GROUP).into(),
            member: client.id.as_str().into(),
            instance: client.instance.as_deref().map(Into::into),
            client_id: name.into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms,
            rebalance_timeout_ms: time(options.get("rebalance").unwrap_or("60s")).as_millis() as i32,
            protocol_type: options.get("type").unwrap_or("consumer").into(),
            protocols: consumer::protocols(options).unwrap_or_else(|| {
                let pairs = pairs(options.get("with").unwrap_or("range=m"));
                pairs.map(|(name, metadata)| Protocol { name, metadata: repeated(&metadata).into() }).collect()
            }),
            can_be_sent_an_id: version >= 4,
            can_skip_assignment: version >= 9,
            fresh: Uuid::from_u128(self.ids),
        };
        let ticket = self.ticket(name);
        let effects = self.shard.join(request, ticket, self.now);
        self.carry_out(effects);
    }

    fn sync(&mut self, name: &str, options: &Options<'_>) {
        let client = self.client(name, options);
        let assignments = options.0.get(2).copied().filter(|word| word.contains('=')).unwrap_or_default();
        let request = SyncRequest {
            group: GROUP.into(),
            member: client.id.as_str().into(),
            instance: client.instance.as_deref().map(Into::into),
            generation: client.generation,
            protocol_type: options.get("type").map(Into::into),
            protocol_name: options.get("protocol").map(Into::into),
            assignments: pairs(assignments)
                .map(|(name, assignment)| (self.clients[&name].id.as_str().into(), consumer::assignment(&assignment)))
                .collect(),
        };
        let ticket = self.ticket(name);
        let effects = self.shard.sync(request, ticket, self.now);
        self.carry_out(effects);
    }

    fn beat(&mut self, name: &str, options: &Options<'_>) {
        let client = self.client(name, options);
        let request = HeartbeatRequest {
            group: GROUP.into(),
            member: client.id.as_str().into(),
            instance: client.instance.as_deref().map(Into::into),
            generation: client.generation,
        };
        let answer = self.shard.heartbeat(&request, self.now);
        self.told.push(format!("{name}: {}", result(&answer)));
    }

    fn leave(&mut self, name: &str, member: &str, instance: Option<&str>) {
        let members = vec![Leaving { member: member.into(), instance: instance.map(Into::into) }];
        let ticket = self.ticket(name);
        let effects = self.shard.leave(&LeaveRequest { group: GROUP.into(), members }, ticket, self.now);
        self.carry_out(effects);
    }

    fn commit(&mut self, name: &str, offsets: &str, options: &Options<'_>) {
        let client = match name {
            "admin" => Client { generation: -1, ..Client::default() },
            _ if options.0.contains(&"unnamed") => Client { generation: -1, ..Client::default() },
            _ => self.client(name, options),
        };
        let offset = |(at, offset): (String, String)| {
            let (topic, partition) = partition(&at);
            let topic_id = self.topics.get(&topic).map(|topic| topic.id);
            let metadata = repeated(options.get("noted").unwrap_or_default());
            OffsetToCommit {
                topic,
                topic_id,
                partition,
                offset: offset.parse().expect("a number"),
                leader_epoch: 3,
                metadata,
            }
        };
        let request = CommitRequest {
            group: GROUP.into(),
            member: client.id.as_str().into(),
            instance: client.instance.as_deref().map(Into::into),
            generation: client.generation,
            knows_group_id_not_found: options.get("version") != Some("8"),
            retention_ms: options.get("retention").map(|retention| time(retention).as_millis() as i64),
            offsets: pairs(offsets).map(offset).collect(),
        };
        let ticket = self.ticket(name);
        let effects = match options.get("in") {
            Some(producer) => {
                let producer = Producer { id: producer.parse().expect("a number"), epoch: 0 };
                self.shard.commit_offsets_in_transaction(producer, request, ticket, self.now)
            }
            None => self.shard.commit_offsets(request, ticket, self.now),
        };
        self.carry_out(effects);
    }

    /// The client as it knows itself, but for what the command says.
    fn client(&self, name: &str, options: &Options<'_>) -> Client {
        let mut client = self.clients.get(name).cloned().unwrap_or_default();
        if let Some(id) = options.get("as") {
            client.id = match id.split_once('#') {
                Some((prefix, number)) => format!("{prefix}-{}", Uuid::from_u128(number.parse().expect("a number"))),
                None => id.trim_matches('"').to_owned(),
            };
        }
        if let Some(instance) = options.get("static") {
            client.instance = Some(instance.to_owned());
        }
        if let Some(generation) = options.get("generation") {
            client.generation = generation.parse().expect("a number");
        }
        client
    }

    fn ticket(&mut self, name: &str) -> Ticket {
        self.tickets += 1;
        self.waiting.insert(Ticket(self.tickets), name.to_owned());
        Ticket(self.tickets)
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.now.monotonic + duration;
        while let Some(deadline) = self.shard.next_deadline().filter(|deadline| *deadline <= until) {
            self.advance_to(deadline.max(self.now.monotonic));
            let effects = self.shard.tick(self.now);
            self.carry_out(effects);
        }
        self.advance_to(until);
    }

    fn advance_to(&mut self, at: Duration) {
        self.now.wall_ms += (at - self.now.monotonic).as_millis() as i64;
        self.now.monotonic = at;
    }

    fn carry_out(&mut self, effects: Effects) {
        for (ticket, reply) in effects.replies {
            self.deliver(ticket, reply);
        }
        self.lookups.extend(effects.lookups);
        self.told.extend(effects.state_calls.iter().map(share::asked));
        self.state_calls.extend(effects.state_calls);
        self.undecided.extend(effects.appends.into_iter().map(Undecided::Append));
        if !self.slow {
            self.decide(Ok(()));
        }
    }

    /// The fate of the oldest append; those after it come through.
    fn decide(&mut self, fate: Result<(), GroupAppendError>) {
        self.slow = false;
        let mut fate = fate;
        while let Some(undecided) = self.undecided.pop_front() {
            let append = match undecided {
                Undecided::Append(append) => append,
                Undecided::Marker(producer, has_committed) => {
                    let outcome = if has_committed { "committed" } else { "aborted" };
                    self.told.push(format!("log: transaction of {producer} {outcome}"));
                    self.log.push(Entry::Marker(producer, has_committed));
                    self.shard.end_transaction(producer, has_committed, true);
                    continue;
                }
            };
            if fate.is_ok() && size(&append.records).is_none_or(|bytes| bytes > self.config.max_batch) {
                fate = Err(GroupAppendError::TooLarge);
            }
            let base_offset = self.log.len() as i64;
            let producer = append.producer.map(|producer| producer.id);
            for record in append.records {
                let of = producer.map(|producer| format!(" of {producer}")).unwrap_or_default();
                self.told.push(format!("log: {}{of}{}", logged(&record), if fate.is_ok() { "" } else { " FAILS" }));
                if fate.is_ok() {
                    self.log.push(Entry::Record(producer, record));
                }
            }
            let effects = self.shard.appended(append.id, fate.map(|()| base_offset), self.now);
            fate = Ok(());
            for (ticket, reply) in effects.replies {
                self.deliver(ticket, reply);
            }
            self.told.extend(effects.state_calls.iter().map(share::asked));
            self.state_calls.extend(effects.state_calls);
            self.undecided.extend(effects.appends.into_iter().map(Undecided::Append));
        }
    }

    fn deliver(&mut self, ticket: Ticket, reply: GroupReply) {
        let name = self.waiting.remove(&ticket).expect("a ticket is answered once");
        let client = self.clients.entry(name.clone()).or_default();
        let told = match reply {
            GroupReply::Join(Ok(joined)) => {
                client.id = joined.member.to_string();
                client.generation = joined.generation;
                joined_text(&joined)
            }
            GroupReply::Join(Err(refused)) => {
                if refused.error == GroupError::MemberIdRequired {
                    client.id = refused.member.to_string();
                }
                format!("{:?} {}", refused.error, short(&refused.member)).trim_end().to_owned()
            }
            GroupReply::Sync(Ok(synced)) => format!("assigned {:?}", consumer::assigned(&synced.assignment)),
            GroupReply::Sync(Err(error)) => format!("{error:?}"),
            GroupReply::Leave(Ok(results))
            | GroupReply::Commit(Ok(results))
            | GroupReply::DeleteOffsets(Ok(results))
            | GroupReply::DeleteGroups(Ok(results)) => results.iter().map(result).collect::<Vec<_>>().join(", "),
            GroupReply::Leave(Err(error))
            | GroupReply::Commit(Err(error))
            | GroupReply::DeleteOffsets(Err(error))
            | GroupReply::DeleteGroups(Err(error)) => format!("all {error:?}"),
            GroupReply::ConsumerHeartbeat(reply) => client.heard(reply),
            GroupReply::StreamsHeartbeat(reply) => client.heard_streams(reply),
            GroupReply::ShareHeartbeat(reply) => client.heard_share(reply),
            GroupReply::AlterShareOffsets(reply) => share::altered(reply),
            GroupReply::DeleteShareOffsets(reply) => share::deleted(reply),
        };
        self.told.push(format!("{name}: {told}"));
    }

    fn write_opaque(&mut self, value: Option<Bytes>) {
        // A type that nobody knows.
        let record = Record::Opaque { group: GROUP.into(), key: Bytes::from_static(b"\x00\x63\x00\x01g"), value };
        self.told.push(format!("log: {}", logged(&record)));
        self.log.push(Entry::Record(None, record));
    }

    fn set_streams(&mut self, set: impl FnOnce(&mut StreamsConfig)) {
        let mut config = self.config.clone();
        set(&mut config.streams);
        self.reset(config);
    }

    fn reset(&mut self, config: Config) {
        self.waiting.clear();
        self.undecided.clear();
        self.lookups.clear();
        self.state_calls.clear();
        self.config = config;
        self.shard = Shard::new(self.config.clone());
        self.shard.set_topics(self.topics.clone());
        for (offset, entry) in (0..).zip(&self.log) {
            match entry {
                Entry::Record(producer, record) => {
                    let encoded = record.encode().expect("it fits");
                    let decoded = Record::decode(&encoded.key, encoded.value.as_deref()).expect("it is well formed");
                    self.shard.replay(offset, *producer, decoded);
                }
                Entry::Marker(producer, has_committed) => self.shard.end_transaction(*producer, *has_committed, true),
            }
        }
        let effects = self.shard.loaded(self.now);
        self.carry_out(effects);
    }
}

pub struct Options<'a>(&'a [&'a str]);

impl<'a> Options<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().position(|word| *word == name).map(|at| self.0[at + 1])
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }
}

/// The bytes of a batch of these records; `None` if they have no format.
fn size(records: &[Record]) -> Option<usize> {
    let bytes = |record: &Record| {
        let encoded = record.encode().ok()?;
        Some(encoded.key.len() + encoded.value.map_or(0, |value| value.len()) + 10)
    };
    records.iter().map(bytes).sum::<Option<usize>>().map(|bytes| 61 + bytes)
}

/// `x*600`: so many of them.
fn repeated(text: &str) -> String {
    match text.split_once('*') {
        Some((what, times)) => what.repeat(times.parse().expect("a number")),
        None => text.to_owned(),
    }
}

fn time(text: &str) -> Duration {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().expect("a number");
    match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "min" => Duration::from_secs(60 * number),
        "d" => Duration::from_secs(24 * 60 * 60 * number),
        _ => panic!("what is {text:?}?"),
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = text.split(',').filter(|pair| pair.contains('='));
    pairs.map(|pair| pair.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a pair"))
}

fn partition(text: &str) -> (TopicName, i32) {
    let (topic, partition) = text.split_once('-').expect("topic-partition");
    (topic.into(), partition.parse().expect("a number"))
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `A-00000000-0000-0000-0000-000000000007` is `A#7`.
fn short(id: &MemberId) -> String {
    match id.len().checked_sub(37).map(|at| id.split_at(at)) {
        Some((prefix, uuid)) => match uuid[1..].parse::<Uuid>() {
            Ok(uuid) => format!("{prefix}#{}", uuid.as_u128()),
            Err(_) => id.to_string(),
        },
        None => id.to_string(),
    }
}

fn result(result: &Result<(), GroupError>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |()| "ok".to_owned())
}

fn joined_text(joined: &Joined) -> String {
    let me = short(&joined.member);
    let role =
        if joined.leader == joined.member { "leads".to_owned() } else { format!("follows {}", short(&joined.leader)) };
    let protocol = joined.protocol_name.as_deref().unwrap_or("none");
    let member = |m: &JoinedMember| format!("{}={}", short(&m.member), consumer::subscribed(&m.metadata));
    let members: Vec<_> = joined.members.iter().map(member).collect();
    let skip = if joined.skip_assignment { ", assignment stands" } else { "" };
    format!("{me} {role} in generation {} ({protocol}) [{}]{skip}", joined.generation, members.join(" "))
}

fn describe(described: Result<DescribedGroup, GroupError>) -> String {
    match described {
        Err(error) => format!("{error:?}"),
        Ok(group) => {
            let member = |m: &DescribedMember| {
                let instance = m.instance.as_ref().map(|i| format!("({i})")).unwrap_or_default();
                format!("{}{instance} {:?}->{:?}", short(&m.member), text(&m.metadata), text(&m.assignment))
            };
            let members: Vec<_> = group.members.iter().map(member).collect();
            format!(
                "{} {:?} {:?} [{}]",
                group.state.name(),
                group.protocol_type,
                group.protocol_name,
                members.join(", ")
            )
        }
    }
}

fn fetched((topic, partition, offset): (&TopicName, i32, CommittedOffset)) -> String {
    format!("{topic}-{partition}={} {:?} epoch {}", offset.offset, offset.metadata, offset.leader_epoch)
}

fn logged(record: &Record) -> String {
    match record {
        Record::OffsetCommit { key, value: Some(value) } => {
            format!("offset {}-{}={}", key.topic, key.partition, value.offset)
        }
        Record::OffsetCommit { key, value: None } => format!("offset {}-{} deleted", key.topic, key.partition),
        Record::GroupMetadata { group, value: None } => format!("group {group} deleted"),
        Record::Consumer { record, .. } => consumer::logged(record),
        Record::Streams { record, .. } => streams::logged(record),
        Record::Share { record, .. } => share::logged(record),
        Record::Opaque { group, value: None, .. } => format!("group {group} of another kind deleted"),
        Record::Opaque { group, .. } => format!("group {group} of another kind"),
        Record::GroupMetadata { group, value: Some(value) } => {
            let member = |m: &ottla_group::record::MemberValue| {
                format!("{}={}", short(&m.member), consumer::assigned(&m.assignment))
            };
            let members: Vec<_> = value.members.iter().map(member).collect();
            let protocol = value.protocol.as_deref().unwrap_or("none");
            format!("group {group} generation {} ({protocol}) [{}]", value.generation, members.join(" "))
        }
    }
}
