//! DescribeLogDirs (KIP-113, KIP-827): what is on this broker's disk.

use std::collections::{BTreeMap, BTreeSet};

use ottla_access::Operation;
use ottla_wire::m35_describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_wire::{ErrorCode, Str};

use crate::handle::context::Context;
use crate::reply::Reply;

/// Answers with the only directory.
pub(crate) fn handle(context: &Context, request: DescribeLogDirsRequest) -> Reply {
    if !context.may_cluster(Operation::Describe) {
        let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
        return context.reply(&DescribeLogDirsResponse { error_code, ..Default::default() });
    }
    let named: Option<BTreeSet<(Str, i32)>> = request.topics.map(|topics| {
        let partitions =
            |topic: DescribableLogDirTopic| topic.partitions.into_iter().map(move |p| (topic.topic.clone(), p));
        topics.into_iter().flat_map(partitions).collect()
    });
    let wanted = |topic: &Str, number: i32| named.as_ref().is_none_or(|named| named.contains(&(topic.clone(), number)));
    let mut topics: BTreeMap<Str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in context.handler.replicas.all() {
        if wanted(&partition.topic, partition.number) {
            topics.entry(partition.topic.clone()).or_default().push(DescribeLogDirsPartition {
                partition_index: partition.number,
                partition_size: i64::try_from(partition.status().size).unwrap_or(i64::MAX),
                ..Default::default()
            });
        }
    }
    for partitions in topics.values_mut() {
        partitions.sort_by_key(|partition| partition.partition_index);
    }
    let dir = context.handler.replicas.dir();
    let volume = rustix::fs::statvfs(dir).ok();
    let bytes = |blocks: Option<u64>| {
        let bytes = blocks.zip(volume.as_ref()).map(|(blocks, volume)| blocks.saturating_mul(volume.f_frsize));
        bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1)
    };
    let result = DescribeLogDirsResult {
        log_dir: dir.display().to_string().into(),
        topics: topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic { name, partitions }).collect(),
        total_bytes: bytes(volume.as_ref().map(|volume| volume.f_blocks)),
        usable_bytes: bytes(volume.as_ref().map(|volume| volume.f_bavail)),
        ..Default::default()
    };
    context.reply(&DescribeLogDirsResponse { results: vec![result], ..Default::default() })
}
