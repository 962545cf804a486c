//! The audit log of real requests: each change that a client asks for, and each denial, has its line. Everybody on a
//! plain listener is `User:ANONYMOUS`. The log is that of the whole process, so this file has one test.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::fs::File;
use std::sync::Arc;

use common::{Client, OneBroker, topic};
use ottla_access::{
    Access, Acl, AclHost, AclOperation, Authorizer, Operation, PatternType, Permission, Principal, ResourceType,
};
use ottla_broker::ask::Ask;
use ottla_wire::m19_create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::m20_delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::m30_create_acls::{AclCreation, CreateAclsRequest};
use ottla_wire::m37_create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::{ErrorCode, Uuid};

/// What the client may do; it may not alter the topic `t`.
fn rules() -> Authorizer {
    let acl = |operation| Acl {
        kind: ResourceType::Cluster,
        principal: Principal::ANONYMOUS,
        pattern: PatternType::Literal,
        name: ResourceType::CLUSTER_NAME.into(),
        host: AclHost::new("*"),
        operation: AclOperation::One(operation),
        permission: Permission::Allow,
    };
    Authorizer::new([], false, [Operation::Create, Operation::Delete, Operation::Alter].map(acl))
}

/// The cluster, which agrees to every change.
async fn agree(mut asks: tokio::sync::mpsc::Receiver<Ask>) {
    while let Some(ask) = asks.recv().await {
        match ask {
            Ask::CreateTopic { answer, .. } => _ = answer.send(Ok(Uuid::from_u128(5))),
            Ask::DeleteTopic { answer, .. } | Ask::ChangeAcls { answer, .. } => _ = answer.send(Ok(())),
            other => drop(other),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_and_denials_of_real_requests_have_their_lines() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("log");
    // The connections' threads print as well as this one.
    tracing_subscriber::fmt().with_writer(Arc::new(File::create(&file).unwrap())).with_ansi(false).init();
    let t = topic("t", &[]);
    let access = Access { authorizer: Some(Arc::new(rules())), ..Access::default() };
    let one = OneBroker::start_secured(data.path(), vec![t.clone()], access).await;
    one.led(&t).await;
    tokio::spawn(agree(one.asks));
    let mut client = Client::connect(one.port).await;

    let new = CreatableTopic { name: "new".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let create = CreateTopicsRequest { topics: vec![new], timeout_ms: 60_000, ..Default::default() };
    assert_eq!(client.call(7, &create).await.topics[0].error_code, ErrorCode::NONE);
    let gone = DeleteTopicState { name: Some("t".into()), ..Default::default() };
    let delete = DeleteTopicsRequest { topics: vec![gone], timeout_ms: 60_000, ..Default::default() };
    assert_eq!(client.call(6, &delete).await.responses[0].error_code, ErrorCode::NONE);
    let creation = AclCreation {
        resource_type: ResourceType::Topic.code(),
        resource_name: "t".into(),
        resource_pattern_type: 3, // literal
        principal: "User:ada".into(),
        host: "*".into(),
        operation: Operation::Read.code(),
        permission_type: 3, // allow
    };
    let acls = CreateAclsRequest { creations: vec![creation] };
    assert_eq!(client.call(3, &acls).await.results[0].error_code, ErrorCode::NONE);
    let more = CreatePartitionsTopic { name: "t".into(), count: 2, assignments: None };
    let partitions = CreatePartitionsRequest { topics: vec![more], timeout_ms: 60_000, validate_only: false };
    let refused = client.call(3, &partitions).await.results.remove(0);
    assert_eq!(refused.error_code, ErrorCode::TOPIC_AUTHORIZATION_FAILED);

    // A line is printed before its answer is sent.
    let log = std::fs::read_to_string(file).unwrap();
    let audit: Vec<&str> = log.lines().filter_map(|line| Some(line.split_once("ottla::audit: ")?.1)).collect();
    let who = r#"principal="User:ANONYMOUS" host=127.0.0.1"#;
    let acl = "Acl { kind: Topic, principal: Principal(\"ada\")";
    for (line, (what, more)) in audit.iter().zip([
        (r#"creates the topic "new""#, "api=CreateTopics"),
        (r#"deletes the topic "t""#, "api=DeleteTopics"),
        (acl, "api=CreateAcls"),
        ("denied", r#"operation=Alter kind=Topic name="t" api=CreatePartitions"#),
    ]) {
        assert!([who, what, more].iter().all(|part| line.contains(part)), "{what:?} and {more:?} in {line}");
    }
    assert_eq!(audit.len(), 4, "{audit:#?}");
}
