//! A broker with a topic and a share group, and members of the group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_batch::Batch;
use ottla_broker::image::{Group, LeaderEpoch, PartitionEpoch, SHARE_GROUP_STATE, Topic};
use ottla_broker::replica::partition::Partition;
use ottla_config::GroupSettings;
use ottla_rules::features::{Features, SHARE_VERSION};
use ottla_wire::m78_share_fetch::{
    AcknowledgementBatch, ShareFetchPartition, ShareFetchPartitionData, ShareFetchRequest, ShareFetchTopic,
};
use ottla_wire::m79_share_acknowledge::{AcknowledgePartition, AcknowledgeTopic, ShareAcknowledgeRequest};
use ottla_wire::m83_initialize_share_group_state::{
    InitializeShareGroupStateRequest, InitializeStateData, InitializeStatePartition,
};
use ottla_wire::m84_read_share_group_state::{ReadShareGroupStateRequest, ReadStateData, ReadStatePartition};
use ottla_wire::{ErrorCode, Uuid};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::common::{self, Client, OneBroker, topic};

/// Longer than anything takes.
pub const LIMIT: Duration = Duration::from_secs(120);
pub const ACCEPT: i8 = 1;
pub const RELEASE: i8 = 2;
pub const GROUP: &str = "g";

/// A broker that leads a topic of five records and keeps the state of a group that begins with the first of them.
pub struct Setup {
    pub one: OneBroker,
    pub topic: Topic,
    _data: TempDir,
}

impl Setup {
    /// With these settings of the broker.
    pub async fn start(settings: &[(&str, &str)]) -> Setup {
        Setup::start_group(settings, &[], 0).await
    }

    /// With these settings of broker and group, which begins at `start`; −1: where its settings say.
    pub async fn start_group(settings: &[(&str, &str)], of_group: &[(&str, &str)], start: i64) -> Setup {
        let data = tempfile::tempdir().unwrap();
        let (t, states) = (topic("t", &[]), topic(SHARE_GROUP_STATE, &[("cleanup.policy", "delete")]));
        let one = OneBroker::start_with(data.path(), false, vec![t.clone(), states.clone()], settings).await;
        let levels = [(SHARE_VERSION.to_owned(), 1)].into();
        let config: BTreeMap<String, String> =
            of_group.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        one.images.send_modify(|image| {
            let image = Arc::make_mut(image);
            image.features = Features { epoch: 1, levels };
            let settings = GroupSettings::resolve(&config, &image.settings);
            image.groups = Arc::new([(GROUP.into(), Group { config, settings })].into());
        });
        one.led(&t).await;
        one.coordinates(&states).await;
        let setup = Setup { one, topic: t, _data: data };
        setup.append(&common::batch(&["a", "b", "c", "d", "e"]));
        setup.initialize_at(1, start).await;
        setup
    }

    pub fn partition(&self) -> Arc<Partition> {
        self.one.broker.replicas().get(&self.topic, 0).unwrap()
    }

    pub fn append(&self, batch: &Batch) {
        self.partition().append_from_client(batch.bytes(), false, None).unwrap();
    }

    /// Appends a batch of a transaction, as if its coordinator had said that the partition belongs to it.
    pub fn append_in_transaction(&self, batch: &Batch) {
        let partition = self.partition();
        let guard = partition.begin_verification(batch.header(), false).unwrap();
        partition.append_from_client(batch.bytes(), false, guard).unwrap();
    }

    /// Shows that the partition is led here, or by nobody, in this leader epoch.
    pub async fn show_leader(&self, leads: bool, epoch: i32) {
        let mut topic = self.topic.clone();
        let shown = &mut topic.partitions[0];
        (shown.leader, shown.leader_epoch, shown.partition_epoch) =
            (leads.then_some(common::ME.id), LeaderEpoch(epoch), PartitionEpoch(epoch));
        let topic = Arc::new(topic);
        self.one.images.send_modify(|image| {
            Arc::make_mut(image).topics.insert(topic.id, topic.clone());
        });
        let all = self.one.broker.replicas().all();
        let partition = all.iter().find(|partition| partition.topic_id == self.topic.id).unwrap();
        common::until("the role is the shown one", || partition.status().leads == leads).await;
    }

    /// As a group's coordinator does before it assigns the partition.
    pub async fn initialize(&self, state_epoch: i32) {
        self.initialize_at(state_epoch, 0).await;
    }

    async fn initialize_at(&self, state_epoch: i32, start_offset: i64) {
        let partition = InitializeStatePartition { partition: 0, state_epoch, start_offset };
        let topic = InitializeStateData { topic_id: self.topic.id, partitions: vec![partition] };
        let request = InitializeShareGroupStateRequest { group_id: GROUP.into(), topics: vec![topic] };
        let mut client = self.client().await;
        let initialized = async {
            while !client.call(0, &request).await.results[0].partitions[0].error_code.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, initialized).await.unwrap();
    }

    async fn client(&self) -> Client {
        Client::connect(self.one.port).await
    }

    pub async fn member(&self, id: &'static str) -> Member {
        Member {
            client: self.client().await,
            id,
            topic: self.topic.id,
            epoch: 0,
            mode: 0,
            max_records: 100,
            max_bytes: 1 << 20,
        }
    }

    /// Up to where the group is done with everything, as it is stored.
    pub async fn stored_start(&self) -> i64 {
        let partition = ReadStatePartition { partition: 0, leader_epoch: -1 };
        let topic = ReadStateData { topic_id: self.topic.id, partitions: vec![partition] };
        let request = ReadShareGroupStateRequest { group_id: GROUP.into(), topics: vec![topic] };
        self.client().await.call(0, &request).await.results[0].partitions[0].start_offset
    }
}

/// A member with a connection and a share session.
pub struct Member {
    client: Client,
    pub id: &'static str,
    topic: Uuid,
    epoch: i32,
    /// How its fetches choose records (`share.acquire.mode`); 0 is batch_optimized, 1 record_limit.
    pub mode: i8,
    /// The most records of a fetch.
    pub max_records: i32,
    /// The most bytes of a fetch.
    pub max_bytes: i32,
}

impl Member {
    fn fetch_request(&self, max_wait_ms: i32) -> ShareFetchRequest {
        let partition = ShareFetchPartition { partition_index: 0, ..Default::default() };
        ShareFetchRequest {
            group_id: Some(GROUP.into()),
            member_id: Some(self.id.into()),
            share_session_epoch: self.epoch,
            max_wait_ms,
            min_bytes: 1,
            max_bytes: self.max_bytes,
            max_records: self.max_records,
            batch_size: 100,
            share_acquire_mode: self.mode,
            topics: vec![ShareFetchTopic { topic_id: self.topic, partitions: vec![partition] }],
            ..Default::default()
        }
    }

    /// Asks for records, and does not wait for the answer.
    pub async fn send_fetch(&mut self, max_wait_ms: i32) {
        let request = self.fetch_request(max_wait_ms);
        self.epoch += 1;
        self.client.send(2, &request).await;
    }

    pub async fn fetch(&mut self, max_wait_ms: i32) -> Option<ShareFetchPartitionData> {
        let request = self.fetch_request(max_wait_ms);
        self.epoch += 1;
        let mut answer = self.client.call(2, &request).await;
        assert_eq!(answer.error_code, ErrorCode::NONE);
        answer.responses.pop().map(|mut topic| topic.partitions.remove(0))
    }

    /// Fetches until there is something: what it gets, and how often that was delivered.
    pub async fn gets(&mut self) -> Vec<(i64, i64, i16)> {
        let fetched = async {
            loop {
                let found = self.fetch(10_000).await;
                let acquired = found.map(|found| found.acquired_records).unwrap_or_default();
                if !acquired.is_empty() {
                    return acquired
                        .iter()
                        .map(|run| (run.first_offset, run.last_offset, run.delivery_count))
                        .collect();
                }
            }
        };
        timeout(LIMIT, fetched).await.unwrap()
    }

    pub async fn acknowledge(&mut self, first_offset: i64, last_offset: i64, kind: i8) -> ErrorCode {
        let batch = AcknowledgementBatch { first_offset, last_offset, acknowledge_types: vec![kind] };
        let partition = AcknowledgePartition { partition_index: 0, acknowledgement_batches: vec![batch] };
        let request = ShareAcknowledgeRequest {
            group_id: Some(GROUP.into()),
            member_id: Some(self.id.into()),
            share_session_epoch: self.epoch,
            topics: vec![AcknowledgeTopic { topic_id: self.topic, partitions: vec![partition] }],
            ..Default::default()
        };
        self.epoch += 1;
        self.client.call(2, &request).await.responses[0].partitions[0].error_code
    }
}
