//! Everything that decides about clients, as one immutable value: part of the broker's image of its cluster.

use crate::Authorizer;
use crate::quotas::QuotaRules;

/// Who may connect, do what, and how much.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// The rules; `None`: the cluster has no authorization, and everybody may do everything.
    pub authorizer: Option<Authorizer>,
    /// How much clients and addresses may do.
    pub quotas: QuotaRules,
}
