//! The ends of partitions, wherever they are led: what group coordinators need to say how far a share group is behind
//! (KIP-1226). Few ask, and rarely: each question has connections of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString as Str;
use futures::future::join_all;
use ottla_client::ClientError;
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::{ErrorCode, Message};

use crate::dialer::{CallLimits, Dialer};
use crate::image::{BrokerId, ImageReceiver, LeaderEpoch};
use crate::replica::Replicas;
use crate::replica::partition::reading::{Bound, FoundOffset, OffsetSpec};

const LIMITS: CallLimits =
    CallLimits { connect: Duration::from_secs(5), request: Duration::from_secs(10), max_response: 64 << 20 };
/// Stands for the end of a partition in ListOffsets.
const LATEST: i64 = -1;

/// A partition, by its topic's name.
pub(crate) type NamedPartition = (Str, i32);

/// Asks leaders for the ends of their partitions.
pub struct LogEnds {
    dialer: Dialer,
    images: ImageReceiver,
    replicas: Arc<Replicas>,
}

impl LogEnds {
    /// Connects to nobody yet.
    pub fn new(dialer: Dialer, images: ImageReceiver, replicas: Arc<Replicas>) -> LogEnds {
        LogEnds { dialer, images, replicas }
    }

    /// The high watermark of each partition, or why it is not known now.
    pub async fn of(&self, places: Vec<NamedPartition>) -> HashMap<NamedPartition, Result<i64, ErrorCode>> {
        let mut ends = HashMap::new();
        let mut elsewhere: BTreeMap<BrokerId, Vec<NamedPartition>> = BTreeMap::new();
        let image = self.images.borrow().clone();
        for (topic, partition) in places {
            match image.assignment(&topic, partition).map(|assignment| assignment.leader) {
                Some(Some(leader)) if leader != self.dialer.me => {
                    elsewhere.entry(leader).or_default().push((topic, partition))
                }
                Some(Some(_)) => {
                    let end = self.here(&topic, partition);
                    ends.insert((topic, partition), end);
                }
                Some(None) => {
                    ends.insert((topic, partition), Err(ErrorCode::LEADER_NOT_AVAILABLE));
                }
                None => {
                    ends.insert((topic, partition), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
                }
            }
        }
        let asked = elsewhere.into_iter().map(async |(leader, places)| match self.ask(leader, &places).await {
            Ok(ends) => places
                .into_iter()
                .map(|place| {
                    let end = ends.get(&place).copied().unwrap_or(Err(ErrorCode::UNKNOWN_SERVER_ERROR));
                    (place, end)
                })
                .collect(),
            Err(error) => {
                tracing::debug!(%leader, %error, "failed to ask for the ends of partitions");
                places.into_iter().map(|place| (place, Err(ErrorCode::LEADER_NOT_AVAILABLE))).collect::<Vec<_>>()
            }
        });
        ends.extend(join_all(asked).await.into_iter().flatten());
        ends
    }

    fn here(&self, topic: &str, partition: i32) -> Result<i64, ErrorCode> {
        let image = self.images.borrow().clone();
        let topic = image.topic(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let partition = self.replicas.get(topic, partition).map_err(|_| ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
        match partition.find(OffsetSpec::Latest, Bound::HighWatermark, LeaderEpoch::NONE) {
            Ok(FoundOffset::At(end)) => Ok(end.offset),
            Ok(FoundOffset::Somewhere(_)) | Err(_) => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        }
    }

    async fn ask(
        &self,
        leader: BrokerId,
        places: &[NamedPartition],
    ) -> Result<HashMap<NamedPartition, Result<i64, ErrorCode>>, ClientError> {
        let route = self.images.borrow().route(leader);
        let mut connection = self.dialer.connect(route.as_ref(), "log-ends", LIMITS).await?;
        let version = connection.versions().await?.newest::<ListOffsetsRequest>(ListOffsetsRequest::VERSIONS)?;
        let mut topics: BTreeMap<&Str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for (topic, partition) in places {
            let wanted = ListOffsetsPartition { partition_index: *partition, timestamp: LATEST, ..Default::default() };
            topics.entry(topic).or_default().push(wanted);
        }
        let topic = |(name, partitions): (&Str, _)| ListOffsetsTopic { name: name.clone(), partitions };
        let topics = topics.into_iter().map(topic).collect();
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let response = connection.call(version, &request).await?;
        let ends = response.topics.into_iter().flat_map(|topic| {
            topic.partitions.into_iter().map(move |said| {
                let end = if said.error_code.is_none() { Ok(said.offset) } else { Err(said.error_code) };
                ((topic.name.clone(), said.partition_index), end)
            })
        });
        Ok(ends.collect())
    }
}
