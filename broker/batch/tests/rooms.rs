//! Which room of the record batches may use which, top to bottom.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        rooms: &[
            ("validate", &["builder", "records", "batch", "compress", "header"]),
            ("builder", &["control", "records", "batch", "compress", "varint", "header"]),
            ("control", &["records", "batch", "header"]),
            ("records", &["batch", "compress", "varint", "header"]),
            ("batch", &["header"]),
            ("compress", &["header"]),
            ("varint", &[]),
            ("header", &[]),
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
