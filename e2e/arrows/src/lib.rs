//! Which module of a crate may use which: the test behind every crate's `tests/rooms.rs`. Also which types have one
//! name.
//!
//! A *room* is a module of the crate's root with everything below it. The table of a crate names the rooms that each
//! room may use. A *circle* is a set of files of which each uses another so that more than two are needed to get back;
//! circles that exist are listed, and the list may only shrink. Code under `#[cfg(test)]` does not count.
//!
//! - `source`: a file without comments, strings and tests, and the paths in it
//! - `graph`: which file uses which, and the circles among them
//! - [`names`]: which types have one name

#![warn(unreachable_pub)]
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod graph;
pub mod names;
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use graph::Graph;

/// The table of one crate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rooms<'a> {
    /// Rooms that every room may use. They use only each other.
    pub leaves: &'a [&'a str],
    /// Each other room, with the rooms that it may use besides leaves. `root` stands for what `lib.rs` defines itself,
    /// and a last `m*` for every room whose name begins with m and that has no row of its own.
    pub rooms: &'a [(&'a str, &'a [&'a str])],
    /// Words that only these rooms may contain, such as `kube::`. `root` stands for `lib.rs` and `main.rs`.
    pub only: &'a [(&'a str, &'a [&'a str])],
    /// Words that a room may not contain, such as `tokio::` in a pure one.
    pub never: &'a [(&'a str, &'a [&'a str])],
    /// The circles of more than two files that exist: debt.
    pub circles: &'a [&'a [&'a str]],
}

impl Rooms<'_> {
    /// Checks the crate in this folder, `env!("CARGO_MANIFEST_DIR")`.
    ///
    /// # Panics
    /// If the sources are not as the table says; the message names every difference.
    pub fn check(&self, folder: &str) {
        let sources = source::read(&Path::new(folder).join("src"));
        let graph = Graph::of(&sources);
        let mut wrong = self.unknown(&graph);
        wrong.extend(self.arrows(&graph));
        for (module, source) in &sources {
            let room = room(module);
            for (word, rooms) in self.only {
                if source.text.contains(word) && !rooms.contains(&room) {
                    wrong.push(format!("{} contains {word}, which only {rooms:?} may", graph::name(module)));
                }
            }
            for word in self.never.iter().filter(|(name, _)| *name == room).flat_map(|(_, words)| *words) {
                if source.text.contains(word) {
                    wrong.push(format!("{} contains {word}, which the room {room} may not", graph::name(module)));
                }
            }
        }
        wrong.extend(self.debt(&graph.circles()));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Names in the table that no room has any more.
    fn unknown(&self, graph: &Graph) -> Vec<String> {
        let exists = |name: &str| name == "root" || graph.modules().any(|module| is(name, room(module)));
        let (rows, allowed): (Vec<&str>, Vec<&[&str]>) = self.rooms.iter().copied().unzip();
        let (never, only) = (self.never.iter().map(|(room, _)| *room), self.only.iter().flat_map(|(_, rooms)| *rooms));
        let names = self.leaves.iter().copied().chain(rows).chain(allowed.into_iter().flatten().copied());
        let unknown: BTreeSet<&str> = names.chain(never).chain(only.copied()).filter(|name| !exists(name)).collect();
        unknown.into_iter().map(|name| format!("{name}: the table names it, and there is no such room")).collect()
    }

    fn arrows(&self, graph: &Graph) -> Vec<String> {
        let mut wrong = BTreeSet::new();
        for (from, to) in graph.edges() {
            let (user, used) = (room(from), room(to));
            if user == used || user == "root" {
                continue;
            }
            let allowed = match self.rooms.iter().find(|(row, _)| is(row, user)) {
                Some((_, rooms)) => rooms.contains(&used) || self.leaves.contains(&used),
                None if self.leaves.contains(&user) => self.leaves.contains(&used),
                None => {
                    wrong.insert(format!("{user}: a room that the table does not know"));
                    continue;
                }
            };
            if !allowed {
                wrong.insert(format!("{} uses {}, which the table does not allow", graph::name(from), graph::name(to)));
            }
        }
        wrong.into_iter().collect()
    }

    /// New circles, and listed ones that are smaller or gone.
    fn debt(&self, found: &[Vec<String>]) -> Vec<String> {
        let listed: Vec<BTreeSet<&str>> = self.circles.iter().map(|circle| circle.iter().copied().collect()).collect();
        let found: Vec<BTreeSet<&str>> =
            found.iter().map(|circle| circle.iter().map(String::as_str).collect()).collect();
        let new = found.iter().filter(|circle| !listed.iter().any(|known| circle.is_subset(known)));
        let new = new.map(|circle| format!("a new circle, or a larger one: {circle:?}"));
        let gone = listed.iter().filter(|known| !found.contains(known));
        let gone = gone.map(|known| {
            let left: Vec<_> = found.iter().filter(|circle| circle.is_subset(known)).collect();
            format!("the table's circle {known:?} is now {left:?}: change the table")
        });
        new.chain(gone).collect()
    }
}

/// Whether a name in the table means this room.
fn is(name: &str, room: &str) -> bool {
    name == room || name.strip_suffix('*').is_some_and(|start| room.starts_with(start))
}

/// The room of a module, given as the names from the crate's root on.
fn room(module: &[String]) -> &str {
    module.first().map_or("root", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_of(files: &[(&str, &str)]) -> Graph {
        let sources = files.iter().map(|(name, text)| source::parse(name, text)).collect();
        Graph::of(&source::without_tests(sources))
    }

    #[test]
    fn only_the_arrows_of_the_table_are_allowed() {
        let graph = crate_of(&[
            ("lib.rs", "pub use high::High; pub fn own() {}"),
            ("high.rs", "use crate::{low::{Low, other}, leaf}; // crate::nothing"),
            ("low.rs", "use crate::High; fn f() { crate::own(); let s = \"crate::text\"; }"),
            ("leaf.rs", "#[cfg(test)]\nmod tests { use crate::high::High; }"),
        ]);
        let all: [(&str, &[&str]); 2] = [("high", &["low"]), ("low", &["high", "root"])];
        let table = Rooms { leaves: &["leaf"], rooms: &all, ..Rooms::default() };
        assert_eq!(table.arrows(&graph), Vec::<String>::new());
        let less: [(&str, &[&str]); 2] = [("high", &["low"]), ("low", &["root"])];
        let table = Rooms { leaves: &["leaf"], rooms: &less, ..Rooms::default() };
        assert_eq!(table.arrows(&graph), ["low uses high, which the table does not allow"]);
    }

    #[test]
    fn a_table_names_only_rooms_that_exist() {
        let graph = crate_of(&[("lib.rs", ""), ("high.rs", ""), ("m00_low.rs", "")]);
        let rooms: [(&str, &[&str]); 2] = [("high", &["m00_low", "root", "moved"]), ("m*", &[])];
        let table = Rooms { leaves: &["gone"], rooms: &rooms, never: &[("pure", &[])], ..Rooms::default() };
        let unknown =
            ["gone", "moved", "pure"].map(|name| format!("{name}: the table names it, and there is no such room"));
        assert_eq!(table.unknown(&graph), unknown);
        let rooms: [(&str, &[&str]); 2] = [("high", &["m00_low", "root"]), ("m*", &[])];
        assert_eq!(Rooms { rooms: &rooms, ..Rooms::default() }.unknown(&graph), Vec::<String>::new());
    }

    #[test]
    fn a_circle_of_two_files_is_none_and_a_list_of_circles_shrinks() {
        let two = [("lib.rs", ""), ("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")];
        assert_eq!(crate_of(&two).circles(), Vec::<Vec<String>>::new());
        let three = crate_of(&[
            ("lib.rs", ""),
            ("a.rs", "mod b; mod c; use b::B;"),
            ("a/b.rs", "use super::c::C;"),
            ("a/c.rs", "use crate::a::A;"),
            ("d.rs", "use crate::a::A;"),
        ]);
        let found = three.circles();
        assert_eq!(found, [["a", "a/b", "a/c"]]);
        let known = Rooms { circles: &[&["a", "a/b", "a/c"]], ..Rooms::default() };
        assert_eq!(known.debt(&found), Vec::<String>::new());
        assert_eq!(Rooms::default().debt(&found).len(), 1);
        let larger = Rooms { circles: &[&["a", "a/b", "a/c", "d"]], ..Rooms::default() };
        assert_eq!(larger.debt(&found).len(), 1);
        assert_eq!(known.debt(&[]).len(), 1);
    }
}
