//! StreamsGroupHeartbeat: a member joins, stays, says what it owns, and moves on to its assignment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{GroupAppendError, GroupError};
use crate::ids::MemberId;
use crate::record::{
    MemberState, StreamsCurrentValue, StreamsGroupValue, StreamsMemberValue, StreamsRecord, StreamsTasks, Tasks,
    Topology,
};
use crate::request::{Owned, StatusCode, StreamsHeartbeat, StreamsHeartbeatRequest, StreamsStatus};
use crate::streams::group::{AWAY, JOINING, LEAVING, Member, NO_TOPOLOGY, StreamsGroup};
use crate::streams::reconcile::{self, Goal, Holders};
use crate::streams::topology::{self, Configured};
use crate::timers::{TimerKey, millis};
use crate::topics::Topics;
use crate::turn::Turn;

/// What a request says that can be seen without the group.
///
/// # Errors
/// That it makes no sense, or needs what is not supported.
pub(super) fn check(request: &StreamsHeartbeatRequest) -> Result<(), GroupError> {
    let is_blank = |text: &str| text.trim().is_empty();
    let invalid = |why| Err(GroupError::InvalidRequest(why));
    if request.instance.is_some() {
        return invalid("Static membership is not yet supported.");
    }
    if request.has_task_offsets {
        return invalid("TaskOffsets are not supported yet.");
    }
    if request.has_task_end_offsets {
        return invalid("TaskEndOffsets are not supported yet.");
    }
    if matches!(&request.owned, Owned::Tasks(tasks) if !tasks.warmup.is_empty()) {
        return invalid("WarmupTasks are not supported yet.");
    }
    if is_blank(&request.member) {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(&request.group) {
        return invalid("GroupId can't be empty.");
    }
    if request.rack.as_deref().is_some_and(is_blank) {
        return invalid("RackId can't be empty.");
    }
    if request.owned == Owned::Partly {
        return invalid("If one task-type is non-null, all must be non-null.");
    }
    match (request.epoch, &request.topology) {
        (JOINING, _) if request.rebalance_timeout_ms.is_none() => {
            invalid("RebalanceTimeoutMs must be provided in first request.")
        }
        (JOINING, _) if matches!(&request.owned, Owned::Tasks(tasks) if !tasks.active.is_empty()) => {
            invalid("ActiveTasks must be empty when (re-)joining.")
        }
        (JOINING, _) if matches!(&request.owned, Owned::Tasks(tasks) if !tasks.standby.is_empty()) => {
            invalid("StandbyTasks must be empty when (re-)joining.")
        }
        (JOINING, None) => invalid("Topology must be non-null when (re-)joining."),
        (JOINING, Some(topology)) => topology::check(topology),
        (AWAY, _) => invalid("InstanceId can't be null."),
        (..AWAY, _) => invalid("MemberEpoch is invalid."),
        (LEAVING | 1.., Some(_)) => invalid("Topology can only be provided when (re-)joining."),
        (LEAVING | 1.., None) => Ok(()),
    }
}

/// How the group's topology stands to the one of a request.
enum Given {
    /// It becomes the group's.
    First(Topology),
    /// The group keeps its own.
    Known,
}

impl StreamsGroup {
    /// A member joins or stays. The answer holds once what the group has changed is durable.
    pub(super) fn heartbeat(
        &mut self,
        request: &StreamsHeartbeatRequest,
        turn: &mut Turn<'_>,
    ) -> Result<StreamsHeartbeat, GroupError> {
        let (id, config) = (&request.member, turn.config.of_streams_group(&self.id));
        let before = self.before(request, turn.config.streams_max_size)?;
        let given = self.given(request.topology.as_ref())?;
        let (topology, is_new) = match &given {
            Given::First(topology) => (topology, true),
            // A member whose group has lost its topology brings it when it joins again.
            Given::Known => (self.topology.as_ref().ok_or(GroupError::FencedMemberEpoch)?, false),
        };
        let value = updated(&before.value, request);
        let (topology_epoch, is_stale) = (topology.epoch, value.topology_epoch < topology.epoch);
        let (metadata_hash, configured) = self.configure(topology, is_new, turn.topics)?;
        if let Owned::Tasks(owned) = &request.owned {
            check_tasks(owned, &before.current, &configured)?;
        }

        let was_empty = self.members.is_empty();
        let has_changed = value != before.value || !self.members.contains_key(id);
        let member = has_changed.then(|| StreamsRecord::Member(id.clone(), Some(Box::new(value))));
        let topology = match given {
            Given::First(topology) => Some(StreamsRecord::Topology(Some(Box::new(topology)))),
            Given::Known => None,
        };
        let records: Vec<StreamsRecord> = member.into_iter().chain(topology).collect();
        for record in &records {
            turn.check_size(&self.record(record.clone()))?;
        }
        for record in records {
            self.write(record);
        }
        self.configured = Some(Arc::clone(&configured));
        self.checked_topics = Some(turn.topics.version());
        let now = StreamsGroupValue {
            epoch: self.epoch,
            metadata_hash,
            validated_epoch: if configured.is_ready() { topology_epoch } else { NO_TOPOLOGY },
            configs: config.assignment_configs(),
        };
        if has_changed || now != self.value() {
            self.write(StreamsRecord::Group(Some(StreamsGroupValue { epoch: self.epoch.saturating_add(1), ..now })));
        }

        let mut statuses = Vec::new();
        if is_stale {
            statuses.push(self.stale(id, topology_epoch));
        }
        let target = self.target(id, was_empty, &configured, &mut statuses, turn);
        if self.overload.includes(self.epoch, id) {
            if before.current.epoch == JOINING {
                self.fence(id, turn); // it has just joined, and is not let in
            }
            return Err(GroupAppendError::TooLarge.into());
        }
        let current = self.reconcile(id, &target, request, turn)?;
        self.restart_session(id, turn);
        if request.shuts_down {
            self.ask_for_shutdown(id);
        }

        let has_moved = request.epoch == JOINING || current.assigned != before.current.assigned;
        let has_endpoint = self.members.get(id).is_some_and(|member| member.value.endpoint.is_some());
        if has_moved && has_endpoint {
            self.endpoint_epoch = self.endpoint_epoch.wrapping_add(1);
        }
        // A member that owns something else may have lost an answer. Kafka 4.3.1 does not repeat it: then nobody works
        // on tasks that were given with the answer, and tasks that it takes away are kept until the member is removed.
        let assigned = current.assigned.tasks();
        let is_behind = matches!(&request.owned, Owned::Tasks(owned) if *owned != assigned);
        statuses.extend(configured.problem.clone());
        statuses.extend(self.shutdown());
        Ok(StreamsHeartbeat {
            member: id.clone(),
            epoch: current.epoch,
            interval: config.heartbeat_interval,
            tasks: (has_moved || is_behind).then_some(assigned),
            statuses,
            endpoint_epoch: self.endpoint_epoch,
            endpoints: (self.endpoint_epoch != request.endpoint_epoch).then(|| self.endpoints(turn.topics)),
            missing: configured.missing.clone(),
        })
    }

    /// The member as it was, or as it begins. Kafka 4.3.1 refuses in a full group also a member that joins again; here
    /// the member keeps its place.
    fn before(&self, request: &StreamsHeartbeatRequest, max_size: usize) -> Result<Member, GroupError> {
        match self.members.get(&request.member) {
            Some(member) => check_epoch(member, request).map(|()| member.clone()),
            None if request.epoch != JOINING => Err(GroupError::UnknownMemberId),
            None if self.members.len() >= max_size => Err(GroupError::GroupMaxSizeReached),
            None => self.history.admit().map(|()| Member::new()),
        }
    }

    /// The first member decides on the topology. Later ones have the same, or an older one.
    fn given(&self, topology: Option<&Topology>) -> Result<Given, GroupError> {
        match (topology, &self.topology) {
            (Some(given), None) => Ok(Given::First(given.clone())),
            (Some(given), Some(own)) if given.epoch >= own.epoch && given != own => {
                Err(GroupError::InvalidRequest("Topology updates are not supported yet."))
            }
            (Some(_) | None, Some(_)) | (None, None) => Ok(Given::Known),
        }
    }

    /// The hash of the topology's topics, and the topology beside them: computed if they may have changed.
    fn configure(
        &self,
        topology: &Topology,
        is_new: bool,
        topics: &Topics,
    ) -> Result<(i64, Arc<Configured>), GroupError> {
        let known = self.configured.as_ref().filter(|_| !is_new);
        if let Some(known) = known.filter(|_| self.checked_topics == Some(topics.version())) {
            return Ok((self.metadata_hash, Arc::clone(known)));
        }
        let hash = topics.hash(topology::required(topology));
        match known.filter(|_| hash == self.metadata_hash) {
            Some(known) => Ok((hash, Arc::clone(known))),
            None => Ok((hash, Arc::new(topology::configure(topology, topics)?))),
        }
    }

    fn reconcile(
        &mut self,
        id: &MemberId,
        target: &StreamsTasks,
        request: &StreamsHeartbeatRequest,
        turn: &mut Turn<'_>,
    ) -> Result<StreamsCurrentValue, GroupError> {
        let Some(member) = self.members.get(id) else { return Err(GroupError::UnknownMemberId) };
        if member.is_reconciled(self.target_epoch) {
            return Ok(member.current.clone());
        }
        let owned = match &request.owned {
            Owned::Tasks(owned) => Some(owned),
            Owned::Unsaid | Owned::Partly => None,
        };
        let others = Others::of(self, id, &member.value.process);
        let goal = Goal { epoch: self.target_epoch, target, owned, holders: &others };
        let next = reconcile::step(&member.current, &goal)?;
        if next != member.current {
            let key = TimerKey::Revocation(self.id.clone(), id.clone());
            if next.state == MemberState::Unrevoked {
                turn.schedule(key, millis(member.value.rebalance_timeout_ms));
            } else {
                turn.timers.cancel(&key);
            }
            self.write(StreamsRecord::Current(id.clone(), Some(next.clone())));
        }
        Ok(next)
    }

    pub(super) fn restart_session(&self, id: &MemberId, turn: &mut Turn<'_>) {
        let key = TimerKey::Session(self.id.clone(), id.clone());
        turn.schedule(key, turn.config.of_streams_group(&self.id).session_timeout);
    }

    fn stale(&self, id: &MemberId, topology_epoch: i32) -> StreamsStatus {
        let epoch = self.members.get(id).map_or(NO_TOPOLOGY, |member| member.value.topology_epoch);
        let detail =
            format!("The member's topology epoch {epoch} is behind the group's topology epoch {topology_epoch}.");
        StreamsStatus { code: StatusCode::StaleTopology, detail }
    }

    /// The first member that asks counts.
    pub(super) fn ask_for_shutdown(&mut self, id: &MemberId) {
        self.shutdown_by.get_or_insert_with(|| id.clone());
    }

    fn shutdown(&self) -> Option<StreamsStatus> {
        let by = self.shutdown_by.as_ref()?;
        let detail = format!(
            "Streams group member {by} encountered a fatal error and requested a shutdown for the entire application."
        );
        Some(StreamsStatus { code: StatusCode::ShutdownApplication, detail })
    }
}

/// Who has tasks besides a member.
struct Others<'a> {
    active: BTreeSet<(&'a str, i32)>,
    in_process: BTreeSet<(&'a str, i32)>,
}

impl<'a> Others<'a> {
    fn of(group: &'a StreamsGroup, id: &MemberId, process: &str) -> Self {
        let mut others = Others { active: BTreeSet::new(), in_process: BTreeSet::new() };
        for (_, other) in group.members.iter().filter(|(other, _)| *other != id) {
            let is_neighbour = other.value.process == process;
            for tasks in [&other.current.assigned, &other.current.revoking] {
                let active = || keys(&tasks.active, |all| all.keys());
                others.active.extend(active());
                if is_neighbour {
                    let standby = keys(&tasks.standby, |all| all.iter());
                    let warmup = keys(&tasks.warmup, |all| all.iter());
                    others.in_process.extend(active().chain(standby).chain(warmup));
                }
            }
        }
        others
    }
}

fn keys<'a, T, I: Iterator<Item = &'a i32>>(
    tasks: &'a BTreeMap<String, T>,
    partitions: impl Fn(&'a T) -> I,
) -> impl Iterator<Item = (&'a str, i32)> {
    tasks.iter().flat_map(move |(id, all)| partitions(all).map(move |partition| (id.as_str(), *partition)))
}

impl Holders for Others<'_> {
    fn is_active(&self, subtopology: &str, partition: i32) -> bool {
        self.active.contains(&(subtopology, partition))
    }

    fn is_in_process(&self, subtopology: &str, partition: i32) -> bool {
        self.in_process.contains(&(subtopology, partition))
    }
}

/// A member that has not got the answer with its new epoch sends the one before, and must not own more than it was
/// given by then.
fn check_epoch(member: &Member, request: &StreamsHeartbeatRequest) -> Result<(), GroupError> {
    let current = &member.current;
    let owned = match &request.owned {
        Owned::Tasks(owned) => Some(owned),
        Owned::Unsaid | Owned::Partly => None,
    };
    let may_be_late = request.epoch == current.previous_epoch
        && owned.is_some_and(|owned| {
            let assigned = current.assigned.tasks();
            is_within(&owned.active, &assigned.active)
                && is_within(&owned.standby, &assigned.standby)
                && is_within(&owned.warmup, &assigned.warmup)
        });
    let is_current = request.epoch == JOINING || request.epoch == current.epoch;
    // A state of a newer version: only a member that brings nothing can continue.
    let is_known = current.state != MemberState::Unknown || owned.is_some_and(StreamsTasks::is_empty);
    if (is_current || (request.epoch < current.epoch && may_be_late)) && is_known {
        Ok(())
    } else {
        Err(GroupError::FencedMemberEpoch)
    }
}

fn is_within(owned: &Tasks, assigned: &Tasks) -> bool {
    owned.iter().all(|(id, owned)| assigned.get(id).is_some_and(|assigned| owned.is_subset(assigned)))
}

/// The member owns tasks that there are, or that it was given when there were more: Kafka 4.3.1 refuses the latter,
/// which is the end of a client that has done nothing wrong. While topics are missing or wrong, nobody knows.
fn check_tasks(owned: &StreamsTasks, current: &StreamsCurrentValue, configured: &Configured) -> Result<(), GroupError> {
    if !configured.is_ready() {
        return Ok(());
    }
    let (assigned, revoking) = (current.assigned.tasks(), current.revoking.tasks());
    let are_known = |owned: &Tasks, assigned: &Tasks, revoking: &Tasks| {
        let given = |id: &String, partition: &i32| {
            [assigned, revoking].into_iter().any(|tasks| tasks.get(id).is_some_and(|all| all.contains(partition)))
        };
        owned.iter().all(|(id, partitions)| {
            let tasks = configured.tasks.get(id).map_or(0, |count| count.tasks);
            partitions.iter().all(|partition| (0..tasks).contains(partition) || given(id, partition))
        })
    };
    let is_fine = are_known(&owned.active, &assigned.active, &revoking.active)
        && are_known(&owned.standby, &assigned.standby, &revoking.standby)
        && are_known(&owned.warmup, &assigned.warmup, &revoking.warmup);
    if is_fine { Ok(()) } else { Err(GroupError::InvalidRequest("A task does not exist in the topology.")) }
}

/// What the member says now; what it does not say has not changed.
fn updated(before: &StreamsMemberValue, request: &StreamsHeartbeatRequest) -> StreamsMemberValue {
    StreamsMemberValue {
        instance: before.instance.clone(),
        rack: request.rack.clone().or_else(|| before.rack.clone()),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        rebalance_timeout_ms: request.rebalance_timeout_ms.unwrap_or(before.rebalance_timeout_ms),
        topology_epoch: request.topology.as_ref().map_or(before.topology_epoch, |topology| topology.epoch),
        process: request.process.clone().unwrap_or_else(|| before.process.clone()),
        endpoint: request.endpoint.clone().or_else(|| before.endpoint.clone()),
        client_tags: request.client_tags.clone().unwrap_or_else(|| before.client_tags.clone()),
    }
}
