//! Which module of the groups may use which, top to bottom; and what keeps them pure: they have no clock, randomness,
//! threads, files or sockets.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["error", "ids"],
        rooms: &[
            ("admin", &["classic", "effects", "record", "request", "shard", "turn"]),
            ("classic", &["record", "request", "state", "timers", "config", "effects", "shard", "turn"]),
            ("expiry", &["classic", "effects", "record", "request", "shard", "turn"]),
            ("offset_requests", &["classic", "effects", "record", "request", "shard", "turn"]),
            ("pending", &["offsets", "record"]),
            ("offsets", &["record"]),
            ("shard", &["classic", "config", "effects", "offsets", "pending", "record", "request", "timers", "turn"]),
            ("turn", &["classic", "config", "record", "request", "timers"]),
            ("effects", &["record", "request"]),
            ("timers", &[]),
            ("request", &["state"]),
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
