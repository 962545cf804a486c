//! A source file as far as its imports go: what is left without comments, strings and tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A module, as the names from the crate's root on; the root has none.
pub(crate) type Module = Vec<String>;

/// One module's source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    /// Its code, without comments, the content of strings, and test modules.
    pub text: String,
    /// Its test modules that are files of their own.
    tests: Vec<Module>,
}

/// The sources of a crate, without those of tests.
pub(crate) fn read(src: &Path) -> BTreeMap<Module, Source> {
    let parsed = files(src).into_iter().map(|path| {
        let name = path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
        parse(&name, &std::fs::read_to_string(&path).unwrap())
    });
    without_tests(parsed.collect())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Puts the sources by their modules. `lib.rs` and `main.rs` are both the root.
pub(crate) fn without_tests(parsed: Vec<(Module, Source)>) -> BTreeMap<Module, Source> {
    let tests: Vec<Module> = parsed.iter().flat_map(|(_, source)| source.tests.clone()).collect();
    let mut sources: BTreeMap<Module, Source> = BTreeMap::new();
    for (module, source) in parsed {
        if !tests.iter().any(|test| module.starts_with(test)) {
            sources.entry(module).or_default().text.push_str(&source.text);
        }
    }
    sources
}

/// The source of a file, whose name is relative to `src`.
pub(crate) fn parse(name: &str, text: &str) -> (Module, Source) {
    let mut module: Module = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    let mut text = code(text);
    let mut tests = Vec::new();
    while let Some(at) = text.find("#[cfg(test)]") {
        let rest = &text[at..];
        let end = match rest.find([';', '{']) {
            Some(end) if rest[end..].starts_with('{') => block_end(rest, end),
            Some(end) => {
                if let Some((_, test)) = rest[..end].split_once("mod ") {
                    tests.push([&module[..], &[test.trim().to_owned()]].concat());
                }
                end + 1
            }
            None => rest.len(),
        };
        text.replace_range(at..at + end, "");
    }
    (module, Source { text, tests })
}

/// Where the block ends that begins at `open`.
fn block_end(text: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < open) {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// The text without comments and without what strings and characters contain.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            string_end(rest)
        } else if c == 'r' && !code.ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            raw_string_end(rest)
        } else if c == '\'' {
            character_end(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            rest = &rest[skipped..];
        }
    }
    code
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Where the raw string ends that the text begins with; 0 if it begins with none.
fn raw_string_end(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = 2 + hashes;
    text[begin..].find(&end).map_or(text.len(), |at| begin + at + end.len())
}

/// Where the character ends that the text begins with; 0 for a lifetime.
fn character_end(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(0, |at| at + 4),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// The paths that begin where `text` begins, as in a `use`: one for each leaf of its tree.
pub(crate) fn paths(text: &str) -> Vec<Vec<String>> {
    tree(text).0
}

/// The paths, and the text behind them.
fn tree(mut text: &str) -> (Vec<Vec<String>>, &str) {
    let mut path: Vec<String> = Vec::new();
    loop {
        text = text.trim_start();
        let word = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        if word > 0 {
            path.push(text[..word].to_owned());
            text = &text[word..];
            match text.trim_start().strip_prefix("::") {
                Some(rest) => text = rest,
                None => return (vec![path], text),
            }
        } else if let Some(rest) = text.strip_prefix('{') {
            return branches(&path, rest);
        } else {
            return (vec![path], text.strip_prefix('*').unwrap_or(text));
        }
    }
}

fn branches<'a>(path: &[String], mut text: &'a str) -> (Vec<Vec<String>>, &'a str) {
    let mut all = Vec::new();
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix('}') {
            return (all, rest);
        }
        let (found, rest) = tree(text);
        all.extend(found.into_iter().map(|branch| [path, &branch[..]].concat()));
        // What is left is a comma, or a name that the leaf gets.
        match rest.find([',', '}']) {
            Some(at) => text = rest[at..].trim_start_matches(','),
            None => return (all, rest),
        }
    }
}
