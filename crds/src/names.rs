//! Names and labels of objects, as pure functions of what the objects describe, so that no component needs to look up a
//! name.

use std::fmt::Write as _;

use uuid::Uuid;

use ottla_rules::assignment::BrokerId;

/// The label with the cluster's name, on every object that belongs to one.
pub const CLUSTER_LABEL: &str = "ottla.io/cluster";
/// The label with the pool's name, on the pods and claims of brokers of a pool beside the default one.
pub const POOL_LABEL: &str = "ottla.io/pool";
/// The annotation with a hash of what the pool's pods have of their own, on these pods. Absent: nothing.
pub const POOL_PODS_ANNOTATION: &str = "ottla.io/pool-pods";
/// The label with the topic's id, on assignments.
pub const TOPIC_ID_LABEL: &str = "ottla.io/topic-id";
/// The label with a hash of the topic's name, which may be too long for a label, on assignments.
pub const TOPIC_LABEL: &str = "ottla.io/topic";
/// Label of the definitions: the number of the contract that they belong to, `ottla_crds::CONTRACT`.
pub const CONTRACT_LABEL: &str = "ottla.io/contract";
/// The annotation with a broker's endpoints, a JSON list of [`crate::Endpoint`], on its Lease.
pub const ENDPOINTS_ANNOTATION: &str = "ottla.io/endpoints";
/// The annotation with the address of a broker's HTTP port, on its Lease; absent on Kubernetes, where it is
/// [`HTTP_PORT`] of the pod.
pub const HTTP_ANNOTATION: &str = "ottla.io/http";
/// The annotation with the ids of unheard brokers, on a broker's Lease: leaders that do not answer this follower.
pub const UNHEARD_ANNOTATION: &str = "ottla.io/unheard";
/// The annotation with the names of missing topics, on a broker's Lease: the broker holds partitions of them, and their
/// assignments were removed without a tombstone. An asterisk: too many to name.
pub const MISSING_ANNOTATION: &str = "ottla.io/missing";
/// The annotation with the start counter and the ticks that a broker's data directory has counted (`7/1234`), on its
/// Lease. A directory with fewer ticks is an older copy.
pub const TICKS_ANNOTATION: &str = "ottla.io/ticks";
/// The annotation with the resource version of the holder's previous write of its Lease; 0 if there was none. If the
/// Lease's own version is lower, the API server was set back and the holder has not noticed yet.
pub const SEEN_ANNOTATION: &str = "ottla.io/seen";
/// The annotation with the number of assignment entries that a broker knows in a newer version than the API server
/// shows, on its Lease; [`NOT_COMPARED`] until it has compared all of them.
pub const NEWER_ANNOTATION: &str = "ottla.io/newer";
/// The value of [`NEWER_ANNOTATION`] while a broker lists all objects again.
pub const NOT_COMPARED: &str = "unknown";
/// The annotation with the forked partitions, on a broker's Lease: the API server shows another history of them than
/// the one that the broker acts on. `topic-0,topic-1`; an asterisk: too many to name.
pub const FORKED_ANNOTATION: &str = "ottla.io/forked";
/// The annotation that says how a broker's disk is, on its Lease: [`HANGING`]; or [`FILLING`] from 85 % on, until it is
/// below 80 %; else absent or empty.
pub const DISK_ANNOTATION: &str = "ottla.io/disk";
/// The value of [`DISK_ANNOTATION`] of a disk that hangs: the broker asks to lead nothing that others can lead.
pub const HANGING: &str = "hanging";
/// The value of [`DISK_ANNOTATION`] of a disk that fills up.
pub const FILLING: &str = "filling";
/// The annotation with hashes of what a broker has loaded, on its Lease: of the authorities of brokers, of those of
/// users, and of its own certificate, divided by blanks. See [`digest`].
pub const TLS_ANNOTATION: &str = "ottla.io/tls";
/// The annotation with the features that a broker supports, on its Lease; see `ottla_rules::features`.
pub const FEATURES_ANNOTATION: &str = "ottla.io/features";

/// What all brokers of a cluster share: their ServiceAccount, Role and RoleBinding.
pub fn brokers(cluster: &str) -> String {
    format!("{cluster}-broker")
}

/// The StatefulSet of a pool; `None`: the default pool.
pub fn stateful_set(cluster: &str, pool: Option<&str>) -> String {
    pool.map_or_else(|| brokers(cluster), |pool| format!("{cluster}-broker-{pool}"))
}

/// The pod of a broker of this pool.
pub fn pod(cluster: &str, pool: Option<&str>, id: BrokerId) -> String {
    format!("{}-{id}", stateful_set(cluster, pool))
}

/// The claim of the volume of a broker of this pool.
pub fn claim(cluster: &str, pool: Option<&str>, id: BrokerId) -> String {
    format!("{DATA_VOLUME}-{}", pod(cluster, pool, id))
}

/// The pool and the broker that a pod of this name belongs to; `None` for other names.
pub fn of_pod<'a>(cluster: &str, name: &'a str) -> Option<(Option<&'a str>, BrokerId)> {
    let rest = name.strip_prefix(cluster)?.strip_prefix("-broker-")?;
    let (pool, digits) = rest.rsplit_once('-').map_or((None, rest), |(pool, digits)| (Some(pool), digits));
    let id = BrokerId(digits.parse().ok()?);
    (id.0 >= 0 && pod(cluster, pool, id) == name).then_some((pool, id))
}

/// The pool and the broker that a claim of this name belongs to; `None` for other names.
pub fn of_claim<'a>(cluster: &str, name: &'a str) -> Option<(Option<&'a str>, BrokerId)> {
    of_pod(cluster, name.strip_prefix(DATA_VOLUME)?.strip_prefix('-')?)
}

/// The ConfigMap that keeps a revision of the brokers' pods.
pub fn revision(cluster: &str, revision: &str) -> String {
    format!("{cluster}-broker-{revision}")
}

/// The half of a revision's name that stands for its template and its file; the other half, if there is one, stands for
/// what pools have of their own.
pub fn template_half(revision: &str) -> &str {
    revision.split_once('-').map_or(revision, |(template, _)| template)
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

/// The volume with a broker's data.
pub const DATA_VOLUME: &str = "data";

/// How many Secrets hold what is kept of passwords: each has room for some 2,000 users.
pub const SCRAM_SHARDS: u8 = 8;
/// The key of random bytes in one of these Secrets, from which the salts come that unknown users are shown.
pub const SCRAM_SALT: &str = "salt";
/// The number of the Secret that has them: one for all brokers, so that all show the same.
pub const SCRAM_SALT_SHARD: u8 = 0;

/// The Secret of this number with what is kept of passwords.
pub fn scram_secret(cluster: &str, shard: u8) -> String {
    format!("{cluster}-scram-{shard}")
}

/// The Secret with what is kept of passwords that clients set. Brokers write its entries; the operator creates it, and
/// again, empty, if somebody deletes it: then its users have no password until clients set one.
pub fn scram_by_clients(cluster: &str) -> String {
    format!("{cluster}-scram-by-clients")
}

/// The Secret with the key that issues the brokers' certificates. Only the operator reads it.
pub fn cluster_ca(cluster: &str) -> String {
    format!("{cluster}-cluster-ca")
}

/// The Secret with the authorities of the brokers' certificates (`ca.crt`), which clients trust.
pub fn cluster_ca_cert(cluster: &str) -> String {
    format!("{cluster}-cluster-ca-cert")
}

/// The Secret with the key that issues users' certificates. Only the operator reads it.
pub fn clients_ca(cluster: &str) -> String {
    format!("{cluster}-clients-ca")
}

/// The Secret with the authorities of users' certificates (`ca.crt`), which brokers trust.
pub fn clients_ca_cert(cluster: &str) -> String {
    format!("{cluster}-clients-ca-cert")
}

/// The Secret with the brokers' certificates and keys (`<id>.crt`, `<id>.key`).
pub fn broker_certificates(cluster: &str) -> String {
    format!("{cluster}-brokers")
}

/// The Certificate of cert-manager for a listener that names an issuer, and the Secret that cert-manager keeps for it.
pub fn listener_certificate(cluster: &str, listener: &str) -> String {
    format!("{cluster}-listener-{listener}")
}

/// The ConfigMap with the public keys of issuers of tokens, which the operator reads and brokers use. Each entry is an
/// [`IssuerKeys`](crate::IssuerKeys).
pub fn issuer_keys(cluster: &str) -> String {
    format!("{cluster}-keys")
}

/// The key of the authorities in Secrets.
pub const CA_CERTIFICATE: &str = "ca.crt";
/// The key of an authority's private key in Secrets.
pub const CA_KEY: &str = "ca.key";

/// The listener on which brokers reach each other under TLS. No listener of a KafkaCluster can have this name.
pub const REPLICATION_LISTENER: &str = "replication";
/// Its port.
pub const REPLICATION_PORT: u16 = 9091;

/// The port on which brokers serve metrics, probes and loads on Kubernetes.
pub const HTTP_PORT: u16 = 9404;

/// The name in a broker's certificate that other brokers and the operator check, whatever address they connect to. The
/// authority is that of one cluster, so the id is enough.
pub fn broker_server_name(id: BrokerId) -> String {
    format!("broker-{id}.ottla.internal")
}

/// A broker's Lease, whatever its pool.
pub fn broker(cluster: &str, id: BrokerId) -> String {
    format!("{cluster}-broker-{id}")
}

/// The broker that a Lease of this name belongs to; `None` for other names.
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

/// The name of the `KafkaTopic` for a topic that a Kafka client creates: the topic's own name if Kubernetes allows it.
pub fn topic(cluster: &str, topic_name: &str) -> String {
    if legal(topic_name) == topic_name { topic_name.to_owned() } else { topic_with_suffix(cluster, topic_name) }
}

/// The name of the `KafkaUser` for a principal that has none: the principal's own name if Kubernetes allows it.
pub fn user(cluster: &str, principal: &str) -> String {
    let legal = legal(principal);
    if legal == principal { legal } else { user_with_suffix(cluster, principal) }
}

/// As [`user`], if that name belongs to an object of another principal, or of another cluster in the namespace.
pub fn user_with_suffix(cluster: &str, principal: &str) -> String {
    let suffix = fnv1a(&[cluster, "/", principal]);
    format!("{}-{suffix:016x}", legal(principal)).trim_start_matches('-').to_owned()
}

/// As [`topic`], if that name belongs to an object of another topic, or of another cluster in the namespace.
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

/// FNV-1a with 64 bits. The result is the same in all versions and on all machines, which the standard library's
/// hashers do not promise.
fn fnv1a(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// A short hash of the content of a file, for [`TLS_ANNOTATION`]: it says whether two contents are the same, and needs
/// no secret.
pub fn digest(content: &str) -> String {
    format!("{:016x}", fnv1a(&[content.trim()]))
}

/// Half of a [`digest`], for what people read and type.
pub fn short_digest(content: &str) -> String {
    let mut digest = digest(content);
    digest.truncate(8);
    digest
}

/// Whether two different topics would share the name of a metric, where dots become underscores. Kafka refuses to
/// create the second of them.
pub fn colliding(one: &str, other: &str) -> bool {
    let in_metrics = |byte| if byte == b'.' { b'_' } else { byte };
    one != other && one.bytes().map(in_metrics).eq(other.bytes().map(in_metrics))
}

/// The key that two topics share if they would share the name of a metric.
pub fn without_dots(topic: &str) -> String {
    topic.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_lease_names_its_broker() {
        assert_eq!(broker("prod", BrokerId(12)), "prod-broker-12");
        assert_eq!(broker_id("prod", "prod-broker-12"), Some(BrokerId(12)));
        for other in
            ["prod-broker-", "prod-broker-012", "prod-broker-+1", "prod-broker--1", "prod-2-broker-1", "prod-operator"]
        {
            assert_eq!(broker_id("prod", other), None, "{other}");
        }
    }

    #[test]
    fn the_name_of_a_pod_names_its_pool_and_its_broker() {
        for (pool, id, name) in [
            (None, 12, "prod-broker-12"),
            (Some("fast"), 100, "prod-broker-fast-100"),
            (Some("fast-arm"), 7, "prod-broker-fast-arm-7"),
        ] {
            let id = BrokerId(id);
            assert_eq!((pod("prod", pool, id).as_str(), of_pod("prod", name)), (name, Some((pool, id))));
            let claim = claim("prod", pool, id);
            assert_eq!((claim.as_str(), of_claim("prod", &claim)), (&*format!("data-{name}"), Some((pool, id))));
        }
        for other in
            ["prod-broker-", "prod-broker-fast", "prod-broker-fast-012", "prod-broker-fast-+1", "prod-2-broker-1"]
        {
            assert_eq!(of_pod("prod", other), None, "{other}");
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
    fn names_that_are_equal_in_kubernetes_get_different_objects() {
        let names = ["Orders", "orders_", "_orders", "ORDERS", "orders"].map(|name| topic("prod", name));
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
        assert_ne!(topic("prod", "__consumer_offsets"), topic("test", "__consumer_offsets"));
    }

    #[test]
    fn kubernetes_accepts_every_name() {
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
