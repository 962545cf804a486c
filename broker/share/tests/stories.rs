//! Stories of share partitions, as transcripts: what members fetch and acknowledge, what is persisted, and what the
//! leader knows afterwards. And of share sessions: what a broker remembers of its members.
//!
//! Each `tests/stories/*.txt` holds stories under `#` headings. Lines are commands (see [`support::World`] and
//! [`support::sessions::World`]); the indented lines below one are everything that came of it. `UPDATE_EXPECT=1`
//! rewrites those: read the difference before you commit it.

mod support;

use support::World;

#[test]
fn acquiring() {
    tell("acquiring");
}

#[test]
fn acknowledging() {
    tell("acknowledging");
}

#[test]
fn releasing() {
    tell("releasing");
}

#[test]
fn delivery_limits() {
    tell("delivery_limits");
}

#[test]
fn persisting() {
    tell("persisting");
}

#[test]
fn the_log() {
    tell("the_log");
}

#[test]
fn restarts() {
    tell("restarts");
}

#[test]
fn sessions() {
    ottla_stories::play::<support::sessions::World>(env!("CARGO_MANIFEST_DIR"), "sessions");
}

fn tell(name: &str) {
    ottla_stories::play::<World>(env!("CARGO_MANIFEST_DIR"), name);
}
