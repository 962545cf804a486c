//! The API server is away: everything but leadership and membership goes on.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::load::Load;
use ottla_e2e::cluster::namespace::Namespace;
use ottla_e2e::cluster::say;
use std::time::{Duration, Instant};

#[test]
fn five_minutes_without_the_api_server_stop_nothing() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "no-api")?;
    namespace.brokers(3)?;
    namespace.topic("load", 12)?;
    let load = Load::start(&namespace.bootstrap("external")?, "load")?;
    let starts = namespace.starts()?;

    bed.tool(&["api", "stop"])?;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(300) {
        load.goes_on()?;
    }
    bed.tool(&["api", "start"])?;

    // The cluster is as it was, and as willing as before.
    namespace.ready("kc/kafka", "Ready")?;
    namespace.topic("afterwards", 3)?;
    load.goes_on()?;
    ensure!(starts == namespace.starts()?, "a broker was restarted");
    let summary = load.finish()?;
    say(&format!("{} records, the longest pause {:?}", summary.records, summary.longest_pause));
    ensure!(summary.longest_pause < Duration::from_secs(60), "a pause of {:?}", summary.longest_pause);
    Ok(())
}
