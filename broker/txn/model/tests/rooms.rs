//! Which room of the model check may use which, top to bottom.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["root", "clock", "state", "mutant", "rules", "scenario"],
        rooms: &[
            ("check", &["action", "property"]),
            ("property", &[]),
            ("action", &[]),
            ("coordinator", &["action", "producer"]),
            ("partition", &["action", "producer"]),
            ("producer", &[]),
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
