//! The input of a job that consumes, transforms and produces: a member of a group, which reads the partitions that it
//! is assigned with read_committed. Each part that it reads becomes a transaction of the job's producer
//! ([`crate::transactional`]), which commits the group's offset along with what was made of it.
//!
//! As an application does it by KIP-447: it asks with `require_stable` where to begin; it leaves the group, or says
//! that it has let go of a partition, only when the transaction has ended that takes input there; and after an abort it
//! asks again where it is.

use std::time::Duration;

use anyhow::{Result, bail};
use ottla_wire::m09_offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::{Bytes, ErrorCode, FetchRequest, Records, decode_response};

use crate::client::{Consumer, FETCH, OFFSET_FETCH, bytes};
use crate::judges::Judges;
use crate::member::{self, Member, Protocol};
use crate::random::Random;
use crate::topics::{self, GROUPS, JOBS, OFFSETS, PARTITIONS};
use crate::transactional::{Taken, has_no_place};

/// How often a member says that it is there.
const BEAT: Duration = Duration::from_secs(2);

/// The input of a job.
pub(crate) struct Input {
    pub group: usize,
    member: Member,
    /// The job's number, in the records that it writes as well.
    number: u32,
    /// Members that it has been.
    members: u32,
    /// When it has asked for its membership last.
    beaten: Duration,
    /// What it reads, of the partitions whose offsets it knows.
    readers: [Option<Consumer>; PARTITIONS],
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    Member(member::Turn),
    /// Where the group is in a partition, and how far it must be.
    Position {
        partition: usize,
        known: Option<i64>,
    },
    Fetch(usize),
}

/// What an answer means.
#[derive(Debug)]
pub(crate) enum Heard {
    /// It is done.
    Done,
    /// A transaction is about to change the group's offset.
    Unstable,
    /// There is input, of which it is to make something.
    Input(Taken),
    /// It is refused.
    Refused(ErrorCode),
}

impl Input {
    /// Of the job with this number, among those of the group.
    pub(crate) fn new(group: usize, number: u32) -> Input {
        let member = member(group, number, 0);
        Input { group, member, number, members: 0, beaten: Duration::ZERO, readers: [const { None }; PARTITIONS] }
    }

    /// Its producer is another one now: it does not know what became of the last transaction.
    pub(crate) fn begin_again(&mut self, number: u32) {
        self.number = number;
        self.forget();
    }

    /// It ends, without a word.
    pub(crate) fn end(&mut self) {
        self.member.end();
    }

    /// It does not know any more where it is.
    pub(crate) fn forget(&mut self) {
        self.readers = [const { None }; PARTITIONS];
    }

    /// What the member has to say, if it is time for that; `takes` is the partition of which a transaction takes input.
    pub(crate) fn beat(&mut self, takes: Option<usize>, now: Duration) -> Option<(Turn, usize, Vec<u8>)> {
        let is_member = self.member.standing().is_some();
        let has_let_go = takes.is_some_and(|partition| !self.member.partitions().contains(&partition));
        if has_let_go || (takes.is_some() && !is_member) || (is_member && now - self.beaten < BEAT) {
            return None;
        }
        if self.member.is_over() {
            self.members += 1;
            self.member = member(self.group, self.number, self.members);
        }
        let (turn, bytes) = self.member.stay()?;
        self.beaten = now;
        Some((Turn::Member(turn), OFFSETS, bytes))
    }

    /// What to read next, and from the leader of which entry.
    pub(crate) fn read(
        &mut self,
        random: &mut Random,
        judges: &Judges,
        now: Duration,
    ) -> Option<(Turn, usize, Vec<u8>)> {
        let (member, epoch) = self.member.standing()?;
        let partition = *random.pick(self.member.partitions())?;
        if let Some(reader) = &mut self.readers[partition] {
            return Some((Turn::Fetch(partition), partition, reader.fetch(now)));
        }
        let known = judges.known_commit(self.group, partition);
        let topic = OffsetFetchRequestTopics {
            name: topics::NAME.into(),
            partition_indexes: vec![partition as i32],
            ..OffsetFetchRequestTopics::default()
        };
        let is_of_consumers = protocol(self.group) == Protocol::Consumer;
        let group = OffsetFetchRequestGroup {
            group_id: GROUPS[self.group].into(),
            member_id: is_of_consumers.then_some(member),
            member_epoch: if is_of_consumers { epoch } else { -1 },
            topics: Some(vec![topic]),
        };
        let request = OffsetFetchRequest { groups: vec![group], require_stable: true, ..OffsetFetchRequest::default() };
        Some((Turn::Position { partition, known }, OFFSETS, bytes(0, OFFSET_FETCH, &request)))
    }

    /// What the answer to `turn` means; `is_sure`: of the one that is the group's coordinator.
    pub(crate) fn answered(&mut self, turn: Turn, frame: Bytes, is_sure: bool, judges: &mut Judges) -> Result<Heard> {
        match turn {
            Turn::Member(turn) => {
                let heard = self.member.answered(turn, frame)?;
                for (partition, reader) in self.readers.iter_mut().enumerate() {
                    reader.take_if(|_| !self.member.partitions().contains(&partition));
                }
                match heard {
                    member::Heard::Done | member::Heard::Committed { .. } => Ok(Heard::Done),
                    member::Heard::Refused(code) => Ok(Heard::Refused(code)),
                }
            }
            Turn::Position { partition, known } => self.found(partition, known, frame, is_sure, judges),
            Turn::Fetch(partition) => self.fetched(partition, frame, judges),
        }
    }

    fn found(
        &mut self,
        partition: usize,
        known: Option<i64>,
        frame: Bytes,
        is_sure: bool,
        judges: &mut Judges,
    ) -> Result<Heard> {
        let (_, response) = decode_response::<OffsetFetchRequest>(OFFSET_FETCH, frame)?;
        let Some(group) = response.groups.into_iter().next() else { bail!("no group in an answer") };
        let found = group.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let offset = match (group.error_code, found) {
            (ErrorCode::NONE, Some(found)) if found.error_code == ErrorCode::NONE => found.committed_offset,
            (ErrorCode::NONE, Some(found)) if found.error_code == ErrorCode::UNSTABLE_OFFSET_COMMIT => {
                return Ok(Heard::Unstable);
            }
            (ErrorCode::NONE, found) => {
                return Ok(Heard::Refused(found.map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |found| found.error_code)));
            }
            (code, _) => {
                if has_no_place(code) && code != ErrorCode::STALE_MEMBER_EPOCH {
                    self.member.end();
                }
                return Ok(Heard::Refused(code));
            }
        };
        if !is_sure {
            // One that is the coordinator no more may not know what was committed since.
            return Ok(Heard::Refused(ErrorCode::NOT_COORDINATOR));
        }
        let offset = Some(offset).filter(|offset| *offset >= 0);
        judges.read_stable(self.group, partition, offset, known)?;
        let mut reader = Consumer { is_committed: true, ..Consumer::new(self.number, partition, None) };
        reader.seek(offset.unwrap_or(0), judges);
        self.readers[partition] = Some(reader);
        Ok(Heard::Done)
    }

    fn fetched(&mut self, partition: usize, frame: Bytes, judges: &mut Judges) -> Result<Heard> {
        let (_, response) = decode_response::<FetchRequest>(FETCH, frame)?;
        let data = response.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let (Some(reader), Some(data)) = (&mut self.readers[partition], data) else { return Ok(Heard::Done) };
        if data.error_code != ErrorCode::NONE {
            return Ok(Heard::Refused(data.error_code));
        }
        let records = data.records.as_ref().and_then(Records::as_bytes).cloned().unwrap_or_default();
        let aborted = data.aborted_transactions.unwrap_or_default();
        let aborted: Vec<_> = aborted.iter().map(|one| (one.producer_id, one.first_offset)).collect();
        let before = reader.position;
        let passed = match reader.take(records, &aborted, judges) {
            Ok(passed) => passed,
            Err(damage) => bail!("job {} was sent a damaged batch: {damage}", self.number),
        };
        let offsets = before..reader.position;
        let Some((member, generation)) = self.member.standing().filter(|_| passed > 0) else { return Ok(Heard::Done) };
        Ok(Heard::Input(Taken { group: self.group, member, generation, partition, offsets }))
    }
}

fn member(group: usize, number: u32, members: u32) -> Member {
    Member::new(GROUPS[group], protocol(group), number * 1_000 + members)
}

fn protocol(group: usize) -> Protocol {
    if group == JOBS { Protocol::Classic } else { Protocol::Consumer }
}
