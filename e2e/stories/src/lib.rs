//! Plays the stories of a state machine, which are transcripts: the test behind `tests/stories/*.txt`.
//!
//! A file holds stories under `#` headings, each in a world of its own. Lines are commands; the indented lines below
//! one are everything that came of it.

#![warn(unreachable_pub)]

use std::path::Path;

use expect_test::expect_file;

/// What the commands of a story act on.
pub trait World: Default {
    /// Obeys a command and returns what came of it, a line each.
    fn command(&mut self, line: &str) -> Vec<String>;
}

/// Plays `tests/stories/NAME.txt` of the crate in this folder, `env!("CARGO_MANIFEST_DIR")`. With
/// `UPDATE_EXPECT=1` it rewrites the outcomes instead of comparing them: read the difference before you commit it.
///
/// # Panics
/// If the outcomes are not those of the file; what is printed shows the difference.
pub fn play<W: World>(folder: &str, name: &str) {
    let path = Path::new(folder).join("tests/stories").join(format!("{name}.txt"));
    let story = std::fs::read_to_string(&path).expect("the story is there");
    expect_file![&path].assert_eq(&replay::<W>(&story));
}

/// The same commands, with what comes of them.
fn replay<W: World>(story: &str) -> String {
    let mut world = W::default();
    let mut played = String::new();
    for line in story.lines().filter(|line| !line.starts_with("  ")) {
        played.push_str(line);
        played.push('\n');
        if line.starts_with('#') {
            world = W::default();
        } else if !line.is_empty() {
            for outcome in world.command(line) {
                played.push_str(&format!("  {outcome}\n"));
            }
        }
    }
    played
}
