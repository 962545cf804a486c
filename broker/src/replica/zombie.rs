//! A broker that is cut off from its cluster gives way: where its followers have gone too, others lead most likely.
//!
//! A courtesy to clients that still come here (COORDINATION §4). Nothing is safe because of it: what is not on the
//! in-sync replicas is not committed, whichever broker serves. A partition without followers is served on, and so is
//! one whose followers are there: an API server that is away is no reason.

use std::sync::Arc;
use std::time::Duration;

use super::Replicas;
use crate::env;

const LOOK: Duration = Duration::from_secs(1);

impl Replicas {
    /// Gives way and takes over again as `is_cut_off` and followers say, until the broker stops.
    pub async fn give_way(self: Arc<Self>, is_cut_off: impl Fn() -> bool) {
        loop {
            env::sleep_until(env::now() + LOOK).await;
            let cut_off = is_cut_off();
            let changed = self.all().iter().filter(|partition| partition.give_way(cut_off)).count();
            if changed > 0 {
                // Coordinators give way with their partitions.
                self.roles.send_replace(());
            }
        }
    }
}
