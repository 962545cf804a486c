//! All share sessions of a broker.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::TopicIdPartition;

use super::partitions::Partitions;
use crate::error::SessionError;
use crate::ids::{ConnectionId, GroupId, MemberId};

/// The epoch of a request that opens a session.
const INITIAL: i32 = 0;
/// The epoch of a request that closes it.
const FINAL: i32 = -1;

/// A ShareFetch request, as far as its session is concerned.
#[derive(Clone, Copy, Debug)]
pub struct ShareFetch<'a> {
    /// The group.
    pub group: &'a GroupId,
    /// The member.
    pub member: &'a MemberId,
    /// `ShareSessionEpoch`
    pub epoch: i32,
    /// The connection on which it came.
    pub connection: ConnectionId,
    /// Partitions that it names, other than to forget them.
    pub partitions: &'a [TopicIdPartition],
    /// `ForgottenTopicsData`
    pub forgotten: &'a [TopicIdPartition],
    /// Whether it acknowledges anything.
    pub acknowledges: bool,
}

/// What a ShareFetch request comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fetch {
    /// Fetch from these partitions, in this order: with each epoch another one comes first. What the request
    /// acknowledges comes first of all.
    From(Vec<TopicIdPartition>),
    /// The request acknowledges, and fetches nothing. Then the host closes the session: [`Sessions::close`].
    Final,
}

/// What a fetch has found in a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// The partition.
    pub partition: TopicIdPartition,
    /// Whether there are records.
    pub has_records: bool,
    /// Whether there is an error.
    pub has_error: bool,
}

/// A session that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The group.
    pub group: GroupId,
    /// The member, whose records are released.
    pub member: MemberId,
    /// In these partitions.
    pub partitions: Vec<TopicIdPartition>,
    /// Whether the group has no other session here: its share partitions may be dropped as soon as their writes are
    /// settled.
    pub group_has_left: bool,
}

type Key = (GroupId, MemberId);

#[derive(Clone, Debug)]
struct Session {
    /// Of the next request.
    epoch: i32,
    connection: ConnectionId,
    partitions: Partitions,
}

/// All share sessions of a broker. A session ends when its member closes it, or its connection; never to make room for
/// another.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// `group.share.max.share.sessions`
    limit: usize,
    sessions: BTreeMap<Key, Session>,
    connections: BTreeMap<ConnectionId, BTreeSet<Key>>,
}

impl Sessions {
    /// No sessions, and never more than the limit.
    pub fn new(limit: usize) -> Self {
        Sessions { limit, sessions: BTreeMap::new(), connections: BTreeMap::new() }
    }

    /// How many there are (Kafka's metric `ShareSessionsCount`).
    pub fn count(&self) -> usize {
        self.sessions.len()
    }

    /// Whether any member of the group has one.
    pub fn has_group(&self, group: &GroupId) -> bool {
        let first = self.sessions.range((group.clone(), MemberId::from(""))..).next();
        first.is_some_and(|((of, _), _)| of == group)
    }

    /// How many partitions they have together (`SharePartitionsCount`).
    pub fn partition_count(&self) -> usize {
        self.sessions.values().map(|session| session.partitions.len()).sum()
    }

    /// A fetch: opens a session, or changes its partitions, and moves its epoch. Opening one again forgets what it was,
    /// and releases nothing: what the member holds it may still acknowledge.
    ///
    /// # Errors
    /// See [`SessionError`]. If the limit is reached, an older session of the member is gone nevertheless.
    pub fn fetch(&mut self, request: &ShareFetch<'_>) -> Result<Fetch, SessionError> {
        let key = (request.group.clone(), request.member.clone());
        match request.epoch {
            FINAL if self.sessions.contains_key(&key) => Ok(Fetch::Final),
            FINAL => Err(SessionError::ShareSessionNotFound),
            INITIAL if request.acknowledges => Err(SessionError::InvalidRequest),
            INITIAL => self.open(key, request).map(Fetch::From),
            epoch => {
                let session = self.moved(&key, epoch)?;
                for partition in request.partitions {
                    session.partitions.add(*partition, true);
                }
                for partition in request.forgotten {
                    session.partitions.forget(*partition);
                }
                let mut partitions = session.partitions.in_order();
                if !partitions.is_empty() {
                    // Kafka's PartitionRotateStrategy; the epoch is above 0.
                    let first = epoch.unsigned_abs() as usize % partitions.len();
                    partitions.rotate_left(first);
                }
                Ok(Fetch::From(partitions))
            }
        }
    }

    /// Which of the partitions that were fetched the response names, in their order: those with records or an error,
    /// and those of which the client has not heard since it asked for them. `epoch`: the request's.
    ///
    /// # Errors
    /// If the member has sent another request meanwhile, or its session has ended: then the response has no partitions,
    /// and the records that were acquired for it stay with the member until their locks end.
    pub fn answer(
        &mut self,
        group: &GroupId,
        member: &MemberId,
        epoch: i32,
        fetched: &[Fetched],
    ) -> Result<Vec<bool>, SessionError> {
        if epoch == INITIAL || epoch == FINAL {
            return Ok(vec![true; fetched.len()]);
        }
        let session = self.sessions.get_mut(&(group.clone(), member.clone()));
        let session = session.filter(|session| session.epoch == next(epoch));
        let session = session.ok_or(SessionError::InvalidShareSessionEpoch)?;
        let answer =
            |fetched: &Fetched| session.partitions.answer(fetched.partition, fetched.has_records, fetched.has_error);
        Ok(fetched.iter().map(answer).collect())
    }

    /// A ShareAcknowledge request: moves the session's epoch. If the epoch is −1, the host acknowledges, and closes the
    /// session then: [`Sessions::close`].
    ///
    /// # Errors
    /// See [`SessionError`]; this request opens no session.
    pub fn acknowledge(&mut self, group: &GroupId, member: &MemberId, epoch: i32) -> Result<(), SessionError> {
        let key = (group.clone(), member.clone());
        match epoch {
            INITIAL => Err(SessionError::InvalidShareSessionEpoch),
            FINAL if self.sessions.contains_key(&key) => Ok(()),
            FINAL => Err(SessionError::ShareSessionNotFound),
            epoch => self.moved(&key, epoch).map(|_| ()),
        }
    }

    /// Ends a session, because its member has closed it.
    ///
    /// # Errors
    /// If there is none.
    pub fn close(&mut self, group: &GroupId, member: &MemberId) -> Result<Ended, SessionError> {
        self.end(&(group.clone(), member.clone())).ok_or(SessionError::ShareSessionNotFound)
    }

    /// Ends the sessions that were opened on a connection, because it is closed.
    pub fn disconnect(&mut self, connection: ConnectionId) -> Vec<Ended> {
        let keys = self.connections.remove(&connection).unwrap_or_default();
        keys.iter().filter_map(|key| self.end(key)).collect()
    }

    fn open(&mut self, key: Key, request: &ShareFetch<'_>) -> Result<Vec<TopicIdPartition>, SessionError> {
        self.remove(&key);
        if self.sessions.len() >= self.limit {
            return Err(SessionError::ShareSessionLimitReached);
        }
        let mut partitions = Partitions::default();
        for partition in request.partitions {
            partitions.add(*partition, false);
        }
        let in_order = partitions.in_order();
        self.connections.entry(request.connection).or_default().insert(key.clone());
        self.sessions.insert(key, Session { epoch: next(INITIAL), connection: request.connection, partitions });
        Ok(in_order)
    }

    /// The session, if it is at this epoch, moved to the next one.
    fn moved(&mut self, key: &Key, epoch: i32) -> Result<&mut Session, SessionError> {
        let session = self.sessions.get_mut(key).ok_or(SessionError::ShareSessionNotFound)?;
        if session.epoch != epoch {
            return Err(SessionError::InvalidShareSessionEpoch);
        }
        session.epoch = next(epoch);
        Ok(session)
    }

    fn end(&mut self, key: &Key) -> Option<Ended> {
        let session = self.remove(key)?;
        let (group, member) = key.clone();
        let group_has_left = !self.has_group(&group);
        Some(Ended { group, member, partitions: session.partitions.in_order(), group_has_left })
    }

    fn remove(&mut self, key: &Key) -> Option<Session> {
        let session = self.sessions.remove(key)?;
        if let Some(keys) = self.connections.get_mut(&session.connection) {
            keys.remove(key);
            if keys.is_empty() {
                self.connections.remove(&session.connection);
            }
        }
        Some(session)
    }
}

/// The epoch after this one; after the highest comes 1, because 0 opens a session.
fn next(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_after_the_highest_opens_no_session() {
        assert_eq!([0, 1, i32::MAX - 1, i32::MAX].map(next), [1, 2, i32::MAX, 1]);
    }
}
