//! Incremental fetches (KIP-227): a client names its partitions once, and from then on only what changes; each response
//! has only what is new.
//!
//! A session is between two requests what the client and we both know. [`FetchSessions::begin`] completes a request
//! from it, and [`Ongoing::finish`] takes out of the answer what the client knows. Between the two a fetch is one like
//! any other. Always: no more sessions than there are slots, and no more partitions in all of them than [`PARTITIONS`].
//! A client without one names everything each time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString as Str;
use ottla_access::Principal;
use ottla_wire::ErrorCode;
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::env::{self, Instant};

/// Asks for a new session.
const INITIAL_EPOCH: i32 = 0;
/// Wants none, and ends the one it names.
const FINAL_EPOCH: i32 = -1;
/// A session that nobody has used for so long makes room for another.
const IDLE: Duration = Duration::from_secs(120);
/// How many partitions all sessions name together: some 50 MB. A client may add to its session with each request, of
/// whatever exists or does not.
const PARTITIONS: usize = 250_000;
/// The version from which on topics go by id.
const IDS_FROM: i16 = 13;

/// The sessions of a broker.
#[derive(Default)]
pub struct FetchSessions(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_id: HashMap<i32, CachedSession>,
    /// How many partitions they name together.
    partitions: usize,
}

struct CachedSession {
    session: Arc<Mutex<Session>>,
    partitions: usize,
    last_used: Instant,
    of_follower: bool,
}

impl Kept {
    fn remove(&mut self, id: i32) {
        if let Some(entry) = self.by_id.remove(&id) {
            self.partitions -= entry.partitions;
        }
    }
}

/// What a client fetches, and what it was sent.
#[derive(Debug)]
struct Session {
    /// Who made it: nobody else finds it.
    principal: Principal,
    /// The number that its next request must have.
    epoch: i32,
    by_id: bool,
    /// In the order in which they are served: who was given records comes last.
    members: BTreeMap<u64, Member>,
    turns: HashMap<Key, u64>,
    next_turn: u64,
}

type Key = (Str, Uuid, i32);

#[derive(Debug)]
struct Member {
    topic: Str,
    topic_id: Uuid,
    wanted: FetchPartition,
    /// High watermark and log start, if the last answer was no error.
    told: Option<(i64, i64)>,
}

/// A fetch under way, as far as its session goes.
pub struct Ongoing(FetchContext);

enum FetchContext {
    Without,
    New {
        session: Session,
        of_follower: bool,
    },
    /// With the epoch that the session has as long as no other request has come.
    Incremental {
        id: i32,
        session: Arc<Mutex<Session>>,
        epoch: i32,
    },
}

impl FetchSessions {
    /// Completes `request` from its session: its topics are all that is wanted then.
    ///
    /// # Errors
    /// The code with which Kafka refuses; the client begins a new session then.
    pub fn begin(&self, request: &mut FetchRequest, version: i16, principal: &Principal) -> Result<Ongoing, ErrorCode> {
        let id = request.session_id;
        if matches!(request.session_epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            let mut kept = self.0.lock();
            if kept.by_id.get(&id).is_some_and(|entry| entry.session.lock().principal == *principal) {
                kept.remove(id);
            }
            drop(kept);
            if request.session_epoch == FINAL_EPOCH {
                return Ok(Ongoing(FetchContext::Without));
            }
            let of_follower = request.replica_id >= 0 || request.replica_state.replica_id >= 0;
            let session = Session::new(&request.topics, version, principal.clone());
            // What it names twice is served once.
            request.topics = session.topics();
            return Ok(Ongoing(FetchContext::New { session, of_follower }));
        }
        let mut kept = self.0.lock();
        let others = kept.partitions;
        let entry = kept.by_id.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        let others = others - entry.partitions;
        let shared = entry.session.clone();
        let mut session = shared.lock();
        if session.principal != *principal {
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        entry.last_used = env::now();
        session.go_on(request, version)?;
        entry.partitions = session.members.len();
        kept.partitions = others + session.members.len();
        if kept.partitions > PARTITIONS {
            kept.remove(id);
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        if session.members.is_empty() {
            kept.remove(id);
            return Ok(Ongoing(FetchContext::Without));
        }
        request.topics = session.topics();
        let epoch = session.epoch;
        drop(session);
        Ok(Ongoing(FetchContext::Incremental { id, session: shared, epoch }))
    }

    /// Keeps a new session, if there is room or it can be made; 0 if not.
    fn keep(&self, session: Session, of_follower: bool, slots: usize) -> i32 {
        let (mut kept, now) = (self.0.lock(), env::now());
        let partitions = session.members.len();
        if partitions > PARTITIONS {
            return 0;
        }
        while kept.by_id.len() >= slots || kept.partitions + partitions > PARTITIONS {
            let Some(victim) = victim(&kept.by_id, of_follower, now) else { return 0 };
            kept.remove(victim);
        }
        let id = loop {
            // Not a number that a client could have from a former life of this broker.
            let id = (env::random_uuid().as_u128() as i32) & i32::MAX;
            if id != 0 && !kept.by_id.contains_key(&id) {
                break id;
            }
        };
        kept.partitions += partitions;
        kept.by_id.insert(
            id,
            CachedSession { session: Arc::new(Mutex::new(session)), partitions, last_used: now, of_follower },
        );
        id
    }
}

/// Who makes room: the longest unused of those that are idle, and of all consumers where a follower wants a session.
fn victim(sessions: &HashMap<i32, CachedSession>, for_follower: bool, now: Instant) -> Option<i32> {
    let may_go = |entry: &CachedSession| now - entry.last_used >= IDLE || for_follower && !entry.of_follower;
    let candidates = sessions.iter().filter(|(_, entry)| may_go(entry));
    candidates.min_by_key(|(_, entry)| entry.last_used).map(|(id, _)| *id)
}

impl Ongoing {
    /// The id in an empty answer to a throttled client: its session stays as it is, a new one is not kept. As in Kafka.
    pub fn without_answer(self) -> i32 {
        match self.0 {
            FetchContext::Without | FetchContext::New { .. } => 0,
            FetchContext::Incremental { id, .. } => id,
        }
    }

    /// Leaves in `response` what the client does not know, and says in which session it is.
    pub fn finish(self, sessions: &FetchSessions, slots: usize, response: &mut FetchResponse) {
        match self.0 {
            FetchContext::Without => {}
            FetchContext::New { mut session, of_follower } => {
                session.tell(response, true);
                response.session_id = sessions.keep(session, of_follower, slots);
            }
            FetchContext::Incremental { id, session, epoch } => {
                response.session_id = id;
                let mut session = session.lock();
                // Else another request has come, and nobody waits for this answer.
                if session.epoch == epoch {
                    session.tell(response, false);
                }
            }
        }
    }
}

impl Session {
    fn new(topics: &[FetchTopic], version: i16, principal: Principal) -> Session {
        let mut session = Session {
            principal,
            epoch: 1,
            by_id: version >= IDS_FROM,
            members: BTreeMap::new(),
            turns: HashMap::new(),
            next_turn: 0,
        };
        topics.iter().for_each(|topic| session.want(topic));
        session
    }

    /// Takes the changes that a request brings.
    fn go_on(&mut self, request: &FetchRequest, version: i16) -> Result<(), ErrorCode> {
        if request.session_epoch != self.epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if self.by_id != (version >= IDS_FROM) {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        request.topics.iter().for_each(|topic| self.want(topic));
        for forgotten in &request.forgotten_topics_data {
            for number in &forgotten.partitions {
                if let Some(turn) = self.turns.remove(&(forgotten.topic.clone(), forgotten.topic_id, *number)) {
                    self.members.remove(&turn);
                }
            }
        }
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        Ok(())
    }

    fn want(&mut self, topic: &FetchTopic) {
        for wanted in &topic.partitions {
            let turn =
                *self.turns.entry((topic.topic.clone(), topic.topic_id, wanted.partition)).or_insert_with(|| {
                    self.next_turn += 1;
                    self.next_turn
                });
            let new =
                || Member { topic: topic.topic.clone(), topic_id: topic.topic_id, wanted: wanted.clone(), told: None };
            self.members.entry(turn).or_insert_with(new).wanted = wanted.clone();
        }
    }

    /// Everything, as a client without a session would name it.
    fn topics(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for member in self.members.values() {
            let same = |last: &&mut FetchTopic| last.topic == member.topic && last.topic_id == member.topic_id;
            match topics.last_mut().filter(same) {
                Some(topic) => topic.partitions.push(member.wanted.clone()),
                None => topics.push(FetchTopic {
                    topic: member.topic.clone(),
                    topic_id: member.topic_id,
                    partitions: vec![member.wanted.clone()],
                }),
            }
        }
        topics
    }

    /// Leaves the news in an answer to [`Session::topics`], which has the same order; or `everything`.
    fn tell(&mut self, response: &mut FetchResponse, everything: bool) {
        let mut members = self.members.iter_mut();
        let mut served = Vec::new();
        for topic in &mut response.responses {
            topic.partitions.retain(|answer| {
                let Some((turn, member)) = members.next() else { return true };
                if has_records(answer) {
                    served.push(*turn);
                }
                member.is_news(answer) || everything
            });
        }
        response.responses.retain(|topic| !topic.partitions.is_empty());
        served.into_iter().for_each(|turn| self.move_to_the_end(turn));
    }

    fn move_to_the_end(&mut self, turn: u64) {
        let Some(member) = self.members.remove(&turn) else { return };
        self.next_turn += 1;
        let key = (member.topic.clone(), member.topic_id, member.wanted.partition);
        self.turns.insert(key, self.next_turn);
        self.members.insert(self.next_turn, member);
    }
}

impl Member {
    /// Whether the client must be sent this, and from then on knows it.
    fn is_news(&mut self, answer: &PartitionData) -> bool {
        let failed = answer.error_code != ErrorCode::NONE;
        let now = (!failed).then_some((answer.high_watermark, answer.log_start_offset));
        let known = std::mem::replace(&mut self.told, now);
        // A follower that waits for a higher one (KIP-1166) knows this one from now on.
        if !failed && self.wanted.high_watermark != i64::MAX {
            self.wanted.high_watermark = answer.high_watermark;
        }
        failed
            || now != known
            || has_records(answer)
            || answer.diverging_epoch.epoch >= 0
            || answer.preferred_read_replica >= 0
    }
}

fn has_records(answer: &PartitionData) -> bool {
    answer.records.as_ref().is_some_and(|records| !records.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_wire::Records;
    use ottla_wire::m01_fetch::{FetchableTopicResponse, ForgottenTopic};

    const SLOTS: usize = 2;

    fn partition(number: i32, fetch_offset: i64) -> FetchPartition {
        FetchPartition { partition: number, fetch_offset, ..FetchPartition::default() }
    }

    fn request(session_id: i32, session_epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
        let partitions: Vec<_> = partitions.iter().map(|&(number, offset)| partition(number, offset)).collect();
        let topic = FetchTopic { topic: "t".into(), partitions, ..FetchTopic::default() };
        let topics = if topic.partitions.is_empty() { vec![] } else { vec![topic] };
        FetchRequest { session_id, session_epoch, topics, ..FetchRequest::default() }
    }

    fn wanted(request: &FetchRequest) -> Vec<(i32, i64)> {
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| (partition.partition, partition.fetch_offset)).collect()
    }

    /// The session's id, what was wanted, and the partitions that were sent.
    type Played = (i32, Vec<(i32, i64)>, Vec<i32>);

    /// Plays a request in which the partitions of `ends` have something new; what was wanted, and the partitions that
    /// were sent.
    fn play(
        sessions: &FetchSessions,
        mut request: FetchRequest,
        high_watermark: impl Fn(i32) -> i64,
        with_records: &[i32],
    ) -> Result<Played, ErrorCode> {
        let ongoing = sessions.begin(&mut request, 12, &Principal::ANONYMOUS)?;
        let answer = |wanted: &FetchPartition| PartitionData {
            partition_index: wanted.partition,
            high_watermark: high_watermark(wanted.partition),
            records: Some(match with_records.contains(&wanted.partition) {
                true => Records::from(bytes::Bytes::from_static(b"batch")),
                false => Records::default(),
            }),
            ..PartitionData::default()
        };
        let topics = request.topics.iter().map(|topic| FetchableTopicResponse {
            topic: topic.topic.clone(),
            partitions: topic.partitions.iter().map(answer).collect(),
            ..FetchableTopicResponse::default()
        });
        let mut response = FetchResponse { responses: topics.collect(), ..FetchResponse::default() };
        ongoing.finish(sessions, SLOTS, &mut response);
        let told = response.responses.iter().flat_map(|topic| &topic.partitions);
        Ok((response.session_id, wanted(&request), told.map(|answer| answer.partition_index).collect()))
    }

    #[test]
    fn a_session_completes_requests_and_leaves_out_what_is_known() {
        let sessions = FetchSessions::default();
        let still = |_| 5;
        let (id, all, told) = play(&sessions, request(0, 0, &[(0, 5), (1, 5), (2, 5), (0, 5)]), still, &[]).unwrap();
        assert_ne!(id, 0);
        assert_eq!((all, told), (vec![(0, 5), (1, 5), (2, 5)], vec![0, 1, 2]), "everything is sent at first, and once");

        let nothing = play(&sessions, request(id, 1, &[]), still, &[]).unwrap();
        assert_eq!(nothing, (id, vec![(0, 5), (1, 5), (2, 5)], vec![]));
        let grown = play(&sessions, request(id, 2, &[]), |number| if number == 1 { 6 } else { 5 }, &[0]).unwrap();
        assert_eq!(grown.2, [0, 1], "records, and a high watermark that moved");

        // Who was given records comes last. What changes is named; the rest is as it was.
        let moved = play(&sessions, request(id, 3, &[(0, 9)]), |number| if number == 1 { 6 } else { 5 }, &[]).unwrap();
        assert_eq!((moved.1, moved.2), (vec![(1, 5), (2, 5), (0, 9)], vec![]));
        let forgotten_topics_data =
            vec![ForgottenTopic { topic: "t".into(), partitions: vec![1, 7], ..ForgottenTopic::default() }];
        let forgetting = FetchRequest { forgotten_topics_data, ..request(id, 4, &[(3, 0)]) };
        assert_eq!(play(&sessions, forgetting, still, &[]).unwrap(), (id, vec![(2, 5), (0, 9), (3, 0)], vec![3]));
    }

    #[test]
    fn an_error_is_sent_each_time_and_so_is_its_end() {
        let mut member = Member { topic: "t".into(), topic_id: Uuid::nil(), wanted: partition(0, 0), told: None };
        let good = PartitionData { high_watermark: 5, ..PartitionData::default() };
        let bad = PartitionData { error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER, high_watermark: -1, ..good.clone() };
        let news = [&good, &good, &bad, &bad, &good, &good].map(|answer| member.is_news(answer));
        assert_eq!(news, [true, false, true, true, true, false]);
    }

    #[test]
    fn a_request_out_of_turn_is_refused() {
        let sessions = FetchSessions::default();
        let (id, ..) = play(&sessions, request(0, 0, &[(0, 0)]), |_| 0, &[]).unwrap();
        for (id, epoch, expected) in [
            (id ^ 1, 1, ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
            (id, 2, ErrorCode::INVALID_FETCH_SESSION_EPOCH),
            (id, -2, ErrorCode::INVALID_FETCH_SESSION_EPOCH),
        ] {
            assert_eq!(play(&sessions, request(id, epoch, &[]), |_| 0, &[]), Err(expected), "{epoch}");
        }
        let by_id = sessions.begin(&mut request(id, 1, &[]), IDS_FROM, &Principal::ANONYMOUS).err();
        assert_eq!(by_id, Some(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR));
        assert!(play(&sessions, request(id, 1, &[]), |_| 0, &[]).is_ok(), "a refusal leaves the session as it was");

        assert_eq!(play(&sessions, request(id, FINAL_EPOCH, &[]), |_| 0, &[]), Ok((0, vec![], vec![])));
        let closed = play(&sessions, request(id, 2, &[]), |_| 0, &[]);
        assert_eq!(closed, Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    }

    #[test]
    fn nobody_else_finds_a_session_nor_ends_it() {
        let sessions = FetchSessions::default();
        let (id, ..) = play(&sessions, request(0, 0, &[(0, 0)]), |_| 0, &[]).unwrap();
        let eve = Principal::new("eve");
        let stolen = sessions.begin(&mut request(id, 1, &[]), 12, &eve).err();
        assert_eq!(stolen, Some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        for epoch in [INITIAL_EPOCH, FINAL_EPOCH] {
            assert!(sessions.begin(&mut request(id, epoch, &[(0, 0)]), 12, &eve).is_ok());
        }
        assert!(play(&sessions, request(id, 1, &[]), |_| 0, &[]).is_ok(), "it is as it was");
    }

    #[tokio::test(start_paused = true)]
    async fn what_all_sessions_name_together_is_bounded() {
        let sessions = FetchSessions::default();
        let many = |from: usize| (from..from + PARTITIONS / 2).map(|number| (number as i32, 0)).collect::<Vec<_>>();
        let (half, ..) = play(&sessions, request(0, 0, &many(0)), |_| 0, &[]).unwrap();
        let (small, ..) = play(&sessions, request(0, 0, &[(0, 0)]), |_| 0, &[]).unwrap();
        let grown = play(&sessions, request(half, 1, &many(PARTITIONS / 2)), |_| 0, &[]);
        assert_eq!(grown, Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND), "it is asked to begin again");
        assert!(play(&sessions, request(small, 1, &[]), |_| 0, &[]).is_ok(), "nobody else is");

        let (again, ..) = play(&sessions, request(0, 0, &many(0)), |_| 0, &[]).unwrap();
        assert_ne!(again, 0, "its room is free");
        play(&sessions, request(small, 2, &[]), |_| 0, &[]).unwrap();
        play(&sessions, request(again, FINAL_EPOCH, &[]), |_| 0, &[]).unwrap();
        let (too_many, all, _) =
            play(&sessions, request(0, 0, &[many(0), many(PARTITIONS / 2)].concat()), |_| 0, &[]).unwrap();
        assert_eq!((too_many, all.len()), (0, PARTITIONS), "served, but not remembered");
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_bounded_and_followers_go_before_consumers() {
        let sessions = FetchSessions::default();
        let consumer = |sessions: &FetchSessions| play(sessions, request(0, 0, &[(0, 0)]), |_| 0, &[]).unwrap().0;
        let (first, second) = (consumer(&sessions), consumer(&sessions));
        assert_eq!(consumer(&sessions), 0, "no room: the client does without");
        tokio::time::advance(IDLE / 2).await;
        play(&sessions, request(first, 1, &[]), |_| 0, &[]).unwrap();

        let follower = FetchRequest { replica_id: 1, ..request(0, 0, &[(0, 0)]) };
        assert_ne!(play(&sessions, follower, |_| 0, &[]).unwrap().0, 0);
        let gone = play(&sessions, request(second, 1, &[]), |_| 0, &[]);
        assert_eq!(gone, Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND), "the longest unused");
        assert_eq!(consumer(&sessions), 0, "a consumer takes nobody's place …");
        tokio::time::advance(IDLE).await;
        assert_ne!(consumer(&sessions), 0, "… but an idle one's");
    }
}
