//! Which module may use which, top to bottom; and what keeps them pure: they have no clock, randomness, threads, files
//! or sockets.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["operation", "principal"],
        rooms: &[
            ("access", &["authorizer", "listener", "quotas", "sasl"]),
            ("acl", &[]),
            ("authorizer", &["acl"]),
            ("certificate", &[]),
            ("listener", &["certificate", "sasl"]),
            ("login", &["sasl"]),
            ("questions", &["access", "acl", "authorizer"]),
            ("quotas", &[]),
            ("sasl", &[]),
        ],
        only: &[
            ("Instant::now", &[]),
            ("SystemTime::now", &[]),
            ("RandomState", &[]),
            ("aws_lc_rs::rand", &[]),
            ("rand::", &[]),
            ("std::fs", &[]),
            ("std::thread", &[]),
            ("tokio", &[]),
            ("kube::", &[]),
            ("tracing", &[]),
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
