//! Which room of the broker may use which, top to bottom.
//!
//! Only `coord` knows Kubernetes; `node` passes the client on.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &[
            "ask",
            "disk_space",
            "env",
            "image",
            "loggers",
            "metrics",
            "dialer",
            "reply",
            "shared_map",
            "watermark",
        ],
        rooms: &[
            ("node", &["http", "broker", "coord", "data_dir", "drain", "filling", "hanging"]),
            ("http", &["health", "loads"]),
            ("filling", &[]),
            ("hanging", &[]),
            ("loads", &["replica"]),
            (
                "broker",
                &[
                    "health",
                    "server",
                    "handle",
                    "fetch_sessions",
                    "log_ends",
                    "loads",
                    "groups",
                    "transactions",
                    "share",
                    "share_state",
                    "replica",
                    "producer_ids",
                    "quotas",
                    "tls",
                ],
            ),
            ("health", &["server", "replica"]),
            ("server", &["handle", "quotas", "tls"]),
            ("tls", &[]),
            (
                "handle",
                &[
                    "fetch_sessions",
                    "groups",
                    "transactions",
                    "share",
                    "share_state",
                    "log_ends",
                    "coordinator",
                    "replica",
                    "producer_ids",
                    "quotas",
                ],
            ),
            ("quotas", &[]),
            ("fetch_sessions", &[]),
            ("groups", &["coordinator", "replica", "share", "share_state", "topics"]),
            ("transactions", &["coordinator", "groups", "replica", "producer_ids"]),
            ("share", &["share_state", "coordinator", "replica"]),
            ("share_state", &["coordinator", "replica", "topics"]),
            ("coordinator", &["replica"]),
            ("replica", &[]),
            ("topics", &[]),
            ("log_ends", &["replica"]),
            ("producer_ids", &[]),
            ("coord", &["data_dir"]),
            ("data_dir", &[]),
            ("drain", &[]),
        ],
        only: &[
            ("kube::", &["coord", "node"]),
            ("k8s_openapi", &["coord", "node"]),
            ("ottla_group", &["groups", "handle", "loggers", "metrics", "share", "share_state", "topics"]),
            ("ottla_share", &["share", "handle"]),
            (
                "ottla_access",
                &["ask", "broker", "coord", "fetch_sessions", "groups", "handle", "image", "quotas", "server", "tls"],
            ),
            ("rustls", &["dialer", "server", "tls"]),
            ("ottla_txn", &["transactions", "handle"]),
        ],
        circles: &[&["replica/partition", "replica/partition/following", "replica/partition/role"]],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
