//! What is said about the cluster: its id, its brokers, where clients begin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ottla_config::check_broker_config;
use ottla_crds::assignment::BrokerId;
use ottla_crds::{BrokerState, BrokerStatus, KafkaCluster, KafkaClusterStatus, ListenerStatus};
use uuid::Uuid;

use super::condition::{self, Verdict, conditions, ranges};
use super::platform::{Obstacle, Platform};
use super::{Broker, News, Step, World};

/// The cluster's status, if it says something new.
pub fn status(world: &World, cluster: &Arc<KafkaCluster>) -> Option<Step> {
    let before = cluster.status.clone().unwrap_or_default();
    let brokers = brokers(world, cluster, &before);
    let online = brokers.iter().filter(|broker| broker.state != BrokerState::Offline).count();
    let verdicts = verdicts(world, cluster, &brokers);
    let platform = world.platform.as_deref();
    let earlier_id = || platform.and_then(|platform| platform.cluster_id.clone());
    let id = before.cluster_id.or_else(earlier_id).unwrap_or_else(|| cluster_id(world.fresh_cluster_id));
    let status = KafkaClusterStatus {
        observed_generation: cluster.metadata.generation,
        operator: before.operator,
        cluster_id: Some(id),
        replicas: i32::try_from(online).ok(),
        listeners: match platform {
            None => listeners(&brokers),
            // Of a spec that can't be built nothing is known.
            Some(platform) if platform.listeners.is_empty() => before.listeners,
            Some(platform) => platform.listeners.clone(),
        },
        brokers,
        next_producer_id_block: before.next_producer_id_block,
        conditions: conditions(&before.conditions, &verdicts, cluster.metadata.generation, &world.now),
    };
    if cluster.status.as_ref() == Some(&status) {
        return None;
    }
    let was = condition::reason(&before.conditions, "Ready");
    let news = verdicts.iter().find(|verdict| verdict.type_ == "Ready" && was != Some(verdict.reason));
    let news = news.map(|ready| News {
        warning: !ready.status,
        reason: ready.reason.to_owned(),
        note: if ready.message.is_empty() { "every broker is online".to_owned() } else { ready.message.clone() },
    });
    let mut cluster = KafkaCluster::clone(cluster);
    cluster.status = Some(status);
    Some(Step::ClusterStatus(Box::new(cluster), news))
}

/// Kafka writes a uuid in 22 characters of base64, and never draws one that begins with a dash: it would look like an option.
fn cluster_id(fresh: Uuid) -> String {
    let id = URL_SAFE_NO_PAD.encode(fresh.as_bytes());
    if id.starts_with('-') { id.replacen('-', "A", 1) } else { id }
}

/// Every broker that the spec asks for, and every other that is there or has something: a Lease that nobody holds any more is
/// no broker.
fn brokers(world: &World, cluster: &KafkaCluster, before: &KafkaClusterStatus) -> Vec<BrokerStatus> {
    let wanted = (0..cluster.spec.brokers.replicas).map(BrokerId);
    let there = world.brokers.iter().filter(|(_, broker)| broker.live.is_some()).map(|(id, _)| *id);
    let entries = world.assignments.iter().flat_map(|object| &object.spec.partitions);
    let holding = entries.flat_map(|entry| entry.replicas.iter().copied());
    let ids: BTreeSet<BrokerId> = wanted.chain(there).chain(holding).collect();
    let unseen = Broker::default();
    let known: BTreeMap<BrokerId, &BrokerStatus> = before.brokers.iter().map(|broker| (broker.id, broker)).collect();
    let tell = |id: BrokerId| {
        let broker = world.brokers.get(&id).unwrap_or(&unseen);
        let state = match broker.live {
            None => BrokerState::Offline,
            Some(live) if live.draining => BrokerState::Draining,
            Some(_) => BrokerState::Online,
        };
        // A Lease that was deleted says nothing; what it said goes on being true until the broker is back.
        let mut endpoints = broker.endpoints.clone();
        if endpoints.is_empty() {
            endpoints = known.get(&id).map(|broker| broker.endpoints.clone()).unwrap_or_default();
        }
        let rack = broker.rack.clone().or_else(|| known.get(&id)?.rack.clone());
        let address = broker.address.clone().or_else(|| known.get(&id)?.address.clone());
        BrokerStatus { id, rack, address, state, endpoints }
    };
    ids.into_iter().map(tell).collect()
}

/// What to give clients, per listener. Brokers that are away stay in: the list should not change with every restart.
fn listeners(brokers: &[BrokerStatus]) -> Vec<ListenerStatus> {
    let mut addresses: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for endpoint in brokers.iter().flat_map(|broker| &broker.endpoints) {
        addresses.entry(&endpoint.listener).or_default().push(format!("{}:{}", endpoint.host, endpoint.port));
    }
    let listener = |(name, addresses): (&str, Vec<String>)| ListenerStatus {
        name: name.to_owned(),
        bootstrap_servers: addresses.join(","),
    };
    addresses.into_iter().map(listener).collect()
}

fn verdicts(world: &World, cluster: &KafkaCluster, brokers: &[BrokerStatus]) -> Vec<Verdict> {
    let platform = world.platform.as_deref();
    let obstacle = platform.and_then(|platform| platform.obstacle.as_ref());
    let waiting = platform.and_then(|platform| platform.waiting.as_ref());
    let away: Vec<i32> = brokers.iter().filter(|b| b.state == BrokerState::Offline).map(|b| b.id.0).collect();
    let standing = world.assignments.iter().filter(|assignment| !assignment.spec.deleted);
    let leaderless = standing.flat_map(|object| &object.spec.partitions).filter(|entry| entry.leader.is_none()).count();
    // Why a broker is away, if Kubernetes knows.
    let because = waiting.map_or_else(String::new, |waiting| format!(": {}", waiting.message));

    let available = if leaderless > 0 {
        Verdict::new("Available", false, "PartitionsOffline", format!("{leaderless} partitions have no leader"))
    } else if away.len() == brokers.len() {
        Verdict::new("Available", false, "NoBrokers", format!("no broker is online{because}"))
    } else {
        Verdict::new("Available", true, "Available", "")
    };
    let degraded = if away.is_empty() {
        Verdict::new("Degraded", false, "BrokersOnline", "")
    } else {
        let message = format!("brokers {} are offline{because}", ranges(away));
        Verdict::new("Degraded", true, "BrokersOffline", message)
    };
    let ready = match (check_broker_config(&cluster.spec.broker_config()), obstacle) {
        (Err(error), _) => Verdict::new("Ready", false, "InvalidConfig", error.to_string()),
        (Ok(()), Some(obstacle)) => Verdict::new("Ready", false, obstacle.reason, &obstacle.message),
        (Ok(()), None) if !available.status => Verdict { type_: "Ready", ..available.clone() },
        (Ok(()), None) if degraded.status => Verdict { type_: "Ready", status: false, ..degraded.clone() },
        (Ok(()), None) => Verdict::new("Ready", true, "Ready", ""),
    };
    let mut verdicts = vec![ready, available, degraded];
    if let Some(platform) = platform {
        verdicts.push(progressing(platform, obstacle.or(waiting)));
    }
    verdicts
}

fn progressing(platform: &Platform, in_the_way: Option<&Obstacle>) -> Verdict {
    match in_the_way {
        Some(in_the_way) => Verdict::new("Progressing", true, in_the_way.reason, &in_the_way.message),
        None if !platform.outdated.is_empty() => {
            let brokers = ranges(platform.outdated.iter().map(|id| id.0));
            let message =
                format!("brokers {brokers} run with an earlier spec of their pods until their pods are deleted");
            Verdict::new("Progressing", true, "RestartNeeded", message)
        }
        None => Verdict::new("Progressing", false, "Settled", ""),
    }
}
