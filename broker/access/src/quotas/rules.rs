//! Which quota is in force for a client, and which bucket counts its use: Kafka's `ClientQuotaManager` with its
//! `DefaultQuotaCallback`.
//!
//! An entity names a user or any user, a client id or any client id, or both. For each resource by itself the most
//! specific entity wins that limits it: a user before a client id, a name before "any".

use std::collections::BTreeMap;
use std::net::IpAddr;

use ottla_wire::Str;

use super::subject::{CONNECTION_CREATION_RATE, Entity, Name, Subject};
use crate::Principal;

/// What is limited. Each has rules of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Bytes of Produce requests per second (`producer_byte_rate`).
    Produce,
    /// Bytes of answers to Fetch requests per second (`consumer_byte_rate`).
    Fetch,
    /// Percent of one reactor's time (`request_percentage`).
    Request,
    /// Partitions created, added and deleted per second (`controller_mutation_rate`).
    ControllerMutation,
}

impl Resource {
    /// Every resource, in the order of [`Quotas`].
    pub const ALL: [Resource; 4] =
        [Resource::Produce, Resource::Fetch, Resource::Request, Resource::ControllerMutation];

    /// Kafka's name of the quota on it.
    pub fn quota_name(self) -> &'static str {
        match self {
            Resource::Produce => "producer_byte_rate",
            Resource::Fetch => "consumer_byte_rate",
            Resource::Request => "request_percentage",
            Resource::ControllerMutation => "controller_mutation_rate",
        }
    }
}

/// The quotas of one entity; `None`: this entity does not limit it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quotas {
    /// Bytes per second.
    pub producer_byte_rate: Option<f64>,
    /// Bytes per second.
    pub consumer_byte_rate: Option<f64>,
    /// Percent of one reactor's time.
    pub request_percentage: Option<f64>,
    /// Partitions per second.
    pub controller_mutation_rate: Option<f64>,
}

impl Quotas {
    /// The quota on a resource.
    pub fn on(&self, resource: Resource) -> Option<f64> {
        match resource {
            Resource::Produce => self.producer_byte_rate,
            Resource::Fetch => self.consumer_byte_rate,
            Resource::Request => self.request_percentage,
            Resource::ControllerMutation => self.controller_mutation_rate,
        }
    }

    /// The quota on a resource, to be set.
    pub fn on_mut(&mut self, resource: Resource) -> &mut Option<f64> {
        match resource {
            Resource::Produce => &mut self.producer_byte_rate,
            Resource::Fetch => &mut self.consumer_byte_rate,
            Resource::Request => &mut self.request_percentage,
            Resource::ControllerMutation => &mut self.controller_mutation_rate,
        }
    }

    fn is_empty(&self) -> bool {
        *self == Quotas::default()
    }
}

/// Those who share a quota: their use is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// All connections of this user.
    User(Str),
    /// All connections with this client id.
    Client(Str),
    /// Those of this user with this client id.
    UserAndClient(Str, Str),
}

/// All quotas of a cluster. Each broker enforces them for itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuotaRules {
    users: BTreeMap<Str, OfUser>,
    any_user: OfUser,
    without_user: OfClients,
    ips: BTreeMap<IpAddr, f64>,
    any_ip: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct OfUser {
    itself: Quotas,
    clients: OfClients,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct OfClients {
    named: BTreeMap<Str, Quotas>,
    any: Quotas,
}

impl OfClients {
    fn on(&self, resource: Resource, client_id: &str) -> Option<f64> {
        self.named.get(client_id).and_then(|quotas| quotas.on(resource)).or_else(|| self.any.on(resource))
    }

    fn set(&mut self, name: Name, quotas: Quotas) {
        match name {
            Name::Any => self.any = quotas,
            Name::Is(client_id) if quotas.is_empty() => drop(self.named.remove(&client_id)),
            Name::Is(client_id) => drop(self.named.insert(client_id, quotas)),
        }
    }

    fn get(&self, name: &Name) -> Option<Quotas> {
        match name {
            Name::Any => Some(self.any),
            Name::Is(client_id) => self.named.get(client_id).copied(),
        }
    }

    /// The names that have quotas.
    fn names(&self) -> impl Iterator<Item = Name> {
        let any = (!self.any.is_empty()).then_some(Name::Any);
        self.named.keys().cloned().map(Name::Is).chain(any)
    }

    fn is_empty(&self) -> bool {
        self.any.is_empty() && self.named.is_empty()
    }
}

impl OfUser {
    fn is_empty(&self) -> bool {
        self.itself.is_empty() && self.clients.is_empty()
    }
}

impl QuotaRules {
    /// Gives an entity these quotas, instead of those that it has; if they are none, it has none any more.
    pub fn set(&mut self, entity: Entity, quotas: Quotas) {
        let (user, client_id) = match entity {
            Entity::User(user) => (user, None),
            Entity::Client(client_id) => return self.without_user.set(client_id, quotas),
            Entity::UserAndClient(user, client_id) => (user, Some(client_id)),
        };
        let set = |of_user: &mut OfUser| match client_id {
            Some(client_id) => of_user.clients.set(client_id, quotas),
            None => of_user.itself = quotas,
        };
        match user {
            Name::Any => set(&mut self.any_user),
            Name::Is(user) => {
                let mut of_user = self.users.remove(&user).unwrap_or_default();
                set(&mut of_user);
                if !of_user.is_empty() {
                    self.users.insert(user, of_user);
                }
            }
        }
    }

    /// Limits the connections per second that one address may open; `None`: every address without a limit of its own.
    pub fn set_connection_rate(&mut self, address: Option<IpAddr>, per_second: f64) {
        match address {
            Some(address) => drop(self.ips.insert(address.to_canonical(), per_second)),
            None => self.any_ip = Some(per_second),
        }
    }

    /// The quotas of a subject itself, by Kafka's names.
    pub fn quotas_of(&self, subject: &Subject) -> BTreeMap<&'static str, f64> {
        let quotas = match subject {
            Subject::Client(Entity::User(user)) => self.user(user).map(|of_user| of_user.itself),
            Subject::Client(Entity::Client(client_id)) => self.without_user.get(client_id),
            Subject::Client(Entity::UserAndClient(user, client_id)) => {
                self.user(user).and_then(|of_user| of_user.clients.get(client_id))
            }
            Subject::Address(address) => {
                let rate = address.map_or(self.any_ip, |address| self.ips.get(&address).copied());
                return rate.into_iter().map(|rate| (CONNECTION_CREATION_RATE, rate)).collect();
            }
        };
        let on = |resource: Resource| Some((resource.quota_name(), quotas?.on(resource)?));
        Resource::ALL.into_iter().filter_map(on).collect()
    }

    /// Everybody who has quotas, in order.
    pub fn subjects(&self) -> Vec<Subject> {
        let users = self.users.iter().map(|(name, of_user)| (Name::Is(name.clone()), of_user));
        let users = users.chain([(Name::Any, &self.any_user)]);
        let of_users = users.flat_map(|(user, of_user)| {
            let itself = (!of_user.itself.is_empty()).then(|| Entity::User(user.clone()));
            let clients = of_user.clients.names().map(move |client_id| Entity::UserAndClient(user.clone(), client_id));
            itself.into_iter().chain(clients)
        });
        let clients = of_users.chain(self.without_user.names().map(Entity::Client)).map(Subject::Client);
        let addresses = self.ips.keys().copied().map(Some).chain(self.any_ip.map(|_| None)).map(Subject::Address);
        clients.chain(addresses).collect()
    }

    fn user(&self, name: &Name) -> Option<&OfUser> {
        match name {
            Name::Any => Some(&self.any_user),
            Name::Is(name) => self.users.get(name),
        }
    }

    /// Whether nothing of clients is limited. Addresses may be.
    pub fn limits_no_client(&self) -> bool {
        self.any_user.is_empty() && self.without_user.is_empty() && self.users.is_empty()
    }

    /// The quota in force for a client on a resource, and the bucket that counts; `None`: it has none.
    ///
    /// In Kafka a client with an empty client id escapes the quotas of a user together with any client id.
    pub fn of_client(&self, resource: Resource, user: &Principal, client_id: &Str) -> Option<(Bucket, f64)> {
        let user = user.name();
        let of_both = |of_user: &OfUser| {
            let quota = of_user.clients.on(resource, client_id)?;
            Some((Bucket::UserAndClient(user.clone(), client_id.clone()), quota))
        };
        let of_user = |of_user: &OfUser| Some((Bucket::User(user.clone()), of_user.itself.on(resource)?));
        let named = self.users.get(user);
        let of_client = || Some((Bucket::Client(client_id.clone()), self.without_user.on(resource, client_id)?));
        named
            .and_then(of_both)
            .or_else(|| named.and_then(of_user))
            .or_else(|| of_both(&self.any_user))
            .or_else(|| of_user(&self.any_user))
            .or_else(of_client)
    }

    /// How many connections per second an address may open; `None`: as many as it likes.
    pub fn of_address(&self, address: IpAddr) -> Option<f64> {
        self.ips.get(&address.to_canonical()).copied().or(self.any_ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(name: &'static str) -> Name {
        Name::Is(Str::from_static(name))
    }

    /// From the most specific; the quota says which it is.
    fn entities() -> [Entity; 8] {
        [
            Entity::UserAndClient(is("u"), is("c")),
            Entity::UserAndClient(is("u"), Name::Any),
            Entity::User(is("u")),
            Entity::UserAndClient(Name::Any, is("c")),
            Entity::UserAndClient(Name::Any, Name::Any),
            Entity::User(Name::Any),
            Entity::Client(is("c")),
            Entity::Client(Name::Any),
        ]
    }

    fn rules(ranks: impl IntoIterator<Item = usize>) -> QuotaRules {
        let mut rules = QuotaRules::default();
        for rank in ranks {
            let quotas = Quotas { consumer_byte_rate: Some(rank as f64), ..Quotas::default() };
            rules.set(entities()[rank].clone(), quotas);
        }
        rules
    }

    fn found(rules: &QuotaRules, user: &'static str, client_id: &'static str) -> Option<(Bucket, f64)> {
        let user = Principal::new(Str::from_static(user));
        rules.of_client(Resource::Fetch, &user, &Str::from_static(client_id))
    }

    #[test]
    fn the_most_specific_entity_wins_and_says_who_shares() {
        let (u, c) = (Str::from_static("u"), Str::from_static("c"));
        let both = || Bucket::UserAndClient(u.clone(), c.clone());
        let buckets = [
            both(),
            both(),
            Bucket::User(u.clone()),
            both(),
            both(),
            Bucket::User(u.clone()),
            Bucket::Client(c.clone()),
            Bucket::Client(c.clone()),
        ];
        for (first, bucket) in buckets.into_iter().enumerate() {
            assert_eq!(found(&rules(first..8), "u", "c"), Some((bucket, first as f64)));
        }
        assert_eq!(found(&rules(0..0), "u", "c"), None);
    }

    #[test]
    fn others_get_what_is_for_any() {
        // All are set: another user gets what is for any user, another client id what is for any client id.
        let of = |user, client_id| found(&rules(0..8), user, client_id).map(|(_, quota)| quota);
        let expected = [("u", "d", 1.0), ("v", "c", 3.0), ("v", "d", 4.0), ("u", "", 1.0)];
        assert_eq!(expected.map(|(user, client_id, _)| of(user, client_id)), expected.map(|(.., quota)| Some(quota)));
        assert_eq!(found(&rules([6]), "v", "d"), None);
    }

    #[test]
    fn an_entity_that_does_not_limit_a_resource_hides_no_other_on_it() {
        let mut rules = rules([7]);
        rules.set(entities()[0].clone(), Quotas { producer_byte_rate: Some(9.0), ..Quotas::default() });
        assert_eq!(found(&rules, "u", "c"), Some((Bucket::Client(Str::from_static("c")), 7.0)));
        assert!(!rules.limits_no_client());
        rules.set(entities()[0].clone(), Quotas::default());
        rules.set(entities()[7].clone(), Quotas::default());
        assert!(rules.limits_no_client() && found(&rules, "u", "c").is_none());
    }

    #[test]
    fn an_address_is_the_same_in_both_notations() {
        let mut rules = QuotaRules::default();
        let [own, mapped, other] = ["10.0.0.7", "::ffff:10.0.0.7", "::1"].map(|text| text.parse().expect("an address"));
        rules.set_connection_rate(Some(mapped), 5.0);
        assert_eq!([own, mapped, other].map(|address| rules.of_address(address)), [Some(5.0), Some(5.0), None]);
        rules.set_connection_rate(None, 2.0);
        assert_eq!(rules.of_address(other), Some(2.0));
        assert!(rules.limits_no_client());
    }
}
