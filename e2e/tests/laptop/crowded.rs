//! A process that may open too few files: it serves what it has opened, loses nothing, and says what it lacks.

use anyhow::{Result, ensure};
use ottla_e2e::wait::until;
use ottla_wire::CreateTopicsRequest;
use ottla_wire::m19_create_topics::CreatableTopic;
use std::process::Command;

use crate::bed::{LIMIT, Laptop, can_run};
use crate::client::{create, read, wait_for_leaders};
use crate::{ensure_numbered, produce_numbered};

/// Less than a log for each of these takes.
const PARTITIONS: i32 = 400;
const FILES: u32 = 300;

#[test]
fn a_process_with_too_few_files_goes_on_and_its_directory_is_not_given_up() -> Result<()> {
    if !can_run(&["sh"]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    let usual = laptop.command(&[])?;
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {FILES} && exec \"$0\" \"$@\"")]);
    limited.arg(usual.get_program()).args(usual.get_args());
    laptop.start_with(&limited)?;
    let mut connection = laptop.connect(0)?;
    create(&mut connection, "orders", 1)?;
    wait_for_leaders(&mut connection, "orders", 1)?;
    produce_numbered(&laptop, "orders", 0..20)?;

    // Whether it is created in time or not: its logs can't all be opened.
    let topic =
        CreatableTopic { name: "many".into(), num_partitions: PARTITIONS, replication_factor: 1, ..Default::default() };
    connection.ask(7, &CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() })?;
    until(LIMIT, "the limit to be reached", || Ok(laptop.said()?.contains("Too many open files").then_some(())))?;
    ensure_numbered(&read(&mut connection, "orders", 0)?, 20)?;
    laptop.terminate()?;
    let said = laptop.said()?;
    ensure!(!said.contains("has failed"), "{said}");

    laptop.start()?;
    let mut connection = laptop.connect(0)?;
    wait_for_leaders(&mut connection, "many", usize::try_from(PARTITIONS)?)?;
    ensure_numbered(&read(&mut connection, "orders", 0)?, 20)?;
    produce_numbered(&laptop, "orders", 20..21)
}
