//! Which room of the model check may use which, top to bottom.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["root", "state", "mutant", "scenario"],
        rooms: &[
            ("broker", &["action", "operator"]),
            ("check", &["action", "property"]),
            ("disturb", &[]),
            ("property", &[]),
            ("action", &[]),
            ("operator", &[]),
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
