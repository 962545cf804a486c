//! How the clients of a listener connect, and how they say who they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::Str;

use crate::certificate::MappingRules;
use crate::sasl::{Issuers, Mechanism};

/// The listeners of a broker.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Listeners {
    /// All are plain, and nobody says who it is.
    #[default]
    Open,
    /// These, by name. No client may use another one: it was removed from the KafkaCluster.
    Named(BTreeMap<Str, ListenerAccess>),
}

impl Listeners {
    /// How clients of this listener connect; `None`: none may.
    pub fn get(&self, name: &str) -> Option<&ListenerAccess> {
        static OPEN: ListenerAccess = ListenerAccess { tls: false, authentication: Authentication::None };
        match self {
            Listeners::Open => Some(&OPEN),
            Listeners::Named(listeners) => listeners.get(name),
        }
    }

    /// The listeners by name; none if all are open.
    pub fn named(&self) -> impl Iterator<Item = (&Str, &ListenerAccess)> {
        let listeners = match self {
            Listeners::Open => None,
            Listeners::Named(listeners) => Some(listeners),
        };
        listeners.into_iter().flatten()
    }
}

/// How clients of a listener connect.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerAccess {
    /// Whether they speak TLS.
    pub tls: bool,
    /// How they say who they are.
    pub authentication: Authentication,
}

impl ListenerAccess {
    /// Kafka's word for it (`SecurityProtocol`).
    pub fn protocol(&self) -> &'static str {
        match (self.tls, &self.authentication) {
            (false, Authentication::Sasl { .. }) => "SASL_PLAINTEXT",
            (false, _) => "PLAINTEXT",
            (true, Authentication::Sasl { .. }) => "SASL_SSL",
            (true, _) => "SSL",
        }
    }

    /// The mechanisms of SASL that clients can choose from; none where they don't use SASL.
    pub fn mechanisms(&self) -> &[Mechanism] {
        match &self.authentication {
            Authentication::Sasl { mechanisms, .. } => mechanisms,
            Authentication::None | Authentication::Certificate { .. } | Authentication::Brokers => &[],
        }
    }

    /// Whose tokens are good.
    pub fn issuers(&self) -> Issuers {
        match &self.authentication {
            Authentication::Sasl { issuers, .. } => issuers.clone(),
            Authentication::None | Authentication::Certificate { .. } | Authentication::Brokers => Issuers::default(),
        }
    }
}

/// How clients of a listener say who they are.
#[derive(Clone, Debug, PartialEq)]
pub enum Authentication {
    /// Not at all: each is [`Principal::ANONYMOUS`](crate::Principal::ANONYMOUS).
    None,
    /// By a certificate of the clients' authority, or of an authority that only this listener trusts.
    Certificate {
        /// What makes principals of the subjects that the listener's own authority names; `None`: it has none.
        rules: Option<Arc<MappingRules>>,
    },
    /// By SASL.
    Sasl {
        /// Clients choose one of these.
        mechanisms: Vec<Mechanism>,
        /// Whose tokens are good.
        issuers: Issuers,
    },
    /// By a certificate of the cluster's authority: only brokers and the operator may connect.
    Brokers,
}

impl Authentication {
    /// What makes principals of the subjects of certificates that the listener's own authority has issued; `None`: the
    /// listener has no such authority.
    pub fn mapping_rules(&self) -> Option<&MappingRules> {
        match self {
            Authentication::Certificate { rules } => rules.as_deref(),
            Authentication::None | Authentication::Sasl { .. } | Authentication::Brokers => None,
        }
    }
}
