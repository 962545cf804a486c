//! DescribeTransactions and ListTransactions (KIP-664, KIP-994, KIP-1152).

use std::collections::BTreeSet;

use crate::error::TxnError;
use crate::ids::Now;
use crate::request::{DescribedTransaction, ListFilter, ListedTransaction};
use crate::shard::Shard;
use crate::transaction::{Transaction, TransactionState};

/// Kafka's names for states in which no id is ever shown. A filter may name them.
const NEVER_SHOWN: [&str; 2] = ["Dead", "PrepareEpochFence"];

/// The filter that these names of states stand for (any state, if there are none), and the names that no state has,
/// for the answer's `unknownStateFilters`.
pub fn states_named<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> (Option<BTreeSet<TransactionState>>, Vec<&'a str>) {
    let mut states = None;
    let mut unknown = Vec::new();
    for name in names {
        let states: &mut BTreeSet<TransactionState> = states.get_or_insert_default();
        match TransactionState::ALL.into_iter().find(|state| state.name() == name) {
            Some(state) => {
                states.insert(state);
            }
            None if NEVER_SHOWN.contains(&name) => {}
            None => unknown.push(name),
        }
    }
    (states, unknown)
}

impl Shard {
    /// DescribeTransactions, of one id.
    ///
    /// # Errors
    /// That the id is empty, or not known (105).
    pub fn describe(&self, id: &str) -> Result<DescribedTransaction, TxnError> {
        if id.is_empty() {
            return Err(TxnError::InvalidRequest);
        }
        let shown = self.transactions.get(id).filter(|_| !self.is_dying(id));
        let transaction = shown.ok_or(TxnError::TransactionalIdNotFound)?;
        Ok(DescribedTransaction {
            producer: transaction.producer(),
            state: transaction.state,
            timeout_ms: transaction.timeout_ms,
            start_ms: start_ms(transaction),
            partitions: transaction.partitions.clone(),
        })
    }

    /// ListTransactions. The caller leaves out what its client may not see.
    pub fn list(&self, filter: ListFilter<'_>, now: Now) -> impl Iterator<Item = ListedTransaction> {
        let listed = self.transactions.iter().filter(move |(id, transaction)| {
            let ListFilter { producer_ids, states, duration_ms, id_matches } = filter;
            (producer_ids.is_empty() || producer_ids.contains(&transaction.producer_id))
                && states.is_none_or(|states| states.contains(&transaction.state))
                && duration_ms.is_none_or(|ms| ms < 0 || now.wall_ms.saturating_sub(start_ms(transaction)) > ms)
                && id_matches.is_none_or(|matches| matches(id))
                && !self.is_dying(id)
        });
        listed.map(|(id, transaction)| ListedTransaction {
            transactional_id: id.clone(),
            producer_id: transaction.producer_id,
            state: transaction.state,
        })
    }
}

/// −1 before the first transaction, as in Kafka: to a filter by duration, such an id is open for ever.
fn start_ms(transaction: &Transaction) -> i64 {
    transaction.start_ms.unwrap_or(-1)
}
