//! ApiVersions, DescribeCluster, and what is no request at all.

use crate::{play, text};
use anyhow::Result;
use ottla_e2e::raw::to_bytes;
use ottla_wire::{ApiVersionsRequest, DescribeClusterRequest, MetadataRequest, encode_request};

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
