//! From what was read to Kafka's answer.

use ottla_wire::m01_fetch::{AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData};
use ottla_wire::{ErrorCode, Records};

use super::asked::{ResolvedFetch, ResolvedPartition};
use super::outcome::FetchOutcome;
use crate::handle::context::Context;
use crate::handle::leader_hint::LeaderHint;
use crate::replica::partition::reading::{Bound, Read, ReadError, Reader};

/// The `preferred_read_replica` of an answer that sends the consumer nowhere else.
const NOBODY: i32 = -1;

/// Kafka's answer to what was asked. What was read of throttled partitions counts as sent.
pub(super) fn response(context: &Context, asked: &ResolvedFetch, outcome: FetchOutcome) -> FetchResponse {
    let (mut response, reader) = (FetchResponse::default(), asked.reader);
    outcome.allowance.pass();
    for (want, result) in asked.partitions.iter().zip(outcome.results) {
        let same = |last: &&mut FetchableTopicResponse| last.topic == want.topic && last.topic_id == want.topic_id;
        if response.responses.last_mut().filter(same).is_none() {
            response.responses.push(FetchableTopicResponse {
                topic: want.topic.clone(),
                topic_id: want.topic_id,
                ..Default::default()
            });
        }
        let mut answer = PartitionData { partition_index: want.index, ..Default::default() };
        match result.found {
            Ok(read) => {
                if let Ok(partition) = &want.partition {
                    partition.count_sent(&read, reader);
                }
                fill(&mut answer, read, reader);
                answer.preferred_read_replica = want.preferred.map_or(NOBODY, |preferred| preferred.0);
            }
            Err(error) => {
                answer.error_code = code(&error, context.version);
                answer.high_watermark = -1;
                if let (Reader::Follower { .. }, Some(log_start)) = (reader, error.log_start()) {
                    // It starts again there; Kafka's followers ask ListOffsets.
                    answer.log_start_offset = log_start;
                }
                // A topic that does not exist gets an empty list, as in Kafka.
                answer.aborted_transactions = want.partition.is_err().then(Vec::new);
                answer.records = Some(Records::default());
                if let Some(leader) = error.asks_for_leader().then(|| want.leader(context)).flatten() {
                    leader.write(&mut answer.current_leader, &mut response.node_endpoints);
                }
            }
        }
        if let Some(topic) = response.responses.last_mut() {
            topic.partitions.push(answer);
        }
    }
    response
}

fn code(error: &ReadError, version: i16) -> ErrorCode {
    match ErrorCode::from(error) {
        // Clients of that time do not know the newer code and fail; with this one they look for the leader, and ask
        // again.
        ErrorCode::KAFKA_STORAGE_ERROR if version < 6 => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        code => code,
    }
}

impl ResolvedPartition {
    fn leader(&self, context: &Context) -> Option<LeaderHint> {
        LeaderHint::of(context, context.known_topic(13, &self.topic, self.topic_id).ok()?, self.index)
    }
}

fn fill(answer: &mut PartitionData, read: Read, reader: Reader) {
    answer.high_watermark = read.high_watermark;
    answer.last_stable_offset = read.last_stable;
    answer.log_start_offset = read.log_start;
    if let Some((epoch, end_offset)) = read.diverging {
        answer.diverging_epoch = EpochEndOffset { epoch: epoch.0, end_offset };
    }
    let aborted = read.aborted.iter();
    let aborted = aborted.map(|&ottla_log::AbortedTransaction { producer_id, first_offset, .. }| AbortedTransaction {
        producer_id,
        first_offset,
    });
    answer.aborted_transactions = (reader.bound() == Some(Bound::LastStable)).then(|| aborted.collect());
    answer.records = Some(Records(read.chunk.into_iter().collect()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{BrokerId, Incarnation};
    use crate::replica::NotServed;
    use crate::replica::partition::reading::Rest;

    #[test]
    fn only_readers_of_committed_records_are_told_what_was_aborted() {
        let [first_offset, last_offset] = [10, 12];
        let of = |reader| {
            let aborted = ottla_log::AbortedTransaction { producer_id: 7, first_offset, last_offset, last_stable: 11 };
            let read = Read {
                chunk: None,
                high_watermark: 20,
                last_stable: 15,
                aborted: vec![aborted],
                log_start: 5,
                log_end: 25,
                rest: Rest::Nothing,
                diverging: None,
            };
            let mut answer = PartitionData::default();
            fill(&mut answer, read, reader);
            assert_eq!((answer.high_watermark, answer.last_stable_offset), (20, 15));
            answer.aborted_transactions
        };
        let told = Some(vec![AbortedTransaction { producer_id: 7, first_offset }]);
        assert_eq!(of(Reader::Roaming(Bound::LastStable)), told);
        assert_eq!(of(Reader::Consumer(Bound::LastStable)), told);
        assert_eq!(of(Reader::Consumer(Bound::HighWatermark)), None);
        assert_eq!(of(Reader::Follower { broker: BrokerId(1), incarnation: Incarnation(1), again: false }), None);
    }

    #[test]
    fn an_old_client_gets_an_error_code_that_it_knows_for_a_failed_disk() {
        let failed = ReadError::NotServed(NotServed::Storage);
        let expected = [(5, ErrorCode::NOT_LEADER_OR_FOLLOWER), (6, ErrorCode::KAFKA_STORAGE_ERROR)];
        assert_eq!(expected.map(|(version, _)| (version, code(&failed, version))), expected);
    }
}
