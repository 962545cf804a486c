//! Which room may use which, of what operator and brokers use the Kubernetes API with.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["versions"],
        rooms: &[("change", &[]), ("counted", &[]), ("lease", &["watch"]), ("watch", &[]), ("watches", &["change"])],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
