//! A broker with an authorizer, and principals that may do little.

use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use ottla_e2e::need::{Need, met};
use ottla_e2e::raw::Connection;
use ottla_e2e::scram;
use ottla_e2e::target::{Maker, Target, needs};
use ottla_e2e::wait::until;
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::m10_find_coordinator::FindCoordinatorRequest;
use ottla_wire::m15_describe_groups::DescribeGroupsRequest;
use ottla_wire::m19_create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::m22_init_producer_id::InitProducerIdRequest;
use ottla_wire::m30_create_acls::{AclCreation, CreateAclsRequest};
use ottla_wire::m65_describe_transactions::DescribeTransactionsRequest;
use ottla_wire::{ErrorCode, Str, Uuid};
use regex::Regex;

/// Longer than anything takes on a loaded machine.
pub const LIMIT: std::time::Duration = std::time::Duration::from_secs(120);

/// Codes of ACLs (`ResourceType`, `AclOperation`).
const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const CLUSTER: i8 = 4;
const TRANSACTIONAL_ID: i8 = 5;
const USER: i8 = 7;
const ALL: i8 = 2;
const READ: i8 = 3;
const WRITE: i8 = 4;
const CREATE: i8 = 5;
const DELETE: i8 = 6;
const ALTER: i8 = 7;
const DESCRIBE: i8 = 8;
const DESCRIBE_CONFIGS: i8 = 10;
const ALTER_CONFIGS: i8 = 11;
const CREATE_TOKENS: i8 = 13;
const DESCRIBE_TOKENS: i8 = 14;

/// Who asks.
pub struct Principal {
    pub name: &'static str,
    /// Kinds and operations that are allowed with any name.
    allowed: &'static [(i8, i8)],
    /// The same for the names of resources that exist, of those that it calls its own.
    allowed_here: &'static [(i8, i8)],
    /// What is denied of these, whatever else is allowed.
    denied_here: &'static [(i8, i8)],
}

const fn with(name: &'static str, allowed: &'static [(i8, i8)]) -> Principal {
    Principal { name, allowed, allowed_here: &[], denied_here: &[] }
}

/// Who asks, one after the other.
pub const PRINCIPALS: [Principal; 11] = [
    with("nobody", &[]),
    with("describer", &[(TOPIC, DESCRIBE), (GROUP, DESCRIBE), (TRANSACTIONAL_ID, DESCRIBE), (CLUSTER, DESCRIBE)]),
    with("reader", &[(TOPIC, READ), (GROUP, READ)]),
    with("writer", &[(TOPIC, WRITE), (TRANSACTIONAL_ID, WRITE)]),
    with("transactor", &[(TRANSACTIONAL_ID, WRITE), (GROUP, READ)]),
    with("deleter", &[(TOPIC, DELETE), (GROUP, DELETE)]),
    with("creator", &[(TOPIC, CREATE), (TOPIC, ALTER), (TOPIC, DESCRIBE_CONFIGS), (TOPIC, ALTER_CONFIGS)]),
    with("cluster", &[(CLUSTER, ALL)]),
    Principal {
        name: "half",
        allowed: &[],
        allowed_here: &[(TOPIC, ALL), (GROUP, ALL), (TRANSACTIONAL_ID, ALL)],
        denied_here: &[],
    },
    Principal {
        name: "denied",
        allowed: &[(TOPIC, ALL), (GROUP, ALL), (TRANSACTIONAL_ID, ALL), (CLUSTER, ALL)],
        allowed_here: &[],
        denied_here: &[(TOPIC, ALL)],
    },
    with(
        "owner",
        &[
            (TOPIC, ALL),
            (GROUP, ALL),
            (TRANSACTIONAL_ID, ALL),
            (CLUSTER, ALL),
            (USER, CREATE_TOKENS),
            (USER, DESCRIBE_TOKENS),
        ],
    ),
];

/// What a principal calls its own resource of a kind.
fn own(kind: &str, principal: &str) -> Str {
    format!("{kind}.{principal}").into()
}

/// A principal, and the resources that it asks for.
pub struct Me {
    pub name: &'static str,
    /// The id of [`Me::topic`].
    pub topic_id: Uuid,
    /// Finds the names of its own resources.
    names: Regex,
}

impl Me {
    /// A topic with one partition.
    pub fn topic(&self) -> Str {
        own("t", self.name)
    }

    /// A topic that there is not.
    pub fn missing(&self) -> Str {
        own("no", self.name)
    }

    /// A topic that the row about CreateTopics is about.
    pub fn new_topic(&self) -> Str {
        own("new", self.name)
    }

    /// A topic that the row about its creation by Metadata is about.
    pub fn asked_for(&self) -> Str {
        own("asked", self.name)
    }

    /// An internal topic that a streams application of its own lacks.
    pub fn changelog(&self) -> Str {
        own("log", self.name)
    }

    /// The id of a topic that there is not.
    pub fn missing_id(&self) -> Uuid {
        Uuid::from_u128(7)
    }

    /// A group.
    pub fn group(&self) -> Str {
        own("g", self.name)
    }

    /// A group that somebody else is a member of, who consumes [`Me::topic`].
    pub fn others_group(&self) -> Str {
        own("others", self.name)
    }

    /// A transactional id.
    pub fn x(&self) -> Str {
        own("x", self.name)
    }

    /// A transactional id that nobody has used.
    pub fn y(&self) -> Str {
        own("y", self.name)
    }

    /// The answer without what differs between principals and from run to run.
    pub fn normalised(&self, answer: &str) -> String {
        static CHANGING: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
        let changing = CHANGING.get_or_init(|| {
            [
                (r"00000000-0000-0000-0000-000000000000", "ZERO"),
                (r"00000000-0000-0000-0000-000000000007", "SEVEN"),
                (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
                (r"\bproducer_id: \d+", "producer_id: ID"),
                (r#"cluster_id: (Some\()?"[^"]*""#, "cluster_id: ${1}ID"),
                (r"\bport: \d+", "port: PORT"),
                (r"\b(log_append_time_ms|transaction_start_time_ms|last_timestamp): [1-9]\d*", "$1: TIME"),
            ]
            .map(|(rule, becomes)| (Regex::new(rule).expect("a regular expression"), becomes))
            .into()
        });
        let mut text = self.names.replace_all(answer, "$1.ME").into_owned();
        for (rule, becomes) in changing {
            text = rule.replace_all(&text, *becomes).into_owned();
        }
        brief(&text)
    }
}

/// The text of an answer without the names of its types, messages for people, and fields that say nothing; what is in
/// its lists is sorted, for Kafka sorts topics that it refuses by a hash.
fn brief(text: &str) -> String {
    static EMPTY: OnceLock<[Regex; 3]> = OnceLock::new();
    let [types, last, empty] = EMPTY.get_or_init(|| {
        let nothing = r#"(?:\w+: (?:-1|None|\[\]|\{ *\}|""|ZERO|false)|\w*error_message: Some\("[^"]*"\))"#;
        [r"[A-Z]\w+ \{", &format!(", {nothing} \\}}"), &format!(r"\b{nothing}(?:, )?|throttle_time_ms: 0, ")]
            .map(|rule| Regex::new(rule).expect("a regular expression"))
    });
    let mut text = types.replace_all(text, "{").into_owned();
    loop {
        let shorter = empty.replace_all(&last.replace_all(&text, " }"), "").into_owned();
        if shorter == text {
            return sorted(&text);
        }
        text = shorter;
    }
}

/// The text with the elements of each of its lists in order.
fn sorted(text: &str) -> String {
    let mut open: Vec<(char, Vec<String>)> = vec![(' ', vec![String::new()])];
    let mut in_quotes = false;
    for character in text.chars() {
        let depth = open.len();
        let (kind, elements) = open.last_mut().expect("the outermost is never closed");
        in_quotes ^= character == '"';
        match character {
            '[' | '{' if !in_quotes => open.push((character, vec![String::new()])),
            ']' | '}' if !in_quotes && depth > 1 => {
                let (kind, mut elements) = open.pop().expect("more than one");
                if kind == '[' {
                    elements.sort();
                }
                let closed = format!("{kind}{}{character}", elements.join(", "));
                open.last_mut()
                    .expect("the outermost is never closed")
                    .1
                    .last_mut()
                    .expect("never empty")
                    .push_str(&closed);
            }
            ',' if !in_quotes && *kind == '[' => elements.push(String::new()),
            ' ' if *kind == '[' && elements.last().is_some_and(String::is_empty) => {}
            _ => elements.last_mut().expect("never empty").push(character),
        }
    }
    let (_, elements) = open.swap_remove(0);
    elements.join(", ")
}

/// The broker, and what everything is prepared with.
pub struct Bed {
    target: Target,
}

impl Bed {
    /// The one that the tests of this program share; `None`: they can not run here.
    pub fn shared() -> Result<Option<&'static Bed>> {
        static SHARED: OnceLock<Option<Bed>> = OnceLock::new();
        let mut needs = needs();
        needs.push(Need::Program("kubectl"));
        if !met(&needs) {
            return Ok(None);
        }
        let start = || Bed::start().map_err(|error| println!("{error:?}")).ok();
        Ok(Some(SHARED.get_or_init(start).as_ref().context("a broker that authorizes")?))
    }

    /// The one that a test has started.
    pub fn running() -> Result<&'static Bed> {
        Bed::shared()?.context("a test has started it")
    }

    fn start() -> Result<Bed> {
        let bed = Bed { target: Target::start_authorizing()? };
        // The internal topics are there, and their coordinators serve.
        for (key_type, key) in [(0, "g.any"), (1, "x.any")] {
            let request = FindCoordinatorRequest { key_type, coordinator_keys: vec![key.into()], ..Default::default() };
            until(LIMIT, "a coordinator", || {
                let answer = bed.admin()?.ask(6, &request)?.context("an answer")?;
                Ok(answer.coordinators[0].error_code.is_none().then_some(()))
            })?;
        }
        until(LIMIT, "producer ids", || {
            let request = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
            let answer = bed.admin()?.ask(5, &request)?.context("an answer")?;
            Ok(answer.error_code.is_none().then_some(()))
        })?;
        for principal in &PRINCIPALS {
            bed.create(&own("t", principal.name))?;
            let request = DescribeGroupsRequest { groups: vec![own("g", principal.name)], ..Default::default() };
            until(LIMIT, "the group's coordinator", || {
                let answer = bed.admin()?.ask(5, &request)?.context("an answer")?;
                Ok(answer.groups[0].error_code.is_none().then_some(()))
            })?;
            let transactional_ids = ["x", "y"].map(|kind| own(kind, principal.name)).into();
            let request = DescribeTransactionsRequest { transactional_ids };
            until(LIMIT, "the transactions' coordinators", || {
                let answer = bed.admin()?.ask(0, &request)?.context("an answer")?;
                let mut states = answer.transaction_states.iter();
                Ok(states.all(|state| state.error_code == ErrorCode::TRANSACTIONAL_ID_NOT_FOUND).then_some(()))
            })?;
        }
        bed.let_in(PRINCIPALS.iter().map(|principal| principal.name))?;
        bed.allow()?;
        Ok(bed)
    }

    pub fn maker(&self) -> Maker {
        self.target.maker()
    }

    /// A connection of who may do everything.
    pub fn admin(&self) -> Result<Connection> {
        Connection::open(self.target.bootstrap())
    }

    /// A connection of nobody yet, to where users log in.
    pub fn stranger(&self) -> Result<Connection> {
        Connection::open(self.target.for_users()?)
    }

    /// A connection of this user.
    pub fn login(&self, name: &str) -> Result<Connection> {
        let mut connection = self.stranger()?;
        scram::login(&mut connection, name)?;
        Ok(connection)
    }

    /// What stands for this principal in the rows.
    pub fn principal(&self, principal: &Principal) -> Result<Me> {
        let name = principal.name;
        let names = Regex::new(&format!(r"\b([a-z]+)\.{name}\b"))?;
        let topics =
            vec![ottla_wire::m03_metadata::MetadataRequestTopic { name: Some(own("t", name)), ..Default::default() }];
        let request = ottla_wire::MetadataRequest { topics: Some(topics), ..Default::default() };
        let answer = self.admin()?.ask(12, &request)?.context("an answer")?;
        Ok(Me { name, topic_id: answer.topics[0].topic_id, names })
    }

    fn create(&self, name: &str) -> Result<()> {
        let topic =
            CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
        let answer = self.admin()?.ask(7, &request)?.context("an answer")?;
        ensure!(answer.topics[0].error_code.is_none(), "{answer:?}");
        let partition = ListOffsetsPartition { timestamp: -1, ..Default::default() };
        let topics = vec![ListOffsetsTopic { name: name.into(), partitions: vec![partition] }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        until(LIMIT, "the topic to be led", || {
            let answer = self.admin()?.ask(7, &request)?.context("an answer")?;
            Ok(answer.topics[0].partitions[0].error_code.is_none().then_some(()))
        })
    }

    /// Gives these users the password.
    pub fn let_in<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<()> {
        let names: Vec<&str> = names.collect();
        scram::let_in(&mut self.admin()?, &names)?;
        for name in names {
            until(LIMIT, "the user to be known", || Ok(self.login(name).ok().map(drop)))?;
        }
        Ok(())
    }

    fn allow(&self) -> Result<()> {
        let mut creations = Vec::new();
        for principal in &PRINCIPALS {
            let mut acl = |rights: &[(i8, i8)], here: bool, permission_type| {
                for &(resource_type, operation) in rights {
                    let resource_name = match resource_type {
                        CLUSTER => "kafka-cluster".into(),
                        TOPIC if here => own("t", principal.name),
                        GROUP if here => own("g", principal.name),
                        TRANSACTIONAL_ID if here => own("x", principal.name),
                        _ => "*".into(),
                    };
                    creations.push(AclCreation {
                        resource_type,
                        resource_name,
                        resource_pattern_type: 3,
                        principal: format!("User:{}", principal.name).into(),
                        host: "*".into(),
                        operation,
                        permission_type,
                    });
                }
            };
            acl(principal.allowed, false, 3);
            acl(principal.allowed_here, true, 3);
            acl(principal.denied_here, true, 2);
        }
        let answer = self.admin()?.ask(3, &CreateAclsRequest { creations })?.context("an answer")?;
        ensure!(answer.results.iter().all(|result| result.error_code.is_none()), "{answer:?}");
        // The last principal's are the last that a broker learns of.
        until(LIMIT, "the ACLs to count", || {
            let request = ottla_wire::m35_describe_log_dirs::DescribeLogDirsRequest::default();
            let answer = self.login("owner")?.ask(4, &request)?.context("an answer")?;
            Ok(answer.error_code.is_none().then_some(()))
        })
    }
}
