//! Which room of the rules may use which, top to bottom.
//!
//! The rules are values in, values out: no Kubernetes, clock or randomness.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        rooms: &[("plan", &["assignment"]), ("features", &["assignment"]), ("assignment", &[])],
        only: &[("kube::", &[]), ("tokio::", &[]), ("SystemTime", &[]), ("Instant", &[]), ("rand::", &[])],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
