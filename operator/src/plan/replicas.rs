//! The condition ReplicasHealthy: the brokers that a topic's partitions wait for, and what an administrator can do.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use ottla_crds::{KafkaTopic, Recovery};
use ottla_rules::assignment::{Assignment, BrokerId, Incarnation, IsrMember, Live, RecoveryOrder, Refusal};
use ottla_rules::plan::election;
use serde_json::json;
use uuid::Uuid;

use super::condition::{Verdict, named};

/// How many orders one command has. A condition's message has at most 32 KiB; the other orders are shown when these are
/// obeyed.
const MOST_ORDERS: usize = 100;
const MOST_SENTENCES: usize = 10;

/// The health of a topic's replicas.
#[derive(Debug)]
pub struct Health {
    /// The condition ReplicasHealthy.
    pub verdict: Verdict,
    /// The brokers that partitions without a leader wait for, in sentences.
    pub waits: String,
    /// The number of partitions without a leader.
    pub offline: usize,
    /// The number of partitions that have a replica which is not in sync.
    pub under_replicated: usize,
}

/// The health of the replicas of the topic `id` with these `entries`, in the cluster `cluster_id`, if it has an id yet.
/// `returning` are brokers that died less than 30 s ago.
pub fn health(
    topic: &KafkaTopic,
    cluster_id: Option<&str>,
    id: Uuid,
    entries: &[Assignment],
    live: &Live,
    returning: &BTreeSet<BrokerId>,
) -> Health {
    let offline = election::offline(entries, live);
    let missing: Vec<(&Assignment, Vec<BrokerId>)> =
        entries.iter().map(|entry| (entry, missing(entry, live))).filter(|(_, missing)| !missing.is_empty()).collect();
    let lacks = |(entry, missing): &(&Assignment, Vec<BrokerId>), adding: bool| {
        let brokers: Vec<BrokerId> = missing.iter().filter(|id| entry.adding.contains(id) == adding).copied().collect();
        (!brokers.is_empty()).then_some((entry.partition, brokers))
    };
    let behind = together(missing.iter().filter_map(|one| lacks(one, false)));
    let joining = together(missing.iter().filter_map(|one| lacks(one, true)));
    let behind = behind.map(|Group { are, partitions, brokers, not_in_sync, .. }| {
        format!("{brokers} {not_in_sync} in sync with {partitions}, which {are} served by the others")
    });
    let joining = joining.map(|Group { are, partitions, brokers, .. }| {
        format!("{partitions} {are} moving and waiting for {brokers} to be in sync")
    });
    let (behind, joining): (Vec<String>, Vec<String>) = (behind.collect(), joining.collect());

    let waits = waits(&offline);
    let not = |reason, message| Verdict::new("ReplicasHealthy", false, reason, message);
    let verdict = if !offline.is_empty() {
        let recovering = entries.iter().any(|entry| entry.is_recovering(live));
        let reason = if recovering { "Recovering" } else { "PartitionsOffline" };
        let mut sentences = [waits.clone(), unreadable(entries)].concat();
        if let Some(cluster_id) = cluster_id {
            sentences.extend(refused(topic.spec.recovery_orders(cluster_id, id), entries, live));
            sentences.extend(way_out(topic, cluster_id, id, entries, live, returning));
        }
        not(reason, sentences.join("; "))
    } else if !behind.is_empty() {
        not("UnderReplicated", shortened([behind, joining].concat()).join("; "))
    } else if !joining.is_empty() {
        not("Moving", shortened(joining).join("; "))
    } else {
        Verdict::new("ReplicasHealthy", true, "InSync", "")
    };
    Health { verdict, waits: waits.join("; "), offline: offline.len(), under_replicated: missing.len() }
}

/// Which brokers partitions without a leader wait for, in sentences.
fn waits(offline: &[(i32, Vec<BrokerId>)]) -> Vec<String> {
    let sentence = |Group { are, partitions, brokers, nobody, .. }: Group| match nobody {
        true => format!("{partitions} {are} waiting for an election"),
        false => format!("{partitions} {are} waiting for {brokers}"),
    };
    shortened(together(offline.iter().cloned()).map(sentence).collect())
}

/// Which brokers can't read their logs of partitions without a leader, in sentences.
fn unreadable(entries: &[Assignment]) -> Vec<String> {
    let disowned = |entry: &Assignment| {
        let has_reported = |member: &&IsrMember| entry.reports.iter().any(|report| report.broker == member.broker);
        let members =
            entry.isr.iter().filter(|member| member.incarnation == Incarnation::NONE && !has_reported(member));
        (entry.partition, members.map(|member| member.broker).collect::<Vec<_>>())
    };
    let offline = entries.iter().filter(|entry| entry.leader.is_none()).map(disowned);
    let groups = together(offline.filter(|(_, brokers)| !brokers.is_empty()));
    shortened(
        groups
            .map(|Group { partitions, brokers, .. }| format!("{brokers} can't read the log of {partitions}"))
            .collect(),
    )
}

/// Why an administrator's orders are not obeyed.
fn refused(given: &[RecoveryOrder], entries: &[Assignment], live: &Live) -> Vec<String> {
    let refused = |entry: &Assignment| {
        let order = given.iter().find(|order| order.partition == entry.partition)?;
        let why = match entry.obey(order, live) {
            Err(Refusal::NotReplica) => "but that broker holds no replica".to_owned(),
            Err(Refusal::Behind) => "but that broker has not reported its log yet".to_owned(),
            Err(Refusal::OtherEpoch) => format!(
                "but the order is for leader epoch {}, and the present one is {}",
                order.leader_epoch, entry.leader_epoch
            ),
            _ => return None,
        };
        Some(format!("spec.recovery names broker {} for partition {}, {why}", order.broker, order.partition))
    };
    shortened(entries.iter().filter(|entry| entry.leader.is_none()).filter_map(refused).collect())
}

/// The command with which an administrator accepts losing the records that only the missing brokers have. `None` while
/// those brokers may be returning, because people would paste it.
fn way_out(
    topic: &KafkaTopic,
    cluster_id: &str,
    id: Uuid,
    entries: &[Assignment],
    live: &Live,
    returning: &BTreeSet<BrokerId>,
) -> Option<String> {
    let is_lost = |entry: &&Assignment| !entry.waits_for(live).iter().any(|broker| returning.contains(broker));
    let possible = entries.iter().filter(is_lost).filter_map(|entry| entry.possible_order(live));
    let partitions: Vec<RecoveryOrder> = possible.take(MOST_ORDERS).collect();
    if partitions.is_empty() {
        return None;
    }
    let recovery = Recovery { cluster_id: cluster_id.to_owned(), topic_id: id, partitions };
    let patch = json!({ "spec": { "recovery": recovery } });
    let (name, namespace) = (topic.name_any(), topic.namespace().unwrap_or_default());
    Some(format!(
        "if those brokers are lost for good, accept losing the records that only they hold: \
         kubectl patch kafkatopic {name} -n {namespace} --type merge -p '{patch}'"
    ))
}

/// The replicas that are not in sync.
fn missing(entry: &Assignment, live: &Live) -> Vec<BrokerId> {
    let in_sync = |id: &BrokerId| {
        let here = live.get(id).map(|broker| broker.incarnation);
        entry.isr.iter().any(|member| member.broker == *id && Some(member.incarnation) == here)
    };
    entry.replicas.iter().filter(|id| !in_sync(id)).copied().collect()
}

/// Partitions that wait for the same brokers, as words of a sentence.
struct Group {
    /// "partition 3", "partitions 0–2".
    partitions: String,
    /// "is", "are": the partitions' verb.
    are: &'static str,
    /// "broker 1", "brokers 1–2".
    brokers: String,
    /// "is not", "are not": the brokers' verb.
    not_in_sync: &'static str,
    /// Whether there are no brokers.
    nobody: bool,
}

/// Groups partitions that wait for the same brokers.
fn together(partitions: impl Iterator<Item = (i32, Vec<BrokerId>)>) -> impl Iterator<Item = Group> {
    let mut groups: BTreeMap<Vec<BrokerId>, Vec<i32>> = BTreeMap::new();
    for (partition, mut brokers) in partitions {
        brokers.sort_unstable();
        groups.entry(brokers).or_default().push(partition);
    }
    groups.into_iter().map(|(brokers, partitions)| Group {
        are: if partitions.len() == 1 { "is" } else { "are" },
        partitions: named("partition", partitions),
        not_in_sync: if brokers.len() == 1 { "is not" } else { "are not" },
        nobody: brokers.is_empty(),
        brokers: named("broker", brokers.into_iter().map(|id| id.0)),
    })
}

fn shortened(mut sentences: Vec<String>) -> Vec<String> {
    if sentences.len() > MOST_SENTENCES {
        sentences.truncate(MOST_SENTENCES);
        sentences.push("and others".to_owned());
    }
    sentences
}

#[cfg(test)]
mod tests {
    use ottla_rules::assignment::{IsrMember, LeaderEpoch, LiveBroker, PartitionEpoch, RecoveryReport};

    use super::*;

    const HERE: &str = "AAAAAAAAAAAAAAAAAAAAAA";

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    fn live(brokers: &[(i32, i64)]) -> Live {
        let broker =
            |(id, life): &(i32, i64)| (BrokerId(*id), LiveBroker { incarnation: Incarnation(*life), draining: false });
        brokers.iter().map(broker).collect()
    }

    /// On brokers 0 and 1, in epoch 4.
    fn entry(partition: i32, leader: Option<i32>, isr: &[i32]) -> Assignment {
        let member = |id: &i32| IsrMember { broker: BrokerId(*id), incarnation: Incarnation(1) };
        Assignment {
            partition,
            replicas: ids(&[0, 1]),
            adding: Vec::new(),
            removing: Vec::new(),
            leader: leader.map(BrokerId),
            leader_epoch: LeaderEpoch(4),
            partition_epoch: PartitionEpoch(9),
            isr: isr.iter().map(member).collect(),
            reports: Vec::new(),
            log_start: None,
        }
    }

    fn told(topic: &KafkaTopic, entries: &[Assignment], live: &Live) -> (&'static str, String) {
        told_after(topic, entries, live, &[])
    }

    fn told_after(
        topic: &KafkaTopic,
        entries: &[Assignment],
        live: &Live,
        returning: &[i32],
    ) -> (&'static str, String) {
        let returning = returning.iter().copied().map(BrokerId).collect();
        let health = health(topic, Some(HERE), Uuid::from_u128(7), entries, live, &returning);
        (health.verdict.reason, health.verdict.message)
    }

    #[test]
    fn the_condition_names_the_brokers_that_partitions_wait_for() {
        let topic = KafkaTopic::new("orders", Default::default());
        let all = live(&[(0, 1), (1, 1), (2, 1)]);
        let moving = |partition| entry(partition, Some(0), &[0, 1]).start_reassignment(&ids(&[2, 1])).unwrap();
        for (story, entries, live, expected) in [
            ("nobody", vec![entry(0, Some(0), &[0, 1])], &all, ("InSync", "")),
            (
                "a follower that catches up",
                vec![entry(0, Some(0), &[0]), entry(1, Some(0), &[0, 1]), entry(2, Some(0), &[0])],
                &all,
                ("UnderReplicated", "broker 1 is not in sync with partitions 0, 2, which are served by the others"),
            ),
            (
                "whom replicas move to",
                vec![moving(0), moving(1)],
                &all,
                ("Moving", "partitions 0–1 are moving and waiting for broker 2 to be in sync"),
            ),
            (
                "both",
                vec![moving(0), entry(1, Some(1), &[1])],
                &all,
                (
                    "UnderReplicated",
                    "broker 0 is not in sync with partition 1, which is served by the others; partition 0 is moving and waiting for broker 2 to be in \
                     sync",
                ),
            ),
            (
                "members that are away",
                vec![entry(0, None, &[0, 1]), entry(1, None, &[0]), entry(2, None, &[0, 1])],
                &live(&[]),
                (
                    "PartitionsOffline",
                    "partition 1 is waiting for broker 0; partitions 0, 2 are waiting for brokers 0–1",
                ),
            ),
            (
                "one that is here with other content",
                vec![entry(0, None, &[0, 1])],
                &live(&[(0, 2)]),
                ("Recovering", "partition 0 is waiting for brokers 0–1"),
            ),
            (
                "one that found that it can't read what it has",
                vec![entry(0, Some(0), &[0]).disown(BrokerId(0)).unwrap()],
                &all,
                ("Recovering", "partition 0 is waiting for broker 0; broker 0 can't read the log of partition 0"),
            ),
        ] {
            let (reason, message) = told(&topic, &entries, live);
            assert_eq!((reason, message.as_str()), expected, "{story}");
        }
    }

    #[test]
    fn the_condition_shows_the_command_and_why_an_order_is_refused() {
        let (broker, incarnation) = (BrokerId(1), Incarnation(2));
        let report = RecoveryReport { broker, incarnation, last_epoch: LeaderEpoch(3), log_end: 50, log_start: None };
        let waiting = entry(0, None, &[0, 1]).report(LeaderEpoch(4), report).unwrap();
        let here = live(&[(1, 2)]);
        let mut topic = KafkaTopic::new("orders", Default::default());
        topic.metadata.namespace = Some("shop".to_owned());
        let (reason, message) = told(&topic, std::slice::from_ref(&waiting), &here);
        assert_eq!(reason, "Recovering");
        assert_eq!(
            message,
            "partition 0 is waiting for broker 0; if those brokers are lost for good, accept losing the records that only they hold: kubectl patch kafkatopic \
             orders -n shop --type merge -p '{\"spec\":{\"recovery\":{\"clusterId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"partitions\":[{\"broker\":1,\"leaderEpoch\":4,\"partition\":0}],\
             \"topicId\":\"00000000-0000-0000-0000-000000000007\"}}}'"
        );

        let (_, message) = told_after(&topic, std::slice::from_ref(&waiting), &here, &[0]);
        assert_eq!(message, "partition 0 is waiting for broker 0", "it has only just gone");
        let (_, elsewhere) = told_after(&topic, std::slice::from_ref(&waiting), &here, &[2]);
        assert!(elsewhere.contains("kubectl patch"), "{elsewhere}");

        let order = |leader_epoch, broker| RecoveryOrder {
            partition: 0,
            leader_epoch: LeaderEpoch(leader_epoch),
            broker: BrokerId(broker),
        };
        for (leader_epoch, broker, expected) in [
            (4, 0, "spec.recovery names broker 0 for partition 0, but that broker has not reported its log yet"),
            (4, 2, "spec.recovery names broker 2 for partition 0, but that broker holds no replica"),
            (
                3,
                1,
                "spec.recovery names broker 1 for partition 0, but the order is for leader epoch 3, and the present \
                one is 4",
            ),
        ] {
            for (cluster_id, topic_id, is_meant) in
                [(HERE, 7, true), (HERE, 8, false), ("BBBBBBBBBBBBBBBBBBBBBA", 7, false)]
            {
                let (cluster_id, topic_id) = (cluster_id.to_owned(), Uuid::from_u128(topic_id));
                topic.spec.recovery =
                    Some(Recovery { cluster_id, topic_id, partitions: vec![order(leader_epoch, broker)] });
                let (_, message) = told(&topic, std::slice::from_ref(&waiting), &here);
                assert_eq!(message.contains(expected), is_meant, "{message}");
            }
        }

        topic.spec.recovery = Some(Recovery {
            cluster_id: HERE.to_owned(),
            topic_id: Uuid::from_u128(7),
            partitions: vec![RecoveryOrder { partition: 1, ..order(3, 1) }],
        });
        let (_, message) = told(&topic, &[waiting, entry(1, Some(0), &[0])], &here);
        assert!(!message.contains("present one"), "an order stays where it was obeyed: {message}");
    }
}
