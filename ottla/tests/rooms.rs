//! Which room of the program may use which, top to bottom.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["options", "keys", "limits", "everywhere"],
        rooms: &[
            ("check", &["root"]),
            ("laptop", &["keys"]),
            ("objects", &["broker"]),
            ("operator", &["broker"]),
            ("broker", &[]),
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
