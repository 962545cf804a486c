//! Stories of groups, as transcripts: what members do, and what the coordinator answers and writes down.
//!
//! Each `tests/stories/*.txt` holds stories under `#` headings. Lines are commands (see [`support::World`]); the
//! indented lines below one are everything that came of it. `UPDATE=1` rewrites those: read the difference before you
//! commit it.

mod support;

use std::path::Path;

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
fn administration() {
    tell("administration");
}

#[test]
fn failing_appends() {
    tell("failing_appends");
}

#[test]
fn restarts() {
    tell("restarts");
}

fn tell(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories").join(format!("{name}.txt"));
    let expected = std::fs::read_to_string(&path).expect("the story is there");
    let actual = retell(&expected);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &actual).expect("the story can be written");
        return;
    }
    let wrong = expected.lines().zip(actual.lines()).position(|(expected, actual)| expected != actual);
    let wrong = wrong.unwrap_or(expected.lines().count().min(actual.lines().count()));
    let until_there = actual.lines().take(wrong + 1).collect::<Vec<_>>().join("\n");
    assert!(expected == actual, "{name}.txt goes wrong in line {}. What happens:\n{until_there}", wrong + 1);
}

/// The same commands, with what comes of them.
fn retell(story: &str) -> String {
    let mut world = World::default();
    let mut told = String::new();
    for line in story.lines().filter(|line| !line.starts_with("  ")) {
        told.push_str(line);
        told.push('\n');
        if line.starts_with('#') {
            world = World::default();
        } else if !line.is_empty() {
            for outcome in world.command(line) {
                told.push_str(&format!("  {outcome}\n"));
            }
        }
    }
    told
}
