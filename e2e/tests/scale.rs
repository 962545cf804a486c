//! A thousand assignments on a real API server: what they cost it in writes and bytes. Never in time.
//!
//! Played with the release program by a step of its own of CI.

use anyhow::{Result, ensure};
use ottla_e2e::need::{Need, met};
use ottla_e2e::scale::watchers::Kind;
use ottla_e2e::scale::{Size, story};
use ottla_e2e::target::ottla_program;

/// Fifty brokers, because what a broker's death costs depends on how few topics name it. None is whole, for they only
/// watch here, as the watchers do.
const SIZE: Size = Size { brokers: 50, whole: 0, topics: 1000, partitions_per_topic: 3, watchers: 2, rolled: 0 };
/// Some writes are tried again, because another writer was there first.
const AGAIN: f64 = 1.05;
/// The bytes of an assignment of three partitions in an event or a list: the entries are 750 of them, and
/// `managedFields`, until the first change takes it away, 750.
const ASSIGNMENT: u64 = 2_200;
/// Those of a topic: its spec and status are 1,150, and `managedFields` 1,250.
const TOPIC: u64 = 2_700;
/// A bookmark of each watch, at least once a minute, and the KafkaCluster, which has a line for each broker.
const BESIDES: u64 = 400_000;

#[test]
#[ignore = "takes a minute; a step of its own of CI"]
fn a_thousand_assignments_cost_the_api_server_no_more_than_they_must() -> Result<()> {
    if !met(&[Need::Program("kube"), Need::Program("openssl")]) {
        return Ok(());
    }
    let report = story::play(SIZE, &ottla_program()?)?;
    println!("{report}");
    let (topics, touched) = (SIZE.topics as u64, report.touched.0 as u64);
    let mut exceeded = Vec::new();
    let mut at_most = |what: &str, measured: u64, bound: u64| {
        println!("{what}: {measured}, at most {bound}");
        if measured > bound {
            exceeded.push(format!("{what}: {measured} instead of at most {bound}"));
        }
    };
    let again = |writes: u64| (writes as f64 * AGAIN) as u64;

    // Three racks and a scatter width of ten: a topic is on three brokers, 6 of 100. Placed at random, a topic of
    // three partitions would name it in 17 of 100 cases.
    at_most("topics that name a broker", touched, topics * 10 / 100);

    let created = report.phase("topics are created");
    at_most("assignments created", created.writes.of_kind("kafkaassignments"), again(topics));
    // Its creation, the finalizer, and one status: that it is ready.
    at_most("writes of new topics", created.writes.of_kind("kafkatopics"), again(3 * topics));
    at_most("bytes of that for a watcher", created.bytes(), again(topics * ASSIGNMENT + 3 * topics * TOPIC) + BESIDES);

    // One write for each assignment that names the broker: election and ISR together, and nothing for each partition.
    let died = report.phase("a broker dies");
    at_most("assignments changed by a death", died.writes.of_kind("kafkaassignments"), again(touched));
    at_most("statuses of topics written for it", died.writes.of_kind("kafkatopics"), again(touched));
    at_most("bytes of a death for a watcher", died.bytes(), again(touched * (ASSIGNMENT + TOPIC)) + BESIDES);

    // One write of each leader, of which an assignment of three partitions has three at most, and one for the leader
    // that returns.
    let returned = report.phase("it returns");
    at_most("assignments changed by a return", returned.writes.of_kind("kafkaassignments"), again(4 * touched));

    // Nothing changes while the API server is away, and everybody lists once.
    let restarted = report.phase("the API server restarts");
    at_most("writes after a restart", restarted.writes.of_group("ottla.io"), 10);
    let (assignments, topics_listed) = (restarted.of_kind(Kind::Assignments), restarted.of_kind(Kind::Topics));
    at_most("lists of assignments", assignments.lists, 2);
    at_most("their bytes", assignments.list_bytes, assignments.lists.max(1) * topics * ASSIGNMENT);
    at_most("bytes of topics listed", topics_listed.list_bytes, topics_listed.lists.max(1) * topics * TOPIC);

    // A topic and its assignment, as the operator keeps them, are no more than 30 KB together, beside 40 MB.
    let operators = report.used.iter().filter(|used| used.name.starts_with("operator"));
    for operator in operators {
        at_most(&format!("{}, resident bytes", operator.name), operator.resident, 40_000_000 + 30_000 * topics);
    }
    ensure!(exceeded.is_empty(), "{}", exceeded.join("\n"));
    Ok(())
}
