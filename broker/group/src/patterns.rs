//! Regular expressions of clients, for names of topics and transactional ids: RE2's syntax, as Kafka has it, by the
//! crate `regex`, which shares RE2's guarantees: it takes linear time, and its memory has a limit.

use regex::{Regex, RegexBuilder};

/// How much memory one expression may take once compiled.
const SIZE_LIMIT: usize = 1 << 20;
/// How deeply groups may be nested. RE2's.
const NEST_LIMIT: u32 = 1000;
/// How long an expression may be: what a record of its topics is keyed by.
const MAX_LENGTH: usize = 4096;

/// A regular expression that whole names match or do not.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// Not a regular expression of RE2's syntax, or too large a one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the regular expression is invalid or too large")]
pub struct InvalidPattern;

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// That it is invalid, or too large.
    pub fn new(expression: &str) -> Result<Pattern, InvalidPattern> {
        if expression.len() > MAX_LENGTH {
            return Err(InvalidPattern);
        }
        let expression = translate(expression);
        compile(&expression)?; // by itself, so that no parenthesis in it closes the group around it
        compile(&format!(r"\A(?:{expression})\z")).map(Pattern)
    }

    /// Whether it stands for the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

fn compile(expression: &str) -> Result<Regex, InvalidPattern> {
    let mut builder = RegexBuilder::new(expression);
    builder.size_limit(SIZE_LIMIT).dfa_size_limit(SIZE_LIMIT).nest_limit(NEST_LIMIT);
    builder.build().map_err(|_| InvalidPattern)
}

/// What RE2 writes in another way than the crate: quoted text, and brackets without operators or brackets in them.
fn translate(expression: &str) -> String {
    let mut translated = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some(next) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix(r"\Q") {
            let (text, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            translated += &regex::escape(text);
            rest = after;
        } else if next == '[' {
            rest = translate_class(rest, &mut translated);
        } else {
            let length = if next == '\\' { escape_length(rest) } else { next.len_utf8() };
            let (taken, after) = rest.split_at(length);
            translated += taken;
            rest = after;
        }
    }
    translated
}

/// A backslash and what it belongs to.
fn escape_length(text: &str) -> usize {
    text.chars().take(2).map(char::len_utf8).sum()
}

/// Brackets, from the opening one on; answers what comes after them.
fn translate_class<'a>(text: &'a str, translated: &mut String) -> &'a str {
    let (mut rest, mut is_first, mut last) = (&text[1..], true, '[');
    translated.push('[');
    if let Some(after) = rest.strip_prefix('^') {
        translated.push('^');
        rest = after;
    }
    while let Some(next) = rest.chars().next() {
        let named = rest.strip_prefix("[:").and_then(|named| named.split_once(":]"));
        if let Some((name, after)) = named {
            *translated += &format!("[:{name}:]");
            (rest, last) = (after, ']');
        } else if next == ']' && !is_first {
            translated.push(']');
            return &rest[1..];
        } else if next == '\\' {
            let (taken, after) = rest.split_at(escape_length(rest));
            *translated += taken;
            (rest, last) = (after, '\\');
        } else {
            // The crate has sets in sets, and operators of two equal characters.
            let is_operator = matches!(next, '&' | '~' | '-') && last == next;
            if next == '[' || is_operator || (next == ']' && is_first) {
                translated.push('\\');
            }
            translated.push(next);
            (rest, last) = (&rest[next.len_utf8()..], next);
        }
        is_first = false;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("foo.*", &["foo", "foobar"], &["afoo", "fo"]),
            ("a|ab", &["a", "ab"], &["abc", "b"]),
            ("", &[""], &["a"]),
            ("(?i)FOO", &["foo", "Foo"], &["fo"]),
            (r"orders-\d+", &["orders-1"], &["orders-", "orders-1x"]),
            (r"\Qa.b\E.", &["a.bc"], &["axbc", "a.b"]),
            (r"\Qa.b", &["a.b"], &["axb"]),
            ("[[:alpha:]]+", &["abc"], &["ab1"]),
            ("[a[]", &["a", "["], &["b"]),
            ("[]a]", &["]", "a"], &["b"]),
            ("[^]a]", &["b"], &["]", "a"]),
            ("[a&&b]", &["a", "&", "b"], &["c"]),
            ("[a~~b]", &["a", "~", "b"], &["c"]),
            ("[+--]", &["+", ",", "-"], &["."]),
            (r"[\[\]]", &["[", "]"], &["a"]),
            (r"\x61", &["a"], &["b"]),
            (r"\pL+", &["abc"], &["1"]),
            ("(?P<year>x)y", &["xy"], &["x"]),
            ("^foo$", &["foo"], &["foo1"]),
        ];
        for (expression, matching, others) in cases {
            let pattern = Pattern::new(expression).unwrap_or_else(|_| panic!("{expression}"));
            for name in *matching {
                assert!(pattern.matches(name), "{expression} is to match {name}");
            }
            for name in *others {
                assert!(!pattern.matches(name), "{expression} is not to match {name}");
            }
        }
    }

    #[test]
    fn what_is_not_an_expression_is_refused() {
        let long = "a".repeat(5000);
        for expression in ["(", "a)(b", "[a", "*a", "a{2", "(?=a)", r"(a)\1", "(?x)a # b", "a{1000}{1000}", &long] {
            let is_literal = expression == "a{2"; // RE2 takes an incomplete repetition as text
            assert!(Pattern::new(expression).is_err() || is_literal, "{expression}");
        }
    }
}
