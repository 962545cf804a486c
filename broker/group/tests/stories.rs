//! Stories of groups, as transcripts: what members do, and what the coordinator answers and writes down.
//!
//! Each `tests/stories/*.txt` holds stories under `#` headings. Lines are commands (see [`support::World`]); the
//! indented lines below one are everything that came of it. `UPDATE_EXPECT=1` rewrites those: read the difference
//! before you commit it.

mod support;

use support::World;

#[test]
fn joining() {
    tell("joining");
}

#[test]
fn rebalancing() {
    tell("rebalancing");
}

#[test]
fn static_members() {
    tell("static_members");
}

#[test]
fn offsets() {
    tell("offsets");
}

#[test]
fn transactions() {
    tell("transactions");
}

#[test]
fn administration() {
    tell("administration");
}

#[test]
fn consumers() {
    tell("consumers");
}

#[test]
fn static_consumers() {
    tell("static_consumers");
}

#[test]
fn patterns() {
    tell("patterns");
}

#[test]
fn consumers_offsets() {
    tell("consumers_offsets");
}

#[test]
fn changing_protocols() {
    tell("changing_protocols");
}

#[test]
fn failing_appends() {
    tell("failing_appends");
}

#[test]
fn too_large() {
    tell("too_large");
}

#[test]
fn restarts() {
    tell("restarts");
}

fn tell(name: &str) {
    ottla_stories::play::<World>(env!("CARGO_MANIFEST_DIR"), name);
}

#[test]
fn streams() {
    tell("streams");
}

#[test]
fn streams_topologies() {
    tell("streams_topologies");
}

#[test]
fn streams_kinds() {
    tell("streams_kinds");
}

#[test]
fn shares() {
    tell("shares");
}

#[test]
fn shares_offsets() {
    tell("shares_offsets");
}
