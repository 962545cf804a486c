//! Share groups on one broker, over real sockets: records are with one member at a time, and come again when a
//! connection ends, a leader changes, or the time is over.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

#[path = "../common/mod.rs"]
mod common;
mod random;
mod reading;
mod setup;

use ottla_wire::ErrorCode;
use ottla_wire::m78_share_fetch::ShareFetchRequest;
use ottla_wire::m79_share_acknowledge::ShareAcknowledgeRequest;
use tokio::time::timeout;

use crate::common::{Client, OneBroker, topic};
use crate::setup::{ACCEPT, GROUP, LIMIT, RELEASE, Setup};

#[tokio::test]
async fn nothing_is_served_before_every_broker_knows_share_groups() {
    let data = tempfile::tempdir().unwrap();
    let one = OneBroker::start(data.path(), false, vec![topic("t", &[])]).await;
    let mut client = Client::connect(one.port).await;
    let fetch = ShareFetchRequest { group_id: Some(GROUP.into()), member_id: Some("m".into()), ..Default::default() };
    assert_eq!(client.call(2, &fetch).await.error_code, ErrorCode::UNSUPPORTED_VERSION);
    let acknowledge = ShareAcknowledgeRequest { group_id: fetch.group_id, ..Default::default() };
    assert_eq!(client.call(2, &acknowledge).await.error_code, ErrorCode::UNSUPPORTED_VERSION);
    one.broker.stop().await;
}

#[tokio::test]
async fn a_record_is_with_one_member_until_its_connection_ends() {
    let setup = Setup::start(&[]).await;
    let (mut one, mut two) = (setup.member("one").await, setup.member("two").await);
    assert_eq!(one.gets().await, [(0, 4, 1)]);
    assert!(two.fetch(0).await.is_none_or(|found| found.acquired_records.is_empty()), "the other one has them");
    assert_eq!(one.acknowledge(0, 1, ACCEPT).await, ErrorCode::NONE);
    assert_eq!(two.acknowledge(2, 2, ACCEPT).await, ErrorCode::INVALID_RECORD_STATE);
    // Nobody says that it leaves.
    drop(one);
    assert_eq!(two.gets().await, [(2, 4, 2)]);
    assert_eq!(two.acknowledge(2, 4, ACCEPT).await, ErrorCode::NONE);
    assert!(setup.stored_start().await >= 0);
    setup.one.broker.stop().await;
}

#[tokio::test]
async fn a_fetch_that_waits_gets_what_another_member_releases() {
    let setup = Setup::start(&[]).await;
    let (mut one, mut two) = (setup.member("one").await, setup.member("two").await);
    assert_eq!(one.gets().await, [(0, 4, 1)]);
    two.fetch(0).await;
    let waiting = tokio::spawn(async move { two.gets().await });
    assert_eq!(one.acknowledge(3, 4, RELEASE).await, ErrorCode::NONE);
    assert_eq!(timeout(LIMIT, waiting).await.unwrap().unwrap(), [(3, 4, 2)]);
    setup.one.broker.stop().await;
}

#[tokio::test]
async fn records_come_again_when_the_last_member_has_gone() {
    let setup = Setup::start(&[("group.share.delivery.count.limit", "10")]).await;
    for round in 1..=4 {
        let mut member = setup.member("one").await;
        assert_eq!(member.gets().await, [(0, 4, round)]);
    }
    setup.one.broker.stop().await;
}

#[tokio::test]
async fn of_many_members_that_wait_one_gets_a_record() {
    let setup = Setup::start(&[]).await;
    let mut first = setup.member("first").await;
    assert_eq!(first.gets().await, [(0, 4, 1)]);
    let ids: Vec<&'static str> =
        (0..20).map(|number| &*Box::leak(format!("member-{number}").into_boxed_str())).collect();
    let mut waiting = tokio::task::JoinSet::new();
    for id in ids {
        let mut member = setup.member(id).await;
        member.fetch(0).await;
        waiting.spawn(async move { (member.gets().await, member) });
    }
    let mut members = Vec::new(); // whose records come to others when their connections end
    for offset in 5..8 {
        setup.append(&common::batch(&["f"]));
        let (got, member) = timeout(LIMIT, waiting.join_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(got, [(offset, offset, 1)]);
        members.push(member);
    }
    drop(waiting);
    setup.one.broker.stop().await;
}

#[tokio::test]
async fn a_lock_ends_in_time() {
    let settings =
        [("group.share.min.record.lock.duration.ms", "1000"), ("group.share.record.lock.duration.ms", "1000")];
    let setup = Setup::start(&settings).await;
    let (mut one, mut two) = (setup.member("one").await, setup.member("two").await);
    assert_eq!(one.gets().await, [(0, 4, 1)]);
    assert_eq!(two.gets().await, [(0, 4, 2)]);
    assert_eq!(one.acknowledge(0, 4, ACCEPT).await, ErrorCode::INVALID_RECORD_STATE);
    assert_eq!(two.acknowledge(0, 4, ACCEPT).await, ErrorCode::NONE);
    setup.one.broker.stop().await;
}

#[tokio::test]
async fn altered_offsets_take_the_partition_from_its_members() {
    let setup = Setup::start(&[]).await;
    let mut one = setup.member("one").await;
    assert_eq!(one.gets().await, [(0, 4, 1)]);
    setup.initialize(2).await;
    assert_eq!(one.acknowledge(0, 4, ACCEPT).await, ErrorCode::NOT_LEADER_OR_FOLLOWER, "its state is another one");
    assert_eq!(one.gets().await, [(0, 4, 1)], "from the beginning again");
    setup.one.broker.stop().await;
}
