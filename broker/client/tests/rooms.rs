//! Which room of the Kafka client may use which, top to bottom. It knows nothing of the rooms that call it.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["backoff", "error"],
        rooms: &[
            ("login", &["connection"]),
            ("versions", &["connection"]),
            ("connection", &["connector"]),
            ("connector", &["connection", "simulated"]),
            ("simulated", &[]),
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
