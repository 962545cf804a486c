//! Which room of the simulation may use which, top to bottom.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["random", "fault", "topics", "process", "shortening"],
        rooms: &[
            ("control_plane", &["world"]),
            ("faults", &["world", "disk"]),
            ("tally", &["world", "root"]),
            (
                "world",
                &[
                    "acts",
                    "clients",
                    "ledger",
                    "groups",
                    "loyal",
                    "control",
                    "network",
                    "client",
                    "judges",
                    "node",
                    "disk",
                    "late",
                    "copies",
                    "errand",
                    "overtaking",
                ],
            ),
            ("acts", &["world", "node"]),
            ("clients", &["world", "client"]),
            ("loyal", &["world", "client"]),
            ("copies", &["world", "records"]),
            ("errand", &["world"]),
            ("overtaking", &["world"]),
            ("groups", &["world", "client", "member"]),
            ("member", &["client"]),
            ("ledger", &["world", "client", "judges", "input", "transactional"]),
            ("input", &["client", "judges", "member", "transactional"]),
            ("transactional", &["client", "judges"]),
            ("control", &[]),
            ("network", &[]),
            ("client", &["judges", "network", "records"]),
            ("judges", &[]),
            ("records", &[]),
            ("node", &["disk"]),
            ("disk", &[]),
            ("late", &[]),
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
