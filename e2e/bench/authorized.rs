//! What authorization costs: two Ottlas, one with an authorizer and hundreds of ACLs, one without, and the same plain
//! Produce and Fetch requests to both.
//!
//! A hundredth of the CPU is less than what one run differs from the next, so runs are short and many, and each of the
//! two is first in every other pair.

use anyhow::{Context, Result, ensure};
use ottla_e2e::raw::Connection;
use ottla_e2e::wait::until;
use ottla_wire::ErrorCode;
use ottla_wire::m30_create_acls::{AclCreation, CreateAclsRequest};
use std::time::Duration;

use crate::broker::Broker;
use crate::lean;
use crate::runs::{Plan, Work, Workload, run as run_once, warm_up};
use crate::table::{Goal, Side, Table};

/// At most three hundredths more.
const GOALS: [Goal; 2] = [Goal::None, Goal::AtMost(1.03)];
/// How much shorter runs are than elsewhere; there are as many times more.
const SHORTER: u32 = 4;
/// Principals besides ours, with [`ACLS_EACH`] ACLs each.
const OTHERS: usize = 100;
const ACLS_EACH: usize = 4;
/// ACLs of ours for topics that it does not use.
const ELSEWHERE: usize = 100;
/// Who does not say who it is.
const ANONYMOUS: &str = "ANONYMOUS";
/// A broker counts new ACLs in this time.
const LIMIT: Duration = Duration::from_secs(60);

/// Codes of ACLs (`ResourceType`, `PatternType`, `AclOperation`, `AclPermissionType`).
const TOPIC: i8 = 2;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const ALL: i8 = 2;
const READ: i8 = 3;
const ALLOW: i8 = 3;

const ROWS: [Workload; 3] = [
    Workload {
        name: "Produce, acks=1, a record of 1 KB each, 64 connections",
        partitions: lean::MANY,
        settings: &[],
        work: Work::Requests(|at, topic, run| lean::requests(at, topic, 1, run)),
        goals: GOALS,
    },
    Workload {
        name: "Produce, acks=1, 16 KB batches",
        partitions: 1,
        settings: &[],
        work: Work::Requests(|at, topic, run| lean::produce(at, topic, 1, 16_384, run)),
        goals: GOALS,
    },
    Workload {
        name: "Fetch of 16 KB from the page cache",
        partitions: 1,
        settings: &[],
        work: Work::Fetches(|at, topic, run| lean::consume(at, topic, 16_384, run)),
        goals: GOALS,
    },
];

/// Measures it.
pub fn run(plan: &Plan) -> Result<Table> {
    let mut table = Table::of(["authorization on", "off"]);
    let [on, off] = [Broker::start_ottla(0)?, Broker::start_ottla(1)?];
    allow(&on)?;
    for broker in [&on, &off] {
        warm_up(broker, plan)?;
    }
    let short = Plan { run: plan.run / SHORTER, touched: plan.touched / SHORTER as usize, ..*plan };
    for (row, workload) in ROWS.iter().enumerate() {
        for round in 0..plan.pairs * SHORTER as usize {
            let sides = [(Side::First, &on), (Side::Second, &off)];
            for turn in 0..2 {
                let (side, broker) = sides[(turn + round) % 2];
                for (unit, goal, value) in run_once(broker, &format!("run-{row}-{round}"), workload, &short)? {
                    table.add(workload.name, unit, goal, side, value.context("it has no fixed rate")?);
                }
            }
        }
    }
    Ok(table)
}

/// The authorizer of a KafkaCluster with these super users, as a patch.
fn authorizer(super_users: &[&str]) -> String {
    format!(r#"{{"spec":{{"authorization":{{"superUsers":{super_users:?}}}}}}}"#)
}

/// Sets up the authorizer, and makes the ACLs as a super user, who is none after that.
fn allow(broker: &Broker) -> Result<()> {
    let acl = |principal: &str, topic: String, resource_pattern_type: i8, operation: i8| AclCreation {
        resource_type: TOPIC,
        resource_name: topic.into(),
        resource_pattern_type,
        principal: format!("User:{principal}").into(),
        host: "*".into(),
        operation,
        permission_type: ALLOW,
    };
    let used = ["run-", "warm-up-", "probe"].map(|prefix| acl(ANONYMOUS, prefix.to_owned(), PREFIXED, ALL));
    let elsewhere = (0..ELSEWHERE).map(|number| acl(ANONYMOUS, format!("elsewhere-{number}"), LITERAL, READ));
    let others = (0..OTHERS * ACLS_EACH).map(|number| {
        let pattern = if number % 2 == 0 { LITERAL } else { PREFIXED };
        acl(&format!("other-{}", number / ACLS_EACH), format!("topic-{number}"), pattern, READ)
    });
    let request = CreateAclsRequest { creations: used.into_iter().chain(elsewhere).chain(others).collect() };
    broker.patch(&authorizer(&[ANONYMOUS]))?;
    until(LIMIT, "the authorizer to take ACLs", || {
        let answer = Connection::open(broker.address())?.ask(3, &request)?.context("an answer")?;
        let refusal = answer.results.into_iter().find(|result| !result.error_code.is_none());
        let disabled = refusal.as_ref().is_some_and(|refusal| refusal.error_code == ErrorCode::SECURITY_DISABLED);
        ensure!(refusal.is_none() || disabled, "{refusal:?}");
        Ok((!disabled).then_some(()))
    })?;
    broker.patch(&authorizer(&["nobody"]))?;
    let mut tried = 0;
    until(LIMIT, "the authorizer to refuse what no ACL allows", || {
        tried += 1; // what was created before stays
        Ok(lean::create_topic(&broker.address(), &format!("forbidden-{tried}"), 1, &[]).is_err().then_some(()))
    })?;
    until(LIMIT, "the ACLs to count", || Ok(lean::create_topic(&broker.address(), "probe", 1, &[]).ok()))
}
