//! ReadShareGroupStateSummary (87).

use ottla_group::GroupId;
use ottla_group::share_state::{Request, StateError, StateReply, Summary};
use ottla_wire::m87_read_share_group_state_summary::{
    ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse, ReadSummaryStateData,
    ReadSummaryStatePartition, ReadSummaryStatePartitionResult, ReadSummaryStateResult,
};

use super::{Of, StateMessage, by_topic, heard, said};

impl StateMessage for ReadShareGroupStateSummaryRequest {
    fn asking(group: &GroupId, partitions: &[Of<Request>]) -> Self {
        // Who wants a summary need not lead the partition.
        let topics = by_topic(
            partitions.to_vec(),
            |partition, _| ReadSummaryStatePartition { partition, leader_epoch: -1 },
            |topic_id, partitions| ReadSummaryStateData { topic_id, partitions },
        );
        ReadShareGroupStateSummaryRequest { group_id: (&**group).into(), topics }
    }

    fn asked(self) -> (GroupId, Vec<Of<Request>>) {
        let partitions = self.topics.into_iter().flat_map(|topic| {
            let asked = move |asked: ReadSummaryStatePartition| (topic.topic_id, asked.partition, Request::Summarize);
            topic.partitions.into_iter().map(asked)
        });
        ((&*self.group_id).into(), partitions.collect())
    }

    fn answer(replies: Vec<Of<StateReply>>) -> Self::Response {
        let partition = |partition, reply| {
            let result = match reply {
                StateReply::Summarize(result) => result,
                _ => Err(StateError::UnknownServerError),
            };
            let (error_code, error_message) = said(&result);
            let answer = ReadSummaryStatePartitionResult { partition, error_code, error_message, ..Default::default() };
            match result {
                Ok(Summary { state_epoch, leader_epoch, start_offset, delivery_complete_count }) => {
                    ReadSummaryStatePartitionResult {
                        state_epoch,
                        leader_epoch,
                        start_offset,
                        delivery_complete_count,
                        ..answer
                    }
                }
                Err(_) => answer,
            }
        };
        let topic = |topic_id, partitions| ReadSummaryStateResult { topic_id, partitions };
        ReadShareGroupStateSummaryResponse { results: by_topic(replies, partition, topic) }
    }

    fn replies(response: Self::Response) -> Vec<Of<StateReply>> {
        let replies = response.results.into_iter().flat_map(|topic| {
            let reply = move |said: ReadSummaryStatePartitionResult| {
                let summary = heard(said.error_code, || Summary {
                    state_epoch: said.state_epoch,
                    leader_epoch: said.leader_epoch,
                    start_offset: said.start_offset,
                    delivery_complete_count: said.delivery_complete_count,
                });
                (topic.topic_id, said.partition, StateReply::Summarize(summary))
            };
            topic.partitions.into_iter().map(reply)
        });
        replies.collect()
    }
}
