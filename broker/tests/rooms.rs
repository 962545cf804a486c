//! Which room of the broker may use which, top to bottom.
//!
//! Only `coord` knows Kubernetes; `node` passes the client on.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["ask", "env", "image", "loggers", "metrics", "reply", "watermark"],
        rooms: &[
            ("node", &["http", "broker", "coord", "data_dir", "drain"]),
            ("http", &["health"]),
            (
                "broker",
                &["health", "server", "handle", "fetch_sessions", "groups", "transactions", "replica", "producer_ids"],
            ),
            ("health", &["server", "replica"]),
            ("server", &["handle"]),
            ("handle", &["fetch_sessions", "groups", "transactions", "coordinator", "replica", "producer_ids"]),
            ("fetch_sessions", &[]),
            ("groups", &["coordinator", "replica"]),
            ("transactions", &["coordinator", "replica"]),
            ("coordinator", &["replica"]),
            ("replica", &[]),
            ("producer_ids", &[]),
            ("coord", &["data_dir"]),
            ("data_dir", &[]),
            ("drain", &[]),
        ],
        only: &[
            ("kube::", &["coord", "node"]),
            ("k8s_openapi", &["coord", "node"]),
            ("ottla_group", &["groups", "handle", "loggers", "metrics"]),
            ("ottla_txn", &["transactions", "handle"]),
        ],
        circles: &[
            &[
                "handle",
                "handle/cluster/api_versions",
                "handle/cluster/describe_cluster",
                "handle/cluster/describe_log_dirs",
                "handle/cluster/describe_topic_partitions",
                "handle/cluster/metadata",
                "handle/configs/alter_configs",
                "handle/configs/describe_configs",
                "handle/configs/incremental_alter_configs",
                "handle/configs/list_config_resources",
                "handle/configs/resources",
                "handle/context",
                "handle/election",
                "handle/errors",
                "handle/groups/delete_groups",
                "handle/groups/describe_groups",
                "handle/groups/find_coordinator",
                "handle/groups/heartbeat",
                "handle/groups/join_group",
                "handle/groups/leave_group",
                "handle/groups/list_groups",
                "handle/groups/offset_commit",
                "handle/groups/offset_delete",
                "handle/groups/offset_fetch",
                "handle/groups/sync_group",
                "handle/leader_hint",
                "handle/records/delete_records",
                "handle/records/fetch",
                "handle/records/init_producer_id",
                "handle/records/list_offsets",
                "handle/records/offset_for_leader_epoch",
                "handle/records/produce",
                "handle/records/transactional",
                "handle/security/acls",
                "handle/security/delegation_tokens",
                "handle/topics/alter_partition_reassignments",
                "handle/topics/create_partitions",
                "handle/topics/create_topics",
                "handle/topics/delete_topics",
                "handle/topics/elect_leaders",
                "handle/topics/list_partition_reassignments",
            ],
            &[
                "replica",
                "replica/beside",
                "replica/fetching",
                "replica/fetching/fetcher",
                "replica/fetching/round",
                "replica/folders",
                "replica/opening",
                "replica/partition",
                "replica/partition/following",
                "replica/partition/role",
                "replica/partition/upkeep",
                "replica/removal",
            ],
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
