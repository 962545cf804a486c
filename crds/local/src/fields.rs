//! Sets of fields in the form of `metadata.managedFields` (FieldsV1): who owns what, for server-side apply.
//!
//! A set is a JSON tree: `f:name` is a field, `k:{"name":"a"}` an element of a map list, `v:"x"` a member of a set,
//! `.` the thing itself; an empty tree is a leaf. Lists of other types are owned as a whole.

use serde_json::{Map, Value, json};

use crate::schema::map_keys;

/// A set of fields, and what to do with it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn parse(fields_v1: &Value) -> Self {
        Self(fields_v1.as_object().cloned().unwrap_or_default())
    }

    pub(crate) fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields that `object` sets.
    pub(crate) fn of(schema: Option<&Value>, object: &Value) -> Self {
        Self(tree(schema, object))
    }

    /// The fields that `new` sets and that `old` does not set to the same.
    pub(crate) fn changed(schema: Option<&Value>, old: &Value, new: &Value) -> Self {
        Self::of(schema, new).differing(old, new)
    }

    pub(crate) fn union(&mut self, other: &Fields) {
        union(&mut self.0, &other.0);
    }

    pub(crate) fn without(mut self, other: &Fields) -> Self {
        retain_leaves(&mut self.0, &mut |path| !other.contains(path), &mut Vec::new());
        self
    }

    pub(crate) fn intersection(mut self, other: &Fields) -> Self {
        retain_leaves(&mut self.0, &mut |path| other.contains(path), &mut Vec::new());
        self
    }

    /// Only the fields for which the values in `a` and `b` differ.
    pub(crate) fn differing(mut self, a: &Value, b: &Value) -> Self {
        retain_by_value(&mut self.0, [Some(a), Some(b)], &|[a, b]| a != b);
        self
    }

    /// Only the fields that `object` still has.
    pub(crate) fn existing(mut self, object: &Value) -> Self {
        retain_by_value(&mut self.0, [Some(object)], &|[found]| found.is_some());
        self
    }

    /// Only the top-level fields for which `keep` holds.
    pub(crate) fn only(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|step, _| keep(step.trim_start_matches("f:")));
        self
    }

    /// Every leaf as a path of steps: of a level, first what ends there, then what goes deeper, as a real server lists
    /// them.
    pub(crate) fn leaves(&self) -> Vec<Vec<String>> {
        let mut leaves = Vec::new();
        // Visiting is retaining everything on a copy.
        let visit = &mut |path: &[String]| {
            leaves.push(path.to_vec());
            true
        };
        retain_leaves(&mut self.0.clone(), visit, &mut Vec::new());
        leaves.sort_by(|one, other| {
            let parting = one.iter().zip(other).take_while(|(one, other)| one == other).count();
            let rank = |path: &[String]| (path.len() != parting + 1, path.get(parting).cloned());
            rank(one).cmp(&rank(other))
        });
        leaves
    }

    fn contains(&self, path: &[String]) -> bool {
        let mut set = &self.0;
        for step in path {
            match set.get(step).and_then(Value::as_object) {
                Some(below) => set = below,
                // The leaf `f:a` of another manager covers nothing below it unless it is itself a leaf here.
                None => return false,
            }
        }
        true
    }

    /// Removes these fields from an object.
    pub(crate) fn remove_from(&self, object: &mut Value) {
        for path in self.leaves() {
            remove(object, &path);
        }
    }
}

/// `.spec.listeners[name="a"].port`, as a conflict names it.
pub(crate) fn display(path: &[String]) -> String {
    path.iter()
        .filter(|step| *step != ".")
        .map(|step| match step.split_once(':') {
            Some(("f", name)) => format!(".{name}"),
            Some(("k", keys)) => {
                let keys = serde_json::from_str::<Map<String, Value>>(keys).unwrap_or_default();
                let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("[{}]", keys.join(","))
            }
            Some(("v", value)) => format!("[={value}]"),
            _ => step.clone(),
        })
        .collect()
}

fn tree(schema: Option<&Value>, value: &Value) -> Map<String, Value> {
    let below = |schema: Option<&Value>, value: &Value| Value::Object(tree(schema, value));
    match value {
        Value::Object(fields) if !is_atomic_map(schema) => fields
            .iter()
            .map(|(name, field)| (format!("f:{name}"), below(schema.and_then(|schema| child(schema, name)), field)))
            .collect(),
        Value::Array(items) => {
            let Some(schema) = schema else { return Map::new() };
            if let Some(keys) = map_keys(schema) {
                items
                    .iter()
                    .map(|item| {
                        let mut set = tree(schema.get("items"), item);
                        set.insert(".".to_owned(), json!({}));
                        (format!("k:{}", identity(&keys, item)), Value::Object(set))
                    })
                    .collect()
            } else if is_set(schema) {
                items.iter().map(|item| (format!("v:{item}"), json!({}))).collect()
            } else {
                Map::new()
            }
        }
        _ => Map::new(),
    }
}

/// Whether a list is a set, whose members have their own owners.
pub(crate) fn is_set(schema: &Value) -> bool {
    schema.get("x-kubernetes-list-type") == Some(&json!("set"))
}

fn is_atomic_map(schema: Option<&Value>) -> bool {
    schema.is_some_and(|schema| schema.get("x-kubernetes-map-type") == Some(&json!("atomic")))
}

/// The schema of a field; `None`: the schema leaves it open. What a schema leaves open (`metadata`, preserved fields)
/// is treated as maps and atomic lists.
pub(crate) fn child<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let additional = || schema.get("additionalProperties").filter(|schema| schema.is_object());
    schema.get("properties").and_then(|properties| properties.get(name)).or_else(additional)
}

/// The keys of an element of a map list, as JSON.
pub(crate) fn identity(keys: &[&str], item: &Value) -> Value {
    keys.iter().filter_map(|key| Some(((*key).to_owned(), item.get(key)?.clone()))).collect()
}

fn union(set: &mut Map<String, Value>, other: &Map<String, Value>) {
    for (step, below) in other {
        match (set.get_mut(step), below) {
            (Some(Value::Object(mine)), Value::Object(theirs)) => union(mine, theirs),
            _ => {
                set.insert(step.clone(), below.clone());
            }
        }
    }
}

/// Drops the leaves for which `keep` does not hold, and the branches that become empty by it.
fn retain_leaves(set: &mut Map<String, Value>, keep: &mut impl FnMut(&[String]) -> bool, path: &mut Vec<String>) {
    set.retain(|step, below| {
        path.push(step.clone());
        let kept = match below.as_object_mut() {
            Some(below) if !below.is_empty() => {
                retain_leaves(below, keep, path);
                !below.is_empty()
            }
            _ => keep(path),
        };
        path.pop();
        kept
    });
}

/// The same by what the leaves are in one or two objects.
fn retain_by_value<const N: usize>(
    set: &mut Map<String, Value>,
    values: [Option<&Value>; N],
    keep: &impl Fn([Option<&Value>; N]) -> bool,
) {
    set.retain(|step, below| {
        let values = values.map(|value| value.and_then(|value| at(value, step)));
        match below.as_object_mut() {
            Some(below) if !below.is_empty() => {
                retain_by_value(below, values, keep);
                !below.is_empty()
            }
            _ => keep(values),
        }
    });
}

/// One step into a value.
fn at<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    match step.split_once(':') {
        Some(("f", name)) => value.get(name),
        Some(("k", keys)) => find(value.as_array()?, keys).and_then(|index| value.get(index)),
        Some(("v", member)) => value.as_array()?.iter().find(|item| is_member(item, member)),
        // `.`: whether the element is there; what is in it has fields of its own.
        _ => Some(&Value::Null),
    }
}

/// Which element has these keys.
fn find(items: &[Value], keys: &str) -> Option<usize> {
    let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
    items.iter().position(|item| keys.iter().all(|(key, value)| item.get(key) == Some(value)))
}

fn is_member(item: &Value, member: &str) -> bool {
    serde_json::from_str::<Value>(member).is_ok_and(|member| *item == member)
}

fn remove(value: &mut Value, path: &[String]) {
    let Some((step, rest)) = path.split_first() else { return };
    let Some((sort, what)) = step.split_once(':') else { return };
    match (sort, value) {
        ("f", Value::Object(fields)) if rest.is_empty() => {
            fields.remove(what);
        }
        ("f", Value::Object(fields)) => {
            if let Some(field) = fields.get_mut(what) {
                remove(field, rest);
            }
        }
        ("k", Value::Array(items)) => {
            let Some(index) = find(items, what) else { return };
            match items.get_mut(index) {
                Some(item) if rest != ["."] => remove(item, rest),
                _ => drop(items.remove(index)),
            }
        }
        ("v", Value::Array(items)) => items.retain(|item| !is_member(item, what)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        let element =
            json!({"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}});
        json!({"type": "object", "properties": {
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "whole": {"type": "object", "x-kubernetes-map-type": "atomic"},
            "keyed": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": element,
            },
            "set": {"type": "array", "x-kubernetes-list-type": "set"},
            "list": {"type": "array"},
        }})
    }

    fn object() -> Value {
        json!({
            "map": {"a": "1"}, "whole": {"b": "2"}, "keyed": [{"name": "x", "port": 1}], "set": ["y"], "list": [3],
        })
    }

    #[test]
    fn each_sort_of_field_is_owned_in_its_way() {
        let fields = Fields::of(Some(&schema()), &object());
        let expected = json!({
            "f:map": {"f:a": {}}, "f:whole": {}, "f:set": {"v:\"y\"": {}}, "f:list": {},
            "f:keyed": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:port": {}}},
        });
        assert_eq!(fields.to_value(), expected);
        assert_eq!(Fields::parse(&expected), fields);
        let mut shown: Vec<String> = fields.leaves().iter().map(|path| display(path)).collect();
        shown.sort();
        let expected = [
            ".keyed[name=\"x\"]",
            ".keyed[name=\"x\"].name",
            ".keyed[name=\"x\"].port",
            ".list",
            ".map.a",
            ".set[=\"y\"]",
            ".whole",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn only_what_changed_is_changed() {
        let mut new = object();
        new["keyed"] = json!([{"name": "w", "port": 1}, {"name": "x", "port": 2}]);
        new["map"]["b"] = json!("2");
        let changed = Fields::changed(Some(&schema()), &object(), &new);
        let expected = json!({"f:map": {"f:b": {}}, "f:keyed": {
            "k:{\"name\":\"w\"}": {".": {}, "f:name": {}, "f:port": {}}, "k:{\"name\":\"x\"}": {"f:port": {}},
        }});
        assert_eq!(changed.to_value(), expected);
    }

    #[test]
    fn owned_fields_can_be_taken_out() {
        let mut rest = object();
        Fields::parse(&json!({
            "f:map": {"f:a": {}}, "f:set": {"v:\"y\"": {}}, "f:list": {}, "f:nothing": {"f:there": {}},
            "f:keyed": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:port": {}}},
        }))
        .remove_from(&mut rest);
        assert_eq!(rest, json!({"map": {}, "whole": {"b": "2"}, "keyed": [], "set": []}));
    }
}
