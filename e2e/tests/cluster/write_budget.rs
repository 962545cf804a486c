//! What a cluster at rest writes to the API server: lease renewals, and nothing else.

use anyhow::{Result, bail, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::budget::Writes;
use ottla_e2e::cluster::namespace::Namespace;
use ottla_e2e::cluster::{LIMIT, judge, say};
use ottla_e2e::wait::until;
use ottla_e2e::witness::Load;
use std::time::Duration;

/// Long enough for resyncs, retries and time-outs to show themselves.
const WATCHED: Duration = Duration::from_secs(60);
/// Three brokers renew every two seconds each.
const LEASES_PER_S: f64 = 1.5;

#[test]
fn brokers_under_load_write_lease_renewals_and_nothing_else() -> Result<()> {
    let Some(bed) = Bed::alone()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "budget")?;
    until(LIMIT, "the brokers of earlier tests to be gone", || Ok(no_broker_renews(&bed)?.then_some(())))?;
    let others = leases_per_s(&writes_in(&bed, WATCHED)?);
    namespace.brokers(3)?;
    let load = namespace.load("load", 12, Load::GENTLE)?;
    // On a machine that stalls a broker is missed, and another elected, which is written and no rest.
    let epochs = || namespace.kubectl("get oka -o jsonpath={.items[*].spec.partitions[*].leaderEpoch}");
    for _ in 0..3 {
        let before = epochs()?;
        match only_leases_are_written(&bed, others) {
            Err(error) if epochs()? != before => say(&format!("somebody was elected, so once more: {error:#}")),
            at_rest => return at_rest.and_then(|()| judge("at rest", load).map(drop)),
        }
    }
    bail!("in none of three minutes were the brokers at rest")
}

fn only_leases_are_written(bed: &Bed, others: f64) -> Result<()> {
    // The operator's last word on the new objects may still be on its way.
    until(LIMIT, "the operator to come to rest", || {
        Ok((writes_in(bed, Duration::from_secs(5))?.of_group("ottla.io") == 0).then_some(()))
    })?;
    let writes = writes_in(bed, WATCHED)?;
    say(&format!("in {WATCHED:?}, three brokers under load: {writes}"));
    ensure!(writes.of_group("ottla.io") == 0, "our objects were written: {writes}");
    let own = ["statefulsets", "services", "configmaps", "poddisruptionbudgets", "networkpolicies", "serviceaccounts"];
    let rewritten = writes.requests.keys().find(|name| own.iter().any(|own| name.contains(own)));
    ensure!(rewritten.is_none(), "{rewritten:?} was written: {writes}");
    let leases = leases_per_s(&writes) - others;
    say(&format!("{leases:.2} lease renewals a second, beside {others:.2} of Kubernetes and the operator"));
    ensure!((LEASES_PER_S - leases).abs() < 0.3, "{leases} lease renewals a second: {writes}");
    Ok(())
}

/// Whether no broker of any cluster has renewed its Lease for longer than it would wait. One that is gone leaves its
/// Lease.
fn no_broker_renews(bed: &Bed) -> Result<bool> {
    let renewals =
        || bed.kubectl("get leases --all-namespaces -l ottla.io/cluster -o jsonpath={.items[*].spec.renewTime}");
    let before = renewals()?;
    std::thread::sleep(Duration::from_secs(5));
    Ok(renewals()? == before)
}

fn writes_in(bed: &Bed, time: Duration) -> Result<Writes> {
    let before = Writes::so_far(bed)?;
    std::thread::sleep(time);
    Ok(Writes::so_far(bed)?.since(&before))
}

fn leases_per_s(writes: &Writes) -> f64 {
    writes.of_group("coordination.k8s.io") as f64 / WATCHED.as_secs_f64()
}
