//! From the subject of a certificate to the name of a principal: the rules of Kafka's `ssl.principal.mapping.rules`
//! (KIP-371, `SslPrincipalMapper`).
//!
//! A rule is `DEFAULT`, which takes the subject as it is, or `RULE:pattern/replacement/` with `L` or `U` behind it for
//! lower or upper case. A pattern must match the whole subject; the first rule that does counts. Patterns are those of
//! the crate `regex`: what it lacks, looking around and back references, is refused, and `\w`, `\d` and `\s` mean those
//! of Unicode, where Java means those of ASCII.

use regex::{Captures, Regex};

/// Why a text is no rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRules {
    /// A rule has another shape.
    #[error("principalMappingRules: \"{0}\" is neither DEFAULT nor RULE:pattern/replacement/ with L or U behind it")]
    Shape(String),
    /// A pattern can't be used.
    #[error("principalMappingRules: the pattern \"{pattern}\": {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it, in one line.
        reason: String,
    },
}

/// The rules of a listener.
#[derive(Clone, Debug)]
pub struct MappingRules {
    text: String,
    rules: Vec<Rule>,
}

impl PartialEq for MappingRules {
    fn eq(&self, other: &MappingRules) -> bool {
        self.text == other.text
    }
}

#[derive(Clone, Debug)]
enum Rule {
    Default,
    Replace { pattern: Regex, replacement: String, case: Case },
}

#[derive(Clone, Copy, Debug)]
enum Case {
    Kept,
    Lower,
    Upper,
}

impl MappingRules {
    /// Reads rules, which commas separate; empty ones are ignored.
    ///
    /// # Errors
    /// See [`InvalidRules`].
    pub fn parse(text: &str) -> Result<MappingRules, InvalidRules> {
        let mut rules = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (rule, after) = next_rule(rest)?;
            rules.extend(rule);
            rest = match after.trim_start() {
                "" => "",
                after => after.strip_prefix(',').ok_or_else(|| InvalidRules::Shape(rest.to_owned()))?.trim_start(),
            };
        }
        Ok(MappingRules { text: text.to_owned(), rules })
    }

    /// The name of the principal with this subject; `None`: no rule matches, or the name would be empty or have control
    /// characters, such as the end of a line.
    pub fn name(&self, subject: &str) -> Option<String> {
        let is_name = |name: &String| !name.is_empty() && !name.contains(char::is_control);
        self.rules.iter().find_map(|rule| rule.apply(subject)).filter(is_name)
    }
}

/// The rule at the beginning of a text, and what comes behind it; no rule where a comma is next.
fn next_rule(text: &str) -> Result<(Option<Rule>, &str), InvalidRules> {
    let shape = || InvalidRules::Shape(text.to_owned());
    if text.starts_with(',') {
        return Ok((None, text));
    }
    if let Some(after) = text.strip_prefix("DEFAULT") {
        return Ok((Some(Rule::Default), after));
    }
    let rule = text.strip_prefix("RULE:").ok_or_else(shape)?;
    let (pattern, rule) = until_slash(rule).ok_or_else(shape)?;
    let (replacement, rule) = until_slash(rule).ok_or_else(shape)?;
    let (case, after) = match (rule.strip_prefix('L'), rule.strip_prefix('U')) {
        (Some(after), _) => (Case::Lower, after),
        (_, Some(after)) => (Case::Upper, after),
        (None, None) => (Case::Kept, rule),
    };
    let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| InvalidRules::Pattern {
        pattern: pattern.to_owned(),
        reason: error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })?;
    Ok((Some(Rule::Replace { pattern: regex, replacement: replacement.to_owned(), case }), after))
}

/// What is before the first slash without a backslash, and what is behind it.
fn until_slash(text: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    let slash = text.find(|char| match char {
        _ if is_escaped => {
            is_escaped = false;
            false
        }
        '\\' => {
            is_escaped = true;
            false
        }
        char => char == '/',
    })?;
    Some((&text[..slash], &text[slash + 1..]))
}

impl Rule {
    fn apply(&self, subject: &str) -> Option<String> {
        match self {
            Rule::Default => Some(subject.to_owned()),
            Rule::Replace { pattern, replacement, case } => {
                let name = expand(replacement, &pattern.captures(subject)?);
                Some(match case {
                    Case::Kept => name,
                    Case::Lower => name.to_lowercase(),
                    Case::Upper => name.to_uppercase(),
                })
            }
        }
    }
}

/// The replacement with what the groups hold, as Java's `Matcher.appendReplacement`: `$1`, `${name}`, and a backslash
/// before what stands for itself. A reference to a group that does not exist stands for itself, too.
fn expand(replacement: &str, groups: &Captures<'_>) -> String {
    let mut name = String::new();
    let mut rest = replacement;
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        let reference = match char {
            '\\' => {
                let literal = rest.chars().next();
                name.extend(literal);
                rest = &rest[literal.map_or(0, char::len_utf8)..];
                continue;
            }
            '$' => reference(rest, groups),
            _ => None,
        };
        match reference {
            Some((value, after)) => {
                name.push_str(value);
                rest = after;
            }
            None => name.push(char),
        }
    }
    name
}

/// What the group holds that a text begins with, and what comes behind its name or number: as many digits as make the
/// number of a group.
fn reference<'a>(text: &'a str, groups: &Captures<'a>) -> Option<(&'a str, &'a str)> {
    if let Some((name, after)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return Some((groups.name(name)?.as_str(), after));
    }
    let mut group = None;
    for (at, digit) in text.char_indices().map_while(|(at, char)| Some((at, char.to_digit(10)? as usize))) {
        let longer = group.map_or(0, |(number, _)| number * 10) + digit;
        if longer >= groups.len() {
            break;
        }
        group = Some((longer, at + 1));
    }
    let (number, end) = group?;
    Some((groups.get(number).map_or("", |group| group.as_str()), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/kafka-4.3.1/certificates.tsv` says how it was made.
    #[test]
    fn rules_make_the_names_that_kafka_makes() {
        let recorded = include_str!("../../tests/kafka-4.3.1/certificates.tsv");
        let mut compared = 0;
        for line in recorded.lines().filter(|line| line.starts_with("rule\t")) {
            let parts: Vec<_> = line.split('\t').collect();
            let rules = MappingRules::parse(parts[1]);
            match parts[2..] {
                [subject, _] if parts[1].contains("\\w") && !subject.is_ascii() => continue, // see above
                ["invalid"] => assert!(matches!(rules, Err(InvalidRules::Shape(_))), "{line}"),
                [subject, expected] => {
                    // Kafka takes an empty name for a principal.
                    let expected = expected.strip_prefix('=').filter(|name| !name.is_empty());
                    assert_eq!(rules.unwrap().name(subject).as_deref(), expected, "{line}");
                }
                _ => panic!("{line}"),
            }
            compared += 1;
        }
        assert!(compared > 200, "{compared}");
    }

    #[test]
    fn a_name_is_one_line() {
        let rules = MappingRules::parse("RULE:CN=((?s).*)/$1/").unwrap();
        assert_eq!(rules.name("CN=etl").as_deref(), Some("etl"));
        assert_eq!(rules.name("CN=etl\nUser:admin"), None);
    }

    #[test]
    fn what_patterns_lack_is_refused_in_one_line() {
        for pattern in ["(?=CN)", "(a)\\1", "(", "a{100000}{100000}"] {
            let error = MappingRules::parse(&format!("RULE:{pattern}/$1/")).unwrap_err();
            assert!(matches!(error, InvalidRules::Pattern { .. }), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_reference_to_no_group_stands_for_itself() {
        assert_eq!(
            MappingRules::parse("RULE:CN=a/$1${b}\\$x\\/").unwrap_err(),
            InvalidRules::Shape("RULE:CN=a/$1${b}\\$x\\/".to_owned())
        );
        assert_eq!(MappingRules::parse("RULE:CN=a/$1${b}\\$x/").unwrap().name("CN=a").as_deref(), Some("$1${b}$x"));
    }
}
