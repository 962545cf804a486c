//! Whether partitions lead: metadata names a leader for each of them, and that broker answers for the partition.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use ottla_e2e::raw::Connection;
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::{ErrorCode, ListOffsetsRequest, MetadataRequest, MetadataResponse};

/// In a ListOffsets request: the end of the log.
const LATEST: i64 = -1;

/// All topics, as the broker at this address shows them.
pub fn metadata(address: &str) -> Result<MetadataResponse> {
    let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
    Connection::open(address)?.ask(12, &request)?.context("closed")
}

/// Whether so many partitions have a leader that answers for them. An error says that a broker does not serve yet.
pub fn all_lead(address: impl Fn(u16) -> String, partitions: usize) -> Result<bool> {
    let mut by_leader: BTreeMap<u16, Vec<ListOffsetsTopic>> = BTreeMap::new();
    let mut named = 0;
    for topic in metadata(&address(0))?.topics {
        let name = topic.name.context("a topic has a name")?;
        for partition in topic.partitions {
            let Ok(leader) = u16::try_from(partition.leader_id) else { return Ok(false) };
            let partition_index = partition.partition_index;
            let asked = ListOffsetsPartition { partition_index, timestamp: LATEST, ..Default::default() };
            let topics = by_leader.entry(leader).or_default();
            match topics.last_mut() {
                Some(last) if last.name == name => last.partitions.push(asked),
                _ => topics.push(ListOffsetsTopic { name: name.clone(), partitions: vec![asked] }),
            }
            named += 1;
        }
    }
    if named != partitions {
        return Ok(false);
    }
    for (leader, topics) in by_leader {
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let answer = Connection::open(address(leader))?.ask(5, &request)?.context("closed")?;
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        if partitions.any(|partition| partition.error_code != ErrorCode::NONE) {
            return Ok(false);
        }
    }
    Ok(true)
}
