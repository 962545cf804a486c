//! A custom resource's structural schema, and what a write must pass, in the order of a real server:
//! prune unknown fields, fill in defaults, validate types and bounds, then ask the CEL rules.
//!
//! The texts are those of a real server (apiextensions-apiserver 1.34); clients and people read them.

mod cel;
mod default;
mod prune;
mod validate;

use std::collections::HashMap;

use regex::Regex;
use serde_json::Value;

use crate::status::Cause;

/// The schema of one kind, with its patterns and rules ready.
#[derive(Debug)]
pub struct Schema {
    root: Value,
    patterns: HashMap<String, Option<Regex>>,
    rules: Option<cel::Rules>,
}

impl Schema {
    pub fn new(root: Value) -> Self {
        let mut patterns = HashMap::new();
        collect_patterns(&root, &mut patterns);
        let rules = cel::Rules::new(&root);
        Self { root, patterns, rules }
    }

    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Removes what the schema does not know, and tells the paths.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        prune::prune_root(&self.root, object, &mut unknown);
        unknown
    }

    pub fn fill_defaults(&self, object: &mut Value) {
        default::fill(&self.root, object);
    }

    /// Everything that is wrong with a pruned, defaulted object; `old` is what it replaces.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = validate::Validation::new(&self.patterns).run(&self.root, object);
        // The rules rely on types and bounds: where those are broken a real server does not ask them.
        let blocking = |cause: &Cause| {
            matches!(
                cause.reason,
                "FieldValueRequired"
                    | "FieldValueNotSupported"
                    | "FieldValueTooLong"
                    | "FieldValueTooMany"
                    | "FieldValueTypeInvalid"
            )
        };
        let Some(rules) = &self.rules else { return causes };
        if causes.iter().any(blocking) {
            const UNCHECKED: &str = "some validation rules were not checked because the object was invalid; correct \
                                     the existing errors to complete validation";
            causes.push(Cause::invalid("<nil>", &Value::Null, UNCHECKED));
        } else {
            rules.check(object, old, &mut causes);
        }
        causes
    }
}

fn collect_patterns(schema: &Value, patterns: &mut HashMap<String, Option<Regex>>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(pattern)) = fields.get("pattern") {
                patterns.entry(pattern.clone()).or_insert_with(|| Regex::new(pattern).ok());
            }
            fields.values().for_each(|field| collect_patterns(field, patterns));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_patterns(item, patterns)),
        _ => {}
    }
}

/// A field below a path: `spec.listeners[0].port`.
fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// The keys by which the elements of a map list are told apart; `None` for other lists.
pub fn map_keys(schema: &Value) -> Option<Vec<&str>> {
    if schema.get("x-kubernetes-list-type")?.as_str()? != "map" {
        return None;
    }
    Some(schema.get("x-kubernetes-list-map-keys")?.as_array()?.iter().filter_map(Value::as_str).collect())
}
