//! Many groups on one broker, and a group with many members: how long it takes until their assignments are stable, and
//! what the broker spends on them.
//!
//! Members share the machine with the broker. Each run has a broker of its own, whose memory nobody has used before.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ottla_e2e::target::Maker;

use crate::broker::Broker;
use crate::lean;
use crate::members::{Group, Protocol, Stage, topic_id};
use crate::runs::{Brokers, Plan, touch};
use crate::table::{Goal, Table};

const TOPIC: &str = "read-by-groups";
/// Members of each of many groups.
const EACH: usize = 10;
/// Members of the one group.
const ONE: usize = 100;
/// An assignment is stable when it has not changed for longer than members of either protocol pause between heartbeats.
const SETTLED: Duration = Duration::from_secs(6);

/// What a run found.
struct Found {
    /// From when members join to when the last group was stable.
    stable: Duration,
    /// A second of heartbeats.
    cpu: Duration,
    resident_mb: f64,
}

/// Measures both protocols with so many groups, and with one group.
pub fn run(makers: &[Maker], groups: usize, plan: &Plan) -> Result<Table> {
    let mut table = Table::default();
    for protocol in [Protocol::Classic, Protocol::Consumer] {
        let protocol_name = format!("{protocol:?}").to_lowercase();
        let many: &'static str =
            format!("{groups} groups with {} members in all, {protocol_name} protocol", groups * EACH).leak();
        let one: &'static str = format!("{ONE} members join one group at once, {protocol_name} protocol").leak();
        for pair in 0..plan.pairs {
            for maker in makers {
                let alone = measure(*maker, protocol, 1, ONE, plan)?;
                eprintln!("{one}, pair {pair}, {maker:?}: {:.2} s", alone.stable.as_secs_f64());
                table.add(
                    one,
                    "s until the assignment is stable",
                    Goal::AtMost(1.0),
                    *maker,
                    alone.stable.as_secs_f64(),
                );
                let found = measure(*maker, protocol, groups, EACH, plan)?;
                eprintln!("{many}, pair {pair}, {maker:?}: {:.2} s", found.stable.as_secs_f64());
                for (unit, goal, value) in [
                    ("s until every assignment is stable", Goal::AtMost(1.0), found.stable.as_secs_f64()),
                    ("broker's CPU-ms per second of heartbeats", Goal::AtMost(1.0), found.cpu.as_secs_f64() * 1e3),
                    ("MB resident", Goal::AtMost(1.0), found.resident_mb),
                ] {
                    table.add(many, unit, goal, *maker, value);
                }
            }
        }
    }
    Ok(table)
}

fn measure(maker: Maker, protocol: Protocol, groups: usize, members: usize, plan: &Plan) -> Result<Found> {
    touch(plan.touched);
    let mut broker = Broker::prepare(maker)?;
    broker.start()?;
    let address = broker.address();
    lean::first_acknowledgement(&address, "first")?;
    lean::create_topic(&address, TOPIC, i32::try_from(members)?, &[])?;
    let topic = (TOPIC, topic_id(&address, TOPIC)?);
    let groups: Vec<Group> = (0..groups).map(|nth| Group::new(format!("group-{nth}"), topic, members)).collect();
    let stage = Stage::new(address, groups.len() * members);
    stage.play(
        |nth, connection| groups[nth / members].take_part(protocol, nth % members, &stage, connection),
        |begin| observe(&broker, &groups, &stage, begin, plan),
        || broker.stop(),
    )
}

fn observe(broker: &Broker, groups: &[Group], stage: &Stage, begin: Instant, plan: &Plan) -> Result<Found> {
    let stable = stage.wait_for("stable assignments", || {
        let since = groups.iter().map(Group::stable).collect::<Option<Vec<_>>>()?;
        since.into_iter().max().filter(|last| last.elapsed() > SETTLED)
    })?;
    let (before, began) = (broker.cpu_time()?, Instant::now());
    thread::sleep(3 * plan.run);
    let cpu = (broker.cpu_time()? - before).div_f64(began.elapsed().as_secs_f64());
    Ok(Found { stable: stable.saturating_duration_since(begin), cpu, resident_mb: broker.resident_mb()? })
}
