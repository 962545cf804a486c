//! From what the watches show to what the rest of the broker follows: the image, and what else the objects say.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_kube::versions::SetBacks;
use ottla_kube::watches::{Told, Watches};
use tokio::sync::watch;

use super::api_server::ApiServer;
use super::image::{self, Images};
use super::known::{Compared, KnownObjects, Lists, ObjectEvent};
use super::users::KnownUsers;
use crate::env::{self, Instant};
use crate::image::{BrokerId, ClusterImage, ImageReceiver};

/// What the watches have shown, for those who follow it.
pub(super) struct Views {
    /// The cluster; without an id until the watches have shown all of it.
    pub images: ImageReceiver,
    /// When a watch showed something last.
    pub signs: watch::Receiver<Instant>,
    /// The newest version of everything.
    pub known: watch::Receiver<KnownObjects>,
    /// Topics that the API server does not show, and of which this broker has replicas.
    pub missing: watch::Receiver<BTreeSet<String>>,
    /// How what is known compares with what is shown.
    pub compared: watch::Receiver<Compared>,
    publish: watch::Sender<Arc<ClusterImage>>,
}

impl Views {
    /// Publishes the image of `copy` where the API server is away since before this broker's start.
    pub(super) fn publish_copy(&self, me: BrokerId, copy: &KnownObjects, users: Arc<KnownUsers>) {
        self.publish.send_replace(Arc::new(image::image(me, copy, users)));
    }
}

/// Begins to watch, with what the copy on disk has. What is shown is taken in while the future is polled, for ever.
pub(super) fn start(
    api: &ApiServer,
    me: BrokerId,
    copy: KnownObjects,
    users: watch::Receiver<Arc<KnownUsers>>,
    set_backs: &SetBacks,
) -> (impl Future<Output = ()> + use<>, Views) {
    let (publish, images) = watch::channel(Arc::new(ClusterImage::default()));
    let (sign, signs) = watch::channel(env::now());
    let (keep, known) = watch::channel(copy.clone());
    let (miss, missing) = watch::channel(copy.missing_topics(me));
    let (compare, compared) = watch::channel(Compared::default());
    let shown = Views { images, signs, known, missing, compared, publish: publish.clone() };
    let made = Images::new(me);
    let watching = Watching { me, known: copy, users, made, publish, sign, keep, miss, compare };
    (watching.run(api.watches(set_backs)), shown)
}

/// Makes images of what the watches show.
struct Watching {
    me: BrokerId,
    known: KnownObjects,
    users: watch::Receiver<Arc<KnownUsers>>,
    made: Images,
    publish: watch::Sender<Arc<ClusterImage>>,
    sign: watch::Sender<Instant>,
    keep: watch::Sender<KnownObjects>,
    miss: watch::Sender<BTreeSet<String>>,
    compare: watch::Sender<Compared>,
}

impl Watching {
    async fn run(mut self, mut watches: Watches<ObjectEvent>) {
        let mut lists = Lists::default();
        let mut learned = false;
        loop {
            let told = tokio::select! {
                told = watches.next() => told,
                changed = self.users.changed() => {
                    // An error says that the broker stops.
                    if changed.is_err() {
                        return;
                    }
                    learned = true;
                    Some(Told::Events(Vec::new()))
                }
            };
            let Some(told) = told else { return };
            let news = match told {
                Told::Events(news) => news,
                Told::SetBack => {
                    // What was shown before may not exist any more.
                    lists = Lists::default();
                    self.compare.send_modify(|compared| compared.newer = None);
                    continue;
                }
            };
            self.sign.send_replace(env::now());
            learned |= self.known.learn(self.me, &mut lists, news);
            // A list that is not complete shows a part of the cluster.
            if !watches.are_complete() {
                continue;
            }
            // This comes first, because the Lease that is taken with the first image has it.
            let compared = self.known.compared();
            self.compare.send_if_modified(|told| std::mem::replace(told, compared.clone()) != compared);
            if std::mem::take(&mut learned) || self.publish.borrow().cluster_id.is_empty() {
                let users = self.users.borrow().clone();
                self.publish.send_replace(Arc::new(self.made.next(&self.known, users)));
                self.keep.send_replace(self.known.clone());
                let missing = self.known.missing_topics(self.me);
                self.miss.send_if_modified(|told| std::mem::replace(told, missing.clone()) != missing);
            }
        }
    }
}
