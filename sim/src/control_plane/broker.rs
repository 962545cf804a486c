//! A broker as far as the control plane sees it: the real window on Kubernetes, a port that answers pings, and in the
//! place of its replicas somebody who believes that every follower that runs has everything, and who has files without
//! content.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use ottla_broker::ask::Ask;
use ottla_broker::coord::{Coord, Setup};
use ottla_broker::data_dir::{DataDir, DataDirError};
use ottla_broker::drain;
use ottla_broker::image::{ClusterImage, Topic, Topics};
use ottla_crds::Endpoint;
use ottla_rules::assignment::{Assignment, BrokerId, Follower, Incarnation, Leader, LeaderEpoch};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::network::{Network, answer_pings};
use super::referee::{Partition, Referee};
use super::{CLUSTER, NAMESPACE};

/// How often it looks around where nothing is shown.
const LOOK_AROUND: Duration = Duration::from_secs(1);
/// How long a change of the ISR is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a stopping broker keeps serving until others take over, as in a pod.
pub(super) const GRACE: Duration = Duration::from_secs(25);

pub(super) struct Broker {
    pub id: BrokerId,
    pub data: PathBuf,
    pub network: Network,
    pub referee: Arc<Mutex<Referee>>,
}

impl Broker {
    /// Runs until it is killed, or has stopped after `stop`.
    pub(super) async fn run(self, client: Client, stop: oneshot::Receiver<()>) {
        let (dir, mut coord) = match self.start(client).await {
            Ok(started) => started,
            Err(error) => return self.referee.lock().object(format!("broker {} does not start: {error}", self.id)),
        };
        tokio::select! {
            biased;
            () = self.lead(&coord) => {}
            () = drained(&coord, stop) => {}
        }
        coord.stop_counting().await;
        if let Err(error) = dir.mark_clean() {
            self.referee.lock().object(format!("broker {} leaves no marker: {error}", self.id));
        }
        coord.stop().await;
    }

    async fn start(&self, client: Client) -> Result<(DataDir, Coord), DataDirError> {
        let port = port(self.id);
        tokio::spawn(answer_pings(self.network.listen(port), self.network.clone(), port));
        let endpoint = Endpoint { listener: "internal".into(), host: "broker".into(), port: i32::from(port) };
        let setup = Setup {
            client,
            namespace: NAMESPACE.into(),
            cluster: CLUSTER.into(),
            endpoints: vec![endpoint],
            http: None,
            pod_uid: Some("pod".into()),
        };
        let dir = DataDir::open(&self.data, self.id)?;
        let coord = Coord::start(setup, &dir).await?;
        Ok((dir, coord))
    }

    /// Takes every follower that runs into the ISRs of what it leads, and says what it has where it is asked.
    async fn lead(&self, coord: &Coord) {
        let me = coord.incarnation();
        self.referee.lock().incarnations.insert(self.id, me);
        let mut images = coord.images();
        loop {
            let image = images.borrow_and_update().clone();
            self.referee.lock().sees(
                self.id,
                me,
                &image,
                entries(&image).map(|(topic, entry)| ((topic.id, entry.partition), entry)),
            );
            self.keep_files(&image, coord);
            for (topic, entry) in entries(&image) {
                let topic_id = topic.id;
                if entry.asks_for_report(self.id, me) {
                    let Assignment { partition, leader_epoch, .. } = *entry;
                    let (last_epoch, log_end, log_start) = (LeaderEpoch::FIRST, 0, 0);
                    let report = Ask::Report { topic_id, partition, leader_epoch, last_epoch, log_end, log_start };
                    let _ = coord.ask().try_send(report);
                }
                if let Some(next) = self.with_everybody(&image, entry, me) {
                    let (answer, answered) = oneshot::channel();
                    let change = Ask::ChangeIsr { topic_id, next: Box::new(next), answer };
                    if coord.ask().send(change).await.is_ok() {
                        let _ = timeout(PATIENCE, answered).await;
                    }
                    break; // by now the image may be another
                }
            }
            let _ = timeout(LOOK_AROUND, images.changed()).await;
        }
    }

    /// Has files of what it holds, and removes them where a tombstone says so.
    fn keep_files(&self, image: &ClusterImage, coord: &Coord) {
        let of_mine = |topics: &Topics| -> BTreeSet<Partition> {
            let entries = topics.values().flat_map(|topic| topic.partitions.iter().map(|entry| (topic.id, entry)));
            let mine = entries.filter(|(_, entry)| entry.replicas.contains(&self.id));
            mine.map(|(id, entry)| (id, entry.partition)).collect()
        };
        self.referee.lock().keeps(self.id, of_mine(&image.topics), |(id, _)| image.deleted.contains_key(id));
        for (topic_id, partition) in of_mine(&image.deleted) {
            // If the queue is full, it is reported again with the next image.
            let _ = coord.ask().try_send(Ask::Removed { topic_id, partition });
        }
    }

    fn with_everybody(&self, image: &ClusterImage, entry: &Assignment, me: Incarnation) -> Option<Assignment> {
        let leader_epoch = entry.leader_epoch;
        let leader = Leader {
            broker: self.id,
            incarnation: me,
            leader_epoch,
            epoch_start: 0,
            high_watermark: 0,
            log_start: 0,
            write_in_flight: false,
        };
        let referee = self.referee.lock();
        entry.replicas.iter().find_map(|broker| {
            let shown = image.brokers.get(broker)?;
            let leaving = !shown.alive || shown.draining;
            let incarnation = *referee.incarnations.get(broker)?;
            entry
                .expand(
                    &leader,
                    &Follower { broker: *broker, incarnation, leader_epoch, log_end: 0, log_start: 0, leaving },
                )
                .ok()
        })
    }
}

/// Returns when a stopping broker need not serve any longer.
async fn drained(coord: &Coord, stop: oneshot::Receiver<()>) {
    // It ends without a word when the process is killed.
    let _ = stop.await;
    coord.drain();
    let me = coord.broker();
    let _ = timeout(GRACE, coord.images().wait_for(|image| !drain::is_needed(image, me))).await;
}

/// Where a broker listens.
pub(super) fn port(id: BrokerId) -> u16 {
    9092 + id.0 as u16
}

/// In the same order each time.
fn entries(image: &ClusterImage) -> impl Iterator<Item = (&Topic, &Assignment)> {
    let topics = image.topic_names.values().filter_map(|id| image.topics.get(id));
    topics.flat_map(|topic| topic.partitions.iter().map(move |entry| (&**topic, entry)))
}
