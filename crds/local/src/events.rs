//! Events have two APIs over one storage: `v1`, which `kubectl describe` reads, and `events.k8s.io/v1`, to which
//! controllers write. Stored is the `v1` form.

use serde_json::{Map, Value};

use crate::object::{as_map, at};

/// Field of `events.k8s.io/v1` and the field of `v1` that holds the same.
const RENAMED: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// An `events.k8s.io/v1` Event as it is stored.
pub(crate) fn to_stored(new: Value) -> Value {
    rename(new, "v1", |field| RENAMED.iter().find(|(from, _)| *from == field).map(|(_, to)| *to))
}

/// A stored Event as `events.k8s.io/v1`.
pub(crate) fn to_new(stored: &Value) -> Value {
    rename(stored.clone(), "events.k8s.io/v1", |field| {
        RENAMED.iter().find(|(_, from)| *from == field).map(|(to, _)| *to)
    })
}

/// A stored Event with what its table shows and no single field says: when it was last seen, and `kind/name` of what
/// it is about.
pub(crate) fn summary(stored: &Value) -> Value {
    let text = |path| at(stored, path).and_then(Value::as_str).filter(|text| !text.is_empty());
    let times = ["series.lastObservedTime", "lastTimestamp", "eventTime", "metadata.creationTimestamp"];
    let last_seen = times.into_iter().find_map(text);
    let (kind, name) = (text("involvedObject.kind"), text("involvedObject.name"));
    let object = format!("{}/{}", kind.unwrap_or_default().to_lowercase(), name.unwrap_or_default());
    let mut summary = stored.clone();
    let fields = as_map(&mut summary);
    fields.insert("lastSeen".into(), last_seen.into());
    fields.insert("object".into(), object.into());
    summary
}

fn rename(event: Value, api_version: &str, new_name: impl Fn(&str) -> Option<&'static str>) -> Value {
    let Value::Object(event) = event else { return event };
    let mut renamed: Map<String, Value> = event
        .into_iter()
        .map(|(field, value)| match new_name(&field) {
            Some(name) => (name.to_owned(), value),
            None => (field, value),
        })
        .collect();
    renamed.insert("apiVersion".into(), api_version.into());
    Value::Object(renamed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_written_to_one_api_reads_the_same_in_the_other() {
        let new = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a"},
            "regarding": {"name": "topic"}, "note": "created", "reportingController": "ottla", "reason": "Created",
        });
        let stored = to_stored(new.clone());
        assert_eq!(stored["involvedObject"]["name"], "topic");
        assert_eq!(stored["message"], "created");
        assert_eq!(stored["apiVersion"], "v1");
        assert_eq!(to_new(&stored), new);
    }
}
