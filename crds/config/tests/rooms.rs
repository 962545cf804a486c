//! Which room of the settings may use which, top to bottom.
//!
//! Settings know neither Kubernetes nor a runtime.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        rooms: &[
            ("client_metrics", &["setting"]),
            ("group", &["setting"]),
            ("describe", &["resolved", "layers", "setting", "throttle", "root"]),
            ("alter", &["checks", "resolved", "layers", "setting", "root"]),
            ("checks", &["groups", "resolved", "setting", "root"]),
            ("resolved", &["groups", "getter", "layers", "quotas", "setting", "throttle", "root"]),
            ("groups", &["getter", "layers", "offset_reset", "setting", "root"]),
            ("getter", &["layers", "setting", "throttle"]),
            ("layers", &["setting", "root"]),
            ("broker", &["broker_groups", "plumbing", "topic", "setting"]),
            ("broker_groups", &["broker", "setting"]),
            ("plumbing", &["broker", "topic", "setting"]),
            ("topic", &["setting"]),
            ("quotas", &["counts", "getter", "setting"]),
            ("setting", &["counts", "offset_reset", "throttle", "root"]),
            ("counts", &[]),
            ("offset_reset", &[]),
            ("throttle", &[]),
        ],
        only: &[("kube::", &[]), ("tokio::", &[])],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
