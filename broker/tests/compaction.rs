//! A compacted topic: what its consumers find after a while, and after a restart.

#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{OneBroker, topic};
use ottla_batch::{BatchBuilder, Batches, Codec, NewRecord};
use ottla_broker::image::LeaderEpoch;
use ottla_broker::replica::partition::Partition;

fn append(partition: &Partition, timestamp: i64, key: &str, value: &str) {
    let mut builder = BatchBuilder::new(Codec::None);
    let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
    builder.push(NewRecord { timestamp, key, value, headers: &[] });
    partition.append_from_client(builder.build().bytes(), true, None).unwrap();
}

fn values(partition: &Partition) -> Vec<(i64, Bytes)> {
    let (mut values, mut next) = (Vec::new(), 0);
    loop {
        let piece = partition.scan(next, partition.high_watermark.get(), LeaderEpoch(0), 1 << 20).unwrap();
        if piece.is_empty() {
            return values;
        }
        for batch in Batches::new(piece).map(Result::unwrap) {
            next = batch.header().next_offset();
            for record in batch.records(1 << 20).unwrap().map(Result::unwrap) {
                let offset = batch.header().base_offset + i64::from(record.offset_delta);
                values.push((offset, Bytes::copy_from_slice(record.value().unwrap())));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_find_the_last_value_of_every_key_and_a_restart_knows_what_is_clean() {
    let data = tempfile::tempdir().unwrap();
    // Every record is too young for the segment before it.
    let config = [("cleanup.policy", "compact"), ("max.compaction.lag.ms", "1"), ("file.delete.delay.ms", "0")];
    let t = topic("t", &config);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let partition = one.broker.replicas().all().remove(0);
    for (i, (key, value)) in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4"), ("c", "5")].into_iter().enumerate() {
        append(&partition, 1_700_000_000_000 + 1_000 * i as i64, key, value);
    }
    let compacted = async {
        while partition.positions().first_dirty != Some(4) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), compacted).await.unwrap();
    let left = [(2, "3".into()), (3, "4".into()), (4, "5".into())];
    assert_eq!(values(&partition), left);
    assert!(one.broker.stop().await);

    let checkpoint = std::fs::read_to_string(data.path().join("cleaner-offset-checkpoint")).unwrap();
    assert_eq!(checkpoint, "0\n1\nt 0 4\n");
    let one = OneBroker::start(data.path(), true, vec![t.clone()]).await;
    one.led(&t).await;
    let partition = one.broker.replicas().all().remove(0);
    assert_eq!((values(&partition), partition.positions().first_dirty), (left.to_vec(), Some(4)));
    assert!(one.broker.stop().await);
}
