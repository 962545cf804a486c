//! The metrics of groups, computed at a scrape.

use std::collections::BTreeMap;

use ottla_group::{GroupId, GroupKind, GroupState, Shard, TopicName};

use super::Groups;
use crate::image::ClusterImage;
use crate::metrics::CoordinatorMetrics;

/// What one look at the groups finds.
struct GroupCounts {
    by_state: BTreeMap<(GroupKind, GroupState), i64>,
    offsets: Vec<(GroupId, TopicName, i32, i64)>,
}

impl Groups {
    /// Sets the groups' gauges.
    pub(super) fn measure(&self, metrics: &CoordinatorMetrics) {
        let states = GroupKind::ALL.into_iter().flat_map(|kind| kind.states().iter().map(move |state| (kind, *state)));
        let mut found = GroupCounts { by_state: states.map(|state| (state, 0)).collect(), offsets: Vec::new() };
        for coordinator in self.coordinators.all() {
            // What is still being loaded is counted the next time.
            let _ = coordinator.survey(|groups| found.add(groups));
        }
        for ((kind, state), count) in found.by_state {
            metrics.groups.with_label_values(&[kind.name(), state.name()]).set(count);
        }
        let image = self.images.borrow().clone();
        // Groups, topics and offsets go: so must their series.
        metrics.group_lag.reset();
        for (group, topic, partition, offset) in found.offsets {
            if let Some(lag) = self.lag(&image, &topic, partition, offset) {
                metrics.group_lag.with_label_values(&[&*group, &*topic, &partition.to_string()]).set(lag);
            }
        }
    }

    /// Records between a committed offset and the end that consumers see; known where this broker leads the partition.
    fn lag(&self, image: &ClusterImage, topic: &str, partition: i32, offset: i64) -> Option<i64> {
        let partition = self.replicas.get(image.topic(topic)?, partition).ok()?;
        partition.leader_epoch()?;
        Some((partition.high_watermark.get() - offset).max(0))
    }
}

impl GroupCounts {
    fn add(&mut self, groups: &Shard) {
        for listed in groups.list() {
            *self.by_state.entry((listed.kind, listed.state)).or_default() += 1;
            if !groups.is_settled(&listed.group) {
                continue;
            }
            let offsets = groups.committed_offsets(&listed.group);
            let offsets =
                offsets.map(|(topic, partition, at)| (listed.group.clone(), topic.clone(), partition, at.offset));
            self.offsets.extend(offsets);
        }
    }
}
