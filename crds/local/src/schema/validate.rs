//! Types, bounds and shapes. A general JSON Schema validator would say the same in other words.

use std::collections::HashMap;

use k8s_openapi::jiff::Timestamp;
use regex::Regex;
use serde_json::{Map, Value, json};

use super::{flag, is_integer, join, map_keys, type_name};
use crate::cause::Cause;
use crate::object::type_and_metadata;

pub(super) struct Validation<'a> {
    patterns: &'a HashMap<String, Option<Regex>>,
    causes: Vec<Cause>,
}

impl<'a> Validation<'a> {
    pub(super) fn new(patterns: &'a HashMap<String, Option<Regex>>) -> Self {
        Self { patterns, causes: Vec::new() }
    }

    /// The causes in alphabetical order of fields. A real server has no order of its own: it is another one each time.
    pub(super) fn run(mut self, schema: &Value, object: &Value) -> Vec<Cause> {
        self.check(schema, object, "");
        self.causes.sort_by(|a, b| a.field.cmp(&b.field));
        self.causes
    }

    fn invalid(&mut self, path: &str, value: &Value, detail: &str) {
        self.causes.push(Cause::invalid(path, value, &format!("{path} in body {detail}")));
    }

    fn check(&mut self, schema: &Value, value: &Value, path: &str) {
        if value.is_null() && flag(schema, "nullable") {
            return;
        }
        if !self.has_type(schema, value, path) {
            return;
        }
        if let Some(Value::Array(allowed)) = schema.get("enum")
            && !allowed.contains(value)
        {
            let supported = allowed.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
            let text = format!("Unsupported value: {value}: supported values: {supported}");
            self.causes.push(Cause::new("FieldValueNotSupported", path, text));
        }
        match value {
            Value::Number(_) => self.number(schema, value, path),
            Value::String(text) => self.string(schema, value, text, path),
            Value::Array(items) => self.array(schema, value, items, path),
            Value::Object(fields) => self.object(schema, value, fields, path),
            Value::Null | Value::Bool(_) => {}
        }
        self.combinations(schema, value, path);
    }

    fn has_type(&mut self, schema: &Value, value: &Value, path: &str) -> bool {
        if flag(schema, "x-kubernetes-int-or-string") && (is_integer(value) || value.is_string()) {
            return true;
        }
        let Some(expected) = schema.get("type").and_then(Value::as_str) else { return true };
        let fits = match expected {
            "integer" => is_integer(value),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => true,
        };
        if !fits {
            let found = type_name(value);
            let text = format!("Invalid value: \"{found}\": {path} in body must be of type {expected}: \"{found}\"");
            self.causes.push(Cause::new("FieldValueTypeInvalid", path, text));
        }
        fits
    }

    fn number(&mut self, schema: &Value, value: &Value, path: &str) {
        let number = value.as_f64().unwrap_or_default();
        if let Some(minimum) = schema.get("minimum")
            && let Some(bound) = minimum.as_f64()
        {
            if flag(schema, "exclusiveMinimum") && number <= bound {
                self.invalid(path, value, &format!("should be greater than {}", plain(minimum)));
            } else if number < bound {
                self.invalid(path, value, &format!("should be greater than or equal to {}", plain(minimum)));
            }
        }
        if let Some(maximum) = schema.get("maximum")
            && let Some(bound) = maximum.as_f64()
        {
            if flag(schema, "exclusiveMaximum") && number >= bound {
                self.invalid(path, value, &format!("should be less than {}", plain(maximum)));
            } else if number > bound {
                self.invalid(path, value, &format!("should be less than or equal to {}", plain(maximum)));
            }
        }
        if let Some(factor) = schema.get("multipleOf").and_then(Value::as_f64)
            && (number / factor).fract() != 0.0
        {
            self.invalid(path, value, &format!("should be a multiple of {factor}"));
        }
    }

    fn string(&mut self, schema: &Value, value: &Value, text: &str, path: &str) {
        let length = text.chars().count() as u64;
        if let Some(max) = bound(schema, "maxLength").filter(|max| length > *max) {
            let text = format!("Too long: may not be more than {max} bytes");
            self.causes.push(Cause::new("FieldValueTooLong", path, text));
        }
        if let Some(min) = bound(schema, "minLength").filter(|min| length < *min) {
            self.invalid(path, value, &format!("should be at least {min} chars long"));
        }
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
            // A pattern that this server cannot read refuses everything.
            let matches = self.patterns.get(pattern).and_then(Option::as_ref).is_some_and(|regex| regex.is_match(text));
            if !matches {
                self.invalid(path, value, &format!("should match '{pattern}'"));
            }
        }
        if schema.get("format").and_then(Value::as_str) == Some("date-time") && text.parse::<Timestamp>().is_err() {
            self.invalid(path, value, &format!("must be of type date-time: {value}"));
        }
    }

    fn array(&mut self, schema: &Value, value: &Value, items: &[Value], path: &str) {
        self.too_many(schema, "maxItems", items.len(), "items", path);
        if let Some(min) = bound(schema, "minItems").filter(|min| (items.len() as u64) < *min) {
            self.invalid(path, value, &format!("should have at least {min} items"));
        }
        if let Some(schema) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.check(schema, item, &format!("{path}[{index}]"));
            }
        }
        let identities: Vec<Value> = if let Some(keys) = map_keys(schema) {
            items.iter().map(|item| keys.iter().map(|key| ((*key).to_owned(), item[*key].clone())).collect()).collect()
        } else if schema.get("x-kubernetes-list-type") == Some(&json!("set")) || flag(schema, "uniqueItems") {
            items.to_vec()
        } else {
            Vec::new()
        };
        for (index, identity) in identities.iter().enumerate() {
            if identities.iter().take(index).any(|earlier| earlier == identity) {
                let text = format!("Duplicate value: {identity}");
                self.causes.push(Cause::new("FieldValueDuplicate", &format!("{path}[{index}]"), text));
            }
        }
    }

    fn object(&mut self, schema: &Value, value: &Value, fields: &Map<String, Value>, path: &str) {
        self.too_many(schema, "maxProperties", fields.len(), "properties", path);
        if let Some(min) = bound(schema, "minProperties").filter(|min| (fields.len() as u64) < *min) {
            self.invalid(path, value, &format!("should have at least {min} properties"));
        }
        for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if let Some(name) = required.as_str().filter(|name| !fields.contains_key(*name)) {
                self.causes.push(Cause::required(&join(path, name), ""));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let additional = schema.get("additionalProperties");
        for (name, field) in fields {
            if path.is_empty() && type_and_metadata(name) {
                continue;
            }
            let below = properties.and_then(|properties| properties.get(name)).or(additional);
            if let Some(below) = below.filter(|below| below.is_object()) {
                self.check(below, field, &join(path, name));
            }
        }
    }

    fn too_many(&mut self, schema: &Value, keyword: &str, count: usize, what: &str, path: &str) {
        if let Some(max) = bound(schema, keyword).filter(|max| count as u64 > *max) {
            let text = format!("Too many: {count}: must have at most {max} {what}");
            self.causes.push(Cause::new("FieldValueTooMany", path, text));
        }
    }

    fn combinations(&mut self, schema: &Value, value: &Value, path: &str) {
        let branches = |keyword: &str| schema.get(keyword).and_then(Value::as_array);
        for branch in branches("allOf").into_iter().flatten() {
            self.check(branch, value, path);
        }
        let passing = |branches: &[Value]| branches.iter().filter(|branch| self.passes(branch, value, path)).count();
        let (any, one) = (branches("anyOf").map(|any| passing(any)), branches("oneOf").map(|one| passing(one)));
        let not = schema.get("not").is_some_and(|not| self.passes(not, value, path));
        let mut refuse = |why: &str| {
            self.causes.push(Cause::invalid(path, &json!(""), &format!("\"{path}\" {why}")));
        };
        if any == Some(0) {
            refuse("must validate at least one schema (anyOf)");
        }
        match one {
            Some(0) => refuse("must validate one and only one schema (oneOf). Found none valid"),
            Some(count) if count > 1 => {
                refuse(&format!("must validate one and only one schema (oneOf). Found {count} valid alternatives"));
            }
            Some(_) | None => {}
        }
        if not {
            refuse("must not validate the schema (not)");
        }
    }

    fn passes(&self, schema: &Value, value: &Value, path: &str) -> bool {
        let mut apart = Validation::new(self.patterns);
        apart.check(schema, value, path);
        apart.causes.is_empty()
    }
}

fn bound(schema: &Value, keyword: &str) -> Option<u64> {
    schema.get(keyword).and_then(Value::as_u64)
}

/// A bound as it was written: `1`, also where the definition says `1.0`.
fn plain(number: &Value) -> String {
    match number.as_f64() {
        Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
        _ => number.to_string(),
    }
}
