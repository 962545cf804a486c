//! Which room of the contract may use which, top to bottom.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        rooms: &[
            ("broker_file", &[]),
            ("broker_loads", &[]),
            (
                "definitions",
                &["kafka_cluster", "kafka_assignment", "kafka_rebalance", "kafka_topic", "kafka_user", "names"],
            ),
            (
                "words",
                &[
                    "cluster_status",
                    "kafka_cluster",
                    "kafka_rebalance",
                    "kafka_topic",
                    "listener",
                    "pod_template",
                    "rebalance",
                    "rollout",
                    "storage",
                ],
            ),
            ("quantity", &[]),
            ("issuer_keys", &[]),
            (
                "kafka_cluster",
                &[
                    "cluster_status",
                    "kafka_topic",
                    "listener",
                    "names",
                    "pod_template",
                    "pool",
                    "rebalance",
                    "rollout",
                    "schema",
                    "security",
                    "storage",
                ],
            ),
            ("storage", &[]),
            ("cluster_status", &["pool", "rollout", "schema"]),
            ("listener", &["names", "peers", "pod_template"]),
            ("names", &[]),
            ("peers", &["pod_template"]),
            ("pod_template", &[]),
            ("pool", &["pod_template", "storage"]),
            ("rebalance", &[]),
            ("rollout", &["schema"]),
            ("security", &["kafka_user"]),
            ("kafka_assignment", &["schema"]),
            ("kafka_rebalance", &["schema"]),
            ("kafka_topic", &["schema"]),
            ("kafka_user", &["schema"]),
            ("schema", &[]),
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
