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
            ("alter", &["resolved", "layers", "setting", "root"]),
            ("resolved", &["layers", "setting", "throttle", "root"]),
            ("layers", &["describe", "setting", "root"]),
            ("broker", &["plumbing", "topic", "setting"]),
            ("plumbing", &["broker", "topic", "setting"]),
            ("topic", &["setting"]),
            ("setting", &["alter", "throttle", "root"]),
            ("throttle", &[]),
        ],
        only: &[("kube::", &[]), ("tokio::", &[])],
        circles: &[&["alter", "describe", "layers", "resolved", "setting"]],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
