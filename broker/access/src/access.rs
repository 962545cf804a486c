//! Everything that decides about clients, as one immutable value: part of the broker's image of its cluster.

use std::sync::Arc;

use crate::quotas::QuotaRules;
use crate::sasl::Credentials;
use crate::{Authorizer, Listeners};

/// Who may connect, do what, and how much.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// How clients connect.
    pub listeners: Listeners,
    /// The users that there are, and what is kept of their passwords.
    pub credentials: Credentials,
    /// The rules; `None`: the cluster has no authorization, and everybody may do everything.
    pub authorizer: Option<Arc<Authorizer>>,
    /// How much clients and addresses may do.
    pub quotas: QuotaRules,
}
