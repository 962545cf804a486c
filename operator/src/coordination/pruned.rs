//! Fields of statuses that the API server drops, because the definition of the kind is older than this operator.
//!
//! Each plan asks for such fields again, because the object that is read never has them: what the API server answers to
//! a write shows them. A status that would change in nothing else is not written.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::plan::Step;

/// Names of fields from the status down; an asterisk is any item of a list.
type Path = Vec<String>;

const ANY_ITEM: &str = "*";

/// The dropped fields of each kind.
#[derive(Debug, Default)]
pub struct Pruned(BTreeMap<&'static str, BTreeSet<Path>>);

impl Pruned {
    /// Notes what the API server has kept of the status that a step asked for: `answer` is the status afterwards.
    pub fn note(&mut self, step: &Step, answer: &Value) {
        let Some(Asked { kind, next, .. }) = Asked::by(step) else { return };
        let mut dropped = BTreeSet::new();
        compare(&next, answer, &mut Path::new(), &mut dropped);
        let known = self.0.entry(kind).or_default();
        // What was dropped before and is kept now: the definition was upgraded.
        known.retain(|path| !is_in(&next, path));
        known.extend(dropped);
    }

    /// Whether the API server would drop all that a step changes.
    pub fn is_in_vain(&self, step: &Step) -> bool {
        if self.0.values().all(BTreeSet::is_empty) {
            return false;
        }
        let Some(Asked { kind, mut read, mut next }) = Asked::by(step) else { return false };
        let Some(dropped) = self.0.get(kind).filter(|dropped| !dropped.is_empty()) else { return false };
        for path in dropped {
            remove(&mut read, path);
            remove(&mut next, path);
        }
        read == next
    }
}

/// A status that a step asks for.
struct Asked {
    kind: &'static str,
    /// The status that was read.
    read: Value,
    /// The status that is to be.
    next: Value,
}

impl Asked {
    /// `None`: the step writes no status.
    fn by(step: &Step) -> Option<Asked> {
        let (kind, read, next) = match step {
            Step::ClusterStatus { read, next, .. } => ("KafkaCluster", tree(&read.status), tree(&next.status)),
            Step::TopicStatus { read, next, .. } => ("KafkaTopic", tree(&read.status), tree(&next.status)),
            Step::RebalanceStatus { read, next, .. } => ("KafkaRebalance", tree(&read.status), tree(&next.status)),
            Step::Change { .. }
            | Step::Append { .. }
            | Step::Create(_)
            | Step::Bury { .. }
            | Step::Remove(_)
            | Step::Renew { .. }
            | Step::Own(_)
            | Step::Unpin { .. }
            | Step::Release { .. }
            | Step::Restart(_) => return None,
        };
        Some(Asked { kind, read, next })
    }
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
    use std::sync::Arc;

    use ottla_crds::KafkaCluster;
    use serde_json::json;

    use super::*;

    fn step(read: Value, next: Value) -> Step {
        let object = |status: Value| {
            let mut object = KafkaCluster::new("prod", serde_json::from_value(json!({})).unwrap());
            object.status = Some(serde_json::from_value(status).unwrap());
            object
        };
        Step::ClusterStatus { read: Arc::new(object(read)), next: Box::new(object(next)), news: Vec::new() }
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
        assert!(!pruned.is_in_vain(&step(none.clone(), some.clone())));
        pruned.note(&step(none.clone(), some.clone()), &none);
        assert!(pruned.is_in_vain(&step(none.clone(), some.clone())));
        assert!(pruned.is_in_vain(&step(none.clone(), others.clone())), "the same field of another item");
        assert!(!pruned.is_in_vain(&step(none.clone(), brokers(&[Some("a"), None, None]))), "another broker");

        let mut summed = some.clone();
        summed["summary"] = "Settled".into();
        assert!(!pruned.is_in_vain(&step(none.clone(), summed.clone())));
        pruned.note(&step(none.clone(), summed.clone()), &summed);
        assert!(!pruned.is_in_vain(&step(none, others)), "the definition was upgraded");
    }

    #[test]
    fn a_field_that_is_never_absent_is_dropped_if_it_has_another_value() {
        let mut pruned = Pruned::default();
        let of = |epoch: i64| json!({ "features": { "epoch": epoch } });
        pruned.note(&step(of(0), of(7)), &of(0));
        assert!(pruned.is_in_vain(&step(of(0), of(8))));
    }
}
