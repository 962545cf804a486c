//! Which module of the transaction coordinator may use which, top to bottom; and what keeps it pure: it has no clock,
//! randomness, threads, files or sockets.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["error", "ids"],
        rooms: &[
            ("admin", &["request", "shard", "transaction"]),
            ("timeouts", &["config", "effects", "shard", "transaction"]),
            ("markers", &["effects", "shard", "transaction"]),
            (
                "shard",
                &[
                    "add_partitions",
                    "config",
                    "effects",
                    "end_txn",
                    "init_producer_id",
                    "markers",
                    "producer_ids",
                    "record",
                    "request",
                    "timeouts",
                    "transaction",
                    "turn",
                ],
            ),
            ("end_txn", &["request", "transaction", "turn"]),
            ("add_partitions", &["request", "transaction", "turn"]),
            ("init_producer_id", &["request", "transaction", "turn"]),
            ("turn", &["config", "producer_ids", "request", "transaction"]),
            ("effects", &["record", "request", "transaction"]),
            ("request", &["transaction"]),
            ("record", &["transaction"]),
            ("config", &["transaction"]),
            ("transaction", &["producer_ids"]),
            ("producer_ids", &[]),
        ],
        only: &[
            ("Instant", &[]),
            ("SystemTime", &[]),
            ("RandomState", &[]),
            ("rand::", &[]),
            ("new_v4", &[]),
            ("std::fs", &[]),
            ("std::net", &[]),
            ("std::thread", &[]),
            ("tokio", &[]),
            ("kube", &[]),
            ("tracing", &[]),
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
