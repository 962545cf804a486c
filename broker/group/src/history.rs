//! What a consumer, streams or share group has changed and what of it is in the log: memory is ahead, and the log
//! follows in the same order.
//!
//! One append of a group is under way at a time, and what fails is appended again before anything else. So the log has
//! the group as it once was, never a mixture: a partition that one member was given without the other having lost it.
//! Meanwhile changes gather, and are appended together. Replies wait for the changes that came before them.

use std::collections::VecDeque;

use crate::error::{GroupAppendError, GroupError};
use crate::ids::Ticket;
use crate::record::Record;
use crate::request::GroupReply;

/// Always: the records under way are the first ones of the queue.
#[derive(Default, Debug)]
pub(crate) struct History {
    /// Not known to be durable.
    queue: VecDeque<Record>,
    under_way: usize,
    /// How many changes are durable.
    durable: u64,
    /// Replies, each with the number of changes that must be durable before.
    waiting: VecDeque<(u64, Ticket, GroupReply)>,
    /// Why nobody waits: the log has refused what comes next.
    refusal: Option<GroupError>,
    /// The append before has failed, or the one under way is late.
    is_stuck: bool,
}

impl History {
    pub(crate) fn push(&mut self, record: Record) {
        self.queue.push_back(record);
    }

    /// The changes that are not known to be durable.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Record> {
        self.queue.iter()
    }

    /// How many changes are durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// How many changes there were.
    pub(crate) fn end(&self) -> u64 {
        self.durable + self.queue.len() as u64
    }

    /// Everything is durable.
    pub(crate) fn is_settled(&self) -> bool {
        self.queue.is_empty()
    }

    /// Lets a member join, unless the log does not take what the group has changed before. Clients that try again and
    /// again, each time as another member, would fill the memory.
    pub(crate) fn admit(&self) -> Result<(), GroupError> {
        match self.refusal {
            Some(error) => Err(error),
            None if self.is_stuck => Err(GroupError::CoordinatorNotAvailable),
            None => Ok(()),
        }
    }

    /// The reply, if it need not wait; a refusal, if waiting is useless.
    pub(crate) fn reply(&mut self, ticket: Ticket, reply: GroupReply) -> Option<(Ticket, GroupReply)> {
        if self.is_settled() {
            return Some((ticket, reply));
        }
        if let Some(error) = self.refusal {
            return Some((ticket, reply.refused(error)));
        }
        self.waiting.push_back((self.end(), ticket, reply));
        None
    }

    /// The next append: of about so many bytes, unless the first record is larger. Nothing while one is under way.
    pub(crate) fn next(&mut self, bytes: usize) -> Vec<Record> {
        if self.under_way > 0 {
            return Vec::new();
        }
        let mut room = bytes;
        for record in &self.queue {
            let size = record.size();
            if self.under_way > 0 && size > room {
                break;
            }
            room = room.saturating_sub(size);
            self.under_way += 1;
        }
        self.queue.iter().take(self.under_way).cloned().collect()
    }

    /// The append under way is durable: the replies that have waited for it.
    pub(crate) fn succeeded(&mut self) -> Vec<(Ticket, GroupReply)> {
        self.durable += self.under_way as u64;
        self.queue.drain(..self.under_way);
        self.under_way = 0;
        self.refusal = None;
        self.is_stuck = false;
        self.release(self.durable)
    }

    /// It has failed, and is to be appended again. What the log refuses for good, because it is too large, may hold up
    /// the group for long: nobody waits for anything until it is there. Sizes are checked before the group changes, so
    /// this is to happen only if the log is made to accept less.
    pub(crate) fn failed(&mut self, error: GroupError) -> Vec<(Ticket, GroupReply)> {
        let until = self.durable + self.under_way as u64;
        self.under_way = 0;
        self.is_stuck = true;
        if error == GroupAppendError::TooLarge.into() {
            self.refusal = Some(error);
            return self.refuse(error);
        }
        self.release(until).into_iter().map(|(ticket, reply)| (ticket, reply.refused(error))).collect()
    }

    /// The append under way is late, and may be durable yet: nobody waits for it.
    pub(crate) fn late(&mut self) -> Vec<(Ticket, GroupReply)> {
        self.is_stuck = true;
        self.refuse(GroupAppendError::NotCommitted.into())
    }

    /// All replies that wait, refused. What they rest on is appended all the same.
    pub(crate) fn refuse(&mut self, error: GroupError) -> Vec<(Ticket, GroupReply)> {
        self.release(u64::MAX).into_iter().map(|(ticket, reply)| (ticket, reply.refused(error))).collect()
    }

    fn release(&mut self, until: u64) -> Vec<(Ticket, GroupReply)> {
        let count = self.waiting.iter().take_while(|(at, _, _)| *at <= until).count();
        self.waiting.drain(..count).map(|(_, ticket, reply)| (ticket, reply)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ConsumerRecord;

    fn record(text: &str) -> Record {
        Record::Consumer { group: "g".into(), record: ConsumerRecord::Pattern(text.to_owned(), None) }
    }

    fn reply() -> GroupReply {
        GroupReply::Leave(Ok(Vec::new()))
    }

    fn tickets(replies: Vec<(Ticket, GroupReply)>) -> Vec<(u64, bool)> {
        replies.into_iter().map(|(ticket, reply)| (ticket.0, matches!(reply, GroupReply::Leave(Ok(_))))).collect()
    }

    #[test]
    fn changes_are_appended_in_order_one_append_at_a_time() {
        let mut history = History::default();
        assert!(history.reply(Ticket(0), reply()).is_some(), "nothing to wait for");
        assert_eq!(history.next(1000), []);
        history.push(record("a"));
        assert!(history.reply(Ticket(1), reply()).is_none());
        assert_eq!(history.next(1000), [record("a")]);
        history.push(record("b"));
        history.push(record("c"));
        assert!(history.reply(Ticket(2), reply()).is_none());
        assert_eq!(history.next(1000), [], "one is under way");
        assert_eq!(tickets(history.failed(GroupError::NotCoordinator)), [(1, false)]);
        assert_eq!(history.next(1), [record("a")], "the same again");
        assert!(history.reply(Ticket(3), reply()).is_none());
        assert_eq!(tickets(history.succeeded()), []);
        assert_eq!(history.next(1000), [record("b"), record("c")]);
        assert_eq!(tickets(history.succeeded()), [(2, true), (3, true)]);
        assert!(history.is_settled());
    }

    #[test]
    fn nobody_waits_for_what_the_log_refuses() {
        let mut history = History::default();
        history.push(record("a"));
        assert!(history.reply(Ticket(1), reply()).is_none());
        assert_eq!(history.next(1), [record("a")]);
        history.push(record("b"));
        assert!(history.reply(Ticket(2), reply()).is_none());
        let too_large = GroupAppendError::TooLarge.into();
        assert_eq!(tickets(history.failed(too_large)), [(1, false), (2, false)]);
        let refused = history.reply(Ticket(3), reply());
        assert_eq!(tickets(refused.into_iter().collect()), [(3, false)]);
        assert_eq!(history.next(1), [record("a")], "the same again");
        assert_eq!(tickets(history.succeeded()), []);
        assert!(history.reply(Ticket(4), reply()).is_none());
        assert_eq!(history.next(1), [record("b")]);
        assert_eq!(tickets(history.succeeded()), [(4, true)]);
    }

    #[test]
    fn nobody_waits_for_an_append_that_is_late() {
        let mut history = History::default();
        history.push(record("a"));
        assert!(history.reply(Ticket(1), reply()).is_none());
        assert_eq!(history.next(1000).len(), 1);
        history.push(record("b"));
        assert!(history.reply(Ticket(2), reply()).is_none());
        assert_eq!(tickets(history.late()), [(1, false), (2, false)]);
        assert_eq!(history.admit(), Err(GroupError::CoordinatorNotAvailable));
        assert_eq!(tickets(history.succeeded()), []);
        assert_eq!(history.admit(), Ok(()));
        assert_eq!(history.next(1000), [record("b")]);
    }
}
