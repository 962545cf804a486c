//! What the clusters' statuses show, read at each scrape.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use ottla_crds::{AuthorityStatus, IssuerStatus, KafkaClusterStatus, MovesStatus};
use ottla_rules::plan::roster::Wanted;
use parking_lot::Mutex;
use prometheus::{IntGaugeVec, Registry};

use super::register::{count, gauges_of_clusters, labels};
use crate::cluster::watches::ClusterKey;

/// What the statuses show, and its metrics.
pub struct Statuses {
    shown: Mutex<BTreeMap<ClusterKey, ShownStatus>>,
    gauges: Gauges,
}

/// What a cluster's status shows.
struct ShownStatus {
    conditions: Vec<Condition>,
    /// `None`: the operator moves no replica.
    moves: Option<MovesStatus>,
    /// How many brokers leave.
    leaving: usize,
    authorities: Vec<AuthorityStatus>,
    issuers: Vec<IssuerStatus>,
}

struct Gauges {
    conditions: IntGaugeVec,
    leaving: IntGaugeVec,
    moves_left: IntGaugeVec,
    moves_blocked: IntGaugeVec,
    authority_expiry: IntGaugeVec,
    authority_phase: IntGaugeVec,
    issuer_unreadable: IntGaugeVec,
}

impl Statuses {
    pub(super) fn new(registry: &Registry) -> Statuses {
        Statuses { shown: Mutex::default(), gauges: Gauges::new(registry) }
    }

    /// Notes what a cluster's status shows of conditions, moves, brokers, authorities and issuers.
    pub fn shows(&self, cluster: &ClusterKey, status: KafkaClusterStatus) {
        let KafkaClusterStatus { conditions, moves, brokers, authorities, issuers, .. } = status;
        let leaving = brokers.iter().filter(|broker| broker.wanted == Wanted::Leaving).count();
        self.shown.lock().insert(cluster.clone(), ShownStatus { conditions, moves, leaving, authorities, issuers });
    }

    pub(super) fn forget(&self, cluster: &ClusterKey) {
        self.shown.lock().remove(cluster);
    }

    /// Sets the metrics to what is shown. They stay so until what is returned is dropped: another scrape begins with a
    /// reset.
    pub(super) fn refresh(&self) -> impl Sized {
        let shown = self.shown.lock();
        self.gauges.reset();
        for (cluster, shown) in &*shown {
            self.gauges.set(cluster, shown);
        }
        shown
    }
}

impl Gauges {
    fn new(registry: &Registry) -> Gauges {
        let gauges = |name: &str, help: &str, more: &[&str]| gauges_of_clusters(registry, name, help, more);
        Gauges {
            conditions: gauges(
                "ottla_operator_cluster_condition",
                "A condition of a KafkaCluster's status: 1 while it is True, else 0.",
                &["condition", "reason"],
            ),
            leaving: gauges(
                "ottla_operator_brokers_leaving",
                "Brokers that the spec of a cluster no longer asks for, and that have not left yet.",
                &[],
            ),
            moves_left: gauges("ottla_operator_moves_left", "Replicas that are to move to other brokers.", &[]),
            moves_blocked: gauges(
                "ottla_operator_moves_blocked",
                "Topics with replicas that must leave a broker and can't until somebody acts.",
                &[],
            ),
            authority_expiry: gauges(
                "ottla_operator_authority_expiry_timestamp_seconds",
                "When the certificate of a cluster's authority ends, in seconds since 1970.",
                &["authority"],
            ),
            authority_phase: gauges(
                "ottla_operator_authority_phase",
                "The phase of a cluster's authority: 1 while it waits for brokers, else 0.",
                &["authority", "phase"],
            ),
            issuer_unreadable: gauges(
                "ottla_operator_issuer_unreadable",
                "1 while the keys of an issuer of tokens can't be read, or a listener takes those for the API server, \
                 else 0.",
                &["issuer"],
            ),
        }
    }

    fn reset(&self) {
        self.conditions.reset();
        self.leaving.reset();
        self.moves_left.reset();
        self.moves_blocked.reset();
        self.authority_expiry.reset();
        self.authority_phase.reset();
        self.issuer_unreadable.reset();
    }

    fn set(&self, cluster: &ClusterKey, shown: &ShownStatus) {
        let ShownStatus { conditions, moves, leaving, authorities, issuers } = shown;
        let labels @ [namespace, name] = labels(cluster);
        self.leaving.with_label_values(&labels).set(count(*leaving));
        let blocked = moves.as_ref().map_or(0, |moves| moves.blocked_by.len());
        self.moves_left.with_label_values(&labels).set(moves.as_ref().map_or(0, |moves| moves.left.into()));
        self.moves_blocked.with_label_values(&labels).set(count(blocked));
        for condition in conditions {
            let labels = [namespace, name, &condition.type_, &condition.reason];
            self.conditions.with_label_values(&labels).set((condition.status == "True").into());
        }
        for authority in authorities {
            if let Ok(end) = authority.not_after.parse::<Timestamp>() {
                self.authority_expiry.with_label_values(&[namespace, name, &authority.name]).set(end.as_second());
            }
            let labels = [namespace, name, &authority.name, &authority.phase];
            self.authority_phase.with_label_values(&labels).set(authority.waits_for_brokers().into());
        }
        for issuer in issuers {
            let labels = [namespace, name, &issuer.name];
            self.issuer_unreadable.with_label_values(&labels).set(issuer.problem.is_some().into());
        }
    }
}
