//! What Prometheus reads.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use ottla_crds::{KafkaClusterStatus, MovesStatus};
use ottla_rules::plan::roster::Wanted;
use serde_json::json;

use super::reconciles::ReconcileResult;
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
    metrics.reconciles.ended(&key("well"), ReconcileResult::Succeeded, Duration::ZERO);
    metrics.reconciles.ended(&key("ill"), ReconcileResult::Failed, Duration::ZERO);
    metrics.reconciles.failed(&key("ill"), "StatefulSet");
    metrics.reconciles.to_restart(&key("ill"), 2);
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
        metrics.statuses.shows(&key("ill"), KafkaClusterStatus { conditions, moves, brokers, ..Default::default() });
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
    metrics.statuses.shows(&key("ill"), serde_json::from_value(status).unwrap());
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
