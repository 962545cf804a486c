//! `ottla objects`: brokers' copies of the cluster's objects, for an administrator who restores lost ones; and a
//! [`backup`] of what the API server shows.
//!
//! Reads files and prints; [`ottla_broker::coord::restore`] makes objects of copies.

use std::fs::File;
use std::io::{BufReader, Read, Write, stdin, stdout};
use std::path::Path;

use anyhow::{Context, bail};
use ottla_broker::coord::copy::{self, Copy};
use ottla_broker::coord::restore::{Objects, restore};
use ottla_broker::image::BrokerId;
use ottla_crds::broker_file::{BrokerFile, FILE_NAME, FOLDER};
use serde::Serialize;

use crate::options::ObjectsOptions;

mod backup;

/// Prints this pod's copy, or the objects that the given copies make.
///
/// # Errors
/// One sentence: a file is not a copy, a copy is incomplete, or the copy of a broker is missing.
pub async fn run(options: &ObjectsOptions) -> anyhow::Result<()> {
    if let Some(cluster) = &options.cluster {
        return backup::run(cluster, options.into.as_deref(), usize::from(options.keep)).await;
    }
    if options.data.is_empty() && options.files.is_empty() {
        return print(&mut stdout().lock(), &Some(own_copy()?));
    }
    let mut copies = Vec::new();
    for file in &options.files {
        let before = copies.len();
        read(file, &mut copies).with_context(|| format!("{} contains something that is not a copy", file.display()))?;
        if copies.len() == before {
            bail!("{} contains no copy", file.display());
        }
    }
    for dir in &options.data {
        copies.push(copy::of(dir)?);
    }
    let without = options.without.iter().copied().map(BrokerId).collect();
    let objects = restore(&copies, &without)?;
    for object in &objects.left_out {
        eprintln!("left out {object}: none of its own replicas has a copy of it, so its topic was deleted");
    }
    print_all(&mut stdout().lock(), &objects)
}

/// In the order in which they are to be created.
fn print_all(out: &mut impl Write, objects: &Objects) -> anyhow::Result<()> {
    let Objects { assignments, topics, users, cluster, left_out: _ } = objects;
    print(out, assignments)?;
    print(out, topics)?;
    print(out, users)?;
    print(out, cluster)
}

/// The copy of the broker in this pod.
fn own_copy() -> anyhow::Result<Copy> {
    let name = Path::new(FOLDER).join(FILE_NAME);
    let text = std::fs::read_to_string(&name)
        .with_context(|| format!("failed to read {}: outside a broker's pod, add --data FOLDER", name.display()))?;
    let file = BrokerFile::parse(&text).with_context(|| format!("{} is no broker's file", name.display()))?;
    Ok(copy::of(&file.data)?)
}

fn read(file: &Path, copies: &mut Vec<Copy>) -> anyhow::Result<()> {
    let input: Box<dyn Read> =
        if file == Path::new("-") { Box::new(stdin().lock()) } else { Box::new(File::open(file)?) };
    for copy in serde_json::Deserializer::from_reader(BufReader::new(input)).into_iter() {
        copies.push(copy?);
    }
    Ok(())
}

/// One object on each line, as `kubectl` accepts them.
fn print<'a, T: Serialize + 'a>(out: &mut impl Write, objects: impl IntoIterator<Item = &'a T>) -> anyhow::Result<()> {
    for object in objects {
        serde_json::to_writer(&mut *out, object)?;
        writeln!(out)?;
    }
    Ok(())
}
