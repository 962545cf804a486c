//! ApiVersions, DescribeCluster, ACLs, delegation tokens, and what is no request at all.

use crate::{play, text};
use anyhow::Result;
use ottla_e2e::raw::to_bytes;
use ottla_wire::m30_create_acls::AclCreation;
use ottla_wire::m31_delete_acls::DeleteAclsFilter;
use ottla_wire::{
    ApiVersionsRequest, CreateAclsRequest, CreateDelegationTokenRequest, DeleteAclsRequest, DescribeAclsRequest,
    DescribeClusterRequest, DescribeDelegationTokenRequest, ExpireDelegationTokenRequest, MetadataRequest,
    RenewDelegationTokenRequest, encode_request,
};

#[test]
fn versions_are_negotiated() -> Result<()> {
    play("api-versions", |broker| {
        // The lists themselves are compared by kafka-broker-api-versions.sh and kafka-features.sh in the sessions.
        let named =
            |name: &str| ApiVersionsRequest { client_software_name: text(name), client_software_version: text("1.0") };
        for version in 0..=4 {
            let answer = broker.quietly(version, named("e2e"))?;
            let own = answer.api_keys.iter().find(|api| api.api_key == 18);
            broker.note(
                &format!("version {version}"),
                &format!("{:?} {own:#?} {}", answer.error_code, answer.throttle_time_ms),
            );
        }
        for version in [3, 4] {
            let answer = broker.quietly(version, named("e2e"))?;
            let supported = answer.supported_features.iter().find(|feature| feature.name == "metadata.version");
            let finalized = answer.finalized_features.iter().find(|feature| feature.name == "metadata.version");
            broker.note(&format!("the version of a cluster: {version}"), &format!("{supported:#?} {finalized:#?}"));
        }
        for name in ["", "-", "a b", "ok-1.2"] {
            let answer = broker.quietly(3, named(name))?;
            broker.note(
                &format!("software called {name:?}"),
                &format!("{:?} {}", answer.error_code, answer.api_keys.is_empty()),
            );
        }
        let mut newer = to_bytes(&encode_request(5, None, 4, &named("e2e")));
        newer[7] = 99;
        broker.bytes("a version that nobody knows", &newer)?;
        Ok(())
    })
}

#[test]
fn what_is_no_request_ends_the_connection() -> Result<()> {
    play("no-requests", |broker| {
        let good = to_bytes(&encode_request(5, None, 12, &MetadataRequest::default()));
        let with = |index: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[index] = value;
            bytes
        };
        broker.bytes("an unknown key", &with(5, 200))?;
        broker.bytes("a version that is too high", &with(7, 99))?;
        broker.bytes("a negative length", &with(0, 0xff))?;
        broker.bytes("a length of more than 100 MiB", &with(0, 0x7f))?;
        broker.bytes("no header", &[0, 0, 0, 2, 0, 3])?;
        broker.bytes("no body", &[0, 0, 0, 10, 0, 3, 0, 0, 0, 0, 0, 5, 0xff, 0xff])?;
        broker.bytes(
            "an array that is longer than the request",
            &[0, 0, 0, 14, 0, 3, 0, 0, 0, 0, 0, 5, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
        )?;
        broker.bytes("a length of nothing", &[0, 0, 0, 0])?;
        broker.bytes("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        Ok(())
    })
}

#[test]
fn the_cluster_is_described() -> Result<()> {
    play("describe-cluster", |broker| {
        for version in 0..=2 {
            broker.ask("brokers", version, DescribeClusterRequest::default())?;
        }
        let operations = DescribeClusterRequest { include_cluster_authorized_operations: true, ..Default::default() };
        broker.ask("with the operations that are allowed", 2, operations)?;
        broker.ask("controllers", 2, DescribeClusterRequest { endpoint_type: 2, ..Default::default() })?;
        broker.ask("an unknown kind", 2, DescribeClusterRequest { endpoint_type: 9, ..Default::default() })?;
        broker.ask(
            "fenced ones too",
            2,
            DescribeClusterRequest { include_fenced_brokers: true, ..Default::default() },
        )?;
        Ok(())
    })
}

#[test]
fn without_an_authorizer_nobody_has_acls() -> Result<()> {
    play("acls", |broker| {
        // Topic `orders`, literally; anybody, from anywhere; read; allowed.
        let creation = AclCreation {
            resource_type: 2,
            resource_name: text("orders"),
            resource_pattern_type: 3,
            principal: text("User:alice"),
            host: text("*"),
            operation: 3,
            permission_type: 3,
        };
        let any = DeleteAclsFilter {
            resource_type_filter: 1,
            pattern_type_filter: 1,
            operation: 1,
            permission_type: 1,
            ..Default::default()
        };
        let describe = DescribeAclsRequest {
            resource_type_filter: 1,
            pattern_type_filter: 1,
            operation: 1,
            permission_type: 1,
            ..Default::default()
        };
        for version in 1..=3 {
            broker.ask("describe all", version, describe.clone())?;
            let creations = vec![creation.clone(), creation.clone()];
            broker.ask("create two", version, CreateAclsRequest { creations })?;
            broker.ask("delete", version, DeleteAclsRequest { filters: vec![any.clone()] })?;
        }
        broker.ask("create none", 3, CreateAclsRequest::default())?;
        broker.ask("delete none", 3, DeleteAclsRequest::default())?;
        Ok(())
    })
}

#[test]
fn who_has_not_logged_in_gets_no_delegation_tokens() -> Result<()> {
    play("delegation-tokens", |broker| {
        for version in 1..=3 {
            let create = CreateDelegationTokenRequest { max_lifetime_ms: -1, ..Default::default() };
            broker.ask("create", version, create)?;
            broker.ask("describe all", version, DescribeDelegationTokenRequest { owners: None })?;
        }
        let of_alice = CreateDelegationTokenRequest {
            owner_principal_type: Some(text("User")),
            owner_principal_name: Some(text("alice")),
            max_lifetime_ms: -1,
            ..Default::default()
        };
        broker.ask("create another's", 3, of_alice)?;
        for version in 1..=2 {
            broker.ask("renew", version, RenewDelegationTokenRequest::default())?;
            broker.ask("expire", version, ExpireDelegationTokenRequest::default())?;
        }
        Ok(())
    })
}
