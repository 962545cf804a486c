//! The part of JSONPath that printer columns use: `.a.b`, `['a']`, `[0]`, `[*]` and `[?(@.type=="Ready")]`.

use serde_json::Value;

/// The values at `path`; none if it leads nowhere or uses more of JSONPath than this.
pub(crate) fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    let mut rest = path;
    while !rest.is_empty() {
        let Some((step, after)) = next_step(rest) else { return Vec::new() };
        found = found.into_iter().flat_map(|value| take(value, &step)).collect();
        rest = after;
    }
    found
}

enum PathStep {
    Field(String),
    Index(usize),
    All,
    /// Elements whose field has this text.
    Where(String, String),
}

fn next_step(path: &str) -> Option<(PathStep, &str)> {
    if let Some(path) = path.strip_prefix('[') {
        let end = if path.starts_with('?') { path.find(")]")? + 1 } else { path.find(']')? };
        let (inside, after) = (path.get(..end)?, path.get(end + 1..)?);
        return Some((bracket(inside)?, after));
    }
    let path = path.strip_prefix('.')?;
    let mut name = String::new();
    let mut characters = path.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return Some((PathStep::Field(name), path.get(at..)?)),
            _ => name.push(character),
        }
    }
    Some((PathStep::Field(name), ""))
}

fn bracket(inside: &str) -> Option<PathStep> {
    if inside == "*" {
        return Some(PathStep::All);
    }
    if let Some(condition) = inside.strip_prefix("?(@.") {
        let (field, value) = condition.strip_suffix(')')?.split_once("==")?;
        let value = value.trim().trim_matches(['"', '\'']);
        return Some(PathStep::Where(field.trim().to_owned(), value.to_owned()));
    }
    match inside.strip_prefix('\'') {
        Some(quoted) => Some(PathStep::Field(quoted.strip_suffix('\'')?.to_owned())),
        None => inside.parse().ok().map(PathStep::Index),
    }
}

fn take<'a>(value: &'a Value, step: &PathStep) -> Vec<&'a Value> {
    let elements = || value.as_array().into_iter().flatten();
    match step {
        PathStep::Field(name) => value.get(name).into_iter().collect(),
        PathStep::Index(index) => value.get(index).into_iter().collect(),
        PathStep::All => elements().collect(),
        PathStep::Where(field, text) => {
            elements().filter(|element| element.get(field).and_then(Value::as_str) == Some(text)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_printer_columns() {
        let object = json!({
            "metadata": {"annotations": {"a.b/c": "dotted"}},
            "spec": {"partitions": 3, "list": [{"name": "x"}, {"name": "y"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
        });
        let cases = [
            (".spec.partitions", vec![json!(3)]),
            (r#".status.conditions[?(@.type=="Ready")].status"#, vec![json!("True")]),
            (".spec.list[*].name", vec![json!("x"), json!("y")]),
            (".spec.list[1].name", vec![json!("y")]),
            (r".metadata.annotations.a\.b/c", vec![json!("dotted")]),
            (".metadata.annotations['a.b/c']", vec![json!("dotted")]),
            (".spec.nothing.there", vec![]),
            (".spec[", vec![]),
            ("spec", vec![]),
        ];
        for (path, expected) in cases {
            assert_eq!(find(&object, path), expected.iter().collect::<Vec<_>>(), "{path}");
        }
    }
}
