//! Many share consumers of one topic: what the broker spends on a delivery, and what it needs for them.
//!
//! Kafka has at most two hundred members in a share group by default (`group.share.max.size`), so there are several
//! groups. Each member asks for records again as soon as it has an answer, and accepts on the way what it had got.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ottla_batch::HEADER_LEN;
use ottla_e2e::raw::Connection;
use ottla_e2e::target::Maker;
use ottla_wire::m44_incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use ottla_wire::m78_share_fetch::{AcknowledgementBatch, ShareFetchPartition, ShareFetchTopic};
use ottla_wire::{
    ErrorCode, IncrementalAlterConfigsRequest, ShareFetchRequest, ShareFetchResponse, ShareGroupHeartbeatRequest, Uuid,
};

use crate::broker::Broker;
use crate::lean;
use crate::members::{Stage, ask, find_coordinator, is_passing, topic_id};
use crate::runs::{Brokers, Plan, touch};
use crate::table::{Goal, Table};

const TOPIC: &str = "shared";
const PARTITIONS: i32 = 10;
/// Members of a group.
const EACH: usize = 200;
/// Between two records.
const PACE: Duration = Duration::from_millis(1);
/// `ConfigResource.Type.GROUP`.
const GROUP: i8 = 32;
/// Accept.
const ACCEPT: i8 = 1;
/// As Kafka's share consumer asks.
const MAX_WAIT_MS: i32 = 500;
const MAX_RECORDS: i32 = 500;

/// A share group.
struct Group {
    name: String,
    topic: Uuid,
    /// Whether each member has got partitions.
    assigned: Vec<AtomicBool>,
    /// Records that it has got, each once.
    got: AtomicU64,
}

/// A member's share session with the broker.
#[derive(Default)]
struct Session {
    partitions: Vec<i32>,
    /// 0 before the first request.
    epoch: i32,
    /// What it has not accepted yet: partition, first and last offset.
    acquired: Vec<(i32, i64, i64)>,
}

/// Measures it with so many consumers.
pub fn run(makers: &[Maker], consumers: usize, plan: &Plan) -> Result<Table> {
    let mut table = Table::default();
    let groups = consumers.div_ceil(EACH);
    let name: &'static str =
        format!("{} share consumers of one topic in {groups} groups, 1,000 records of 1 KB per second", groups * EACH)
            .leak();
    for pair in 0..plan.pairs {
        for maker in makers {
            touch(plan.touched);
            let (assigned, late, cpu, resident_mb) = measure(*maker, groups, plan)?;
            eprintln!("{name}, pair {pair}, {maker:?}: {assigned:.2?} to join, {late:.2?} behind, {cpu:.2} ms");
            for (unit, goal, value) in [
                ("s until all have partitions", Goal::AtMost(1.0), assigned.as_secs_f64()),
                ("ms from the last record until every group has all", Goal::AtMost(1.0), late.as_secs_f64() * 1e3),
                ("broker's CPU-ms per 1,000 deliveries", Goal::AtMost(1.0), cpu),
                ("MB resident", Goal::AtMost(1.0), resident_mb),
            ] {
                table.add(name, unit, goal, *maker, value);
            }
        }
    }
    Ok(table)
}

fn measure(maker: Maker, groups: usize, plan: &Plan) -> Result<(Duration, Duration, f64, f64)> {
    let mut broker = Broker::prepare(maker)?;
    broker.start()?;
    let address = broker.address();
    lean::first_acknowledgement(&address, "first")?;
    // This puts one record in the first partition.
    lean::create_topic(&address, TOPIC, PARTITIONS, &[])?;
    let topic = topic_id(&address, TOPIC)?;
    let of_group = |nth| Group {
        name: format!("share-{nth}"),
        topic,
        assigned: (0..EACH).map(|_| AtomicBool::new(false)).collect(),
        got: AtomicU64::new(0),
    };
    let groups: Vec<Group> = (0..groups).map(of_group).collect();
    groups.iter().try_for_each(|group| group.read_from_the_beginning(&address))?;
    let stage = Stage::new(address.clone(), groups.len() * EACH);
    let observe = |begin: Instant| {
        stage.wait_for("partitions for every member", || {
            let mut all = groups.iter().flat_map(|group| &group.assigned);
            all.all(|assigned| assigned.load(Ordering::Relaxed)).then_some(())
        })?;
        let assigned = begin.elapsed();
        let (before, count) = (broker.cpu_time()?, produce(&address, 3 * plan.run)?);
        let last = Instant::now();
        stage.wait_for("every record to reach every group", || {
            groups.iter().all(|group| group.got.load(Ordering::Relaxed) > count).then_some(())
        })?;
        let (late, cpu) = (last.elapsed(), broker.cpu_time()? - before);
        let deliveries = count as f64 * groups.len() as f64;
        Ok((assigned, late, cpu.as_secs_f64() * 1e6 / deliveries, broker.resident_mb()?))
    };
    stage.play(
        |nth, connection| groups[nth / EACH].take_part(nth % EACH, &stage, connection),
        observe,
        || broker.stop(),
    )
}

/// Produces records at their pace for so long; how many.
fn produce(address: &str, run: Duration) -> Result<u64> {
    let mut connection = Connection::open(address)?;
    let mut request = lean::produce_request(TOPIC, HEADER_LEN)?;
    let begin = Instant::now();
    for count in 0.. {
        let due = PACE * count;
        if due >= run {
            return Ok(count.into());
        }
        sleep((begin + due).saturating_duration_since(Instant::now()));
        let topic = request.topic_data.first_mut().context("a topic")?;
        topic.partition_data.first_mut().context("a partition")?.index = count as i32 % PARTITIONS;
        let answer = ask(&mut connection, lean::PRODUCE, &request)?;
        ensure!(lean::refusal(&answer).is_none(), "a record was refused: {answer:?}");
    }
    unreachable!("it ends with the run")
}

impl Group {
    /// New groups of Kafka's begin at the end otherwise.
    fn read_from_the_beginning(&self, address: &str) -> Result<()> {
        let (name, value) = ("share.auto.offset.reset".into(), Some("earliest".into()));
        let resource = AlterConfigsResource {
            resource_type: GROUP,
            resource_name: self.name.as_str().into(),
            configs: vec![AlterableConfig { name, config_operation: 0, value }],
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let answer = ask(&mut Connection::open(address)?, 1, &request)?;
        let refused = answer.responses.iter().find(|answer| !answer.error_code.is_none());
        ensure!(refused.is_none(), "the group's setting is refused: {refused:?}");
        Ok(())
    }

    /// A member's life, until it is over.
    fn take_part(&self, member: usize, stage: &Stage, on: &mut Connection) -> Result<()> {
        find_coordinator(on, &self.name, 0)?;
        let mut beat = ShareGroupHeartbeatRequest {
            group_id: self.name.as_str().into(),
            member_id: format!("{}-{member}", self.name).as_str().into(),
            subscribed_topic_names: Some(vec![TOPIC.into()]),
            ..Default::default()
        };
        let mut session = Session::default();
        while !stage.is_over() {
            let answer = ask(on, 1, &beat)?;
            match answer.error_code {
                ErrorCode::NONE => {}
                code if is_passing(code) => {
                    sleep(Duration::from_millis(100));
                    continue;
                }
                code => bail!("a heartbeat was refused: {code}, {:?}", answer.error_message),
            }
            (beat.member_epoch, beat.subscribed_topic_names) = (answer.member_epoch, None);
            if let Some(assignment) = answer.assignment {
                self.close(&mut session, &beat, on)?;
                session.partitions =
                    assignment.topic_partitions.into_iter().flat_map(|topic| topic.partitions).collect();
                self.assigned[member].store(!session.partitions.is_empty(), Ordering::Relaxed);
            }
            let interval = Duration::from_millis(answer.heartbeat_interval_ms.try_into()?);
            let beaten = Instant::now();
            if session.partitions.is_empty() {
                sleep(interval);
            }
            while beaten.elapsed() < interval && !stage.is_over() {
                self.fetch(&mut session, &beat, on)?;
            }
        }
        Ok(())
    }

    /// Accepts what the member has, and gets more.
    fn fetch(&self, session: &mut Session, member: &ShareGroupHeartbeatRequest, on: &mut Connection) -> Result<()> {
        let answer = ask(on, 2, &self.request(session, member))?;
        ensure!(answer.error_code.is_none(), "a fetch was refused: {}", answer.error_code);
        session.acquired.clear();
        session.epoch += 1;
        self.take(session, answer)
    }

    fn take(&self, session: &mut Session, answer: ShareFetchResponse) -> Result<()> {
        for partition in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let codes = [partition.error_code, partition.acknowledge_error_code];
            ensure!(codes.iter().all(|code| code.is_none()), "partition {}: {codes:?}", partition.partition_index);
            for records in partition.acquired_records {
                session.acquired.push((partition.partition_index, records.first_offset, records.last_offset));
                if records.delivery_count == 1 {
                    let count = u64::try_from(records.last_offset - records.first_offset + 1)?;
                    self.got.fetch_add(count, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    /// Accepts what the member has, and ends the session.
    fn close(&self, session: &mut Session, member: &ShareGroupHeartbeatRequest, on: &mut Connection) -> Result<()> {
        if session.epoch > 0 {
            let last = ShareFetchRequest { share_session_epoch: -1, ..self.request(session, member) };
            let answer = ask(on, 2, &last)?;
            ensure!(answer.error_code.is_none(), "the session was not closed: {}", answer.error_code);
        }
        *session = Session::default();
        Ok(())
    }

    fn request(&self, session: &Session, member: &ShareGroupHeartbeatRequest) -> ShareFetchRequest {
        let of_partition = |partition: i32| {
            let mine = session.acquired.iter().filter(|(index, ..)| *index == partition);
            let accept = |&(_, first_offset, last_offset): &(i32, i64, i64)| AcknowledgementBatch {
                first_offset,
                last_offset,
                acknowledge_types: vec![ACCEPT],
            };
            ShareFetchPartition { partition_index: partition, acknowledgement_batches: mine.map(accept).collect() }
        };
        let partitions = session.partitions.iter().map(|partition| of_partition(*partition));
        let named =
            |partition: &ShareFetchPartition| session.epoch == 0 || !partition.acknowledgement_batches.is_empty();
        let partitions: Vec<_> = partitions.filter(named).collect();
        let topics =
            if partitions.is_empty() { Vec::new() } else { vec![ShareFetchTopic { topic_id: self.topic, partitions }] };
        ShareFetchRequest {
            group_id: Some(member.group_id.clone()),
            member_id: Some(member.member_id.clone()),
            share_session_epoch: session.epoch,
            max_wait_ms: MAX_WAIT_MS,
            min_bytes: 1,
            max_bytes: 50 << 20,
            max_records: MAX_RECORDS,
            batch_size: MAX_RECORDS,
            topics,
            ..Default::default()
        }
    }
}
