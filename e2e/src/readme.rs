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
}
