//! Names and labels of objects: pure functions of what the objects are about, so that nobody has to look one up.

use std::fmt::Write as _;

use uuid::Uuid;

use ottla_rules::assignment::BrokerId;

/// The label with the cluster's name, on every object that belongs to one.
pub const CLUSTER_LABEL: &str = "ottla.io/cluster";
/// The label with the topic's id, on assignments.
pub const TOPIC_ID_LABEL: &str = "ottla.io/topic-id";
/// The label with a number for the topic's name, which may be too long for one, on assignments.
pub const TOPIC_LABEL: &str = "ottla.io/topic";
/// The annotation with a broker's endpoints, a JSON list of [`crate::Endpoint`], on its Lease.
pub const ENDPOINTS_ANNOTATION: &str = "ottla.io/endpoints";
/// The annotation with the ids of brokers that a broker follows and does not hear, on its Lease.
pub const UNHEARD_ANNOTATION: &str = "ottla.io/unheard";
/// The annotation with the names of topics of which a broker holds partitions that no assignment tells of any more, on
/// its Lease; an asterisk where they are too many to name.
pub const MISSING_ANNOTATION: &str = "ottla.io/missing";
/// The annotation with what a broker's data directory has counted while it was in use, on its Lease, behind the number
/// of the start that says so (`7/1234`): a directory that has counted less is an older copy.
pub const TICKS_ANNOTATION: &str = "ottla.io/ticks";
/// The annotation with the resource version in which the holder of a Lease wrote it before; 0 if it did not. A Lease
/// whose own version is lower was written after the API server was set back, of which its holder did not know yet.
pub const SEEN_ANNOTATION: &str = "ottla.io/seen";
/// The annotation with how many entries of assignments a broker knows in a newer version than the API server shows, on
/// its Lease; [`NOT_COMPARED`] until it has compared all of them.
pub const NEWER_ANNOTATION: &str = "ottla.io/newer";
/// What [`NEWER_ANNOTATION`] says while a broker lists everything anew.
pub const NOT_COMPARED: &str = "unknown";
/// The annotation with the partitions of which the API server shows another history than the one that a broker acts on,
/// on its Lease: `topic-0,topic-1`, an asterisk where they are too many to name.
pub const FORKED_ANNOTATION: &str = "ottla.io/forked";

/// The StatefulSet whose pods are the brokers; also the name of their ConfigMap, ServiceAccount, Role and RoleBinding.
pub fn brokers(cluster: &str) -> String {
    format!("{cluster}-broker")
}

/// The headless Service that gives each pod its name.
pub fn headless_service(cluster: &str) -> String {
    format!("{cluster}-brokers")
}

/// The Service of all brokers that are ready.
pub fn bootstrap_service(cluster: &str) -> String {
    format!("{cluster}-bootstrap")
}

/// The Service of one broker on one listener.
pub fn broker_service(cluster: &str, id: BrokerId, listener: &str) -> String {
    format!("{cluster}-broker-{id}-{listener}")
}

/// The claim of a broker's volume.
pub fn claim(cluster: &str, id: BrokerId) -> String {
    format!("{DATA_VOLUME}-{}", broker(cluster, id))
}

/// The volume with a broker's data.
pub const DATA_VOLUME: &str = "data";

/// A broker's Lease, and its pod.
pub fn broker(cluster: &str, id: BrokerId) -> String {
    format!("{cluster}-broker-{id}")
}

/// The broker whose Lease or pod this is.
pub fn broker_id(cluster: &str, object: &str) -> Option<BrokerId> {
    let digits = object.strip_prefix(cluster)?.strip_prefix("-broker-")?;
    let id = BrokerId(digits.parse().ok()?);
    (id.0 >= 0 && broker(cluster, id) == object).then_some(id)
}

/// The `KafkaAssignment` of a topic's 64 partitions from `first` on. The topic's id makes it unique: the tombstone of
/// an earlier topic of the same name may still be there.
pub fn assignment(topic_name: &str, topic_id: Uuid, first: i32) -> String {
    format!("{}.{}.{first}", legal(topic_name), topic_id.simple())
}

/// The value of [`TOPIC_LABEL`].
pub fn topic_label(topic_name: &str) -> String {
    format!("{:016x}", fnv1a(&[topic_name]))
}

/// The `KafkaTopic` for a topic made on the wire: the topic's own name where Kubernetes allows it.
pub fn topic(cluster: &str, topic_name: &str) -> String {
    if legal(topic_name) == topic_name { topic_name.to_owned() } else { topic_with_suffix(cluster, topic_name) }
}

/// The same for a name that is taken by an object about another topic, or one of another cluster in the namespace.
pub fn topic_with_suffix(cluster: &str, topic_name: &str) -> String {
    format!("{}-{:016x}", legal(topic_name), fnv1a(&[cluster, "/", topic_name]))
}

/// The nearest name that Kubernetes allows (lower case, digits, dashes and dots, beginning and ending with the former,
/// no empty label), short enough to append to.
fn legal(name: &str) -> String {
    const LONGEST: usize = 190; // of 253; a uuid, a number and dots come behind it
    let mut legal = String::new();
    for character in name.chars().take(LONGEST) {
        match character.to_ascii_lowercase() {
            '.' if legal.is_empty() || legal.ends_with(['.', '-']) => {}
            '.' => legal.push('.'),
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => legal.push(c),
            _ if legal.is_empty() || legal.ends_with('.') => {}
            _ => legal.push('-'),
        }
    }
    legal.truncate(legal.trim_end_matches(['-', '.']).len());
    if legal.is_empty() {
        let _ = write!(legal, "topic");
    }
    legal
}

/// FNV-1a of 64 bits: stable across versions and machines, which the standard library's hashers don't promise.
fn fnv1a(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Whether two different topics would share the name of a metric, where dots become underscores. Kafka refuses to
/// create the second of them.
pub fn colliding(one: &str, other: &str) -> bool {
    let in_metrics = |byte| if byte == b'.' { b'_' } else { byte };
    one != other && one.bytes().map(in_metrics).eq(other.bytes().map(in_metrics))
}

/// What topics that would share the name of a metric have in common.
pub fn without_dots(topic: &str) -> String {
    topic.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_lease_tells_whose_it_is() {
        assert_eq!(broker("prod", BrokerId(12)), "prod-broker-12");
        assert_eq!(broker_id("prod", "prod-broker-12"), Some(BrokerId(12)));
        for other in
            ["prod-broker-", "prod-broker-012", "prod-broker-+1", "prod-broker--1", "prod-2-broker-1", "prod-operator"]
        {
            assert_eq!(broker_id("prod", other), None, "{other}");
        }
    }

    #[test]
    fn a_topics_object_has_its_name_where_kubernetes_allows_it() {
        for legal in ["orders", "orders.eu-1", "0"] {
            assert_eq!(topic("prod", legal), legal);
        }
        for (name, start) in [
            ("Orders", "orders-"),
            ("__consumer_offsets", "consumer-offsets-"),
            ("orders_eu.", "orders-eu-"),
            ("a..b", "a.b-"),
            ("a.-b", "a.b-"),
            ("a-.b", "a-b-"),
            ("__", "topic-"),
        ] {
            let object = topic("prod", name);
            assert!(object.starts_with(start), "{name}: {object}");
            assert_eq!(object.len(), start.len() + 16, "{name}: {object}");
        }
    }

    #[test]
    fn names_that_kubernetes_could_not_tell_apart_get_different_objects() {
        let names = ["Orders", "orders_", "_orders", "ORDERS", "orders"].map(|name| topic("prod", name));
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
        assert_ne!(topic("prod", "__consumer_offsets"), topic("test", "__consumer_offsets"));
    }

    #[test]
    fn every_name_is_one_that_kubernetes_takes() {
        let id = Uuid::from_u128(0x8c8d_9f0e);
        for name in ["x".repeat(249), "_".repeat(249), ".-".repeat(124), "A.b_C-".repeat(40), "-a-.-b-".to_owned()] {
            for object in [topic("prod", &name), topic_with_suffix("prod", &name), assignment(&name, id, 64)] {
                let label = |label: &str| {
                    !label.is_empty()
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                };
                assert!(object.len() <= 253 && object.split('.').all(label), "{name}: {object}");
            }
        }
        assert_eq!(assignment("orders", id, 64), "orders.0000000000000000000000008c8d9f0e.64");
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert!(colliding("a.b", "a_b") && colliding("a.b_c", "a_b.c"));
        assert!(!colliding("a.b", "a.b") && !colliding("a.b", "a-b") && !colliding("a.", "a_b"));
    }
}
