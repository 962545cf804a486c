//! Which file uses which.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Module, Source, paths};

/// The files of a crate, and which of them use which.
#[derive(Debug)]
pub(crate) struct Graph {
    uses: BTreeMap<Module, BTreeSet<Module>>,
}

/// A module's name in messages: `replica/partition`, and `root`.
pub(crate) fn name(module: &[String]) -> String {
    if module.is_empty() { "root".to_owned() } else { module.join("/") }
}

/// The paths of `use` declarations: whether they are public, from where to where they stand, and where they lead.
fn declarations(text: &str) -> Vec<(bool, usize, usize, Vec<Vec<String>>)> {
    let mut all = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let before = text[line..at].rsplit([';', '}', '{']).next().unwrap_or_default().trim();
        let is_public = before.starts_with("pub");
        if before.is_empty() || is_public {
            let end = text[at..].find(';').map_or(text.len(), |end| at + end);
            let path = text[at + 4..].trim_start().trim_start_matches("::");
            all.push((is_public, at, end, paths(path)));
        }
    }
    all
}

impl Graph {
    /// The graph of these sources.
    pub(crate) fn of(sources: &BTreeMap<Module, Source>) -> Graph {
        // Names that a module has from elsewhere: who uses one of them uses the module that it is from.
        let mut names: BTreeMap<(Module, String), Module> = BTreeMap::new();
        let mut bodies: BTreeMap<&Module, String> = BTreeMap::new();
        for (module, source) in sources {
            let mut body = source.text.clone();
            for (is_public, begin, end, paths) in declarations(&source.text).into_iter().rev() {
                for path in paths {
                    let own_name = path.iter().rfind(|segment| *segment != "self").cloned().unwrap_or_default();
                    if let Some(target) = absolute(sources, module, &path) {
                        names.insert((module.clone(), own_name), target);
                    }
                }
                // To pass a name on is not to use it.
                if is_public {
                    body.replace_range(begin..end, "");
                }
            }
            bodies.insert(module, body);
        }
        let resolve = |path: Module| -> Module {
            let mut path = path;
            for _ in 0..8 {
                let is_file = |length: &usize| sources.contains_key(&path[..*length]);
                let length = (0..=path.len()).rev().find(is_file).unwrap_or_default();
                let next = path.get(length).and_then(|item| names.get(&(path[..length].to_vec(), item.clone())));
                match next {
                    Some(next) if next[..] != path[..=length] => path = [&next[..], &path[length + 1..]].concat(),
                    _ => return path[..length].to_vec(),
                }
            }
            path
        };
        let mut uses: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
        for (module, body) in &bodies {
            let children = sources.keys().filter(|child| child.len() == module.len() + 1 && child.starts_with(module));
            let begins = children.filter_map(|child| child.last().cloned());
            let begins = begins.chain(["crate", "self", "super"].map(str::to_owned));
            let used = uses.entry((*module).clone()).or_default();
            for begin in begins {
                for (at, _) in body.match_indices(&format!("{begin}::")) {
                    if body[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                        continue;
                    }
                    let targets = paths(&body[at..]).into_iter().filter_map(|path| absolute(sources, module, &path));
                    used.extend(targets.map(resolve));
                }
            }
            used.remove(*module);
        }
        Graph { uses }
    }

    /// Every file.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &Module> {
        self.uses.keys()
    }

    /// Every pair of a file and one that it uses.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (&Module, &Module)> {
        self.uses.iter().flat_map(|(from, used)| used.iter().map(move |to| (from, to)))
    }

    /// The circles of more than two files, each as the sorted names of its files.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        // An arrow is in such a circle if there is a way back that is not the arrow back.
        let in_circle: Vec<(&Module, &Module)> = self.edges().filter(|(from, to)| self.leads_back(from, to)).collect();
        let after = |module: &Module| -> BTreeSet<Module> {
            let mut reached = BTreeSet::from([module.clone()]);
            let mut next = vec![module.clone()];
            while let Some(at) = next.pop() {
                let steps = in_circle.iter().filter(|(from, _)| **from == at);
                next.extend(steps.filter(|(_, to)| reached.insert((*to).clone())).map(|(_, to)| (*to).clone()));
            }
            reached
        };
        let files: BTreeSet<Module> = in_circle.iter().map(|(from, _)| (*from).clone()).collect();
        let reached: BTreeMap<Module, BTreeSet<Module>> =
            files.iter().map(|file| (file.clone(), after(file))).collect();
        let circle = |file: &Module| -> Vec<String> {
            let together = reached[file].iter().filter(|other| reached.get(*other).is_some_and(|r| r.contains(file)));
            together.map(|module| name(module)).collect()
        };
        let circles: BTreeSet<Vec<String>> = files.iter().map(circle).collect();
        circles.into_iter().collect()
    }

    fn leads_back(&self, from: &Module, to: &Module) -> bool {
        let mut reached = BTreeSet::from([to]);
        let mut next = vec![to];
        while let Some(at) = next.pop() {
            for step in self.uses.get(at).into_iter().flatten() {
                if step == from {
                    if at != to {
                        return true;
                    }
                } else if reached.insert(step) {
                    next.push(step);
                }
            }
        }
        false
    }
}

/// A path from the crate's root on, as `module` writes it; `None` if it leads out of the crate.
fn absolute(sources: &BTreeMap<Module, Source>, module: &Module, path: &[String]) -> Option<Module> {
    let mut base = module.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            base.clear();
            rest = &path[1..];
        }
        "self" | "super" => {
            while let Some(step @ ("self" | "super")) = rest.first().map(String::as_str) {
                if step == "super" {
                    base.pop();
                }
                rest = &rest[1..];
            }
        }
        child => {
            if !sources.contains_key(&[&module[..], &[child.to_owned()]].concat()) {
                return None;
            }
        }
    }
    base.extend(rest.iter().filter(|segment| *segment != "self").cloned());
    Some(base)
}
