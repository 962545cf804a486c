//! Which room of the support of black-box tests may use which, top to bottom.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["wait", "raw", "cable", "trusting", "franz", "choices", "writes"],
        rooms: &[
            ("answers", &["differences", "target"]),
            ("transcript", &["differences", "tools", "java", "target", "leash"]),
            ("trio", &["target", "need", "lossy", "leash"]),
            ("differences", &["target"]),
            ("cluster", &["tools", "witness", "java", "target", "need", "leash"]),
            ("scale", &["leash", "need", "target"]),
            ("tools", &["java", "target"]),
            ("chain", &["last_read", "librdkafka", "java"]),
            ("last_read", &["librdkafka", "wait"]),
            ("witness", &["java", "librdkafka", "need"]),
            ("java", &["need"]),
            ("librdkafka", &[]),
            ("target", &["need", "leash"]),
            ("login", &["need"]),
            ("crowd", &["scram", "trusting"]),
            ("scram", &["raw"]),
            ("need", &["lossy"]),
            ("lossy", &["leash"]),
            ("leash", &[]),
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
