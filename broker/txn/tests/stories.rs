//! Stories of transactions, as transcripts: what producers and partitions do, and what the coordinator answers, writes
//! down and sends.
//!
//! Each `tests/stories/*.txt` holds stories under `#` headings. Lines are commands (see [`support::World`]); the
//! indented lines below one are everything that came of it. `UPDATE_EXPECT=1` rewrites those: read the difference
//! before you commit it.

mod support;

use support::World;

#[test]
fn producers() {
    tell("producers");
}

#[test]
fn adding() {
    tell("adding");
}

#[test]
fn ending_before_v2() {
    tell("ending_before_v2");
}

#[test]
fn ending() {
    tell("ending");
}

#[test]
fn exhausted_epochs() {
    tell("exhausted_epochs");
}

#[test]
fn markers() {
    tell("markers");
}

#[test]
fn timeouts() {
    tell("timeouts");
}

#[test]
fn failing_appends() {
    tell("failing_appends");
}

#[test]
fn restarts() {
    tell("restarts");
}

#[test]
fn administration() {
    tell("administration");
}

#[test]
fn faults_of_kafkas_past() {
    tell("faults_of_kafkas_past");
}

fn tell(name: &str) {
    ottla_stories::play::<World>(env!("CARGO_MANIFEST_DIR"), name);
}
