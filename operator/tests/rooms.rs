//! Which room of the operator may use which, top to bottom.
//!
//! `plan` is pure: values in, values out.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["acting", "clock", "events", "pruned"],
        rooms: &[
            ("operator", &["definitions", "fleet", "http", "cluster", "metrics", "owner"]),
            ("fleet", &["authorities", "coordination", "cluster", "issuers", "metrics", "users"]),
            ("http", &["metrics"]),
            ("definitions", &["metrics"]),
            ("coordination", &["authorities", "plan"]),
            ("users", &["authorities"]),
            ("authorities", &[]),
            ("issuers", &[]),
            ("cluster", &["authorities", "metrics", "owner", "plan"]),
            ("metrics", &["cluster"]),
            ("owner", &["cluster"]),
            ("plan", &[]),
        ],
        never: &[("plan", &["tokio::", "Client", "Instant::now", "SystemTime", "rand::"])],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
