//! ReadShareGroupState (84), and the batches of states as it and WriteShareGroupState have them.

use ottla_group::GroupId;
use ottla_group::share_state::{self, ReadState, Request, StateError, StateReply};
use ottla_wire::m84_read_share_group_state::{
    ReadShareGroupStateRequest, ReadShareGroupStateResponse, ReadStateData, ReadStatePartition,
    ReadStatePartitionResult, ReadStateResult, StateBatch,
};

use super::{Of, StateMessage, by_topic, heard, said};

pub(super) fn on_the_wire(batch: &share_state::StateBatch) -> StateBatch {
    let share_state::StateBatch { first_offset, last_offset, delivery_count, delivery_state } = *batch;
    StateBatch { first_offset, last_offset, delivery_state, delivery_count }
}

pub(super) fn from_the_wire(batch: &StateBatch) -> share_state::StateBatch {
    let StateBatch { first_offset, last_offset, delivery_state, delivery_count } = *batch;
    share_state::StateBatch { first_offset, last_offset, delivery_count, delivery_state }
}

impl StateMessage for ReadShareGroupStateRequest {
    fn asking(group: &GroupId, partitions: &[Of<Request>]) -> Self {
        let partition = |partition, request| match request {
            Request::Read { leader_epoch } => ReadStatePartition { partition, leader_epoch },
            _ => ReadStatePartition::default(),
        };
        let topics =
            by_topic(partitions.to_vec(), partition, |topic_id, partitions| ReadStateData { topic_id, partitions });
        ReadShareGroupStateRequest { group_id: (&**group).into(), topics }
    }

    fn asked(self) -> (GroupId, Vec<Of<Request>>) {
        let partitions = self.topics.into_iter().flat_map(|topic| {
            let asked = move |ReadStatePartition { partition, leader_epoch }: ReadStatePartition| {
                (topic.topic_id, partition, Request::Read { leader_epoch })
            };
            topic.partitions.into_iter().map(asked)
        });
        ((&*self.group_id).into(), partitions.collect())
    }

    fn answer(replies: Vec<Of<StateReply>>) -> Self::Response {
        let partition = |partition, reply| {
            let result = match reply {
                StateReply::Read(result) => result,
                _ => Err(StateError::UnknownServerError),
            };
            let (error_code, error_message) = said(&result);
            let answer = ReadStatePartitionResult { partition, error_code, error_message, ..Default::default() };
            match result {
                Ok(ReadState { state_epoch, start_offset, batches }) => {
                    let state_batches = batches.iter().map(on_the_wire).collect();
                    ReadStatePartitionResult { state_epoch, start_offset, state_batches, ..answer }
                }
                Err(_) => answer,
            }
        };
        let results = by_topic(replies, partition, |topic_id, partitions| ReadStateResult { topic_id, partitions });
        ReadShareGroupStateResponse { results }
    }

    fn replies(response: Self::Response) -> Vec<Of<StateReply>> {
        let replies = response.results.into_iter().flat_map(|topic| {
            let reply = move |said: ReadStatePartitionResult| {
                let read = heard(said.error_code, || ReadState {
                    state_epoch: said.state_epoch,
                    start_offset: said.start_offset,
                    batches: said.state_batches.iter().map(from_the_wire).collect(),
                });
                (topic.topic_id, said.partition, StateReply::Read(read))
            };
            topic.partitions.into_iter().map(reply)
        });
        replies.collect()
    }
}
