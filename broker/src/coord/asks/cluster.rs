//! Changes of the KafkaCluster: settings of brokers and groups, producer ids.

use std::collections::BTreeMap;

use ottla_crds::KafkaCluster;
use ottla_kube::change;
use ottla_wire::ErrorCode;

use super::{AttemptError, Desk, Granted, refuse};
use crate::ask::{PRODUCER_ID_BLOCK, Swap, Whose};

impl Desk {
    /// Changes settings in the KafkaCluster to `to`, if they are still `from`.
    pub(super) async fn set_cluster_config(
        &self,
        whose: Whose,
        from: &BTreeMap<String, String>,
        to: &BTreeMap<String, String>,
    ) -> Result<Granted<Swap>, AttemptError> {
        let read = self.clusters.get(&self.cluster_name).await?;
        let config = |cluster: &KafkaCluster| match &whose {
            Whose::All => cluster.spec.broker_config(),
            Whose::Own => cluster.spec.brokers.own_config(self.me),
            Whose::Group(group) => cluster.spec.group_config(group),
        };
        if config(&read) != *from {
            return Ok(Granted::at_once(Swap::Moved));
        }
        let mut cluster = read.clone();
        match &whose {
            Whose::All => cluster.spec.set_broker_config(to),
            Whose::Own => cluster.spec.brokers.set_own_config(self.me, to.clone()),
            Whose::Group(group) => cluster.spec.set_group_config(group, to.clone()),
        }
        let written = config(&cluster);
        change::swap(&self.clusters, &read, &cluster).await?;
        Ok(Granted::when(Swap::Done, move |image| match &whose {
            Whose::All => *image.settings.config() == written,
            Whose::Own => *image.settings.own_config() == written,
            Whose::Group(group) => *image.group_config(group) == written,
        }))
    }

    /// Takes the next block of producer ids: the broker whose write is accepted has it. An object that was lost and
    /// created again does not show what was taken before: this broker knows.
    pub(super) async fn producer_ids(&self) -> Result<Granted<i64>, AttemptError> {
        let read = self.clusters.get(&self.cluster_name).await?;
        let mut cluster = read.clone();
        let status = cluster.status.get_or_insert_default();
        let first = status.next_producer_id_block.max(self.known.borrow().next_producer_id_block()).unwrap_or(0);
        let Some(next) = first.checked_add(PRODUCER_ID_BLOCK) else {
            return Err(refuse(ErrorCode::UNKNOWN_SERVER_ERROR, "producer ids are exhausted"));
        };
        status.next_producer_id_block = Some(next);
        change::swap_status(&self.clusters, &read, &cluster).await?;
        Ok(Granted::at_once(first))
    }
}
