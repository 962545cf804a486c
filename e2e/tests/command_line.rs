//! The sessions of Kafka's quick start and of tutorials, with Kafka's own tools: `tests/sessions/*.txt`.

use anyhow::Result;
use ottla_e2e::need::{Need, met};
use ottla_e2e::target::{Target, needs};
use ottla_e2e::tools::Tools;
use ottla_e2e::transcript;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// One JVM for all sessions; they take turns, each with a broker of its own, so that a list of all topics is its own.
static TOOLS: Mutex<Option<Tools>> = Mutex::new(None);

fn play(session: &str) -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    play_on(Target::start, session)
}

fn play_on(start: impl FnOnce() -> Result<Target>, session: &str) -> Result<()> {
    let mut tools = TOOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if tools.is_none() {
        *tools = Some(Tools::start()?);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sessions").join(session);
    transcript::play(&file, &start()?, tools.as_mut().expect("just started"))
}

#[test]
fn the_quick_start_works_as_printed() -> Result<()> {
    play("quick-start.txt")
}

#[test]
fn topics_are_created_listed_described_altered_and_deleted() -> Result<()> {
    play("topics.txt")
}

#[test]
fn console_clients_carry_keys_headers_and_groups() -> Result<()> {
    play("console.txt")
}

#[test]
fn groups_are_listed_described_reset_and_deleted() -> Result<()> {
    play("groups.txt")
}

#[test]
fn configs_are_described_and_altered() -> Result<()> {
    play("configs.txt")
}

#[test]
fn offsets_are_found_and_records_deleted() -> Result<()> {
    play("offsets.txt")
}

#[test]
fn the_cluster_describes_itself() -> Result<()> {
    play("cluster.txt")
}

#[test]
fn the_dump_tool_reads_the_segment_files() -> Result<()> {
    play("dump-log.txt")
}

#[test]
fn transactions_are_listed_described_and_searched_for_those_that_hang() -> Result<()> {
    play("transactions.txt")
}

#[test]
fn groups_of_the_consumer_protocol_are_listed_described_configured_and_deleted() -> Result<()> {
    play("consumers.txt")
}

#[test]
fn groups_of_streams_applications_are_listed_described_and_configured() -> Result<()> {
    play("streams.txt")
}

#[test]
fn share_groups_consume_and_are_listed_described_reset_and_deleted() -> Result<()> {
    play("sharing.txt")
}

#[test]
fn quotas_and_passwords_are_described_and_altered() -> Result<()> {
    play("quotas.txt")
}

#[test]
fn kafkas_formatters_read_the_internal_topics() -> Result<()> {
    play("formatters.txt")
}

#[test]
fn acls_are_added_listed_and_removed() -> Result<()> {
    let mut needs = needs();
    needs.extend([Need::Java, Need::Program("kubectl")]);
    if !met(&needs) {
        return Ok(());
    }
    play_on(Target::start_authorizing, "acls.txt")
}
