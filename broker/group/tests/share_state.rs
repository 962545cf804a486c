//! The share coordinator: its stories, and random runs of it.
//!
//! `tests/stories/share_state.txt` shows what leaders and group coordinators ask, and what the share coordinator
//! answers and writes down. The random runs check that memory is what the log says, whatever becomes of the appends.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ottla_group::share_state::{
    Config, Effects, Record, Request, Shard, ShareGroupState, SharePartition, StateAppend, StateBatch, StateReply,
    Update, Value, WriteState,
};
use ottla_group::{GroupAppendError, Now, Ticket, Topic, Topics};
use ottla_wire::Uuid;
use proptest::prelude::*;

#[test]
fn share_state() {
    ottla_stories::play::<World>(env!("CARGO_MANIFEST_DIR"), "share_state");
}

/// The topic `t`, whose partitions are `0` to `3`.
const TOPIC: Uuid = Uuid::from_u128(1);

/// Commands. A number is a partition of the topic `t`.
///
/// - `initialize 0 [state 1] [from 5]`, `read 0 [leader 3]`, `summarize 0`, `delete 0`
/// - `write 0 [state 1] [leader 3] [from 5] [done 2] [0-4:2x1 5-9:0x1]`: a batch is its offsets, state and count
/// - `300s pass`, `the topic is deleted`, `a snapshot follows 2 updates`
/// - `the log is slow` (appends wait), `the log catches up`, `the log fails once` (the oldest append), `the log takes
///   too long` (the oldest append may still come through), `records before 3 are deleted`
/// - `restart [unsettled 1]`: the log is replayed, the last records as not known to be committed; `the log is
///   committed`; `unload`
struct World {
    shard: Shard,
    config: Config,
    now: Now,
    log: Vec<Record>,
    log_start: i64,
    slow: bool,
    undecided: VecDeque<StateAppend>,
    waiting: HashMap<Ticket, String>,
    tickets: u64,
    told: Vec<String>,
}

impl Default for World {
    fn default() -> Self {
        let config = Config::default();
        let mut world = World {
            shard: Shard::new(config.clone(), 0),
            config,
            now: Now { monotonic: Duration::ZERO, wall_ms: 1_000_000 },
            log: Vec::new(),
            log_start: 0,
            slow: false,
            undecided: VecDeque::new(),
            waiting: HashMap::new(),
            tickets: 0,
            told: Vec::new(),
        };
        world.restart(0);
        world
    }
}

impl ottla_stories::World for World {
    fn command(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let option = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
        let or = |name: &str, default: i64| option(name).map_or(default, |text| text.parse().expect("a number"));
        let epoch = |name: &str| or(name, -1) as i32;
        match words[..] {
            ["initialize", partition, ..] => {
                let request = Request::Initialize { state_epoch: or("state", 0) as i32, start_offset: or("from", -1) };
                self.request(partition, request);
            }
            ["read", partition, ..] => self.request(partition, Request::Read { leader_epoch: epoch("leader") }),
            ["write", partition, ..] => {
                let batches = words.iter().filter(|word| word.contains(':')).map(|word| batch(word)).collect();
                let write = WriteState {
                    state_epoch: epoch("state"),
                    leader_epoch: epoch("leader"),
                    start_offset: or("from", -1),
                    delivery_complete_count: epoch("done"),
                    batches,
                };
                self.request(partition, Request::Write(write));
            }
            ["delete", partition] => self.request(partition, Request::Delete),
            ["summarize", partition] => self.request(partition, Request::Summarize),
            [duration, "pass"] => {
                let passed = Duration::from_secs(duration.trim_end_matches('s').parse().expect("seconds"));
                self.now.monotonic += passed;
                self.now.wall_ms += passed.as_millis() as i64;
                if self.shard.next_deadline().is_some_and(|due| due <= self.now.monotonic) {
                    let effects = self.shard.tick(self.now);
                    self.carry_out(effects);
                }
            }
            ["the", "topic", "is", "deleted"] => {
                let effects = self.shard.delete_topics(&BTreeSet::from([TOPIC]));
                self.carry_out(effects);
            }
            ["a", "snapshot", "follows", updates, "updates"] => {
                self.config.updates_per_snapshot = updates.parse().expect("a number");
                self.shard.set_config(self.config.clone());
            }
            ["the", "log", "is", "slow"] => self.slow = true,
            ["the", "log", "catches", "up"] => {
                self.slow = false;
                while let Some(append) = self.undecided.pop_front() {
                    self.decide(append, Ok(()));
                }
            }
            ["the", "log", "fails", "once"] => {
                let oldest = self.undecided.pop_front().expect("something waits");
                self.decide(oldest, Err(GroupAppendError::NotCommitted));
            }
            ["the", "log", "takes", "too", "long"] => {
                let oldest = self.undecided.front().expect("something waits").id;
                let effects = self.shard.delayed(oldest);
                self.carry_out(effects);
            }
            ["records", "before", offset, "are", "deleted"] => {
                let offset = offset.parse().expect("an offset");
                self.log.drain(..(offset - self.log_start) as usize);
                self.log_start = offset;
                self.shard.deleted(offset);
            }
            ["restart", ..] => self.restart(or("unsettled", 0) as usize),
            ["the", "log", "is", "committed"] => self.shard.settled(),
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
    fn restart(&mut self, unsettled: usize) {
        self.shard = Shard::new(self.config.clone(), self.log_start);
        self.shard.set_topics(Arc::new(topics()));
        let settled = self.log.len() - unsettled;
        for (index, record) in self.log.iter().enumerate() {
            let offset = self.log_start + index as i64;
            // what is read is what was written
            let record = read_back(record);
            if index < settled {
                self.shard.replay(offset, &record);
            } else {
                self.shard.replay_unsettled(offset, &record);
            }
        }
        let effects = self.shard.loaded(self.now);
        self.carry_out(effects);
    }

    fn request(&mut self, name: &str, request: Request) {
        let partition = partition(name.parse().expect("a number"));
        if !self.shard.is_settled(&partition) {
            return self.told.push(format!("{name}: CoordinatorLoadInProgress"));
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, name.to_owned());
        let effects = self.shard.request(&partition, request, ticket, self.now);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Effects) {
        let Effects { replies, appends, delete_before } = effects;
        for (ticket, reply) in replies {
            let name = self.waiting.remove(&ticket).expect("a ticket is answered once");
            self.told.push(format!("{name}: {}", tell(&reply)));
        }
        self.told.extend(delete_before.map(|offset| format!("delete before {offset}")));
        for append in appends {
            if self.slow {
                self.undecided.push_back(append);
            } else {
                self.decide(append, Ok(()));
            }
        }
    }

    fn decide(&mut self, append: StateAppend, fate: Result<(), GroupAppendError>) {
        let StateAppend { id, records } = append;
        let first = self.log_start + self.log.len() as i64;
        if fate.is_ok() {
            for (offset, record) in (first..).zip(&records) {
                self.told.push(format!("{offset}: {}", tell_record(record)));
            }
            self.log.extend(records);
        }
        let effects = self.shard.decided(id, fate.map(|()| first), self.now);
        self.carry_out(effects);
    }
}

fn topics() -> Topics {
    Topics::default().next([("t", Topic { id: TOPIC, partitions: 4 })])
}

fn partition(partition: i32) -> SharePartition {
    SharePartition { group: "g".into(), topic_id: TOPIC, partition }
}

fn read_back(record: &Record) -> Record {
    let encoded = record.encode().expect("a short id");
    let decoded = Record::decode(&encoded.key, encoded.value.as_deref());
    decoded.expect("a record").expect("of a known type")
}

fn batch(text: &str) -> StateBatch {
    let numbers: Vec<i64> = text.split(['-', ':', 'x']).map(|number| number.parse().expect("a number")).collect();
    let [first_offset, last_offset, state, count] = numbers[..] else { panic!("what is {text}?") };
    StateBatch { first_offset, last_offset, delivery_state: state as i8, delivery_count: count as i16 }
}

fn tell_batches(batches: &[StateBatch]) -> String {
    let tell = |batch: &StateBatch| {
        let StateBatch { first_offset, last_offset, delivery_state, delivery_count } = batch;
        format!("{first_offset}-{last_offset}:{delivery_state}x{delivery_count}")
    };
    format!("[{}]", batches.iter().map(tell).collect::<Vec<_>>().join(" "))
}

fn tell_record(record: &Record) -> String {
    let number = record.partition.partition;
    match &record.value {
        Value::Deleted => format!("{number} deleted"),
        Value::Snapshot(ShareGroupState {
            snapshot_epoch,
            state_epoch,
            leader_epoch,
            start_offset,
            delivery_complete_count,
            batches,
            created_ms,
            written_ms,
        }) => format!(
            "{number} snapshot {snapshot_epoch} state {state_epoch} leader {leader_epoch} from {start_offset} done \
             {delivery_complete_count} {} of {created_ms} at {written_ms}",
            tell_batches(batches)
        ),
        Value::Update(Update { snapshot_epoch, leader_epoch, start_offset, delivery_complete_count, batches }) => {
            format!(
                "{number} update of {snapshot_epoch} leader {leader_epoch} from {start_offset} done \
                 {delivery_complete_count} {}",
                tell_batches(batches)
            )
        }
    }
}

fn tell(reply: &StateReply) -> String {
    match reply {
        StateReply::Initialize(Ok(())) | StateReply::Write(Ok(())) | StateReply::Delete(Ok(())) => "ok".to_owned(),
        StateReply::Read(Ok(read)) => {
            format!("state {} from {} {}", read.state_epoch, read.start_offset, tell_batches(&read.batches))
        }
        StateReply::Summarize(Ok(it)) => format!(
            "state {} leader {} from {} done {}",
            it.state_epoch, it.leader_epoch, it.start_offset, it.delivery_complete_count
        ),
        StateReply::Initialize(Err(error))
        | StateReply::Read(Err(error))
        | StateReply::Write(Err(error))
        | StateReply::Delete(Err(error))
        | StateReply::Summarize(Err(error)) => format!("{error:?}"),
    }
}

/// What may happen in a random run.
#[derive(Clone, Debug)]
enum Event {
    Ask(i32, Request),
    Commit,
    Fail,
    Delay,
    Pass,
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let epoch = -1_i32..4;
    let batch = (0_i64..20, 0_i64..5, 1_i16..4, prop::sample::select(vec![0_i8, 2, 4]));
    let batch = batch.prop_map(|(first_offset, more, delivery_count, delivery_state)| StateBatch {
        first_offset,
        last_offset: first_offset + more,
        delivery_count,
        delivery_state,
    });
    let write = (epoch.clone(), epoch.clone(), -1_i64..10, -1_i32..3, prop::collection::vec(batch, 0..4));
    let write = write.prop_map(|(state_epoch, leader_epoch, start_offset, delivery_complete_count, batches)| {
        Request::Write(WriteState { state_epoch, leader_epoch, start_offset, delivery_complete_count, batches })
    });
    let initialize = (epoch.clone(), -1_i64..10)
        .prop_map(|(state_epoch, start_offset)| Request::Initialize { state_epoch, start_offset });
    let request = prop_oneof![
        2 => initialize,
        2 => epoch.prop_map(|leader_epoch| Request::Read { leader_epoch }),
        5 => write,
        1 => Just(Request::Delete),
        1 => Just(Request::Summarize),
    ];
    let event = prop_oneof![
        12 => (0..3, request).prop_map(|(partition, request)| Event::Ask(partition, request)),
        8 => Just(Event::Commit),
        2 => Just(Event::Fail),
        1 => Just(Event::Delay),
        2 => Just(Event::Pass),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// After each event a new shard that reads the log, from where records were not deleted, knows what the shard
    /// knows; and every ticket is answered once, those that wait at the latest when the shard is unloaded.
    #[test]
    fn memory_is_what_the_log_says(events in events()) {
        let mut world = World { slow: true, ..World::default() };
        world.config.updates_per_snapshot = 3;
        world.shard.set_config(world.config.clone());
        for event in events {
            match event {
                Event::Ask(partition, request) => world.request(&partition.to_string(), request),
                Event::Commit => {
                    if let Some(append) = world.undecided.pop_front() {
                        world.decide(append, Ok(()));
                    }
                }
                Event::Fail => {
                    if let Some(append) = world.undecided.pop_front() {
                        world.decide(append, Err(GroupAppendError::NotLeader));
                    }
                }
                Event::Delay => {
                    if let Some(append) = world.undecided.front() {
                        let effects = world.shard.delayed(append.id);
                        world.carry_out(effects);
                    }
                }
                Event::Pass => {
                    world.now.monotonic += Duration::from_secs(300);
                    world.now.wall_ms += 300_000;
                    let effects = world.shard.tick(world.now);
                    if let Some(offset) = effects.delete_before {
                        prop_assert!(offset > world.log_start && offset <= world.log_start + world.log.len() as i64);
                        world.log.drain(..(offset - world.log_start) as usize);
                        world.log_start = offset;
                        world.shard.deleted(offset);
                    }
                    world.carry_out(effects);
                }
                Event::Restart => {
                    let shard = std::mem::replace(&mut world.shard, Shard::new(world.config.clone(), 0));
                    let replies = shard.unload();
                    world.carry_out(Effects { replies, ..Effects::default() });
                    prop_assert!(world.waiting.is_empty());
                    world.undecided.clear();
                    world.restart(0);
                }
            }
            let mut again = Shard::new(world.config.clone(), world.log_start);
            for (offset, record) in (world.log_start..).zip(&world.log) {
                again.replay(offset, record);
            }
            for number in 0..3 {
                prop_assert_eq!(again.state(&partition(number)), world.shard.state(&partition(number)));
            }
        }
        while let Some(append) = world.undecided.pop_front() {
            world.decide(append, Ok(()));
        }
        prop_assert!(world.waiting.is_empty());
    }

    /// A leader that was fenced stays so, whatever is deleted, initialised or read again, until the state is deleted.
    #[test]
    fn an_older_leader_is_never_heard(events in events()) {
        let mut world = World::default();
        world.config.updates_per_snapshot = 3;
        world.shard.set_config(world.config.clone());
        world.request("0", Request::Initialize { state_epoch: 0, start_offset: -1 });
        world.request("0", Request::Read { leader_epoch: 7 });
        for event in events {
            match event {
                Event::Ask(_, Request::Delete) | Event::Commit | Event::Fail | Event::Delay => {}
                Event::Ask(partition, request) => world.request(&partition.to_string(), request),
                Event::Pass => {
                    world.now.monotonic += Duration::from_secs(300);
                    world.now.wall_ms += 300_000;
                    let effects = world.shard.tick(world.now);
                    if let Some(offset) = effects.delete_before {
                        world.log.drain(..(offset - world.log_start) as usize);
                        world.log_start = offset;
                        world.shard.deleted(offset);
                    }
                    world.carry_out(effects);
                }
                Event::Restart => world.restart(0),
            }
            world.told.clear();
            world.request("0", Request::Read { leader_epoch: 6 });
            prop_assert_eq!(&world.told, &["0: FencedLeaderEpoch"]);
        }
    }
}
