//! Fields of statuses that the API server drops, because the definition of the kind is older than this operator.
//!
//! Each plan asks for such fields again, because the object that is read never has them: what the API server answers to
//! a write shows them. A status that would change in nothing else is not written.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

/// Names of fields from the status down; an asterisk is any item of a list.
type Path = Vec<String>;

const ANY_ITEM: &str = "*";

/// The dropped fields of each kind.
#[derive(Debug, Default)]
pub struct Pruned(BTreeMap<&'static str, BTreeSet<Path>>);

impl Pruned {
    /// Notes what the API server has kept of the status that was asked for: `answer` is the status afterwards.
    pub fn note(&mut self, asked: &StatusWrite, answer: &Value) {
        let mut dropped = BTreeSet::new();
        compare(&asked.next, answer, &mut Path::new(), &mut dropped);
        let known = self.0.entry(asked.kind).or_default();
        // What was dropped before and is kept now: the definition was upgraded.
        known.retain(|path| !is_in(&asked.next, path));
        known.extend(dropped);
    }

    /// Whether the API server would drop all that is to change.
    pub fn is_in_vain(&self, asked: StatusWrite) -> bool {
        let StatusWrite { kind, mut read, mut next } = asked;
        let Some(dropped) = self.0.get(kind).filter(|dropped| !dropped.is_empty()) else { return false };
        for path in dropped {
            remove(&mut read, path);
            remove(&mut next, path);
        }
        read == next
    }

    /// Whether nothing is known to be dropped.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeSet::is_empty)
    }

    /// Forgets everything if the definitions are others than before, of which `definitions` counts the changes: nobody
    /// knows what the API server drops now. `None`: they never change.
    pub fn forget_if_changed(&mut self, definitions: &mut Option<watch::Receiver<u64>>) {
        if let Some(definitions) = definitions
            && definitions.has_changed().unwrap_or_default()
        {
            definitions.mark_unchanged();
            self.0.clear();
        }
    }
}

/// A status that is to be written.
#[derive(Clone, Debug)]
pub struct StatusWrite {
    /// The kind of the object.
    pub kind: &'static str,
    /// The status that was read.
    pub read: Value,
    /// The status that is to be.
    pub next: Value,
}

/// A status as JSON.
pub fn tree(status: &impl Serialize) -> Value {
    serde_json::to_value(status).expect("a status is JSON")
}

/// Finds the fields of `asked` that `answer` does not have as they were asked for.
fn compare(asked: &Value, answer: &Value, path: &mut Path, dropped: &mut BTreeSet<Path>) {
    match (asked, answer) {
        (Value::Object(asked), Value::Object(answer)) => {
            for (name, asked) in asked {
                path.push(name.clone());
                compare(asked, answer.get(name).unwrap_or(&Value::Null), path, dropped);
                path.pop();
            }
        }
        (Value::Array(asked), Value::Array(answer)) if asked.len() == answer.len() => {
            path.push(ANY_ITEM.to_owned());
            asked.iter().zip(answer).for_each(|(asked, answer)| compare(asked, answer, path, dropped));
            path.pop();
        }
        (asked, answer) if asked == answer => {}
        (..) => _ = dropped.insert(path.clone()),
    }
}

/// Whether the value has a field at this path.
fn is_in(value: &Value, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    match value {
        Value::Object(fields) => fields.get(first).is_some_and(|field| is_in(field, rest)),
        Value::Array(items) if first == ANY_ITEM => items.iter().any(|item| is_in(item, rest)),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn remove(value: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    match value {
        Value::Object(fields) if rest.is_empty() => _ = fields.remove(first),
        Value::Object(fields) => {
            if let Some(field) = fields.get_mut(first) {
                remove(field, rest);
            }
        }
        Value::Array(items) if first == ANY_ITEM => items.iter_mut().for_each(|item| remove(item, rest)),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use ottla_crds::KafkaClusterStatus;
    use serde_json::json;

    use super::*;

    fn asked(read: Value, next: Value) -> StatusWrite {
        let status = |status: Value| tree(&serde_json::from_value::<KafkaClusterStatus>(status).unwrap());
        StatusWrite { kind: "KafkaCluster", read: status(read), next: status(next) }
    }

    fn brokers(nodes: &[Option<&str>]) -> Value {
        let broker = |(id, node): (usize, &Option<&str>)| json!({ "id": id, "state": "Online", "wanted": "Serve", "node": node });
        let mut brokers: Vec<Value> = nodes.iter().enumerate().map(broker).collect();
        for broker in &mut brokers {
            broker.as_object_mut().unwrap().retain(|_, field| !field.is_null());
        }
        json!({ "brokers": brokers })
    }

    #[test]
    fn what_was_dropped_from_items_of_a_list_is_found_and_forgotten_when_it_is_kept() {
        let mut pruned = Pruned::default();
        let (none, some, others) =
            (brokers(&[None, None]), brokers(&[Some("a"), None]), brokers(&[Some("a"), Some("b")]));
        assert!(!pruned.is_in_vain(asked(none.clone(), some.clone())));
        pruned.note(&asked(none.clone(), some.clone()), &none);
        assert!(pruned.is_in_vain(asked(none.clone(), some.clone())));
        assert!(pruned.is_in_vain(asked(none.clone(), others.clone())), "the same field of another item");
        assert!(!pruned.is_in_vain(asked(none.clone(), brokers(&[Some("a"), None, None]))), "another broker");

        let mut summed = some.clone();
        summed["summary"] = "Settled".into();
        assert!(!pruned.is_in_vain(asked(none.clone(), summed.clone())));
        pruned.note(&asked(none.clone(), summed.clone()), &summed);
        assert!(!pruned.is_in_vain(asked(none, others)), "the definition was upgraded");
    }

    #[test]
    fn a_field_that_is_never_absent_is_dropped_if_it_has_another_value() {
        let mut pruned = Pruned::default();
        let of = |epoch: i64| json!({ "features": { "epoch": epoch } });
        pruned.note(&asked(of(0), of(7)), &of(0));
        assert!(pruned.is_in_vain(asked(of(0), of(8))));
    }
}
