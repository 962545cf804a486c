//! What the broker knows of the cluster: one immutable value, handed out on a channel.
//!
//! Only `coord` makes images, from Kubernetes objects; everybody else holds a snapshot. It says what *should* be;
//! whether a replica really runs is `replica`'s to know.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use bytestring::ByteString as Str;
use ottla_access::{Access, Authentication, ListenerAccess};
use ottla_config::{BrokerSettings, GroupSettings, TopicSettings};
use ottla_crds::names;
pub use ottla_rules::assignment::{Assignment, BrokerId, Incarnation, IsrMember, LeaderEpoch, PartitionEpoch};
use ottla_rules::features::Features;
use ottla_wire::TopicIdPartition;
use tokio::sync::watch;
use uuid::Uuid;

use crate::shared_map::SharedMap;

/// The newest image, and word of the next.
pub type ImageReceiver = watch::Receiver<Arc<ClusterImage>>;

/// Whether the newest image shows the cluster as it is now, as far as anybody here can say: the API server has answered
/// a moment ago.
pub type IsCurrent = Arc<dyn Fn() -> bool + Send + Sync>;

/// Who this broker is: its id, and the id of what its disk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Me {
    /// The broker's id.
    pub id: BrokerId,
    /// Its data directory's incarnation.
    pub incarnation: Incarnation,
}

/// The cluster as the API server last showed it.
#[derive(Clone, Debug)]
pub struct ClusterImage {
    /// Kafka's cluster id: 22 characters of base64.
    pub cluster_id: Str,
    /// The listener on which brokers talk to each other.
    pub inter_broker_listener: Str,
    /// Every broker that the cluster has, alive or not.
    pub brokers: BTreeMap<BrokerId, Broker>,
    /// The brokers that the cluster is to have; none: nobody has said.
    pub wanted_brokers: BTreeSet<BrokerId>,
    /// Topics by id. Iterate [`ClusterImage::topic_names`] for Kafka's order.
    pub topics: Topics,
    /// Topic ids by name.
    pub topic_names: SharedMap<Str, Uuid>,
    /// Topics whose assignments have a tombstone: their replicas remove their files.
    pub deleted: Topics,
    /// This broker's settings, resolved: those of the cluster's spec, and those that it alone has.
    pub settings: Arc<BrokerSettings>,
    /// The groups with settings of their own, by id.
    pub groups: Arc<BTreeMap<Str, Group>>,
    /// Who may connect, do what, and how much.
    pub access: Arc<Access>,
    /// The features that all brokers support.
    pub features: Features,
    /// The KafkaCluster's name, if `spec.wireChanges` has its objects changed by administrators of Kubernetes alone;
    /// `None`: clients may change them.
    pub no_wire_changes: Option<Str>,
    /// Whether the KafkaCluster is being deleted: then all brokers stop, and none waits for another to take over.
    pub ending: bool,
    /// The bytes per second at which replicas that reassignments add are copied to a broker; `None`: no limit.
    pub moves_rate: Option<u64>,
    /// Entries that are known in a newer version than the API server shows: it was set back.
    pub newer_than_shown: usize,
    /// Entries of which the API server shows another history than the one that is acted on.
    pub forked: usize,
    /// What [`ClusterImage::counts_on_dead_plain_broker`] says of it.
    pub plain_in_sync: bool,
}

/// Topics by id, in the same order in every process that has seen the same objects: a simulation must play a seed twice
/// in the same way. What has changed since another image is found without a look at everything.
pub type Topics = SharedMap<Uuid, Arc<Topic>>;

/// A broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: BrokerId,
    /// Its rack or zone; `None`: not known.
    pub rack: Option<Str>,
    /// Whether its Lease is being renewed: clients are sent only to live brokers.
    pub alive: bool,
    /// Whether it asked to lead nothing: it will go soon.
    pub draining: bool,
    /// Where clients reach it, by listener name.
    pub endpoints: BTreeMap<Str, Endpoint>,
    /// Its pod's address, in case nobody answers for its name; `None`: not known.
    pub address: Option<IpAddr>,
}

impl Broker {
    /// Whether it lacks the listener where brokers show certificates to each other.
    fn is_plain(&self) -> bool {
        !self.endpoints.contains_key(names::REPLICATION_LISTENER)
    }
}

/// How brokers reach another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// On their listener.
    pub endpoint: Endpoint,
    /// Its pod's address; `None`: not known.
    pub address: Option<IpAddr>,
    /// The name in its certificate, if the listener has TLS; `None`: it is plain.
    pub tls_name: Option<String>,
    /// Where brokers without certificates reach it: the operator gives brokers certificates when they are restarted.
    /// `None`: it has no inter-broker listener.
    pub plain: Option<Endpoint>,
}

/// An address that is advertised to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address.
    pub host: Str,
    /// TCP port.
    pub port: u16,
}

/// A topic and the assignments of its partitions.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its id; a topic that is deleted and made again has another one.
    pub id: Uuid,
    /// Its name.
    pub name: Str,
    /// The overrides in its spec, for DescribeConfigs.
    pub config: BTreeMap<String, String>,
    /// All settings, resolved against the broker's.
    pub settings: Arc<TopicSettings>,
    /// Assignments by partition number, without gaps: a topic shows only the partitions before its first unassigned
    /// one.
    pub partitions: Vec<Assignment>,
}

/// A group with settings of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// They as they stand in the spec, for DescribeConfigs.
    pub config: BTreeMap<String, String>,
    /// All settings, resolved against the broker's.
    pub settings: GroupSettings,
}

impl Topic {
    /// Whether Kafka keeps its own records here (clients may read, not write).
    pub fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }
}

/// The topic that holds committed offsets and group metadata.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// The topic that holds the state of transactions.
pub const TRANSACTION_STATE: &str = "__transaction_state";

/// The topic that holds the state of share groups.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";

/// Whether Kafka keeps its own records in a topic of this name.
pub fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE)
}

impl Default for ClusterImage {
    fn default() -> ClusterImage {
        ClusterImage {
            cluster_id: Str::new(),
            inter_broker_listener: Str::new(),
            brokers: BTreeMap::new(),
            wanted_brokers: BTreeSet::new(),
            topics: Topics::default(),
            topic_names: SharedMap::default(),
            deleted: Topics::default(),
            settings: Arc::new(BrokerSettings::resolve(&BTreeMap::new())),
            groups: Arc::default(),
            access: Arc::default(),
            features: Features::default(),
            no_wire_changes: None,
            ending: false,
            moves_rate: None,
            newer_than_shown: 0,
            forked: 0,
            plain_in_sync: false,
        }
    }
}

impl ClusterImage {
    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(self.topic_names.get(name)?)
    }

    /// The brokers that can hold new replicas, also while they are away: all but those that are to leave.
    pub fn members(&self) -> impl Iterator<Item = BrokerId> + use<'_> {
        let stays = |id: &BrokerId| self.wanted_brokers.is_empty() || self.wanted_brokers.contains(id);
        self.brokers.keys().copied().filter(stays)
    }

    /// Another topic that would share the name of a metric with one of this name.
    pub fn colliding(&self, name: &str) -> Option<&Str> {
        self.topic_names.keys().find(|other| names::colliding(other, name))
    }

    /// The settings that a group has for itself.
    pub fn group_config(&self, group: &str) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.groups.get(group).map_or(&NONE, |group| &group.config)
    }

    /// A partition's assignment.
    pub fn assignment(&self, topic: &str, partition: i32) -> Option<&Assignment> {
        self.topic(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    /// A partition by its topic's id: its topic and its assignment.
    pub fn partition(&self, key: TopicIdPartition) -> Option<(&Arc<Topic>, &Assignment)> {
        let topic = self.topics.get(&key.topic_id)?;
        Some((topic, topic.partitions.get(usize::try_from(key.partition).ok()?)?))
    }

    /// The same, if `broker` is to have a replica of it.
    pub fn replica_of(&self, broker: BrokerId, key: TopicIdPartition) -> Option<(&Arc<Topic>, &Assignment)> {
        self.partition(key).filter(|(_, assignment)| assignment.replicas.contains(&broker))
    }

    /// Where clients of `listener` reach broker `id`, if it is alive.
    pub fn endpoint(&self, id: BrokerId, listener: &str) -> Option<&Endpoint> {
        self.brokers.get(&id).filter(|broker| broker.alive)?.endpoints.get(listener)
    }

    /// How brokers reach broker `id`; `None`: nobody knows. Also one that looks dead: who judges that may be wrong. A
    /// broker that has the listener for replication, which has TLS, is reached there and nowhere else.
    pub fn route(&self, id: BrokerId) -> Option<Route> {
        let broker = self.brokers.get(&id)?;
        let secure = broker.endpoints.get(names::REPLICATION_LISTENER);
        let plain = broker.endpoints.get(&self.inter_broker_listener);
        let endpoint = secure.or(plain)?.clone();
        let tls_name = secure.map(|_| names::broker_server_name(id));
        Some(Route { endpoint, address: broker.address, tls_name, plain: plain.cloned() })
    }

    /// Whether brokers connect to this listener, of those that a broker has: to that for replication, or else to the
    /// inter-broker listener.
    pub fn is_of_brokers(&self, listener: &str, listeners: &[Str]) -> bool {
        let has_replication = listeners.iter().any(|name| **name == *names::REPLICATION_LISTENER);
        listener == names::REPLICATION_LISTENER
            || *self.inter_broker_listener == *listener && (!has_replication || self.has_plain_brokers(listener))
    }

    /// Whether this broker has the listener where brokers show certificates to each other.
    pub fn replicates_securely(&self, id: BrokerId) -> bool {
        self.brokers.get(&id).is_some_and(|broker| !broker.is_plain())
    }

    /// Whether clients of this listener may be brokers that have no certificates yet: the cluster has got authorities
    /// or authorization, and not all of its live brokers were restarted since. They replicate as they did before. One
    /// that is dead may stay so, and does not keep this way open, unless others count on it; when it is live again, it
    /// is open again. Where no broker has a certificate, there is no other way, and it is open even if all look dead.
    pub fn has_plain_brokers(&self, listener: &str) -> bool {
        let is_plain = |access: &ListenerAccess| !access.tls && access.authentication == Authentication::None;
        self.brokers.len() > 1
            && *self.inter_broker_listener == *listener
            && self.access.listeners.get(listener).is_some_and(is_plain)
            && (self.live_brokers().any(Broker::is_plain) || !self.has_certificates() || self.plain_in_sync)
    }

    /// Whether any broker shows others a certificate.
    fn has_certificates(&self) -> bool {
        !self.brokers.values().all(Broker::is_plain)
    }

    /// Whether a broker that looks dead and has no certificates yet, as some others have, is in sync with those that
    /// serve its partition. Who judges that may be wrong, and while the API server is away nobody judges it again: the
    /// broker may have come back long ago, and acks=all waits for every in-sync member. A leader that can asks for the
    /// ISR without it, so that a broker that stays dead is counted on for seconds.
    pub fn counts_on_dead_plain_broker(&self) -> bool {
        let dead = |id: BrokerId| self.brokers.get(&id).is_some_and(|broker| !broker.alive && broker.is_plain());
        // A look at each partition for each image is too much where the answer changes nothing.
        if !self.has_certificates() || !self.brokers.keys().any(|id| dead(*id)) {
            return false;
        }
        let counts = |partition: &Assignment| {
            let is_served = partition.leader.is_some() && partition.isr.len() > 1;
            is_served && partition.isr.iter().any(|member| dead(member.broker))
        };
        self.topics.values().any(|topic| topic.partitions.iter().any(counts))
    }

    /// The live brokers, in order of id.
    pub fn live_brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values().filter(|broker| broker.alive)
    }
}
