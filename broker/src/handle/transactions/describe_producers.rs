//! DescribeProducers (KIP-664): the producers that the leader of a partition remembers, and their open transactions.

use crate::replica::NotServed;
use ottla_access::Operation;
use ottla_wire::ErrorCode;
use ottla_wire::m61_describe_producers::{
    DescribeProducersPartitionResult, DescribeProducersRequest, DescribeProducersResponse,
    DescribeProducersTopicResult, ProducerState,
};

use crate::ask::AskRefusal;
use crate::handle::context::Context;
use crate::replica::partition::transactions::ActiveProducer;
use crate::reply::Reply;

/// Answers from memory.
pub(crate) fn handle(context: &Context, request: DescribeProducersRequest) -> Reply {
    let topics = request.topics.into_iter().map(|topic| {
        let known = context.topic_by_name(Operation::Read, &topic.name);
        let refused = context
            .image
            .topic(&topic.name)
            .is_none()
            .then(AskRefusal::unknown_topic)
            .filter(|_| !matches!(known, Err(NotServed::Denied)));
        let partitions = topic.partition_indexes.iter().map(|number| {
            let partition = known.and_then(|topic| context.handler.replicas.get(topic, *number));
            let producers = partition.and_then(|partition| partition.active_producers());
            let (error_code, producers) = match producers {
                Ok(producers) => (ErrorCode::NONE, producers),
                Err(error) => (ErrorCode::from(&error), Vec::new()),
            };
            DescribeProducersPartitionResult {
                partition_index: *number,
                error_code,
                error_message: refused.as_ref().map(|refused| refused.message.clone().into()),
                active_producers: producers.into_iter().map(state).collect(),
            }
        });
        DescribeProducersTopicResult { partitions: partitions.collect(), name: topic.name }
    });
    context.reply(&DescribeProducersResponse { topics: topics.collect(), ..Default::default() })
}

fn state(active: ActiveProducer) -> ProducerState {
    ProducerState {
        producer_id: active.id,
        producer_epoch: active.epoch.into(),
        last_sequence: active.last_sequence.unwrap_or(-1),
        last_timestamp: active.last_timestamp,
        coordinator_epoch: active.coordinator_epoch,
        current_txn_start_offset: active.transaction_start.unwrap_or(-1),
    }
}
