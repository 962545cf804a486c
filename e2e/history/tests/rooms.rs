//! Which room of the checker of histories may use which, top to bottom.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["id"],
        rooms: &[
            ("transactions", &["operation"]),
            ("checker", &["operation", "report"]),
            ("operation", &[]),
            ("report", &[]),
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
