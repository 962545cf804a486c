//! The README shows the table that the code makes. `UPDATE_EXPECT=1 cargo test -p ottla-wire --test readme` renews it.

use std::fs;

use expect_test::expect_file;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
const BEGIN: &str = "<!-- compatibility:begin -->\n";
const END: &str = "<!-- compatibility:end -->";

#[test]
fn the_readme_shows_which_apis_we_serve() {
    let readme = fs::read_to_string(README).expect("failed to read README.md");
    let (before, rest) = readme.split_once(BEGIN).expect("README.md has a line <!-- compatibility:begin -->");
    let (_, after) = rest.split_once(END).expect("README.md has a line <!-- compatibility:end -->");
    let table = ottla_wire::compatibility_table();
    expect_file![README].assert_eq(&[before, BEGIN, &table, END, after].concat());
}
