//! AddPartitionsToTxn as brokers use it: version 4 and later, the transactions of many producers in one request.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use ottla_txn::TopicPartition;
use ottla_wire::m24_add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_wire::{ErrorCode, Str};

use super::values::{Results, Verification, VerificationKind, VerifyError};

/// 5 says that the sender knows TRANSACTION_ABORTABLE.
pub(super) const VERSIONS: RangeInclusive<i16> = 4..=5;

/// One request for all of them; no two are of the same id.
pub(super) fn request<'a>(verifications: impl Iterator<Item = &'a Verification>) -> AddPartitionsToTxnRequest {
    AddPartitionsToTxnRequest { transactions: verifications.map(transaction).collect(), ..Default::default() }
}

fn transaction(verification: &Verification) -> AddPartitionsToTxnTransaction {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in &verification.partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let topic = |(name, partitions): (&str, _)| AddPartitionsToTxnTopic { name: name.into(), partitions };
    AddPartitionsToTxnTransaction {
        transactional_id: Str::from(&*verification.transactional_id),
        producer_id: verification.producer.producer_id,
        producer_epoch: verification.producer.producer_epoch,
        verify_only: verification.kind == VerificationKind::Verify,
        topics: topics.into_iter().map(topic).collect(),
    }
}

/// The codes of a response, by transactional id, topic and partition.
pub(super) type Codes<'a> = HashMap<(&'a str, &'a str, i32), ErrorCode>;

pub(super) fn codes(response: &AddPartitionsToTxnResponse) -> Codes<'_> {
    let mut codes = Codes::new();
    for transaction in &response.results_by_transaction {
        for topic in &transaction.topic_results {
            for result in &topic.results_by_partition {
                let place = (&*transaction.transactional_id, &*topic.name, result.partition_index);
                codes.insert(place, result.partition_error_code);
            }
        }
    }
    codes
}

/// What the codes come to. A partition of which the coordinator says nothing is not verified.
pub(super) fn results(verification: &Verification, of_all: ErrorCode, codes: &Codes<'_>) -> Results {
    let result = |TopicPartition { topic, partition }: &TopicPartition| {
        if !of_all.is_none() {
            return Err(VerifyError::Refused(of_all));
        }
        match codes.get(&(&*verification.transactional_id, &**topic, *partition)) {
            Some(code) if code.is_none() => Ok(()),
            Some(code) => Err(VerifyError::Refused(*code)),
            None => Err(VerifyError::NoAnswer),
        }
    };
    verification.partitions.iter().map(result).collect()
}

#[cfg(test)]
mod tests {
    use ottla_txn::{ProducerIdAndEpoch, TopicName, TransactionalId};

    use super::*;

    fn partition(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic: TopicName::from(topic), partition }
    }

    fn verification(kind: VerificationKind) -> Verification {
        let partitions = vec![partition("b", 1), partition("a", 0), partition("b", 0)];
        let producer = ProducerIdAndEpoch { producer_id: 7, producer_epoch: 3 };
        Verification { transactional_id: TransactionalId::from("x"), producer, partitions, kind }
    }

    #[test]
    fn a_request_names_each_topic_once() {
        for (kind, verify_only) in [(VerificationKind::Verify, true), (VerificationKind::Add, false)] {
            let request = request([&verification(kind)].into_iter());
            let sent = &request.transactions[0];
            assert_eq!((&*sent.transactional_id, sent.producer_id, sent.producer_epoch), ("x", 7, 3));
            assert_eq!(sent.verify_only, verify_only);
            let topics: Vec<_> = sent.topics.iter().map(|topic| (&*topic.name, &topic.partitions[..])).collect();
            assert_eq!(topics, [("a", &[0][..]), ("b", &[1, 0])]);
        }
    }

    #[test]
    fn partitions_get_their_own_results() {
        let (none, abortable) = (ErrorCode::NONE, ErrorCode::TRANSACTION_ABORTABLE);
        let codes = Codes::from([(("x", "b", 0), none), (("x", "b", 1), abortable), (("y", "a", 0), none)]);
        let verification = verification(VerificationKind::Verify);
        let expected = [Err(VerifyError::Refused(abortable)), Err(VerifyError::NoAnswer), Ok(())];
        assert_eq!(results(&verification, none, &codes), expected);
        let refused = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
        assert_eq!(results(&verification, refused, &codes), vec![Err(VerifyError::Refused(refused)); 3]);
    }
}
