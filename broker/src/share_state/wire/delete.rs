//! DeleteShareGroupState (86).

use ottla_group::GroupId;
use ottla_group::share_state::{Request, StateError, StateReply};
use ottla_wire::m86_delete_share_group_state::{
    DeleteShareGroupStateRequest, DeleteShareGroupStateResponse, DeleteStateData, DeleteStatePartition,
    DeleteStatePartitionResult, DeleteStateResult,
};

use super::{Of, StateMessage, by_topic, done, heard, said};

impl StateMessage for DeleteShareGroupStateRequest {
    fn asking(group: &GroupId, partitions: &[Of<Request>]) -> Self {
        let topics = by_topic(
            partitions.to_vec(),
            |partition, _| DeleteStatePartition { partition },
            |topic_id, partitions| DeleteStateData { topic_id, partitions },
        );
        DeleteShareGroupStateRequest { group_id: (&**group).into(), topics }
    }

    fn asked(self) -> (GroupId, Vec<Of<Request>>) {
        let partitions = self.topics.into_iter().flat_map(|topic| {
            let asked = move |asked: DeleteStatePartition| (topic.topic_id, asked.partition, Request::Delete);
            topic.partitions.into_iter().map(asked)
        });
        ((&*self.group_id).into(), partitions.collect())
    }

    fn answer(replies: Vec<Of<StateReply>>) -> Self::Response {
        let results = done!(Delete, replies, DeleteStatePartitionResult, DeleteStateResult);
        DeleteShareGroupStateResponse { results }
    }

    fn replies(response: Self::Response) -> Vec<Of<StateReply>> {
        let replies = response.results.into_iter().flat_map(|topic| {
            let reply = move |said: DeleteStatePartitionResult| {
                (topic.topic_id, said.partition, StateReply::Delete(heard(said.error_code, || ())))
            };
            topic.partitions.into_iter().map(reply)
        });
        replies.collect()
    }
}
