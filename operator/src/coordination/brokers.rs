//! Who is there, by what is known of the brokers' Leases, connections and pods; and where, by what Kubernetes or they
//! themselves say.

use std::collections::{BTreeMap, BTreeSet};

use ottla_crds::assignment::{BrokerId, LiveBroker};
use ottla_crds::lease::{BrokerSession, Sighting, Sightings};
use ottla_crds::{KafkaCluster, names};

use super::liveness::pings::{Heard, Target};
use super::liveness::{Evidence, Ping, Pod, alive, pods};
use crate::plan::Broker;
use crate::plan::platform::Platform;

/// The brokers of a cluster, as observation shows them.
pub struct Observation<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// Their Leases.
    pub leases: &'a Sightings,
    /// Their answers.
    pub heard: &'a BTreeMap<BrokerId, Heard>,
    /// Their pods, where there are any.
    pub pods: Option<&'a BTreeMap<BrokerId, pods::Seen>>,
    /// Where they are, where it is not they who say so.
    pub platform: Option<&'a Platform>,
}

impl Observation<'_> {
    fn by_id(&self) -> impl Iterator<Item = (BrokerId, &Sighting)> {
        self.leases.iter().filter_map(|(lease, sighting)| Some((names::broker_id(self.cluster, lease)?, sighting)))
    }

    /// Those that have ever been there, which have left a Lease.
    pub fn registered(&self) -> BTreeSet<BrokerId> {
        self.by_id().map(|(id, _)| id).collect()
    }

    /// Every broker that has a Lease, and whether it is alive; on Kubernetes also those that have none yet.
    pub fn brokers(&self) -> BTreeMap<BrokerId, Broker> {
        let evidence: BTreeMap<BrokerId, Evidence> =
            self.by_id().map(|(id, sighting)| (id, self.evidence(id, sighting))).collect();
        let alive = alive(&evidence);
        let broker = |(id, sighting): (BrokerId, &Sighting)| {
            let session = BrokerSession::from_annotations(&sighting.annotations).filter(|_| alive.contains(&id));
            let told_to_stop = evidence.get(&id).is_some_and(|evidence| evidence.pod == Pod::Ends);
            let endpoints = sighting.annotations.get(names::ENDPOINTS_ANNOTATION);
            let broker = Broker {
                live: session.map(|session| LiveBroker {
                    incarnation: session.incarnation,
                    draining: session.draining || told_to_stop,
                }),
                rack: None,
                endpoints: endpoints.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
            };
            (id, broker)
        };
        let mut brokers: BTreeMap<BrokerId, Broker> = self.by_id().map(broker).collect();
        for (id, place) in self.platform.into_iter().flat_map(|platform| &platform.places) {
            let broker = brokers.entry(*id).or_default();
            broker.rack.clone_from(&place.rack);
            broker.endpoints.clone_from(&place.endpoints);
        }
        brokers
    }

    fn evidence(&self, id: BrokerId, sighting: &Sighting) -> Evidence {
        let ping = match self.heard.get(&id) {
            None => Ping::Unasked,
            Some(Heard::Answers) => Ping::Answers,
            Some(Heard::Silent) => Ping::Silent,
            Some(Heard::Gone(holder)) if *holder == sighting.holder => Ping::Gone,
            // Another process has taken over the Lease since.
            Some(Heard::Gone(_)) => Ping::Unasked,
        };
        Evidence { lease: sighting.sight, ping, pod: pods::tell(self.pods, id, sighting.acquired) }
    }

    /// Where to ask those that have a Lease: at their pod's address, or else where clients of the listener between brokers go.
    pub fn targets(&self, cluster: Option<&KafkaCluster>) -> BTreeMap<BrokerId, Target> {
        let Some(cluster) = cluster else { return BTreeMap::new() };
        let Some(listener) = cluster.spec.inter_broker_listener() else { return BTreeMap::new() };
        let told = |id: BrokerId| {
            let broker = cluster.status.as_ref()?.brokers.iter().find(|broker| broker.id == id)?;
            let endpoint = broker.endpoints.iter().find(|endpoint| endpoint.listener == listener.name)?;
            Some((endpoint.host.clone(), endpoint.port))
        };
        let target = |(id, sighting): (BrokerId, &Sighting)| {
            let pod = self.pods.and_then(|pods| pods.get(&id)?.address.clone());
            let (host, port) = pod.map(|host| (host, listener.port)).or_else(|| told(id))?;
            Some((id, Target { host, port: u16::try_from(port).ok()?, holder: sighting.holder.clone() }))
        };
        self.by_id().filter_map(target).collect()
    }
}
