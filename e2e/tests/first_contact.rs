//! A client that comes as early as it can.

use anyhow::{Context, Result, ensure};
use ottla_e2e::leash::Leash;
use ottla_e2e::raw::Connection;
use ottla_e2e::target::{Maker, Target};
use ottla_e2e::wait::until;
use ottla_wire::MetadataRequest;
use std::path::Path;
use std::time::Duration;

/// Metadata without brokers sends librdkafka away for a minute.
#[test]
fn a_client_that_reaches_the_port_finds_a_broker() -> Result<()> {
    let target = Target::start_of(Maker::Ottla)?;
    target.stop()?;
    let _early = Leash::start(&target.ottla()?, Path::new("/dev/null"))?;
    let open = || Ok(Connection::open(target.bootstrap()).ok());
    let mut connection = until(Duration::from_secs(120), "the port to open", open)?;
    let answer = connection.ask(12, &MetadataRequest::default())?.context("the broker closed the connection")?;
    ensure!(answer.brokers.len() == 1, "{answer:?}");
    Ok(())
}
