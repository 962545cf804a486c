//! Which module of the groups may use which, top to bottom; and what keeps them pure: they have no clock, randomness,
//! threads, files or sockets.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["error", "ids"],
        rooms: &[
            ("admin", &["classic", "effects", "group", "record", "request", "shard", "state", "turn"]),
            (
                "classic",
                &["consumer", "record", "request", "state", "timers", "config", "effects", "group", "shard", "turn"],
            ),
            (
                "consumer",
                &[
                    "classic", "record", "request", "state", "timers", "topics", "config", "effects", "group",
                    "history", "overload", "patterns", "shard", "turn",
                ],
            ),
            (
                "streams",
                &[
                    "classic", "config", "effects", "group", "history", "overload", "record", "request", "shard",
                    "state", "timers", "topics", "turn",
                ],
            ),
            (
                "share",
                &[
                    "config",
                    "effects",
                    "group",
                    "history",
                    "overload",
                    "record",
                    "request",
                    "shard",
                    "share_state",
                    "state",
                    "timers",
                    "topics",
                    "turn",
                ],
            ),
            ("group", &["classic", "consumer", "record", "request", "share", "state", "streams"]),
            ("history", &["record", "request"]),
            ("overload", &[]),
            ("expiry", &["effects", "group", "record", "request", "shard", "turn"]),
            ("offset_requests", &["classic", "effects", "group", "record", "request", "shard", "turn"]),
            ("patterns", &[]),
            ("pending", &["offsets", "record"]),
            ("offsets", &["record"]),
            (
                "shard",
                &[
                    "classic", "consumer", "config", "effects", "group", "offsets", "pending", "record", "request",
                    "share", "streams", "timers", "topics", "turn",
                ],
            ),
            ("share_state", &["topics"]),
            ("turn", &["classic", "config", "effects", "group", "record", "request", "timers", "topics"]),
            ("effects", &["record", "request", "share_state", "topics"]),
            ("topics", &[]),
            ("timers", &[]),
            ("request", &["record", "share_state", "state"]),
            ("record", &[]),
            ("config", &[]),
            ("state", &[]),
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
