//! The commands that a README shows, as its reader copies them.

/// The lines of indented blocks, which an empty line precedes, and of fenced ones, without their comments. In a
/// `console` only the lines that begin with `$ `: the others are output.
pub fn commands(text: &str) -> Vec<String> {
    let (mut found, mut fenced, mut block, mut empty_before) = (Vec::new(), None, false, true);
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            fenced = fenced.is_none().then_some(language);
            continue;
        }
        let indented = line.starts_with("    ");
        block = fenced.is_none() && indented && (block || empty_before);
        empty_before = line.trim().is_empty();
        let is_output = fenced == Some("console") && !line.starts_with("$ ");
        if (fenced.is_some() || block) && !empty_before && !is_output {
            let command = line.split(" # ").next().unwrap_or(line).trim();
            found.push(command.strip_prefix("$ ").unwrap_or(command).to_owned());
        }
    }
    found
}

/// What stands under this heading, up to the next one of the same level.
pub fn section<'a>(text: &'a str, heading: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("\n{heading}\n"))?;
    let level = heading.split(' ').next()?;
    Some(rest.split(&format!("\n{level} ")).next().unwrap_or(rest))
}

/// Rows of tables that have more or fewer cells than the head of their table, or that end without a `|`, and text that
/// follows a table without an empty line: it is shown as a row.
pub fn broken_rows(text: &str) -> Vec<&str> {
    let (mut broken, mut fenced, mut head) = (Vec::new(), false, None);
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        let is_row = !fenced && line.starts_with('|');
        let is_comment = line.starts_with("<!--");
        if is_row {
            let cells = cells(line);
            if *head.get_or_insert(cells) != cells || !line.ends_with('|') {
                broken.push(line);
            }
        } else if line.is_empty() || fenced || is_comment {
            head = None;
        } else if head.is_some() {
            broken.push(line);
        }
    }
    broken
}

/// The cells of a row. A `|` behind a backslash separates none; one in code does.
fn cells(row: &str) -> usize {
    row.replace("\\|", "").matches('|').count().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_what_is_indented_or_fenced_and_a_console_also_shows_output() {
        let text = "\
Words:

    one --a   # why
    two

```sh
$ three
```

```console
$ four   # why
what it prints

    more of it
$ five
```
- a list that continues

| a | table |
";
        assert_eq!(commands(text), ["one --a", "two", "three", "four", "five"]);
    }

    #[test]
    fn a_section_ends_with_the_next_heading_of_its_level() {
        let text = "# A\n\n## B\none\n### C\ntwo\n## D\nthree\n";
        assert_eq!(section(text, "## B"), Some("one\n### C\ntwo"));
        assert_eq!(section(text, "### C"), Some("two\n## D\nthree\n"));
        assert_eq!(section(text, "## E"), None);
    }

    #[test]
    fn a_row_has_as_many_cells_as_the_head_of_its_table() {
        let text = "\
| a | b |
|---|---|
| `x \\| y` | 1 |
| 1 | 2 | | 3
4 | 5 |

| c |
|---|
| 6 |
<!-- end -->
words

```
| 7 | 8 | 9
```
";
        assert_eq!(broken_rows(text), ["| 1 | 2 | | 3", "4 | 5 |"]);
        assert_eq!(broken_rows("| a | b |\n| 1 |\n"), ["| 1 |"]);
    }
}
