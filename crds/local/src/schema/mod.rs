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

use crate::cause::Cause;

/// The schema of one kind, with its patterns and rules ready.
#[derive(Debug)]
pub(crate) struct Schema {
    root: Value,
    patterns: HashMap<String, Option<Regex>>,
    rules: Option<cel::Rules>,
}

impl Schema {
    pub(crate) fn new(root: Value) -> Self {
        let mut patterns = HashMap::new();
        collect_patterns(&root, &mut patterns);
        let rules = cel::Rules::new(&root);
        Self { root, patterns, rules }
    }

    pub(crate) fn root(&self) -> &Value {
        &self.root
    }

    /// The patterns and rules that this server cannot read; what meets one is refused.
    pub(crate) fn unsupported(&self) -> Vec<String> {
        let patterns = self.patterns.iter().filter(|(_, regex)| regex.is_none());
        let mut found: Vec<String> = patterns.map(|(pattern, _)| format!("pattern {pattern}")).collect();
        if let Some(rules) = &self.rules {
            rules.unsupported(&mut found);
        }
        found
    }

    /// Removes what the schema does not know, and returns their paths.
    pub(crate) fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        prune::prune_root(&self.root, object, &mut unknown);
        unknown
    }

    pub(crate) fn fill_defaults(&self, object: &mut Value) {
        default::fill(&self.root, object);
    }

    /// Everything that is wrong with a pruned, defaulted object; `old` is what it replaces.
    pub(crate) fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
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

/// The keys that identify the elements of a map list; `None` for other lists.
pub(crate) fn map_keys(schema: &Value) -> Option<Vec<&str>> {
    if schema.get("x-kubernetes-list-type")?.as_str()? != "map" {
        return None;
    }
    Some(schema.get("x-kubernetes-list-map-keys")?.as_array()?.iter().filter_map(Value::as_str).collect())
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|float| float.fract() == 0.0)
}

/// JSON's name for the type of a value.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(spec: Value) -> Schema {
        Schema::new(json!({"type": "object", "properties": {"spec": spec}}))
    }

    #[test]
    fn unknown_fields_are_dropped_and_named() {
        let schema = schema(json!({"type": "object", "properties": {
            "known": {"type": "object"},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {}}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {}}}},
        }}));
        let mut object = json!({"kind": "X", "metadata": {"name": "a", "nome": "b"}, "extra": 1, "spec": {
            "known": {"x": 1}, "open": {"x": 1}, "map": {"k": {"a": 1, "b": 2}}, "list": [{"a": 1}, {"b": 2}],
        }});
        let unknown = schema.prune(&mut object);
        assert_eq!(unknown, ["metadata.nome", "extra", "spec.known.x", "spec.list[1].b", "spec.map.k.b"]);
        assert_eq!(
            object,
            json!({"kind": "X", "metadata": {"name": "a"}, "spec": {
                "known": {}, "open": {"x": 1}, "map": {"k": {"a": 1}}, "list": [{"a": 1}, {}],
            }})
        );
    }

    #[test]
    fn defaults_fill_in_also_inside_defaults_and_over_nulls() {
        let schema = schema(json!({"type": "object", "default": {}, "properties": {
            "a": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 3}}},
            "plain": {"type": "integer", "default": 1},
            "nullable": {"type": "integer", "default": 1, "nullable": true},
            "without": {"type": "integer"},
        }}));
        let cases = [
            (json!({}), json!({"spec": {"a": {"b": 3}, "plain": 1, "nullable": 1}})),
            (
                json!({"spec": {"a": {"b": 5}, "plain": null, "nullable": null, "without": null}}),
                json!({"spec": {"a": {"b": 5}, "plain": 1, "nullable": null}}),
            ),
        ];
        for (mut object, expected) in cases {
            schema.fill_defaults(&mut object);
            assert_eq!(object, expected);
        }
    }

    #[test]
    fn every_keyword_refuses_in_the_words_of_a_real_server() {
        let cases = [
            (json!({"type": "integer", "maximum": 5.0}), json!(6), "should be less than or equal to 5"),
            (json!({"type": "number", "minimum": 0, "exclusiveMinimum": true}), json!(0), "should be greater than 0"),
            (json!({"type": "integer", "multipleOf": 4}), json!(6), "should be a multiple of 4"),
            (json!({"type": "string", "minLength": 2}), json!("a"), "should be at least 2 chars long"),
            (json!({"type": "string", "format": "date-time"}), json!("now"), "must be of type date-time: \"now\""),
            (json!({"type": "array", "minItems": 1}), json!([]), "should have at least 1 items"),
            (json!({"type": "object", "minProperties": 1}), json!({}), "should have at least 1 properties"),
            (
                json!({"type": "object", "maxProperties": 0}),
                json!({"a": 1}),
                "Too many: 1: must have at most 0 properties",
            ),
            (json!({"type": "array", "x-kubernetes-list-type": "set"}), json!(["a", "a"]), "Duplicate value: \"a\""),
            (json!({"type": "boolean"}), json!("true"), "must be of type boolean: \"string\""),
            (json!({"x-kubernetes-int-or-string": true, "type": "string"}), json!(1.5), "must be of type string"),
            (json!({"anyOf": [{"type": "string"}]}), json!(1), "must validate at least one schema (anyOf)"),
            (json!({"oneOf": [{"minimum": 0}, {"minimum": 1}]}), json!(2), "Found 2 valid alternatives"),
            (json!({"not": {"enum": [1]}}), json!(1), "must not validate the schema (not)"),
            (json!({"type": "string", "pattern": "(?=lookahead)"}), json!("a"), "should match '(?=lookahead)'"),
        ];
        for (spec, value, expected) in cases {
            let causes = schema(spec.clone()).validate(&json!({ "spec": value }), None);
            assert!(causes.iter().any(|cause| cause.message.contains(expected)), "{spec} {value}: {causes:?}");
        }
        let fine = [
            (json!({"x-kubernetes-int-or-string": true, "type": "string"}), json!(1)),
            (json!({"type": "integer", "nullable": true}), json!(null)),
            (json!({"type": "integer"}), json!(2.0)),
            (json!({"type": "string", "format": "date-time"}), json!("2026-01-01T00:00:00Z")),
        ];
        for (spec, value) in fine {
            assert_eq!(schema(spec.clone()).validate(&json!({ "spec": value }), None), [], "{spec} {value}");
        }
    }

    #[test]
    fn rules_see_nulls_as_absent_and_map_lists_by_key() {
        let schema = schema(json!({
            "type": "object",
            "x-kubernetes-validations": [{"rule": "!has(self.size)", "message": "no size"}],
            "properties": {
                "size": {"type": "integer", "nullable": true},
                "list": {
                    "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
                        "x-kubernetes-validations": [{"rule": "self.port == oldSelf.port"}],
                    },
                },
            },
        }));
        let list = |list: Value| json!({"spec": {"size": null, "list": list}});
        let old = list(json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}]));
        let new = list(json!([{"name": "c", "port": 9}, {"name": "b", "port": 2}, {"name": "a", "port": 1}]));
        assert_eq!(schema.validate(&new, Some(&old)), []);
        let moved = list(json!([{"name": "b", "port": 1}]));
        let causes = schema.validate(&moved, Some(&old));
        let message = "Invalid value: \"object\": failed rule: self.port == oldSelf.port";
        assert_eq!(causes, [Cause::new("FieldValueInvalid", "spec.list[0]", message.to_owned())]);
    }

    #[test]
    fn a_rule_that_can_not_be_evaluated_here_is_reported() {
        let schema = schema(json!({
            "type": "string", "pattern": "(?=x)", "x-kubernetes-validations": [{"rule": "self.("}],
        }));
        let unsupported = schema.unsupported();
        assert_eq!(unsupported.len(), 2, "{unsupported:?}");
        assert_eq!(unsupported.first().map(String::as_str), Some("pattern (?=x)"));
    }
}
