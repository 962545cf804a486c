//! How the clients of a listener connect, and how they say who they are.

use std::collections::BTreeMap;

use ottla_wire::Str;

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

/// How clients of a listener say who they are.
#[derive(Clone, Debug, PartialEq)]
pub enum Authentication {
    /// Not at all: each is [`Principal::ANONYMOUS`](crate::Principal::ANONYMOUS).
    None,
    /// By a certificate of the clients' authority.
    Certificate,
    /// By a certificate of the cluster's authority: only brokers and the operator may connect.
    Brokers,
}
