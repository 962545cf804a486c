//! The numbers, and the table that is made of them.

use std::fmt;
use std::time::{Duration, Instant};

use super::Size;
use super::watchers::{Count, Kind, Tally};
use crate::writes::Writes;

/// What a story has cost.
#[derive(Clone, Debug)]
pub struct Report {
    /// How much there was.
    pub size: Size,
    /// In the order in which they came.
    pub phases: Vec<Phase>,
    /// How large it all is.
    pub volume: Volume,
    /// How many objects named the broker that died, and how many had it as a leader.
    pub touched: (usize, usize),
    /// Who used how much memory and processor time; the last is the program that counts.
    pub used: Vec<Used>,
}

/// What happened, until nobody wrote any more.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// Until what was waited for was shown.
    pub took: Duration,
    /// Who wrote what.
    pub writes: Writes,
    /// What a watcher had, of each kind: the mean of all.
    pub each: [Count; 4],
    /// When the last watcher had its last event of an assignment; `None`: there was none.
    pub last: Option<Duration>,
}

/// Sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Volume {
    /// A list of the KafkaTopics.
    pub topics: u64,
    /// A list of the KafkaAssignments.
    pub assignments: u64,
    /// A list of the KafkaCluster.
    pub cluster: u64,
    /// How long one client took for all of them, alone.
    pub listed_in: Duration,
    /// etcd's file.
    pub etcd: u64,
}

/// What a process has used, from its start until the API server was killed.
#[derive(Clone, Debug)]
pub struct Used {
    /// Which process.
    pub name: String,
    /// Its resident memory in bytes.
    pub resident: u64,
    /// Its processor time.
    pub cpu: Duration,
}

impl Phase {
    /// From what watchers had seen when it `begun`, and now.
    pub fn of(
        name: &'static str,
        took: Duration,
        writes: Writes,
        (before, begun): (&[[Tally; 4]], Instant),
        now: &[[Tally; 4]],
    ) -> Phase {
        let watchers = now.len().max(1) as u64;
        let each = |kind: Kind| {
            let grown =
                before.iter().zip(now).map(|(before, now)| now[kind as usize].count - before[kind as usize].count);
            let sum: Count = grown.sum();
            Count {
                lists: sum.lists / watchers,
                list_bytes: sum.list_bytes / watchers,
                events: sum.events / watchers,
                watch_bytes: sum.watch_bytes / watchers,
            }
        };
        let last = now.iter().filter_map(|kinds| kinds[Kind::Assignments as usize].last).max();
        Phase {
            name,
            took,
            writes,
            each: Kind::ALL.map(each),
            last: last.and_then(|last| last.checked_duration_since(begun)),
        }
    }

    /// What a watcher had of a kind.
    pub fn of_kind(&self, kind: Kind) -> Count {
        self.each[kind as usize]
    }

    /// The bytes that a watcher had, of lists and watches of all kinds.
    pub fn bytes(&self) -> u64 {
        self.each.iter().map(|count| count.list_bytes + count.watch_bytes).sum()
    }
}

impl Report {
    /// The phase of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn phase(&self, name: &str) -> &Phase {
        self.phases.iter().find(|phase| phase.name == name).expect("a phase of this name")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { size, phases, volume, touched, used } = self;
        let (topics, seconds) = (size.topics, |time: Duration| format!("{:.1} s", time.as_secs_f64()));
        let everybody = u64::from(size.brokers) + 2;
        let mb = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
        writeln!(
            f,
            "{} brokers, {topics} topics of {} partitions with three replicas, {} watchers. The broker that died is \
             named by {} assignments, of which it led partitions in {}. One assignment is {} bytes of a list, one topic {}.\n",
            size.brokers,
            size.partitions_per_topic,
            size.watchers,
            touched.0,
            touched.1,
            volume.assignments / topics as u64,
            volume.topics / topics as u64,
        )?;
        writeln!(
            f,
            "| | writes of assignments | of topics | of their statuses | of the KafkaCluster | events, KB for a watcher | MB for \
             {everybody}, computed | last assignment seen after | over after |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|"
        )?;
        for phase in phases {
            let of = |end: &str| -> u64 {
                let ours = phase
                    .writes
                    .requests
                    .iter()
                    .filter(|(name, _)| name.split_once(' ').is_some_and(|(_, of)| of == end));
                ours.map(|(_, count)| count).sum()
            };
            let events: u64 = phase.each.iter().map(|count| count.events).sum();
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {events}, {} | {} | {} | {} |",
                phase.name,
                of("kafkaassignments.ottla.io"),
                of("kafkatopics.ottla.io"),
                of("kafkatopics.ottla.io/status"),
                of("kafkaclusters.ottla.io/status"),
                phase.bytes() / 1000,
                mb(phase.bytes() * everybody),
                phase.last.map_or_else(|| "–".to_owned(), seconds),
                seconds(phase.took),
            )?;
        }
        let list = volume.topics + volume.assignments + volume.cluster;
        writeln!(
            f,
            "\nA cold list of everything is {} MB and takes one client {}; for {everybody} it is {} MB (computed). etcd: {} MB.",
            mb(list),
            seconds(volume.listed_in),
            mb(list * everybody),
            mb(volume.etcd),
        )?;
        if size.rolled > 0 {
            let roll: u64 = self.phase("a roll").writes.of_group("ottla.io");
            let all = roll * u64::from(size.brokers) / u64::from(size.rolled);
            writeln!(f, "A roll of all {} brokers: {all} writes, EXTRAPOLATED from {}.", size.brokers, size.rolled)?;
        }
        let used = used
            .iter()
            .map(|Used { name, resident, cpu }| format!("{name} {} MB, {:.0} s", mb(*resident), cpu.as_secs_f64()));
        writeln!(
            f,
            "Resident, and processor time until the API server was killed: {}.",
            used.collect::<Vec<_>>().join("; ")
        )
    }
}
