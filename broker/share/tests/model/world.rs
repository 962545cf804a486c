//! The share partition, its naive twin, their log and their persister.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ottla_share::*;

use crate::naive::{Naive, Record, State, released, settled};
use crate::persister::Persister;
use crate::{Fate, Op};

const LOCK: Duration = Duration::from_secs(30);

pub struct World {
    config: Config,
    log: Vec<LogBatch>,
    log_start: Offset,
    partition: SharePartition,
    naive: Naive,
    persister: Persister,
    /// Oldest first, numbered.
    writes: VecDeque<(u64, StateWrite)>,
    numbers: u64,
    /// First and last offset of everything that was acquired.
    delivered: Vec<(Offset, Offset)>,
    /// Why a record is done with, for those that are for good.
    done: BTreeMap<Offset, &'static str>,
    now: Duration,
}

fn member(number: usize) -> MemberId {
    MemberId::from(format!("member {number}").as_str())
}

impl World {
    pub fn new(log: &[(i64, i64, bool)]) -> Self {
        let mut end = 0;
        let batch = |&(hole, records, aborted): &(i64, i64, bool)| {
            let first = end + hole;
            end = first + records;
            LogBatch { first, last: end - 1, aborted }
        };
        let log: Vec<LogBatch> = log.iter().map(batch).collect();
        let persister = Persister::default();
        World {
            config: Config { record_lock_duration: LOCK, partition_max_record_locks: 40, ..Config::default() },
            log,
            log_start: 0,
            partition: SharePartition::load(&persister.read()).expect("nothing is wrong with nothing"),
            naive: Naive::default(),
            persister,
            writes: VecDeque::new(),
            numbers: 0,
            delivered: Vec::new(),
            done: BTreeMap::new(),
            now: Duration::ZERO,
        }
    }

    pub(crate) fn run(&mut self, op: &Op) {
        match op {
            Op::Fetch { member, most, limited, size, reading } => {
                self.fetch(*member, *most, *limited, *size, *reading);
            }
            Op::Acknowledge { member, of, skip, records, kinds } => {
                if let Some(&(first, last)) = self.delivered.get(of % self.delivered.len().max(1)) {
                    let first = (first + skip).min(last);
                    self.acknowledge(*member, first, last.min(first + records - 1), kinds);
                }
            }
            Op::Leave(member) => self.leave(*member),
            Op::Pass(seconds) => self.pass(Duration::from_secs(*seconds)),
            Op::Answer(fate) => self.answer(*fate),
            Op::LogStart(records) => {
                self.log_start += records;
                self.move_log_start();
            }
            Op::Compact(index) => {
                // The last one says that those before it are gone, so compaction leaves it.
                if index + 1 < self.log.len() {
                    self.log.remove(*index);
                }
            }
            Op::Limit(limit) => self.config.delivery_count_limit = *limit,
            Op::Locks(locks) => self.config.partition_max_record_locks = *locks,
            Op::Restart => self.restart(),
        }
        self.check();
    }

    /// Lets the persister answer and members fetch until nothing is left: they accept everything, or nothing.
    pub fn finish(&mut self, accepts: bool) {
        let end = self.log.last().map_or(0, |batch| batch.last + 1);
        for _ in 0..1000 {
            while !self.writes.is_empty() {
                self.answer(Fate::Stored);
            }
            if self.partition.next_fetch_offset() >= end && self.partition.start() == self.partition.end() {
                break;
            }
            let acquired = self.fetch(0, 1000, false, 10, 100);
            if accepts && !acquired.is_empty() {
                for part in acquired {
                    self.acknowledge(0, part.first, part.last, &[1]);
                }
            } else {
                self.pass(LOCK);
            }
            self.check();
        }
        assert_eq!(self.partition.in_flight().next(), None, "everything is done with");
        for batch in self.log.iter().filter(|batch| !batch.aborted) {
            for offset in batch.first.max(self.log_start)..=batch.last {
                assert!(self.done.contains_key(&offset), "{offset} was lost");
            }
        }
    }

    fn fetch(&mut self, number: usize, most: i32, limited: bool, size: i32, reading: usize) -> Vec<Acquired> {
        let fetch_offset = self.partition.next_fetch_offset();
        let before = self.partition.clone();
        let read = self.log.iter().filter(|batch| batch.last >= fetch_offset.max(self.log_start));
        let read: Vec<LogBatch> = read.take(reading).copied().collect();
        let member = member(number);
        let request = Acquire {
            member: &member,
            mode: if limited { AcquireMode::RecordLimit } else { AcquireMode::BatchOptimized },
            batch_size: size,
            max_records: most,
            fetch_offset,
            read: &read,
        };
        let acquired = self.partition.acquire(&self.config, self.now, &request);
        let mut count = 0;
        for part in &acquired {
            self.delivered.push((part.first, part.last));
            for offset in part.first..=part.last {
                count += 1;
                assert!(part.delivery_count <= self.config.delivery_count_limit, "{offset} was delivered too often");
                assert!(offset >= self.log_start, "{offset} is before the log's start");
                let held = State::Held { member: number, until: self.now + LOCK, pending: None };
                let held = Record { state: held, count: part.delivery_count };
                let known = self.naive.records.insert(offset, held);
                let known = known.unwrap_or(Record { state: State::Available, count: 0 });
                assert_eq!(known.state, State::Available, "{offset} is acquired");
                assert_eq!(known.count + 1, part.delivery_count, "the count of {offset}");
                let aborted = read.iter().any(|batch| batch.aborted && (batch.first..=batch.last).contains(&offset));
                assert!(!aborted, "{offset} is aborted");
            }
        }
        assert!(!limited || count <= most, "{count} records instead of {most}");
        let locks = i64::from(self.config.partition_max_record_locks);
        if before.end() - before.start() >= locks {
            assert_eq!(self.partition.end(), before.end(), "a full share partition takes nothing new");
        }
        if before.can_acquire(&self.config) && !read.is_empty() && acquired.is_empty() {
            let moved = self.partition.next_fetch_offset() > fetch_offset;
            assert!(moved, "a fetch of what could be acquired comes to nothing");
        }
        self.archived(fetch_offset, &read, limited);
        acquired
    }

    /// What a fetch has archived, or put in flight without acquiring it, each for a reason.
    fn archived(&mut self, fetch_offset: Offset, read: &[LogBatch], limited: bool) {
        let in_flight = self.expanded();
        let base = read.first().map_or(fetch_offset, |batch| batch.first);
        let aborted =
            |offset: Offset| read.iter().any(|batch| batch.aborted && (batch.first..=batch.last).contains(&offset));
        for (&offset, found) in &in_flight {
            match self.naive.records.get_mut(&offset) {
                Some(record) if record == found => {}
                Some(record) => {
                    let missing = (fetch_offset..base).contains(&offset);
                    let exhausted = record.count >= self.config.delivery_count_limit;
                    assert!(record.state == State::Available && found.is_final(), "{offset}: {record:?}, {found:?}");
                    assert!(missing || exhausted || aborted(offset), "{offset} was archived for no reason");
                    *record = *found;
                }
                None => {
                    let rest = limited && *found == Record { state: State::Available, count: 0 };
                    let is_new = offset >= fetch_offset && (rest || (found.is_final() && aborted(offset)));
                    assert!(is_new, "{offset} is in flight for no reason: {found:?}");
                    self.naive.records.insert(offset, *found);
                }
            }
        }
        let start = self.partition.start();
        let passed = self.naive.records.iter_mut().filter(|(offset, record)| **offset < start && !record.is_final());
        for (offset, record) in passed {
            let missing = (fetch_offset..base).contains(offset);
            let exhausted = record.count >= self.config.delivery_count_limit;
            assert_eq!(record.state, State::Available, "the start has passed {offset}");
            assert!(missing || exhausted || aborted(*offset), "the start has passed {offset}");
            record.state = State::Final(DeliveryState::Archived);
        }
        for (offset, record) in &self.naive.records {
            if record.is_final() && record.count >= self.config.delivery_count_limit {
                self.done.entry(*offset).or_insert("exhausted");
            }
        }
    }

    fn acknowledge(&mut self, number: usize, first: Offset, last: Offset, kinds: &[i8]) {
        let kinds = if kinds.len() as i64 > last - first { &kinds[..(last - first + 1) as usize] } else { &kinds[..1] };
        let batches = [AcknowledgementBatch { first, last, types: kinds.to_vec() }];
        let member = member(number);
        let request = Acknowledge { member: &member, batches: &batches, may_renew: true };
        let before = self.partition.clone();
        let answer = self.partition.acknowledge(&self.config, self.now, &request);

        let offsets = first.max(self.partition.start())..=last;
        let held =
            |record: &Record| matches!(record.state, State::Held { member, pending: None, .. } if member == number);
        let known: Vec<(Offset, Record)> =
            offsets.clone().filter_map(|offset| Some((offset, *self.naive.records.get(&offset)?))).collect();
        let all_held = known.iter().all(|(_, record)| held(record));
        let write = match answer {
            Err(_) => {
                assert!(!all_held || known.len() < offsets.count(), "{first}-{last} was refused for no reason");
                let same = before.in_flight().eq(self.partition.in_flight());
                assert!(same && before.next_deadline() == self.partition.next_deadline(), "a refusal changes nothing");
                return;
            }
            Ok(write) => write,
        };
        assert!(all_held, "{first}-{last} is not held by {number}");
        let mut changes = BTreeMap::new();
        for (offset, record) in known {
            let kind = if kinds.len() == 1 { kinds[0] } else { kinds[(offset - first) as usize] };
            let state = match kind {
                1 => DeliveryState::Acknowledged,
                2 => released(&record, self.config.delivery_count_limit),
                4 => {
                    let renewed = State::Held { member: number, until: self.now + LOCK, pending: None };
                    self.naive.records.insert(offset, Record { state: renewed, ..record });
                    continue;
                }
                _ => DeliveryState::Archived,
            };
            changes.insert(offset, state);
        }
        self.wait_for(write, &changes);
    }

    fn leave(&mut self, number: usize) {
        let losing = self.naive.losing(Some(number), None, self.config.delivery_count_limit);
        let write = self.partition.release(&self.config, &member(number));
        self.wait_for(write, &losing);
    }

    fn wait_for(&mut self, write: Option<StateWrite>, changes: &BTreeMap<Offset, DeliveryState>) {
        self.numbers += 1;
        self.naive.pend(self.numbers, changes);
        let Some(write) = write else { return assert!(changes.is_empty(), "nothing is persisted of {changes:?}") };
        self.naive.check_write(&write, changes);
        self.writes.push_back((self.numbers, write));
    }

    fn pass(&mut self, duration: Duration) {
        self.now += duration;
        let losing = self.naive.losing(None, Some(self.now), self.config.delivery_count_limit);
        let write = self.partition.expire(&self.config, self.now);
        for (offset, state) in &losing {
            let record = self.naive.records.get_mut(offset).expect("a lock is on a record");
            record.state = settled(*state);
            if record.is_final() {
                self.done.insert(*offset, "exhausted");
            }
        }
        let Some(write) = write else { return assert!(losing.is_empty(), "these locks are over: {losing:?}") };
        self.naive.check_write(&write, &losing);
        self.numbers += 1;
        self.writes.push_back((self.numbers, write));
    }

    fn answer(&mut self, fate: Fate) {
        let Some((number, write)) = self.writes.pop_front() else { return };
        let (stored, answer) = match fate {
            Fate::Stored => (true, Ok(())),
            Fate::Failed => (false, Err(PersisterError::CoordinatorNotAvailable)),
            Fate::Unknown => (true, Err(PersisterError::Unknown)),
        };
        if stored {
            self.persister.store(&write);
            for batch in write.batches.iter().filter(|batch| batch.state != DeliveryState::Available) {
                self.done.extend((batch.first..=batch.last).map(|offset| (offset, "persisted")));
            }
        }
        self.partition.settle(&write, answer);
        self.naive.settle(number, answer.is_ok());
    }

    fn move_log_start(&mut self) {
        self.partition.move_log_start(self.log_start);
        self.naive.records = self.naive.records.split_off(&self.log_start);
    }

    /// The next leader knows what is persisted, and nothing else.
    fn restart(&mut self) {
        self.writes.clear();
        let stored = self.persister.read();
        self.partition = SharePartition::load(&stored).expect("what was persisted can be read");
        self.naive.records.clear();
        for (offset, (state, count)) in &self.persister.records {
            self.naive.records.insert(*offset, Record { state: settled(*state), count: *count });
        }
        let read = self.expanded();
        for (offset, record) in &self.naive.records {
            let passed = *offset < self.partition.start() && record.is_final();
            assert!(passed || read.get(offset) == Some(record), "{offset} was persisted as {record:?}");
        }
        self.move_log_start();
    }

    /// Both are the same.
    fn check(&mut self) {
        let start = self.partition.start();
        for (offset, record) in self.naive.records.range(..start) {
            assert!(record.is_final(), "the start has passed {offset}: {record:?}");
        }
        self.naive.records = self.naive.records.split_off(&start);
        assert_eq!(self.expanded(), self.naive.records);
        assert!(
            start <= self.partition.next_fetch_offset() && self.partition.next_fetch_offset() <= self.partition.end()
        );
        let deadlines = self.naive.records.values().filter_map(|record| match record.state {
            State::Held { until, pending: None, .. } => Some(until),
            State::Held { .. } | State::Available | State::Final(_) => None,
        });
        assert_eq!(self.partition.next_deadline(), deadlines.min());
    }

    /// Each record in flight by itself. Locks and the numbers of writes are the naive one's, where they agree.
    fn expanded(&self) -> BTreeMap<Offset, Record> {
        let mut records = BTreeMap::new();
        for run in self.partition.in_flight() {
            for offset in run.first..=run.last {
                let known = self.naive.records.get(&offset).map(|record| record.state);
                let state = match &run.state {
                    RecordState::Available => State::Available,
                    RecordState::Acknowledged => State::Final(DeliveryState::Acknowledged),
                    RecordState::Archived => State::Final(DeliveryState::Archived),
                    RecordState::Acquired { member: by, becomes } => match known {
                        Some(State::Held { member: holder, until, pending })
                            if *by == member(holder) && *becomes == pending.map(|(_, state)| state) =>
                        {
                            State::Held { member: holder, until, pending }
                        }
                        known => panic!("{offset} is held by {by}, becomes {becomes:?}; expected {known:?}"),
                    },
                };
                records.insert(offset, Record { state, count: run.delivery_count });
            }
        }
        records
    }
}
