//! What a request decides on, and what it may come to.

use crate::config::Config;
use crate::error::TxnError;
use crate::ids::Now;
use crate::producer_ids::ProducerIds;
use crate::request::TxnReply;
use crate::transaction::{Transaction, TransactionState};

/// What a request may use while it is decided.
pub(crate) struct Turn<'a> {
    pub(crate) config: &'a Config,
    pub(crate) ids: &'a mut ProducerIds,
    pub(crate) now: Now,
}

/// A transactional id as a request finds it.
#[derive(Clone, Copy)]
pub(crate) struct CurrentTransaction<'a> {
    /// What is committed of it; `None` for an id that nobody knows.
    pub(crate) transaction: Option<&'a Transaction>,
    /// A change is being written.
    pub(crate) is_pending: bool,
}

impl<'a> CurrentTransaction<'a> {
    /// The id, unless a change is under way. The end of a decided transaction is such a change: it needs no further
    /// request. `None`: nobody knows the id.
    pub(crate) fn settled(self) -> Result<Option<&'a Transaction>, TxnError> {
        match self.transaction {
            _ if self.is_pending => Err(TxnError::ConcurrentTransactions),
            Some(Transaction { state: TransactionState::Prepare(_), .. }) => Err(TxnError::ConcurrentTransactions),
            transaction => Ok(transaction),
        }
    }
}

/// What a request comes to, if it is not refused.
#[derive(Debug)]
pub(crate) enum TxnDecision {
    /// Nothing changes: answer now.
    Answer(TxnReply),
    /// Write this down, take it over, then answer.
    Write(Transaction, TxnReply),
}
