//! Tables: the columns that `kubectl get` prints are made by the server.

use std::borrow::Cow;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::kind::Kind;
use crate::object::metadata;
use crate::{events, jsonpath};

/// How much of each object goes with its row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    /// The query parameter `includeObject`.
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "None" => Include::None,
            "Object" => Include::Object,
            _ => Include::Metadata,
        }
    }
}

/// A `Table` of these objects, as they are stored.
pub(crate) fn table(kind: &Kind, objects: &[&Value], include: Include, version: u64, with_columns: bool) -> Value {
    let now = Timestamp::now();
    let rows: Vec<Value> = objects.iter().map(|object| row(kind, object, include, now)).collect();
    let mut table = json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version.to_string()}, "rows": rows,
    });
    table["columnDefinitions"] = if with_columns { columns(kind) } else { Value::Null };
    table
}

fn columns(kind: &Kind) -> Value {
    let name = json!({
        "name": "Name", "type": "string", "format": "name", "priority": i32::from(kind.is_event()),
        "description": "Name must be unique within a namespace.",
    });
    let others = kind.columns.iter().map(|column| {
        json!({
            "name": column.name, "type": column.type_, "format": column.format.clone().unwrap_or_default(),
            "description": column.description.clone().unwrap_or_default(), "priority": column.priority.unwrap_or(0),
        })
    });
    beside_name(kind, name, others)
}

/// The name comes first, but nobody reads an event's name: it comes last, and only in wide tables.
fn beside_name(kind: &Kind, name: Value, others: impl Iterator<Item = Value>) -> Value {
    let name = std::iter::once(name);
    if kind.is_event() { others.chain(name).collect() } else { name.chain(others).collect() }
}

fn row(kind: &Kind, object: &Value, include: Include, now: Timestamp) -> Value {
    let source = if kind.is_event() { Cow::Owned(events::summary(object)) } else { Cow::Borrowed(object) };
    let name = json!(metadata(object, "name"));
    let others = kind.columns.iter().map(|column| cell(&column.type_, &column.json_path, &source, now));
    let cells = beside_name(kind, name, others);
    match include {
        Include::None => json!({"cells": cells}),
        Include::Object => json!({"cells": cells, "object": kind.to_shown(object)}),
        Include::Metadata => json!({"cells": cells, "object": {
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata"),
        }}),
    }
}

fn cell(type_: &str, json_path: &str, object: &Value, now: Timestamp) -> Value {
    let found = jsonpath::find(object, json_path);
    let Some(first) = found.first() else { return Value::Null };
    match type_ {
        "date" => first.as_str().map_or(Value::Null, |time| age(time, now).into()),
        "string" => found.iter().map(|value| text(value)).collect::<Vec<_>>().join(",").into(),
        "integer" => first.as_i64().map_or(Value::Null, Value::from),
        _ => (*first).clone(),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn age(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => human_duration(now.as_second() - time.as_second()),
        Err(_) => "<invalid>".to_owned(),
    }
}

/// A duration with the precision that `kubectl` shows: two units while they say something.
fn human_duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{small_unit}"),
    };
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 120 => format!("{}s", seconds.max(0)),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, "d", hours % 24, "h"),
        () if days < 730 => format!("{days}d"),
        () if days < 2920 => two(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        let cases = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (185, "3m5s"),
            (600, "10m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 60, "3h1m"),
            (30 * 3600, "30h"),
            (49 * 3600, "2d1h"),
            (10 * 86_400, "10d"),
            (800 * 86_400, "2y70d"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human_duration(seconds), text, "{seconds} seconds");
        }
    }
}
