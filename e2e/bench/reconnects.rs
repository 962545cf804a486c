//! Clients that all connect at the same moment, as after a broker's restart, under TLS 1.3 and by SCRAM-SHA-256: how
//! long it takes until all are served, and what that costs.
//!
//! The clients share the machine with the broker, so what they cost stands beside it.

use std::time::Duration;

use anyhow::{Context, Result};
use ottla_e2e::raw::Connection;
use ottla_e2e::target::Maker;
use ottla_e2e::wait::until;
use ottla_e2e::{crowd, scram};

use crate::broker::{Broker, cpu_time};
use crate::runs::{Brokers, Plan, touch};
use crate::table::{Goal, Table};

const USER: &str = "bench";
/// A broker learns of a new user in this time.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures it with so many clients, after a round that warms the broker up.
pub fn run(makers: &[Maker], clients: usize, plan: &Plan) -> Result<Table> {
    let mut table = Table::default();
    let name: &'static str = format!("{clients} clients connect at once, TLS 1.3, SCRAM-SHA-256").leak();
    let mut brokers = Vec::new();
    for maker in makers {
        let broker = Broker::start_secure(*maker)?;
        scram::let_in(&mut Connection::open(broker.address())?, &[USER])?;
        until(LIMIT, "the user to be known", || Ok(crowd::connect(&broker.address_for_users(), 1, USER).ok()))?;
        brokers.push(broker);
    }
    for pair in 0..=plan.pairs {
        for broker in &brokers {
            touch(plan.touched);
            let (before, generator_before) = (broker.cpu_time()?, cpu_time("self")?);
            let crowd = crowd::connect(&broker.address_for_users(), clients, USER).context("not all were served")?;
            let spent = broker.cpu_time()? - before;
            let generator = cpu_time("self")? - generator_before;
            let memory = broker.resident_mb()?;
            let per_client = |cpu: Duration| cpu.as_secs_f64() * 1e3 / clients as f64;
            let (took, retries) = (crowd.took.as_secs_f64(), crowd.retries);
            eprintln!("{name}, pair {pair}, {:?}: {took:.2} s, {retries} times one tried again", broker.maker());
            if pair == 0 {
                continue;
            }
            for (unit, goal, value) in [
                ("s until all are served", Goal::AtMost(1.0), took),
                ("broker's CPU-ms per client", Goal::AtMost(0.4), per_client(spent)),
                ("generator's CPU-ms per client", Goal::None, per_client(generator)),
                ("MB resident while all are connected", Goal::AtMost(0.3), memory),
            ] {
                table.add(name, unit, goal, broker.maker(), value);
            }
        }
    }
    Ok(table)
}
