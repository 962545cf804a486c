//! What a broker asks of the cluster: the one queue from its rooms to `coord`.
//!
//! Every ask is answered once the cluster's objects say so *and* the asker's own image shows it, or with a refusal that
//! carries Kafka's error code.

use std::collections::BTreeMap;

use bytestring::ByteString as Str;
use ottla_access::Acl;
use ottla_access::quotas::QuotaChange;
use ottla_access::sasl::{Hash, Verifier};
use ottla_rules::assignment::{Assignment, BrokerId, LeaderEpoch};
use ottla_wire::ErrorCode;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::image::{ClusterImage, is_internal};

/// Asks that may be waiting for `coord`; a caller beyond that is refused and retries.
pub const QUEUE_BOUND: usize = 1024;

/// The sending side of the queue.
pub type AskSender = mpsc::Sender<Ask>;
/// How an ask is answered.
pub type Answer<T> = oneshot::Sender<Result<T, AskRefusal>>;

/// Why an ask was not granted: Kafka's error code and a sentence for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AskRefusal {
    /// What the wire says.
    pub code: ErrorCode,
    /// What to do about it.
    pub message: String,
}

/// What became of a change that rests on what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// It is made.
    Done,
    /// Somebody else was faster: look again, think again. The image shows what they made.
    Moved,
}

/// Whose settings in the KafkaCluster are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All brokers'.
    All,
    /// This broker's own.
    Own,
    /// Those of the group with this id.
    Group(Str),
}

impl AskRefusal {
    /// A refusal.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> AskRefusal {
        AskRefusal { code, message: message.into() }
    }

    /// The two fields that most responses have for it.
    pub fn to_wire(refused: Option<AskRefusal>) -> (ErrorCode, Option<Str>) {
        match refused {
            Some(refused) => (refused.code, Some(refused.message.into())),
            None => (ErrorCode::NONE, None),
        }
    }

    /// No topic has this name.
    pub fn unknown_topic() -> AskRefusal {
        AskRefusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")
    }

    /// No topic has this id.
    pub fn unknown_topic_id() -> AskRefusal {
        AskRefusal::new(ErrorCode::UNKNOWN_TOPIC_ID, "This server does not host this topic ID.")
    }

    /// The broker stops: nobody will answer.
    pub fn stopping() -> AskRefusal {
        AskRefusal { code: ErrorCode::COORDINATOR_NOT_AVAILABLE, message: "the broker stops".to_owned() }
    }
}

/// A change that the broker wants in the cluster's objects.
#[derive(Debug)]
pub enum Ask {
    /// Make a topic. The handler has checked the request; `coord` checks against the objects.
    CreateTopic {
        /// What to make.
        topic: NewTopic,
        /// The new topic's id.
        answer: Answer<Uuid>,
    },
    /// Delete the topic with this id.
    DeleteTopic {
        /// Which.
        topic_id: Uuid,
        /// Answered when the topic is gone from the image.
        answer: Answer<()>,
    },
    /// Grow a topic to `count` partitions.
    CreatePartitions {
        /// Which.
        topic_id: Uuid,
        /// How many it shall have in all.
        count: i32,
        /// Replicas of each new partition, or empty: the operator places them.
        assignments: Vec<Vec<BrokerId>>,
        /// Answered when the image shows them.
        answer: Answer<()>,
    },
    /// Move partitions of a topic.
    Move {
        /// Which topic.
        topic_id: Uuid,
        /// Replicas, in order of preference to lead, by partition.
        targets: BTreeMap<i32, Vec<BrokerId>>,
        /// Answered when the image shows that they move, or are there.
        answer: Answer<()>,
    },
    /// Have preferred replicas lead.
    ElectPreferred {
        /// Which topic.
        topic_id: Uuid,
        /// Which partitions: those whose preferred replica is in sync.
        partitions: Vec<i32>,
        /// Answered when the image shows them to lead.
        answer: Answer<()>,
    },
    /// Replace a topic's overrides.
    SetTopicConfig {
        /// Which.
        topic_id: Uuid,
        /// The overrides that were read.
        from: BTreeMap<String, String>,
        /// All overrides from now on.
        to: BTreeMap<String, String>,
        /// Answered when the image shows them, or that they were no longer `from`.
        answer: Answer<Swap>,
    },
    /// Replace the settings of all brokers, this broker's own, or a group's.
    SetClusterConfig {
        /// Whose.
        whose: Whose,
        /// The settings that were read.
        from: BTreeMap<String, String>,
        /// All settings from now on.
        to: BTreeMap<String, String>,
        /// Answered when the image shows them, or that they were no longer `from`.
        answer: Answer<Swap>,
    },
    /// Change the in-sync replicas of a partition that this broker leads.
    ChangeIsr {
        /// Which topic.
        topic_id: Uuid,
        /// The entry as it should be: `Assignment::shrink` or `expand` of the newest one seen.
        next: Box<Assignment>,
        /// Answered when it is written, or that the entry has changed since. The image shows what became of it.
        answer: Answer<Swap>,
    },
    /// Say what this broker still has of a partition that nobody can lead, so that the longest log may.
    Report {
        /// Which topic.
        topic_id: Uuid,
        /// Which partition.
        partition: i32,
        /// The leader epoch in which nobody led when this was measured; in another one it is not written.
        leader_epoch: LeaderEpoch,
        /// The leader epoch of its last batch; none of an empty log.
        last_epoch: LeaderEpoch,
        /// The offset after its last record.
        log_end: i64,
        /// The offset at which its log begins, also after a restart: earlier records were deleted.
        log_start: i64,
    },
    /// The files of this broker's replica of a deleted partition are gone: take it out of the entry.
    Removed {
        /// The topic that has the tombstone.
        topic_id: Uuid,
        /// Which partition.
        partition: i32,
    },
    /// Replicas of this broker have been moved away: say when their files may go.
    MovedAway {
        /// Of which topic, and the assignment that gives the partition to others.
        partitions: Vec<(TopicKey, Assignment)>,
        /// Answered when the broker's copy of the objects on disk knows all of these assignments, or later ones: a
        /// start from that copy does not count on the files any more.
        answer: oneshot::Sender<()>,
    },
    /// Change the ACLs of KafkaUsers.
    ChangeAcls {
        /// Entries that there shall be. A principal without a KafkaUser gets one.
        add: Vec<Acl>,
        /// Entries that there shall not be.
        remove: Vec<Acl>,
        /// Answered when the image shows it.
        answer: Answer<()>,
    },
    /// Change the quotas of KafkaUsers and of the KafkaCluster.
    ChangeQuotas {
        /// Which, already checked. A principal without a KafkaUser gets one.
        changes: Vec<QuotaChange>,
        /// Answered when the image shows it.
        answer: Answer<()>,
    },
    /// Change what is kept of users' passwords.
    ChangePasswords {
        /// Which, one for each user. A principal without a KafkaUser gets one.
        changes: Vec<PasswordChange>,
        /// Answered when the image shows it, with the users whose passwords clients can't change.
        answer: Answer<BTreeMap<Str, AskRefusal>>,
    },
    /// Take a block of producer ids.
    ProducerIds {
        /// Answered with the first id of a block of [`PRODUCER_ID_BLOCK`].
        answer: Answer<i64>,
    },
}

impl Ask {
    /// Why a client may not have it: `spec.wireChanges` leaves the objects to administrators of Kubernetes. `None`: it
    /// may, or brokers ask for it on their own account. The one place where that is decided, for what is asked and for
    /// what is only validated.
    pub fn refused_by(&self, image: &ClusterImage) -> Option<AskRefusal> {
        let cluster = image.no_wire_changes.as_ref()?;
        let of_topic = |name: &str| format!("KafkaTopic of the topic {name}");
        let objects = match self {
            Ask::CreateTopic { topic, .. } if is_internal(&topic.name) => return None,
            Ask::CreateTopic { topic, .. } => of_topic(&topic.name),
            Ask::DeleteTopic { topic_id, .. }
            | Ask::CreatePartitions { topic_id, .. }
            | Ask::Move { topic_id, .. }
            | Ask::SetTopicConfig { topic_id, .. } => {
                of_topic(image.topics.get(topic_id).map_or("", |topic| &*topic.name))
            }
            Ask::SetClusterConfig { .. } => format!("KafkaCluster {cluster}"),
            Ask::ChangeAcls { .. } | Ask::ChangePasswords { .. } => "KafkaUsers".to_owned(),
            Ask::ChangeQuotas { .. } => format!("KafkaUsers, or the KafkaCluster {cluster}"),
            Ask::ElectPreferred { .. }
            | Ask::ProducerIds { .. }
            | Ask::ChangeIsr { .. }
            | Ask::Removed { .. }
            | Ask::MovedAway { .. }
            | Ask::Report { .. } => return None,
        };
        let message =
            format!("spec.wireChanges of the KafkaCluster {cluster} is Refuse: change the {objects} instead.");
        Some(AskRefusal::new(ErrorCode::POLICY_VIOLATION, message))
    }

    /// Answers with a refusal, if somebody waits for one.
    pub fn refuse(self, refused: AskRefusal) {
        match self {
            Ask::CreateTopic { answer, .. } => _ = answer.send(Err(refused)),
            Ask::DeleteTopic { answer, .. }
            | Ask::CreatePartitions { answer, .. }
            | Ask::Move { answer, .. }
            | Ask::ElectPreferred { answer, .. }
            | Ask::ChangeAcls { answer, .. }
            | Ask::ChangeQuotas { answer, .. } => _ = answer.send(Err(refused)),
            Ask::SetTopicConfig { answer, .. }
            | Ask::SetClusterConfig { answer, .. }
            | Ask::ChangeIsr { answer, .. } => _ = answer.send(Err(refused)),
            Ask::ChangePasswords { answer, .. } => _ = answer.send(Err(refused)),
            Ask::ProducerIds { answer } => _ = answer.send(Err(refused)),
            Ask::Removed { .. } | Ask::MovedAway { .. } | Ask::Report { .. } => {}
        }
    }
}

/// A change of what is kept of one user's password for one mechanism. `Debug` does not print the verifier.
#[derive(Clone)]
pub struct PasswordChange {
    /// The principal's name.
    pub user: Str,
    /// Of the mechanism.
    pub hash: Hash,
    /// What is to be kept; `None`: nothing.
    pub verifier: Option<Verifier>,
}

impl std::fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PasswordChange {{ {}, {:?} }}", self.user, self.hash)
    }
}

/// A topic, by name and id.
pub type TopicKey = (Str, Uuid);

/// Producer ids per block, as in Kafka's `ProducerIdsBlock`.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// A topic to make.
#[derive(Clone, Debug, Default)]
pub struct NewTopic {
    /// Its name, already checked against Kafka's pattern.
    pub name: Str,
    /// Its partitions; `None`: the cluster's default.
    pub partitions: Option<i32>,
    /// Its replication factor; `None`: the cluster's default.
    pub replication_factor: Option<i16>,
    /// Overrides, already checked.
    pub config: BTreeMap<String, String>,
    /// Replicas of each of the `partitions`, or empty: the operator places them.
    pub assignments: Vec<Vec<BrokerId>>,
}
