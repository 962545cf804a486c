//! One batch, from a broker that has it.

use ottla_batch::{Batch, Batches};
use ottla_client::ClientError;
use ottla_wire::TopicIdPartition;
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic};

use super::LIMITS;
use super::round::FETCH_VERSION;
use crate::dialer::Dialer;
use crate::image::Route;

/// The committed batch that begins at `offset` of a partition, whole, as the broker there has it; none when it has none
/// such.
///
/// # Errors
/// When it can't be asked.
pub async fn batch_at(
    dialer: &Dialer,
    route: &Route,
    TopicIdPartition { topic_id, partition }: TopicIdPartition,
    offset: i64,
) -> Result<Option<Batch>, ClientError> {
    let mut connection = dialer.connect(Some(route), "scrubber", LIMITS).await?;
    let wanted = FetchPartition {
        partition,
        fetch_offset: offset,
        // The first batch comes whole, however large.
        partition_max_bytes: 1,
        ..Default::default()
    };
    let request = FetchRequest {
        // A consumer: it is given what is committed, by leaders and followers alike, and its position means nothing.
        topics: vec![FetchTopic { topic_id, partitions: vec![wanted], ..Default::default() }],
        max_bytes: 1,
        ..Default::default()
    };
    let response = connection.call(FETCH_VERSION, &request).await?;
    let answer = response.responses.into_iter().flat_map(|topic| topic.partitions).next();
    let records = answer.as_ref().and_then(|answer| answer.records.as_ref()?.as_bytes()).cloned().unwrap_or_default();
    let first = Batches::new(records).next().and_then(Result::ok);
    Ok(first.filter(|batch| batch.header().base_offset == offset))
}
