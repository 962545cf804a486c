//! The quotas of KafkaUsers and of the KafkaCluster, as brokers enforce them, and back: pure functions.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bytestring::ByteString as Str;
use ottla_access::quotas::{Entity, Name, QuotaChange, QuotaRules, Quotas, Resource, Subject};
use ottla_crds::{ClientQuotas, ClusterQuotas, IpQuota, KafkaCluster, KafkaUser, UserQuotas};

/// Stands in objects for every name without quotas of its own.
const ANY: &str = "*";

/// The quotas of a cluster.
pub(super) fn rules(cluster: &KafkaCluster, users: &BTreeMap<&str, &KafkaUser>) -> QuotaRules {
    let mut rules = QuotaRules::default();
    let named = |name: &str| if name == ANY { Name::Any } else { Name::Is(Str::from(name)) };
    for (name, user) in users {
        let Some(quotas) = &user.spec.quotas else { continue };
        rules.set(Entity::User(named(name)), of(&quotas.all));
        for client in &quotas.clients {
            rules.set(Entity::UserAndClient(named(name), named(&client.client_id)), of(&client.quotas));
        }
    }
    if let Some(quotas) = &cluster.spec.quotas {
        for client in &quotas.clients {
            rules.set(Entity::Client(named(&client.client_id)), of(&client.quotas));
        }
        for quota in &quotas.ips {
            let rate = f64::from(quota.connection_creation_rate);
            match quota.ip.parse::<IpAddr>() {
                Ok(address) => rules.set_connection_rate(Some(address), rate),
                Err(_) if quota.ip == ANY => rules.set_connection_rate(None, rate),
                Err(_) => tracing::warn!(ip = quota.ip, "ignored a quota of what is no address"),
            }
        }
    }
    rules
}

fn of(quotas: &ottla_crds::Quotas) -> Quotas {
    let whole = |rate: i64| rate as f64;
    Quotas {
        producer_byte_rate: quotas.producer_byte_rate.map(whole),
        consumer_byte_rate: quotas.consumer_byte_rate.map(whole),
        request_percentage: quotas.request_percentage,
        controller_mutation_rate: quotas.controller_mutation_rate,
    }
}

/// The name of the user whose KafkaUser has these quotas; `None`: they are in the KafkaCluster.
pub(super) fn user(subject: &Subject) -> Option<&str> {
    match subject {
        Subject::Client(Entity::User(user) | Entity::UserAndClient(user, _)) => Some(word(user)),
        Subject::Client(Entity::Client(_)) | Subject::Address(_) => None,
    }
}

/// A user's quotas after a change; `None`: there are none.
pub(super) fn changed_user(before: Option<&UserQuotas>, change: &QuotaChange) -> Option<UserQuotas> {
    let mut after = before.cloned().unwrap_or_default();
    match &change.subject {
        Subject::Client(Entity::User(_)) => set(&mut after.all, change),
        Subject::Client(Entity::UserAndClient(_, client_id)) => set_client(&mut after.clients, client_id, change),
        Subject::Client(Entity::Client(_)) | Subject::Address(_) => {}
    }
    (after != UserQuotas::default()).then_some(after)
}

/// A cluster's quotas after a change; `None`: there are none.
pub(super) fn changed_cluster(before: Option<&ClusterQuotas>, change: &QuotaChange) -> Option<ClusterQuotas> {
    let mut after = before.cloned().unwrap_or_default();
    match &change.subject {
        Subject::Client(Entity::Client(client_id)) => set_client(&mut after.clients, client_id, change),
        Subject::Client(Entity::User(_) | Entity::UserAndClient(..)) => {}
        Subject::Address(address) => {
            let is_it = |quota: &IpQuota| quota.ip.parse::<IpAddr>().ok().map(|own| own.to_canonical()) == *address;
            for rate in change.quotas.values() {
                after.ips.retain(|quota| !is_it(quota));
                after.ips.extend(rate.map(|rate| IpQuota {
                    ip: address.map_or_else(|| ANY.to_owned(), |address| address.to_string()),
                    connection_creation_rate: rate as i32,
                }));
            }
        }
    }
    (after != ClusterQuotas::default()).then_some(after)
}

fn word(name: &Name) -> &str {
    match name {
        Name::Any => ANY,
        Name::Is(name) => name,
    }
}

fn set_client(clients: &mut Vec<ClientQuotas>, client_id: &Name, change: &QuotaChange) {
    let client_id = word(client_id);
    let at = clients.iter().position(|client| client.client_id == client_id);
    let at = at.unwrap_or_else(|| {
        clients.push(ClientQuotas { client_id: client_id.to_owned(), quotas: ottla_crds::Quotas::default() });
        clients.len() - 1
    });
    set(&mut clients[at].quotas, change);
    if clients[at].quotas == ottla_crds::Quotas::default() {
        clients.remove(at);
    }
}

fn set(quotas: &mut ottla_crds::Quotas, change: &QuotaChange) {
    for resource in Resource::ALL {
        let Some(value) = change.quotas.get(resource.quota_name()).copied() else { continue };
        match resource {
            Resource::Produce => quotas.producer_byte_rate = value.map(|rate| rate as i64),
            Resource::Fetch => quotas.consumer_byte_rate = value.map(|rate| rate as i64),
            Resource::Request => quotas.request_percentage = value,
            Resource::ControllerMutation => quotas.controller_mutation_rate = value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(
        components: &[(&'static str, Option<&'static str>)],
        quotas: &[(&'static str, Option<f64>)],
    ) -> QuotaChange {
        let components = components.iter().map(|(kind, name)| (Str::from_static(kind), name.map(Str::from_static)));
        let subject = Subject::new(&components.collect()).expect("a subject");
        QuotaChange { subject, quotas: quotas.iter().map(|(key, value)| (Str::from_static(key), *value)).collect() }
    }

    #[test]
    fn what_is_written_into_objects_is_read_from_them() {
        let mut cluster = KafkaCluster::new("kafka", ottla_crds::KafkaClusterSpec::default());
        let mut user = KafkaUser::new("u", ottla_crds::KafkaUserSpec::default());
        let both = [("user", Some("u")), ("client-id", None)];
        for (components, quotas, left) in [
            (
                &[("user", Some("u"))][..],
                &[("producer_byte_rate", Some(7.0)), ("request_percentage", Some(0.5))][..],
                1,
            ),
            (&both, &[("consumer_byte_rate", Some(9.0))], 2),
            (&[("client-id", Some("c"))], &[("controller_mutation_rate", Some(2.5))], 3),
            (&[("client-id", None)], &[("producer_byte_rate", Some(8.0))], 4),
            (&[("ip", Some("10.0.0.7"))], &[("connection_creation_rate", Some(3.0))], 5),
            (&[("ip", None)], &[("connection_creation_rate", Some(4.0))], 6),
            (&[("ip", Some("10.0.0.7"))], &[("connection_creation_rate", Some(5.0))], 6),
            (&[("user", Some("u"))], &[("producer_byte_rate", None)], 6),
            (&[("user", Some("u"))], &[("request_percentage", None)], 5),
            (&both, &[("consumer_byte_rate", None)], 4),
            (&[("client-id", Some("c"))], &[("controller_mutation_rate", None)], 3),
            (&[("client-id", None)], &[("producer_byte_rate", None)], 2),
            (&[("ip", Some("10.0.0.7"))], &[("connection_creation_rate", None)], 1),
            (&[("ip", None)], &[("connection_creation_rate", None)], 0),
        ] {
            let change = change(components, quotas);
            match super::user(&change.subject) {
                Some(name) => {
                    assert_eq!(name, "u");
                    user.spec.quotas = changed_user(user.spec.quotas.as_ref(), &change);
                }
                None => cluster.spec.quotas = changed_cluster(cluster.spec.quotas.as_ref(), &change),
            }
            let rules = rules(&cluster, &[("u", &user)].into());
            assert!(change.is_made(&rules), "{change:?}");
            assert_eq!(rules.subjects().len(), left, "{change:?}");
        }
        assert_eq!((cluster.spec.quotas, user.spec.quotas), (None, None));
    }
}
