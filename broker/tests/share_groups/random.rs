//! Members that come, take, acknowledge and go by chance, while records are appended and leaders change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::time::Duration;

use ottla_wire::ErrorCode;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::common;
use crate::setup::{ACCEPT, LIMIT, Member, RELEASE, Setup};

const MEMBERS: u64 = 4;
const TURNS: usize = 60;

/// xorshift64*: enough to choose with.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

/// What the members know of the records.
#[derive(Default)]
struct Known {
    /// Who holds a record, since which count of [`Story::changes`].
    holders: BTreeMap<i64, (String, i32)>,
    /// Whose acceptance was confirmed.
    accepted: BTreeSet<i64>,
    /// Whose acceptance was sent.
    sent: BTreeSet<i64>,
}

impl Known {
    /// A member has got a record with a fetch that it sent after so many changes; now there are others.
    fn got(&mut self, member: &str, offset: i64, changes: i32, now: i32) {
        assert!(!self.accepted.contains(&offset), "{member} gets {offset}, which was accepted");
        // An answer on its way while the leader changed says nothing about the next one.
        if changes != now || changes % 2 == 1 {
            return;
        }
        if let Some((other, since)) = self.holders.insert(offset, (member.to_owned(), changes)) {
            assert!(since != changes || other == member, "{member} gets {offset}, which {other} holds");
        }
    }

    fn lets_go(&mut self, member: &str) {
        self.holders.retain(|_, (holder, _)| holder != member);
    }
}

struct Story {
    setup: Setup,
    known: Mutex<Known>,
    /// Counts when the leader begins to change, and when it has changed: odd meanwhile.
    changes: AtomicI32,
}

impl Story {
    /// Fetches and acknowledges a few times, leaves, and comes again.
    async fn play(self: Arc<Self>, number: u64, seed: u64) {
        let mut chance = Chance(seed.wrapping_mul(31).wrapping_add(number) | 1);
        let mut member = self.come(number, 0).await;
        for turn in 0..TURNS {
            self.take(&mut member, &mut chance, true).await;
            if chance.below(16) == 0 {
                self.known.lock().lets_go(member.id);
                drop(member);
                member = self.come(number, turn + 1).await;
            }
        }
        self.known.lock().lets_go(member.id);
    }

    async fn come(&self, number: u64, turn: usize) -> Member {
        self.setup.member(Box::leak(format!("{number}-{turn}").into_boxed_str())).await
    }

    async fn take(&self, member: &mut Member, chance: &mut Chance, may_release: bool) {
        let changes = self.changes.load(SeqCst);
        (member.mode, member.max_records) = (i8::from(chance.below(2) == 0), 1 + chance.below(7) as i32);
        let Some(found) = member.fetch(20).await.filter(|found| found.error_code.is_none()) else { return };
        let mut runs = Vec::new();
        for run in found.acquired_records {
            let now = self.changes.load(SeqCst);
            for offset in run.first_offset..=run.last_offset {
                self.known.lock().got(member.id, offset, changes, now);
            }
            runs.push((run.first_offset, run.last_offset));
        }
        for (first, last) in runs {
            let middle = first + chance.below((last - first + 1) as u64) as i64;
            for (first, last) in [(first, middle), (middle + 1, last)].into_iter().filter(|(first, last)| first <= last)
            {
                let releases = may_release && chance.below(8) == 0;
                self.acknowledge(member, (first, last), changes, releases).await;
            }
        }
    }

    /// Acknowledges records that a fetch has brought which was sent after so many changes.
    async fn acknowledge(&self, member: &mut Member, (first, last): (i64, i64), changes: i32, releases: bool) {
        {
            let mut known = self.known.lock();
            for offset in first..=last {
                known.holders.remove(&offset);
                if !releases {
                    known.sent.insert(offset);
                }
            }
        }
        let code = member.acknowledge(first, last, if releases { RELEASE } else { ACCEPT }).await;
        if code == ErrorCode::NONE && !releases {
            let mut known = self.known.lock();
            // The next leader may have given it to another member, and passes over what comes late once the group is
            // done with the record (`ottla_share`'s acknowledge, as Kafka's SharePartition): no error is no acceptance.
            let may_be_late = self.changes.load(SeqCst) != changes;
            for offset in first..=last {
                assert!(known.accepted.insert(offset) || may_be_late, "{offset} is accepted twice");
            }
        }
    }
}

async fn play(seed: u64) {
    const HOUR: &str = "3600000"; // no lock ends by itself
    let settings = [
        ("group.share.max.record.lock.duration.ms", HOUR),
        ("group.share.record.lock.duration.ms", HOUR),
        ("group.share.delivery.count.limit", "10"),
    ];
    // No record comes so often that it is archived.
    let of_group = [("share.delivery.count.limit", "10")];
    let setup = Setup::start_group(&settings, &of_group, 0).await;
    let story = Arc::new(Story { setup, known: Mutex::default(), changes: AtomicI32::new(0) });
    let mut members = JoinSet::new();
    for number in 0..MEMBERS {
        members.spawn(story.clone().play(number, seed));
    }
    let mut chance = Chance(seed | 1);
    let (mut end, mut epoch) = (5, 0);
    while !members.is_empty() {
        let values: Vec<&str> = (0..=chance.below(5)).map(|_| "x").collect();
        story.setup.append(&common::batch(&values));
        end += values.len() as i64;
        if chance.below(4) == 0 {
            // The locks of this leader end with it.
            story.changes.fetch_add(1, SeqCst);
            epoch += 2;
            story.setup.show_leader(false, epoch - 1).await;
            story.setup.show_leader(true, epoch).await;
            story.changes.fetch_add(1, SeqCst);
        }
        // The next when somebody has gone, or after what one fetch waits.
        if let Ok(Some(gone)) = timeout(Duration::from_millis(20), members.join_next()).await {
            gone.unwrap();
        }
    }
    let mut last = story.come(MEMBERS, 0).await;
    let all = || {
        let known = story.known.lock();
        known.accepted.union(&known.sent).copied().eq(0..end)
    };
    while !all() {
        story.take(&mut last, &mut chance, false).await;
    }
    Arc::into_inner(story).unwrap().setup.one.broker.stop().await;
}

#[tokio::test]
async fn whatever_members_and_leaders_do_each_record_is_with_one_and_accepted_once() {
    for seed in [1, 2, 3] {
        println!("seed {seed}");
        timeout(LIMIT, play(seed)).await.unwrap();
    }
}
