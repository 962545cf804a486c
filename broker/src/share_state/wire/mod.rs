//! The requests of brokers about states: keys 83 to 87, both ways. Each is about one group, and about many partitions.
//!
//! One file for each request; here what they have in common.

mod delete;
mod initialize;
mod read;
mod summarize;
mod write;

use std::collections::HashMap;

use ottla_group::GroupId;
use ottla_group::share_state::{Request, StateError, StateReply};
use ottla_wire::{ErrorCode, RequestMessage, Str};
use uuid::Uuid;

use super::codes;

/// What belongs to one partition of a topic.
pub(crate) type Of<T> = (Uuid, i32, T);

/// One of the five requests.
pub(crate) trait StateMessage: RequestMessage {
    /// Asks about these partitions of a group; they are all of this kind.
    fn asking(group: &GroupId, partitions: &[Of<Request>]) -> Self;

    /// What it asks.
    fn asked(self) -> (GroupId, Vec<Of<Request>>);

    /// The response with these replies.
    fn answer(replies: Vec<Of<StateReply>>) -> Self::Response;

    /// The replies of a response.
    fn replies(response: Self::Response) -> Vec<Of<StateReply>>;
}

/// Puts what belongs to one topic together, in the order in which the topics come first.
pub(crate) fn by_topic<T, P, R>(
    all: Vec<Of<T>>,
    mut partition: impl FnMut(i32, T) -> P,
    topic: impl Fn(Uuid, Vec<P>) -> R,
) -> Vec<R> {
    let mut topics: Vec<(Uuid, Vec<P>)> = Vec::new();
    let mut places: HashMap<Uuid, usize> = HashMap::new();
    for (id, number, value) in all {
        let place = *places.entry(id).or_insert(topics.len());
        if place == topics.len() {
            topics.push((id, Vec::new()));
        }
        topics[place].1.push(partition(number, value));
    }
    topics.into_iter().map(|(id, partitions)| topic(id, partitions)).collect()
}

/// The code and the message of a result.
fn said<T>(result: &Result<T, StateError>) -> (ErrorCode, Option<Str>) {
    match result {
        Ok(_) => (ErrorCode::NONE, None),
        Err(error) => (codes::code(*error), Some(error.to_string().into())),
    }
}

/// The result that a code stands for.
fn heard<T>(code: ErrorCode, value: impl FnOnce() -> T) -> Result<T, StateError> {
    if code.is_none() { Ok(value()) } else { Err(codes::error(code)) }
}

/// The replies whose result is only that it was done.
macro_rules! done {
    ($kind:ident, $replies:expr, $result:ident, $topic:ident) => {{
        let partition = |partition, reply| {
            let (error_code, error_message) = match reply {
                StateReply::$kind(result) => said(&result),
                _ => said::<()>(&Err(StateError::UnknownServerError)),
            };
            $result { partition, error_code, error_message }
        };
        by_topic($replies, partition, |topic_id, partitions| $topic { topic_id, partitions })
    }};
}
use done;
