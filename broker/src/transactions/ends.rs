//! The ends of transactions in partitions that this broker leads: markers, on behalf of the coordinators of this broker
//! and of others.

use std::sync::Arc;

use ottla_wire::ErrorCode;

use crate::env::Instant;
use crate::groups::Groups;
use crate::image::{CONSUMER_OFFSETS, ImageReceiver, LeaderEpoch};
use crate::replica::partition::transactions::TransactionEnd;
use crate::replica::partition::{AppendError, Appended, NotAcknowledged, Partition};
use crate::replica::{NotServed, Replicas};

/// Writes markers.
#[derive(Clone)]
pub struct Ends {
    /// The cluster as this broker knows it.
    pub images: ImageReceiver,
    /// The replicas that run here.
    pub replicas: Arc<Replicas>,
    /// The groups that are coordinated here: a marker is news for them.
    pub groups: Arc<Groups>,
}

/// Why a marker is not written, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// This broker does not lead the partition.
    #[error("the partition is not served: {0}")]
    NotServed(#[from] NotServed),
    /// The partition refuses the marker.
    #[error("the marker was not appended: {0}")]
    Append(#[from] AppendError),
    /// It is appended, but not known to be committed.
    #[error("the marker is not acknowledged: {0}")]
    NotAcknowledged(#[from] NotAcknowledged),
}

impl From<&EndError> for ErrorCode {
    fn from(error: &EndError) -> ErrorCode {
        match error {
            EndError::NotServed(error) => error.into(),
            EndError::Append(error) => error.into(),
            EndError::NotAcknowledged(error) => error.into(),
        }
    }
}

/// A marker that is in the log.
pub struct WrittenMarker {
    partition: Arc<Partition>,
    appended: Appended,
}

impl Ends {
    /// Appends a marker.
    ///
    /// # Errors
    /// Why not; nothing was appended then.
    pub fn append(&self, topic: &str, number: i32, end: TransactionEnd) -> Result<WrittenMarker, EndError> {
        let image = self.images.borrow().clone();
        let known = image.topic(topic).ok_or(NotServed::UnknownTopicOrPartition)?;
        let partition = self.replicas.get(known, number)?;
        let appended = if topic == CONSUMER_OFFSETS {
            // In the order in which the groups' own records stand.
            self.groups.append_marker(number, end)?
        } else {
            let TransactionEnd { producer_id, producer_epoch, marker, transaction_version } = end;
            partition.append_marker(producer_id, producer_epoch, marker, transaction_version, LeaderEpoch::NONE)?
        };
        if appended.must_flush {
            self.replicas.flush_soon(&partition);
        }
        Ok(WrittenMarker { partition, appended })
    }
}

impl WrittenMarker {
    /// Waits until the marker is committed, until `deadline` at most.
    ///
    /// # Errors
    /// That nobody knows whether it is.
    pub async fn committed(&self, deadline: Instant) -> Result<(), EndError> {
        Ok(self.partition.acknowledged(&self.appended, true, deadline).await?)
    }
}
