//! What groups obey: the brokers' settings, and what one group has of its own.
//!
//! Most settings of groups come in four: `group.share.session.timeout.ms` is that of all share groups,
//! `share.session.timeout.ms` that of one, and both lie between `group.share.min.session.timeout.ms` and
//! `group.share.max.session.timeout.ms` (Kafka's `GroupCoordinatorConfig`, `ShareGroupConfig` and `GroupConfig`).

use std::time::Duration;

use crate::Config;
use crate::getter::Getter;
use crate::layers::{Given, Overrides};
use crate::offset_reset::OffsetReset;
use crate::setting::{Entity, SettingError};

/// The settings that have bounds, by the kind of their group.
const BOUNDED: [(&str, &str); 12] = [
    ("consumer", "heartbeat.interval.ms"),
    ("consumer", "session.timeout.ms"),
    ("consumer", "assignment.interval.ms"),
    ("share", "heartbeat.interval.ms"),
    ("share", "session.timeout.ms"),
    ("share", "record.lock.duration.ms"),
    ("share", "delivery.count.limit"),
    ("share", "partition.max.record.locks"),
    ("share", "assignment.interval.ms"),
    ("streams", "heartbeat.interval.ms"),
    ("streams", "session.timeout.ms"),
    ("streams", "assignment.interval.ms"),
];

/// The kinds of groups whose members send heartbeats to be assigned something.
const KINDS: [&str; 3] = ["consumer", "share", "streams"];

/// What members of a group obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberSettings {
    /// How long a member may be silent.
    pub session_timeout: Duration,
    /// How often a member sends heartbeats.
    pub heartbeat_interval: Duration,
    /// The shortest time between two target assignments (KIP-1263).
    pub assignment_interval: Duration,
}

/// What the members of a share group get of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharingSettings {
    /// Where the group begins.
    pub offset_reset: OffsetReset,
    /// Whether records of open and aborted transactions are held back.
    pub read_committed: bool,
    /// How long a member has a record before another one gets it.
    pub record_lock_duration: Duration,
    /// How often a record is delivered before it is archived.
    pub delivery_count_limit: i16,
    /// How many records may be in flight.
    pub max_record_locks: i32,
    /// Whether members may renew their hold on a record.
    pub renew_enabled: bool,
}

/// What a streams group obeys besides what its members do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandbySettings {
    /// How many standby copies each stateful task has.
    pub standby_replicas: usize,
    /// How long the first assignment of an empty group waits for more members.
    pub initial_rebalance_delay: Duration,
}

/// What consumer groups (KIP-848) obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerGroupSettings {
    /// Of groups without settings of their own.
    pub members: MemberSettings,
    /// The largest number of members of a group.
    pub max_size: usize,
    /// Which way groups with members may change their protocol.
    pub migration: MigrationPolicy,
    /// How often the topics of a regular expression are looked up again.
    pub regex_refresh_interval: Duration,
}

/// What share groups (KIP-932) obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareGroupSettings {
    /// Of groups without settings of their own.
    pub members: MemberSettings,
    /// Of groups without settings of their own.
    pub sharing: SharingSettings,
    /// The largest number of members of a group.
    pub max_size: usize,
    /// The largest number of share sessions of a broker.
    pub max_sessions: usize,
}

/// What streams groups (KIP-1071) obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamsGroupSettings {
    /// Of groups without settings of their own.
    pub members: MemberSettings,
    /// Of groups without settings of their own.
    pub standby: StandbySettings,
    /// The largest number of members of a group.
    pub max_size: usize,
}

/// Which way groups with members may change their protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// To the consumer protocol and back.
    Bidirectional,
    /// To the consumer protocol.
    Upgrade,
    /// Back to the classic protocol.
    Downgrade,
    /// Not at all.
    Disabled,
}

impl MigrationPolicy {
    /// The policy of this name, which was checked.
    fn from_name(name: &str) -> MigrationPolicy {
        match &*name.to_lowercase() {
            "upgrade" => MigrationPolicy::Upgrade,
            "downgrade" => MigrationPolicy::Downgrade,
            "disabled" => MigrationPolicy::Disabled,
            _ => MigrationPolicy::Bidirectional,
        }
    }
}

/// What one group obeys, of whichever kind it is: its own settings, or the brokers' where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// As a consumer group.
    pub consumer: MemberSettings,
    /// As a share group.
    pub share: MemberSettings,
    /// As a share group.
    pub sharing: SharingSettings,
    /// As a streams group.
    pub streams: MemberSettings,
    /// As a streams group.
    pub standby: StandbySettings,
}

impl GroupSettings {
    pub(crate) fn read(own: &Config, given: &Given) -> GroupSettings {
        let get = OfGroup { own: of_group(own, given), broker: of_brokers(given) };
        GroupSettings {
            consumer: get.members("consumer"),
            share: get.members("share"),
            sharing: SharingSettings {
                record_lock_duration: get.millis("share", "record.lock.duration.ms"),
                delivery_count_limit: get.number("share", "delivery.count.limit"),
                max_record_locks: get.number("share", "partition.max.record.locks"),
                ..unbounded_sharing(&get.own)
            },
            streams: get.members("streams"),
            standby: StandbySettings {
                standby_replicas: get.standby_replicas(),
                initial_rebalance_delay: get.own.millis("streams.initial.rebalance.delay.ms"),
            },
        }
    }
}

impl ConsumerGroupSettings {
    pub(crate) fn read(get: &Getter<'_>) -> ConsumerGroupSettings {
        ConsumerGroupSettings {
            members: members(get, "consumer"),
            max_size: get.number("group.consumer.max.size"),
            migration: MigrationPolicy::from_name(&get.text("group.consumer.migration.policy")),
            regex_refresh_interval: get.millis("group.consumer.regex.refresh.interval.ms"),
        }
    }
}

impl ShareGroupSettings {
    pub(crate) fn read(get: &Getter<'_>) -> ShareGroupSettings {
        let none = Config::new();
        let of_no_group =
            Getter { entity: Entity::Group, overrides: Some(Overrides::of_group(&none)), broker: get.broker };
        ShareGroupSettings {
            members: members(get, "share"),
            sharing: unbounded_sharing(&of_no_group),
            max_size: get.number("group.share.max.size"),
            max_sessions: get.number("group.share.max.share.sessions"),
        }
    }
}

impl StreamsGroupSettings {
    pub(crate) fn read(get: &Getter<'_>) -> StreamsGroupSettings {
        StreamsGroupSettings {
            members: members(get, "streams"),
            standby: StandbySettings {
                standby_replicas: get.number("group.streams.num.standby.replicas"),
                initial_rebalance_delay: get.millis("group.streams.initial.rebalance.delay.ms"),
            },
            max_size: get.number("group.streams.max.size"),
        }
    }
}

/// Whether brokers may have these settings of groups together.
pub(crate) fn check_all(given: &Given) -> Result<(), SettingError> {
    let get = of_brokers(given);
    for (kind, name) in BOUNDED {
        let SettingRange { min, max } = SettingRange::of(&get, kind, name);
        if max < min {
            let prefix = format!("group.{kind}");
            return conflict(format!("{prefix}.max.{name} must be greater than or equal to {prefix}.min.{name}"));
        }
        let setting = format!("group.{kind}.{name}");
        check_within(&setting, get.integer(&setting), kind, name, &get)?;
    }
    for kind in KINDS {
        let (heartbeat, session) =
            (format!("group.{kind}.heartbeat.interval.ms"), format!("group.{kind}.session.timeout.ms"));
        if get.integer(&heartbeat) >= get.integer(&session) {
            return conflict(format!("{heartbeat} must be less than {session}"));
        }
    }
    if get.integer("group.share.max.share.sessions") < get.integer("group.share.max.size") {
        return conflict(
            "group.share.max.share.sessions must be greater than or equal to group.share.max.size".to_owned(),
        );
    }
    if get.number::<usize>("group.streams.num.standby.replicas") > max_standby_replicas(&get) {
        return conflict(
            "group.streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether a group may have these settings of its own on these brokers.
pub(crate) fn check_one(own: &Config, given: &Given) -> Result<(), SettingError> {
    let (get, bounds) = (of_group(own, given), of_brokers(given));
    for (kind, name) in BOUNDED {
        let setting = format!("{kind}.{name}");
        check_within(&setting, get.integer(&setting), kind, name, &bounds)?;
    }
    if get.number::<usize>("streams.num.standby.replicas") > max_standby_replicas(&bounds) {
        return conflict(
            "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas".to_owned(),
        );
    }
    for kind in KINDS {
        let (heartbeat, session) = (format!("{kind}.heartbeat.interval.ms"), format!("{kind}.session.timeout.ms"));
        if get.integer(&session) <= get.integer(&heartbeat) {
            return conflict(format!("{session} must be greater than {heartbeat}"));
        }
    }
    Ok(())
}

fn conflict(text: String) -> Result<(), SettingError> {
    Err(SettingError::Conflict(text))
}

fn check_within(setting: &str, value: i64, kind: &str, name: &str, brokers: &Getter<'_>) -> Result<(), SettingError> {
    let bounds = SettingRange::of(brokers, kind, name);
    match () {
        () if value < bounds.min => {
            conflict(format!("{setting} must be greater than or equal to group.{kind}.min.{name}"))
        }
        () if value > bounds.max => {
            conflict(format!("{setting} must be less than or equal to group.{kind}.max.{name}"))
        }
        () => Ok(()),
    }
}

/// Between what a setting of groups may be.
struct SettingRange {
    min: i64,
    max: i64,
}

impl SettingRange {
    fn of(brokers: &Getter<'_>, kind: &str, name: &str) -> SettingRange {
        let bound = |end: &str| brokers.integer(&format!("group.{kind}.{end}.{name}"));
        SettingRange { min: bound("min"), max: bound("max") }
    }
}

/// Reads what one group has, within the brokers' bounds.
struct OfGroup<'a> {
    own: Getter<'a>,
    broker: Getter<'a>,
}

impl OfGroup<'_> {
    fn integer(&self, kind: &str, name: &str) -> i64 {
        let SettingRange { min, max } = SettingRange::of(&self.broker, kind, name);
        self.own.integer(&format!("{kind}.{name}")).max(min).min(max)
    }

    fn number<T: TryFrom<i64>>(&self, kind: &str, name: &str) -> T {
        T::try_from(self.integer(kind, name)).ok().expect("the setting's valid values fit the field")
    }

    fn millis(&self, kind: &str, name: &str) -> Duration {
        Duration::from_millis(self.number(kind, name))
    }

    fn members(&self, kind: &str) -> MemberSettings {
        MemberSettings {
            session_timeout: self.millis(kind, "session.timeout.ms"),
            heartbeat_interval: self.millis(kind, "heartbeat.interval.ms"),
            assignment_interval: self.millis(kind, "assignment.interval.ms"),
        }
    }

    fn standby_replicas(&self) -> usize {
        self.own.number::<usize>("streams.num.standby.replicas").min(max_standby_replicas(&self.broker))
    }
}

fn of_brokers(given: &Given) -> Getter<'_> {
    Getter { entity: Entity::Broker, overrides: None, broker: given }
}

fn of_group<'a>(own: &'a Config, given: &'a Given) -> Getter<'a> {
    Getter { entity: Entity::Group, overrides: Some(Overrides::of_group(own)), broker: given }
}

fn max_standby_replicas(brokers: &Getter<'_>) -> usize {
    brokers.number("group.streams.max.standby.replicas")
}

fn members(brokers: &Getter<'_>, kind: &str) -> MemberSettings {
    let millis = |name: &str| brokers.millis(&format!("group.{kind}.{name}"));
    MemberSettings {
        session_timeout: millis("session.timeout.ms"),
        heartbeat_interval: millis("heartbeat.interval.ms"),
        assignment_interval: millis("assignment.interval.ms"),
    }
}

fn unbounded_sharing(group: &Getter<'_>) -> SharingSettings {
    SharingSettings {
        offset_reset: OffsetReset::from_text(&group.text("share.auto.offset.reset")).unwrap_or(OffsetReset::Latest),
        read_committed: group.text("share.isolation.level") == "read_committed",
        record_lock_duration: group.millis("share.record.lock.duration.ms"),
        delivery_count_limit: group.number("share.delivery.count.limit"),
        max_record_locks: group.number("share.partition.max.record.locks"),
        renew_enabled: group.flag("share.renew.acknowledge.enable"),
    }
}
