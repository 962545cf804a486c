//! What is wrong for everybody: whether the client's rights come first.

use ottla_wire::m19_create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::m22_init_producer_id::InitProducerIdRequest;
use ottla_wire::m43_elect_leaders::{ElectLeadersRequest, ElectLeadersTopic};
use ottla_wire::m51_alter_user_scram_credentials::{AlterUserScramCredentialsRequest, ScramCredentialDeletion};

use super::{create_acl, describe_configs, find};
use crate::row::{Row, latest};

pub fn malformed() -> Vec<Row> {
    vec![
        latest("of a transactional id, without time", |me| InitProducerIdRequest {
            transactional_id: Some(me.x()),
            transaction_timeout_ms: 0,
            ..Default::default()
        }),
        latest("a kind that there is not", |me| find(9, me.group())),
        latest("of a kind that there is not", |_| describe_configs(9, vec!["x".into()], "retention.ms")),
        latest("of a kind that there is not", |me| ElectLeadersRequest {
            election_type: 9,
            topic_partitions: Some(vec![ElectLeadersTopic { topic: me.topic(), partitions: vec![0] }]),
            timeout_ms: 60_000,
        }),
        latest("an operation that there is not", |me| create_acl(me, 77)),
        latest("of a mechanism that there is not", |_| AlterUserScramCredentialsRequest {
            deletions: vec![ScramCredentialDeletion { name: "x".into(), mechanism: 9 }],
            upsertions: Vec::new(),
        }),
        latest("a name that no topic can have", |_| CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: "a/b".into(),
                num_partitions: 1,
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: 60_000,
            ..Default::default()
        }),
    ]
}
