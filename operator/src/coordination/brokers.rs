//! Who is there, by what observation tells of the brokers' Leases.

use std::collections::BTreeMap;

use ottla_crds::assignment::{BrokerId, LiveBroker};
use ottla_crds::lease::{BrokerSession, Sight, Sighting, Sightings};
use ottla_crds::names;

use crate::plan::Broker;

/// The brokers among the Leases of a cluster.
pub fn brokers(cluster: &str, sightings: &Sightings) -> BTreeMap<BrokerId, Broker> {
    let broker = |(lease, sighting): (&String, &Sighting)| Some((names::broker_id(cluster, lease)?, read(sighting)));
    sightings.iter().filter_map(broker).collect()
}

fn read(sighting: &Sighting) -> Broker {
    let session = BrokerSession::from_annotations(&sighting.annotations);
    let live = session.filter(|_| is_there(sighting.sight));
    let endpoints = sighting.annotations.get(names::ENDPOINTS_ANNOTATION);
    Broker {
        live: live.map(|session| LiveBroker { incarnation: session.incarnation, draining: session.draining }),
        rack: sighting.annotations.get(names::RACK_ANNOTATION).cloned(),
        endpoints: endpoints.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
    }
}

/// A broker that has just been sighted counts as there: a wrong guess costs a few seconds, and waiting for its first renewal
/// would cost each topic of a new cluster two.
fn is_there(sight: Sight) -> bool {
    match sight {
        Sight::Unknown | Sight::Alive | Sight::Overdue => true,
        Sight::Expired | Sight::Released => false,
    }
}
