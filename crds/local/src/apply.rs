//! Server-side apply: a client states the fields it cares about, the server remembers who owns which.
//!
//! Every write is recorded in `metadata.managedFields`, as on a real server: an apply owns exactly what it states, any
//! other write owns what it changed. What a manager no longer states and nobody else owns is removed.

use serde_json::{Map, Value, json};

use crate::fields::{self, Fields, child, display, identity};
use crate::kind::Kind;
use crate::object::{as_map, metadata_mut};
use crate::request::Subresource;
use crate::schema::map_keys;
use crate::status::Status;

/// A writer, as far as ownership distinguishes writers.
#[derive(Debug, Clone)]
pub(crate) struct Writer<'a> {
    pub manager: &'a str,
    pub subresource: Subresource,
    /// The time of the write, for the record.
    pub now: &'a str,
}

/// One entry of `managedFields`.
#[derive(Debug, Clone)]
struct Owner {
    manager: String,
    operation: &'static str,
    subresource: String,
    time: String,
    fields: Fields,
}

const APPLY: &str = "Apply";
const UPDATE: &str = "Update";

/// Merges what a client applies into the object as it is (null if there is none), or says whose fields it would take.
pub(crate) fn apply(
    kind: &Kind,
    live: &Value,
    applied: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, Status> {
    let schema = kind.schema.as_ref().map(|schema| schema.root());
    let wanted = owned(kind, Fields::of(schema, applied), writer.subresource);
    let mut owners = owners(live);
    let mine = |owner: &Owner| owner.operation == APPLY && owner.is(writer);
    let mut conflicts = Vec::new();
    for owner in owners.iter_mut().filter(|owner| !mine(owner)) {
        let taken = wanted.clone().intersection(&owner.fields).differing(live, applied);
        if force {
            owner.fields = std::mem::take(&mut owner.fields).without(&taken);
        } else if !taken.is_empty() {
            conflicts.push((owner.describe(kind), taken));
        }
    }
    if !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }
    let before = owners.iter().find(|owner| mine(owner)).map(|owner| owner.fields.clone()).unwrap_or_default();
    let kept = owners.iter().filter(|owner| !mine(owner)).fold(wanted.clone(), |mut kept, owner| {
        kept.union(&owner.fields);
        kept
    });
    let mut merged = live.clone();
    before.clone().without(&kept).remove_from(&mut merged);
    merge(schema, &mut merged, applied);
    if before != wanted {
        owners.retain(|owner| !mine(owner));
        owners.push(Owner::new(APPLY, writer, wanted));
    }
    write_owners(kind, &mut merged, &owners);
    Ok(merged)
}

/// Records any other write: its writer owns what it changed, and nobody owns what is gone. As on a real server, a write
/// with one empty entry, or with an empty list, takes the record away; from then on only an apply begins another.
pub(crate) fn record(kind: &Kind, old: &Value, new: &mut Value, writer: &Writer<'_>) {
    let schema = kind.schema.as_ref().map(|schema| schema.root());
    let mut owners = if takes_record_away(new) { Vec::new() } else { owners(old) };
    let is_new = old.get("metadata").is_none();
    if owners.is_empty() && !is_new {
        return write_owners(kind, new, &owners);
    }
    let changed = owned(kind, Fields::changed(schema, old, new), writer.subresource);
    for owner in &mut owners {
        owner.fields = std::mem::take(&mut owner.fields).without(&changed).existing(new);
    }
    if !changed.is_empty() {
        match owners.iter_mut().find(|owner| owner.operation == UPDATE && owner.is(writer)) {
            Some(owner) => {
                owner.fields.union(&changed);
                owner.time = writer.now.to_owned();
            }
            None => owners.push(Owner::new(UPDATE, writer, changed)),
        }
    }
    write_owners(kind, new, &owners);
}

/// Of a write through this endpoint, the fields that anybody can own.
fn owned(kind: &Kind, fields: Fields, subresource: Subresource) -> Fields {
    const OF_THE_SERVER: [&str; 10] = [
        "name",
        "namespace",
        "generateName",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "managedFields",
        "selfLink",
    ];
    let server_metadata: Value = OF_THE_SERVER.iter().map(|field| (format!("f:{field}"), json!({}))).collect();
    let fields = fields.without(&Fields::parse(&json!({"f:metadata": server_metadata})));
    fields.only(|field| match field {
        "apiVersion" | "kind" => false,
        "status" => !kind.status || subresource == Subresource::Status,
        _ => subresource != Subresource::Status,
    })
}

fn conflict(conflicts: &[(String, Fields)]) -> Status {
    let paths = |fields: &Fields| -> Vec<String> { fields.leaves().iter().map(|path| display(path)).collect() };
    let count: usize = conflicts.iter().map(|(_, fields)| fields.leaves().len()).sum();
    let text = match conflicts {
        [(owner, fields)] if count == 1 => format!("conflict with {owner}: {}", paths(fields).join("")),
        _ => {
            let lines = conflicts
                .iter()
                .map(|(owner, fields)| format!("conflicts with {owner}:\n- {}", paths(fields).join("\n- ")));
            lines.collect::<Vec<_>>().join("\n")
        }
    };
    let plural = if count == 1 { "" } else { "s" };
    let causes = conflicts.iter().flat_map(|(owner, fields)| {
        paths(fields).into_iter().map(move |path| (path, format!("conflict with {owner}")))
    });
    Status::apply_conflict(format!("Apply failed with {count} conflict{plural}: {text}"), causes.collect())
}

impl Owner {
    fn new(operation: &'static str, writer: &Writer<'_>, fields: Fields) -> Self {
        Self {
            manager: writer.manager.to_owned(),
            operation,
            subresource: writer.subresource.name().to_owned(),
            time: writer.now.to_owned(),
            fields,
        }
    }

    fn is(&self, writer: &Writer<'_>) -> bool {
        self.manager == writer.manager && self.subresource == writer.subresource.name()
    }

    fn describe(&self, kind: &Kind) -> String {
        let subresource = match self.subresource.as_str() {
            "" => String::new(),
            subresource => format!(" with subresource {subresource:?}"),
        };
        let using = match self.operation {
            UPDATE => format!(" using {}", kind.api_version()),
            _ => String::new(),
        };
        format!("{:?}{subresource}{using}", self.manager)
    }
}

fn takes_record_away(written: &Value) -> bool {
    let entries = written.get("metadata").and_then(|metadata| metadata.get("managedFields")).and_then(Value::as_array);
    let is_empty = |entry: &Value| entry.as_object().is_some_and(Map::is_empty);
    entries.is_some_and(|entries| entries.len() <= 1 && entries.iter().all(is_empty))
}

fn owners(object: &Value) -> Vec<Owner> {
    let entries = object.get("metadata").and_then(|metadata| metadata.get("managedFields")).and_then(Value::as_array);
    let text = |entry: &Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    entries
        .into_iter()
        .flatten()
        .map(|entry| Owner {
            manager: text(entry, "manager"),
            operation: if text(entry, "operation") == APPLY { APPLY } else { UPDATE },
            subresource: text(entry, "subresource"),
            time: text(entry, "time"),
            fields: Fields::parse(entry.get("fieldsV1").unwrap_or(&Value::Null)),
        })
        .collect()
}

fn write_owners(kind: &Kind, object: &mut Value, owners: &[Owner]) {
    let entries = owners.iter().filter(|owner| !owner.fields.is_empty()).map(|owner| {
        let mut entry = json!({
            "manager": owner.manager, "operation": owner.operation, "apiVersion": kind.api_version(),
            "time": owner.time, "fieldsType": "FieldsV1", "fieldsV1": owner.fields.to_value(),
        });
        if !owner.subresource.is_empty() {
            entry["subresource"] = owner.subresource.clone().into();
        }
        entry
    });
    let entries: Vec<Value> = entries.collect();
    let metadata = metadata_mut(object);
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), entries.into());
    }
}

/// Merges maps by field and map lists by key; everything else is replaced.
fn merge(schema: Option<&Value>, target: &mut Value, applied: &Value) {
    match (target, applied) {
        (target, Value::Object(fields)) => {
            let target = as_map(target);
            for (name, field) in fields {
                let schema = schema.and_then(|schema| child(schema, name));
                merge(schema, target.entry(name.clone()).or_insert(Value::Null), field);
            }
        }
        (Value::Array(target), Value::Array(items)) => {
            match schema.and_then(|schema| Some((schema, map_keys(schema)?))) {
                Some((schema, keys)) => {
                    for item in items {
                        let wanted = identity(&keys, item);
                        match target.iter_mut().find(|element| identity(&keys, element) == wanted) {
                            Some(element) => merge(schema.get("items"), element, item),
                            None => target.push(item.clone()),
                        }
                    }
                }
                None if schema.is_some_and(fields::is_set) => {
                    let new = items.iter().filter(|item| !target.contains(item)).cloned().collect::<Vec<_>>();
                    target.extend(new);
                }
                None => target.clone_from(items),
            }
        }
        (target, applied) => target.clone_from(applied),
    }
}
