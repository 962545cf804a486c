//! Which room of the embedded API may use which, top to bottom.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["cause", "object", "status", "kind", "request", "schema", "events", "protobuf"],
        rooms: &[
            ("http_port", &["server", "faults"]),
            ("server", &["discovery", "faults", "garbage", "initial", "openapi", "verbs", "folder", "store"]),
            ("discovery", &["server"]),
            ("faults", &["store"]),
            ("garbage", &["server", "verbs", "store"]),
            ("initial", &["verbs", "admit"]),
            ("openapi", &[]),
            ("verbs", &["server", "apply", "patch", "uids", "watch", "present", "selector", "admit", "store"]),
            ("apply", &["fields"]),
            ("patch", &[]),
            ("uids", &[]),
            ("watch", &["present", "selector", "store"]),
            ("fields", &[]),
            ("present", &["table"]),
            ("selector", &[]),
            ("table", &["jsonpath"]),
            ("jsonpath", &[]),
            ("group_commit", &["folder", "store", "turns"]),
            ("folder", &["verbs", "admit", "store"]),
            ("admit", &[]),
            ("store", &["group_commit", "folder", "turns"]),
            ("turns", &[]),
        ],
        circles: &[&[
            "faults",
            "folder",
            "garbage",
            "group_commit",
            "initial",
            "server",
            "store",
            "verbs",
            "verbs/create",
            "verbs/delete",
            "verbs/read",
            "verbs/update",
            "watch",
        ]],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
