//! Who is next to get or to lose a partition among the subscribers of a topic, so that all have equally many in the
//! end.
//!
//! The subscribers are sorted by how many partitions they have. Those with the fewest, a range at the front, get one
//! each; then the range is a level higher, and grows by those who were there already. Those with the most, a range
//! towards the end, lose one each in the same way. It is even when the levels of the two ranges meet.

/// The state while one topic is assigned. Sizes are the numbers of partitions of all members, by index.
#[derive(Debug)]
pub(super) struct Balancer {
    sorted: Vec<usize>,
    fewest: Range,
    most: Range,
}

/// Members of one level: those in `[start, end)` of the sorted ones.
#[derive(Debug)]
struct Range {
    start: usize,
    end: usize,
    /// How many partitions they have once everybody in the range had a turn before the next round.
    level: i64,
    /// Whose turn it is; for the range of the most one higher, because they take turns from the end.
    turn: usize,
}

impl Balancer {
    pub(super) fn new(subscribers: &[usize], sizes: &[i64]) -> Balancer {
        let mut sorted = subscribers.to_vec();
        sorted.sort_by_key(|member| (size(sizes, *member), *member));
        let level = |member: Option<&usize>| member.map_or(0, |member| size(sizes, *member));
        let fewest = Range { start: 0, end: 0, level: level(sorted.first()) - 1, turn: 0 };
        let end = sorted.len();
        let most = Range { start: end, end, level: level(sorted.last()) + 1, turn: end };
        Balancer { sorted, fewest, most }
    }

    /// How far the subscribers are apart before anything moves.
    pub(super) fn imbalance(&self) -> i64 {
        (self.most.level - 1) - (self.fewest.level + 1)
    }

    /// No move makes it more even.
    pub(super) fn is_even(&self) -> bool {
        self.most.level - self.fewest.level <= 1
    }

    /// Who gets the next partition; `None` where nobody subscribes.
    pub(super) fn next_to_get(&mut self, sizes: &[i64]) -> Option<usize> {
        let range = &mut self.fewest;
        if range.turn >= range.end {
            range.level += 1;
            while self.sorted.get(range.end).is_some_and(|member| size(sizes, *member) == range.level) {
                range.end += 1;
            }
            range.turn = 0;
        }
        let member = self.sorted.get(range.turn).copied();
        range.turn += 1;
        member
    }

    /// Who loses the next partition; `None` where nobody has one to lose.
    pub(super) fn next_to_lose(&mut self, sizes: &[i64]) -> Option<usize> {
        let range = &mut self.most;
        if range.turn <= range.start {
            let next = range.start.checked_sub(1).and_then(|at| self.sorted.get(at));
            range.level = match next {
                // All of the range are excluded: it begins again where there are members.
                Some(next) if range.end <= range.start => size(sizes, *next),
                _ => range.level - 1,
            };
            let is_there = |at: usize| self.sorted.get(at).is_some_and(|member| size(sizes, *member) == range.level);
            while range.start > 0 && is_there(range.start - 1) {
                range.start -= 1;
            }
            range.turn = range.end;
        }
        range.turn = range.turn.checked_sub(1)?;
        self.sorted.get(range.turn).copied()
    }

    /// The member that was to lose a partition has none: it leaves the range.
    pub(super) fn exclude(&mut self) {
        let range = &mut self.most;
        if range.end > range.turn {
            range.end -= 1;
            self.sorted.swap(range.turn, range.end);
        }
    }
}

fn size(sizes: &[i64], member: usize) -> i64 {
    sizes.get(member).copied().unwrap_or(0)
}
