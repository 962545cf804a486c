//! Defaulting: what the client left out, the schema fills in; also inside a default.

use serde_json::Value;

use super::flag;

pub(super) fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                // A null where none is allowed is as good as nothing.
                if fields.get(name).is_some_and(Value::is_null) && !flag(property, "nullable") {
                    fields.remove(name);
                }
                if let Some(default) = property.get("default") {
                    fields.entry(name.clone()).or_insert_with(|| default.clone());
                }
                if let Some(field) = fields.get_mut(name) {
                    fill(property, field);
                }
            }
            if let Some(additional) = schema.get("additionalProperties").filter(|schema| schema.is_object()) {
                let named = |name: &str| properties.is_some_and(|properties| properties.contains_key(name));
                fields.iter_mut().filter(|(name, _)| !named(name)).for_each(|(_, field)| fill(additional, field));
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| fill(schema, item));
            }
        }
        _ => {}
    }
}
