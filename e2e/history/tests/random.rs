//! A random good history is good; broken in a random way it is not.
//!
//! `SEED=…` plays one again.

use ottla_history::{Checker, Id, Kind, Operation, Outcome, Partition, Report};

const ROUNDS: u64 = 300;

/// xorshift64*: enough to choose with.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What was done, and what each log holds: only the whole one is distinguished from the first.
#[derive(Clone, Default)]
struct World {
    seen: Vec<Operation>,
    logs: Vec<Vec<Id>>,
}

fn good(random: &mut Random) -> World {
    let (partitions, producers) = (1 + random.below(3), 1 + random.below(3));
    let mut world = World { logs: vec![Vec::new(); partitions], ..World::default() };
    let mut sequences = vec![0; producers];
    let mut positions = vec![0; partitions];
    for _ in 0..40 + random.below(200) {
        let (number, producer) = (random.below(partitions), random.below(producers));
        let partition = Partition(number as u32);
        let log = &mut world.logs[number];
        if random.one_in(3) && positions[number] < log.len() {
            let offset = positions[number];
            world.seen.push(Operation::Read { reader: 0, partition, offset: offset as i64, id: Some(log[offset]) });
            positions[number] += 1;
            continue;
        }
        let id = Id { producer: producer as u32, sequence: sequences[producer] };
        sequences[producer] += 1;
        let outcome = match random.below(8) {
            0 => Outcome::Failed,
            1 => Outcome::Unknown,
            _ => Outcome::Acknowledged { partition, offset: Some(log.len() as i64) },
        };
        if matches!(outcome, Outcome::Acknowledged { .. }) || outcome == Outcome::Unknown && random.one_in(2) {
            log.push(id);
        }
        world.seen.push(Operation::Produced { id, outcome });
    }
    world
}

fn judge(world: &World) -> Report {
    let mut checker = Checker::default();
    world.seen.iter().for_each(|operation| checker.observe(operation.clone()));
    for (number, log) in (0..).zip(&world.logs) {
        let partition = Partition(number);
        for (offset, id) in (0..).zip(log) {
            checker.observe(Operation::Logged { partition, offset, id: Some(*id) });
        }
        checker.observe(Operation::LogRead { partition, start: 0, end: log.len() as i64 });
    }
    checker.report()
}

/// Breaks it, and says which kind must be found; none where it has nothing to break.
fn broken(world: &mut World, random: &mut Random) -> Option<Kind> {
    let acknowledged: Vec<(Id, usize, usize)> = world.seen.iter().filter_map(place).collect();
    let (id, number, offset) = *acknowledged.get(random.below(acknowledged.len().max(1)))?;
    let partition = Partition(number as u32);
    let log = &mut world.logs[number];
    match random.below(8) {
        0 => {
            log.truncate(offset);
            Some(Kind::Lost)
        }
        1 => {
            log.push(id);
            Some(Kind::Duplicated)
        }
        2 => {
            let stranger = Id { producer: random.below(5) as u32, sequence: 1_000 };
            log.push(stranger);
            Some(Kind::NeverWritten)
        }
        3 => {
            log.remove(offset);
            Some(Kind::Lost)
        }
        4 => {
            let other = log.iter().position(|other| *other != id && other.producer == id.producer)?;
            log.swap(offset, other);
            Some(Kind::TwoValues)
        }
        5 => {
            let outcome = Outcome::Failed;
            *world.seen.iter_mut().find(|operation| place(operation).is_some_and(|found| found.0 == id))? =
                Operation::Produced { id, outcome };
            Some(Kind::FailedButPresent)
        }
        6 => {
            let reads =
                |operation: &Operation| matches!(operation, Operation::Read { partition: p, .. } if *p == partition);
            let places: Vec<usize> = (0..world.seen.len()).filter(|n| reads(&world.seen[*n])).collect();
            // The first may be missing: the consumer has begun later then.
            let middle = places.get(1..places.len().checked_sub(1)?)?;
            world.seen.remove(*middle.get(random.below(middle.len().max(1)))?);
            Some(Kind::Skipped)
        }
        _ => {
            // As a log whose two records were exchanged before any answer.
            let (later, _, at) = *acknowledged
                .iter()
                .find(|(other, n, _)| *n == number && other.producer == id.producer && other.sequence > id.sequence)?;
            log.swap(offset, at);
            for operation in &mut world.seen {
                match operation {
                    Operation::Produced { id: told, outcome: Outcome::Acknowledged { offset: Some(where_), .. } }
                        if *told == id =>
                    {
                        *where_ = at as i64;
                    }
                    Operation::Produced { id: told, outcome: Outcome::Acknowledged { offset: Some(where_), .. } }
                        if *told == later =>
                    {
                        *where_ = offset as i64;
                    }
                    _ => {}
                }
            }
            Some(Kind::Reordered)
        }
    }
}

fn place(operation: &Operation) -> Option<(Id, usize, usize)> {
    match operation {
        Operation::Produced { id, outcome: Outcome::Acknowledged { partition, offset: Some(offset) } } => {
            Some((*id, partition.0 as usize, usize::try_from(*offset).ok()?))
        }
        _ => None,
    }
}

#[test]
fn a_good_history_broken_in_a_random_way_is_found() {
    let fresh = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64 | 1);
    let given = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number above 0"));
    let (first, rounds) = given.map_or_else(|| (fresh(), ROUNDS), |seed| (seed, 1));
    let mut found = 0;
    for seed in first..first + rounds {
        println!("SEED={seed}");
        // Seeds that lie side by side begin far from each other.
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut world = good(&mut random);
        let report = judge(&world);
        assert!(report.is_good(), "SEED={seed}: {report}");
        if let Some(kind) = broken(&mut world, &mut random) {
            let report = judge(&world);
            assert!(report.count(kind) > 0, "SEED={seed}: {kind:?} was not found: {report}");
            found += 1;
        }
    }
    assert!(rounds == 1 || found > rounds / 2, "only {found} of {rounds} were broken");
}
