//! Which types have one name: a reader who searches for it finds them all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{graph, source};

/// Words before the name of a type where it is defined.
const KEYWORDS: [&str; 5] = ["struct", "enum", "union", "trait", "type"];

/// The modules that define each name of a type, of all crates in these folders and below them, without tests. The type
/// of a trait or an `impl` does not count.
///
/// # Panics
/// If a folder can't be read.
pub fn types(root: &Path, folders: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for folder in folders.iter().flat_map(|folder| crates(&root.join(folder))) {
        let name = folder.strip_prefix(root).unwrap().display().to_string();
        let sources = source::read(&folder.join("src"));
        // A module of tests that has its file by `#[path]`.
        let is_test = |module: &source::Module| module.last().is_some_and(|name| name.ends_with("_tests"));
        for (module, source) in sources.into_iter().filter(|(module, _)| !is_test(module)) {
            for defined in defined(&source.text) {
                types.entry(defined.to_owned()).or_default().push(format!("{name}/src/{}", graph::name(&module)));
            }
        }
    }
    types
}

/// The folders of crates in this one and below it.
fn crates(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = entries.filter(|path| path.is_dir() && !path.ends_with("src") && !path.ends_with("target"));
    let mut crates: Vec<PathBuf> = below.flat_map(|path| self::crates(&path)).collect();
    if folder.join("Cargo.toml").exists() && folder.join("src").exists() {
        crates.push(folder.to_owned());
    }
    crates.sort();
    crates
}

/// The types that a file defines.
fn defined(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let item = line.trim_start();
        let item = match item.strip_prefix("pub").map(str::trim_start) {
            Some(item) if item.starts_with('(') => item.split_once(") ")?.1,
            Some(item) => item,
            None => item,
        };
        let (keyword, rest) = item.split_once(' ')?;
        let of_trait = keyword == "type" && line.starts_with(' ');
        let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
        (KEYWORDS.contains(&keyword) && !of_trait && name.starts_with(char::is_uppercase)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_counts_and_what_a_trait_defines_does_not() {
        let text = "pub(crate) struct A<T>(T);\nenum B { C(A) }\nimpl X for A {\n    type Item = B;\n}\ntype D = A;\n\
            fn f() {\n    struct E;\n}\npub(in crate::a) trait F {}\nlet g = enum_of(G);\n";
        assert_eq!(defined(text).collect::<Vec<_>>(), ["A", "B", "D", "E", "F"]);
    }
}
