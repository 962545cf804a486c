//! Which module of the log may use which, top to bottom.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["config", "era", "failure", "folder", "index", "time_index", "under_way"],
        rooms: &[
            ("retention", &["disk", "expired", "log", "segment", "walk"]),
            ("truncate", &["disk", "epochs", "expired", "log", "producers", "segment", "walk"]),
            ("expired", &["chunk", "disk", "log", "segment"]),
            ("scrub", &["chunk", "disk", "log", "sealed", "walk"]),
            (
                "compaction",
                &[
                    "disk",
                    "log",
                    "producers",
                    "sealed",
                    "transactions",
                    "walk",
                    "chunk",
                    "indexes",
                    "segment",
                    "retention",
                ],
            ),
            ("flush", &["disk", "log", "segment"]),
            ("read", &["disk", "log", "sealed", "segment", "walk"]),
            ("search", &["disk", "indexes", "log", "sealed", "walk"]),
            (
                "recovery",
                &[
                    "checkpoints",
                    "compaction",
                    "disk",
                    "epochs",
                    "expired",
                    "files",
                    "flush",
                    "log",
                    "producers",
                    "segment",
                    "transactions",
                    "walk",
                    "sealed",
                    "snapshot",
                    "chunk",
                    "indexes",
                ],
            ),
            (
                "log",
                &[
                    "disk",
                    "epochs",
                    "files",
                    "flush",
                    "producers",
                    "read",
                    "sealed",
                    "segment",
                    "snapshot",
                    "transactions",
                    "walk",
                ],
            ),
            ("transactions", &["disk", "walk", "log", "sealed"]),
            ("segment", &["disk", "indexes", "transactions", "walk"]),
            ("sealed", &["disk", "files", "indexes", "segment", "transactions", "walk"]),
            ("indexes", &["disk", "transactions", "walk"]),
            ("snapshot", &["producers"]),
            ("producers", &["transactions"]),
            ("walk", &["disk"]),
            ("chunk", &["disk", "walk"]),
            ("checkpoints", &["disk"]),
            ("epochs", &["checkpoints", "disk"]),
            ("metadata", &["disk"]),
            ("files", &["disk", "indexes"]),
            ("disk", &[]),
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
