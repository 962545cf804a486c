//! The brokers as the plan needs them: whether they are live, by their Leases, connections and pods; and their
//! addresses, by Kubernetes or by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ottla_crds::{KafkaCluster, names};
use ottla_kube::lease::{BrokerSession, Knowledge, Sight, Sighting, Sightings};
use ottla_rules::assignment::{BrokerId, LiveBroker};
use ottla_rules::features::SupportedFeatures;

use super::liveness::pings::{Heard, Target};
use super::liveness::{Evidence, Missed, Ping, Pod, alive, pods};
use crate::plan::platform::Platform;
use crate::plan::{Broker, HeldBack};

/// The brokers of a cluster, as observation shows them.
pub struct Observation<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// Their Leases.
    pub leases: &'a Sightings,
    /// Their answers.
    pub heard: &'a BTreeMap<BrokerId, Heard>,
    /// The missed brokers.
    pub missed: &'a Missed,
    /// Their pods; `None` on a laptop.
    pub pods: Option<&'a BTreeMap<BrokerId, pods::BrokerPod>>,
    /// Their addresses on Kubernetes; `None`: they write these on their Leases.
    pub platform: Option<&'a Platform>,
}

/// The unheard brokers, by the Leases of live followers.
pub fn unheard<'a>(
    cluster: &'a str,
    leases: &'a Sightings,
    heard: &'a BTreeMap<BrokerId, Heard>,
) -> impl Iterator<Item = BrokerId> + 'a {
    let is_there = |(lease, sighting): &(&String, &Sighting)| {
        let id = names::broker_id(cluster, lease);
        sighting.sight == Sight::Alive && id.is_some_and(|id| heard.get(&id) == Some(&Heard::Answers))
    };
    let ids = leases.iter().filter(is_there).flat_map(|(_, sighting)| listed(sighting, names::UNHEARD_ANNOTATION));
    ids.filter_map(|id| Some(BrokerId(id.parse().ok()?)))
}

/// The missing topics, by the Leases of live and dead brokers: a broker holds partitions of them, and no assignment
/// names them.
pub fn missing(cluster: &str, leases: &Sightings) -> BTreeSet<String> {
    let brokers = leases.iter().filter(|(lease, _)| names::broker_id(cluster, lease).is_some());
    brokers.flat_map(|(_, sighting)| listed(sighting, names::MISSING_ANNOTATION)).map(str::to_owned).collect()
}

/// The forked partitions of each broker, dead or alive, by its Lease: those of which it acts on another history than
/// the API server shows.
pub fn forked(cluster: &str, leases: &Sightings) -> BTreeMap<BrokerId, BTreeSet<String>> {
    let of_broker = |(lease, sighting): (&String, &Sighting)| {
        let forked: BTreeSet<String> = listed(sighting, names::FORKED_ANNOTATION).map(str::to_owned).collect();
        Some((names::broker_id(cluster, lease)?, forked)).filter(|(_, forked)| !forked.is_empty())
    };
    leases.iter().filter_map(of_broker).collect()
}

/// A list in an annotation of a broker's Lease.
fn listed<'a>(sighting: &'a Sighting, annotation: &'static str) -> impl Iterator<Item = &'a str> {
    let said = sighting.annotations.get(annotation).map_or("", String::as_str);
    said.split(',').filter(|item| !item.is_empty())
}

impl Observation<'_> {
    fn by_id(&self) -> impl Iterator<Item = (BrokerId, &Sighting)> {
        self.leases.iter().filter_map(|(lease, sighting)| Some((names::broker_id(self.cluster, lease)?, sighting)))
    }

    /// The brokers that were ever live: they have a Lease.
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
            let http = sighting.annotations.get(names::HTTP_ANNOTATION);
            let disk = sighting.annotations.get(names::DISK_ANNOTATION).map_or("", String::as_str);
            let hangs = disk == names::HANGING;
            let broker = Broker {
                live: session.map(|session| LiveBroker {
                    incarnation: session.incarnation,
                    draining: session.draining || told_to_stop || hangs,
                }),
                rack: None,
                address: None,
                endpoints: endpoints.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
                http: http.and_then(|address| address.parse().ok()),
                is_filling: disk == names::FILLING,
                hangs,
                // A version that says nothing of features supports none.
                features: Some(SupportedFeatures::from_annotation(
                    sighting.annotations.get(names::FEATURES_ANNOTATION).map_or("", String::as_str),
                )),
            };
            (id, broker)
        };
        let mut brokers: BTreeMap<BrokerId, Broker> = self.by_id().map(broker).collect();
        for (id, place) in self.platform.into_iter().flat_map(|platform| &platform.places) {
            let broker = brokers.entry(*id).or_default();
            broker.rack.clone_from(&place.rack);
            broker.address.clone_from(&place.address);
            let ip = place.address.as_ref().and_then(|address| address.parse::<IpAddr>().ok());
            broker.http = broker.http.or(ip.map(|ip| SocketAddr::new(ip, names::HTTP_PORT)));
            broker.endpoints.clone_from(&place.endpoints);
        }
        brokers
    }

    /// Why no entry may be written now: the API server may have been set back, and a live broker may know newer
    /// entries. `None`: entries may be written. Only dead brokers are not waited for, so that a fail-over waits for no
    /// broker: all others renew within two seconds after the watch has started again.
    pub fn held_back(&self, brokers: &BTreeMap<BrokerId, Broker>) -> Option<HeldBack> {
        let is_there = |id: &BrokerId| brokers.get(id).is_some_and(|broker| broker.live.is_some());
        let there = || self.by_id().filter(|(id, _)| is_there(id));
        let that = |knows: Knowledge| there().filter(move |(_, sighting)| sighting.knowledge() == knows);
        let ahead: Vec<BrokerId> = that(Knowledge::Newer).map(|(id, _)| id).collect();
        if !ahead.is_empty() {
            return Some(HeldBack::SetBack(ahead));
        }
        if that(Knowledge::NotCompared).next().is_some() {
            return Some(HeldBack::Comparing);
        }
        there().any(|(_, sighting)| sighting.sight == Sight::Unknown).then_some(HeldBack::Unheard)
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
        Evidence {
            lease: sighting.sight,
            ping,
            missed: self.missed.contains(id),
            pod: pods::tell(self.pods, id, sighting.acquired),
        }
    }

    /// Where to ping each broker that has a Lease: at its pod's address, or else at the address that it advertises on
    /// the listener for replication, or else on the inter-broker listener.
    pub fn targets(&self, cluster: Option<&KafkaCluster>) -> BTreeMap<BrokerId, Target> {
        let Some(cluster) = cluster else { return BTreeMap::new() };
        let Some(listener) = cluster.spec.inter_broker_listener() else { return BTreeMap::new() };
        let told = |id: BrokerId, listener: &str| {
            let broker = cluster.status.as_ref()?.brokers.iter().find(|broker| broker.id == id)?;
            broker.endpoints.iter().find(|endpoint| endpoint.listener == listener)
        };
        let target = |(id, sighting): (BrokerId, &Sighting)| {
            let pod = self.pods.and_then(|pods| pods.get(&id)?.address.clone());
            let secure = told(id, names::REPLICATION_LISTENER);
            let told = secure.or_else(|| told(id, &listener.name));
            let port = secure.map_or_else(|| pod.as_ref().map(|_| listener.port), |secure| Some(secure.port));
            let port = u16::try_from(port.or_else(|| Some(told?.port))?).ok()?;
            let host = pod.or_else(|| Some(told?.host.clone()))?;
            let tls_name = secure.map(|_| names::broker_server_name(id));
            Some((id, Target { host, port, tls_name, holder: sighting.holder.clone() }))
        };
        self.by_id().filter_map(target).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn that_says(sight: Sight, annotation: &str, said: &str) -> Sighting {
        let annotations = BTreeMap::from([(annotation.to_owned(), said.to_owned())]);
        Sighting { sight, holder: None, acquired: None, is_past: false, annotations }
    }

    #[test]
    fn what_any_broker_misses_is_missing() {
        let lease = |sight, missing| that_says(sight, names::MISSING_ANNOTATION, missing);
        let leases: Sightings = [
            (names::broker("prod", BrokerId(0)), lease(Sight::Alive, "a,b")),
            (names::broker("prod", BrokerId(1)), lease(Sight::Expired, "b,c")),
            (names::broker("prod", BrokerId(2)), lease(Sight::Alive, "")),
            (names::broker("other", BrokerId(0)), lease(Sight::Alive, "d")),
        ]
        .into();
        assert_eq!(missing("prod", &leases).into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn a_lease_without_features_is_one_of_a_version_without_and_no_lease_says_nothing() {
        let leases: Sightings = [
            (
                names::broker("prod", BrokerId(0)),
                that_says(Sight::Alive, names::FEATURES_ANNOTATION, "share.version=1"),
            ),
            (names::broker("prod", BrokerId(1)), that_says(Sight::Alive, names::MISSING_ANNOTATION, "")),
        ]
        .into();
        let places = (0..3).map(|id| (BrokerId(id), Default::default())).collect();
        let platform = Platform { places, ..Platform::default() };
        let (heard, missed) = (BTreeMap::new(), Missed::default());
        let observed = Observation {
            cluster: "prod",
            leases: &leases,
            heard: &heard,
            missed: &missed,
            pods: None,
            platform: Some(&platform),
        };
        let said: Vec<Option<String>> =
            observed.brokers().into_values().map(|broker| Some(broker.features?.annotation())).collect();
        assert_eq!(said, [Some("share.version=1".to_owned()), Some(String::new()), None]);
    }

    #[test]
    fn who_reports_which_forks_is_known() {
        let lease = |forked| that_says(Sight::Alive, names::FORKED_ANNOTATION, forked);
        let leases: Sightings = [
            (names::broker("prod", BrokerId(0)), lease("a-0,b-1")),
            (names::broker("prod", BrokerId(1)), lease("")),
            (names::broker("other", BrokerId(2)), lease("d-0")),
        ]
        .into();
        let expected = BTreeSet::from(["a-0".to_owned(), "b-1".to_owned()]);
        assert_eq!(forked("prod", &leases), BTreeMap::from([(BrokerId(0), expected)]));
    }

    #[test]
    fn no_entry_is_written_while_a_broker_that_is_there_may_know_newer_ones() {
        let says = |sight, newer| that_says(sight, names::NEWER_ANNOTATION, newer);
        let past = || Sighting { is_past: true, ..says(Sight::Alive, "0") };
        let well = || says(Sight::Alive, "0");
        let of_an_older_version = Sighting { annotations: BTreeMap::new(), ..well() };
        let set_back = Some(HeldBack::SetBack(vec![BrokerId(0)]));
        for (story, zero, is_there, expected) in [
            ("all is well", well(), true, None),
            ("one that says nothing of it", of_an_older_version, true, None),
            ("it was not heard since the watch began", says(Sight::Unknown, "0"), true, Some(HeldBack::Unheard)),
            ("the same, and it is dead", says(Sight::Unknown, "0"), false, None),
            ("it knows newer entries", says(Sight::Alive, "3"), true, set_back.clone()),
            ("the same, and it is dead", says(Sight::Expired, "3"), false, None),
            (
                "it lists everything again, or was started without the API server",
                says(Sight::Alive, names::NOT_COMPARED),
                true,
                Some(HeldBack::Comparing),
            ),
            ("the same, and it is dead", says(Sight::Expired, names::NOT_COMPARED), false, None),
            ("it has renewed after a restore, and has not noticed yet", past(), true, set_back),
        ] {
            let leases: Sightings =
                [(names::broker("prod", BrokerId(0)), zero), (names::broker("prod", BrokerId(1)), well())].into();
            let (heard, missed) = (BTreeMap::new(), Missed::default());
            let observed = Observation {
                cluster: "prod",
                leases: &leases,
                heard: &heard,
                missed: &missed,
                pods: None,
                platform: None,
            };
            let live = LiveBroker { incarnation: ottla_rules::assignment::Incarnation(1), draining: false };
            let there = |live| Broker { live, ..Broker::default() };
            let brokers = [(BrokerId(0), there(is_there.then_some(live))), (BrokerId(1), there(Some(live)))].into();
            assert_eq!(observed.held_back(&brokers), expected, "{story}");
        }
    }

    #[test]
    fn a_broker_whose_disk_hangs_drains_and_one_whose_disk_fills_up_does_not() {
        let session = BrokerSession { incarnation: ottla_rules::assignment::Incarnation(1), start: 1, draining: false };
        for (disk, hangs, is_filling) in
            [("", false, false), (names::FILLING, false, true), (names::HANGING, true, false), ("new", false, false)]
        {
            let mut lease = that_says(Sight::Alive, names::DISK_ANNOTATION, disk);
            lease.annotations.extend(session.annotations());
            let (leases, heard, missed) =
                ([(names::broker("prod", BrokerId(0)), lease)].into(), BTreeMap::new(), Missed::default());
            let observed = Observation {
                cluster: "prod",
                leases: &leases,
                heard: &heard,
                missed: &missed,
                pods: None,
                platform: None,
            };
            let broker = &observed.brokers()[&BrokerId(0)];
            let drains = broker.live.map(|live| live.draining);
            assert_eq!((drains, broker.hangs, broker.is_filling), (Some(hangs), hangs, is_filling), "{disk}");
        }
    }

    #[test]
    fn only_brokers_that_are_there_themselves_are_witnesses() {
        let lease = |sight, unheard| that_says(sight, names::UNHEARD_ANNOTATION, unheard);
        let leases: Sightings = [
            (names::broker("prod", BrokerId(0)), lease(Sight::Alive, "4,5")),
            (names::broker("prod", BrokerId(1)), lease(Sight::Alive, "6")),
            (names::broker("prod", BrokerId(2)), lease(Sight::Overdue, "7")),
            (names::broker("prod", BrokerId(3)), lease(Sight::Alive, "")),
            ("another".to_owned(), lease(Sight::Alive, "8")),
        ]
        .into();
        let heard = [(0, Heard::Answers), (1, Heard::Silent), (2, Heard::Answers), (3, Heard::Answers)];
        let heard = heard.map(|(id, heard)| (BrokerId(id), heard)).into();
        assert_eq!(unheard("prod", &leases, &heard).collect::<Vec<_>>(), [BrokerId(4), BrokerId(5)]);
    }
}
