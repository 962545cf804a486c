//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup, DescribeGroups, ListGroups, DeleteGroups.

use crate::offsets::{commit, coordinated};
use crate::{play, text, topic};
use anyhow::Result;
use bytes::Bytes;
use ottla_e2e::answers::{Conversation, LIMIT};
use ottla_e2e::wait::until;
use ottla_wire::m11_join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::m12_heartbeat::HeartbeatRequest;
use ottla_wire::m13_leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla_wire::m14_sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_wire::m15_describe_groups::DescribeGroupsRequest;
use ottla_wire::m16_list_groups::ListGroupsRequest;
use ottla_wire::m42_delete_groups::DeleteGroupsRequest;
use ottla_wire::{ErrorCode, OffsetCommitRequest, Str};

/// A member that speaks "connect": the broker must not look into its bytes.
fn join(group: &str, member: &Str, instance: Option<&str>) -> JoinGroupRequest {
    let protocol =
        |name: &str| JoinGroupRequestProtocol { name: text(name), metadata: Bytes::from(format!("meta {name}")) };
    JoinGroupRequest {
        group_id: text(group),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.clone(),
        group_instance_id: instance.map(text),
        protocol_type: text("connect"),
        protocols: vec![protocol("sessioned"), protocol("compatible")],
        reason: None,
    }
}

fn sync(group: &str, generation: i32, member: &Str, assignments: &[(&Str, &'static str)]) -> SyncGroupRequest {
    let assignment = |(member, bytes): &(&Str, &'static str)| SyncGroupRequestAssignment {
        member_id: (*member).clone(),
        assignment: Bytes::from_static(bytes.as_bytes()),
    };
    SyncGroupRequest {
        group_id: text(group),
        generation_id: generation,
        member_id: member.clone(),
        protocol_type: Some(text("connect")),
        protocol_name: Some(text("sessioned")),
        assignments: assignments.iter().map(assignment).collect(),
        ..Default::default()
    }
}

pub(crate) fn heartbeat(group: &str, generation_id: i32, member: &Str) -> HeartbeatRequest {
    HeartbeatRequest { group_id: text(group), generation_id, member_id: member.clone(), group_instance_id: None }
}

pub(crate) fn leave(group: &str, members: &[(&Str, Option<&str>)]) -> LeaveGroupRequest {
    let member = |(member_id, instance): &(&Str, Option<&str>)| MemberIdentity {
        member_id: (*member_id).clone(),
        group_instance_id: instance.map(text),
        reason: None,
    };
    LeaveGroupRequest { group_id: text(group), members: members.iter().map(member).collect(), ..Default::default() }
}

fn describe(group: &str) -> DescribeGroupsRequest {
    DescribeGroupsRequest { groups: vec![text(group)], include_authorized_operations: false }
}

/// A group of one: gets its id, joins and syncs. The id.
pub(crate) fn first_member(broker: &mut Conversation<'_>, group: &str) -> Result<Str> {
    let id = broker.ask("a member asks for an id", 9, join(group, &text(""), None))?.member_id;
    broker.ask("it joins", 9, join(group, &id, None))?;
    broker.ask("it syncs", 5, sync(group, 1, &id, &[(&id, "all yours")]))?;
    Ok(id)
}

#[test]
fn members_join_and_leave() -> Result<()> {
    play("group-of-two", |broker| {
        let group = "pair";
        topic(broker, "pair", 1, &[])?;
        coordinated(broker, &[group])?;
        let first = first_member(broker, group)?;
        broker.ask("stable", 4, heartbeat(group, 1, &first))?;
        broker.ask("described", 5, describe(group))?;
        broker.ask("syncs again", 5, sync(group, 1, &first, &[]))?;

        let second = broker.ask("a second member asks for an id", 9, join(group, &text(""), None))?.member_id;
        broker.ask("asking alone disturbs nobody", 4, heartbeat(group, 1, &first))?;
        broker.send_on(1, 9, &join(group, &second, None))?;
        // The join is on its way on another connection: the first member hears of it by a heartbeat sooner or later.
        until(LIMIT, "the rebalance", || {
            let beat = broker.quietly(4, heartbeat(group, 1, &first))?;
            Ok((!beat.error_code.is_none()).then_some(()))
        })?;
        broker.ask("the first hears of it", 4, heartbeat(group, 1, &first))?;
        broker.ask("the first cannot sync now", 5, sync(group, 1, &first, &[]))?;
        let offsets = |generation, member: &Str| OffsetCommitRequest {
            generation_id_or_member_epoch: generation,
            member_id: member.clone(),
            ..commit(group, "pair", &[(0, 1, None)])
        };
        broker.ask("but it can commit", 8, offsets(1, &first))?;
        // Members are listed in no particular order.
        let mut joined = broker.quietly(9, join(group, &first, None))?;
        joined.members.sort_by_key(|member| member.member_id != first);
        broker.note("the first joins again and leads", &format!("{joined:#?}"));
        broker.receive_on::<JoinGroupRequest>(1, "the second has joined", 9)?;
        broker.ask("nobody commits before the sync", 8, offsets(2, &first))?;
        broker.ask("a heartbeat before the sync", 4, heartbeat(group, 2, &first))?;
        broker.send_on(1, 5, &sync(group, 2, &second, &[]))?;
        broker.ask("the leader syncs", 5, sync(group, 2, &first, &[(&first, "yours"), (&second, "the other's")]))?;
        broker.receive_on::<SyncGroupRequest>(1, "the second gets its share", 5)?;
        broker.ask("the follower joins again unchanged", 9, join(group, &second, None))?;
        broker.ask("which disturbs nobody", 4, heartbeat(group, 2, &first))?;
        let mut described = broker.quietly(6, describe(group))?;
        described.groups[0].members.sort_by_key(|member| member.member_id != first);
        broker.note("described", &format!("{described:#?}"));
        broker.ask("deleted while at work", 2, DeleteGroupsRequest { groups_names: vec![text(group)] })?;

        broker.ask("an old generation", 4, heartbeat(group, 1, &first))?;
        broker.ask("a stranger", 4, heartbeat(group, 2, &text("stranger")))?;
        broker.ask("a stranger joins", 9, join(group, &text("stranger"), None))?;
        broker.ask("a stranger syncs", 5, sync(group, 2, &text("stranger"), &[]))?;
        broker.ask("a sync of an old generation", 5, sync(group, 1, &first, &[]))?;
        let wrong = SyncGroupRequest { protocol_name: Some(text("other")), ..sync(group, 2, &first, &[]) };
        broker.ask("a sync of another protocol", 5, wrong)?;
        broker.ask("a commit of an old generation", 8, offsets(1, &first))?;
        broker.ask("a commit of a stranger", 8, offsets(2, &text("stranger")))?;
        broker.ask("a commit without generation", 8, commit(group, "pair", &[(0, 1, None)]))?;
        let other = JoinGroupRequest { protocol_type: text("consumer"), ..join(group, &text(""), None) };
        broker.ask("another protocol type", 3, other)?;
        let mut other = join(group, &text(""), None);
        other.protocols.truncate(1);
        other.protocols[0].name = text("other");
        broker.ask("no common protocol", 3, other)?;

        broker.ask("a stranger leaves", 5, leave(group, &[(&text("stranger"), None)]))?;
        broker.ask("both leave", 5, leave(group, &[(&first, None), (&second, None)]))?;
        broker.ask("empty", 6, describe(group))?;
        broker.ask("a heartbeat of one that left", 4, heartbeat(group, 2, &first))?;
        broker.ask("deleted", 2, DeleteGroupsRequest { groups_names: vec![text(group)] })?;
        broker.ask("deleted again", 2, DeleteGroupsRequest { groups_names: vec![text(group)] })?;
        broker.ask("gone", 5, describe(group))?;
        broker.ask("gone", 6, describe(group))?;
        Ok(())
    })
}

#[test]
fn joins_are_checked() -> Result<()> {
    play("join-errors", |broker| {
        coordinated(broker, &["", "checked", "checked.unknown"])?;
        let new = || join("checked", &text(""), None);
        broker.ask("no group", 9, JoinGroupRequest { group_id: text(""), ..new() })?;
        broker.ask("a short session", 9, JoinGroupRequest { session_timeout_ms: 5_999, ..new() })?;
        broker.ask("a long session", 9, JoinGroupRequest { session_timeout_ms: 1_800_001, ..new() })?;
        broker.ask("no protocols", 9, JoinGroupRequest { protocols: vec![], ..new() })?;
        broker.ask("no protocol type", 9, JoinGroupRequest { protocol_type: text(""), ..new() })?;
        broker.ask("an unknown member of an unknown group", 9, join("checked", &text("stranger"), None))?;
        broker.ask("an id is asked for", 4, new())?;
        broker.ask("heartbeat in no group", 4, heartbeat("", 1, &text("x")))?;
        broker.ask("heartbeat in an unknown group", 4, heartbeat("checked.unknown", 1, &text("x")))?;
        broker.ask("sync in no group", 5, sync("", 1, &text("x"), &[]))?;
        broker.ask("sync in an unknown group", 5, sync("checked.unknown", 1, &text("x"), &[]))?;
        let nameless =
            SyncGroupRequest { protocol_type: None, protocol_name: None, ..sync("checked", 1, &text("x"), &[]) };
        broker.ask("sync without a protocol", 5, nameless)?;
        broker.ask("leave no group", 5, leave("", &[(&text("x"), None)]))?;
        broker.ask("leave an unknown group", 5, leave("checked.unknown", &[(&text("x"), None)]))?;
        broker.ask(
            "leave an unknown group",
            2,
            LeaveGroupRequest { member_id: text("x"), ..leave("checked.unknown", &[]) },
        )?;
        broker.ask("describe no group", 6, describe(""))?;
        broker.ask("delete no group", 2, DeleteGroupsRequest { groups_names: vec![text("")] })?;
        Ok(())
    })
}

#[test]
fn the_oldest_members_are_served() -> Result<()> {
    play("old-members", |broker| {
        coordinated(broker, &["old"])?;
        let id = broker.ask("joins without being asked to come again", 0, join("old", &text(""), None))?.member_id;
        broker.ask("syncs", 0, sync("old", 1, &id, &[(&id, "all")]))?;
        broker.ask("beats", 0, heartbeat("old", 1, &id))?;
        broker.ask("described", 0, describe("old"))?;
        broker.ask("leaves", 0, LeaveGroupRequest { member_id: id, ..leave("old", &[]) })?;
        broker.ask("described", 0, describe("old"))?;
        Ok(())
    })
}

#[test]
fn static_members_come_back_without_a_rebalance() -> Result<()> {
    play("static-members", |broker| {
        let group = "static";
        coordinated(broker, &[group])?;
        let instance = Some("machine-1");
        let old = broker.ask("joins at once", 9, join(group, &text(""), instance))?.member_id;
        let syncing =
            SyncGroupRequest { group_instance_id: instance.map(text), ..sync(group, 1, &old, &[(&old, "all")]) };
        broker.ask("syncs", 5, syncing)?;
        let new = broker.ask("comes back", 9, join(group, &text(""), instance))?.member_id;
        anyhow::ensure!(new != old, "the same id twice");
        let beat = |member: &Str, generation| HeartbeatRequest {
            group_instance_id: instance.map(text),
            ..heartbeat(group, generation, member)
        };
        broker.ask("the old one is fenced", 4, beat(&old, 1))?;
        broker.ask("the new one is known", 4, beat(&new, 1))?;
        broker.ask("under its instance's name only", 4, beat(&text("stranger"), 1))?;
        broker.ask("the old one cannot come back", 9, join(group, &old, instance))?;
        broker.ask("described", 5, describe(group))?;
        broker.ask("an unknown instance leaves", 5, leave(group, &[(&text(""), Some("machine-9"))]))?;
        broker.ask("leaves by instance", 5, leave(group, &[(&text(""), instance)]))?;
        broker.ask("empty", 5, describe(group))?;
        Ok(())
    })
}

#[test]
fn groups_are_listed() -> Result<()> {
    play("list-groups", |broker| {
        topic(broker, "listed", 1, &[])?;
        coordinated(broker, &["listed", "listed.unknown"])?;
        broker.ask("commit", 8, commit("listed", "listed", &[(0, 1, None)]))?;
        // Other tests have groups too: only this one's is noted.
        let mut ask = |title: &str, version, states: &[&str], types: &[&str]| -> Result<()> {
            let list = |names: &[&str]| names.iter().map(|name| text(name)).collect();
            let request = ListGroupsRequest { states_filter: list(states), types_filter: list(types) };
            let answer = until(LIMIT, "groups that are all loaded", || {
                let answer = broker.quietly(version, request.clone())?;
                Ok((answer.error_code != ErrorCode::COORDINATOR_LOAD_IN_PROGRESS).then_some(answer))
            })?;
            let group = answer.groups.iter().find(|group| group.group_id == text("listed"));
            broker.note(&format!("{title} {version}"), &format!("{:?} {group:#?}", answer.error_code));
            Ok(())
        };
        for version in 0..=5 {
            ask("all", version, &[], &[])?;
        }
        ask("empty ones", 4, &["Empty"], &[])?;
        ask("EMPTY ones", 4, &["EMPTY"], &[])?;
        ask("stable ones", 4, &["Stable"], &[])?;
        ask("unheard-of ones", 4, &["Bored"], &[])?;
        ask("classic ones", 5, &[], &["classic"])?;
        ask("CLASSIC ones", 5, &[], &["CLASSIC"])?;
        ask("consumer ones", 5, &[], &["consumer"])?;
        ask("unheard-of types", 5, &[], &["bored"])?;
        broker.ask("described", 5, describe("listed"))?;
        for group in ["listed", "listed.unknown"] {
            broker.ask("deleted", 0, DeleteGroupsRequest { groups_names: vec![text(group)] })?;
        }
        Ok(())
    })
}
