//! InitializeShareGroupState (83).

use ottla_group::GroupId;
use ottla_group::share_state::{Request, StateError, StateReply};
use ottla_wire::m83_initialize_share_group_state::{
    InitializeShareGroupStateRequest, InitializeShareGroupStateResponse, InitializeStateData, InitializeStatePartition,
    InitializeStatePartitionResult, InitializeStateResult,
};

use super::{Of, StateMessage, by_topic, done, heard, said};

impl StateMessage for InitializeShareGroupStateRequest {
    fn asking(group: &GroupId, partitions: &[Of<Request>]) -> Self {
        let partition = |partition, request| match request {
            Request::Initialize { state_epoch, start_offset } => {
                InitializeStatePartition { partition, state_epoch, start_offset }
            }
            _ => InitializeStatePartition::default(),
        };
        let topics = by_topic(partitions.to_vec(), partition, |topic_id, partitions| InitializeStateData {
            topic_id,
            partitions,
        });
        InitializeShareGroupStateRequest { group_id: (&**group).into(), topics }
    }

    fn asked(self) -> (GroupId, Vec<Of<Request>>) {
        let partitions = self.topics.into_iter().flat_map(|topic| {
            topic.partitions.into_iter().map(move |asked| {
                let InitializeStatePartition { partition, state_epoch, start_offset } = asked;
                (topic.topic_id, partition, Request::Initialize { state_epoch, start_offset })
            })
        });
        ((&*self.group_id).into(), partitions.collect())
    }

    fn answer(replies: Vec<Of<StateReply>>) -> Self::Response {
        let results = done!(Initialize, replies, InitializeStatePartitionResult, InitializeStateResult);
        InitializeShareGroupStateResponse { results }
    }

    fn replies(response: Self::Response) -> Vec<Of<StateReply>> {
        let replies = response.results.into_iter().flat_map(|topic| {
            let reply = move |said: InitializeStatePartitionResult| {
                (topic.topic_id, said.partition, StateReply::Initialize(heard(said.error_code, || ())))
            };
            topic.partitions.into_iter().map(reply)
        });
        replies.collect()
    }
}
