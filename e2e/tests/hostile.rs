//! Hostile input: whatever comes over the wire, memory stays bounded and neighbours are served.

use anyhow::{Context, Result, ensure};
use ottla_e2e::need::met;
use ottla_e2e::raw::{Connection, to_bytes};
use ottla_e2e::target::{Maker, Target, needs};
use ottla_wire::m00_produce::{PartitionProduceData, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchTopic};
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::m03_metadata::MetadataRequestTopic;
use ottla_wire::m11_join_group::JoinGroupRequestProtocol;
use ottla_wire::m19_create_topics::CreatableTopic;
use ottla_wire::m20_delete_topics::DeleteTopicState;
use ottla_wire::m32_describe_configs::DescribeConfigsResource;
use ottla_wire::{
    CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, ErrorCode, FetchRequest, JoinGroupRequest,
    ListOffsetsRequest, MetadataRequest, ProduceRequest, Records, encode_request,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A broker of this test's own with one topic, and the means to see how it fares.
struct Bed {
    target: Target,
    resident_before: usize,
}

impl Bed {
    fn new() -> Result<Option<Bed>> {
        if !met(&needs()) {
            return Ok(None);
        }
        let target = Target::start()?;
        let topic =
            CreatableTopic { name: "neighbour".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let created = Connection::open(target.bootstrap())?.ask(7, &request)?.context("a good request is answered")?;
        ensure!(created.topics[0].error_code.is_none(), "{created:?}");
        let bed = Bed { resident_before: resident(&target)?, target };
        bed.neighbours_are_served()?;
        Ok(Some(bed))
    }

    /// Somebody else produces and fetches; every answer must come within the connection's time limit.
    fn neighbours_are_served(&self) -> Result<()> {
        let mut connection = Connection::open(self.target.bootstrap())?;
        let limit = Duration::from_secs(60);
        let offset = ottla_e2e::wait::until(limit, "the neighbour's record to be taken", || {
            let answer = connection.ask(9, &produce(100))?.context("a good request is answered")?;
            let partition = &answer.responses[0].partition_responses[0];
            Ok(partition.error_code.is_none().then_some(partition.base_offset))
        })?;
        let answer = connection.ask(12, &fetch(offset))?.context("a good request is answered")?;
        let found = answer.responses[0].partitions[0].records.as_ref().map_or(0, Records::len);
        ensure!(found > 100, "the neighbour's record is not there");
        Ok(())
    }

    /// The broker may have grown by so many MiB at most. A JVM sizes its heap as it likes: only Ottla is held to it.
    fn has_grown_by_at_most(&self, mib: usize) -> Result<()> {
        let grown = resident(&self.target)?.saturating_sub(self.resident_before) / MIB;
        ensure!(self.target.maker() == Maker::Kafka || grown <= mib, "{grown} MiB more than before");
        Ok(())
    }

    fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.target.bootstrap())?;
        stream.set_write_timeout(Some(Duration::from_secs(60)))?;
        Ok(stream)
    }
}

fn resident(target: &Target) -> Result<usize> {
    let pages = std::fs::read_to_string(format!("/proc/{}/statm", target.pid()?))?;
    let pages: usize = pages.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * rustix::param::page_size())
}

fn produce(size: usize) -> ProduceRequest {
    let value = vec![7; size];
    let mut batch = ottla_batch::BatchBuilder::new(ottla_batch::Codec::None);
    batch.push(ottla_batch::NewRecord { timestamp: 1_600_000_000_000, value: Some(&value), ..Default::default() });
    let records = Some(Records::from(batch.build().bytes().clone()));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic_data = vec![TopicProduceData { name: "neighbour".into(), partition_data, ..Default::default() }];
    ProduceRequest { acks: 1, timeout_ms: 10_000, topic_data, ..Default::default() }
}

fn fetch(fetch_offset: i64) -> FetchRequest {
    let partition = FetchPartition { fetch_offset, partition_max_bytes: 50 * MIB as i32, ..Default::default() };
    let topics = vec![FetchTopic { topic: "neighbour".into(), partitions: vec![partition], ..Default::default() }];
    FetchRequest { max_wait_ms: 1000, min_bytes: 1, topics, ..Default::default() }
}

/// A small generator of numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit as u64) as usize
    }
}

#[test]
fn random_and_mutated_bytes_harm_nobody() -> Result<()> {
    let Some(bed) = Bed::new()? else { return Ok(()) };
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let protocols = vec![JoinGroupRequestProtocol { name: "p".into(), metadata: "m".into() }];
    let join = JoinGroupRequest { group_id: "g".into(), session_timeout_ms: 6000, protocols, ..Default::default() };
    let good = [
        to_bytes(&encode_request(1, None, 12, &MetadataRequest::default())),
        to_bytes(&encode_request(1, None, 9, &produce(300))),
        to_bytes(&encode_request(1, None, 12, &fetch(0))),
        to_bytes(&encode_request(1, None, 9, &join)),
    ];
    for _ in 0..300 {
        let bytes = if dice.below(3) == 0 {
            (0..dice.below(5000)).map(|_| dice.roll() as u8).collect()
        } else {
            let mut bytes = good[dice.below(good.len())].clone();
            for _ in 0..=dice.below(4) {
                // The length stays: this is about what is inside.
                let index = 4 + dice.below(bytes.len() - 4);
                bytes[index] = dice.roll() as u8;
            }
            bytes
        };
        // The broker may hang up while we still write.
        let _ = bed.connect()?.write_all(&bytes);
    }
    bed.neighbours_are_served()?;
    bed.has_grown_by_at_most(64)
}

#[test]
fn a_frame_that_is_only_announced_costs_nothing() -> Result<()> {
    let Some(bed) = Bed::new()? else { return Ok(()) };
    if bed.target.maker() == Maker::Kafka {
        return Ok(()); // it allocates what a length prefix asks for, and would run out of memory
    }
    let mut waiting = Vec::new();
    for _ in 0..300 {
        let mut stream = bed.connect()?;
        stream.write_all(&(100 * MIB as u32).to_be_bytes())?;
        stream.write_all(&[0; 100])?;
        waiting.push(stream);
    }
    bed.neighbours_are_served()?;
    bed.has_grown_by_at_most(64)?;
    for length in [100 * MIB as u32 + 1, 0x7fff_ffff, 0xffff_ffff] {
        let mut connection = Connection::open(bed.target.bootstrap())?;
        connection.send_bytes(&length.to_be_bytes())?;
        ensure!(connection.receive_bytes()?.is_none(), "a frame of {length} bytes is waited for");
    }
    Ok(())
}

#[test]
fn slow_writers_hold_up_nobody_and_are_served_in_the_end() -> Result<()> {
    let Some(bed) = Bed::new()? else { return Ok(()) };
    let request = to_bytes(&encode_request(1, None, 9, &produce(330_000)));
    let (first, rest) = request.split_at(165_000);
    let mut writers = Vec::new();
    // Few: a frame is hung up on after half a minute, and the last writer has to begin before the first may end.
    for _ in 0..30 {
        let mut connection = Connection::open(bed.target.bootstrap())?;
        connection.send_bytes(first)?;
        writers.push(connection);
    }
    bed.neighbours_are_served()?;
    for writer in &mut writers {
        let (most, last) = rest.split_at(rest.len() - 3);
        writer.send_bytes(most)?;
        for byte in last {
            writer.send_bytes(&[*byte])?;
        }
    }
    for writer in &mut writers {
        ensure!(writer.receive_bytes()?.is_some(), "a slow writer was hung up on");
    }
    bed.neighbours_are_served()?;
    bed.has_grown_by_at_most(96)
}

#[test]
fn slow_readers_cost_little_and_hold_up_nobody() -> Result<()> {
    let Some(bed) = Bed::new()? else { return Ok(()) };
    let mut connection = Connection::open(bed.target.bootstrap())?;
    for _ in 0..50 {
        connection.ask(9, &produce(MIB - 1000))?;
    }
    let request = to_bytes(&encode_request(1, None, 12, &fetch(0)));
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut stream = bed.connect()?;
        for _ in 0..20 {
            stream.write_all(&request)?; // 20 GB of answers in all, of which nobody reads a byte
        }
        readers.push(stream);
    }
    bed.neighbours_are_served()?;
    bed.has_grown_by_at_most(256)
}

#[test]
fn what_is_remembered_of_a_request_is_not_the_whole_of_it() -> Result<()> {
    let Some(bed) = Bed::new()? else { return Ok(()) };
    let mut connection = Connection::open(bed.target.bootstrap())?;
    // Each begins a fetch session that names its topic, and has a MiB behind it that nobody looks at.
    let begin = FetchRequest { session_epoch: 0, max_wait_ms: 0, ..fetch(0) };
    let mut request = to_bytes(&encode_request(1, None, 12, &begin));
    request.resize(4 + MIB, 0);
    request[..4].copy_from_slice(&(MIB as u32).to_be_bytes());
    for _ in 0..300 {
        connection.send_bytes(&request)?;
        ensure!(connection.receive_bytes()?.is_some(), "a fetch was not answered");
    }
    bed.neighbours_are_served()?;
    bed.has_grown_by_at_most(64)
}

#[test]
fn a_large_request_that_waits_behind_another_takes_no_room() -> Result<()> {
    let Some(bed) = Bed::new()? else { return Ok(()) };
    let patient = FetchRequest { max_wait_ms: 600_000, min_bytes: 1 << 30, ..fetch(0) };
    let patient = to_bytes(&encode_request(1, None, 12, &patient));
    let large = to_bytes(&encode_request(2, None, 9, &produce(MIB - 1000)));
    let waiting: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = bed.connect()?;
            stream.write_all(&patient)?;
            stream.set_nonblocking(true)?;
            // As much of it as the network takes.
            let _ = stream.write(&large)?;
            Ok(stream)
        })
        .collect::<Result<_>>()?;
    let mut connection = Connection::open(bed.target.bootstrap())?;
    for _ in 0..10 {
        ensure!(connection.ask(9, &produce(MIB - 1000))?.is_some(), "a neighbour's large request was not answered");
    }
    drop(waiting);
    bed.neighbours_are_served()
}

#[test]
fn what_is_named_many_times_is_answered_once() -> Result<()> {
    let Some(bed) = Bed::new()? else { return Ok(()) };
    if bed.target.maker() == Maker::Kafka {
        return Ok(()); // it answers each time, and runs out of memory
    }
    let mut connection = Connection::open(bed.target.bootstrap())?;
    let resources = vec![
        DescribeConfigsResource { resource_type: 4, resource_name: "0".into(), configuration_keys: None };
        60_000 // of a few bytes each, which would be answered with some 15 KB each
    ];
    let request = DescribeConfigsRequest { resources, include_documentation: true, ..Default::default() };
    let answer = connection.ask(4, &request)?.context("a good request is answered")?;
    ensure!(answer.results.len() == 1 && answer.results[0].error_code == ErrorCode::INVALID_REQUEST, "{answer:?}");

    let topics = vec![MetadataRequestTopic { name: Some("neighbour".into()), ..Default::default() }; 50_000];
    let request = MetadataRequest { topics: Some(topics), ..Default::default() };
    let answer = connection.ask(12, &request)?.context("a good request is answered")?;
    ensure!(answer.topics.len() == 1 && answer.topics[0].partitions.len() == 1, "{answer:?}");
    bed.has_grown_by_at_most(64)
}

#[test]
fn a_request_that_names_very_much_is_answered_in_time() -> Result<()> {
    let Some(bed) = Bed::new()? else { return Ok(()) };
    let mut connection = Connection::open(bed.target.bootstrap())?;
    // To compare each with each of these takes minutes.
    connection.wait_at_most(Duration::from_secs(60))?;
    let partitions = (0..100_000)
        .map(|partition_index| ListOffsetsPartition { partition_index, timestamp: -1, ..Default::default() })
        .collect();
    let topics = vec![ListOffsetsTopic { name: "neighbour".into(), partitions }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let answer = connection.ask(7, &request)?.context("a good request is answered")?;
    ensure!(answer.topics[0].partitions.len() == 100_000, "some are missing");
    let topic = |n| DeleteTopicState { name: Some(format!("no-{n}").into()), ..Default::default() };
    let topics = (0..50_000).map(topic).collect();
    let answer = connection.ask(6, &DeleteTopicsRequest { topics, timeout_ms: 1000, ..Default::default() })?;
    ensure!(answer.context("a good request is answered")?.responses.len() == 50_000, "some are missing");
    bed.neighbours_are_served()
}

#[test]
fn five_thousand_idle_connections_are_no_burden() -> Result<()> {
    // Inherited by the broker. Each of the two has one end of every connection.
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum })?;
    let Some(bed) = Bed::new()? else { return Ok(()) };
    let idle = (0..5000).map(|_| bed.connect()).collect::<Result<Vec<_>>>()?;
    bed.neighbours_are_served()?;
    bed.has_grown_by_at_most(100)?;
    // They are idle, not forgotten.
    for mut stream in idle.into_iter().step_by(500) {
        stream.write_all(&to_bytes(&encode_request(1, None, 9, &produce(10))))?;
        let mut length = [0; 4];
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        std::io::Read::read_exact(&mut stream, &mut length)?;
    }
    Ok(())
}
