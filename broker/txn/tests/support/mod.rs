//! A coordinator, its log, partitions that take markers, and some producers, driven by commands in plain words.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use ottla_txn::record::{Value, ValueVersion};
use ottla_txn::*;

/// Commands. A name is a producer: `A`, `B`. It remembers the identity it was given. All have the transactional id `x`
/// unless a command says `of y`. What they send is of the old protocol unless it says `v2`.
///
/// - `A inits [again] [timeout 60s]`: again = under the identity it has
/// - `A adds t-0,t-1`, `A verifies t-0`, `A commits`, `A aborts`; all take `[as 1000/3] [of y] [v2]`
/// - `describe [of y]`, `list [state S] [pid 1000] [longer 5s] [matching y]`
/// - `60s pass`, `the cluster is at level 0`, `restart without producer ids`, `producer ids arrive`
/// - `markers wait` (partitions do not answer until a later command), `markers arrive`;
///   `send 0: t-0 written | unreachable | deleted | 47 | 52`
/// - `the log is slow` (appends wait), `the log catches up`, `the log fails once [for want of replicas]` (the oldest
///   append fails, the others come through), `the log takes too long` (the oldest append may still come through)
/// - `the log has Ongoing 1000/3 [last 2] [previous 9] [next 11] [in t-0,t-1] [of y] [v2]`: for the next `restart`
/// - `restart [with the undecided] [unsettled 1]`: the log is replayed into a new shard, the last records as not known
///   to be committed; `the log is committed`; `unload`
pub struct World {
    shard: Shard,
    config: Config,
    coordinator_epoch: i32,
    now: Now,
    /// The log, and what it has not decided on.
    log: Vec<Record>,
    slow: bool,
    undecided: VecDeque<TxnAppend>,
    markers_wait: bool,
    sends: Vec<WriteMarkers>,
    producers: BTreeMap<String, ProducerIdAndEpoch>,
    /// Who waits. A ticket leaves with its answer, so a second answer is noticed.
    waiting: HashMap<Ticket, String>,
    tickets: u64,
    blocks: i64,
    told: Vec<String>,
}

impl Default for World {
    fn default() -> Self {
        let config = Config::default();
        let mut world = World {
            shard: Shard::new(config.clone(), 0),
            config,
            coordinator_epoch: 0,
            now: Now { monotonic: Duration::ZERO, wall_ms: 1_000_000_000 },
            log: Vec::new(),
            slow: false,
            undecided: VecDeque::new(),
            markers_wait: false,
            sends: Vec::new(),
            producers: BTreeMap::new(),
            waiting: HashMap::new(),
            tickets: 0,
            blocks: 0,
            told: Vec::new(),
        };
        world.restart(0);
        world
    }
}

impl ottla_stories::World for World {
    fn command(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, options) = (words[0], Options(&words));
        match words[..] {
            [_, "inits", ..] => {
                let again = words.contains(&"again") || options.get("as").is_some();
                let given = again.then(|| self.producer(name, &options));
                let timeout_ms = time(options.get("timeout").unwrap_or("60s")).as_millis() as i32;
                self.request(
                    name,
                    Request::InitProducerId(InitProducerId {
                        transactional_id: options.id(),
                        timeout_ms,
                        producer_id: given.map_or(-1, |given| given.producer_id),
                        producer_epoch: given.map_or(-1, |given| given.producer_epoch),
                    }),
                );
            }
            [_, "adds", partitions, ..] => {
                let producer = self.producer(name, &options);
                self.request(
                    name,
                    Request::AddPartitions(AddPartitions {
                        transactional_id: options.id(),
                        producer,
                        partitions: partitions_of(partitions).collect(),
                        client_version: options.version(),
                    }),
                );
            }
            [_, "verifies", partitions, ..] => {
                let request = VerifyPartitions {
                    transactional_id: options.id(),
                    producer: self.producer(name, &options),
                    partitions: partitions_of(partitions).collect(),
                };
                let told = match self.shard.verify(&request) {
                    Ok(results) => results.iter().map(ok).collect::<Vec<_>>().join(", "),
                    Err(error) => format!("{error:?}"),
                };
                self.told.push(format!("{name}: {told}"));
            }
            [_, end @ ("commits" | "aborts"), ..] => {
                let producer = self.producer(name, &options);
                let outcome = if end == "commits" { TransactionResult::Commit } else { TransactionResult::Abort };
                self.request(
                    name,
                    Request::EndTxn(EndTxn {
                        transactional_id: options.id(),
                        producer,
                        outcome,
                        client_version: options.version(),
                    }),
                );
            }
            ["describe", ..] => {
                let described = self.shard.describe(&options.id());
                self.told.push(describe(described));
            }
            ["list", ..] => self.list(&options),
            [duration, "pass" | "passes"] => self.pass(time(duration)),
            ["the", "cluster", "is", "at", "level", level] => {
                let version = TransactionVersion::from_level(number(level)).expect("a level");
                self.config.transaction_version = version;
                self.shard.set_transaction_version(version);
            }
            ["restart", "without", "producer", "ids"] => {
                self.replay(0);
                let effects = self.shard.loaded(self.now);
                self.carry_out(effects);
            }
            ["producer", "ids", "arrive"] => self.add_producer_ids(),
            ["markers", "wait"] => self.markers_wait = true,
            ["markers", "arrive"] => {
                self.markers_wait = false;
                let sends = std::mem::take(&mut self.sends);
                for send in sends {
                    self.write_markers(&send);
                }
            }
            ["send", id, partition, result] => {
                let id = SendId(number(id.trim_end_matches(':')));
                let partition = partitions_of(partition).next().expect("a partition");
                let effects = self.shard.sent(id, &[(partition, marker_result(result))], self.now);
                self.carry_out(effects);
            }
            ["the", "log", "is", "slow"] => self.slow = true,
            ["the", "log", "catches", "up"] => self.decide(Ok(())),
            ["the", "log", "fails", "once"] => self.decide(Err(TxnAppendError::NotLeader)),
            ["the", "log", "fails", "once", "for", "want", "of", "replicas"] => {
                self.decide(Err(TxnAppendError::NotCommitted));
            }
            ["the", "log", "takes", "too", "long"] => {
                let oldest = self.undecided.front().expect("something waits").id;
                let effects = self.shard.delayed(oldest);
                self.carry_out(effects);
            }
            ["the", "log", "has", state, producer, ..] => {
                let record = self.record(state, producer, &options);
                self.log.push(record);
            }
            ["the", "log", "is", "committed"] => {
                let effects = self.shard.settled(self.now);
                self.carry_out(effects);
            }
            ["restart", ..] => {
                let undecided = std::mem::take(&mut self.undecided);
                if words.contains(&"undecided") {
                    self.log.extend(undecided.into_iter().flat_map(|append| append.records));
                }
                self.restart(options.get("unsettled").map_or(0, number));
            }
            ["unload"] => {
                let shard = std::mem::replace(&mut self.shard, Shard::new(self.config.clone(), 0));
                let replies = shard.unload();
                self.carry_out(Effects { replies, ..Effects::default() });
            }
            _ => panic!("what is {line:?}?"),
        }
        std::mem::take(&mut self.told)
    }
}

impl World {
    fn request(&mut self, name: &str, request: Request) {
        if !self.shard.is_settled(request.transactional_id()) {
            return self.told.push(format!("{name}: CoordinatorLoadInProgress"));
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, name.to_owned());
        let effects = self.shard.request(&request, ticket, self.now);
        self.carry_out(effects);
    }

    /// The producer as it knows itself, but for what the command says.
    fn producer(&self, name: &str, options: &Options<'_>) -> ProducerIdAndEpoch {
        match options.get("as") {
            Some(producer) => identity(producer),
            None => *self.producers.get(name).expect("it has an identity"),
        }
    }

    fn list(&mut self, options: &Options<'_>) {
        let (states, unknown) = states_named(options.get("state"));
        if !unknown.is_empty() {
            self.told.push(format!("unknown: {}", unknown.join(" ")));
        }
        let producer_ids: Vec<i64> = options.get("pid").map(number).into_iter().collect();
        let matching = options.get("matching").map(|wanted| move |id: &str| id == wanted);
        let filter = ListFilter {
            producer_ids: &producer_ids,
            states: states.as_ref(),
            duration_ms: options.get("longer").map(|duration| time(duration).as_millis() as i64),
            id_matches: matching.as_ref().map(|matches| matches as &dyn Fn(&str) -> bool),
        };
        let listed = self.shard.list(filter, self.now);
        self.told.extend(listed.map(|t| format!("{} {} {}", t.transactional_id, t.producer_id, t.state.name())));
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
        self.take_in(effects);
        if !self.slow {
            self.decide(Ok(()));
        }
    }

    fn take_in(&mut self, effects: Effects) {
        for (ticket, reply) in effects.replies {
            self.deliver(ticket, reply);
        }
        self.undecided.extend(effects.appends);
        for send in effects.sends {
            self.told.push(sent(&send));
            match self.markers_wait {
                true => self.sends.push(send),
                false => self.write_markers(&send),
            }
        }
    }

    fn write_markers(&mut self, send: &WriteMarkers) {
        let written: Vec<_> = send.partitions.iter().map(|p| (p.clone(), MarkerResult::Written)).collect();
        let effects = self.shard.sent(send.id, &written, self.now);
        self.carry_out(effects);
    }

    /// The fate of the oldest append; those after it come through.
    fn decide(&mut self, fate: Result<(), TxnAppendError>) {
        self.slow = false;
        let mut fate = fate;
        while let Some(append) = self.undecided.pop_front() {
            for record in append.records {
                self.told.push(format!("log: {}{}", logged(&record), if fate.is_ok() { "" } else { " FAILS" }));
                if fate.is_ok() {
                    self.log.push(record);
                }
            }
            let effects = self.shard.decided(append.id, fate.map(|()| 0), self.now);
            fate = Ok(());
            self.take_in(effects);
        }
    }

    fn deliver(&mut self, ticket: Ticket, reply: TxnReply) {
        let name = self.waiting.remove(&ticket).expect("a ticket is answered once");
        let told = match reply {
            TxnReply::InitProducerId(Ok(producer)) => {
                self.producers.insert(name.clone(), producer);
                named(producer)
            }
            TxnReply::AddPartitions(result) => ok(&result),
            TxnReply::EndTxn(Ok(None)) => "ok".to_owned(),
            TxnReply::EndTxn(Ok(Some(producer))) => {
                self.producers.insert(name.clone(), producer);
                format!("ok, next {}", named(producer))
            }
            TxnReply::InitProducerId(Err(error)) | TxnReply::EndTxn(Err(error)) => format!("{error:?}"),
        };
        self.told.push(format!("{name}: {told}"));
    }

    fn add_producer_ids(&mut self) {
        self.blocks += 1;
        self.shard.add_producer_ids(1000 * self.blocks..1000 * (self.blocks + 1));
    }

    fn restart(&mut self, unsettled: usize) {
        self.replay(unsettled);
        self.add_producer_ids();
        let effects = self.shard.loaded(self.now);
        self.carry_out(effects);
    }

    fn replay(&mut self, unsettled: usize) {
        self.waiting.clear();
        self.undecided.clear();
        self.sends.clear();
        self.slow = false;
        self.coordinator_epoch += 1;
        self.shard = Shard::new(self.config.clone(), self.coordinator_epoch);
        let settled = self.log.len() - unsettled;
        for (place, record) in self.log.iter().enumerate() {
            let encoded = record.encode().expect("it fits");
            let decoded = Record::decode(&encoded.key, encoded.value.as_deref()).expect("it is well formed");
            let decoded = decoded.expect("we know it");
            if place < settled { self.shard.replay(decoded) } else { self.shard.replay_unsettled(decoded) }
        }
    }

    fn record(&self, state: &str, producer: &str, options: &Options<'_>) -> Record {
        let ProducerIdAndEpoch { producer_id, producer_epoch } = identity(producer);
        let state = TransactionState::ALL.into_iter().find(|known| known.name() == state).expect("a state");
        let transaction = Transaction {
            producer_id,
            producer_epoch,
            previous_producer_id: Some(options.get("previous").map_or(producer_id, number)),
            next_producer_id: options.get("next").map(number),
            last_producer_epoch: options.get("last").map(number),
            timeout_ms: 60_000,
            state,
            partitions: options.get("in").map(partitions_of).into_iter().flatten().collect(),
            start_ms: (state != TransactionState::Empty).then_some(self.now.wall_ms),
            last_update_ms: self.now.wall_ms,
            client_version: options.version(),
        };
        Record { transactional_id: options.id(), value: Some(Value { version: ValueVersion::V1, transaction }) }
    }
}

struct Options<'a>(&'a [&'a str]);

impl<'a> Options<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().position(|word| *word == name).map(|at| self.0[at + 1])
    }

    fn id(&self) -> TransactionalId {
        self.get("of").unwrap_or("x").trim_matches('"').into()
    }

    fn version(&self) -> TransactionVersion {
        if self.0.contains(&"v2") { TransactionVersion::V2 } else { TransactionVersion::V0 }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

fn time(text: &str) -> Duration {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let count: u64 = number(&text[..text.len() - unit.len()]);
    match unit {
        "ms" => Duration::from_millis(count),
        "s" => Duration::from_secs(count),
        "min" => Duration::from_secs(60 * count),
        "h" => Duration::from_secs(60 * 60 * count),
        "d" => Duration::from_secs(24 * 60 * 60 * count),
        _ => panic!("what is {text:?}?"),
    }
}

fn partitions_of(text: &str) -> impl Iterator<Item = TopicPartition> {
    text.split(',').map(|text| {
        let (topic, partition) = text.split_once('-').expect("topic-partition");
        TopicPartition { topic: topic.into(), partition: number(partition) }
    })
}

fn identity(text: &str) -> ProducerIdAndEpoch {
    let (id, epoch) = text.split_once('/').expect("id/epoch");
    ProducerIdAndEpoch { producer_id: number(id), producer_epoch: number(epoch) }
}

fn marker_result(text: &str) -> MarkerResult {
    match text {
        "written" => MarkerResult::Written,
        "unreachable" => MarkerResult::Retriable,
        "deleted" => MarkerResult::Deleted,
        "47" => MarkerResult::ProducerFenced,
        "52" => MarkerResult::CoordinatorFenced,
        _ => panic!("what is {text:?}?"),
    }
}

fn named(ProducerIdAndEpoch { producer_id, producer_epoch }: ProducerIdAndEpoch) -> String {
    format!("{producer_id}/{producer_epoch}")
}

fn ok(result: &Result<(), TxnError>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |()| "ok".to_owned())
}

fn listed<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> String {
    let partitions: BTreeSet<_> = partitions.into_iter().collect();
    partitions.iter().map(|p| format!("{}-{}", p.topic, p.partition)).collect::<Vec<_>>().join(" ")
}

fn sent(WriteMarkers { id, marker, partitions }: &WriteMarkers) -> String {
    let outcome = if marker.outcome == TransactionResult::Commit { "commit" } else { "abort" };
    let (version, epoch) = (marker.transaction_version.level(), marker.coordinator_epoch);
    let producer = ProducerIdAndEpoch { producer_id: marker.producer_id, producer_epoch: marker.producer_epoch };
    let partitions = listed(partitions);
    format!("send {}: {outcome} {} v{version} by coordinator {epoch} to {partitions}", id.0, named(producer))
}

fn describe(described: Result<DescribedTransaction, TxnError>) -> String {
    match described {
        Err(error) => format!("{error:?}"),
        Ok(d) => format!(
            "{} {} timeout {} start {} [{}]",
            d.state.name(),
            named(d.producer),
            d.timeout_ms,
            d.start_ms,
            listed(&d.partitions)
        ),
    }
}

fn logged(Record { transactional_id, value }: &Record) -> String {
    let Some(Value { version, transaction: t }) = value else { return format!("{transactional_id} deleted") };
    let mut told = format!("{transactional_id} {} {}", t.state.name(), named(t.producer()));
    let mut add = |text: String| told.push_str(&text);
    if t.state != TransactionState::Empty {
        add(format!(" [{}]", listed(&t.partitions)));
    }
    if let Some(last) = t.last_producer_epoch {
        add(format!(" last {last}"));
    }
    if let Some(previous) = t.previous_producer_id.filter(|previous| *previous != t.producer_id) {
        add(format!(" previous {previous}"));
    }
    if let Some(next) = t.next_producer_id {
        add(format!(" next {next}"));
    }
    if t.client_version > TransactionVersion::V0 {
        add(format!(" v{}", t.client_version.level()));
    }
    if *version == ValueVersion::V0 {
        add(" (format 0)".to_owned());
    }
    told
}
