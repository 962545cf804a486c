//! Which room of the contract may use which, top to bottom.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        rooms: &[
            ("broker_file", &[]),
            ("words", &["kafka_cluster", "kafka_topic", "pod_template"]),
            ("issuer_keys", &[]),
            ("kafka_cluster", &["names", "pod_template", "kafka_topic", "kafka_user", "schema"]),
            ("names", &[]),
            ("pod_template", &[]),
            ("kafka_assignment", &["schema"]),
            ("kafka_topic", &["schema"]),
            ("kafka_user", &["schema"]),
            ("schema", &["kafka_cluster", "kafka_assignment", "kafka_topic", "kafka_user"]),
        ],
        circles: &[&["kafka_cluster", "kafka_topic", "kafka_user", "schema"]],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
