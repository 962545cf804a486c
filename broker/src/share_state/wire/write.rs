//! WriteShareGroupState (85).

use ottla_group::GroupId;
use ottla_group::share_state::{Request, StateError, StateReply, WriteState};
use ottla_wire::m85_write_share_group_state::{
    WriteShareGroupStateRequest, WriteShareGroupStateResponse, WriteStateData, WriteStatePartition,
    WriteStatePartitionResult, WriteStateResult,
};

use super::read::{from_the_wire, on_the_wire};
use super::{Of, StateMessage, by_topic, done, heard, said};

impl StateMessage for WriteShareGroupStateRequest {
    fn asking(group: &GroupId, partitions: &[Of<Request>]) -> Self {
        let partition = |partition, request| match request {
            Request::Write(write) => WriteStatePartition {
                partition,
                state_epoch: write.state_epoch,
                leader_epoch: write.leader_epoch,
                start_offset: write.start_offset,
                delivery_complete_count: write.delivery_complete_count,
                state_batches: write.batches.iter().map(on_the_wire).collect(),
            },
            _ => WriteStatePartition::default(),
        };
        let topics =
            by_topic(partitions.to_vec(), partition, |topic_id, partitions| WriteStateData { topic_id, partitions });
        WriteShareGroupStateRequest { group_id: (&**group).into(), topics }
    }

    fn asked(self) -> (GroupId, Vec<Of<Request>>) {
        let partitions = self.topics.into_iter().flat_map(|topic| {
            let asked = move |asked: WriteStatePartition| {
                let write = WriteState {
                    state_epoch: asked.state_epoch,
                    leader_epoch: asked.leader_epoch,
                    start_offset: asked.start_offset,
                    delivery_complete_count: asked.delivery_complete_count,
                    batches: asked.state_batches.iter().map(from_the_wire).collect(),
                };
                (topic.topic_id, asked.partition, Request::Write(write))
            };
            topic.partitions.into_iter().map(asked)
        });
        ((&*self.group_id).into(), partitions.collect())
    }

    fn answer(replies: Vec<Of<StateReply>>) -> Self::Response {
        let results = done!(Write, replies, WriteStatePartitionResult, WriteStateResult);
        WriteShareGroupStateResponse { results }
    }

    fn replies(response: Self::Response) -> Vec<Of<StateReply>> {
        let replies = response.results.into_iter().flat_map(|topic| {
            let reply = move |said: WriteStatePartitionResult| {
                (topic.topic_id, said.partition, StateReply::Write(heard(said.error_code, || ())))
            };
            topic.partitions.into_iter().map(reply)
        });
        replies.collect()
    }
}
