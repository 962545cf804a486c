//! Transactions of a partition: the verification that comes before the first batch of one, and the marker that ends it.

use ottla_batch::{Batch, BatchHeader, Marker, marker_batch};
use ottla_log::VerificationGuard;
use ottla_log::producers::Producer;
use parking_lot::MutexGuard;

use super::{AppendError, Appended, Partition, PartitionState};
use crate::env;
use crate::image::LeaderEpoch;
use crate::replica::not_served::NotServed;

/// What a marker says, as in WriteTxnMarkers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionEnd {
    /// Whose transaction ends.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// How it ends.
    pub marker: Marker,
    /// 0 where the request has none.
    pub transaction_version: i8,
}

/// A producer that a partition remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActiveProducer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The last sequence of its last batch; `None` if there is no batch.
    pub last_sequence: Option<i32>,
    /// The timestamp of its last batch or marker, in milliseconds since 1970; −1 if it is not known.
    pub last_timestamp: i64,
    /// That of its last marker; −1 if there is none.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction; `None`: it has none open.
    pub transaction_start: Option<i64>,
}

impl Partition {
    /// The producers that this partition remembers, by id.
    ///
    /// # Errors
    /// That this broker does not lead it.
    pub fn active_producers(&self) -> Result<Vec<ActiveProducer>, NotServed> {
        let state = self.leading(LeaderEpoch::NONE)?;
        let mut active: Vec<_> = state.log.producers().iter().map(|(id, producer)| active(id, producer)).collect();
        active.sort_by_key(|producer| producer.id);
        Ok(active)
    }

    /// Begins to verify a transactional batch of a client: gives the guard with which it must come back once the
    /// transaction coordinator has said that the partition is part of the transaction. `None` when there is nothing to
    /// ask: the transaction is open here. `supports_epoch_bump`: the request gives each transaction an epoch of its own
    /// (Produce from version 12 on, KIP-890).
    ///
    /// # Errors
    /// `NotServed`, and `Producer` with a stale epoch.
    pub fn begin_verification(
        &self,
        batch: &BatchHeader,
        supports_epoch_bump: bool,
    ) -> Result<Option<VerificationGuard>, AppendError> {
        let mut state = self.leading(LeaderEpoch::NONE)?;
        Ok(state.log.begin_verification(batch, supports_epoch_bump, env::wall_clock_ms())?)
    }

    /// Appends a transactional batch of a client, which is valid and was verified: with the guard, or without one where
    /// there was nothing to ask.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended then.
    pub fn append_verified(
        &self,
        batch: &Batch,
        acks_all: bool,
        guard: Option<VerificationGuard>,
    ) -> Result<Appended, AppendError> {
        self.append_valid(batch, acks_all, guard, env::wall_clock_ms())
    }

    /// Appends the marker of a transaction for its coordinator, as with acks=all. `transaction_version` as in
    /// WriteTxnMarkers, 0 where the request has none. With a `leader_epoch` other than −1 only in that epoch.
    ///
    /// # Errors
    /// See [`AppendError`], of `Producer` those of [`ottla_log::Producers::check_marker`]; nothing was appended then.
    pub fn append_marker(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        marker: Marker,
        transaction_version: i8,
        leader_epoch: LeaderEpoch,
    ) -> Result<Appended, AppendError> {
        let end = TransactionEnd { producer_id, producer_epoch, marker, transaction_version };
        self.append_end(self.leading(leader_epoch)?, end)
    }

    /// The same for a partition with a coordinator, while this broker leads without a break since `since_epoch`.
    ///
    /// # Errors
    /// See [`Partition::append_marker`].
    pub fn append_own_marker(&self, end: TransactionEnd, since_epoch: LeaderEpoch) -> Result<Appended, AppendError> {
        self.append_end(self.leading_since(since_epoch)?, end)
    }

    fn append_end(&self, state: MutexGuard<'_, PartitionState>, end: TransactionEnd) -> Result<Appended, AppendError> {
        let TransactionEnd { producer_id, producer_epoch, marker, transaction_version } = end;
        state.log.producers().check_marker(producer_id, producer_epoch, marker, transaction_version)?;
        let now_ms = env::wall_clock_ms();
        self.append(state, &marker_batch(producer_id, producer_epoch, marker, now_ms), true, None, now_ms)
    }
}

fn active(id: i64, producer: &Producer) -> ActiveProducer {
    ActiveProducer {
        id,
        epoch: producer.epoch,
        last_sequence: producer.batches.back().map(|batch| batch.last_sequence),
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        transaction_start: producer.transaction_start,
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use bytes::Bytes;
    use ottla_batch::{BatchBuilder, Codec, ControlRecordType, NewRecord, Stamped};
    use ottla_log::ProducerError;

    use super::super::fixtures::{Fixture, batch, member};
    use super::super::following::Copied;
    use super::super::reading::{Bound, FoundOffset, OffsetSpec, Read, ReadFrom, Reader};
    use super::*;
    use crate::image::IsrMember;

    const COMMITTED_ONLY: Reader = Reader::Roaming(Bound::LastStable);

    fn in_transaction(producer_id: i64, base_sequence: i32) -> Batch {
        let mut builder = BatchBuilder::new(Codec::None).producer(producer_id, 0, base_sequence).transactional();
        builder.push(NewRecord { value: Some(&[7; 100]), ..NewRecord::default() });
        builder.build()
    }

    fn append(partition: &Partition, batch: &Batch) -> Result<Appended, AppendError> {
        let guard = match batch.header().is_transactional() {
            true => partition.begin_verification(batch.header(), false)?,
            false => None,
        };
        partition.append_verified(batch, true, guard)
    }

    fn end(partition: &Partition, producer_id: i64, outcome: ControlRecordType) -> Result<Appended, AppendError> {
        partition.append_marker(producer_id, 0, Marker { outcome, coordinator_epoch: 0 }, 1, LeaderEpoch::NONE)
    }

    /// Both followers have everything before `offset`.
    fn replicate(partition: &Partition, offset: i64) {
        for IsrMember { broker, incarnation } in [member(1), member(2)] {
            let from = ReadFrom {
                offset,
                current_leader_epoch: LeaderEpoch::NONE,
                last_fetched_epoch: LeaderEpoch::NONE,
                log_start: 0,
            };
            partition.read(&from, 1, true, 1, Reader::Follower { broker, incarnation, again: false }).unwrap();
        }
    }

    fn read(partition: &Partition, offset: i64, max_bytes: usize, reader: Reader) -> Read {
        let from = ReadFrom {
            offset,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
            log_start: -1,
        };
        partition.read(&from, max_bytes, true, 1 << 20, reader).unwrap()
    }

    fn aborted(read: &Read) -> Vec<(i64, i64)> {
        read.aborted.iter().map(|aborted| (aborted.producer_id, aborted.first_offset)).collect()
    }

    fn latest(partition: &Partition, bound: Bound) -> i64 {
        match partition.find(OffsetSpec::Latest, bound, LeaderEpoch::NONE).unwrap() {
            FoundOffset::At(record) => record.offset,
            FoundOffset::Somewhere(search) => panic!("{search:?}"),
        }
    }

    fn is_ready(reached: &mut (impl Future<Output = ()> + Unpin)) -> bool {
        Pin::new(reached).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn readers_of_committed_records_wait_for_the_marker_to_be_committed() {
        let fixture = Fixture::new(&[]);
        fixture.elect(0, 0);
        let partition = &fixture.partition;
        append(partition, &batch(b'x', 10)).unwrap();
        append(partition, &in_transaction(7, 0)).unwrap();
        append(partition, &batch(b'x', 10)).unwrap();
        replicate(partition, 3);
        assert_eq!((partition.high_watermark.get(), partition.last_stable.get()), (3, 1));
        assert_eq!((latest(partition, Bound::HighWatermark), latest(partition, Bound::LastStable)), (3, 1));
        assert_eq!(
            read(partition, 0, 1 << 20, Reader::Roaming(Bound::HighWatermark)).len(),
            partition.status().size as usize
        );
        let first = read(partition, 0, 1 << 20, COMMITTED_ONLY);
        assert_eq!((first.high_watermark, first.last_stable), (3, 1));
        assert!(!first.is_empty() && aborted(&first).is_empty());
        assert!(read(partition, 1, 1 << 20, COMMITTED_ONLY).is_empty());

        let mut more = partition.bound(Bound::LastStable).reached(2);
        assert!(!is_ready(&mut more));
        end(partition, 7, ControlRecordType::Abort).unwrap();
        assert!(!is_ready(&mut more), "the followers lack the marker");
        replicate(partition, 4);
        assert!(is_ready(&mut more));
        assert_eq!(partition.last_stable.get(), 4);
        assert_eq!(aborted(&read(partition, 1, 1 << 20, COMMITTED_ONLY)), [(7, 1)]);
    }

    #[test]
    fn aborted_transactions_are_told_for_the_range_that_is_given() {
        let fixture = Fixture::new(&[]);
        fixture.elect(0, 0);
        let partition = &fixture.partition;
        append(partition, &in_transaction(8, 0)).unwrap();
        append(partition, &batch(b'x', 10)).unwrap();
        end(partition, 8, ControlRecordType::Commit).unwrap();
        append(partition, &in_transaction(7, 0)).unwrap();
        end(partition, 7, ControlRecordType::Abort).unwrap();
        replicate(partition, 5);
        assert_eq!(aborted(&read(partition, 0, 1, COMMITTED_ONLY)), [], "one batch was given");
        assert_eq!(aborted(&read(partition, 3, 1 << 20, COMMITTED_ONLY)), [(7, 3)]);
        assert_eq!(aborted(&read(partition, 4, 1, COMMITTED_ONLY)), [(7, 3)], "its marker was given");
        assert_eq!(aborted(&read(partition, 0, 1 << 20, Reader::Roaming(Bound::HighWatermark))), []);
    }

    fn bytes(batches: &[Stamped]) -> Bytes {
        batches.iter().flat_map(|batch| batch.slices().map(|slice| slice.to_vec()).concat()).collect()
    }

    #[test]
    fn a_follower_knows_what_is_decided_and_goes_back_when_its_log_is_cut() {
        let fixture = Fixture::new(&[]);
        fixture.elect(1, 0);
        let partition = &fixture.partition;
        let copy = |batches: &[Stamped], high_watermark| {
            let asked = partition.next_fetch(LeaderEpoch(0)).unwrap();
            let copied = Copied { records: bytes(batches), high_watermark, log_start: 0 };
            partition.append_from_leader(&asked, &copied).unwrap();
            partition.last_stable.get()
        };
        let marker = Marker { outcome: ControlRecordType::Abort, coordinator_epoch: 0 };
        let marker = ottla_batch::marker_batch(7, 0, marker, 0).stamp(2, 0, None);
        assert_eq!(copy(&[batch(b'x', 10).stamp(0, 0, None)], 1), 1);
        assert_eq!(copy(&[in_transaction(7, 0).stamp(1, 0, None)], 2), 1);
        let mut more = partition.bound(Bound::LastStable).reached(2);
        assert_eq!(copy(&[marker], 2), 1, "it is not committed");
        assert!(!is_ready(&mut more));
        assert_eq!(copy(&[], 3), 3);
        assert!(is_ready(&mut more));
        assert_eq!(aborted(&read(partition, 0, 1 << 20, COMMITTED_ONLY)), [(7, 1)]);

        fixture.elect(2, 1);
        let asked = partition.next_fetch(LeaderEpoch(1)).unwrap();
        partition.cut_to_end_of(&asked, LeaderEpoch(0), 2).unwrap();
        assert_eq!((partition.high_watermark.get(), partition.last_stable.get()), (2, 1), "it is open again");
    }

    #[test]
    fn records_are_deleted_up_to_the_high_watermark_also_in_open_transactions() {
        let fixture = Fixture::new(&[]);
        fixture.elect(0, 0);
        let partition = &fixture.partition;
        append(partition, &in_transaction(7, 0)).unwrap();
        append(partition, &in_transaction(7, 1)).unwrap();
        append(partition, &batch(b'x', 10)).unwrap();
        replicate(partition, 2);
        assert_eq!(partition.delete_records(2).unwrap(), 2);
        assert_eq!((partition.status().log_start, partition.last_stable.get()), (2, 2));
        end(partition, 7, ControlRecordType::Abort).unwrap();
        replicate(partition, 4);
        assert_eq!(partition.last_stable.get(), 4);
    }

    #[test]
    fn a_batch_that_was_verified_for_a_transaction_that_has_ended_is_refused() {
        let fixture = Fixture::new(&[]);
        fixture.elect(0, 0);
        let partition = &fixture.partition;
        let first = in_transaction(7, 0);
        let guard = partition.begin_verification(first.header(), false).unwrap();
        assert!(guard.is_some());
        end(partition, 7, ControlRecordType::Abort).unwrap();
        let is_refused =
            |appended| matches!(appended, Err(AppendError::Producer(ProducerError::NotVerified { producer_id: 7 })));
        assert!(is_refused(partition.append_verified(&first, true, guard)));
        assert!(is_refused(partition.append_verified(&first, true, None)));
        assert!(
            is_refused(partition.append_own(&first, LeaderEpoch(0), 0)),
            "nor does a coordinator write without asking"
        );
        append(partition, &first).unwrap();
        assert_eq!(partition.begin_verification(in_transaction(7, 1).header(), false).unwrap(), None);
        partition.append_verified(&in_transaction(7, 1), true, None).unwrap();
        end(partition, 7, ControlRecordType::Commit).unwrap();
        let next = in_transaction(7, 2);
        assert!(is_refused(partition.append_from_client(next.bytes(), true, None)), "nor does a client");
        fixture.elect(1, 1);
        assert!(matches!(partition.begin_verification(first.header(), false), Err(AppendError::NotServed(_))));
    }

    #[test]
    fn a_leader_takes_markers_by_kafkas_rules() {
        let fixture = Fixture::new(&[]);
        fixture.elect(0, 0);
        let partition = &fixture.partition;
        append(partition, &in_transaction(7, 0)).unwrap();
        let marker = |coordinator_epoch| Marker { outcome: ControlRecordType::Commit, coordinator_epoch };
        let mark = |epoch, coordinator_epoch, version| {
            partition.append_marker(7, epoch, marker(coordinator_epoch), version, LeaderEpoch::NONE)
        };
        let is_stale = |result| matches!(result, Err(AppendError::Producer(ProducerError::StaleEpoch { .. })));
        assert!(is_stale(mark(0, 3, 2)));
        assert_eq!(mark(1, 3, 2).unwrap().base_offset, 1);
        assert_eq!(mark(1, 3, 2).unwrap().base_offset, 2, "the coordinator sends it again");
        assert!(is_stale(mark(0, 3, 1)));
        let fenced = mark(1, 2, 1).unwrap_err();
        assert!(matches!(fenced, AppendError::Producer(ProducerError::CoordinatorFenced { .. })), "{fenced:?}");
        fixture.elect(0, 1);
        assert!(partition.append_marker(7, 2, marker(3), 2, LeaderEpoch(0)).is_err(), "in an epoch that is over");
        fixture.elect(1, 2);
        assert!(matches!(mark(2, 3, 2), Err(AppendError::NotServed(_))));
    }
}
