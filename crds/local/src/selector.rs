//! Label and field selectors: which objects a list, a watch or a deletion of many is about.

use serde_json::Value;

use crate::kind::Kind;
use crate::object::at;
use crate::status::Status;

/// Both selectors of a request; an empty one takes everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<(String, Test)>,
    fields: Vec<(String, Test)>,
}

#[derive(Debug, Clone)]
enum Test {
    Present,
    Absent,
    In(Vec<String>),
    /// Also true where there is no such label.
    NotIn(Vec<String>),
}

impl Test {
    fn holds(&self, found: Option<&str>) -> bool {
        let listed = |values: &Vec<String>| found.is_some_and(|found| values.iter().any(|value| value == found));
        match self {
            Test::Present => found.is_some(),
            Test::Absent => found.is_none(),
            Test::In(values) => listed(values),
            Test::NotIn(values) => !listed(values),
        }
    }
}

impl Selector {
    pub(crate) fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Status> {
        Ok(Self { labels: parse_labels(labels)?, fields: parse_fields(kind, fields)? })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = object.get("metadata").and_then(|metadata| metadata.get("labels"));
        let label = |name: &str| labels.and_then(|labels| labels.get(name)).and_then(Value::as_str);
        self.labels.iter().all(|(name, test)| test.holds(label(name)))
            && self.fields.iter().all(|(path, test)| test.holds(Some(&field(object, path))))
    }
}

/// A field as a selector sees it: absent is the empty text.
fn field(object: &Value, path: &str) -> String {
    match at(object, path) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

fn parse_labels(text: &str) -> Result<Vec<(String, Test)>, Status> {
    split_outside_parentheses(text).into_iter().map(|requirement| parse_label(requirement.trim())).collect()
}

/// `a=b,c in (d,e)` → `a=b` and `c in (d,e)`.
fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .filter(|part| !part.trim().is_empty())
    .collect()
}

fn parse_label(text: &str) -> Result<(String, Test), Status> {
    let bad = || Status::bad_request(format!("unable to parse requirement: {text:?}"));
    let values = |set: &str| -> Option<Vec<String>> {
        let set = set.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(set.split(',').map(|value| value.trim().to_owned()).collect())
    };
    let (name, test) = if let Some((name, set)) = text.split_once(" notin ") {
        (name, Test::NotIn(values(set).ok_or_else(bad)?))
    } else if let Some((name, set)) = text.split_once(" in ") {
        (name, Test::In(values(set).ok_or_else(bad)?))
    } else if let Some(equality) = equality(text) {
        equality
    } else if let Some(name) = text.strip_prefix('!') {
        (name, Test::Absent)
    } else {
        (text, Test::Present)
    };
    let name = name.trim();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if name.is_empty() || !name.chars().all(legal) { Err(bad()) } else { Ok((name.to_owned(), test)) }
}

/// `a=b`, `a==b` or `a!=b`.
fn equality(text: &str) -> Option<(&str, Test)> {
    let (name, value) = text.split_once('=')?;
    let value = vec![value.trim_start_matches('=').trim().to_owned()];
    Some(match name.strip_suffix('!') {
        Some(name) => (name, Test::NotIn(value)),
        None => (name, Test::In(value)),
    })
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<(String, Test)>, Status> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (path, test) =
                equality(part).ok_or_else(|| Status::bad_request(format!("invalid field selector: {part:?}")))?;
            let path = path.trim().trim_start_matches('.');
            if !matches!(path, "metadata.name" | "metadata.namespace") && !kind.selectable.iter().any(|f| f == path) {
                return Err(Status::bad_request(format!("field label not supported: {path}")));
            }
            Ok((path.to_owned(), test))
        })
        .collect()
}
