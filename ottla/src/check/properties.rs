//! A file of Java's properties, as Kafka's clients read it (`java.util.Properties`).

use std::collections::BTreeMap;

/// The properties in a file's text. A later one of a name takes the place of an earlier one.
pub fn parse(text: &str) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while continues(&line) {
            line.pop();
            line.push_str(lines.next().unwrap_or_default().trim_start());
        }
        let (name, value) = divide(&line);
        properties.insert(unescaped(name), unescaped(value));
    }
    properties
}

/// Whether the next line belongs to this one: it ends with an odd number of backslashes.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The name ends at the first blank, `=` or `:` that no backslash precedes.
fn divide(line: &str) -> (&str, &str) {
    let mut is_escaped = false;
    let end = line.find(|c: char| {
        let ends = !is_escaped && (c.is_ascii_whitespace() || c == '=' || c == ':');
        is_escaped = !is_escaped && c == '\\';
        ends
    });
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    (name, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start())
}

fn unescaped(text: &str) -> String {
    let (mut plain, mut characters) = (String::with_capacity(text.len()), text.chars());
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('f') => plain.push('\x0c'),
            Some('u') => {
                let digits: String = characters.by_ref().take(4).collect();
                plain.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain
}

/// The options of a line for `sasl.jaas.config`: `Module required name="value" …;`.
pub fn jaas_options(line: &str) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let mut rest = line;
    while let Some((name, quoted)) = rest.split_once("=\"") {
        let name = name.rsplit(char::is_whitespace).next().unwrap_or_default().to_owned();
        let mut is_escaped = false;
        let end = quoted.find(|c: char| {
            let ends = !is_escaped && c == '"';
            is_escaped = !is_escaped && c == '\\';
            ends
        });
        let (value, after) = quoted.split_at(end.unwrap_or(quoted.len()));
        options.insert(name, unescaped(value));
        rest = after.strip_prefix('"').unwrap_or(after);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_java_reads_it() {
        let text = "# a comment\n! another\n\na=1\n  b : 2\nc 3\nd=\ne=x\\\n   y\nf=PEM\\nPEM\\n\ng=\\\\\nh\\=i=\\u0041=\na=4\n";
        let expected = [
            ("a", "4"),
            ("b", "2"),
            ("c", "3"),
            ("d", ""),
            ("e", "xy"),
            ("f", "PEM\nPEM\n"),
            ("g", "\\"),
            ("h=i", "A="),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text), expected.into());
    }

    #[test]
    fn a_login_is_read_out_of_its_quotes() {
        let line = r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="orders" password="a\"b\\c = 1";"#;
        let expected = [("username", "orders"), ("password", "a\"b\\c = 1")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(jaas_options(line), expected.into());
        assert_eq!(jaas_options("Module required;"), BTreeMap::new());
    }
}
