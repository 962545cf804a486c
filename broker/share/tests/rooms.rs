//! Which module of the share partitions may use which, top to bottom; and what keeps them pure: they have no clock,
//! randomness, threads, files or sockets.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["error", "ids"],
        rooms: &[
            ("aborted", &["partition"]),
            ("partition", &["config", "state"]),
            ("session", &[]),
            ("state", &[]),
            ("config", &[]),
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
