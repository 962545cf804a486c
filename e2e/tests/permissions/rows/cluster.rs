//! What an administrator asks of the cluster, and brokers of each other.

use ottla_wire::Str;
use ottla_wire::m29_describe_acls::DescribeAclsRequest;
use ottla_wire::m31_delete_acls::{DeleteAclsFilter, DeleteAclsRequest};
use ottla_wire::m33_alter_configs::{AlterConfigsRequest, AlterConfigsResource, AlterableConfig};
use ottla_wire::m35_describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest, DescribeLogDirsResponse};
use ottla_wire::m43_elect_leaders::{ElectLeadersRequest, ElectLeadersTopic};
use ottla_wire::m44_incremental_alter_configs as incremental;
use ottla_wire::m45_alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_wire::m46_list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};
use ottla_wire::m48_describe_client_quotas::{DescribeClientQuotasRequest, QuotaComponent, QuotaEntity};
use ottla_wire::m49_alter_client_quotas::{AlterClientQuotasRequest, QuotaAlteration, QuotaOp};
use ottla_wire::m50_describe_user_scram_credentials::{DescribeUserScramCredentialsRequest, ScramUserName};
use ottla_wire::m51_alter_user_scram_credentials::{AlterUserScramCredentialsRequest, ScramCredentialDeletion};
use ottla_wire::m74_list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use ottla_wire::m83_initialize_share_group_state::InitializeShareGroupStateRequest;
use ottla_wire::m84_read_share_group_state::ReadShareGroupStateRequest;
use ottla_wire::m85_write_share_group_state::WriteShareGroupStateRequest;
use ottla_wire::m86_delete_share_group_state::DeleteShareGroupStateRequest;
use ottla_wire::m87_read_share_group_state_summary::ReadShareGroupStateSummaryRequest;

use super::{BROKER, GROUP, LOGGER, TOPIC, create_acl, describe_configs, names};
use crate::row::{Row, latest, tidied};

fn alter_configs(
    resource_type: i8,
    names: Vec<Str>,
    key: &str,
    value: &str,
) -> incremental::IncrementalAlterConfigsRequest {
    let resource = |resource_name| incremental::AlterConfigsResource {
        resource_type,
        resource_name,
        configs: vec![incremental::AlterableConfig {
            name: key.into(),
            config_operation: 0,
            value: Some(value.into()),
        }],
    };
    incremental::IncrementalAlterConfigsRequest {
        resources: names.into_iter().map(resource).collect(),
        validate_only: true,
    }
}

pub fn of_the_cluster() -> Vec<Row> {
    let any = DescribeAclsRequest {
        resource_type_filter: 1,
        pattern_type_filter: 1,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    vec![
        latest("of a topic without", move |_| DescribeAclsRequest {
            resource_name_filter: Some("without".into()),
            pattern_type_filter: 3,
            ..any.clone()
        }),
        latest("one", |me| create_acl(me, 3)),
        tidied(
            "that one",
            |me| DeleteAclsRequest {
                filters: vec![DeleteAclsFilter {
                    resource_type_filter: TOPIC,
                    resource_name_filter: Some("of.acls".into()),
                    pattern_type_filter: 3,
                    principal_filter: Some(format!("User:{}", me.name).into()),
                    operation: 1,
                    permission_type: 1,
                    ..Default::default()
                }],
            },
            |me, answer: &mut ottla_wire::m31_delete_acls::DeleteAclsResponse| {
                for acl in answer.filter_results.iter_mut().flat_map(|result| &mut result.matching_acls) {
                    acl.principal = acl.principal.replace(me.name, "ME").into();
                }
            },
        ),
        latest("of nobody", |_| DescribeClientQuotasRequest {
            components: vec![QuotaComponent {
                entity_type: "user".into(),
                match_type: 0,
                match_name: Some("x".into()),
            }],
            strict: true,
        }),
        latest("validated only", |_| AlterClientQuotasRequest {
            entries: vec![QuotaAlteration {
                entity: vec![QuotaEntity { entity_type: "user".into(), entity_name: Some("x".into()) }],
                ops: vec![QuotaOp { key: "producer_byte_rate".into(), value: 1000.0, remove: false }],
            }],
            validate_only: true,
        }),
        latest("of one and of nobody", |me| DescribeUserScramCredentialsRequest {
            users: Some(vec![ScramUserName { name: me.name.into() }, ScramUserName { name: "x".into() }]),
        })
        .without_own_name(),
        latest("of nobody", |_| AlterUserScramCredentialsRequest {
            deletions: vec![ScramCredentialDeletion { name: "x".into(), mechanism: 1 }],
            upsertions: Vec::new(),
        }),
        tidied(
            "of two topics",
            |me| DescribeLogDirsRequest {
                topics: Some(names(me).map(|topic| DescribableLogDirTopic { topic, partitions: vec![0] }).into()),
            },
            |_, answer: &mut DescribeLogDirsResponse| {
                for dir in &mut answer.results {
                    (dir.log_dir, dir.total_bytes, dir.usable_bytes) = ("DIR".into(), 0, 0);
                    for partition in dir.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                        partition.partition_size = 0;
                    }
                }
            },
        ),
        latest("of two topics", |me| ElectLeadersRequest {
            topic_partitions: Some(names(me).map(|topic| ElectLeadersTopic { topic, partitions: vec![0] }).into()),
            timeout_ms: 60_000,
            ..Default::default()
        }),
        latest("of a topic that there is not", |me| AlterPartitionReassignmentsRequest {
            topics: vec![ReassignableTopic {
                name: me.missing(),
                partitions: vec![ReassignablePartition { partition_index: 0, replicas: Some(vec![0]) }],
            }],
            ..Default::default()
        }),
        latest("of two topics", |me| ListPartitionReassignmentsRequest {
            topics: Some(
                names(me).map(|name| ListPartitionReassignmentsTopics { name, partition_indexes: vec![0] }).into(),
            ),
            ..Default::default()
        }),
        latest("of two topics", |me| describe_configs(TOPIC, names(me).into(), "retention.ms")),
        latest("of a broker", |_| describe_configs(BROKER, vec!["0".into()], "log.retention.hours")).only_whether(),
        latest("of a logger", |_| describe_configs(LOGGER, vec!["0".into()], "ROOT")).only_whether(),
        latest("of a group", |me| describe_configs(GROUP, vec![me.group()], "consumer.session.timeout.ms")),
        latest("of two topics", |me| AlterConfigsRequest {
            resources: names(me)
                .map(|resource_name| AlterConfigsResource {
                    resource_type: TOPIC,
                    resource_name,
                    configs: vec![AlterableConfig { name: "retention.ms".into(), value: Some("1000".into()) }],
                })
                .into(),
            validate_only: true,
        }),
        latest("of two topics", |me| alter_configs(TOPIC, names(me).into(), "retention.ms", "1000")),
        latest("of two topics, an unknown setting", |me| alter_configs(TOPIC, names(me).into(), "no.such", "1000")),
        latest("of a topic, an unknown operation", |me| {
            let mut request = alter_configs(TOPIC, vec![me.topic()], "retention.ms", "1000");
            request.resources[0].configs[0].config_operation = 9;
            request
        }),
        latest("of two topics, a setting twice", |me| {
            let mut request = alter_configs(TOPIC, names(me).into(), "retention.ms", "1000");
            for resource in &mut request.resources {
                resource.configs.push(resource.configs[0].clone());
            }
            request
        }),
        latest("of a topic, without a value", |me| {
            let mut request = alter_configs(TOPIC, vec![me.topic()], "retention.ms", "1000");
            request.resources[0].configs[0].value = None;
            request
        }),
        latest("of a kind that there is not", |_| alter_configs(9, vec!["x".into()], "retention.ms", "1000")),
        latest("of the brokers", |_| alter_configs(BROKER, vec!["0".into()], "message.max.bytes", "1000012")),
        latest("of the brokers, an unknown operation", |_| {
            let mut request = alter_configs(BROKER, vec!["0".into()], "message.max.bytes", "1000012");
            request.resources[0].configs[0].config_operation = 9;
            request
        }),
        latest("of the brokers, no valid value", |_| {
            alter_configs(BROKER, vec!["0".into()], "message.max.bytes", "many")
        }),
        latest("of another broker", |_| alter_configs(BROKER, vec!["7".into()], "message.max.bytes", "1000012")),
        latest("of a logger, no level", |_| alter_configs(LOGGER, vec!["0".into()], "ROOT", "LOUD")),
        latest("of the brokers, no valid value", |_| AlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: BROKER,
                resource_name: "0".into(),
                configs: vec![AlterableConfig { name: "message.max.bytes".into(), value: Some("many".into()) }],
            }],
            validate_only: true,
        }),
        latest("of a group", |me| alter_configs(GROUP, vec![me.group()], "consumer.session.timeout.ms", "50000")),
        tidied(
            "groups",
            |_| ListConfigResourcesRequest { resource_types: vec![GROUP] },
            |me, answer: &mut ListConfigResourcesResponse| {
                answer.config_resources.retain(|resource| resource.resource_name.ends_with(me.name));
            },
        ),
    ]
}

/// What only brokers ask each other: who may is answered something, how is compared by other scripts.
pub fn of_brokers() -> Vec<Row> {
    vec![
        latest("a share group", |me| InitializeShareGroupStateRequest { group_id: me.group(), ..Default::default() })
            .only_whether(),
        latest("a share group", |me| ReadShareGroupStateRequest { group_id: me.group(), ..Default::default() })
            .only_whether(),
        latest("a share group", |me| WriteShareGroupStateRequest { group_id: me.group(), ..Default::default() })
            .only_whether(),
        latest("a share group", |me| DeleteShareGroupStateRequest { group_id: me.group(), ..Default::default() })
            .only_whether(),
        latest("a share group", |me| ReadShareGroupStateSummaryRequest { group_id: me.group(), ..Default::default() })
            .only_whether(),
    ]
}
