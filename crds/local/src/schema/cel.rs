//! CEL rules (`x-kubernetes-validations`), evaluated by kube's `cel` feature.
//!
//! We walk the object ourselves and hand over one node at a time, for two reasons: a map list's old element is the one
//! with the same key (kube-cel takes the one with the same index), and a rule is compiled when an object first meets
//! it, so that rules cost nothing at start.

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Map, Value, json};

use super::{join, map_keys, type_name};
use crate::cause::Cause;

static VALIDATOR: LazyLock<Validator> = LazyLock::new(Validator::new);

/// The rules of a schema node and of the nodes below it. Nodes without any are left out.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// The node's own rules; those below are cut out, the types below stay as far as rules need them.
    own: Option<Own>,
    properties: BTreeMap<String, Rules>,
    items: Option<Box<Rules>>,
    /// The keys of a map list; the elements of other lists have no old self.
    keys: Vec<String>,
    additional: Option<Box<Rules>>,
}

#[derive(Debug)]
struct Own {
    schema: Value,
    compiled: OnceLock<CompiledSchema>,
}

impl Rules {
    /// The rules of a kind, if it has any.
    pub(super) fn new(root: &Value) -> Option<Self> {
        let mut root = root.clone();
        if let Some(Value::Object(properties)) = root.get_mut("properties") {
            // What a rule at the root may use although the definition does not name it.
            let text = json!({"type": "string"});
            properties.insert("apiVersion".into(), text.clone());
            properties.insert("kind".into(), text.clone());
            let metadata = json!({"type": "object", "properties": {"name": text, "generateName": text}});
            properties.insert("metadata".into(), metadata);
        }
        Self::below(&root)
    }

    fn below(schema: &Value) -> Option<Self> {
        let own = schema.get("x-kubernetes-validations").map(|rules| {
            let mut alone = Value::Object(types(schema).unwrap_or_default());
            alone["x-kubernetes-validations"] = rules.clone();
            Own { schema: alone, compiled: OnceLock::new() }
        });
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let properties: BTreeMap<_, _> =
            properties.filter_map(|(name, property)| Some((name.clone(), Self::below(property)?))).collect();
        let items = schema.get("items").and_then(Self::below).map(Box::new);
        let additional = schema.get("additionalProperties").and_then(Self::below).map(Box::new);
        let keys = map_keys(schema).unwrap_or_default().into_iter().map(str::to_owned).collect();
        let any = own.is_some() || !properties.is_empty() || items.is_some() || additional.is_some();
        any.then_some(Self { own, properties, items, keys, additional })
    }

    /// Asks all rules about an object whose types and bounds are right.
    pub(super) fn check(&self, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
        self.walk(&without_nulls(object), old.map(without_nulls).as_ref(), "", causes);
    }

    /// Compiles every rule and returns those that fail.
    pub(super) fn unsupported(&self, found: &mut Vec<String>) {
        if let Some(own) = &self.own {
            found.extend(own.compiled().compilation_errors().into_iter().map(ToString::to_string));
        }
        let below = self.properties.values().chain(self.items.as_deref()).chain(self.additional.as_deref());
        below.for_each(|rules| rules.unsupported(found));
    }

    fn walk(&self, value: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
        if let Some(own) = &self.own {
            own.check(value, old, path, causes);
        }
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    if let Some(rules) = self.properties.get(name).or(self.additional.as_deref()) {
                        rules.walk(field, old.and_then(|old| old.get(name)), &join(path, name), causes);
                    }
                }
            }
            Value::Array(items) => {
                let Some(rules) = &self.items else { return };
                for (index, item) in items.iter().enumerate() {
                    rules.walk(item, self.old_item(item, old), &format!("{path}[{index}]"), causes);
                }
            }
            _ => {}
        }
    }

    fn old_item<'a>(&self, item: &Value, old: Option<&'a Value>) -> Option<&'a Value> {
        if self.keys.is_empty() {
            return None;
        }
        old?.as_array()?.iter().find(|old| self.keys.iter().all(|key| old.get(key) == item.get(key)))
    }
}

impl Own {
    fn compiled(&self) -> &CompiledSchema {
        self.compiled.get_or_init(|| compile_schema(&self.schema))
    }

    fn check(&self, value: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
        let Err(errors) = VALIDATOR.validate_compiled(self.compiled(), value, old) else { return };
        for error in errors.into_vec() {
            let below = error.field_path.trim_start_matches('.');
            let field = if below.is_empty() { path.to_owned() } else { join(path, below) };
            let field = if field.is_empty() { "<nil>".to_owned() } else { field };
            let found = type_name(value);
            causes.push(match error.reason.as_deref() {
                Some("FieldValueForbidden") => Cause::forbidden(&field, &error.message),
                Some("FieldValueRequired") => Cause::required(&field, &error.message),
                Some("FieldValueDuplicate") => {
                    Cause::new("FieldValueDuplicate", &field, format!("Duplicate value: \"{found}\""))
                }
                _ => Cause::invalid(&field, &json!(found), &error.message),
            });
        }
    }
}

/// What kube-cel has to know of a schema to read values right, `None` where their JSON says it all. It visits each node
/// that it knows of and converts all below it again: of a large object it had better know little.
fn types(schema: &Value) -> Option<Map<String, Value>> {
    let mut found = Map::new();
    for (name, field) in schema.as_object()? {
        let told = match name.as_str() {
            "properties" => {
                let told = |(name, property): (&String, &Value)| Some((name.clone(), types(property)?.into()));
                let told: Map<_, _> = field.as_object().into_iter().flatten().filter_map(told).collect();
                (!told.is_empty()).then_some(Value::Object(told))
            }
            "items" => types(field).map(Value::Object),
            "additionalProperties" => Some(types(field).map_or(json!(*field != json!(false)), Value::Object)),
            "default" | "format" | "x-kubernetes-embedded-resource" | "x-kubernetes-int-or-string" => {
                Some(field.clone())
            }
            _ => None,
        };
        found.extend(told.map(|told| (name.clone(), told)));
    }
    (!found.is_empty()).then_some(found)
}

/// A null counts as absent on a real server; kube-cel takes it for a value.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, field)| !field.is_null())
            .map(|(name, field)| (name.clone(), without_nulls(field)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
