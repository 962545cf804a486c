//! What is asked of the KafkaCluster: broker settings, producer ids.

use std::collections::BTreeMap;

use kube::api::PostParams;
use ottla_wire::ErrorCode;

use super::{Desk, Failed, Granted, refuse};
use crate::ask::{PRODUCER_ID_BLOCK, Swap};

impl Desk {
    /// Makes the difference between `from` and `to` in the spec, which holds a part of `from` in words of its own.
    pub(super) async fn set_broker_config(
        &self,
        from: &BTreeMap<String, String>,
        to: &BTreeMap<String, String>,
    ) -> Result<Granted<Swap>, Failed> {
        let mut cluster = self.clusters.get(&self.cluster_name).await?;
        if cluster.spec.broker_config() != *from {
            return Ok(Granted::at_once(Swap::Moved));
        }
        cluster.spec.config.retain(|name, _| to.contains_key(name));
        for (name, value) in to.iter().filter(|(name, value)| from.get(*name) != Some(value)) {
            cluster.spec.config.insert(name.clone(), value.clone());
        }
        let shown = cluster.spec.broker_config();
        self.clusters.replace(&self.cluster_name, &PostParams::default(), &cluster).await?;
        Ok(Granted::when(Swap::Done, move |image| *image.settings.config() == shown))
    }

    /// Takes the next block of producer ids: whoever's write is accepted has it. An object that was lost and made again does not tell
    /// what was taken before: this broker knows.
    pub(super) async fn producer_ids(&self) -> Result<Granted<i64>, Failed> {
        let mut cluster = self.clusters.get(&self.cluster_name).await?;
        let status = cluster.status.get_or_insert_default();
        let first = status.next_producer_id_block.max(self.known.borrow().next_producer_id_block()).unwrap_or(0);
        let Some(next) = first.checked_add(PRODUCER_ID_BLOCK) else {
            return Err(refuse(ErrorCode::UNKNOWN_SERVER_ERROR, "producer ids are exhausted"));
        };
        status.next_producer_id_block = Some(next);
        self.clusters.replace_status(&self.cluster_name, &PostParams::default(), &cluster).await?;
        Ok(Granted::at_once(first))
    }
}
