//! The operator's metrics for Prometheus.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use ottla_crds::{AuthorityStatus, IssuerStatus, KafkaClusterStatus, MovesStatus};
use ottla_rules::plan::roster::Wanted;
use parking_lot::Mutex;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::cluster::watches::ClusterKey;

/// A cluster's labels: `namespace` is that of the pod that is scraped.
const CLUSTER: [&str; 2] = ["cluster_namespace", "kafka_cluster"];

/// The operator's metrics.
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    failures: IntCounterVec,
    duration: Histogram,
    last_success: GaugeVec,
    conditions: IntGaugeVec,
    to_restart: IntGaugeVec,
    leaving: IntGaugeVec,
    /// What the clusters' statuses show, read at each scrape.
    shown: Mutex<BTreeMap<ClusterKey, Shown>>,
    moves_left: IntGaugeVec,
    moves_blocked: IntGaugeVec,
    authority_expiry: IntGaugeVec,
    authority_phase: IntGaugeVec,
    issuer_unreadable: IntGaugeVec,
    user_certificate_expiry: IntGaugeVec,
    writes: IntCounterVec,
    leader: IntGauge,
    clusters: IntGauge,
    definitions_behind: IntGauge,
}

/// What a cluster's status shows.
struct Shown {
    conditions: Vec<Condition>,
    /// `None`: the operator moves no replica.
    moves: Option<MovesStatus>,
    /// How many brokers leave.
    leaving: usize,
    authorities: Vec<AuthorityStatus>,
    issuers: Vec<IssuerStatus>,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The objects are as they should be.
    Succeeded,
    /// The spec can't be built.
    Invalid,
    /// The API server refused or did not answer.
    Failed,
}

impl Metrics {
    /// Metrics that have counted nothing.
    pub fn new() -> Metrics {
        // Names and help are constants: registering them fails only where two are the same.
        fn registered<M: prometheus::core::Collector + Clone + 'static>(
            registry: &Registry,
            metric: prometheus::Result<M>,
        ) -> M {
            let metric = metric.expect("a metric's name is valid");
            registry.register(Box::new(metric.clone())).expect("a metric's name is there once");
            metric
        }
        let registry = Registry::new();
        let counters = |name: &str, help: &str, label: &str| {
            let labels = [CLUSTER[0], CLUSTER[1], label];
            registered(&registry, IntCounterVec::new(Opts::new(name, help), &labels))
        };
        let buckets = vec![0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];
        let duration = HistogramOpts::new(
            "ottla_operator_reconcile_duration_seconds",
            "Duration of reconciles in \
        seconds.",
        );
        Metrics {
            reconciles: counters("ottla_operator_reconciles_total", "Reconciles of clusters, by outcome.", "outcome"),
            failures: counters(
                "ottla_operator_failures_total",
                "Failed reconciles, by the kind of the object at which they failed.",
                "kind",
            ),
            duration: registered(&registry, Histogram::with_opts(duration.buckets(buckets))),
            last_success: registered(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "ottla_operator_last_success_timestamp_seconds",
                        "When a cluster's reconcile last succeeded, in seconds since 1970.",
                    ),
                    &CLUSTER,
                ),
            ),
            conditions: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "ottla_operator_cluster_condition",
                        "A condition of a KafkaCluster's status: 1 while it is True, else 0.",
                    ),
                    &[CLUSTER[0], CLUSTER[1], "condition", "reason"],
                ),
            ),
            to_restart: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "ottla_operator_brokers_to_restart",
                        "Brokers of a cluster whose pods have another revision than new pods get.",
                    ),
                    &CLUSTER,
                ),
            ),
            leaving: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "ottla_operator_brokers_leaving",
                        "Brokers that the spec of a cluster no longer asks for, and that have not left yet.",
                    ),
                    &CLUSTER,
                ),
            ),
            shown: Mutex::default(),
            moves_left: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new("ottla_operator_moves_left", "Replicas that are to move to other brokers."),
                    &CLUSTER,
                ),
            ),
            moves_blocked: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "ottla_operator_moves_blocked",
                        "Topics with replicas that must leave a broker and can't until somebody acts.",
                    ),
                    &CLUSTER,
                ),
            ),
            authority_expiry: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "ottla_operator_authority_expiry_timestamp_seconds",
                        "When the certificate of a cluster's authority ends, in seconds since 1970.",
                    ),
                    &[CLUSTER[0], CLUSTER[1], "authority"],
                ),
            ),
            authority_phase: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "ottla_operator_authority_phase",
                        "The phase of a cluster's authority: 1 while it waits for brokers, else 0.",
                    ),
                    &[CLUSTER[0], CLUSTER[1], "authority", "phase"],
                ),
            ),
            issuer_unreadable: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "ottla_operator_issuer_unreadable",
                        "1 while the keys of an issuer of tokens can't be read, or a listener takes those for the API server, \
                        else 0.",
                    ),
                    &[CLUSTER[0], CLUSTER[1], "issuer"],
                ),
            ),
            user_certificate_expiry: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "ottla_operator_user_certificate_expiry_timestamp_seconds",
                        "End of the earliest certificate of a KafkaUser whose renewal is overdue, in seconds since 1970. \
                        Absent: there is none.",
                    ),
                    &CLUSTER,
                ),
            ),
            writes: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new("ottla_kubernetes_writes_total", "Writes to the Kubernetes API."),
                    &["kind", "verb"],
                ),
            ),
            leader: registered(
                &registry,
                IntGauge::new(
                    "ottla_operator_leader",
                    "1 while this replica holds the Lease and so operates the \
                clusters, else 0.",
                ),
            ),
            clusters: registered(
                &registry,
                IntGauge::new(
                    "ottla_operator_clusters",
                    "Clusters that this replica operates, or would operate if it held the Lease.",
                ),
            ),
            definitions_behind: registered(
                &registry,
                IntGauge::new(
                    "ottla_operator_definitions_behind",
                    "CustomResourceDefinitions of Ottla that are missing, or older than the operator.",
                ),
            ),
            registry,
        }
    }

    /// Notes a reconcile.
    pub fn reconciled(&self, cluster: &ClusterKey, outcome: Outcome, took: Duration) {
        let outcome_name = match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Invalid => "invalid",
            Outcome::Failed => "failed",
        };
        self.reconciles.with_label_values(&[&cluster.namespace, &cluster.name, outcome_name]).inc();
        self.duration.observe(took.as_secs_f64());
        if outcome == Outcome::Succeeded {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.last_success.with_label_values(&[&cluster.namespace, &cluster.name]).set(now.as_secs_f64());
        }
    }

    /// Notes what a cluster's status shows of conditions, moves, brokers, authorities and issuers.
    pub fn shows(&self, cluster: &ClusterKey, status: KafkaClusterStatus) {
        let KafkaClusterStatus { conditions, moves, brokers, authorities, issuers, .. } = status;
        let leaving = brokers.iter().filter(|broker| broker.wanted == Wanted::Leaving).count();
        self.shown.lock().insert(cluster.clone(), Shown { conditions, moves, leaving, authorities, issuers });
    }

    /// Notes the end of the earliest certificate of a user whose renewal is overdue; `None`: there is none.
    pub fn certificate_overdue(&self, cluster: &ClusterKey, end: Option<i64>) {
        match end {
            Some(end) => self.user_certificate_expiry.with_label_values(&[&cluster.namespace, &cluster.name]).set(end),
            None => forget(&self.user_certificate_expiry, cluster),
        }
    }

    /// Notes how many brokers have another revision than new pods get.
    pub fn to_restart(&self, cluster: &ClusterKey, brokers: usize) {
        let brokers = i64::try_from(brokers).unwrap_or(i64::MAX);
        self.to_restart.with_label_values(&[&cluster.namespace, &cluster.name]).set(brokers);
    }

    /// Notes a write that is about to be made.
    pub fn writes(&self, kind: &str, verb: &str) {
        self.writes.with_label_values(&[kind, verb]).inc();
    }

    /// Notes that a cluster's reconcile failed at an object of this kind.
    pub fn failed(&self, cluster: &ClusterKey, kind: &str) {
        self.failures.with_label_values(&[&cluster.namespace, &cluster.name, kind]).inc();
    }

    /// Says whether this replica acts.
    pub fn set_leader(&self, leader: bool) {
        self.leader.set(leader.into());
    }

    /// Notes how many definitions are missing, or older than this operator.
    pub fn definitions_behind(&self, definitions: usize) {
        self.definitions_behind.set(i64::try_from(definitions).unwrap_or(i64::MAX));
    }

    /// Notes that a cluster is operated, or watched.
    pub fn cluster_begins(&self) {
        self.clusters.inc();
    }

    /// Notes that a cluster is no longer operated: a cluster that does not exist has no metrics.
    pub fn cluster_ends(&self, cluster: &ClusterKey) {
        self.clusters.dec();
        self.shown.lock().remove(cluster);
        forget(&self.reconciles, cluster);
        forget(&self.failures, cluster);
        forget(&self.last_success, cluster);
        forget(&self.to_restart, cluster);
        forget(&self.user_certificate_expiry, cluster);
    }

    /// Everything in Prometheus' text format.
    pub fn scrape(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // Held while it is gathered: another scrape would begin with a reset.
        let shown = self.shown.lock();
        self.conditions.reset();
        self.moves_left.reset();
        self.moves_blocked.reset();
        self.leaving.reset();
        self.authority_expiry.reset();
        self.authority_phase.reset();
        self.issuer_unreadable.reset();
        for (cluster, Shown { conditions, moves, leaving, authorities, issuers }) in &*shown {
            let labels = [cluster.namespace.as_str(), &cluster.name];
            self.leaving.with_label_values(&labels).set(i64::try_from(*leaving).unwrap_or(i64::MAX));
            let blocked = moves.as_ref().map_or(0, |moves| moves.blocked_by.len());
            self.moves_left.with_label_values(&labels).set(moves.as_ref().map_or(0, |moves| moves.left.into()));
            self.moves_blocked.with_label_values(&labels).set(i64::try_from(blocked).unwrap_or(i64::MAX));
            for condition in conditions {
                let labels = [cluster.namespace.as_str(), &cluster.name, &condition.type_, &condition.reason];
                self.conditions.with_label_values(&labels).set((condition.status == "True").into());
            }
            for authority in authorities {
                let labels = [cluster.namespace.as_str(), &cluster.name, &authority.name];
                if let Ok(end) = authority.not_after.parse::<Timestamp>() {
                    self.authority_expiry.with_label_values(&labels).set(end.as_second());
                }
                let labels = [cluster.namespace.as_str(), &cluster.name, &authority.name, &authority.phase];
                self.authority_phase.with_label_values(&labels).set(authority.waits_for_brokers().into());
            }
            for issuer in issuers {
                let labels = [cluster.namespace.as_str(), &cluster.name, &issuer.name];
                self.issuer_unreadable.with_label_values(&labels).set(issuer.problem.is_some().into());
            }
        }
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing to memory does not fail");
        text
    }
}

/// Removes a cluster's series.
fn forget<T: MetricVecBuilder>(series: &MetricVec<T>, cluster: &ClusterKey)
where
    MetricVec<T>: Collector,
{
    for family in series.collect() {
        for metric in family.get_metric() {
            let labels = metric.get_label();
            let value = |name: &str| labels.iter().find(|label| label.name() == name).map_or("", |label| label.value());
            if (value(CLUSTER[0]), value(CLUSTER[1])) == (&cluster.namespace, &cluster.name) {
                let labels: HashMap<&str, &str> = labels.iter().map(|label| (label.name(), label.value())).collect();
                // Removed already if two tasks end the same cluster.
                let _ = series.remove(&labels);
            }
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> ClusterKey {
        ClusterKey { namespace: "kafka".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn each_cluster_has_series_of_its_own_until_it_is_gone() {
        let metrics = Metrics::new();
        let text = || String::from_utf8(metrics.scrape()).unwrap();
        let condition = |status: &str, reason: &str| Condition {
            type_: "Ready".to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        metrics.reconciled(&key("well"), Outcome::Succeeded, Duration::ZERO);
        metrics.reconciled(&key("ill"), Outcome::Failed, Duration::ZERO);
        metrics.failed(&key("ill"), "StatefulSet");
        metrics.to_restart(&key("ill"), 2);
        let left = "ottla_operator_brokers_to_restart{cluster_namespace=\"kafka\",kafka_cluster=\"ill\"} 2";
        assert!(text().contains(left), "{}", text());
        for (name, outcome) in [("ill", "failed"), ("well", "succeeded")] {
            let series = format!(
                "ottla_operator_reconciles_total{{cluster_namespace=\"kafka\",kafka_cluster=\"{name}\",outcome=\"{outcome}\"}} 1"
            );
            assert!(text().contains(&series), "{}", text());
        }
        let ready = |reason: &str, value: i32| {
            format!(
                "ottla_operator_cluster_condition{{cluster_namespace=\"kafka\",condition=\"Ready\",kafka_cluster=\"ill\",\
                 reason=\"{reason}\"}} {value}"
            )
        };
        let shows = |condition: Condition, moves: Option<MovesStatus>, wanted: Wanted| {
            let broker = json!({ "id": 1, "state": "Online", "wanted": wanted });
            let brokers = vec![serde_json::from_value(broker).unwrap()];
            let conditions = vec![condition];
            metrics.shows(&key("ill"), KafkaClusterStatus { conditions, moves, brokers, ..Default::default() });
        };
        let leaving = |count: i32| {
            format!("ottla_operator_brokers_leaving{{cluster_namespace=\"kafka\",kafka_cluster=\"ill\"}} {count}\n")
        };
        shows(condition("False", "NoBrokers"), None, Wanted::Leaving);
        assert!(text().contains(&leaving(1)), "{}", text());
        assert!(text().contains(&ready("NoBrokers", 0)), "{}", text());
        let moves = MovesStatus { left: 7, ..MovesStatus::default() };
        shows(condition("True", "Ready"), Some(moves), Wanted::Serve);
        assert!(text().contains(&leaving(0)), "{}", text());
        assert!(text().contains("ottla_operator_moves_left{cluster_namespace=\"kafka\",kafka_cluster=\"ill\"} 7"));
        assert!(text().contains(&ready("Ready", 1)) && !text().contains("NoBrokers"), "{}", text());
        let authority = json!({
            "name": "clients", "keyGeneration": 2, "phase": "Renew", "notAfter": "1970-01-02T00:00:00Z",
            "reason": "WaitingForCertificates", "waitingFor": "a sentence that nobody takes apart",
        });
        let issuers =
            json!([{ "name": "kubernetes", "keys": 2 }, { "name": "https://idp/keys", "keys": 0, "problem": "?" }]);
        let status = json!({ "authorities": [authority], "issuers": issuers });
        metrics.shows(&key("ill"), serde_json::from_value(status).unwrap());
        metrics.certificate_overdue(&key("ill"), Some(86_400));
        for series in [
            r#"ottla_operator_authority_expiry_timestamp_seconds{authority="clients",cluster_namespace="kafka",kafka_cluster="ill"} 86400"#,
            r#"ottla_operator_authority_phase{authority="clients",cluster_namespace="kafka",kafka_cluster="ill",phase="Renew"} 1"#,
            r#"ottla_operator_issuer_unreadable{cluster_namespace="kafka",issuer="kubernetes",kafka_cluster="ill"} 0"#,
            r#"ottla_operator_issuer_unreadable{cluster_namespace="kafka",issuer="https://idp/keys",kafka_cluster="ill"} 1"#,
            r#"ottla_operator_user_certificate_expiry_timestamp_seconds{cluster_namespace="kafka",kafka_cluster="ill"} 86400"#,
        ] {
            assert!(text().lines().any(|line| line == series), "{series}: {}", text());
        }
        metrics.certificate_overdue(&key("ill"), None);
        assert!(!text().contains("ottla_operator_user_certificate_expiry_timestamp_seconds{"), "{}", text());
        metrics.cluster_ends(&key("ill"));
        assert!(!text().contains("ill") && text().contains("well"), "{}", text());
    }
}
