//! A log that can't be read, or that ends below its own checkpoint: this broker disowns the log, so that others lead,
//! and copies it again from them.
//!
//! Always: nothing of it goes unless the assignment says [`Remedy::CopyAnew`], and not before the folder knows the
//! leader epoch in which it went: no older assignment, which may still count on what is gone, is acted on with this
//! folder again.

use std::path::Path;

use ottla_log::folder::partition_name;
use ottla_log::{DiskResult, put_aside_from};
use ottla_rules::assignment::Remedy;
use ottla_wire::TopicIdPartition;
use tokio::sync::oneshot;

use super::opening::Opener;
use super::proposal::Proposal;
use crate::ask::Ask;
use crate::image::{Assignment, ClusterImage, Me};

impl Opener {
    /// Does what is to be done now about a replica whose log can't be read. True when it must be copied again: until it
    /// has opened, what can't be read of it may be quarantined. Is tried again together with that.
    pub(super) async fn remedy(&self, image: &ClusterImage, key: TopicIdPartition) -> bool {
        let Some((topic, assignment)) = image.replica_of(self.me.id, key) else { return false };
        let dir = self.dir.join(partition_name(&topic.name, key.partition));
        let (me, entry) = (self.me, assignment.clone());
        match self.workers.run(move || remedy(me, &dir, &entry)).await {
            Ok(Remedy::Disown(next)) => {
                tracing::warn!("disowned a log that can't be read: another replica will lead the partition");
                self.disown(key, next);
                false
            }
            Ok(Remedy::CopyAnew) => true,
            Ok(Remedy::Wait) => false,
            Err(error) => {
                tracing::error!(%error, "failed to store that a damaged log is copied again");
                false
            }
        }
    }

    /// Whether a log may be opened that ends below the high watermark that its broker has checkpointed, with this very
    /// disk: somebody has removed or shortened its files meanwhile. Not before nobody counts on what it had. Is tried
    /// again like [`Opener::remedy`].
    pub(super) async fn may_open_shorter(&self, image: &ClusterImage, key: TopicIdPartition) -> bool {
        let Some((topic, assignment)) = image.replica_of(self.me.id, key) else { return false };
        let dir = self.dir.join(partition_name(&topic.name, key.partition));
        let (me, entry) = (self.me, assignment.clone());
        match self.workers.run(move || remedy_of_lost(me, &dir, &entry)).await {
            Ok(Remedy::Disown(next)) => {
                self.disown(key, next);
                false
            }
            // Without a leader what is left of it is reported.
            Ok(Remedy::CopyAnew | Remedy::Wait) => true,
            Err(error) => {
                tracing::error!(%error, "failed to store that a log has lost records");
                false
            }
        }
    }

    fn disown(&self, key: TopicIdPartition, next: Assignment) {
        // Nobody waits for the answer: the image shows it.
        let ask = Ask::ChangeIsr { topic_id: key.topic_id, next: Box::new(next), answer: oneshot::channel().0 };
        if self.ask.try_send(ask).is_err() {
            tracing::debug!("the queue to the cluster is full: asking again at the next try to open the log");
        }
    }

    /// Puts the segment with the file `damaged`, and those behind it, aside: after [`Opener::remedy`] said so. True
    /// when there are fewer now.
    pub(super) async fn put_aside_damaged(&self, damaged: &Path) -> bool {
        let from = damaged.to_owned();
        match self.workers.run(move || put_aside_from(&from)).await {
            Ok(aside) => {
                tracing::warn!(damaged = %damaged.display(), ?aside, "copying a log that can't be read from the \
                leader");
                aside.is_some()
            }
            Err(error) => {
                tracing::error!(damaged = %damaged.display(), %error, "failed to quarantine a damaged log");
                false
            }
        }
    }
}

fn remedy(me: Me, dir: &Path, entry: &Assignment) -> DiskResult<Remedy> {
    let mut proposal = Proposal::open(dir)?;
    let remedy = entry.remedy(me.id, me.incarnation, proposal.acted_on().leader);
    if remedy == Remedy::CopyAnew {
        proposal.keep(entry)?;
    }
    Ok(remedy)
}

fn remedy_of_lost(me: Me, dir: &Path, entry: &Assignment) -> DiskResult<Remedy> {
    if Proposal::open(dir)?.acted_on().leader.is_none() {
        // It went with the folder: for all that is known this broker has acted in this leader epoch, and may be about
        // to join the ISR.
        Proposal::open(dir)?.keep(entry)?;
    }
    remedy(me, dir, entry)
}
