//! Which room of the contract may use which, top to bottom.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        rooms: &[
            ("broker_file", &[]),
            ("words", &["kafka_cluster", "kafka_topic", "pod_template"]),
            ("names", &[]),
            ("kafka_cluster", &["pod_template", "kafka_topic", "schema"]),
            ("pod_template", &[]),
            ("kafka_assignment", &["schema"]),
            ("kafka_topic", &["schema"]),
            ("schema", &["kafka_cluster", "kafka_assignment", "kafka_topic"]),
        ],
        circles: &[&["kafka_cluster", "kafka_topic", "schema"]],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
