//! Whose quotas there are: users, client ids and addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ottla_wire::Str;

/// The kinds of entities, by Kafka's names.
pub const USER: &str = "user";
/// See [`USER`].
pub const CLIENT_ID: &str = "client-id";
/// See [`USER`].
pub const IP: &str = "ip";
/// Kafka's name of the quota on new connections, the only one of addresses.
pub const CONNECTION_CREATION_RATE: &str = "connection_creation_rate";

/// A name, or every name that no entity of its own has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Kafka's `<default>`.
    Any,
    /// This one.
    Is(Str),
}

/// Who has quotas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// A user, whatever its client ids: they share.
    User(Name),
    /// A client id, whatever its user.
    Client(Name),
    /// A user together with a client id.
    UserAndClient(Name, Name),
}

/// Whose quotas they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Clients known by their user or client id.
    Client(Entity),
    /// Clients at this address; `None`: at every address without quotas of its own.
    Address(Option<IpAddr>),
}

impl Subject {
    /// The subject that these components name: kind and name, or no name for the default.
    ///
    /// # Errors
    /// Why there is none, for the client.
    pub fn new(components: &BTreeMap<Str, Option<Str>>) -> Result<Subject, String> {
        if let Some(unknown) = components.keys().find(|kind| ![USER, CLIENT_ID, IP].contains(&&***kind)) {
            return Err(format!("Unhandled client quota entity type: {unknown}"));
        }
        let named = |kind: &str| components.get(kind).map(|name| name.clone().map_or(Name::Any, Name::Is));
        if let Some(address) = components.get(IP) {
            if components.len() > 1 {
                return Err("Invalid quota entity combination, IP entity should not be combined with User or ClientId"
                    .to_owned());
            }
            let parsed = address.as_ref().map(|address| {
                address.parse::<IpAddr>().map_err(|_| format!("{address} is not a valid IP or resolvable host."))
            });
            return Ok(Subject::Address(parsed.transpose()?.map(|address| address.to_canonical())));
        }
        let entity = match (named(USER), named(CLIENT_ID)) {
            (Some(user), Some(client_id)) => Entity::UserAndClient(user, client_id),
            (Some(user), None) => Entity::User(user),
            (None, Some(client_id)) => Entity::Client(client_id),
            (None, None) => return Err("Invalid empty client quota entity".to_owned()),
        };
        // In the objects a star stands for every name without quotas of its own.
        let names = components.values().flatten();
        match names.into_iter().find(|name| ***name == *"*") {
            Some(_) => Err("The name * stands for the default: use --entity-default".to_owned()),
            None => Ok(Subject::Client(entity)),
        }
    }

    /// The components that name it, by kind; `None`: the default of that kind.
    pub fn components(&self) -> BTreeMap<Str, Option<Str>> {
        let name = |name: &Name| match name {
            Name::Any => None,
            Name::Is(name) => Some(name.clone()),
        };
        let of = |kind, name| (Str::from_static(kind), name);
        match self {
            Subject::Client(Entity::User(user)) => [of(USER, name(user))].into(),
            Subject::Client(Entity::Client(client_id)) => [of(CLIENT_ID, name(client_id))].into(),
            Subject::Client(Entity::UserAndClient(user, client_id)) => {
                [of(USER, name(user)), of(CLIENT_ID, name(client_id))].into()
            }
            Subject::Address(address) => [of(IP, address.map(|address| Str::from(address.to_string())))].into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(components: &[(&'static str, Option<&'static str>)]) -> Result<Subject, String> {
        let named = components.iter().map(|(kind, name)| (Str::from_static(kind), name.map(Str::from_static)));
        Subject::new(&named.collect())
    }

    #[test]
    fn subjects_are_users_client_ids_both_or_addresses() {
        for components in [
            &[("user", Some("u"))][..],
            &[("user", None)],
            &[("client-id", Some("c"))],
            &[("user", None), ("client-id", Some("c"))],
            &[("ip", None)],
            &[("ip", Some("10.0.0.7"))],
        ] {
            let expected = components.iter().map(|(kind, name)| (Str::from_static(kind), name.map(Str::from_static)));
            assert_eq!(subject(components).map(|subject| subject.components()), Ok(expected.collect()));
        }
        for (components, sentence) in [
            (&[][..], "Invalid empty client quota entity"),
            (&[("topic", None)], "Unhandled client quota entity type: topic"),
            (&[("ip", Some("nowhere"))], "nowhere is not a valid IP or resolvable host."),
            (
                &[("ip", None), ("user", None)],
                "Invalid quota entity combination, IP entity should not be combined with User or ClientId",
            ),
            (&[("user", Some("*"))], "The name * stands for the default: use --entity-default"),
        ] {
            assert_eq!(subject(components), Err(sentence.to_owned()));
        }
    }
}
