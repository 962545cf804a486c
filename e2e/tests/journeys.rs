//! The journeys of the README: how many files a reader needs who follows one request, or one broker's death.
//!
//! The files of a journey are those that its paragraph names, in the order of the walk, up to `Side rooms:`. Those
//! rooms are on the way too, but what they give can be taken on trust. A line counts unless it is in a module of tests
//! within its file. Whether each file leads to the next one is left to the reader.

use anyhow::{Context, Result, ensure};
use ottla_e2e::readme::section;
use std::path::{Path, PathBuf};

/// A journey, and the most files and lines that it may have.
const JOURNEYS: [(&str, usize, usize); 3] = [
    ("Produce", 6, 2_000),
    ("Fetch", 9, 2_000),
    // Two programs meet here that know only each other's objects: ten files say who is dead, what follows from that and
    // what is written; eight act on it. Fewer would mix evidence, plan and writes, or take the rules (two short files)
    // out of the crate that the model check runs.
    ("A broker dies", 18, 4_000),
];

/// What separates a journey from the rooms beside it.
const SIDE_ROOMS: &str = "Side rooms:";

/// Where a name of the README may begin, and what stands there for it.
const ROOTS: [(&str, &str); 5] =
    [("", ""), ("", "broker/src/"), ("", "operator/src/"), ("log/", "broker/log/src/"), ("rules/", "crds/rules/src/")];

#[test]
fn a_reader_follows_a_request_through_few_files() -> Result<()> {
    let readme = std::fs::read_to_string(root().join("README.md"))?;
    let journeys = section(&readme, "## Journeys").context("a section of journeys")?;
    for (journey, most_files, most_lines) in JOURNEYS {
        let begin = format!("**{journey}.**");
        let paragraph = journeys.split("\n\n").find_map(|text| text.trim_start().strip_prefix(&begin));
        let paragraph = paragraph.with_context(|| format!("no journey begins with {begin}"))?;
        let walk = paragraph.split(SIDE_ROOMS).next().unwrap_or(paragraph);
        let files: Vec<PathBuf> = names(walk).map(file).collect::<Result<_>>().context(journey)?;
        let counted = files.iter().map(|file| Ok((lines(&std::fs::read_to_string(file)?), file)));
        let counted: Vec<(usize, &PathBuf)> = counted.collect::<Result<_>>()?;
        let all: usize = counted.iter().map(|(lines, _)| lines).sum();
        ensure!(files.len() > 1 && files.len() <= most_files, "{journey}: {} files of {most_files}", files.len());
        ensure!(all <= most_lines, "{journey}: {all} lines of {most_lines}: {counted:#?}");
        println!("{journey}: {} files, {all} lines", files.len());
    }
    Ok(())
}

#[test]
fn every_room_that_a_journey_names_exists() -> Result<()> {
    let readme = std::fs::read_to_string(root().join("README.md"))?;
    let journeys = section(&readme, "## Journeys").context("a section of journeys")?;
    for name in names(journeys).filter(|name| name.contains('/')) {
        let is_folder = ROOTS.iter().any(|(_, place)| root().join(place).join(name).is_dir());
        ensure!(is_folder || root().join(name).exists() || file(name).is_ok(), "there is no {name}");
    }
    Ok(())
}

/// What stands between backticks.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The one file of this name.
fn file(name: &str) -> Result<PathBuf> {
    let places = ROOTS.iter().filter_map(|(begin, place)| Some(format!("{place}{}", name.strip_prefix(begin)?)));
    let files = places.flat_map(|place| [format!("{place}.rs"), format!("{place}/mod.rs")]);
    let mut found: Vec<PathBuf> = files.map(|file| root().join(file)).filter(|file| file.exists()).collect();
    found.sort();
    found.dedup();
    ensure!(found.len() == 1, "`{name}` is not the name of one file: {found:?}");
    found.pop().context("there is one")
}

/// The lines of a file without its modules of tests.
fn lines(text: &str) -> usize {
    let mut lines = text.lines().peekable();
    let mut count = 0;
    while let Some(line) = lines.next() {
        let is_inline = |next: &&str| next.starts_with("mod ") && next.ends_with('{');
        if line == "#[cfg(test)]" && lines.peek().is_some_and(is_inline) {
            for line in lines.by_ref() {
                if line == "}" {
                    break;
                }
            }
        } else {
            count += 1;
        }
    }
    count
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn modules_of_tests_do_not_count_and_lines_behind_them_do() {
    let text = "one\n#[cfg(test)]\nmod other;\n\n#[cfg(test)]\nmod tests {\n    fn f() {\n    }\n}\nlast\n";
    assert_eq!(lines(text), 5);
}
